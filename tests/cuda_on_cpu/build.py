"""Compile a kernel of ``kernels/cuda`` for the CPU with g++ and call it on NumPy arrays."""

from __future__ import annotations

import ctypes
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from rayfold.kernels import joseph, launch

SHIM = Path(__file__).resolve().parent / "cuda_shim.h"
ENTRY = """
extern "C" void run_{name}(
    const unsigned* grid, unsigned threads, long long start, long long stop, int descending,
    const REAL* a, REAL* out, const REAL* coef, const REAL* t, const REAL* steps, REAL fan_step,
    int batch, int ny, int nx, int views, int cols)
{{
    emulation::launch(grid, threads, start, stop, descending != 0,
        [=] {{ {name}(a, out, coef, t, steps, fan_step, batch, ny, nx, views, cols); }});
}}
"""
FLAGS = ["-std=c++17", "-O2", "-mfma", "-ffp-contract=off", "-fPIC", "-shared", "-Wno-unknown-pragmas"]


def compiler() -> str | None:
    return shutil.which("g++")


@functools.cache
def library(dtype: str, images: int) -> ctypes.CDLL:
    """The Joseph kernels in one precision and with one number of images per thread."""
    text = launch.source("joseph", launch.preamble(np.dtype(dtype), images))
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder) / "joseph.cpp", Path(folder) / "joseph.so"
        entries = "".join(ENTRY.format(name=name) for name in ("forward", "adjoint"))
        source.write_text(f'#include "{SHIM}"\n{text}\n{entries}')
        done = subprocess.run(
            [compiler() or "g++", *FLAGS, source, "-o", binary], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return ctypes.CDLL(str(binary))


def _pointer(array):
    assert array.flags.c_contiguous
    return ctypes.c_void_p(array.ctypes.data)


def run(name, a, out, coef, t, steps, fan_step, *, images=None, blocks=None, descending=False):
    """`joseph.forward` or `joseph.adjoint` from the CUDA source; `blocks` limits it to part of the grid."""
    image, sinogram = (a, out) if name == "forward" else (out, a)
    (batch, ny, nx), (_, views, cols) = image.shape, sinogram.shape
    images = images or joseph.images_per_thread(batch)
    grid = joseph.grid(name, images, batch, ny, nx, views, cols)
    start, stop = blocks(grid) if blocks else (0, int(np.prod(grid)))
    real = ctypes.c_float if out.dtype == np.float32 else ctypes.c_double
    function = getattr(library(out.dtype.name, images), f"run_{name}")
    function(
        (ctypes.c_uint * 3)(*grid), ctypes.c_uint(joseph.THREADS), *map(ctypes.c_longlong, (start, stop)),
        ctypes.c_int(descending), *map(_pointer, (a, out, coef, t, steps)), real(fan_step),
        *map(ctypes.c_int, (batch, ny, nx, views, cols)),
    )  # fmt: skip
    return out
