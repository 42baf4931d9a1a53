"""The inner loops of total variation, each in one pass: the twin of ``cuda/total_variation.cu``.

A thread owns image rows. Differences are forward, 0 at the last row and column (Neumann), times `scale`.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from . import threads

Array = np.ndarray[Any, Any]
LEAST = 1 << 16  # pixels a thread must have to be worth waking
_jit = numba.njit(nogil=True, cache=True, fastmath={"contract", "nsz", "arcp"}, error_model="numpy")


@_jit  # type: ignore[untyped-decorator]
def _ascend_rows(
    x: Array, z: Array, out: Array, rates: Array, numbers: Array, scale: Array, start: int, stop: int
) -> None:
    ny, nx = x.shape[1], x.shape[2]
    radius, relaxation, zero = numbers[0], numbers[1], numbers[2]
    sy, sx = scale[0], scale[1]
    for row in range(start, stop):
        b, i = row // ny, row % ny
        step, shrink = rates[b, 0], rates[b, 1]
        down = sy if i + 1 < ny else zero
        here, below = x[b, i], x[b, min(i + 1, ny - 1)]
        zy, zx, outy, outx = z[b, 0, i], z[b, 1, i], out[b, 0, i], out[b, 1, i]
        for j in range(nx):
            y_new = (zy[j] + step * (down * (below[j] - here[j]))) * shrink
            x_new = zx[j] * shrink
            if j + 1 < nx:  # the compiler takes the last pixel out of the loop
                x_new = (zx[j] + step * (sx * (here[j + 1] - here[j]))) * shrink
            factor = radius / max(np.sqrt(y_new * y_new + x_new * x_new), radius)
            outy[j] = zy[j] + relaxation * (factor * y_new - zy[j])
            outx[j] = zx[j] + relaxation * (factor * x_new - zx[j])


@_jit  # type: ignore[untyped-decorator]
def _pull_rows(z: Array, force: Array, out: Array, scale: Array, start: int, stop: int) -> None:
    ny, nx = force.shape[1], force.shape[2]
    sy, sx = scale[0], scale[1]
    zero = sy - sy
    for row in range(start, stop):
        b, i = row // ny, row % ny
        inflow = sy if i > 0 else zero
        outflow = sy if i + 1 < ny else zero
        above, here, across = z[b, 0, max(i - 1, 0)], z[b, 0, i], z[b, 1, i]
        f, o = force[b, i], out[b, i]
        for j in range(nx):
            left = across[j - 1] if j > 0 else zero
            right = across[j] if j + 1 < nx else zero
            o[j] = f[j] + (inflow * above[j] - outflow * here[j]) + sx * (left - right)


def _pieces(x: Array) -> list[tuple[int, int]]:
    rows, width = x.shape[0] * x.shape[1], x.shape[2]
    return threads.split(rows, least=max(1, LEAST // max(width, 1)), per_thread=1)


def ascend(x: Array, z: Array, out: Array, rates: Array, numbers: Array, scale: Array) -> None:
    """Arguments as `rayfold.kernels.total_variation.ascend` makes them."""
    threads.each(lambda a, b: _ascend_rows(x, z, out, rates, numbers, scale, a, b), _pieces(x))


def pull(z: Array, force: Array, out: Array, scale: Array) -> None:
    """``out <- force + G.H z``."""
    threads.each(lambda a, b: _pull_rows(z, force, out, scale, a, b), _pieces(force))
