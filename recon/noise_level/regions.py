"""Where an image holds noise to measure: not in padding, nor as far as a filter reaches from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
CLIPPED = -1000  # HU: air that was clipped there or below may surround the object within other padding
WINDOWS = (16, 16, 16, 24, 32)  # pixels over which the power of each filter's details is averaged
STRIDE = 8


def padding(x: Array) -> Array:
    """Pixels of images ``(..., ny, nx)`` that were never measured: areas of their lowest value.

    That is the surrounding of a circular field of view, and air that was clipped or set to zero. An area
    within the object that is exactly constant is no padding: there the noise is zero.

    Examples
    --------
    >>> image = np.random.default_rng(0).normal(size=(32, 32))
    >>> image[:, :8] = -1000
    >>> int(padding(image).sum()), bool(padding(image)[:, :8].all())
    (256, True)
    """
    same = np.ones(x.shape, bool)
    for axis in (-1, -2):
        for step in (1, -1):
            shifted = np.roll(x, step, axis)
            edge = [slice(None)] * x.ndim
            edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            shifted[tuple(edge)] = x[tuple(edge)]
            same &= x == shifted
    found = np.zeros(x.shape, bool)
    if not same.any():
        return found
    value = x.min()
    while (same & (x == value)).any():
        found |= x == value
        rest = x[~found]
        if not rest.size or rest.min() > CLIPPED:
            break
        value = rest.min()
    return found


def solid(empty: Array) -> Array:
    """The parts of a mask ``(..., ny, nx)`` at least 5 pixels wide: padding, not clipped pixels.

    Examples
    --------
    >>> mask = np.zeros((20, 20), bool)
    >>> mask[:6, :6] = mask[12, 12] = True
    >>> int(solid(mask).sum())
    36
    """
    if not empty.any():
        return empty
    from scipy.ndimage import maximum_filter, minimum_filter

    lead, edge = (1,) * (empty.ndim - 2), 4
    # beyond the border all is padding, or thin slivers along it would be lost
    wide = np.pad(empty, [(0, 0)] * (empty.ndim - 2) + [(edge, edge)] * 2, constant_values=True)
    core: Array = minimum_filter(wide, (*lead, 5, 5), mode="nearest")
    grown: Array = maximum_filter(core, (*lead, 9, 9), mode="nearest")
    return grown[..., edge:-edge, edge:-edge] & empty


def sampled(power: Array, usable: Array, window: int, stride: int = STRIDE) -> Array:
    """Root of the mean power in windows on a coarse grid, NaN where a window holds what is not usable.

    Parameters
    ----------
    power, usable : ndarray, (ny, nx)
        Squared details, and where they hold.
    window : int
        Side of the windows in pixels.
    stride : int
        Pixels between windows.
    """
    ny, nx = power.shape
    wy, wx = min(window, ny), min(window, nx)
    top = np.arange(0, ny - wy + 1, stride)
    left = np.arange(0, nx - wx + 1, stride)

    def sums(values: Array) -> Array:
        total = np.zeros((ny + 1, nx + 1))
        np.cumsum(np.cumsum(values, 0, dtype=np.float64), 1, out=total[1:, 1:])
        rows = total[top + wy] - total[top]
        return np.asarray(rows[:, left + wx] - rows[:, left])

    n = sums(usable)
    energy = np.maximum(sums(np.where(usable, power, 0)), 0)
    whole = n >= 0.9 * wy * wx
    return np.where(whole, np.sqrt(energy / np.maximum(n, 1)), np.nan)


def usable_for(empty: Array, reach: int) -> Array:
    """Pixels whose details have nothing to do with the pixels in `empty`, ``(ny, nx)``."""
    if not empty.any():
        return np.ones(empty.shape, bool)
    from scipy.ndimage import maximum_filter

    return ~np.asarray(maximum_filter(empty, 2 * reach + 1))
