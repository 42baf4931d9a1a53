"""Small integers for operator structures: compiled programs of torch carry the number, not the object."""

from __future__ import annotations

import itertools
import threading
import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import LinearOperator

_counter = itertools.count(1)
_lock = threading.RLock()
_numbers: weakref.WeakKeyDictionary[LinearOperator, int] = weakref.WeakKeyDictionary()
_structures: weakref.WeakValueDictionary[int, LinearOperator] = weakref.WeakValueDictionary()


def handle(op: LinearOperator) -> int:
    """Number of the operator's structure: equal structures share one, and it is never given to another.

    The operator keeps the registered structure alive, so a number is valid as long as any operator that asked
    for it lives.
    """
    known = op.__dict__.get("_registered")
    if known is None:
        with _lock:
            structure = op.structure
            number = _numbers.get(structure)
            if number is None:
                number = next(_counter)
                _numbers[structure], _structures[number] = number, structure
            known = (number, _structures[number])
        object.__setattr__(op, "_registered", known)
    return int(known[0])


def structure(number: int) -> LinearOperator:
    """The structure registered under a number."""
    return _structures[number]
