"""A DICOM series read slice by slice where it lies, and written again with other pixels in the same place.

Unlike an `Image`, whose slices form a grid, a series may be unevenly spaced; each slice keeps its position,
orientation, thickness, rescale slope and intercept, stored type and padding. What a header says about a
person is never read into the result: only numbers of a fixed list are kept. The new UIDs follow from the old
ones and from what was done, so that the same processing gives the same UIDs, series derived from one study
stay together, and the old UIDs cannot be read from them.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Image
from rayfold.recon.errors import UnreadableInput
from rayfold.recon.io.atomic import atomic_folder
from rayfold.recon.io.read_dicom_image import (
    check_frame,
    dicom_headers,
    slice_values,
    sorted_slices,
    stated_unit,
)
from rayfold.recon.io.write_dicom import series_attributes

Array = npt.NDArray[Any]
# numbers about place, acquisition and display; texts are left out, whatever they say
PLACE = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
NUMBERS = (
    "SliceThickness",
    "SpacingBetweenSlices",
    "SliceLocation",
    "GantryDetectorTilt",
    "ReconstructionDiameter",
    "DataCollectionDiameter",
    "KVP",
    "XRayTubeCurrent",
    "ExposureTime",
    "Exposure",
    "RepetitionTime",
    "EchoTime",
    "InversionTime",
    "FlipAngle",
    "MagneticFieldStrength",
    "WindowCenter",
    "WindowWidth",
    "InstanceNumber",
)
UIDS = ("StudyInstanceUID", "FrameOfReferenceUID", "SeriesInstanceUID", "SOPInstanceUID")
SHARED = UIDS[:2]  # the same whatever was done: what came from one study stays in one


@dataclass(frozen=True)
class SliceFacts:
    """What a slice keeps: numbers by DICOM name as stated, digests of its UIDs, how pixels are stored."""

    numbers: dict[str, list[str]]
    digests: dict[str, str]
    slope: str
    intercept: str
    stored: str
    padding: int | None
    photometric: str


@dataclass(frozen=True, eq=False)
class DicomSeries:
    """Slices of one series, ascending along their normal.

    Parameters
    ----------
    array : ndarray, (n, ny, nx)
        Values in `unit`.
    spacing : (float, float)
        Pixel size (y, x) in mm.
    unit : str
        "HU" or "a.u.", or what this package wrote.
    modality : {"CT", "MR"}
        What made the images.
    slices : tuple of SliceFacts
        One per slice.
    """

    array: Array
    spacing: tuple[float, float]
    unit: str
    modality: Literal["CT", "MR"]
    slices: tuple[SliceFacts, ...]

    @property
    def image(self) -> Image:
        """The slices as an image whose distances along z are only nominal."""
        return Image(self.array, (1.0, *self.spacing), unit=self.unit, modality=self.modality)

    def with_array(self, array: Array) -> DicomSeries:
        """The same series with other values; pixels that hold the stated padding value keep it."""
        out = np.array(array, np.float32)
        for old, new, facts in zip(self.array, out, self.slices, strict=True):
            if facts.padding is not None:
                filled = old == np.float32(facts.padding * float(facts.slope) + float(facts.intercept))
                new[filled] = old[filled]
        return replace(self, array=out)


def read_dicom_series(path: str | Path) -> DicomSeries:
    """Read a series from a folder, or one slice from a file, evenly spaced or not.

    Parameters
    ----------
    path : str or Path
        Folder or file; files of the folder that are not DICOM are passed over.

    Returns
    -------
    DicomSeries

    Raises
    ------
    UnreadableInput
        If nothing readable is there, or not exactly one series of single-frame grey images.
    InconsistentInput
        If the slices differ in size or orientation.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = Image(np.ones((3, 4, 4)), (2.0, 1.0, 1.0), unit="HU").save(f"{folder}/series")
    ...     series = read_dicom_series(made)
    >>> series.array.shape, series.unit
    ((3, 4, 4), 'HU')
    """
    found = dicom_headers(Path(path))
    if len({header.get("SeriesInstanceUID") for header, _ in found}) > 1:
        raise UnreadableInput(f"{path} holds several DICOM series; put each into a folder of its own")
    for header, file in found:
        check_frame(header, file)
    ordered = sorted_slices(found)
    first = ordered[0][0]
    dy, dx = map(float, first.PixelSpacing)
    return DicomSeries(
        np.stack([slice_values(file) for _, file in ordered]),
        (dy, dx),
        stated_unit(first),
        "MR" if first.get("Modality") == "MR" else "CT",
        tuple(_facts(header) for header, _ in ordered),
    )


def _facts(header: Any) -> SliceFacts:
    numbers = {name: kept for name in (*PLACE, *NUMBERS) if (kept := _numbers(header.get(name)))}
    uids = {name: str(header.get(name) or "") for name in UIDS}
    bits = 8 if int(header.get("BitsAllocated") or 16) == 8 else 16
    signed = int(header.get("PixelRepresentation") or 0) == 1
    padding = header.get("PixelPaddingValue")
    photometric = str(header.get("PhotometricInterpretation"))
    return SliceFacts(
        numbers,
        {name: _digest(name, uid) for name, uid in uids.items()},
        (_numbers(header.get("RescaleSlope")) or ["1"])[0],
        (_numbers(header.get("RescaleIntercept")) or ["0"])[0],
        f"{'' if signed else 'u'}int{bits}",
        int(padding) if isinstance(padding, int) else None,
        photometric if photometric == "MONOCHROME1" else "MONOCHROME2",
    )


def _numbers(value: Any) -> list[str]:
    """The numbers of an attribute as stated; none if anything in it is no number."""
    items = [value] if isinstance(value, str) or not hasattr(value, "__iter__") else list(value)
    try:
        if not all(np.isfinite(float(item)) for item in items):
            return []
    except (TypeError, ValueError):
        return []
    return [str(item).strip() for item in items]


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _uid(digest: str) -> str:
    """A UID of the standard's form for UUIDs, 2.25 and a number."""
    return f"2.25.{uuid.UUID(hex=digest[:32], version=5).int}"


