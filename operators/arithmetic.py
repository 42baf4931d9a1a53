"""Operators that hold arrays and are written in array arithmetic of the caller's own library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from . import dispatch
from .base import LinearOperator

Array = Any


@dataclass(frozen=True, eq=False, repr=False)
class Arithmetic(LinearOperator):
    """Base of operators whose `evaluate` is array arithmetic.

    Derivatives with respect to the arrays they hold are those of the caller's library, of every order.

    A subclass is a ``dataclass(frozen=True, eq=False, repr=False)`` that names its array fields in `held`,
    states their shapes in `operand_shapes` also where it does not hold them, and writes `evaluate` by `own`.
    """

    held: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        # settled once: compilers look it up, they cannot ask a NumPy array
        constant = tuple(name for name in self.held if isinstance(getattr(self, name), np.ndarray))
        kind: Literal["real", "complex"] = "complex" if any(map(self.is_complex, self.held)) else "real"
        object.__setattr__(self, "_constant", constant)
        object.__setattr__(self, "_kind", kind)

    @property
    def operands(self) -> Mapping[str, Array]:
        found = {name: getattr(self, name) for name in self.held}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def structure(self) -> LinearOperator:
        return self._bare

    @cached_property
    def _bare(self) -> LinearOperator:
        return replace(self, **dict.fromkeys(self.operands)) if self.operands else self

    def bind(self, **operands: Array) -> LinearOperator:
        wrong = [name for name in operands if name not in self.held]
        if wrong:
            have = ", ".join(map(repr, self.held))
            raise TypeError(f"{self.label} has no operand {wrong[0]!r}; it has: {have}")
        return replace(self, **operands)

    def own(self, name: str, x: Array) -> Array:
        """An array that is held, in the library and precision of `x`; TypeError if it is of another one."""
        if name in self._constant:  # type: ignore[attr-defined]
            return dispatch.constant(self, name, x)
        return dispatch.require_same(name, getattr(self, name), x)

    def is_complex(self, name: str) -> bool:
        """Whether an array that is held is complex."""
        value = getattr(self, name)
        return value is not None and "complex" in str(value.dtype)

    @property
    def field(self) -> Literal["real", "complex"]:  # type: ignore[override]
        """Complex as soon as one array is."""
        return self._kind  # type: ignore[attr-defined, no-any-return]

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        out[...] = (self.bind(**operands) if operands else self).evaluate(x, adjoint=adjoint)
