"""Joseph's projector and its adjoint on NumPy (numba) and CuPy (CUDA) arrays, into the caller's buffer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import launch

THREADS = 256
BINS, TILE_X, TILE_Y = 32, 32, 16  # what a block of cuda/joseph.cu owns: bins of a view, pixels of an image
FACTORS = (1, 2, 4, 8)
SHARED = 4  # the arithmetic all images of a thread share costs about as much as so many images


def images_per_thread(batch: int) -> int:
    """Images one CUDA thread carries for a batch: many share the ray, few waste less in the last group.

    Examples
    --------
    >>> [images_per_thread(n) for n in (1, 2, 3, 5, 32)]
    [1, 2, 4, 8, 8]
    """
    return min(FACTORS, key=lambda n: math.ceil(batch / n) * (n + SHARED))


def grid(
    function: str, images: int, batch: int, ny: int, nx: int, views: int, cols: int
) -> tuple[int, int, int]:
    """Blocks of the kernel `function` along x, y and z; groups of images beyond z's limit are looped over."""
    if function == "forward":
        blocks = views * math.ceil(cols / BINS)
    else:
        blocks = math.ceil(nx / TILE_X) * math.ceil(ny / TILE_Y)
    return blocks, 1, min(math.ceil(batch / images), launch.MAX_GRID_Z)


def forward(x: Any, out: Any, coef: Any, t: Any, steps: Any, fan_step: float) -> None:
    """Line integrals of images.

    Parameters
    ----------
    x : ndarray, (batch, ny, nx)
        Images, float32 or float64, C-contiguous; every other array of the same type and on the same device.
    out : ndarray, (batch, views, cols)
        Overwritten with the sinograms.
    coef : ndarray, (views, 6)
        ``a0 a1 ex0 ex1 ey0 ey1`` per view: bin coordinate t sees the line ``x * ey - y * ex = a`` in pixels
        about the middle of the grid, each of a, ex, ey being affine in t.
    t : ndarray, (cols,)
        Bin coordinates, ascending: bins from the middle, or ``tan(angle) / fan_step`` on a curved detector.
    steps : ndarray, (2,)
        Pixel size ``(dy, dx)`` in mm.
    fan_step : float
        Angle in rad between bins of a curved detector, 0 for a flat one.

    Raises
    ------
    TypeError, ValueError
        If arrays do not match in library, type or shape.
    """
    _run("forward", x, out, coef, t, steps, fan_step)


def adjoint(y: Any, out: Any, coef: Any, t: Any, steps: Any, fan_step: float) -> None:
    """Exact transpose of `forward`: `y` ``(batch, views, cols)``, `out` ``(batch, ny, nx)`` overwritten."""
    _run("adjoint", y, out, coef, t, steps, fan_step)


def _run(function: str, a: Any, out: Any, coef: Any, t: Any, steps: Any, fan_step: float) -> None:
    arrays = {"in": a, "out": out, "coef": coef, "t": t, "steps": steps}
    library = library_of(arrays)
    sizes = sizes_of(*((a, out) if function == "forward" else (out, a)), arrays)
    if library == "numpy":
        from .cpu import joseph as twin

        getattr(twin, function)(a, out, coef, t, steps, fan_step)
        return
    images = images_per_thread(sizes[0])
    launch.launch(
        "joseph",
        function,
        launch.preamble(out.dtype, images),
        grid(function, images, *sizes),
        THREADS,
        (a, out, coef, t, steps, out.dtype.type(fan_step), *map(np.int32, sizes)),
    )


def library_of(arrays: dict[str, Any]) -> str:
    """Name of the one library all arrays belong to; TypeError if they are of several."""
    found = {type(a).__module__.partition(".")[0] for a in arrays.values()}
    if len(found) != 1 or not found <= {"numpy", "cupy"}:
        given = ", ".join(f"{name}: {type(a).__module__}" for name, a in arrays.items())
        raise TypeError(f"kernels take NumPy or CuPy arrays, all of one library; given {given}")
    return found.pop()


def sizes_of(image: Any, sinogram: Any, arrays: dict[str, Any]) -> tuple[int, int, int, int, int]:
    """Check the buffers: a kernel that reads beside an array does not say so."""
    (batch, ny, nx), (_, views, cols) = image.shape, sinogram.shape
    wanted = {"coef": (views, 6), "t": (cols,), "steps": (2,)}
    for name, array in arrays.items():
        shape = wanted.get(name, array.shape)
        if array.shape != shape or array.dtype != image.dtype or not array.flags.c_contiguous:
            raise ValueError(
                f"{name} is {array.dtype} {array.shape}; it must be C-contiguous {image.dtype} {shape}"
            )
    if sinogram.shape[0] != batch or image.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"images {image.dtype} {image.shape} and sinograms {sinogram.shape} need the same batch and "
            "float32 or float64"
        )
    return batch, ny, nx, views, cols
