"""Quaternion Julia sets, iterated affine maps, and cells about scattered points. Nothing here is random."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, Any]
_jit = numba.njit(nogil=True, cache=True, error_model="numpy")  # no fastmath: the same picture everywhere


@_jit  # type: ignore[untyped-decorator]
def julia(out: Array, frame: Array, c: Array, n: int, escape: float) -> None:
    """Smoothed number of steps ``q -> q**2 + c`` of quaternions until ``|q|**2 > escape``, at most `n`.

    The quaternion at index ``(z, y, x)`` is ``frame[0] + z frame[1] + y frame[2] + x frame[3]``.
    """
    nz, ny, nx = out.shape
    ca, cb, cc, cd = c[0], c[1], c[2], c[3]
    for z in range(nz):
        for y in range(ny):
            for x in range(nx):
                a = frame[0, 0] + z * frame[1, 0] + y * frame[2, 0] + x * frame[3, 0]
                b = frame[0, 1] + z * frame[1, 1] + y * frame[2, 1] + x * frame[3, 1]
                p = frame[0, 2] + z * frame[1, 2] + y * frame[2, 2] + x * frame[3, 2]
                q = frame[0, 3] + z * frame[1, 3] + y * frame[2, 3] + x * frame[3, 3]
                size, steps = a * a + b * b + p * p + q * q, 0
                while size < escape and steps < n:
                    twice = 2 * a
                    a, b, p, q = (
                        a * a - b * b - p * p - q * q + ca,
                        twice * b + cb,
                        twice * p + cc,
                        twice * q + cd,
                    )
                    size = a * a + b * b + p * p + q * q
                    steps += 1
                if steps == n:
                    out[z, y, x] = n
                else:
                    out[z, y, x] = (
                        steps + 1 - math.log2(max(math.log(max(size, 1.0001)) / math.log(escape), 1e-3))
                    )


@_jit  # type: ignore[untyped-decorator]
def chaos(out: Array, maps: Array, choice: Array, scale: Array, shift: Array) -> None:
    """Count visits of ``p -> maps[i] (p, 1)``, i in `choice`, at ``scale p + shift``; maps (m, 3, 4)."""
    nz, ny, nx = out.shape
    z, y, x = 0.0, 0.0, 0.0
    for t in range(len(choice)):
        m = maps[choice[t]]
        z, y, x = (
            m[0, 0] * z + m[0, 1] * y + m[0, 2] * x + m[0, 3],
            m[1, 0] * z + m[1, 1] * y + m[1, 2] * x + m[1, 3],
            m[2, 0] * z + m[2, 1] * y + m[2, 2] * x + m[2, 3],
        )
        if t < 20:
            continue
        k = math.floor(scale[0] * z + shift[0])
        j = math.floor(scale[1] * y + shift[1])
        i = math.floor(scale[2] * x + shift[2])
        if 0 <= k < nz and 0 <= j < ny and 0 <= i < nx:
            out[k, j, i] += 1


@_jit  # type: ignore[untyped-decorator]
def cells(points: Array, size: Array, nearest: Array, second: Array, which: Array) -> None:
    """Distances to the nearest and second nearest of scattered points, and which is nearest.

    `points` (cz, cy, cx, 3), in samples, lie one in each cell of a grid of cells `size` (3,).
    """
    nz, ny, nx = nearest.shape
    mz, my, mx = points.shape[0], points.shape[1], points.shape[2]
    for z in range(nz):
        k = int(z / size[0])
        for y in range(ny):
            j = int(y / size[1])
            for x in range(nx):
                i = int(x / size[2])
                one, two, name = 1e18, 1e18, 0
                for kk in range(max(k - 1, 0), min(k + 2, mz)):
                    for jj in range(max(j - 1, 0), min(j + 2, my)):
                        for ii in range(max(i - 1, 0), min(i + 2, mx)):
                            dz, dy = points[kk, jj, ii, 0] - z, points[kk, jj, ii, 1] - y
                            dx = points[kk, jj, ii, 2] - x
                            d = dz * dz + dy * dy + dx * dx
                            if d < one:
                                one, two, name = d, one, (kk * my + jj) * mx + ii
                            elif d < two:
                                two = d
                nearest[z, y, x], second[z, y, x], which[z, y, x] = math.sqrt(one), math.sqrt(two), name
