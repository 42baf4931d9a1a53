"""The usual chain from a loaded scan to attenuation."""

from __future__ import annotations

from typing import Literal

from rayfold.recon.data import Scan
from rayfold.recon.preprocess.center import center as put_center
from rayfold.recon.preprocess.mend import mend_dead
from rayfold.recon.preprocess.normalise import neglog, normalise
from rayfold.recon.preprocess.remove import remove_rings, remove_zingers


def prepare(
    scan: Scan,
    *,
    zingers: bool = False,
    rings: str | None = None,
    center: float | Literal["auto"] | None = None,
) -> Scan:
    """Check, mend, normalise and take the logarithm; remove zingers, centre and remove rings on request.

    Parameters
    ----------
    scan : Scan
        As loaded, or already partly processed: what the history lists is not done again.
    zingers : bool
        Remove zingers (`remove_zingers`).
    rings : str, optional
        Method of `remove_rings`, as "sorting" or "all".
    center : float or "auto", optional
        Column of the rotation axis, or "auto" to find it; by default the scan's own.

    Returns
    -------
    Scan
        Attenuation.

    Raises
    ------
    InconsistentInput
        If the data cannot be a measurement (see `check`), or flats are missing.
    ValueError
        If an argument is wrong, or the axis cannot be found.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators.geometry import ParallelBeam
    >>> flat = np.full((2, 6), 100.0)
    >>> scan = Scan(np.full((9, 6), 50.0), ParallelBeam.evenly(9, 6), "counts", flat=flat)
    >>> prepare(scan).history
    ('normalise', 'neglog')
    """
    if isinstance(center, str) and center != "auto":
        raise ValueError(f'center is {center!r}; give a column or "auto"')
    scan = mend_dead(scan)  # checks first
    if zingers and "remove_zingers" not in scan.history:
        scan = remove_zingers(normalise(scan))
    scan = neglog(normalise(scan))
    # the axis first: what removes rings also shifts the contrast that shows where it is
    if center == "auto" and "center" not in scan.history:
        scan = put_center(scan)
    elif center is not None and center != "auto" and not _is_at(scan, center):
        scan = put_center(scan, center)
    if rings is not None and f"remove_rings({rings})" not in scan.history:
        scan = remove_rings(scan, method=rings)
    return scan


def _is_at(scan: Scan, column: float) -> bool:
    at = getattr(scan.beam, "axis_column", None)
    return at is not None and abs(at - column) < 1e-9
