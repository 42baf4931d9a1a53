"""The inner loops of total variation on NumPy (numba) and CuPy (CUDA) images, into the caller's buffer."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import launch
from .joseph import library_of

THREADS = 256


def ascend(x: Any, z: Any, out: Any, rates: Any, numbers: Any, scale: Any) -> None:
    """A step of the dual of total variation: gradient, projection onto balls and relaxation in one pass.

    ``out <- z + relaxation (P - z)``, P being ``shrink (z + rate G x)`` with every gradient longer than
    `radius` shortened to it. G takes forward differences, 0 at the last row and column.

    Parameters
    ----------
    x : ndarray, (batch, ny, nx)
        Images, float32 or float64, C-contiguous; every other array of the same type and on the same device.
    z : ndarray, (batch, 2, ny, nx)
        Dual variable, along y and along x.
    out : ndarray, (batch, 2, ny, nx)
        Overwritten.
    rates : ndarray, (batch, 2)
        ``rate`` and ``shrink`` of each image.
    numbers : ndarray, (3,)
        ``radius``, ``relaxation`` and 0.
    scale : ndarray, (2,)
        Reciprocals of the pixel size along y and x.

    Raises
    ------
    TypeError, ValueError
        If arrays do not match in library, type or shape.
    """
    arrays = {"x": x, "z": z, "out": out, "rates": rates, "numbers": numbers, "scale": scale}
    _run("ascend", x, arrays, {"rates": (x.shape[0], 2), "numbers": (3,)})


def pull(z: Any, force: Any, out: Any, scale: Any) -> None:
    """``out <- force + G.H z``: `z` ``(batch, 2, ny, nx)``, `force` and `out` ``(batch, ny, nx)``."""
    _run("pull", force, {"z": z, "force": force, "out": out, "scale": scale}, {"out": force.shape})


def _run(function: str, image: Any, arrays: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> None:
    library = library_of(arrays)
    batch, ny, nx = image.shape
    shapes = {"z": (batch, 2, ny, nx), "out": (batch, 2, ny, nx), "scale": (2,), **shapes}
    for name, array in arrays.items():
        shape = shapes.get(name, image.shape)
        if array.shape != shape or array.dtype != image.dtype or not array.flags.c_contiguous:
            raise ValueError(
                f"{name} is {array.dtype} {array.shape}; it must be C-contiguous {image.dtype} {shape}"
            )
    if image.dtype not in (np.float32, np.float64):
        raise ValueError(f"images are {image.dtype}; they must be float32 or float64")
    if image.size == 0:
        return
    if library == "numpy":
        from .cpu import total_variation as twin

        getattr(twin, function)(*arrays.values())
        return
    launch.launch(
        "total_variation",
        function,
        launch.preamble(image.dtype, 1),
        (math.ceil(image.size / THREADS), 1, 1),
        THREADS,
        (*arrays.values(), *map(np.int32, (batch, ny, nx))),
    )
