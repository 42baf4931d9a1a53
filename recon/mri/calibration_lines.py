"""The block of k-space from which a receiver is calibrated: fully measured, around the centre."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayfold.operators.dispatch import to_numpy

Array = Any


def calibration_region(
    sampled: Array, shape: tuple[int, ...], *, width: int | tuple[int, ...] | None = None
) -> tuple[slice, ...]:
    """Find the largest fully sampled block around the centre of k-space.

    The block grows from the centre by one position at a time on every side of every axis in turn, and a side
    stops where the next position is not wholly measured. For a disc that is the square inside it.

    Parameters
    ----------
    sampled : array of bool
        Which positions were measured; broadcasts (from the right) to `shape`.
    shape : tuple of int
        Shape of k-space without coils, (ny, nx) or (nz, ny, nx).
    width : int or tuple of int, optional
        Largest width of the block, one for all axes or one per axis; the part about the centre is kept.

    Returns
    -------
    tuple of slice
        One per axis of `shape`; index an array with ``(..., *region)``.

    Raises
    ------
    ValueError
        If the mask does not fit `shape`, or the centre of k-space was not measured.

    Examples
    --------
    >>> lines = np.arange(128) % 4 == 0
    >>> lines[59:69] = True
    >>> calibration_region(lines[:, None], (128, 96))
    (slice(59, 69, None), slice(0, 96, None))
    >>> calibration_region(lines[:, None], (128, 96), width=24)
    (slice(59, 69, None), slice(36, 60, None))
    """
    mask = to_numpy(sampled).astype(bool)
    try:
        full = np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(
            f"the mask of sampled positions has shape {mask.shape}; it must broadcast to {tuple(shape)}"
        ) from None
    widths = _widths(width, shape)
    centre = [n // 2 for n in shape]
    if not full[tuple(centre)]:
        raise ValueError(
            f"the centre of k-space {tuple(centre)} was not measured; pass a separate calibration scan"
        )
    low, high = list(centre), [c + 1 for c in centre]
    growing = {(axis, side) for axis in range(len(shape)) for side in (0, 1)}
    while growing:
        for axis, side in sorted(growing):
            at = low[axis] - 1 if side == 0 else high[axis]
            face = [slice(a, b) for a, b in zip(low, high, strict=True)]
            face[axis] = slice(at, at + 1)
            if not 0 <= at < shape[axis] or not full[tuple(face)].all():
                growing.discard((axis, side))
            elif side == 0:
                low[axis] = at
            else:
                high[axis] = at + 1
    region = []
    for a, b, c, w in zip(low, high, centre, widths, strict=True):
        w = min(w, b - a)
        start = min(max(c - w // 2, a), b - w)
        region.append(slice(start, start + w))
    return tuple(region)


def _widths(width: int | tuple[int, ...] | None, shape: tuple[int, ...]) -> tuple[int, ...]:
    """One largest width per axis."""
    widths = shape if width is None else (width,) * len(shape) if isinstance(width, int) else tuple(width)
    if len(widths) != len(shape) or min(widths) < 1:
        raise ValueError(f"width is {width}; give one positive number, or one for each of {len(shape)} axes")
    return widths
