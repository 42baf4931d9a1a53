"""From arrays and what is stated about them to a `Scan`: the last step of every reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.operators.geometry import FanBeam, ParallelBeam, VectorBeam
from rayfold.recon.data import Scan, ScanKind
from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.files import BadOption, native
from rayfold.recon.io.sidecar import Geometry, Lookup

Array = npt.NDArray[Any]


def assemble(
    path: Path,
    source: str,
    data: Array,
    stated: Geometry,
    *,
    angles: Array | None = None,
    lookup: Lookup | None = None,
    kind: ScanKind | None = None,
    flat: Array | None = None,
    dark: Array | None = None,
    flat_views: Array | None = None,
    notes: tuple[str, ...] = (),
) -> Scan:
    """Scan from arrays; statements in `stated` win over the file's own `angles` and `kind`.

    Parameters
    ----------
    path : Path
        Where the data came from; only its name is kept.
    source : str
        Name of the format.
    data : ndarray, (views, [rows,] cols)
        The measurement.
    stated : Geometry
        Everything known about it.
    angles : ndarray, (views,), optional
        View angles in rad from the file.
    lookup : callable, optional
        Gives arrays of the file by name.
    kind : {"counts", "transmission", "attenuation"}, optional
        What the numbers are, from the file.
    flat, dark : ndarray, (n, [rows,] cols), optional
        Open-beam and beam-off frames.
    flat_views : ndarray, (n,), optional
        Position of the flats among the views.
    notes : tuple of str
        Assumptions made on the way.

    Raises
    ------
    InconsistentInput
        If the angles do not match the views, or if something needed is not stated.
    """
    n_views, n_cols = data.shape[0], data.shape[-1]
    if stated.states_angles or angles is None:
        angles = stated.view_angles(n_views, lookup)
    if len(angles) != n_views:
        raise InconsistentInput(
            f"{path.name} holds {n_views} views but {len(angles)} angles; give one angle per view"
        )
    if flat is None and stated.open_beam is not None:
        flat = np.full((1, *data.shape[1:]), stated.open_beam, np.float32)
    chosen = stated.kind or kind or ("counts" if flat is not None else None)
    if chosen is None:
        raise InconsistentInput(
            f"{path.name} does not say what its numbers are; "
            'add kind = "counts", "transmission" or "attenuation" to the geometry'
        )
    unit = stated.unit or ("px" if stated.pitch is None else "mm")
    try:
        beam = _beam(stated, -angles if stated.sense == "cw" else angles, n_cols)
        if isinstance(beam, FanBeam) and data.ndim == 3 and data.shape[1] > 1:
            notes = (*notes, "rows of a fan beam are taken as separate fans, without a cone angle")
        return Scan(
            data,
            beam,
            chosen,
            unit=unit,
            flat=_frames(flat, data, "flat"),
            dark=_frames(dark, data, "dark"),
            flat_views=flat_views,
            photons=stated.photons,
            row_pitch=stated.row_pitch,
            mu_water=stated.mu_water,
            path=path.name,
            source=source,
            notes=notes,
        )
    except InconsistentInput:
        raise
    except ValueError as error:
        raise InconsistentInput(f"{path.name}: {error}") from error


def _beam(stated: Geometry, angles: Array, n_cols: int) -> ParallelBeam | FanBeam:
    pitch, offset = stated.pitch or 1.0, stated.detector_offset or 0.0
    beam: ParallelBeam | FanBeam
    if stated.beam in (None, "parallel"):
        beam = ParallelBeam(angles, n_cols, pitch, offset)
    elif stated.source_to_axis is None or stated.source_to_detector is None:
        raise InconsistentInput("a fan beam needs source_to_axis and source_to_detector; add them")
    else:
        beam = FanBeam(
            angles,
            n_cols,
            pitch,
            stated.source_to_axis,
            stated.source_to_detector,
            curved=stated.beam == "curved-fan",
            detector_offset=offset,
            source_offset=stated.source_offset or 0.0,
        )
    return beam if stated.center is None else beam.with_axis_column(stated.center)


def _frames(frames: Array | None, data: Array, name: str) -> Array | None:
    """Flats or darks as ``(n, [rows,] cols)``; a single frame is a stack of one."""
    if frames is None:
        return None
    frames = native(frames, name)
    if frames.ndim == data.ndim - 1:
        frames = frames[None]
    if frames.shape[1:] != data.shape[1:]:
        raise InconsistentInput(
            f"{name} frames are {frames.shape[1:]} but the views {data.shape[1:]}; they must have one size"
        )
    return frames


def with_pixel_size(scan: Scan, size: float) -> Scan:
    """Scan in mm with bins of `size` mm; the axis stays on its column.

    Lengths of a scan in pixels all scale; of a scan in mm only the detector does.
    """
    if not (np.isfinite(size) and size > 0):
        raise BadOption(f"pixel_size is {size}; it must be a positive length in mm")
    beam = scan.beam
    if isinstance(beam, VectorBeam):
        raise BadOption("this scan's geometry is given by vectors, which hold the pixel size; leave it out")
    ratio = size / beam.pitch
    row_pitch = None if scan.row_pitch is None else scan.row_pitch * ratio
    if scan.unit == "px" and isinstance(beam, FanBeam):
        moved: ParallelBeam | FanBeam = replace(
            beam,
            pitch=size,
            source_to_axis=beam.source_to_axis * ratio,
            source_to_detector=beam.source_to_detector * ratio,
            detector_offset=beam.detector_offset * ratio,
            source_offset=beam.source_offset * ratio,
        )
    else:
        moved = replace(beam, pitch=size).with_axis_column(beam.axis_column)
    return replace(scan, beam=moved, unit="mm", row_pitch=row_pitch)


def with_options(scan: Scan, options: Geometry) -> Scan:
    """A complete scan with the caller's centre, turning sense and water value in place of its own."""
    beam = scan.beam
    if options.center is not None or options.sense == "cw":
        if isinstance(beam, VectorBeam):
            raise BadOption("center and sense need a parallel or a fan beam; this scan has per-view vectors")
        if options.sense == "cw":
            beam = replace(beam, angles=-beam.angles)
        if options.center is not None:
            beam = beam.with_axis_column(options.center)
    return replace(scan, beam=beam, mu_water=options.mu_water or scan.mu_water)
