"""Dead pixels and single missing values, replaced from their neighbours in the same detector row."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Scan
from rayfold.recon.preprocess.check import check, dead_pixels

Array = npt.NDArray[Any]


def mend_dead(scan: Scan) -> Scan:
    """Replace dead detector pixels and values that are not finite, by linear interpolation along the row.

    Parameters
    ----------
    scan : Scan
        Of any kind; its flats and darks are mended too, so that their ratio stays right.

    Returns
    -------
    Scan
        With a note of what was replaced, or the same object if there was nothing to mend.

    Raises
    ------
    InconsistentInput
        If too much is missing, see `check`.

    Examples
    --------
    >>> from rayfold.operators.geometry import ParallelBeam
    >>> data = np.tile(np.arange(32.0), (9, 1))
    >>> data[:, 7] = np.nan
    >>> mend_dead(Scan(data, ParallelBeam.evenly(9, 32), "attenuation")).data[0, 6:9].tolist()
    [6.0, 7.0, 8.0]
    """
    check(scan)
    dead = dead_pixels(scan)
    single = int((~np.isfinite(scan.data) & ~dead).sum())
    frames = {name: value for name in ("flat", "dark") if (value := getattr(scan, name)) is not None}
    if not dead.any() and not single and all(np.isfinite(value).all() for value in frames.values()):
        return scan
    changes = {name: _interpolated(value, dead) for name, value in {"data": scan.data, **frames}.items()}
    found = [f"{dead.sum()} dead detector pixels"] if dead.any() else []
    found += [f"{single} single missing values"] if single else []
    note = f"{' and '.join(found) or 'missing values of flats or darks'} replaced from their neighbours"
    return scan.did("mend_dead", notes=(*scan.notes, note), **changes)


def _interpolated(frames: Array, dead: Array) -> Array:
    """Copy of ``(n, [rows,] cols)`` with dead or missing values interpolated along the last axis."""
    good = np.isfinite(frames) & ~dead
    lines, valid = frames.copy().reshape(-1, frames.shape[-1]), good.reshape(-1, frames.shape[-1])
    columns = np.arange(frames.shape[-1])
    for k in np.flatnonzero(~valid.all(axis=1)):
        known = valid[k]
        if known.any():
            lines[k, ~known] = np.interp(columns[~known], columns[known], lines[k, known])
    return _rows_filled(lines.reshape(frames.shape), good)


def _rows_filled(frames: Array, good: Array) -> Array:
    """Detector rows without any good pixel become their nearest good row; a frame without one stays."""
    if frames.ndim == 2:
        return frames
    for frame, valid in zip(frames, good, strict=True):
        usable = valid.any(axis=-1)
        if usable.any() and not usable.all():
            rows = np.flatnonzero(usable)
            nearest = rows[np.abs(rows[None] - np.flatnonzero(~usable)[:, None]).argmin(axis=1)]
            frame[~usable] = frame[nearest]
    return frames
