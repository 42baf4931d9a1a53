"""What makes raw MRI data consistent; each check raises an `InconsistentInput` that says what to do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput

if TYPE_CHECKING:
    from rayfold.recon.kspace import KSpace

Array = npt.NDArray[Any]
LEADING = ("slice", "echo", "average", "repetition", "phase", "contrast", "set")
CARTESIAN = (("kz", "ky", "kx"), ("ky", "kx"))
NON_CARTESIAN = (("shot", "sample"), ("sample",))
ROUNDING = 1e-3  # rad/voxel a trajectory may lie beyond pi


def check_axes(data: Array, axes: tuple[str, ...]) -> None:
    """Complex numbers, and one known name per axis in the container's order."""
    if not isinstance(data, np.ndarray) or data.dtype.kind != "c":
        kind = getattr(data, "dtype", type(data).__name__)
        raise InconsistentInput(f"k-space holds {kind} values; give a NumPy array of complex numbers")
    if len(axes) != data.ndim:
        raise InconsistentInput(
            f"data has the shape {data.shape}, axes names {len(axes)}: {', '.join(axes)}; name each axis once"
        )
    at = axes.index("coil") if axes.count("coil") == 1 else None
    lead, rest = (axes[:at], axes[at + 1 :]) if at is not None else ((), ())
    if rest not in (*CARTESIAN, *NON_CARTESIAN) or len(set(lead)) < len(lead) or set(lead) - set(LEADING):
        raise InconsistentInput(
            f"axes are {', '.join(axes)}; allowed are any of {', '.join(LEADING)}, then coil, then "
            "(kz,) ky, kx or (shot,) sample"
        )
    if data.size == 0:
        raise InconsistentInput(f"k-space is empty, its shape is {data.shape}; check the file")


def check_grid(scan: KSpace) -> None:
    """Matrix, crop, field of view and the name of the readout."""
    ndim = len(scan.grid)
    if ndim not in (2, 3) or min(scan.grid) < 1:
        raise InconsistentInput(f"matrix is {scan.grid}; give (ny, nx) or (nz, ny, nx)")
    for name in ("crop", "field_of_view"):
        value = getattr(scan, name)
        if value is not None and (len(value) != ndim or not min(value) > 0 or not math.isfinite(max(value))):
            raise InconsistentInput(
                f"{name} is {value}; give {ndim} positive numbers, one per axis of {scan.grid}"
            )
    if scan.crop is not None and any(c > n for c, n in zip(scan.crop, scan.grid, strict=True)):
        raise InconsistentInput(f"crop {scan.crop} is larger than the encoded grid {scan.grid}; leave it out")
    if scan.readout not in ("kx", "ky"):
        raise InconsistentInput(f"readout is {scan.readout!r}; it must be kx or ky")


def check_places(scan: KSpace) -> None:
    """Where the samples lie: on the grid and its mask, or along a trajectory."""
    shape = scan.data.shape
    lead, k_shape = shape[: len(scan.leading)], shape[len(scan.leading) + 1 :]
    if scan.cartesian:
        if scan.trajectory is not None:
            raise InconsistentInput(
                "ky, kx data take no trajectory; name the axes shot, sample or leave it out"
            )
        if k_shape != scan.grid:
            raise InconsistentInput(
                f"data have {'x'.join(map(str, k_shape))} Cartesian positions, matrix is {scan.grid}; "
                "place the lines on the full grid"
            )
        if scan.sampled is not None:
            if scan.sampled.dtype != np.bool_:
                raise InconsistentInput(f"sampled holds {scan.sampled.dtype}; give a mask of bool")
            _must_fit("sampled", scan.sampled.shape, (*lead, *k_shape))
            if not scan.sampled.any():
                raise InconsistentInput("sampled marks no position as measured; check the file")
        return
    if scan.sampled is not None:
        raise InconsistentInput("sampled belongs to Cartesian data; leave it out for a trajectory")
    places = scan.trajectory
    if places is None:
        raise InconsistentInput(f"{', '.join(scan.axes)} need a trajectory; give one in rad/voxel")
    ndim = len(scan.grid)
    if places.ndim < len(k_shape) + 1 or places.shape[-1] != ndim or places.dtype.kind != "f":
        raise InconsistentInput(
            f"trajectory is {places.dtype} of shape {places.shape}; it must be real, (..., samples, {ndim}) "
            f"for the grid {scan.grid}"
        )
    if places.shape[-1 - len(k_shape) : -1] != k_shape:
        raise InconsistentInput(
            f"trajectory has shape {places.shape}, the data hold {k_shape} samples; give one place per sample"
        )
    _must_fit("trajectory", places.shape[:-1], (*lead, *k_shape))
    most = float(np.max(np.abs(places)))
    if not most <= math.pi + ROUNDING:
        raise InconsistentInput(
            f"the trajectory reaches {most:.4g} rad/voxel, beyond pi; give 2 pi times cycles per field of "
            "view over the matrix, or a larger matrix"
        )


def check_companions(scan: KSpace) -> None:
    """Coil counts and shapes of all that was measured besides."""
    lead, coils = scan.data.shape[: len(scan.leading)], scan.n_coils
    ends = {"noise": ("n",), "calibration": scan.grid, "reference": ("lines", "samples")}
    for name, end in ends.items():
        array = getattr(scan, name)
        if array is None:
            continue
        at = array.ndim - len(end) - 1
        if array.dtype.kind != "c" or at < 0 or (name == "noise" and at):
            want = ", ".join(("coils", *map(str, end)))
            raise InconsistentInput(
                f"{name} is {array.dtype} of shape {array.shape}; it must be complex, ({want})"
            )
        if array.shape[at] != coils:
            raise InconsistentInput(
                f"{name} has {array.shape[at]} coils, the data have {coils}; use a scan of the same receiver "
                "or leave it out"
            )
        _must_fit(name, array.shape[:at], lead)
    if scan.calibration is not None:
        if scan.calibration.shape[-len(scan.grid) :] != scan.grid:
            raise InconsistentInput(
                f"calibration has shape {scan.calibration.shape}, the grid is {scan.grid}; use the same grid"
            )
        if scan.calibration_sampled is not None:
            _must_fit("calibration_sampled", scan.calibration_sampled.shape, scan.grid)
    flags = {
        "reference_reversed": None if scan.reference is None else scan.reference.shape[-2],
        "reversed_lines": scan.size("ky") if scan.cartesian else None,
    }
    for name, n in flags.items():
        marks = getattr(scan, name)
        if marks is not None and (marks.dtype != np.bool_ or marks.shape != (n,)):
            raise InconsistentInput(
                f"{name} is {marks.dtype} of shape {marks.shape}; give {n} of bool, one per line"
            )


def _must_fit(name: str, shape: tuple[int, ...], into: tuple[int, ...]) -> None:
    """Whether `shape` broadcasts to `into`."""
    end = into[len(into) - len(shape) :] if len(shape) <= len(into) else ()
    if len(end) != len(shape) or any(a not in (1, b) for a, b in zip(shape, end, strict=True)):
        raise InconsistentInput(
            f"{name} of shape {shape} does not fit the data's {into}; give {into} or its last axes"
        )


def check_finite(name: str, array: Array) -> None:
    """No NaN and no infinity, or the error says how many there are."""
    # one pass and no temporary array in the normal case
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return
    bad = int(array.size - np.count_nonzero(np.isfinite(array)))
    if bad:
        raise InconsistentInput(
            f"{name} holds {bad} NaN or infinite samples of {array.size}; set them to 0 and mark them in "
            "sampled, or export the scan again"
        )
