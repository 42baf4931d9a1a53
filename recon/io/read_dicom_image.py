"""Read a DICOM series as an `Image`: slices sorted along their normal, values rescaled, no patient data kept.

Slice k lies at ``p_0 + k * step``. The step need not be parallel to the normal (a tilted gantry): the
direction of the stack is then oblique and the geometry exact. Unevenly spaced slices are no grid: refused.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Image
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.affine import Matrix, image_at, is_sheared

SAME_PLACE = 1e-3  # mm
EVEN = 0.02  # share of the slice distance that a slice may be off its place


def read_dicom_image(path: str | Path, *, slices: slice | None = None) -> Image:
    """Read one series from a folder, or one slice from a file.

    Parameters
    ----------
    path : str or Path
        Folder or file; files of the folder that are not DICOM are passed over.
    slices : slice, optional
        Only these, counted after sorting along the slice normal.

    Returns
    -------
    Image, (nz, ny, nx)
        float32, in HU for CT unless the file says otherwise.

    Raises
    ------
    UnreadableInput
        If nothing readable is there, or not exactly one series of single-frame grey images.
    InconsistentInput
        If the slices differ in size or orientation, lie in the same place, or are not evenly spaced.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = Image(np.ones((3, 4, 4)), (2.0, 1.0, 1.0), unit="HU")
    ...     read_dicom_image(image.save(f"{folder}/series"))
    Image(3 x 4 x 4, 2 x 1 x 1 mm, HU, 1 to 1)
    """
    source = Path(path)
    found = dicom_headers(source)
    if len({header.get("SeriesInstanceUID") for header, _ in found}) > 1:
        raise UnreadableInput(f"{source} holds several DICOM series; put each into a folder of its own")
    for header, file in found:
        check_frame(header, file)
    ordered = sorted_slices(found)
    if slices is not None:
        ordered = ordered[slices]
        if not ordered:
            raise ValueError(f"slices {slices.start}:{slices.stop} select nothing of {len(found)} slices")
    matrix, notes = _grid([header for header, _ in ordered])
    first = ordered[0][0]
    return image_at(
        np.stack([slice_values(file) for _, file in ordered]),
        matrix,
        unit=stated_unit(first),
        modality="MR" if first.get("Modality") == "MR" else "CT",
        provenance={"read": {"format": "DICOM", "slices": len(ordered), "notes": notes}},
    )


def dicom_headers(source: Path) -> list[tuple[Any, Path]]:
    """Header and place of every DICOM image of a folder, or of one file; one series or several."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    if not source.exists():
        raise UnreadableInput(f"{source} does not exist; check the path")
    files = sorted(p for p in source.iterdir() if p.is_file()) if source.is_dir() else [source]
    found = []
    for file in files:
        try:
            header = pydicom.dcmread(os.fspath(file), stop_before_pixels=True)
        except InvalidDicomError:
            continue
        except Exception as error:  # a damaged file raises anything from EOFError to struct.error
            raise UnreadableInput(f"{file.name} is a damaged DICOM file: {error}; copy it again") from error
        if "Rows" in header:  # a DICOMDIR or a structured report has no pixels
            found.append((header, file))
    if not found:
        raise UnreadableInput(f"{source} holds no DICOM image; give the folder of one series")
    return found


def check_frame(header: Any, file: Path) -> None:
    """Refuse what is no single grey slice with a pixel size."""
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise UnreadableInput(f"{file.name} is a multi-frame DICOM; convert it to NIfTI with dcm2niix")
    if int(header.get("SamplesPerPixel") or 1) != 1:
        raise UnreadableInput(f"{file.name} is a colour image; choose the series of grey slices")
    spacing = header.get("PixelSpacing")
    if not spacing or min(map(float, spacing)) <= 0:
        raise UnreadableInput(f"{file.name} states no pixel size; convert it to .tif and give the spacing")


