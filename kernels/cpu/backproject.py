"""Pixel-driven back-projection with linear interpolation on the detector, and its transpose, on the CPU.

What filtered back-projection needs: every pixel reads the filtered view at the (fractional) bin that sees it,
weighted by ``scale / depth**2`` for a fan. Pixels map to bins as in `joseph`; the transpose splats each pixel
into the two bins it reads, a thread owning views.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numpy.polynomial import Chebyshev, Polynomial

from . import threads
from .joseph import _ATAN, _arctan, _line
from .simd import LANES, sample_block

Array = np.ndarray[Any, Any]
_jit = numba.njit(nogil=True, cache=True, fastmath={"contract", "nsz", "arcp"}, error_model="numpy")


# arctan(z) / z in z**2 on 0..1, to the last bits of float64
_SERIES = Chebyshev.interpolate(lambda s: np.arctan(np.sqrt(s)) / np.sqrt(s), 21, domain=[0, 1])
_FINE = _SERIES.convert(kind=Polynomial).coef


@_jit  # type: ignore[untyped-decorator]
def _arctan64(z: Any) -> Any:
    """Arc tangent for float64: `joseph` finds bins with seven digits of it, here all of them are weights."""
    size = abs(z)
    u = 1 / size if size > 1 else size
    s = u * u
    series = _FINE[21]
    for i in range(20, -1, -1):
        series = series * s + _FINE[i]
    angle = 0.5 * math.pi - u * series if size > 1 else u * series
    return angle if z >= 0 else -angle


@_jit  # type: ignore[untyped-decorator]
def _positions(
    at: Array,
    weight: Array,
    ramp: Array,
    view: Array,
    scale: Any,
    r: Any,
    n_cols: int,
    fan_step: Any,
    atan: Array,
) -> None:
    """Bin (one zero bin in front) and weight of every pixel of row r; beside the detector: a zero bin."""
    cast = view.dtype.type
    n0, n1, d0, d1 = _line(view, 0, r)
    middle, limit, zero, one = cast(0.5 * (n_cols - 1) + 1), cast(n_cols + 1), cast(0), cast(1)
    if d1 == 0 and fan_step == 0:
        inverse = one / d0
        for j in range(at.shape[0]):
            u = middle + (n0 + n1 * ramp[j]) * inverse
            u = limit if u > limit else u
            at[j] = u if u > zero else zero
            weight[j] = scale * inverse * inverse
        return
    for j in range(at.shape[0]):
        inverse = one / (d0 + d1 * ramp[j])
        u = (n0 + n1 * ramp[j]) * inverse
        spread = one
        if fan_step != 0:
            z = u * fan_step
            spread = one + z * z
            angle = cast(_arctan64(z)) if view.itemsize == 8 else _arctan(z, atan)
            u = angle / fan_step
        u = middle + u
        u = limit if u > limit else u
        at[j] = u if u > zero else zero
        weight[j] = scale * inverse * inverse / spread


@_jit  # type: ignore[untyped-decorator]
def _gather(
    padded: Array, out: Array, coef: Array, scale: Array, fan_step: Any, atan: Array, start: int, stop: int
) -> None:
    """Rows ``start .. stop`` of all images from views padded by one zero bin before and three after."""
    n_batch, n_views = padded.shape[0], padded.shape[1]
    ny, nx = out.shape[1], out.shape[2]
    n_cols = padded.shape[2] - 4
    lanes = LANES if out.itemsize == 4 else LANES // 2
    width = (nx + lanes - 1) // lanes * lanes
    cast = out.dtype.type
    ramp = np.arange(width).astype(out.dtype) - cast(0.5 * (nx - 1))
    weight, value = np.zeros(width, out.dtype), np.zeros(width, out.dtype)
    at, still = np.zeros(width, out.dtype), np.zeros(width, out.dtype)
    limit, zero = cast(n_cols + 1), cast(0)
    for i in range(start, stop):
        r = cast(i) - cast(0.5 * (ny - 1))
        for b in range(n_batch):
            out[b, i] = 0
        for v in range(n_views):
            _positions(at, weight, ramp, coef[v], scale[v], r, n_cols, fan_step, atan)
            for b in range(n_batch):
                value[:] = 0
                for j in range(0, width, lanes):
                    sample_block(value, at, still, j, zero, padded[b, v], limit)
                row = out[b, i]
                for j in range(nx):
                    row[j] += weight[j] * value[j]


@_jit  # type: ignore[untyped-decorator]
def _splat(
    x: Array, out: Array, coef: Array, scale: Array, fan_step: Any, atan: Array, start: int, stop: int
) -> None:
    """Views ``start .. stop`` of the transpose."""
    n_batch, ny, nx = x.shape
    n_cols = out.shape[2]
    cast = x.dtype.type
    ramp = np.arange(nx).astype(x.dtype) - cast(0.5 * (nx - 1))
    at, weight = np.zeros(nx, x.dtype), np.zeros(nx, x.dtype)
    bins = np.zeros(n_cols + 3, x.dtype)
    for v in range(start, stop):
        for b in range(n_batch):
            bins[:] = 0
            for i in range(ny):
                r = cast(i) - cast(0.5 * (ny - 1))
                _positions(at, weight, ramp, coef[v], scale[v], r, n_cols, fan_step, atan)
                for j in range(nx):
                    k = np.uint32(at[j])
                    f = at[j] - cast(k)
                    value = weight[j] * x[b, i, j]
                    bins[k] += value - f * value
                    bins[k + np.uint32(1)] += f * value
            out[b, v] = bins[1 : n_cols + 1]


def gather(q: Array, out: Array, coef: Array, scale: Array, fan_step: float) -> None:
    """Back-project filtered views.

    Parameters
    ----------
    q : ndarray, (batch, views, cols)
        Filtered views, float32 or float64; every other array in the same type.
    out : ndarray, (batch, ny, nx)
        Overwritten with the images.
    coef : ndarray, (views, 6)
        Rays in pixel units, see `joseph`.
    scale : ndarray, (views,)
        Weight of each view, times the square of the depth in the units of `coef`.
    fan_step : float
        Angle between bins of a curved detector, 0 for a flat one.
    """
    batch, n_views, n_cols = q.shape
    padded = np.zeros((batch, n_views, n_cols + 4), q.dtype)
    padded[:, :, 1 : n_cols + 1] = q
    atan, step = _ATAN.astype(q.dtype), q.dtype.type(fan_step)

    def work(a: int, b: int) -> None:
        _gather(padded, out, coef, scale, step, atan, a, b)

    threads.each(work, threads.split(out.shape[1]))


def splat(x: Array, out: Array, coef: Array, scale: Array, fan_step: float) -> None:
    """Transpose of `gather`: `x` is ``(batch, ny, nx)``, `out` ``(batch, views, cols)`` is overwritten."""
    atan, step = _ATAN.astype(x.dtype), x.dtype.type(fan_step)

    def work(a: int, b: int) -> None:
        _splat(x, out, coef, scale, step, atan, a, b)

    threads.each(work, threads.split(out.shape[1]))
