"""How operators that hold arrays present themselves: their size, never their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import Any


def array(value: Any) -> str:
    """Shape and type of an array.

    Examples
    --------
    >>> import numpy as np
    >>> array(np.zeros((405, 2)))
    '<405 x 2 float64>'
    """
    kind = str(value.dtype).removeprefix("torch.")
    return f"<{' x '.join(map(str, value.shape))}{' ' if value.shape else ''}{kind}>"


def call(op: Any) -> str:
    """A dataclass as the call that makes it, arrays by their size and fields of default value left out.

    Fields with ``repr=False`` are left out; `lead` is written as ``.over(lead)``.

    Examples
    --------
    >>> from rayfold.operators import FFT, CoilSensitivities
    >>> import numpy as np
    >>> CoilSensitivities(np.ones((8, 4, 6), np.complex64)).over((3,))
    CoilSensitivities(maps=<8 x 4 x 6 complex64>).over((3,))
    """
    shapes: Mapping[str, tuple[int, ...]] = op.operand_shapes
    shown, lead = [], ""
    for each in fields(op):
        value = getattr(op, each.name)
        if each.name == "lead":
            lead = f".over({value!r})" if value else ""
        elif value is None and each.name in shapes:  # a structure: what it would hold
            shown.append(f"{each.name}=<{' x '.join(map(str, shapes[each.name]))}>")
        elif each.repr and (each.default is MISSING or hasattr(value, "dtype") or value != each.default):
            text = array(value) if hasattr(value, "dtype") and hasattr(value, "shape") else repr(value)
            shown.append(text if each.name == "shape" else f"{each.name}={text}")
    return f"{type(op).__name__}({', '.join(shown)}){lead}"
