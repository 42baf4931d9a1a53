"""What every measurement asks of the regions it is given: real, finite, large enough, with a pixel size."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def regions(name: str, value: npt.ArrayLike, least: int = 1) -> Floats:
    """Images ``(..., ny, nx)`` in double precision with at least `least` pixels per side."""
    array: npt.NDArray[Any] = np.asarray(value)
    if array.ndim < 2 or min(array.shape[-2:]) < least or not array.size:
        raise ValueError(f"{name} has shape {array.shape}; it must be (..., ny, nx), {least} pixels or more")
    if np.iscomplexobj(array):
        raise ValueError(f"{name} is complex; measure its magnitude, abs(x)")
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds values that are not finite; choose a region without them")
    return values


def steps(spacing: float | tuple[float, float]) -> tuple[float, float]:
    """Pixel size (y, x) in mm."""
    pair = tuple(map(float, spacing)) if isinstance(spacing, tuple | list) else (float(spacing),) * 2
    if len(pair) != 2 or not all(h > 0 and math.isfinite(h) for h in pair):
        raise ValueError(f"spacing is {spacing}; give one positive pixel size in mm, or (y, x)")
    return pair[0], pair[1]
