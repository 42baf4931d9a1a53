"""Raw MRI data: a `KSpace` holds the samples of all coils under named axes, and where they lie in k-space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.kspace_checks import (
    LEADING,
    check_axes,
    check_companions,
    check_finite,
    check_grid,
    check_places,
)

Array = npt.NDArray[Any]


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
        check_axes(self.data, self.axes)
        if self.matrix is None:
            if not self.cartesian:
                raise InconsistentInput(
                    f"{', '.join(self.axes)} are samples off the grid; give the image grid, matrix=(ny, nx)"
                )
            object.__setattr__(self, "matrix", self.data.shape[-len(self.k_axes) :])
        for name, convert in (("matrix", int), ("crop", int), ("field_of_view", float)):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(map(convert, value)))
        check_grid(self)
        check_places(self)
        check_companions(self)
        for name in ("data", "noise", "calibration", "reference"):
            if (array := getattr(self, name)) is not None:
                check_finite(name, array)

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
