"""What cannot be a measurement is refused before anything is computed from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput

Array = npt.NDArray[Any]
MOST_DEAD = 0.05
MOST_NEGATIVE = 0.01
FEWEST_VIEWS = 8
BLIND = 0.01


def check(scan: Scan) -> Scan:
    """Return the scan unchanged, or say what is wrong with it.

    Parameters
    ----------
    scan : Scan
        As loaded.

    Returns
    -------
    Scan
        The same object.

    Raises
    ------
    InconsistentInput
        If a view holds no usable number, more than 5 % of the detector columns are dead, more than 1 % of raw
        counts are below zero, or flats and darks do not fit the views.

    Examples
    --------
    >>> from rayfold.operators.geometry import ParallelBeam
    >>> scan = Scan(np.ones((9, 16)), ParallelBeam.evenly(9, 16), "attenuation")
    >>> check(scan) is scan
    True
    """
    name = scan.path or "the scan"
    for what, frames in (("flat", scan.flat), ("dark", scan.dark)):
        if frames is not None and frames.shape[1:] != scan.data.shape[1:]:
            raise InconsistentInput(
                f"{name}: {what} frames are {frames.shape[1:]}, the views {scan.data.shape[1:]}; "
                "give frames of one size"
            )
    finite = np.isfinite(scan.data)
    empty = np.flatnonzero(~finite.reshape(scan.n_views, -1).any(axis=1))
    if len(empty):
        shown = ", ".join(map(str, empty[:5])) + (" and more" if len(empty) > 5 else "")
        raise InconsistentInput(
            f"{name}: {len(empty)} of {scan.n_views} views hold no number ({shown}); remove them"
        )
    if scan.kind == "counts":
        negative = float(np.mean(scan.data < 0))
        if negative > MOST_NEGATIVE:
            raise InconsistentInput(
                f"{name}: {100 * negative:.1f} % of the raw counts are below zero; they cannot be: "
                'if they are already normalised, say kind = "transmission" or "attenuation"'
            )
    dead = dead_pixels(scan)
    if dead.mean() > MOST_DEAD:
        raise InconsistentInput(
            f"{name}: {dead.sum()} of {dead.size} detector pixels are dead ({100 * dead.mean():.1f} %, "
            f"at most {100 * MOST_DEAD:.0f} % can be mended); check detector and flats, or cut them away"
        )
    lines = np.isfinite(scan.data).any(axis=-1) | dead.all(axis=-1)
    if not lines.all():
        view, row = np.argwhere(~lines.reshape(scan.n_views, -1))[0]
        raise InconsistentInput(
            f"{name}: row {row} of view {view} holds no number; remove it with take_views or take_rows"
        )
    return scan


def dead_pixels(scan: Scan) -> Array:
    """Detector pixels without information: ``([rows,] cols)``, True where dead.

    Dead are pixels that are not finite in most views, that see no open beam, or that never change although
    their neighbours do. Noise-free and masked data also have pixels that never change (air is exactly 0):
    where the edge of the detector is constant, constancy proves nothing.
    """
    data = scan.data
    dead: Array = np.isfinite(data).mean(axis=0) < 0.5
    if scan.kind == "counts" and scan.flat is not None:
        dead = dead | _blind(scan.flat, scan.dark)
    if len(data) < FEWEST_VIEWS:
        return dead
    constant = (data == data[:1]).all(axis=0)
    stuck = constant & (data[0] <= 0) if scan.kind != "attenuation" else np.zeros_like(constant)
    plain = constant & ~stuck
    noise_free = plain[..., :1] | plain[..., -1:]
    return np.asarray(dead | stuck | (plain & ~noise_free))


def _blind(flat: Array, dark: Array | None) -> Array:
    """Pixels whose open beam is nothing, against their neighbours: a beam may well fade towards its edges."""
    from scipy.ndimage import median_filter

    beam = flat.mean(axis=0, dtype=np.float64)
    if dark is not None:
        beam = beam - dark.mean(axis=0, dtype=np.float64)
    known = np.nan_to_num(beam, nan=0.0, posinf=0.0, neginf=0.0)
    size = (1,) * (beam.ndim - 1) + (11,)
    blind: Array = ~np.isfinite(beam) | (known <= BLIND * np.maximum(median_filter(known, size), 0))
    return blind
