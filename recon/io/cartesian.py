"""Sorted readouts to a `KSpace` on a grid: the part that ISMRMRD, twix and Pulseq have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.lines import Lines, leading_of, line_flags, place, reference_of
from rayfold.recon.kspace import KSpace

Array = npt.NDArray[Any]
REGRIDDED = (
    "sampled on gradient ramps: readouts are regridded by least squares, exact within the field of view"
)


def cartesian_scan(
    image: Lines,
    grid: tuple[int, ...],
    facts: Mapping[str, Any],
    *,
    start: int = 0,
    reference: Lines | None = None,
    calibration: Lines | None = None,
    regrid: Array | None = None,
) -> KSpace:
    """All lines on their grid.

    Parameters
    ----------
    image : Lines
        Lines of the image.
    grid : tuple of int
        ``(ny, nx)`` or ``(nz, ny, nx)`` of the encoding.
    facts : mapping
        Further fields of `KSpace`.
    start : int
        Index along kx of the first sample.
    reference, calibration : Lines, optional
        EPI phase correction; calibration that was measured separately.
    regrid : ndarray, (nx, samples), optional
        Matrix from the samples of a readout to the grid (`rayfold.recon.io.regrid.regridding`).

    Raises
    ------
    InconsistentInput
        If there are no lines, or they do not fit the grid.
    """
    if not len(image):
        raise InconsistentInput(
            "the file holds no lines of an image, only adjustments; choose the image's file"
        )
    notes = list(facts.get("notes", ()))
    if regrid is not None:
        image = _regridded(image, regrid)
        reference = None if reference is None else _regridded(reference, regrid)
        calibration = None if calibration is None else _regridded(calibration, regrid)
        notes.append(REGRIDDED)
    leading = leading_of(image)
    data, sampled, more = place(image, grid, start, leading)
    made: dict[str, Any] = {**facts, "sampled": sampled, "matrix": grid}
    made["reversed_lines"] = line_flags(image, grid[-2])
    if reference is not None and len(reference):
        made["reference"], made["reference_reversed"] = reference_of(reference, leading)
    if calibration is not None and len(calibration):
        made |= _calibration(calibration, grid, start, leading, notes)
    axes = (*leading, "coil", *(("kz",) if len(grid) == 3 else ()), "ky", "kx")
    return KSpace(data, axes, **{**made, "notes": (*notes, *more)})


def _regridded(lines: Lines, matrix: Array) -> Lines:
    if not len(lines):
        return lines
    if lines.samples.shape[-1] != matrix.shape[1]:
        raise InconsistentInput(
            f"readouts hold {lines.samples.shape[-1]} samples, the header describes {matrix.shape[1]}; "
            "export the scan again"
        )
    return replace(lines, samples=lines.samples @ matrix.T.astype(lines.samples.dtype))


def _calibration(
    lines: Lines, grid: tuple[int, ...], start: int, leading: Mapping[str, int], notes: list[str]
) -> dict[str, Any]:
    # calibration is usually measured once for all repetitions, phases, ... but per slice
    kept = {name: n for name, n in leading.items() if int(lines.counters[name].max()) == n - 1}
    array, sampled, more = place(lines, grid, start, kept)
    for at, name in enumerate(leading):
        if kept and name not in kept:
            array = np.expand_dims(array, at)
    notes.extend(more)
    if sampled is not None and sampled.ndim > len(grid):
        sampled = np.asarray(sampled.reshape(-1, *grid).all(0))
    return {"calibration": array, "calibration_sampled": sampled}


def oversampling(
    encoded: tuple[int, ...], encoded_mm: tuple[float, ...], kept: tuple[int, ...], kept_mm: tuple[float, ...]
) -> tuple[int, ...] | None:
    """Central part of the encoded grid that the header's smaller field of view asks for, None for all of it.

    Parameters
    ----------
    encoded, kept : tuple of int
        Matrices of the encoding and of the image.
    encoded_mm, kept_mm : tuple of float
        Their fields of view; where they are not stated, the matrices decide.

    Examples
    --------
    >>> oversampling((144, 384), (210, 560), (144, 192), (210, 280))
    (144, 192)
    """
    crop = []
    for n, length, m, part in zip(encoded, encoded_mm, kept, kept_mm, strict=True):
        wanted = round(n * part / length) if length > 0 and part > 0 else m
        crop.append(min(max(wanted, 1), n))
    return tuple(crop) if tuple(crop) != tuple(encoded) else None
