"""Simple operators written in array arithmetic: they run, and differentiate, in the caller's own library."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from . import dispatch
from .arithmetic import Arithmetic
from .base import LinearOperator

Array = Any


@dataclass(frozen=True, eq=False, repr=False)
class Diagonal(Arithmetic):
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

    held = ("weights",)
    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: self.shape)

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"weights": self.shape}

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]
        return self._nonnegative

    @cached_property
    def _nonnegative(self) -> bool:
        w = self.weights
        return isinstance(w, np.ndarray) and w.dtype.kind != "c" and bool((w >= 0).all())

    def over(self, lead: tuple[int, ...]) -> LinearOperator:
        w = self.weights
        extra = 0 if w is None else len(w.shape) - len(self.shape)
        if extra > 0:  # batch axes stay in front of the new ones
            w = w.reshape((*w.shape[:extra], *(1,) * len(lead), *w.shape[extra:]))
        return replace(self, shape=(*lead, *self.shape), weights=w)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        w = self.own("weights", x)
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
