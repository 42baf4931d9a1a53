"""Steps of total variation in one pass over the image where a kernel can: NumPy and CuPy, real, in 2D."""

from __future__ import annotations

import sys
from typing import Any

from rayfold.operators.dispatch import dtype_name, library

Array = Any


def ascend(
    z: Array,
    x: Array,
    rate: Array,
    relaxation: Any,
    radius: Any,
    shrink: Any,
    scales: tuple[float, ...],
) -> Array | None:
    """``Split.ascend`` for gradients kept below `radius` after a factor `shrink`, or None: do it in steps."""
    if not _fits(x, radius, relaxation, scales):
        return None
    from rayfold.kernels import total_variation

    xp = sys.modules[library(type(x))]
    shape = tuple(x.shape[-2:])
    flat, dual = _batch(x, shape), _batch(z, (2, *shape))
    out = xp.empty(z.shape, z.dtype)
    rates = xp.empty((flat.shape[0], 2), x.dtype)
    rates[:, 0] = _per_image(xp, rate, z)
    rates[:, 1] = shrink if isinstance(shrink, float) else _per_image(xp, shrink, z)
    numbers = xp.asarray([float(radius), float(relaxation), 0.0], x.dtype)
    scale = xp.asarray(scales, x.dtype)
    total_variation.ascend(flat, dual, _batch(out, (2, *shape)), rates, numbers, scale)
    return out


def _per_image(xp: Any, value: Array, z: Array) -> Array:
    """One number per image: a stack of slices shares those of its problem."""
    lead = tuple(z.shape[:-3])
    return xp.broadcast_to(value.reshape(value.shape[:-3]), lead).reshape(-1)


def pull(z: Array, force: Array, scales: tuple[float, ...]) -> Array | None:
    """``force + G.H z`` in a new array, or None: do it in steps."""
    if not _fits(force, 1.0, 1.0, scales) or z.dtype != force.dtype:
        return None
    from rayfold.kernels import total_variation

    xp = sys.modules[library(type(force))]
    shape = tuple(force.shape[-2:])
    out = xp.empty(force.shape, force.dtype)
    scale = xp.asarray(scales, force.dtype)
    total_variation.pull(_batch(z, (2, *shape)), _batch(force, shape), _batch(out, shape), scale)
    return out


def _fits(x: Array, radius: Any, relaxation: Any, scales: tuple[float, ...]) -> bool:
    return (
        len(scales) == 2
        and library(type(x)) in ("numpy", "cupy")
        and dtype_name(x) in ("float32", "float64")
        and isinstance(radius, int | float)
        and isinstance(relaxation, int | float)
    )


def _batch(x: Array, shape: tuple[int, ...]) -> Array:
    """All leading axes as one, contiguous."""
    xp = sys.modules[library(type(x))]
    return xp.ascontiguousarray(x.reshape(-1, *shape))
