"""Non-uniform Fourier transforms on the CPU through FINUFFT, its plans made once and used again."""

from __future__ import annotations

import math
import os
import threading
from typing import Any

import numpy as np

from rayfold.kernels.cpu.threads import n_threads

Array = Any
MOST = 32  # transforms of one plan: more take memory, not time
SMALL = 1 << 16  # samples and voxels of all transforms below which threads cost more than they save
LEAST_EPS = {"complex64": 1.2e-7, "complex128": 2.3e-16}  # below, FINUFFT warns that it is not to be had
UPSAMPLING = 2.0  # with 1.25 single precision loses three digits (DESIGN 5 allows none)
made = 0  # plans since the start, which steady state must not add to
_forked = False


def _alone() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):  # OpenMP's threads do not survive a fork, and waiting for them hangs
    os.register_at_fork(after_in_child=_alone)


class FinufftPlan:
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
        Complex NumPy array of the working precision.
    """

    def __init__(self, points: Array, shape: tuple[int, ...], eps: float, like: Array) -> None:
        self.shape, self.kind = shape, str(like.dtype)
        self.eps = max(float(eps), LEAST_EPS[self.kind])
        real = {"complex64": np.float32, "complex128": np.float64}[self.kind]
        self.axes = [np.ascontiguousarray(points[:, axis], real) for axis in range(len(shape))]
        self.plans: dict[tuple[int, int], Any] = {}
        self.lock = threading.RLock()  # a plan owns its workspace: one transform at a time

    def forward(self, x: Array, out: Array) -> None:
        """Images ``(batch, *shape)`` to samples ``(batch, samples)``; C-contiguous, `out` overwritten."""
        self._run(2, x, out)

    def adjoint(self, y: Array, out: Array) -> None:
        """Samples ``(batch, samples)`` to images ``(batch, *shape)``; C-contiguous, `out` overwritten."""
        self._run(1, y, out)

    def _run(self, kind: int, a: Array, out: Array) -> None:
        for start in range(0, len(a), MOST):
            part = a[start : start + MOST]
            with self.lock:
                self._plan(kind, len(part)).execute(part, out=out[start : start + MOST])

    def _plan(self, kind: int, batch: int) -> Any:
        if (kind, batch) not in self.plans:
            import finufft

            global made
            made += 1
            size = batch * (len(self.axes[0]) + math.prod(self.shape))
            threads = 1 if _forked or size < SMALL else n_threads()
            plan = finufft.Plan(
                kind, self.shape, batch, self.eps, {1: 1, 2: -1}[kind], self.kind,
                upsampfac=UPSAMPLING, nthreads=threads, showwarn=0,
            )  # fmt: skip
            plan.setpts(*self.axes)
            self.plans[kind, batch] = plan
        return self.plans[kind, batch]


def make(points: Array, shape: tuple[int, ...], eps: float, like: Array) -> FinufftPlan:
    """Plan for NumPy arrays of the type of `like`; see `FinufftPlan`."""
    return FinufftPlan(points, shape, eps, like)
