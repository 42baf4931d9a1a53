"""Non-uniform Fourier transforms on a GPU through cuFINUFFT, its plans made once and used again."""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np

Array = Any
MOST = 32  # transforms of one plan: more take memory, not time
LEAST_EPS = {"complex64": 1.2e-7, "complex128": 1e-15}  # below, cuFINUFFT refuses
UPSAMPLING = 2.0
made = 0  # plans since the start, which steady state must not add to


class CufinufftPlan:
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
        Complex CuPy array of the working precision and on the device to compute on.

    Notes
    -----
    A transform runs on the stream that is current when it is called; every stream has plans of its own.
    """

    def __init__(self, points: Array, shape: tuple[int, ...], eps: float, like: Array) -> None:
        self.xp: Any = sys.modules[type(like).__module__.partition(".")[0]]
        self.shape, self.kind = tuple(shape), str(like.dtype)
        self.eps = max(float(eps), LEAST_EPS[self.kind])
        real = {"complex64": np.float32, "complex128": np.float64}[self.kind]
        k = self.xp.asarray(points, dtype=real)
        self.axes = [self.xp.ascontiguousarray(k[:, axis]) for axis in range(len(self.shape))]
        self.plans: dict[tuple[int, int, int], Any] = {}
        self.lock = threading.RLock()  # a plan owns its workspace: one transform at a time

    def forward(self, x: Array, out: Array) -> None:
        """Images ``(batch, *shape)`` to samples ``(batch, samples)``; C-contiguous, `out` overwritten."""
        self._run(2, x, out)

    def adjoint(self, y: Array, out: Array) -> None:
        """Samples ``(batch, samples)`` to images ``(batch, *shape)``; C-contiguous, `out` overwritten."""
        self._run(1, y, out)

    def _run(self, kind: int, a: Array, out: Array) -> None:
        stream = int(self.xp.cuda.get_current_stream().ptr)
        for start in range(0, len(a), MOST):
            part = a[start : start + MOST]
            with self.lock:
                self._plan(kind, len(part), stream).execute(part, out=out[start : start + MOST])

    def _plan(self, kind: int, batch: int, stream: int) -> Any:
        key = kind, batch, stream
        if key not in self.plans:
            import cufinufft

            global made
            made += 1
            plan = cufinufft.Plan(
                kind, self.shape, batch, self.eps, {1: 1, 2: -1}[kind], self.kind,
                upsampfac=UPSAMPLING, gpu_stream=stream, gpu_device_id=int(self.axes[0].device.id),
            )  # fmt: skip
            plan.setpts(*self.axes)
            self.plans[key] = plan
        return self.plans[key]


def make(points: Array, shape: tuple[int, ...], eps: float, like: Array) -> CufinufftPlan:
    """Plan for CuPy arrays of the type of `like`; see `CufinufftPlan`."""
    return CufinufftPlan(points, shape, eps, like)
