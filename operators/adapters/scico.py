"""SCICO linear operators: JAX on both sides, so arrays of JAX stay where they are."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from rayfold.operators import dispatch
from rayfold.operators.base import LinearOperator

from .foreign import Array, Foreign, peer, shape


@dataclass(frozen=True, eq=False)
class ScicoOperator(Foreign):
    """A `scico.linop.LinearOperator`; it computes in the dtypes it declares."""

    def one(self, x: Array, adjoint: bool) -> Array:
        return dispatch.namespace(x).from_dlpack(self._traced(peer("jax").numpy.asarray(x), adjoint))

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        """JAX arrays meet JAX code: no callback, so jit compiles through and transforms differentiate it."""
        if dispatch.library(type(x)) != "jax":
            return super().evaluate(x, adjoint=adjoint)
        lead = dispatch.check(self, x, adjoint=adjoint)
        kind = dispatch.working(self, dispatch.dtype_name(x))
        ishape, oshape = self.shapes[::-1] if adjoint else self.shapes
        jax = peer("jax")
        if self.field == "real" and kind.startswith("complex"):
            parts = jax.numpy.stack([x.real, x.imag])
            y = _mapped()(parts.reshape(-1, *ishape), self, adjoint).reshape(2, *lead, *oshape)
            return jax.lax.complex(y[0], y[1])
        y = _mapped()(x.astype(kind).reshape(-1, *ishape), self, adjoint)
        return y.reshape(*lead, *oshape)

    def _traced(self, x: Array, adjoint: bool) -> Array:
        op = self.source
        kind = op.output_dtype if adjoint else op.input_dtype
        return (op.adj if adjoint else op)(x.astype(kind)).astype(x.dtype)


@functools.cache
def _mapped() -> Any:
    """One compiled program per operator and shape, SCICO's code once per array of the batch."""
    jax = peer("jax")

    def run(x: Array, op: ScicoOperator, adjoint: bool) -> Array:
        return jax.lax.map(lambda one: op._traced(one, adjoint), x)

    return jax.jit(run, static_argnames=("op", "adjoint"))


def from_scico(op: Any) -> LinearOperator:
    """A SCICO linear operator as one of ours.

    On JAX arrays it is SCICO's own code, without copies or callbacks. From other libraries the input goes to
    JAX (a copy where its memory is not aligned for XLA) and the result is copied into place once.

    Parameters
    ----------
    op : scico.linop.LinearOperator
        On arrays; it computes in its ``input_dtype`` and ``output_dtype``.

    Returns
    -------
    LinearOperator
        Real or complex as its dtypes.

    Raises
    ------
    ValueError
        If it acts on block arrays, or is real on one side only.
    """
    for name, sizes in (("input_shape", op.input_shape), ("output_shape", op.output_shape)):
        if any(not isinstance(n, int) for n in sizes):
            raise ValueError(f"{name} {sizes} is a block shape; convert the blocks one by one")
    fields = {"complex" if "complex" in str(kind) else "real" for kind in (op.input_dtype, op.output_dtype)}
    if len(fields) > 1:
        raise ValueError(f"{type(op).__name__} is real on one side only; make it with input_dtype=complex64")
    shapes = (shape(op.input_shape), shape(op.output_shape))
    return ScicoOperator(op, shapes, fields.pop())  # type: ignore[arg-type]


def to_scico(op: LinearOperator, *, dtype: str | None = None, jit: bool = True) -> Any:
    """One of our operators as a SCICO linear operator, for its functionals and optimisers.

    Parameters
    ----------
    op : LinearOperator
        Any operator; JAX arrays go straight through, inside jit and gradients too.
    dtype : str, optional
        Type of input and output; float32, or complex64 for a complex operator.
    jit : bool
        Compile it.

    Returns
    -------
    scico.linop.LinearOperator
        With our exact adjoint.
    """
    dtype = dtype or ("complex64" if op.field == "complex" else "float32")
    kind = peer("jax").numpy.dtype(dtype)
    return peer("scico.linop").LinearOperator(
        input_shape=op.in_shape,
        output_shape=op.out_shape,
        eval_fn=lambda x: op(x),
        adj_fn=lambda y: op.H(y),
        input_dtype=kind,
        output_dtype=kind,
        jit=jit,
    )