def sorted_slices(found: list[tuple[Any, Path]]) -> list[tuple[Any, Path]]:
    """Ascending along the slice normal."""
    if len(found) == 1:
        return found
    first = found[0][0]
    for header, file in found:
        if not header.get("ImagePositionPatient") or not header.get("ImageOrientationPatient"):
            raise UnreadableInput(f"{file.name} states no position; read it alone or remove it")
        same = np.allclose(header.ImageOrientationPatient, first.ImageOrientationPatient, atol=1e-3)
        size = (header.Rows, header.Columns, *header.PixelSpacing)
        if not same or size != (first.Rows, first.Columns, *first.PixelSpacing):
            raise InconsistentInput(
                f"{file.name} differs from the other slices in size or orientation; "
                "remove localizers from the folder"
            )
    normal = np.cross(*_axes(first))
    return sorted(found, key=lambda pair: float(normal @ _position(pair[0])))


def _axes(header: Any) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Directions of increasing column (x) and of increasing row (y)."""
    stated = np.array(header.get("ImageOrientationPatient") or [1, 0, 0, 0, 1, 0], float)
    return stated[:3], stated[3:]


def _position(header: Any) -> npt.NDArray[np.float64]:
    return np.array(header.get("ImagePositionPatient") or [0, 0, 0], float)


def _grid(headers: list[Any]) -> tuple[Matrix, list[str]]:
    """Index (x, y, z) to LPS mm, and what is worth knowing about it."""
    first = headers[0]
    x, y = _axes(first)
    rows_apart, cols_apart = map(float, first.PixelSpacing)
    positions = np.array([_position(header) for header in headers])
    if len(headers) > 1:
        step = (positions[-1] - positions[0]) / (len(headers) - 1)
    else:
        thickness = float(first.get("SpacingBetweenSlices") or first.get("SliceThickness") or 1.0)
        step = np.cross(x, y) * (thickness if thickness > 0 else 1.0)
    notes = _check_even(positions, step)
    matrix = np.eye(4)
    matrix[:3, 0], matrix[:3, 1], matrix[:3, 2] = x * cols_apart, y * rows_apart, step
    matrix[:3, 3] = positions[0]
    if is_sheared(matrix):
        cosine = float(np.cross(x, y) @ step / np.linalg.norm(step))
        tilt = np.degrees(np.arccos(min(1.0, cosine)))
        notes.append(f"tilted gantry: the slices are stacked {tilt:.1f} deg off their normal")
    return matrix, notes


def _check_even(positions: npt.NDArray[np.float64], step: npt.NDArray[np.float64]) -> list[str]:
    distance = float(np.linalg.norm(step))
    apart = np.linalg.norm(np.diff(positions, axis=0), axis=1)
    if len(apart) and apart.min() < SAME_PLACE:
        raise InconsistentInput(
            "two slices lie in the same place: the folder holds repeated scans; keep one slice per position"
        )
    expected = positions[0] + np.arange(len(positions))[:, None] * step
    off = float(np.linalg.norm(positions - expected, axis=1).max())
    if off <= EVEN * distance:
        return [f"slices up to {off:.3f} mm off even spacing"] if off > SAME_PLACE else []
    breaks = np.flatnonzero(np.abs(apart - apart[0]) > EVEN * apart[0])
    end = int(breaks[0]) + 1 if len(breaks) else 1
    raise InconsistentInput(
        f"the slices are not evenly spaced ({apart.min():.4g} to {apart.max():.4g} mm apart); read an even "
        f"part, such as the first {end} with slices=slice(0, {end})"
    )


def slice_values(file: Path) -> npt.NDArray[np.float32]:
    """Pixels of a slice in the unit that the file rescales them to."""
    import pydicom

    try:
        header = pydicom.dcmread(os.fspath(file))
        stored = header.pixel_array
    except Exception as error:  # a missing decoder and a truncated file raise different things
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UnreadableInput(
            f"{file.name}: the pixels cannot be decoded ({reason}); decompress them with gdcmconv --raw"
        ) from error
    slope, intercept = float(header.get("RescaleSlope") or 1), float(header.get("RescaleIntercept") or 0)
    values: npt.NDArray[np.float64] = stored.astype(np.float64) * slope + intercept
    return values.astype(np.float32)


def stated_unit(header: Any) -> str:
    """Unit of the values of a slice."""
    if header.get("Manufacturer") == "rayfold":
        stated = re.search(r"unit=(\S+)", str(header.get("ImageComments", "")))
        if stated:
            return stated[1]
    # the standard's default for CT is HU; "US" means unspecified
    return (
        "HU" if header.get("Modality") != "MR" and header.get("RescaleType", "HU") in ("HU", "") else "a.u."
    )
