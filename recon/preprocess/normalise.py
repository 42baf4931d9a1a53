"""Counts to transmission ``(I - dark) / (flat - dark)``, transmission to attenuation ``-log``."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput

Array = npt.NDArray[Any]
SMALLEST_TRANSMISSION = 1e-4


def normalise(scan: Scan, *, over_time: bool | None = None) -> Scan:
    """Divide raw counts by the open beam.

    Parameters
    ----------
    scan : Scan
        Raw counts with flats; without darks the beam-off signal is taken as zero.
    over_time : bool, optional
        Follow the beam between the times at which flats were taken; by default when there are several.
        Otherwise all flats are averaged.

    Returns
    -------
    Scan
        Transmission; a scan that is not raw counts is returned as it is.

    Raises
    ------
    InconsistentInput
        If there are no flats, or an open beam is not positive.
    ValueError
        If `over_time` is asked for but the times of the flats are not known.

    Examples
    --------
    >>> from rayfold.operators.geometry import ParallelBeam
    >>> open_beam, closed = np.full((1, 4), 110.0), np.full((1, 4), 10.0)
    >>> beam = ParallelBeam.evenly(9, 4)
    >>> scan = Scan(np.full((9, 4), 50.0), beam, "counts", flat=open_beam, dark=closed)
    >>> float(normalise(scan).data[0, 0])
    0.4
    """
    if scan.kind != "counts":
        return scan
    name = scan.path or "the scan"
    if scan.flat is None:
        raise InconsistentInput(
            f"{name}: raw counts without flat frames; give flat = or open_beam = (counts without sample) "
            "in the geometry"
        )
    if over_time and scan.flat_views is None:
        raise ValueError("over_time needs the times of the flats (flat_views); leave it out to average them")
    dtype = _working(scan.data)
    dark = np.zeros(scan.data.shape[1:]) if scan.dark is None else scan.dark.mean(axis=0, dtype=np.float64)
    times, beams = _beams(scan.flat, scan.flat_views if over_time in (None, True) else None)
    beams = beams - dark
    if not (beams > 0).all():
        raise InconsistentInput(
            f"{name}: {int((~(beams > 0)).sum())} pixels have flats no brighter than the darks; "
            "run mend_dead first, or check which frames are flats"
        )
    data = np.empty(scan.data.shape, dtype)
    for k, view in enumerate(scan.data):
        data[k] = (view - dark) / _at(k, times, beams)
    notes = (
        scan.notes if scan.dark is not None else (*scan.notes, "no dark frames: beam-off signal taken as 0")
    )
    return scan.did(
        "normalise" if len(times) == 1 else "normalise over time",
        data=data,
        kind="transmission",
        flat=None,
        dark=None,
        flat_views=None,
        notes=notes,
    )


def _beams(flat: Array, views: Array | None) -> tuple[Array, Array]:
    """Times of the open beam and its mean frame at each."""
    if views is None:
        return np.zeros(1), flat.mean(axis=0, dtype=np.float64)[None]
    times, group = np.unique(np.asarray(views, float), return_inverse=True)
    return times, np.stack([flat[group == k].mean(axis=0, dtype=np.float64) for k in range(len(times))])


def _at(view: int, times: Array, beams: Array) -> Array:
    """Open beam at one view, between the nearest two times."""
    after = int(np.searchsorted(times, view))
    if after == 0 or after == len(times):
        edge: Array = beams[min(after, len(times) - 1)]
        return edge
    part = (view - times[after - 1]) / (times[after] - times[after - 1])
    between: Array = (1 - part) * beams[after - 1] + part * beams[after]
    return between


def neglog(scan: Scan, *, floor: float | None = None) -> Scan:
    """Attenuation ``-log(transmission)``.

    Parameters
    ----------
    scan : Scan
        Transmission; attenuation is returned as it is.
    floor : float, optional
        Smallest transmission; what is below (no photon arrived) is set to it. By default half a photon where
        the photons are stated, otherwise 1e-4.

    Returns
    -------
    Scan
        Attenuation.

    Raises
    ------
    InconsistentInput
        If the scan still holds raw counts.
    ValueError
        If `floor` is not between 0 and 1.

    Examples
    --------
    >>> from rayfold.operators.geometry import ParallelBeam
    >>> scan = Scan(np.full((9, 4), np.exp(-2.0)), ParallelBeam.evenly(9, 4), "transmission")
    >>> round(float(neglog(scan).data[0, 0]), 12)
    2.0
    """
    if scan.kind == "attenuation":
        return scan
    if scan.kind == "counts":
        raise InconsistentInput(f"{scan.path or 'the scan'} holds raw counts; run normalise before neglog")
    if floor is None:
        floor = min(0.5 / scan.photons, 0.5) if scan.photons else SMALLEST_TRANSMISSION
    if not 0 < floor < 1:
        raise ValueError(f"floor is {floor}; it must be a transmission between 0 and 1, as 1e-4")
    low = int((scan.data < floor).sum())
    notes = scan.notes
    if low:
        notes = (
            *notes,
            f"{low} values ({100 * low / scan.data.size:.2g} %) below transmission {floor:.2g} set to it",
        )
    data = np.maximum(scan.data, floor, dtype=_working(scan.data))
    np.negative(np.log(data, out=data), out=data)  # in place: scans are large
    return scan.did("neglog", data=data, kind="attenuation", notes=notes)


def _working(data: Array) -> np.dtype[Any]:
    """Double precision only for data that came in double precision."""
    return np.dtype(np.float64 if data.dtype == np.float64 else np.float32)
