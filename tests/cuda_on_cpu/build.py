"""Compile the kernels of ``kernels/cuda`` for the CPU with g++ and call them on NumPy arrays."""

from __future__ import annotations

import ctypes
import functools
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from rayfold.kernels import joseph
from rayfold.kernels import launch as cuda

SHIM = Path(__file__).resolve().parent / "cuda_shim.h"
ENTRY = """
extern "C" void run_{name}(
    const unsigned* grid, unsigned threads, long long start, long long stop, int descending, void** args)
{{
    emulation::launch(grid, threads, start, stop, descending != 0, [=] {{ {name}({values}); }});
}}
"""
KERNEL = re.compile(r'extern "C" __global__ void\s+(?:__launch_bounds__\([^)]*\)\s+)?(\w+)\(([^)]*)\)')
FLAGS = ["-std=c++17", "-O2", "-mfma", "-ffp-contract=off", "-fPIC", "-shared", "-Wno-unknown-pragmas"]


def compiler() -> str | None:
    return shutil.which("g++")


def entries(text: str) -> str:
    """For every kernel a C function that takes pointers to its arguments, as a CUDA launch does."""
    found = []
    for name, parameters in KERNEL.findall(text):
        types = [p.replace("__restrict__", "").rpartition(" ")[0] for p in parameters.split(",")]
        values = ", ".join(f"*static_cast<{t}*>(args[{i}])" for i, t in enumerate(types))
        found.append(ENTRY.format(name=name, values=values))
    return "".join(found)


@functools.cache
def library(name: str, defines: tuple[tuple[str, str], ...]) -> ctypes.CDLL:
    """The kernels of ``cuda/<name>.cu`` compiled with some macros."""
    text = cuda.source(name, defines)
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder) / f"{name}.cpp", Path(folder) / f"{name}.so"
        source.write_text(f'#include "{SHIM}"\n{text}\n{entries(text)}')
        done = subprocess.run(
            [compiler() or "g++", *FLAGS, source, "-o", binary], capture_output=True, text=True
        )
        if done.returncode:
            raise RuntimeError(done.stderr)
        return ctypes.CDLL(str(binary))


def launch(name, function, defines, grid, threads, args, *, blocks=None, descending=False):
    """`rayfold.kernels.launch.launch` for NumPy arrays; `blocks` limits it to part of the grid."""
    assert all(a.flags.c_contiguous for a in args if isinstance(a, np.ndarray))
    values = [np.array(a.ctypes.data, np.uintp) if isinstance(a, np.ndarray) else np.array(a) for a in args]
    pointers = (ctypes.c_void_p * len(values))(*(v.ctypes.data for v in values))
    start, stop = blocks or (0, int(np.prod(grid)))
    getattr(library(name, defines), f"run_{function}")(
        (ctypes.c_uint * 3)(*grid), ctypes.c_uint(threads), *map(ctypes.c_longlong, (start, stop)),
        ctypes.c_int(descending), pointers,
    )  # fmt: skip


def run(name, a, out, coef, t, steps, fan_step, *, images=None, blocks=None, descending=False):
    """`joseph.forward` or `joseph.adjoint` from the CUDA source; `blocks` limits it to part of the grid."""
    image, sinogram = (a, out) if name == "forward" else (out, a)
    (batch, ny, nx), (_, views, cols) = image.shape, sinogram.shape
    images = images or joseph.images_per_thread(batch)
    grid = joseph.grid(name, images, batch, ny, nx, views, cols)
    sizes = map(np.int32, (batch, ny, nx, views, cols))
    launch(
        "joseph", name, cuda.preamble(out.dtype, images), grid, joseph.THREADS,
        (a, out, coef, t, steps, out.dtype.type(fan_step), *sizes),
        blocks=blocks and blocks(grid), descending=descending,
    )  # fmt: skip
    return out
