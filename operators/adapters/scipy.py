"""SciPy and PyLops linear operators: flat vectors there, shaped arrays here, the same memory."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfold.operators.base import LinearOperator

from .foreign import Array, Foreign, Shape, peer, shape


@dataclass(frozen=True, eq=False)
class SciPyOperator(Foreign):
    """Anything with `matvec`, `rmatvec` and `dtype`; a batch goes through `matmat` at once."""

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        op = self.source
        if len(x) == 1:
            out.reshape(-1)[...] = (op.rmatvec if adjoint else op.matvec)(x.reshape(-1))
        else:
            flat = x.reshape(len(x), -1).T
            out.reshape(len(x), -1)[...] = (op.rmatmat if adjoint else op.matmat)(flat).T


def from_scipy(op: Any, *, in_shape: Shape | None = None, out_shape: Shape | None = None) -> LinearOperator:
    """A SciPy `LinearOperator`, sparse or dense matrix, or a PyLops operator, as one of ours.

    Input reaches the peer as a view of the caller's memory, its result is copied into place once. CuPy arrays
    pass too when the peer takes them (``cupyx.scipy.sparse.linalg``, PyLops).

    Parameters
    ----------
    op : scipy.sparse.linalg.LinearOperator, matrix or pylops.LinearOperator
        The peer's operator; its dtype says whether it is complex.
    in_shape, out_shape : tuple of int, optional
        Shapes of one input and one output; PyLops' ``dims`` and ``dimsd``, or flat, by default.

    Returns
    -------
    LinearOperator
        A real one for a real dtype, else complex.

    Raises
    ------
    ValueError
        If a shape has another number of entries than the matrix, or the operator is not complex-linear.

    Examples
    --------
    >>> import numpy as np
    >>> A = from_scipy(np.array([[1.0, 2.0], [0.0, 1.0], [3.0, 0.0]]))
    >>> A.H(np.array([1.0, 1.0, 1.0]))
    array([4., 3.])
    """
    if not hasattr(op, "rmatvec"):
        op = peer("scipy.sparse.linalg").aslinearoperator(op)
    rows, cols = (int(n) for n in op.shape)
    inner = shape(in_shape or getattr(op, "dims", (cols,)))
    outer = shape(out_shape or getattr(op, "dimsd", (rows,)))
    for name, given, n in (("in_shape", inner, cols), ("out_shape", outer, rows)):
        if math.prod(given) != n:
            raise ValueError(f"{name} {given} has {math.prod(given)} entries, the operator {n}; pass {name}=")
    is_complex = getattr(op.dtype, "kind", "f") == "c"
    if is_complex and not getattr(op, "clinear", True):
        raise ValueError(
            f"{type(op).__name__} is not complex-linear; use its complex variant (such as real=False)"
        )
    return SciPyOperator(op, (inner, outer), "complex" if is_complex else "real")


from_pylops = from_scipy


def to_scipy(op: LinearOperator, *, dtype: Any = None) -> Any:
    """One of our operators as a SciPy `LinearOperator`, for `lsqr`, `cg`, `svds` and all that take one.

    Vectors are reshaped in place: no copy either way.

    Parameters
    ----------
    op : LinearOperator
        Any operator.
    dtype : dtype, optional
        What it tells SciPy; float64, or complex128 for a complex operator. The input's type decides.

    Returns
    -------
    scipy.sparse.linalg.LinearOperator
        Of shape ``(prod(out_shape), prod(in_shape))``.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Pad
    >>> to_scipy(Pad((2,), 1, 1)) @ np.array([1.0, 2.0])
    array([0., 1., 2., 0.])
    """
    linalg = peer("scipy.sparse.linalg")

    def columns(A: LinearOperator, x: Array) -> Array:
        return A(x.T.reshape(-1, *A.in_shape)).reshape(x.shape[1], -1).T

    return linalg.LinearOperator(
        (math.prod(op.out_shape), math.prod(op.in_shape)),
        matvec=lambda x: _flat(op, x),
        rmatvec=lambda y: _flat(op.H, y),
        matmat=lambda x: columns(op, x),
        rmatmat=lambda y: columns(op.H, y),
        dtype=dtype or _dtype(op),
    )


def to_pylops(op: LinearOperator, *, dtype: Any = None) -> Any:
    """One of our operators as a PyLops operator, with its ``dims`` and ``dimsd``; no copy either way.

    Parameters
    ----------
    op : LinearOperator
        Any operator.
    dtype : dtype, optional
        What it tells PyLops; float64, or complex128 for a complex operator.

    Returns
    -------
    pylops.LinearOperator
        Composes with PyLops' own operators and runs in its solvers, on NumPy and CuPy arrays.
    """
    return _pylops_class()(op, dtype or _dtype(op))


@functools.cache
def _pylops_class() -> Any:
    class RayfoldOperator(peer("pylops").LinearOperator):  # type: ignore[misc]
        def __init__(self, op: LinearOperator, dtype: Any) -> None:
            self.rayfold = op
            super().__init__(dtype=np.dtype(dtype), dims=op.in_shape, dimsd=op.out_shape)

        def _matvec(self, x: Array) -> Array:
            return _flat(self.rayfold, x)

        def _rmatvec(self, x: Array) -> Array:
            return _flat(self.rayfold.H, x)

    return RayfoldOperator


def _flat(A: LinearOperator, x: Array) -> Array:
    return A(x.reshape(A.in_shape)).reshape(-1)


def _dtype(op: LinearOperator) -> str:
    return "complex128" if op.field == "complex" else "float64"
