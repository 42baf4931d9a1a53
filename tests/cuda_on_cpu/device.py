"""A device in the place of CuPy: NumPy arrays, launches of the CUDA source compiled for the CPU."""

from __future__ import annotations

import sys
import types

import numpy as np
from tests.cuda_on_cpu import build

from rayfold.kernels import launch


class Plan1d:
    """cuFFT's one-dimensional transforms of a batch, unscaled both ways."""

    made = 0

    def __init__(self, length, kind, batch):
        self.shape, self.kind = (batch, length), kind
        type(self).made += 1

    def fft(self, a, out, direction):
        assert a.flags.c_contiguous and a.size == np.prod(self.shape) and str(a.dtype) == self.kind
        rows = a.reshape(self.shape)
        done = np.fft.fft(rows) if direction < 0 else np.fft.ifft(rows, norm="forward")
        out.reshape(self.shape)[...] = done


def install(monkeypatch, *modules, descending=False):
    """Make `modules` of the kernels take NumPy arrays for CuPy arrays; counts the launches."""
    cupy, cuda = types.ModuleType("cupy"), types.ModuleType("cupy.cuda")
    cufft = types.ModuleType("cupy.cuda.cufft")
    cufft.Plan1d, cufft.CUFFT_C2C, cufft.CUFFT_Z2Z = Plan1d, "complex64", "complex128"
    cufft.CUFFT_FORWARD, cufft.CUFFT_INVERSE = -1, 1
    cuda.cufft = cufft
    cuda.Device = lambda: types.SimpleNamespace(id=0)
    cuda.get_current_stream = lambda: types.SimpleNamespace(ptr=0)
    cupy.cuda = cuda
    cupy.__getattr__ = lambda name: getattr(np, name)
    for name, module in (("cupy", cupy), ("cupy.cuda", cuda), ("cupy.cuda.cufft", cufft)):
        monkeypatch.setitem(sys.modules, name, module)
    launches = []

    def run(name, function, defines, grid, threads, args):
        launches.append((name, function, grid))
        build.launch(name, function, defines, grid, threads, args, descending=descending)

    monkeypatch.setattr(launch, "launch", run)
    for module in modules:
        monkeypatch.setattr(module, "library_of", lambda arrays: "cupy")
    return launches
