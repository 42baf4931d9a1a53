"""Simple operators written in array arithmetic: they run, and differentiate, in the caller's own library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from . import dispatch
from .base import LinearOperator

Array = Any


@dataclass(frozen=True, eq=False)
class Diagonal(LinearOperator):
    """Multiplication by weights, entry by entry.

    Parameters
    ----------
    shape : tuple of int
        Shape of one input.
    weights : array
        Anything that broadcasts to `shape` from the right; the operand ``weights``, bound with or without
        batch axes.

    Examples
    --------
    >>> Diagonal((2,), np.array([1.0, 3.0]))(np.array([2.0, 2.0]))
    array([2., 6.])
    """

    shape: tuple[int, ...]
    weights: Array

    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: self.shape)

    @property
    def operands(self) -> Mapping[str, Array]:
        return {} if self.weights is None else {"weights": self.weights}

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"weights": self.shape}

    @property
    def structure(self) -> LinearOperator:
        return self._bare

    @cached_property
    def _bare(self) -> LinearOperator:
        return self if self.weights is None else replace(self, weights=None)

    def __post_init__(self) -> None:
        field = "real" if self.weights is None or "complex" not in str(self.weights.dtype) else "complex"
        object.__setattr__(self, "_field", field)
        object.__setattr__(self, "_constant", isinstance(self.weights, np.ndarray))

    @property
    def field(self) -> Literal["real", "complex"]:  # type: ignore[override]
        return self._field  # type: ignore[attr-defined, no-any-return]

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]
        return self._constant and self.field == "real" and bool((self.weights >= 0).all())  # type: ignore[attr-defined]

    def bind(self, **operands: Array) -> LinearOperator:
        if set(operands) != {"weights"}:
            raise TypeError(f"Diagonal has one operand, 'weights'; got {', '.join(operands)}")
        return replace(self, weights=operands["weights"])

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        w = operands["weights"]
        out[...] = x * (w.conj() if adjoint else w)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        if self._constant:  # type: ignore[attr-defined]
            w = dispatch.constant(self, "weights", x)
        else:
            w = dispatch.require_same("weights", self.weights, x)
        return x * (dispatch.namespace(x).conj(w) if adjoint and self.field == "complex" else w)


@dataclass(frozen=True)
class Pad(LinearOperator):
    """Zeros before and after along the last axis; the adjoint cuts them off.

    Parameters
    ----------
    shape : tuple of int
        Shape of one input.
    before, after : int
        How many zeros.

    Examples
    --------
    >>> Pad((2,), 1, 2)(np.array([1.0, 2.0]))
    array([0., 1., 2., 0., 0.])
    """

    shape: tuple[int, ...]
    before: int
    after: int
    nonnegative = True

    in_shape = property(lambda self: self.shape)

    def __post_init__(self) -> None:
        if self.before < 0 or self.after < 0:
            raise ValueError(f"cannot pad by {self.before} and {self.after}; both must be 0 or more")

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (*self.shape[:-1], self.shape[-1] + self.before + self.after)

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        inside = slice(self.before, self.before + self.shape[-1])
        if adjoint:
            out[...] = x[..., inside]
        else:
            out[...] = 0
            out[..., inside] = x
