"""SigPy linear operators, on NumPy and CuPy arrays as they are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rayfold.operators.base import LinearOperator

from .foreign import Array, Foreign, peer, shape


@dataclass(frozen=True, eq=False)
class SigPyOperator(Foreign):
    """A `sigpy.linop.Linop`, applied to one array at a time."""

    def one(self, x: Array, adjoint: bool) -> Array:
        return (self.source.H if adjoint else self.source)(x)


def from_sigpy(op: Any, *, field: Literal["real", "complex"] | None = None) -> LinearOperator:
    """A SigPy `Linop` as one of our operators.

    Input reaches SigPy as a view of the caller's memory, its result is copied into place once.

    Parameters
    ----------
    op : sigpy.linop.Linop
        The peer's operator.
    field : {"real", "complex"}, optional
        SigPy does not say; by default one call each way on real zeros shows it.

    Returns
    -------
    LinearOperator
        Of the shapes ``ishape`` and ``oshape``.
    """
    inner, outer = shape(op.ishape), shape(op.oshape)
    if field is None:
        seen = (op(np.zeros(inner, np.float32)), op.H(np.zeros(outer, np.float32)))
        field = "complex" if any(np.iscomplexobj(y) for y in seen) else "real"
    return SigPyOperator(op, (inner, outer), field)


def to_sigpy(op: LinearOperator) -> Any:
    """One of our operators as a SigPy `Linop`, for its algebra and its apps; no copy either way.

    Parameters
    ----------
    op : LinearOperator
        Any operator; a real one maps complex arrays part by part.

    Returns
    -------
    sigpy.linop.Linop
        With the exact adjoint and, as its normal operator, our `gram`.
    """
    return _linop_class()(op)


@functools.cache
def _linop_class() -> Any:
    class RayfoldLinop(peer("sigpy").linop.Linop):  # type: ignore[misc]
        def __init__(self, op: LinearOperator) -> None:
            self.rayfold = op
            super().__init__(op.out_shape, op.in_shape, repr_str=op.label)

        def _apply(self, input: Array) -> Array:
            return self.rayfold(input)

        def _adjoint_linop(self) -> Any:
            return RayfoldLinop(self.rayfold.H)

        def _normal_linop(self) -> Any:
            return RayfoldLinop(self.rayfold.gram)

    return RayfoldLinop
