"""The detector column of the rotation axis, from the data.

Over a full turn every ray, parallel or fan, is measured from both ends: the axis is where the two agree.
Over half a turn of a parallel beam: Vo's Fourier method (Opt. Express 22, 19078, 2014) from Algotom.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.operators.geometry import FanBeam, ParallelBeam
from rayfold.recon.data import Scan
from rayfold.recon.preprocess.mend import mend_dead
from rayfold.recon.preprocess.normalise import neglog, normalise
from rayfold.recon.preprocess.remove import CURE

Array = npt.NDArray[Any]
MOST_ROWS = 5
MOST_VIEWS = 360
SMALLEST_OVERLAP = 0.1


def center(scan: Scan, column: float | None = None) -> Scan:
    """Put the rotation axis onto a detector column.

    Parameters
    ----------
    scan : Scan
        Parallel or fan beam.
    column : float, optional
        Column in bins, from 0; by default the result of `find_center`.

    Returns
    -------
    Scan
        The same data with the corrected beam.

    Raises
    ------
    ValueError
        If the beam is given by per-view vectors, or the search is not possible (see `find_center`).

    Examples
    --------
    >>> scan = Scan(np.ones((9, 16)), ParallelBeam.evenly(9, 16), "attenuation")
    >>> center(scan, 6.5).beam.axis_column
    6.5
    """
    beam = _movable(scan)
    if column is None:
        column = find_center(scan)
        note = f"rotation axis found at column {column:.2f}"
        return scan.did("center", beam=beam.with_axis_column(column), notes=(*scan.notes, note))
    if not math.isfinite(column):
        raise ValueError(f"the rotation axis column is {column}; give a finite number of bins")
    return scan.did("center", beam=beam.with_axis_column(column))


def find_center(scan: Scan) -> float:
    """Detector column (in bins, from 0) onto which the rotation axis projects.

    Accurate to about a fifth of a bin from a full turn, half a bin from half a turn.

    Parameters
    ----------
    scan : Scan
        Parallel beam over half a turn or more, or fan beam over a full turn. Of several detector rows up to
        five are used and the median is returned.

    Returns
    -------
    float
        The column.

    Raises
    ------
    ValueError
        If the views do not cover enough of a turn, or the axis is not within the detector.
    ImportError
        If the half-turn search is needed and Algotom is not installed.

    Examples
    --------
    >>> angles, s = np.linspace(0, 2 * np.pi, 60, endpoint=False), np.arange(64) - 30.0
    >>> data = np.exp(-((s - 12 * np.cos(angles)[:, None]) ** 2) / 30)
    >>> round(find_center(Scan(data, ParallelBeam(angles, 64), "attenuation")), 1)
    30.0
    """
    beam = _movable(scan)
    search = _search(beam)
    some = scan
    if scan.data.ndim == 3:
        rows = np.unique(
            np.linspace(0, scan.n_rows - 1, min(scan.n_rows, MOST_ROWS) + 2)[1:-1].round()
        ).astype(int)
        rows = rows if scan.n_rows > 2 else np.arange(scan.n_rows)
        cut = {
            name: value[:, rows] for name in ("flat", "dark") if (value := getattr(scan, name)) is not None
        }
        some = replace(scan, data=scan.data[:, rows], **cut)
    some = neglog(normalise(mend_dead(some)))
    sinograms = some.sinograms.reshape(-1, *beam.shape)
    return float(np.median([search(np.asarray(sinogram, np.float32), beam) for sinogram in sinograms]))


def _movable(scan: Scan) -> ParallelBeam | FanBeam:
    if isinstance(scan.beam, ParallelBeam | FanBeam):
        return scan.beam
    raise ValueError("this scan has per-view vectors, which already say where the axis is; leave center out")


def _search(beam: ParallelBeam | FanBeam) -> Callable[[Array, Any], float]:
    """The method that the angles allow."""
    span = float(np.ptp(beam.angles)) * (1 + 1 / max(beam.n_views - 1, 1))
    if span > math.radians(359) and beam.n_views >= 8:
        return _by_opposite_rays
    if isinstance(beam, FanBeam):
        raise ValueError(
            f"the axis of a fan beam is found from a full turn, not from {math.degrees(span):.0f} deg; "
            "give center as a column"
        )
    if span < math.radians(170):
        raise ValueError(
            f"the axis is found from half a turn or more, not from {math.degrees(span):.0f} deg; "
            "give center as a column"
        )
    return _by_vo


def _by_vo(sinogram: Array, beam: ParallelBeam) -> float:
    """Half a turn of a parallel beam."""
    try:
        from algotom.prep.calculation import coarse_search_cor, fine_search_cor
    except ImportError as error:
        raise ImportError(CURE) from error
    n_cols = beam.n_cols
    half = np.abs(beam.angles - beam.angles[0]) < math.pi + 0.5 * abs(beam.angles[1] - beam.angles[0])
    views = sinogram[half]
    views = views[:: max(1, len(views) // MOST_VIEWS)]
    # The search costs the square of the columns, so its first part runs on bins of a few columns.
    wide = max(1, n_cols // 200)
    binned = views[:, : n_cols // wide * wide].reshape(len(views), -1, wide).mean(axis=2)
    low, high = 0.3 * binned.shape[1], 0.7 * binned.shape[1]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            near = wide * coarse_search_cor(binned, low, high) + (wide - 1) / 2
            near = fine_search_cor(views, near, wide + 1, 0.5)
            return float(fine_search_cor(views, near, 0.5, 0.1))
        except UserWarning:
            raise ValueError(
                "the axis is not in the middle 40 % of the detector or the views show too little; "
                "give center as a column"
            ) from None


def _by_opposite_rays(sinogram: Array, beam: ParallelBeam | FanBeam) -> float:
    """A full turn: the ray (t, g) is met again at (t + pi - 2 g, -g); fan angle g = 0 for parallel rays."""
    from scipy.ndimage import gaussian_filter1d

    turn = 2 * math.pi
    angles, order = np.unique(np.round(np.mod(beam.angles, turn), 9), return_index=True)
    angles, order = np.append(angles, angles[0] + turn), np.append(order, order[0])
    n_cols = beam.n_cols
    step = max(1.0, n_cols / 100)
    candidates = np.arange(SMALLEST_OVERLAP * n_cols, (1 - SMALLEST_OVERLAP) * n_cols, step)
    while True:
        # Smoothing at the scale of the search: no local minima, and no reward for the blur of interpolation.
        smooth = gaussian_filter1d(sinogram, max(step, 1.5), axis=1)[order]
        costs = np.array([_mismatch(smooth, angles, beam, column) for column in candidates])
        best = int(costs.argmin())
        if best in (0, len(candidates) - 1):
            raise ValueError("opposite views agree nowhere on the detector; give center as a column")
        if step <= 0.25:
            below, here, above = costs[best - 1 : best + 2].tolist()
            bend = below - 2 * here + above
            return float(candidates[best] + (0.5 * step * (below - above) / bend if bend > 0 else 0.0))
        middle, step = float(candidates[best]), max(step / 4, 0.25)
        candidates = np.asarray(middle + step * np.arange(-8.0, 9.0))


def _mismatch(smooth: Array, angles: Array, beam: ParallelBeam | FanBeam, column: float) -> float:
    """Squared difference of opposite rays over their squares, when the axis were on `column`."""
    from scipy.ndimage import map_coordinates

    columns: Array = np.arange(beam.n_cols)
    opposite = 2 * column - columns
    seen = (opposite >= 0) & (opposite <= beam.n_cols - 1)
    columns, opposite = columns[seen], opposite[seen]
    gamma: Array = np.zeros(len(columns))
    if isinstance(beam, FanBeam):
        along = (columns - column) * beam.pitch / beam.source_to_detector
        gamma = along if beam.curved else np.arctan(along)
    views = np.arange(0, len(angles) - 1, max(1, len(angles) // 180))
    wanted = np.mod(angles[views, None] + math.pi - 2 * gamma - angles[0], 2 * math.pi) + angles[0]
    place = np.interp(wanted.ravel(), angles, np.arange(len(angles))).reshape(wanted.shape)
    again = map_coordinates(smooth, [place, np.broadcast_to(opposite, place.shape)], order=1, mode="nearest")
    once = smooth[np.ix_(views, columns)]
    return float(((once - again) ** 2).sum() / max(float((once**2 + again**2).sum()), 1e-30))
