"""Non-uniform Fourier transforms with rayfold's own kernels, on a GPU (CUDA) and on the CPU (numba).

Divide by the transform of the interpolation kernel, pad to a grid of twice the size, transform, interpolate
(Fessler and Sutton, IEEE Trans. Signal Process. 51, 2003; kernel and error of Barnett, Magland and af
Klinteberg, SIAM J. Sci. Comput. 41, 2019). The adjoint takes the transposes in reverse order.
"""

from __future__ import annotations

import itertools
import math
import sys
from typing import Any

import numpy as np

from rayfold.kernels import gridding

Array = Any
LEAST_EPS = {"complex64": 1e-7, "complex128": 1e-15}
WORK = 1 << 28  # bytes of the grids transformed together


class GriddingPlan:
    """``y_j = sum_n x_n exp(-i k_j . n)`` and its exact adjoint, n counted from voxel ``n // 2``.

    Parameters
    ----------
    points : ndarray, (samples, ndim)
        Trajectory in rad/voxel, in the order of the image axes.
    shape : tuple of int
        Image, one to three axes.
    eps : float
        Relative accuracy.
    like : ndarray
        Complex NumPy or CuPy array of the working precision and on the device to compute on.
    """

    def __init__(self, points: Array, shape: tuple[int, ...], eps: float, like: Array) -> None:
        from scipy.fft import next_fast_len

        self.xp: Any = sys.modules[type(like).__module__.partition(".")[0]]
        self.shape, self.kind = tuple(shape), str(like.dtype)
        real = np.dtype({"complex64": np.float32, "complex128": np.float64}[self.kind])
        width = gridding.width_of(max(float(eps), LEAST_EPS[self.kind]), len(self.shape))
        self.grid = tuple(int(next_fast_len(max(2 * n, width))) for n in self.shape)
        self.plan = gridding.plan(self.xp.asarray(points, dtype=real), self.grid, width)
        self.deapodization = []  # one factor per axis, divided out on both ways
        for axis, (n, length) in enumerate(zip(self.shape, self.grid, strict=True)):
            factor = 1 / gridding.transform(width, np.arange(n) - n // 2, length)
            factor = factor.reshape(-1, *[1] * (len(self.shape) - axis - 1))
            self.deapodization.append(self.xp.asarray(factor, dtype=real))
        self.step = max(1, WORK // (math.prod(self.grid) * like.dtype.itemsize))

    def forward(self, x: Array, out: Array) -> None:
        """Images ``(batch, *shape)`` to samples ``(batch, samples)``; C-contiguous, `out` overwritten."""
        for start in range(0, len(x), self.step):
            part = x[start : start + self.step]
            grid = self.xp.zeros((len(part), *self.grid), self.kind)
            weighted = self._weigh(part)
            for there, here in self._corners():
                grid[there] = weighted[here]
            gridding.interpolate(self._fft(grid, forward=True), out[start : start + self.step], self.plan)

    def adjoint(self, y: Array, out: Array) -> None:
        """Samples ``(batch, samples)`` to images ``(batch, *shape)``; C-contiguous, `out` overwritten."""
        for start in range(0, len(y), self.step):
            part = y[start : start + self.step]
            grid = self.xp.empty((len(part), *self.grid), self.kind)
            gridding.spread(part, grid, self.plan)
            grid = self._fft(grid, forward=False)
            image = out[start : start + self.step]
            for there, here in self._corners():
                image[here] = grid[there]
            image[...] = self._weigh(image)

    def _weigh(self, image: Array) -> Array:
        for factor in self.deapodization:
            image = image * factor
        return image

    def _corners(self) -> list[tuple[Any, Any]]:
        """Where the parts of an image before and after its origin lie on the periodic grid."""
        parts = []
        for n, length in zip(self.shape, self.grid, strict=True):
            before = (slice(length - n // 2, length), slice(0, n // 2))
            after = (slice(0, n - n // 2), slice(n // 2, n))
            parts.append([before, after] if n > 1 else [after])
        every = slice(None)
        return [
            ((every, *(there for there, _ in corner)), (every, *(here for _, here in corner)))
            for corner in itertools.product(*parts)
        ]

    def _fft(self, grid: Array, *, forward: bool) -> Array:
        """Sums over the grid with ``exp(-i ...)``, or with ``exp(+i ...)``: neither is scaled."""
        given: dict[str, Any] = {"axes": tuple(range(1, grid.ndim)), "overwrite_x": True}
        if self.xp is np:
            from scipy import fft

            from rayfold.kernels.cpu.threads import n_threads

            given["workers"] = n_threads()
        else:
            from cupyx.scipy import fft
        return fft.fftn(grid, **given) if forward else fft.ifftn(grid, norm="forward", **given)


def make(points: Array, shape: tuple[int, ...], eps: float, like: Array) -> GriddingPlan:
    """Plan for arrays of the library and type of `like`; see `GriddingPlan`."""
    return GriddingPlan(points, shape, eps, like)
