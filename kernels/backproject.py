"""Pixel-driven back-projection and its transpose on NumPy (numba) and CuPy (CUDA) arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import launch
from .joseph import THREADS, grid, images_per_thread, library_of, sizes_of

# `gather` owns tiles of pixels as the adjoint of joseph.cu does, `splat` bins of a view as its forward
LAYOUT = {"gather": "adjoint", "splat": "forward"}


def gather(q: Any, out: Any, coef: Any, scale: Any, fan_step: float) -> None:
    """Back-project filtered views, linearly interpolated; beside the detector they fade over one bin.

    Parameters
    ----------
    q : ndarray, (batch, views, cols)
        Filtered views, float32 or float64, C-contiguous; every other array of the same type and on the same
        device.
    out : ndarray, (batch, ny, nx)
        Overwritten with the images.
    coef : ndarray, (views, 6)
        Rays in pixel units, see `joseph.forward`.
    scale : ndarray, (views,)
        Weight of each view, times the square of the depth in the units of `coef`.
    fan_step : float
        Angle in rad between bins of a curved detector, 0 for a flat one.

    Raises
    ------
    TypeError, ValueError
        If arrays do not match in library, type or shape.
    """
    _run("gather", q, out, coef, scale, fan_step)


def splat(x: Any, out: Any, coef: Any, scale: Any, fan_step: float) -> None:
    """Exact transpose of `gather`: `x` ``(batch, ny, nx)``, `out` ``(batch, views, cols)`` overwritten."""
    _run("splat", x, out, coef, scale, fan_step)


def _run(function: str, a: Any, out: Any, coef: Any, scale: Any, fan_step: float) -> None:
    arrays = {"in": a, "out": out, "coef": coef, "scale": scale}
    library = library_of(arrays)
    sizes = sizes_of(*((out, a) if function == "gather" else (a, out)), arrays)
    if scale.shape != coef.shape[:1]:
        raise ValueError(f"scale is {scale.shape}; it must hold one weight per view, {coef.shape[:1]}")
    if library == "numpy":
        from .cpu import backproject as twin

        getattr(twin, function)(a, out, coef, scale, fan_step)
        return
    images = images_per_thread(sizes[0])
    launch.launch(
        "backproject",
        function,
        launch.preamble(out.dtype, images),
        grid(LAYOUT[function], images, *sizes),
        THREADS,
        (a, out, coef, scale, out.dtype.type(fan_step), *map(np.int32, sizes)),
    )
