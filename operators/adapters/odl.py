"""ODL operators; ODL's spaces carry weights, our inner products are plain sums.

With the weights W of a space, ODL's adjoint is ``W_domain^-1 A.H W_range``; these bridges convert.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfold.operators import dispatch
from rayfold.operators.base import LinearOperator

from .foreign import Array, Foreign, peer, shape


def weights(space: Any) -> Any:
    """Weight of each entry in the inner product of an ODL space: a number, or an array that broadcasts."""
    if hasattr(space, "is_power_space"):
        inner = weights(space[0])
        outer = np.broadcast_to(_of(space), (len(space),))
        if np.ndim(inner) == 0 and (outer == outer[0]).all():
            return float(inner * outer[0])
        return outer.reshape(-1, *(1,) * (len(space.shape) - 1)) * inner
    return _of(space)


def _of(space: Any) -> Any:
    weighting = space.weighting
    if weighting.exponent != 2:
        raise ValueError(f"the space has exponent {weighting.exponent}; an adjoint needs inner products: 2")
    if hasattr(weighting, "const"):
        return float(weighting.const)
    if hasattr(weighting, "array"):
        return np.asarray(weighting.array)
    raise ValueError(
        f"the space is weighted by a {type(weighting).__name__}; constant and array weights convert"
    )


def _base(space: Any) -> Any:
    """The tensor space that a power of it is made of."""
    return _base(space[0]) if hasattr(space, "is_power_space") else space


@dataclass(frozen=True, eq=False)
class OdlOperator(Foreign):
    """A linear `odl.Operator` between tensor spaces, or powers of them."""

    def one(self, x: Array, adjoint: bool) -> Array:
        op = self.source.adjoint if adjoint else self.source
        if adjoint:
            x = x / weights(op.domain)
        x = x.astype(_base(op.domain).dtype, copy=False)
        y = op(op.domain.element(list(x) if hasattr(op.domain, "is_power_space") else x)).asarray()
        return y * weights(op.range) if adjoint else y


def from_odl(op: Any) -> LinearOperator:
    """A linear ODL operator as one of ours, with the adjoint of plain inner products.

    Input in the space's own dtype reaches ODL without a copy; the adjoint scales a copy, and results are
    copied into place. Axes stay ODL's: a `RayTransform` takes images indexed ``[x, y]``.

    Parameters
    ----------
    op : odl.Operator
        Linear, between spaces of NumPy arrays (or powers of one space, as the range of ``odl.Gradient``).
        It computes in the dtype of its spaces.

    Returns
    -------
    LinearOperator
        Real for real spaces, else complex.

    Raises
    ------
    ValueError
        If it is not linear, or a space is complex alone, a mixed product, or weighted by a function.
    """
    if not op.is_linear:
        raise ValueError(f"{type(op).__name__} is not linear; pass op.derivative(point)")
    for space in (op.domain, op.range):
        if not getattr(space, "is_power_space", True) or _base(space).impl != "numpy":
            raise ValueError(f"{space!r} is not a space of NumPy arrays or a power of one; convert it in ODL")
        weights(space)
    fields = {_base(space).is_complex for space in (op.domain, op.range)}
    if len(fields) > 1:
        raise ValueError("one space is real, the other complex; make the operator between complex spaces")
    shapes = (shape(op.domain.shape), shape(op.range.shape))
    return OdlOperator(op, shapes, "complex" if fields.pop() else "real")


def to_odl(op: LinearOperator, domain: Any = None, range: Any = None, *, dtype: str | None = None) -> Any:
    """One of our operators as an `odl.Operator`, its adjoint in the inner products of the spaces.

    Arrays behind ODL's elements, NumPy or torch, are used and returned as they are; only weights that differ
    between the spaces cost a scaled copy in the adjoint.

    Parameters
    ----------
    op : LinearOperator
        Any operator.
    domain, range : odl.DiscretizedSpace or odl.TensorSpace, optional
        Spaces of the operator's shapes; by default unweighted ones (``odl.rn``, ``odl.cn``).
    dtype : str, optional
        Type of the default spaces; float32, or complex64 for a complex operator.

    Returns
    -------
    odl.Operator
        Linear; runs in ``odl.solvers``.

    Raises
    ------
    ValueError
        If a space has another shape than the operator.
    """
    odl = peer("odl")
    make = odl.cn if op.field == "complex" else odl.rn
    dtype = dtype or ("complex64" if op.field == "complex" else "float32")
    domain = make(op.in_shape, dtype=dtype) if domain is None else domain
    range = make(op.out_shape, dtype=dtype) if range is None else range
    for name, space, wanted in (("domain", domain, op.in_shape), ("range", range, op.out_shape)):
        if hasattr(space, "is_power_space") or shape(space.shape) != wanted:
            raise ValueError(f"{name} is {space!r}; {op.label} needs a tensor space of shape {wanted}")
        weights(space)
    return _operator_class()(op, domain, range)


@functools.cache
def _operator_class() -> Any:
    class RayfoldOperator(peer("odl").Operator):  # type: ignore[misc]
        def __init__(self, op: LinearOperator, domain: Any, range: Any, adjoint_of: Any = None) -> None:
            self.rayfold, self.adjoint_of = op, adjoint_of
            super().__init__(domain=domain, range=range, linear=True)

        def _call(self, x: Any) -> Any:
            if self.adjoint_of is None:
                return self.range.element(self.rayfold(x.data))
            return self.range.element(_reweighted(self.rayfold, x.data, self.domain, self.range))

        @property
        def adjoint(self) -> Any:
            return self.adjoint_of or RayfoldOperator(self.rayfold.H, self.range, self.domain, self)

    return RayfoldOperator


def _reweighted(A: LinearOperator, x: Array, domain: Any, range: Any) -> Array:
    """``W_range^-1 A W_domain x``: one product when both are numbers, none when they are equal."""
    before, after = weights(domain), weights(range)
    if isinstance(before, float) and isinstance(after, float):
        y = A(x)
        return y if before == after else y * (before / after)
    like = dispatch.namespace(x)
    y = A(x * like.asarray(before, dtype=x.dtype))
    return y / like.asarray(after, dtype=y.dtype)
