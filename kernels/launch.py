"""Compile the CUDA source that lies beside this file and launch it on CuPy's current stream.

A launch allocates nothing and waits for nothing: it can be captured in a CUDA graph. CuPy is imported on use.
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).resolve().parent / "cuda"
# common.cuh says why products are not contracted; CuPy adds -ftz=true, which changes numbers below 1e-38 only
OPTIONS = ("--std=c++17", "--fmad=false")
MAX_GRID_Z = 65535
_INCLUDE = re.compile(r'^#include "([\w.]+)"$', re.MULTILINE)


def preamble(dtype: npt.DTypeLike, images: int) -> tuple[tuple[str, str], ...]:
    """Definitions for one precision (float32 or float64) and number of images per thread."""
    real = {"float32": "float", "float64": "double"}[np.dtype(dtype).name]
    return (("REAL", real), ("IMAGES", str(images)))


def source(name: str, defines: tuple[tuple[str, str], ...]) -> str:
    """Full text of ``cuda/<name>.cu``: definitions first, included files in place.

    Parameters
    ----------
    name : str
        File name without its suffix.
    defines : tuple of (str, str)
        Macros and their values, see `preamble`.

    Returns
    -------
    str
        CUDA C++ that needs no include path.

    Examples
    --------
    >>> source("joseph", preamble("float32", 4)).startswith("#define REAL float")
    True
    """

    def text(file: str) -> str:
        body = (FOLDER / file).read_text(encoding="utf-8")
        body = _INCLUDE.sub(lambda found: text(found[1]) + f'\n#line 1 "{file}"', body)
        return f'#line 1 "{file}"\n{body}'

    head = "".join(f"#define {key} {value}\n" for key, value in defines)
    return head + text(f"{name}.cu")


@functools.cache
def _module(name: str, defines: tuple[tuple[str, str], ...], device: int) -> Any:
    import cupy

    with cupy.cuda.Device(device):
        return cupy.RawModule(code=source(name, defines), options=OPTIONS, backend="nvrtc")


@functools.cache
def _kernel(name: str, function: str, defines: tuple[tuple[str, str], ...], device: int) -> Any:
    return _module(name, defines, device).get_function(function)


def kernel(name: str, function: str, defines: tuple[tuple[str, str], ...]) -> Any:
    """A compiled kernel for the current device, kept for the next call (a ``cupy.RawKernel``)."""
    import cupy

    return _kernel(name, function, defines, cupy.cuda.Device().id)


def launch(
    name: str,
    function: str,
    defines: tuple[tuple[str, str], ...],
    grid: tuple[int, int, int],
    threads: int,
    args: tuple[Any, ...],
) -> None:
    """Run a kernel on the current stream of the current device.

    Parameters
    ----------
    name, function : str
        Source file in ``cuda/`` and kernel in it.
    defines : tuple of (str, str)
        Macros the source is compiled with.
    grid : tuple of int
        Blocks along x, y, z.
    threads : int
        Threads per block.
    args : tuple
        CuPy arrays and typed NumPy scalars, in the order of the kernel.

    Raises
    ------
    RuntimeError
        If compiling or launching fails; names the kernel, the grid and the shapes.
    """
    if 0 in grid:
        return
    try:
        kernel(name, function, defines)(grid, (threads,), args)
    except Exception as error:  # CuPy raises many kinds; all need to say which launch it was
        shapes = [tuple(a.shape) for a in args if getattr(a, "ndim", 0)]
        raise RuntimeError(
            f"CUDA kernel {name}.{function} with {dict(defines)} failed on grid {grid} of {threads} threads, "
            f"arrays {shapes}: {error}"
        ) from error
