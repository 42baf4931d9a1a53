"""SHA-256 of arrays, operators and noise models: the same content, the same hash, in any array library."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from rayfold.operators import LinearOperator
from rayfold.operators.dispatch import to_numpy


def sha256(value: Any) -> str:
    """Content hash of an array, an operator with its operands, a noise model, or plain values.

    Arrays enter by type, shape and values, dataclasses by their name and fields. Other objects enter by their
    type only: they are not told apart. No name of a file, host or person enters.

    Examples
    --------
    >>> sha256(np.array([1.0, 2.0])) == sha256(np.array([1.0, 2.0]))
    True
    >>> sha256(np.array([1.0, 2.0])) == sha256(np.array([1.0, 2.0], np.float32))
    False
    """
    found = hashlib.sha256()
    _feed(found, value)
    return found.hexdigest()


def _feed(found: Any, value: Any) -> None:
    kind = type(value)
    if value is None or isinstance(value, bool | int | float | complex | str | bytes):
        _say(found, kind.__name__, repr(value))
    elif hasattr(value, "shape") and hasattr(value, "dtype"):
        array = np.asarray(to_numpy(value))
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        _say(found, "array", array.dtype.name, str(tuple(array.shape)))
        found.update(np.ascontiguousarray(array).tobytes())
    elif isinstance(value, Mapping):
        _say(found, "mapping", str(len(value)))
        for key in sorted(value, key=str):
            _feed(found, key)
            _feed(found, value[key])
    elif isinstance(value, tuple | list):
        _say(found, "sequence", str(len(value)))
        for item in value:
            _feed(found, item)
    elif dataclasses.is_dataclass(value):
        _say(found, kind.__module__, kind.__qualname__)
        for field in dataclasses.fields(value):
            _feed(found, field.name)
            _feed(found, getattr(value, field.name))
    elif isinstance(value, LinearOperator):
        _say(found, kind.__module__, kind.__qualname__)
        for part in (value.in_shape, value.out_shape, value.operands):
            _feed(found, part)
    else:
        _say(found, kind.__module__, getattr(value, "__qualname__", kind.__qualname__))


def _say(found: Any, *words: str) -> None:
    """Words with their lengths: no two lists of words run together to the same bytes."""
    for word in words:
        data = word.encode()
        found.update(f"{len(data)}:".encode() + data)