def write_derived(
    series: DicomSeries, path: str | Path, *, done: str, description: str = "rayfold", force: bool = False
) -> Path:
    """Write a series of derived images where the old ones lie.

    Parameters
    ----------
    series : DicomSeries
        With its new values; they are rounded to the step in which the old ones were stored.
    path : str or Path
        Folder to write.
    done : str
        What was done, in words and numbers: goes into DerivationDescription, and decides the UIDs.
    description : str
        SeriesDescription.
    force : bool
        Replace an earlier series.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OutputFailure
        If the folder is not empty and `force` is off, or if writing fails.
    """
    target = Path(path)
    common = series_attributes(series.image, "1", "0")
    common.SeriesDescription = description[:64]
    common.DerivationDescription = done[:1024]
    with atomic_folder(target, holds=".dcm", force=force) as folder:
        for k, (plane, facts) in enumerate(zip(series.array, series.slices, strict=True)):
            _write(folder / f"slice_{k + 1:04d}.dcm", common, plane, facts, done, k)
    return target


def _write(path: Path, common: Any, plane: Array, facts: SliceFacts, done: str, index: int) -> None:
    import copy

    ds = copy.deepcopy(common)
    ds.InstanceNumber = index + 1
    for name, values in facts.numbers.items():
        setattr(ds, name, values if len(values) > 1 else values[0])
    ds.RescaleSlope, ds.RescaleIntercept = facts.slope, facts.intercept
    if facts.padding is not None:
        ds.add_new("PixelPaddingValue", "SS" if facts.stored.startswith("i") else "US", facts.padding)
    stored = np.rint((plane.astype(np.float64) - float(facts.intercept)) / float(facts.slope))
    kind = np.dtype(facts.stored)
    limits = np.iinfo(kind)
    bits = 8 * kind.itemsize
    ds.set_pixel_data(np.clip(stored, limits.min, limits.max).astype(kind), facts.photometric, bits)
    for name, digest in facts.digests.items():  # last: new pixels get a new random UID
        setattr(ds, name, _uid(digest if name in SHARED else _digest(digest, done)))
    ds.save_as(os.fspath(path), enforce_file_format=True)
