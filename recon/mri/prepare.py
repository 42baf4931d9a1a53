"""From a scan as measured to data that a model of the physics fits: ghosts, noise, oversampling."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.kspace import KSpace
from rayfold.recon.mri.epi import correct_ghost, ghost_phase, ghost_phase_blind
from rayfold.recon.mri.grid import cut_oversampling
from rayfold.recon.mri.whiten import Whitening, whitening

Array = npt.NDArray[Any]
OUTER = 0.85  # of the largest distance from the centre: samples beyond it are mostly noise


def remove_ghost(scan: KSpace) -> KSpace:
    """Bring the lines of an EPI that were read backwards in step with the others.

    The phase between them comes from the scan's reference lines, or without any from the image of least
    entropy, which is noted.
    """
    back = scan.reversed_lines
    if back is None or back.all() or not back.any():
        return scan
    if scan.reference is not None and scan.reference_reversed is not None:
        data = correct_ghost(scan.data, back, ghost_phase(scan.reference, scan.reference_reversed))
        return scan.did("Nyquist ghost corrected", data=data.astype(scan.data.dtype))
    data = np.empty_like(scan.data)
    for index in np.ndindex(*scan.data.shape[: len(scan.leading)]):
        data[index] = correct_ghost(scan.data[index], back, ghost_phase_blind(scan.data[index], back))
    note = "no reference lines: the Nyquist ghost was corrected to the image of least entropy"
    return replace(scan.did("Nyquist ghost corrected", data=data), notes=(*scan.notes, note))


def cut_readout(scan: KSpace) -> KSpace:
    """Leave out what lies beyond the image along the readout, where the header says it was oversampled.

    Nothing is lost: the readout is measured wholly, and the object does not reach that far.
    """
    if scan.crop is None or not scan.cartesian:
        return scan
    at = scan.k_axes.index(scan.readout)
    axis = at - len(scan.grid)
    n, keep = scan.grid[axis], scan.crop[axis]
    if keep == n or not _whole(scan.sampled, axis):
        return scan

    def fewer(mask: Array | None) -> Array | None:
        if mask is None or mask.ndim < -axis or mask.shape[axis] == 1:
            return mask
        return np.take(mask, range(n // 2 - keep // 2, n // 2 - keep // 2 + keep), axis=axis)

    cut = {
        name: cut_oversampling(value, keep, axis=axis).astype(value.dtype)
        for name in ("data", "calibration")
        if (value := getattr(scan, name)) is not None
    }
    matrix = tuple(keep if k == at else m for k, m in enumerate(scan.grid))
    field = scan.field_of_view
    if field is not None:
        field = tuple(f * keep / n if k == at else f for k, f in enumerate(field))
    left = scan.crop if matrix != scan.crop else None
    return scan.did(
        f"readout cut from {n} to {keep}",
        **cut,
        sampled=fewer(scan.sampled),
        calibration_sampled=fewer(scan.calibration_sampled),
        matrix=matrix,
        field_of_view=field,
        crop=left,
        reference=None,
        reference_reversed=None,
    )


def _whole(sampled: Array | None, axis: int) -> bool:
    """Whether every line that was measured at all was measured from end to end."""
    if sampled is None or sampled.ndim < -axis or sampled.shape[axis] == 1:
        return True
    return bool((sampled.all(axis=axis) == sampled.any(axis=axis)).all())


def whiten(scan: KSpace, *, measured: bool = False) -> tuple[KSpace, Whitening]:
    """Make the noise of the coils independent and of unit variance; images then are in units of their noise.

    Parameters
    ----------
    scan : KSpace
        With or without a noise scan.
    measured : bool
        Refuse to estimate the covariance from the data.

    Returns
    -------
    KSpace, Whitening
        The scan, and what was done; its `estimated` says whether the covariance came from the data.

    Raises
    ------
    ValueError
        If a noise scan is asked for and there is none, or there are too few samples.
    """
    axis = scan.axes.index("coil")
    noise, estimated = scan.noise, False
    if noise is None and not measured and not scan.cartesian:
        noise, estimated = _outer(scan), True
    if noise is None:
        ndim = len(scan.grid)
        coils = np.moveaxis(scan.data, axis, 0)
        sampled = scan.sampled
        white = whitening(coils, None, sampled=sampled, ndim=ndim, measured=measured)
    else:
        white = whitening(None, noise, measured=measured)
    if estimated:
        white = replace(white, estimated=True)
    changed = {
        name: white(value, at).astype(value.dtype)
        for name, at in (("data", axis), ("calibration", -len(scan.grid) - 1), ("noise", 0))
        if (value := getattr(scan, name)) is not None
    }
    how = "its periphery" if white.estimated else "the noise scan"
    done = scan.did(f"whitened by {how}", **changed)
    if white.estimated:
        note = "there is no noise scan; the noise of the coils was estimated from the edge of k-space"
        done = replace(done, notes=(*done.notes, note))
    return done, white


def _outer(scan: KSpace) -> Array:
    """Samples far from the centre of a trajectory, ``(coils, n)``."""
    assert scan.trajectory is not None
    places = np.broadcast_to(
        scan.trajectory,
        (*scan.data.shape[: len(scan.leading)], *scan.data.shape[len(scan.leading) + 1 :], len(scan.grid)),
    )
    radius = np.linalg.norm(places, axis=-1)
    far = radius >= OUTER * radius.max()
    return np.moveaxis(scan.data, scan.axes.index("coil"), 0)[:, far]
