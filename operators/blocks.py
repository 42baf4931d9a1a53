"""Operators side by side: one along leading axes, several on one input, one for each entry of an axis."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from . import dispatch
from .base import Composite, LinearOperator, _same

Array = Any


@dataclass(frozen=True)
class Batched(Composite):
    """An operator along leading axes that belong to the problem (coils, slices): ``A.over(lead)`` makes it.

    Parameters
    ----------
    op : LinearOperator
        Applied to every entry of the leading axes.
    lead : tuple of int
        Their lengths; they come first in input and output.

    Examples
    --------
    >>> from rayfold.operators import FFT
    >>> FFT((4, 6)).over((8,)).in_shape
    (8, 4, 6)
    """

    op: LinearOperator
    lead: tuple[int, ...]

    parts = property(lambda self: (self.op,))
    label = property(lambda self: self.op.label)
    in_shape = property(lambda self: (*self.lead, *self.op.in_shape))
    out_shape = property(lambda self: (*self.lead, *self.op.out_shape))

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        dispatch.check(self, x, adjoint=adjoint)
        return self.op.evaluate(x, adjoint=adjoint)  # leading axes are batch axes to it

    @property
    def gram(self) -> LinearOperator:
        return self.op.gram.over(self.lead)

    def norm_bound(self) -> float:
        return self.op.norm_bound()

    def over(self, lead: tuple[int, ...]) -> LinearOperator:
        return self.op.over((*lead, *self.lead))


@dataclass(frozen=True)
class Stack(Composite):
    """Operators on the same input, their outputs joined along the first output axis."""

    parts: tuple[LinearOperator, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("Stack needs at least one operator")
        for part in self.parts:
            _same("stack operators (inputs)", self.parts[0].in_shape, part.in_shape)
            _same("stack operators (trailing output axes)", self.parts[0].out_shape[1:], part.out_shape[1:])

    in_shape = property(lambda self: self.parts[0].in_shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (sum(part.out_shape[0] for part in self.parts), *self.parts[0].out_shape[1:])

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        axis = -len(self.out_shape)
        if not adjoint:
            return dispatch.namespace(x).concat(
                [part.evaluate(x, adjoint=False) for part in self.parts], axis=axis
            )
        dispatch.check(self, x, adjoint=True)
        total, start = None, 0
        for part in self.parts:
            stop = start + part.out_shape[0]
            cut = (..., slice(start, stop), *(slice(None),) * (len(self.out_shape) - 1))
            term = part.evaluate(x[cut], adjoint=True)
            total = term if total is None else total + term
            start = stop
        return total


@dataclass(frozen=True)
class BlockDiagonal(Composite):
    """One operator for each entry of the first axis: frames that are sampled differently.

    Parameters
    ----------
    parts : tuple of LinearOperator
        Of the same shapes.

    Raises
    ------
    ValueError
        If there is none, or their shapes differ.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Diagonal
    >>> A = BlockDiagonal((Diagonal((2,), np.ones(2)), Diagonal((2,), np.zeros(2))))
    >>> A(np.ones((2, 2)))
    array([[1., 1.],
           [0., 0.]])
    """

    parts: tuple[LinearOperator, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("BlockDiagonal needs at least one operator")
        shapes = {(part.in_shape, part.out_shape) for part in self.parts}
        if len(shapes) > 1:
            raise ValueError(f"the blocks have shapes {sorted(shapes)}; they must be alike")

    in_shape = property(lambda self: (len(self.parts), *self.parts[0].in_shape))
    out_shape = property(lambda self: (len(self.parts), *self.parts[0].out_shape))

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        dispatch.check(self, x, adjoint=adjoint)
        core = (slice(None),) * (len(self.out_shape if adjoint else self.in_shape) - 1)
        done = [part.evaluate(x[(..., i, *core)], adjoint=adjoint) for i, part in enumerate(self.parts)]
        return dispatch.namespace(x).stack(done, axis=-len(self.in_shape if adjoint else self.out_shape))

    @property
    def gram(self) -> LinearOperator:
        return BlockDiagonal(tuple(part.gram for part in self.parts))


@dataclass(frozen=True)
class Select(LinearOperator):
    """Picks entries along the first axis; the adjoint puts them back and adds repeated ones."""

    shape: tuple[int, ...]
    rows: tuple[int, ...] = field(repr=False)
    nonnegative = True

    in_shape = property(lambda self: self.shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return (len(self.rows), *self.shape[1:])

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        rows = list(self.rows)
        if not adjoint:
            out[...] = x[:, rows]
            return
        out[...] = 0
        if len(set(rows)) == len(rows):
            out[:, rows] = x
        else:
            for i, row in enumerate(rows):
                out[:, row] += x[:, i]
