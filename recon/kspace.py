"""Raw MRI data: a `KSpace` holds the samples of all coils under named axes, and where they lie in k-space."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput

Array = npt.NDArray[Any]
LEADING = ("slice", "echo", "average", "repetition", "phase", "contrast", "set")
CARTESIAN = (("kz", "ky", "kx"), ("ky", "kx"))
NON_CARTESIAN = (("shot", "sample"), ("sample",))
ROUNDING = 1e-3  # rad/voxel a trajectory may lie beyond pi


@dataclass(frozen=True, eq=False, repr=False)
class KSpace:
    """An MRI measurement with everything needed to turn it into an image. It never holds patient data.

    Parameters
    ----------
    data : ndarray of complex64 or complex128
        Samples, one array axis per name in `axes`; 0 where nothing was measured. The centre of a Cartesian
        axis of length n is at index ``n // 2``.
    axes : tuple of str
        Any of "slice", "echo", "average", "repetition", "phase", "contrast", "set"; then "coil"; then
        ``("kz",) "ky", "kx"`` (Cartesian) or ``("shot",) "sample"``.
    trajectory : ndarray, (..., [shots,] samples, ndim), optional
        Places of non-Cartesian samples in rad/voxel, within [-pi, pi], in image-axis order (ky, kx). Leading
        axes are those of the data, of length 1, or absent.
    sampled : ndarray of bool, optional
        Which positions were measured, all by default; it broadcasts to the data without its coil axis.
    matrix : tuple of int, (ny, nx) or (nz, ny, nx)
        Image grid of the encoding; by default the shape of the Cartesian axes.
    crop : tuple of int, optional
        Central part of the image to keep, where the header states that the readout was oversampled.
    field_of_view : tuple of float, optional
        Extent in mm of `matrix`, per image axis.
    slice_thickness, slice_spacing : float, optional
        In mm, the spacing between centres.
    direction : ndarray, (3, 3), optional
        Columns are the directions of the image's x, y and z axes in the patient's frame (x to the left, y to
        the back, z up).
    origin : tuple of float, optional
        Place in mm (x, y, z) of the image's voxel ``n // 2``, in the first slice.
    noise : ndarray, (coils, n), optional
        Samples without signal of the same receiver.
    calibration : ndarray, (..., coils, [nz,] ny, nx), optional
        Calibration lines that were measured separately, on the grid of `matrix`; leading axes as for
        `trajectory`.
    calibration_sampled : ndarray of bool, optional
        Where they were measured; broadcasts to the image grid.
    reference : ndarray, (..., coils, lines, samples), optional
        EPI lines without phase encoding, each as long as a readout; leading axes as for `trajectory`.
    reference_reversed : ndarray of bool, (lines,), optional
        Which of these were measured against the readout direction (they are stored along it).
    reversed_lines : ndarray of bool, (ny,), optional
        The same for the lines of the data.
    readout : {"kx", "ky"}
        Which axis was sampled in time.
    echo_times : tuple of float, optional
        In ms, one per echo (or contrast).
    dwell : float, optional
        Time between samples in ms.
    field_strength : float, optional
        In T.
    path : str, optional
        File name the data came from (name only, never a folder).
    source : str
        Name of the format it was read as.
    history : tuple of str
        Preprocessing steps already applied, oldest first.
    notes : tuple of str
        What a user should know (assumptions made, parts left out).

    Raises
    ------
    InconsistentInput
        If shapes, coil counts or names contradict each other, a sample is not finite, or the trajectory
        leaves [-pi, pi].

    Examples
    --------
    >>> scan = KSpace(np.ones((3, 8, 64, 48), np.complex64), ("echo", "coil", "ky", "kx"))
    >>> scan.n_coils, scan.size("echo"), scan.matrix
    (8, 3, (64, 48))
    >>> scan.take("echo", 0).axes
    ('coil', 'ky', 'kx')
    """

    data: Array
    axes: tuple[str, ...]
    trajectory: Array | None = None
    sampled: Array | None = None
    matrix: tuple[int, ...] | None = None
    crop: tuple[int, ...] | None = None
    field_of_view: tuple[float, ...] | None = None
    slice_thickness: float | None = None
    slice_spacing: float | None = None
    direction: Array | None = None
    origin: tuple[float, float, float] | None = None
    noise: Array | None = None
    calibration: Array | None = None
    calibration_sampled: Array | None = None
    reference: Array | None = None
    reference_reversed: Array | None = None
    reversed_lines: Array | None = None
    readout: Literal["kx", "ky"] = "kx"
    echo_times: tuple[float, ...] | None = None
    dwell: float | None = None
    field_strength: float | None = None
    path: str | None = None
    source: str = "arrays"
    history: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "axes", tuple(self.axes))
        _check_axes(self.data, self.axes)
        if self.matrix is None:
            if not self.cartesian:
                raise InconsistentInput(
                    f"{', '.join(self.axes)} are samples off the grid; give the image grid, matrix=(ny, nx)"
                )
            object.__setattr__(self, "matrix", self.data.shape[-len(self.k_axes) :])
        for name, convert in (("matrix", int), ("crop", int), ("field_of_view", float)):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(map(convert, value)))
        _check_grid(self)
        _check_places(self)
        _check_companions(self)
        for name in ("data", "noise", "calibration", "reference"):
            if (array := getattr(self, name)) is not None:
                _check_finite(name, array)

    @property
    def cartesian(self) -> bool:
        """Whether the samples lie on the grid."""
        return self.axes[-1] == "kx"

    @property
    def leading(self) -> tuple[str, ...]:
        """Names of the axes before "coil"."""
        return self.axes[: self.axes.index("coil")]

    @property
    def k_axes(self) -> tuple[str, ...]:
        """Names of the axes after "coil"."""
        return self.axes[self.axes.index("coil") + 1 :]

    @property
    def n_coils(self) -> int:
        """Number of receive channels."""
        return self.size("coil")

    @property
    def grid(self) -> tuple[int, ...]:
        """`matrix`, never None."""
        assert self.matrix is not None
        return self.matrix

    @property
    def spacing(self) -> tuple[float, ...] | None:
        """Voxel size in mm per image axis, None when the field of view is not known."""
        if self.field_of_view is None:
            return None
        return tuple(f / n for f, n in zip(self.field_of_view, self.grid, strict=True))

    @property
    def acceleration(self) -> float:
        """Positions of the grid per position measured (1 when all are, or off the grid)."""
        return 1.0 if self.sampled is None else self.sampled.size / max(int(self.sampled.sum()), 1)

    def size(self, axis: str) -> int:
        """Length of a named axis, 1 when the data have none of that name.

        Parameters
        ----------
        axis : str
            A name as in `axes`.
        """
        if axis in self.axes:
            return int(self.data.shape[self.axes.index(axis)])
        if axis in (*LEADING, "kz", "ky", "kx", "shot", "sample"):
            return 1
        raise ValueError(f"axis is {axis!r}; this scan has {', '.join(self.axes)}")

    def take(self, axis: str, index: int | slice | list[int] | Array) -> Self:
        """Part of a leading axis, of the coils, or of the shots, with all that belongs to it.

        Parameters
        ----------
        axis : str
            One of `axes` but "kz", "ky", "kx" and "sample".
        index : int, slice or sequence of int
            A number drops a leading axis; "coil" and "shot" always stay.

        Raises
        ------
        ValueError
            If there is no such axis or no such index.
        """
        allowed = [name for name in self.axes if name not in ("kz", "ky", "kx", "sample")]
        if axis not in allowed:
            raise ValueError(f"axis is {axis!r}; take works along {', '.join(allowed)} of this scan")
        at, n = self.axes.index(axis), self.size(axis)
        try:
            picked = np.arange(n)[index]
        except IndexError:
            raise ValueError(f"{axis} {index} is not there; this scan has {n} (0 to {n - 1})") from None
        if picked.size == 0:
            raise ValueError(f"{axis} {index} selects nothing of {n}; give a range within 0 to {n - 1}")
        drop = picked.ndim == 0 and axis in LEADING
        part = index if drop or isinstance(index, slice) else np.atleast_1d(picked)
        changes: dict[str, Any] = {"data": self.data[(slice(None),) * at + (part,)]}
        if drop:
            changes["axes"] = self.axes[:at] + self.axes[at + 1 :]
        after = len(self.axes) - 1 - at  # axes of the data behind this one
        for name, behind in _behind(self, axis, after).items():
            if (array := getattr(self, name)) is not None and array.ndim > behind:
                place = array.ndim - 1 - behind
                only = array.shape[place] == 1 and n > 1
                cut: Any = (0 if drop else slice(None)) if only else part
                changes[name] = array[(slice(None),) * place + (cut,)]
        if axis in ("echo", "contrast") and self.echo_times is not None and len(self.echo_times) == n:
            changes["echo_times"] = tuple(self.echo_times[i] for i in np.atleast_1d(picked))
        if axis == "slice" and self.origin is not None:
            changes |= _moved(self, int(np.atleast_1d(picked)[0]))
        return replace(self, **changes)

    def did(self, step: str, **changes: Any) -> Self:
        """Copy with `changes` and `step` added to the history."""
        return replace(self, history=(*self.history, step), **changes)

    def __repr__(self) -> str:
        from rayfold.recon.kspace_text import describe

        return describe(self)


def _behind(scan: KSpace, axis: str, after: int) -> dict[str, int]:
    """Companion arrays along `axis`, each with how many of its axes lie behind it."""
    ndim = len(scan.grid)
    if axis == "coil":
        return {"noise": 1, "calibration": ndim, "reference": 2}
    if axis == "shot":
        return {"trajectory": 2}
    to_coil = after - len(scan.k_axes)  # axes behind, up to and with the coils
    return {
        "sampled": after - 1,
        "trajectory": after,  # without the coils, with the components
        "calibration": to_coil + ndim,
        "reference": to_coil + 2,
    }


def _moved(scan: KSpace, first: int) -> dict[str, Any]:
    if first == 0:
        return {}
    if scan.direction is None or scan.slice_spacing is None:
        return {"origin": None}
    step = np.asarray(scan.direction)[:, 2] * scan.slice_spacing * first
    return {"origin": tuple(float(v) for v in np.asarray(scan.origin) + step)}


def _check_axes(data: Array, axes: tuple[str, ...]) -> None:
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


def _check_grid(scan: KSpace) -> None:
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


def _check_places(scan: KSpace) -> None:
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


def _check_companions(scan: KSpace) -> None:
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


def _check_finite(name: str, array: Array) -> None:
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
