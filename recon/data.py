"""The two things users hold: a `Scan` (measurement and geometry) and an `Image` (pixels, place and unit)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from rayfold.operators.geometry import FanBeam, ParallelBeam, VectorBeam

Array = npt.NDArray[Any]
ScanKind = Literal["counts", "transmission", "attenuation"]
SCAN_KINDS = ("counts", "transmission", "attenuation")


@dataclass(frozen=True, eq=False, repr=False)
class Scan:
    """A CT measurement with everything needed to turn it into an image.

    Parameters
    ----------
    data : ndarray, (views, cols) or (views, rows, cols)
        Raw counts, transmission (I / I0) or attenuation (-log of it), see `kind`. Several rows of a
        parallel beam are a stack of independent slices.
    beam : ParallelBeam, FanBeam or VectorBeam
        Geometry in mm (or in pixels, see `unit`) and rad, one view per leading index of `data`.
    kind : {"counts", "transmission", "attenuation"}
        What the numbers are.
    unit : {"mm", "px"}
        Length unit of the beam; "px" when the file states no pixel size: attenuation then comes out in 1/px.
    flat, dark : ndarray, (n, [rows,] cols), optional
        Open-beam and beam-off frames that belong to raw counts.
    flat_views : ndarray, (n,), optional
        Position of every flat among the views (fractional view index), for interpolation in time.
    photons : float, optional
        Photons per detector pixel in the open beam.
    row_pitch : float, optional
        Distance of detector rows at the rotation axis, in `unit`; the slice spacing.
    mu_water : float, optional
        Attenuation of water in 1/mm at this scan's energy; needed for HU.
    path : str, optional
        File name the data came from (name only, never a folder).
    source : str
        Name of the format it was read as.
    history : tuple of str
        Preprocessing steps already applied, oldest first.
    notes : tuple of str
        What a user should know (repaired pixels, assumptions made).
    """

    data: Array
    beam: ParallelBeam | FanBeam | VectorBeam
    kind: ScanKind
    unit: Literal["mm", "px"] = "mm"
    flat: Array | None = None
    dark: Array | None = None
    flat_views: Array | None = None
    photons: float | None = None
    row_pitch: float | None = None
    mu_water: float | None = None
    path: str | None = None
    source: str = "arrays"
    history: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in SCAN_KINDS:
            raise ValueError(f"kind is {self.kind!r}; it must be one of {', '.join(SCAN_KINDS)}")
        if self.data.ndim not in (2, 3):
            raise ValueError(
                f"data has shape {self.data.shape}; it must be (views, cols) or (views, rows, cols)"
            )
        views, cols = self.data.shape[0], self.data.shape[-1]
        if (views, cols) != self.beam.shape:
            raise ValueError(
                f"data holds {views} views of {cols} bins, the geometry {self.beam.n_views} views of "
                f"{self.beam.n_cols}; give one angle per view and the right number of bins"
            )

    @property
    def n_views(self) -> int:
        """Number of views."""
        return int(self.data.shape[0])

    @property
    def n_rows(self) -> int:
        """Number of detector rows (slices of a parallel beam)."""
        return int(self.data.shape[1]) if self.data.ndim == 3 else 1

    @property
    def n_cols(self) -> int:
        """Number of detector bins per row."""
        return int(self.data.shape[-1])

    @property
    def sinograms(self) -> Array:
        """The data as operators take them: ``(views, cols)`` or ``(rows, views, cols)``."""
        return self.data if self.data.ndim == 2 else np.ascontiguousarray(np.moveaxis(self.data, 1, 0))

    def did(self, step: str, **changes: Any) -> Self:
        """Copy with `changes` and `step` added to the history."""
        return replace(self, history=(*self.history, step), **changes)

    def take_rows(self, rows: slice) -> Self:
        """Only some detector rows."""
        if self.data.ndim == 2:
            raise ValueError("this scan has a single detector row; leave rows out")
        if len(range(*rows.indices(self.n_rows))) == 0:
            raise ValueError(f"rows {rows.start}:{rows.stop} select nothing of {self.n_rows} detector rows")
        cut = {
            name: value[:, rows] for name in ("flat", "dark") if (value := getattr(self, name)) is not None
        }
        return replace(self, data=self.data[:, rows], **cut)

    def take_views(self, views: slice) -> Self:
        """Only some views."""
        if self.flat_views is not None and self.flat is not None:
            order = np.arange(self.n_views)[views]
            moved = np.interp(self.flat_views, order, np.arange(len(order)))
            return replace(self, data=self.data[views], beam=self.beam[views], flat_views=moved)
        return replace(self, data=self.data[views], beam=self.beam[views])

    def __repr__(self) -> str:
        beam = self.beam
        rows = f" x {self.n_rows} rows" if self.data.ndim == 3 else ""
        lines = [
            f"Scan of {self.n_views} views{rows} x {self.n_cols} bins, "
            f"{self.kind} ({self.data.dtype}), {self.source}",
            f"  geometry  {_describe(beam, self.unit)}",
        ]
        if self.flat is not None:
            lines.append(
                f"  open beam {len(self.flat)} flat, {0 if self.dark is None else len(self.dark)} dark frames"
            )
        dose = f"{self.photons:.4g} photons per detector pixel" if self.photons else "not stated"
        lines.append(f"  dose      {dose}")
        if self.history:
            lines.append(f"  done      {', '.join(self.history)}")
        lines.extend(f"  note      {note}" for note in self.notes)
        lines.append(f"  next      {self._next()}")
        return "\n".join(lines)

    def _next(self) -> str:
        if isinstance(self.beam, VectorBeam):
            return "recon with an iterative method, as cgls or tv (fbp has no formula for per-view vectors)"
        hu = (
            ""
            if self.unit == "mm" and self.mu_water
            else "; HU needs " + ("a pixel size and mu_water" if self.unit == "px" else "mu_water")
        )
        return f"recon with method fbp, cgls, tv, ...{hu}"


def _describe(beam: ParallelBeam | FanBeam | VectorBeam, unit: str) -> str:
    if isinstance(beam, VectorBeam):
        return f"{beam.kind} beam, arbitrary per-view vectors"
    first, last = np.degrees(beam.angles[[0, -1]]) if beam.n_views else (0.0, 0.0)
    kind = "parallel" if isinstance(beam, ParallelBeam) else "curved fan" if beam.curved else "fan"
    text = f"{kind} beam, {first:.6g} deg to {last:.6g} deg, pitch {beam.pitch:.6g} {unit}, "
    text += f"axis at column {beam.axis_column:.2f}"
    if isinstance(beam, FanBeam):
        text += f", source to axis {beam.source_to_axis:g}, to detector {beam.source_to_detector:g} {unit}"
    return text


@dataclass(frozen=True, eq=False, repr=False)
class Image:
    """Pixels with their place and unit; the frame is DICOM's (x to the left, y to the back, z up).

    Parameters
    ----------
    array : ndarray, (ny, nx) or (nz, ny, nx)
        Real values; complex ones of MRI can be saved as NIfTI and HDF5.
    spacing : tuple of float
        Pixel size per array axis (in mm, or pixels when `unit` is "1/px").
    origin : tuple of float, optional
        Position of the first pixel's centre per array axis; by default the grid is centred on zero.
    direction : ndarray, (3, 3), optional
        Columns are the directions of the array's x, y and z axes in space; identity by default.
    unit : str
        "1/mm", "1/px", "HU" or "a.u.".
    modality : {"CT", "MR"}
        What made the image.
    provenance : dict
        How it was made: versions, configuration, hashes, timings. Never patient data.

    Examples
    --------
    >>> Image(np.zeros((4, 6)), (0.5, 0.5)).origin
    (-0.75, -1.25)
    """

    array: Array
    spacing: tuple[float, ...]
    origin: tuple[float, ...] | None = None
    direction: Array | None = None
    unit: str = "1/mm"
    modality: Literal["CT", "MR"] = "CT"
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n = self.array.ndim
        if n not in (2, 3):
            raise ValueError(f"an image has 2 or 3 axes, this one has shape {self.array.shape}")
        spacing = tuple(map(float, self.spacing))
        if len(spacing) != n or min(spacing) <= 0:
            raise ValueError(f"spacing {spacing} must hold {n} positive numbers for shape {self.array.shape}")
        object.__setattr__(self, "spacing", spacing)
        if self.origin is None:
            centred = tuple(-(m - 1) / 2 * s for m, s in zip(self.array.shape, spacing, strict=True))
            object.__setattr__(self, "origin", centred)
        elif len(self.origin) != n:
            raise ValueError(f"origin {self.origin} must hold {n} numbers for shape {self.array.shape}")
        direction = np.eye(3) if self.direction is None else np.asarray(self.direction, float).reshape(3, 3)
        object.__setattr__(self, "direction", direction)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    @property
    def length(self) -> Literal["mm", "px"]:
        """Unit of `spacing`: bins of the detector where attenuation is in 1/px, else mm."""
        return "px" if self.unit == "1/px" else "mm"

    def to_hu(self, mu_water: float) -> Self:
        """Hounsfield units ``1000 * (mu - mu_water) / mu_water`` for attenuation in 1/mm.

        Parameters
        ----------
        mu_water : float
            Attenuation of water in 1/mm at the scan's energy.

        Raises
        ------
        ValueError
            If the image is not in 1/mm, with the reason.
        """
        if self.unit == "1/px":
            raise ValueError(
                "HU needs attenuation in 1/mm, this image is in 1/px: give the pixel size of the scan"
            )
        if self.unit != "1/mm":
            raise ValueError(f"HU needs attenuation in 1/mm, this image is in {self.unit}")
        if not mu_water > 0:
            raise ValueError(
                f"mu_water is {mu_water}; it must be a positive attenuation in 1/mm (about 0.02)"
            )
        return replace(self, array=(self.array - mu_water) * (1000.0 / mu_water), unit="HU")

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write by suffix (.nii.gz, .tif, .h5, .png, or a folder for DICOM); see `rayfold.recon.save`."""
        from rayfold.recon.io.writers import save

        return save(self, path, force=force)

    def __repr__(self) -> str:
        size = " x ".join(map(str, self.shape))
        step = " x ".join(f"{s:.4g}" for s in self.spacing)
        values = abs(self.array) if np.iscomplexobj(self.array) else self.array
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        return f"Image({size}, {step} {self.length}, {self.unit}, {low:.4g} to {high:.4g})"
