"""tomosipo's operators and geometries: arrays ``(slices, ny, nx)`` and ``(slices, views, cols)``.

Its axes are ours, ``(z, y, x)`` without flips. A beam whose rays stay within slices is our 2D `XRay`, with
the slices as a batch axis.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from rayfold.operators.base import LinearOperator

from .foreign import Array, Foreign, linked, peer, shape
from .tomosipo_geometry import geometry_to_tomosipo


@dataclass(frozen=True, eq=False)
class TomosipoOperator(Foreign):
    """A `tomosipo.Operator.Operator`, writing into our memory where that is float32."""

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        op = self.source.T if adjoint else self.source
        for i in range(len(x)):
            wanted = out[i]
            into = linked(wanted, keep=False)
            op(linked(x[i]), out=into)
            if into is not wanted:
                wanted[...] = into


def from_tomosipo(op: Any) -> LinearOperator:
    """A tomosipo operator as one of ours; it computes in float32, with ASTRA's CUDA kernels.

    Float32 arrays, NumPy or CuPy (after ``import tomosipo.cupy``), are linked without a copy, both ways.

    Parameters
    ----------
    op : tomosipo.Operator.Operator
        From `tomosipo.operator`.

    Returns
    -------
    LinearOperator
        From ``(slices, ny, nx)`` to ``(slices, views, cols)``.

    Raises
    ------
    ValueError
        If the operator adds to its output instead of replacing it.
    """
    if getattr(op, "additive", False):
        raise ValueError("the tomosipo operator is additive; make it with additive=False")
    return TomosipoOperator(op, (shape(op.domain_shape), shape(op.range_shape)))


def to_tomosipo(op: LinearOperator, geometries: tuple[Any, Any] | None = None, *, slices: int = 1) -> Any:
    """One of our operators as a tomosipo operator: `T`, `domain`, its data sets, its autograd and algorithms.

    Arrays, NumPy, torch or CuPy, are used as they are; an ``out`` costs one copy. It needs no CUDA.

    Parameters
    ----------
    op : LinearOperator
        An `XRay`, or with `geometries` any operator on arrays that end in its shapes.
    geometries : tuple, optional
        tomosipo's volume and projection geometry; made from an `XRay` by default.
    slices : int
        Slices of an `XRay`.

    Returns
    -------
    tomosipo.Operator.Operator
        With our exact adjoint.

    Raises
    ------
    TypeError
        If there are no geometries and the operator has none.
    """
    if geometries is None:
        if not (hasattr(op, "volume") and hasattr(op, "beam")):
            raise TypeError(
                f"{op.label} has no geometry; pass geometries=(volume_geometry, projection_geometry)"
            )
        geometries = geometry_to_tomosipo(op.volume, op.beam, slices=slices)
    return _operator_class()(op, *geometries)


@functools.cache
def _operator_class() -> Any:
    ts, module, Data = peer("tomosipo"), peer("tomosipo.Operator"), peer("tomosipo.Data").Data

    class RayfoldOperator(module.Operator):  # type: ignore[misc, name-defined]
        def __init__(self, op: LinearOperator, volume_geometry: Any, projection_geometry: Any) -> None:
            # not the parent's: it would make an ASTRA projector, which needs CUDA
            self.rayfold, self.additive = op, False
            self.volume_geometry = self.astra_compat_vg = volume_geometry
            self.projection_geometry = self.astra_compat_pg = projection_geometry
            self._transpose = module.BackprojectionOperator(self)

        def _fp(self, volume: Array, out: Array = None) -> Array:
            return _run(self.rayfold, volume, out, self.projection_geometry)

        def _bp(self, projection: Array, out: Array = None) -> Array:
            return _run(self.rayfold.H, projection, out, self.volume_geometry)

    def _run(A: LinearOperator, x: Array, out: Array, geometry: Any) -> Array:
        y = A(x.data if isinstance(x, Data) else x)
        if out is None:
            return ts.data(geometry, y) if isinstance(x, Data) else y
        (out.data if isinstance(out, Data) else out)[...] = y
        return out

    return RayfoldOperator
