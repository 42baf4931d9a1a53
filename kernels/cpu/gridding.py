"""Interpolation at arbitrary points of a grid and its exact transpose: the twin of ``cuda/gridding.cu``.

Arrays as `rayfold.kernels.gridding` makes them, grids with three axes. A thread owns points, or tiles of
nodes, and sums in the order the CUDA kernels do.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from . import threads

Array = np.ndarray[Any, Any]
_jit = numba.njit(nogil=True, cache=True, error_model="numpy")  # no fastmath: both directions round alike


@_jit  # type: ignore[untyped-decorator]
def _weights(offset: Array, width: int, beta: Any, out: Array) -> None:
    """Weights of the nodes along z, y and x; 1 along the axes a point has no coordinate of."""
    cast = out.dtype.type
    one, missing = cast(1), 3 - len(offset)
    for axis in range(missing):
        out[axis, 0] = one
    for axis in range(missing, 3):
        f = offset[axis - missing]
        for j in range(width):
            z = (f + (cast(j) - cast(0.5) * cast(width))) * (cast(2) / cast(width))
            out[axis, j] = math.exp(cast(beta) * (math.sqrt(max(one - z * z, cast(0))) - one))


@_jit  # type: ignore[untyped-decorator]
def _interpolate(
    grid: Array,
    out: Array,
    cell: Array,
    offset: Array,
    order: Array,
    width: int,
    beta: Any,
    start: int,
    stop: int,
) -> None:
    batch, nz, ny, nx = grid.shape
    dim = cell.shape[1]
    weights = np.empty((3, width), offset.dtype)
    high, wide = width if dim > 2 else 1, width if dim > 1 else 1
    total = np.empty(batch, out.dtype)
    for t in range(start, stop):
        p = order[t]
        _weights(offset[p], width, beta, weights)
        total[:] = 0
        for jz in range(high):
            z = (cell[p, 0] + jz) % nz if dim > 2 else 0
            for jy in range(wide):
                y = (cell[p, dim - 2] + jy) % ny if dim > 1 else 0
                wy = weights[0, jz] * weights[1, jy]
                for jx in range(width):
                    x = (cell[p, dim - 1] + jx) % nx
                    w = wy * weights[2, jx]
                    for b in range(batch):
                        total[b] += w * grid[b, z, y, x]
        for b in range(batch):
            out[b, p] = total[b]


@_jit  # type: ignore[untyped-decorator]
def _spread(
    samples: Array,
    out: Array,
    cell: Array,
    offset: Array,
    starts: Array,
    entries: Array,
    width: int,
    beta: Any,
    tile: tuple[int, int, int],
    start: int,
    stop: int,
) -> None:
    batch, nz, ny, nx = out.shape
    dim = cell.shape[1]
    weights = np.empty((3, width), offset.dtype)
    down, across = -(-ny // tile[1]), -(-nx // tile[2])
    for t in range(start, stop):
        z0, y0, x0 = t // (down * across) * tile[0], t // across % down * tile[1], t % across * tile[2]
        z1, y1, x1 = min(z0 + tile[0], nz), min(y0 + tile[1], ny), min(x0 + tile[2], nx)
        out[:, z0:z1, y0:y1, x0:x1] = 0
        for e in range(starts[t], starts[t + 1]):
            p = entries[e]
            _weights(offset[p], width, beta, weights)
            for z in range(z0, z1):
                jz = (z - cell[p, 0]) % nz if dim > 2 else 0
                if dim > 2 and jz >= width:
                    continue
                for y in range(y0, y1):
                    jy = (y - cell[p, dim - 2]) % ny if dim > 1 else 0
                    if dim > 1 and jy >= width:
                        continue
                    wy = weights[0, jz] * weights[1, jy]
                    for x in range(x0, x1):
                        jx = (x - cell[p, dim - 1]) % nx
                        if jx >= width:
                            continue
                        w = wy * weights[2, jx]
                        for b in range(batch):
                            out[b, z, y, x] += w * samples[b, p]


def interpolate(
    grid: Array, out: Array, cell: Array, offset: Array, order: Array, width: int, beta: float
) -> None:
    """``out[b, p] <- sum of weights times grid[b, nodes]``."""
    threads.each(
        lambda a, b: _interpolate(grid, out, cell, offset, order, width, beta, a, b),
        threads.split(len(order), least=64),
    )


def spread(
    samples: Array,
    out: Array,
    cell: Array,
    offset: Array,
    starts: Array,
    entries: Array,
    width: int,
    beta: float,
    tile: tuple[int, int, int],
) -> None:
    """``out[b, node] <- sum of weights times samples[b, points]``, exactly the transpose of `interpolate`."""
    threads.each(
        lambda a, b: _spread(samples, out, cell, offset, starts, entries, width, beta, tile, a, b),
        threads.split(len(starts) - 1, least=4, per_thread=16),
    )
