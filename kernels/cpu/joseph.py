"""Joseph's projector in 2D and its exact adjoint on the CPU: the twin of ``cuda/joseph.cu``.

A ray is the line ``x * ey - y * ex = a`` in pixel units about the middle of the grid, with ``(a, ex, ey)``
affine in ``t[k]`` for bin k of a view: parallel, flat-fan and (through t) curved detectors alike. A ray
steeper than 45 degrees meets row y at ``x = a / ey + y * ex / ey`` and takes there the linear interpolation
of the two neighbours times its path per row; a flatter ray meets columns in the same way on the transposed
image.

Forward: a thread owns views. Adjoint: a thread owns image rows and gathers, for every pixel, the bins whose
crossing lies within one pixel, from the same rounded numbers: no atomics, the same result every time.

Reference: P. M. Joseph, An improved algorithm for reprojecting rays through pixel images, IEEE Trans. Med.
Imaging 1 (1982) 192.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numba
import numpy as np
from numpy.polynomial import chebyshev, polynomial

from . import threads
from .simd import LANES, sample_block, tent_block

Array = np.ndarray[Any, Any]
FAR = 1e9  # a crossing that no pixel is near to
BANDS = 4  # bands of rows with a window of their own: rays of a fan are denser near the source
COPIES = 1 << 25  # pixels copied with zeros around them at a time
_jit = numba.njit(nogil=True, cache=True, fastmath={"contract", "nsz", "arcp"}, error_model="numpy")
_exact = numba.njit(nogil=True, cache=True, error_model="numpy")  # divides as the CUDA source does


def _arctan_series() -> Array:
    """Coefficients of arctan(z) / z in z**2 on 0..1, to 1e-7: finds bins on curved detectors only."""
    s = 0.5 * (1 - np.cos(np.pi * (np.arange(10) + 0.5) / 10))
    fit = chebyshev.chebfit(2 * s - 1, np.arctan(np.sqrt(s)) / np.sqrt(s), 9)
    series = np.zeros(1)
    for c in chebyshev.cheb2poly(fit)[::-1]:
        series = polynomial.polyadd(polynomial.polymul(series, [-1.0, 2.0]), [c])
    return series


@_exact  # type: ignore[untyped-decorator]
def _tables(
    coef: Array,
    t: Array,
    sizes: Array,
    steps: Array,
    p: Array,
    m: Array,
    w: Array,
    pairs: Array,
    fan_step: float,
    windows: bool,
) -> None:
    """Crossing at the middle row, slope and path per row of every ray; the path of a flat ray is negated.

    ``pairs[v, flat, band]`` is half the number of bins that can reach one pixel in a band of rows; 0 when no
    steep (flat) ray gets there. Without `windows` it is 1 when there is such a ray.
    """
    n_cols = p.shape[1]
    for v in range(p.shape[0]):
        for k in range(n_cols):
            a = coef[v, 0] + t[k] * coef[v, 1]
            ex = coef[v, 2] + t[k] * coef[v, 3]
            ey = coef[v, 4] + t[k] * coef[v, 5]
            if abs(ey) >= abs(ex):
                p[v, k], m[v, k] = a / ey, ex / ey
                w[v, k] = math.hypot(steps[0], m[v, k] * steps[1])
            else:
                p[v, k], m[v, k] = -a / ex, ey / ex
                w[v, k] = -math.hypot(steps[1], m[v, k] * steps[0])
        for flat in range(2):
            half, edge = 0.5 * (sizes[flat] - 1), 0.5 * (sizes[1 - flat] - 1) + 2
            for band in range(BANDS):
                pairs[v, flat, band] = 0
            for k in range(n_cols):
                if (w[v, k] < 0) != (flat == 1):
                    continue
                if not windows:
                    pairs[v, flat] = 1
                    break
                for band in range(BANDS):
                    start = half * (2.0 * band / BANDS - 1) - 1
                    stop = half * (2.0 * (band + 1) / BANDS - 1) + 1
                    slope, middle = m[v, k], p[v, k]
                    if slope != 0:  # only the rows that the ray crosses within the image
                        one, other = (-edge - middle) / slope, (edge - middle) / slope
                        start, stop = max(start, min(one, other)), min(stop, max(one, other))
                    elif abs(middle) > edge:
                        continue
                    if start > stop:
                        continue
                    # bins back to where pixels reached by the ray begin to look: most at one end of its way
                    back = max(
                        _back(coef[v], flat, t[k], middle + slope * start, start, n_cols, fan_step),
                        _back(coef[v], flat, t[k], middle + slope * stop, stop, n_cols, fan_step),
                    )
                    # an open interval of length L holds at most floor(L) + 1 integers
                    window = back + 2 * _margin(n_cols)
                    pairs[v, flat, band] = max(pairs[v, flat, band], (int(window) + 2) // 2)


@_jit  # type: ignore[untyped-decorator]
def _margin(n_cols: int) -> float:
    """By how much rounding can misplace a computed bin position, in bins."""
    return 1e-3 + 4e-6 * n_cols


@_jit  # type: ignore[untyped-decorator]
def _line(view: Array, flat: int, r: Any) -> Any:
    """``(n0, n1, d0, d1)`` with ``t = (n0 + n1 x) / (d0 + d1 x)`` for point x of row r (flat: column)."""
    if flat:
        return -view[0] + r * view[4], -view[2], view[1] - r * view[5], view[3]
    return view[0] + r * view[2], -view[4], -view[1] - r * view[3], view[5]


@_jit  # type: ignore[untyped-decorator]
def _bin(n0: float, n1: float, d0: float, d1: float, x: float, middle: float, fan_step: float) -> float:
    """Detector bin (fractional) that sees the point x of a row."""
    t = (n0 + n1 * x) / (d0 + d1 * x)
    return middle + (math.atan(t * fan_step) / fan_step if fan_step else t)


@_jit  # type: ignore[untyped-decorator]
def _back(view: Array, flat: int, at: float, x: float, r: float, n_cols: int, fan_step: float) -> Any:
    """Bound on the bins before the ray of coordinate `at` within two pixels of where it crosses row r, x."""
    n0, n1, d0, d1 = _line(view, flat, r)
    here = d0 + d1 * x
    far = x - 2 if n1 * here > (n0 + n1 * x) * d1 else x + 2
    there = d0 + d1 * far
    if here * there <= 0:  # behind the source
        return float(n_cols)
    first = (n0 + n1 * far) / there
    low = 0.0 if first * at < 0 else fan_step * min(abs(first), abs(at))
    return min(abs(at - first) / (1 + low * low), float(n_cols))


@_jit  # type: ignore[untyped-decorator]
def _forward(
    padded: Array, turned: Array, out: Array, coef: Array, p: Array, m: Array, w: Array, pairs: Array,
    fan_step: float, start: int, stop: int,
) -> None:  # fmt: skip
    """Views ``start .. stop`` of all images; one zero column before, three after the pixels."""
    cast = out.dtype.type
    n_batch, n_cols = out.shape[0], out.shape[2]
    lanes = LANES if out.itemsize == 4 else LANES // 2
    width = (n_cols + lanes - 1) // lanes * lanes
    at, slope, acc = (
        np.empty(width, out.dtype),
        np.zeros(width, out.dtype),
        np.empty((n_batch, width), out.dtype),
    )
    for v in range(start, stop):
        acc[:] = 0
        for flat in range(2):
            if not pairs[v, flat].any():
                continue
            image = turned if flat else padded
            n, c = image.shape[1], image.shape[2] - 4
            first_pixel = cast(0.5 * (c - 1) + 1)
            limit = cast(c + 1)
            at[:] = cast(-FAR)
            for k in range(n_cols):
                if (w[v, k] < 0) == (flat == 1):
                    at[k], slope[k] = p[v, k] + first_pixel, m[v, k]
            edge = 0.5 * (c - 1) + 1
            for i in range(n):
                r = cast(i) - cast(0.5 * (n - 1))
                n0, n1, d0, d1 = _line(coef[v], flat, r)
                k0 = _bin(n0, n1, d0, d1, -edge, 0.5 * (n_cols - 1), fan_step)
                k1 = _bin(n0, n1, d0, d1, edge, 0.5 * (n_cols - 1), fan_step)
                low = int(max(min(min(k0, k1) - 1, n_cols), 0.0)) // lanes * lanes
                high = int(max(min(max(k0, k1) + 2, n_cols), 0.0))
                for b in range(n_batch):
                    for k in range(low, high, lanes):
                        sample_block(acc[b], at, slope, k, r, image[b, i], limit)
        for b in range(n_batch):
            for k in range(n_cols):
                out[b, v, k] = acc[b, k] * abs(w[v, k])


@_jit  # type: ignore[untyped-decorator]
def _arctan(z: Any, atan: Array) -> Any:
    """Arc tangent by the series, in a form the compiler can vectorise."""
    size, one = abs(z), atan.dtype.type(1)
    u = one / size if size > one else size
    s = u * u
    series = atan[9]
    for i in range(8, -1, -1):
        series = series * s + atan[i]
    angle = atan.dtype.type(0.5 * math.pi) - u * series if size > one else u * series
    return angle if z >= 0 else -angle


@_jit  # type: ignore[untyped-decorator]
def _first_bins(
    first: Array,
    ramp: Array,
    view: Array,
    flat: int,
    r: Any,
    c: int,
    n_cols: int,
    shift: int,
    fan_step: Any,
    atan: Array,
) -> None:
    """For every padded pixel of a row the lowest bin that can reach it, plus `shift`."""
    cast = view.dtype.type
    n0, n1, d0, d1 = _line(view, flat, r)
    edge = cast(0.5 * (c - 1))
    half = cast(0.5 * c)  # not the edge pixels: a row of one pixel has only one
    rising = (n0 + n1 * half) * (d0 - d1 * half) > (n0 - n1 * half) * (d0 + d1 * half)
    if (d0 + d1 * half) * (d0 - d1 * half) < 0:
        rising = not rising
    x0 = -edge - 2 if rising else -edge
    base = cast(0.5 * (n_cols - 1) - _margin(n_cols) + 1 + shift)
    low, high = cast(shift), cast(n_cols + shift)  # a window cut to all bins starts at the first
    if d1 == 0 and fan_step == 0:
        slope, base = n1 / d0, base + n0 / d0
        for j in range(first.shape[0]):
            q = base + (x0 + ramp[j]) * slope
            q = high if q > high else q
            first[j] = np.int32(q if q > low else low)
    elif fan_step == 0:
        for j in range(first.shape[0]):
            x = x0 + ramp[j]
            q = base + (n0 + n1 * x) / (d0 + d1 * x)
            q = high if q > high else q
            first[j] = np.int32(q if q > low else low)
    else:
        for j in range(first.shape[0]):
            x = x0 + ramp[j]
            q = base + _arctan((n0 + n1 * x) / (d0 + d1 * x) * fan_step, atan) / fan_step
            q = high if q > high else q
            first[j] = np.int32(q if q > low else low)


@_jit  # type: ignore[untyped-decorator]
def _adjoint(
    y: Array, out: Array, coef: Array, p: Array, m: Array, w: Array, pairs: Array,
    fan_step: Any, atan: Array, flat: int, start: int, stop: int,
) -> None:  # fmt: skip
    """Rows ``start .. stop`` of the steep (flat: of the transposed, flat) part of the back-projection."""
    cast = y.dtype.type
    n_batch, n_views, n_cols = y.shape
    n, c = out.shape[1], out.shape[2]
    lanes = LANES if y.itemsize == 4 else LANES // 2
    width = (c + 2 + lanes - 1) // lanes * lanes
    pad = 2 * np.max(pairs) + 2
    cross = np.full(n_cols + 2 * pad, cast(FAR), y.dtype)
    at = np.empty(n_cols, y.dtype)
    values = np.zeros((n_batch, n_cols + 2 * pad), y.dtype)
    first, ramp = np.empty(width, np.int32), np.arange(width).astype(y.dtype)
    acc = np.zeros((n_batch, stop - start, width), y.dtype)
    first_pixel = cast(0.5 * (c - 1) + 1)
    for v in range(n_views):
        if not pairs[v, flat].any():
            continue
        for b in range(n_batch):
            for k in range(n_cols):
                values[b, pad + k] = y[b, v, k] * abs(w[v, k])
        for k in range(n_cols):
            at[k] = p[v, k] + first_pixel if (w[v, k] < 0) == (flat == 1) else cast(FAR)
        for i in range(start, stop):
            taps = 2 * pairs[v, flat, i * BANDS // n]
            if taps == 0:
                continue
            r = cast(i) - cast(0.5 * (n - 1))
            _first_bins(first, ramp, coef[v], flat, r, c, n_cols, pad, fan_step, atan)
            low = max(min(first[0], first[c + 1]) - pad, 0)
            high = min(max(first[0], first[c + 1]) - pad + taps, n_cols)
            row, slope, start_at = cross[pad + low : pad + high], m[v, low:high], at[low:high]
            for k in range(row.shape[0]):
                row[k] = start_at[k] + slope[k] * r
            for b in range(n_batch):
                for j in range(0, width, lanes):
                    tent_block(acc[b, i - start], j, first, cross, values[b], taps // 2)
    for b in range(n_batch):
        for i in range(start, stop):
            out[b, i] = acc[b, i - start, 1 : c + 1]


def _rays(
    coef: Array, t: Array, shape: tuple[int, int], steps: Array, fan_step: float, *, windows: bool
) -> tuple[Array, Array, Array, Array]:
    n_views, n_cols = coef.shape[0], t.shape[0]
    p, m, w = (np.empty((n_views, n_cols), coef.dtype) for _ in range(3))
    pairs = np.empty((n_views, 2, BANDS), np.int64)
    sizes = np.array(shape, np.int64)
    key = (id(coef), t.tobytes(), shape, fan_step)
    known = _windows.get(key) if windows else None
    count = windows and known is None

    def work(a: int, b: int) -> None:
        _tables(coef[a:b], t, sizes, steps, p[a:b], m[a:b], w[a:b], pairs[a:b], float(fan_step), count)

    threads.each(work, threads.split(n_views, least=32))
    if count and not coef.flags.writeable:
        weakref.finalize(coef, _windows.pop, key, None)
        _windows[key] = pairs
    return p, m, w, pairs if known is None else known


_windows: dict[Any, Array] = {}  # of read-only coefficients, which a plan keeps from call to call


def forward(x: Array, out: Array, coef: Array, t: Array, steps: Array, fan_step: float) -> None:
    """Line integrals of images.

    Parameters
    ----------
    x : ndarray, (batch, ny, nx)
        Images, float32 or float64; every other array in the same type.
    out : ndarray, (batch, views, cols)
        Overwritten with the sinograms.
    coef : ndarray, (views, 6)
        ``a0 a1 ex0 ex1 ey0 ey1`` per view in pixel units.
    t : ndarray, (cols,)
        Bin coordinates.
    steps : ndarray, (2,)
        Pixel size ``(dy, dx)``.
    fan_step : float
        Angle between bins of a curved detector, 0 for a flat one.
    """
    batch, ny, nx = x.shape
    tables = _rays(coef, t, (ny, nx), steps, fan_step, windows=False)
    at_once = min(batch, max(1, COPIES // (nx * ny)))
    padded = np.zeros((at_once, ny, nx + 4), x.dtype)
    turned = np.zeros((at_once, nx, ny + 4), x.dtype)
    for start in range(0, batch, at_once):
        part = x[start : start + at_once]
        n = len(part)
        padded[:n, :, 1 : nx + 1] = part
        turned[:n, :, 1 : ny + 1] = part.transpose(0, 2, 1)

        def work(a: int, b: int, sinogram: Array = out[start : start + n], n: int = n) -> None:
            _forward(padded[:n], turned[:n], sinogram, coef, *tables, float(fan_step), a, b)

        threads.each(work, threads.split(len(coef)))


def adjoint(y: Array, out: Array, coef: Array, t: Array, steps: Array, fan_step: float) -> None:
    """Exact transpose of `forward`: `y` ``(batch, views, cols)``, `out` ``(batch, ny, nx)`` overwritten."""
    batch, ny, nx = out.shape
    p, m, w, pairs = _rays(coef, t, (ny, nx), steps, fan_step, windows=True)
    turned = np.zeros((batch, nx, ny), y.dtype)
    out[...] = 0
    atan = _ATAN.astype(y.dtype)
    step = y.dtype.type(fan_step)
    for flat, part in ((0, out), (1, turned)):
        if not pairs[:, flat].any():
            continue

        def work(a: int, b: int, flat: int = flat, part: Array = part) -> None:
            _adjoint(y, part, coef, p, m, w, pairs, step, atan, flat, a, b)

        threads.each(work, threads.split(part.shape[1], least=16))
    out += turned.transpose(0, 2, 1)


_ATAN = _arctan_series()
