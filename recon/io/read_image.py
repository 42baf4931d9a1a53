"""`read_image`: DICOM series, NIfTI, TIFF and HDF5 images back as an `Image` with place and unit."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rayfold.recon.data import Image
from rayfold.recon.errors import UnreadableInput
from rayfold.recon.io.affine import LPS_TO_RAS, image_at
from rayfold.recon.io.read_dicom_image import read_dicom_image
from rayfold.recon.io.writers import suffix_of

UNITS = ("1/mm", "1/px", "HU", "a.u.")


def read_image(
    path: str | Path,
    *,
    slices: slice | None = None,
    unit: str | None = None,
    modality: Literal["CT", "MR"] | None = None,
) -> Image:
    """Read an image that this package or another tool wrote.

    Parameters
    ----------
    path : str or Path
        A folder with one DICOM series, one DICOM slice, or a file ending in .nii, .nii.gz, .tif or .h5.
    slices : slice, optional
        Only these slices, counted after sorting along the slice normal.
    unit : {"1/mm", "1/px", "HU", "a.u."}, optional
        What the numbers are, where the file does not say (NIfTI and TIFF of other tools: "a.u." by default).
    modality : {"CT", "MR"}, optional
        What made the image, where the file does not say.

    Returns
    -------
    Image
        DICOM and NIfTI always give ``(nz, ny, nx)``, a single slice as ``(1, ny, nx)``. TIFF and HDF5 give
        the shape that was written.

    Raises
    ------
    UnreadableInput
        If the file is missing, broken, or holds something else than one scalar image.
    InconsistentInput
        If DICOM slices are not evenly spaced or do not share their orientation.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_image(Image(np.zeros((4, 6)), (0.5, 0.5), unit="HU").save(f"{folder}/a.h5"))
    Image(4 x 6, 0.5 x 0.5 mm, HU, 0 to 0)
    """
    source = Path(path)
    if unit is not None and unit not in UNITS:
        raise ValueError(f"unit is {unit!r}; it must be one of {', '.join(UNITS)}")
    if not source.exists():
        raise UnreadableInput(f"{source} does not exist; check the path")
    suffix = suffix_of(source)
    if source.is_dir() or suffix in (".dcm", ".ima", ""):
        image = read_dicom_image(source, slices=slices)
    else:
        readers = {
            ".nii": _nifti,
            ".nii.gz": _nifti,
            ".tif": _tiff,
            ".tiff": _tiff,
            ".h5": _hdf5,
            ".hdf5": _hdf5,
        }
        if suffix not in readers:
            raise UnreadableInput(
                f"{source.name} is not an image format; use a DICOM folder or {' '.join(readers)}"
            )
        try:
            image = readers[suffix](source)
        except UnreadableInput:
            raise
        except Exception as error:  # every library has its own for a broken file
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise UnreadableInput(
                f"{source.name} cannot be read as {suffix}: {reason}; copy it again"
            ) from error
        image = image if slices is None else _cut(image, slices)
    return replace(image, unit=unit or image.unit, modality=modality or image.modality)


def _cut(image: Image, slices: slice) -> Image:
    if image.array.ndim == 2:
        raise ValueError("this image has a single slice; leave slices out")
    chosen = range(*slices.indices(len(image.array)))
    if len(chosen) == 0 or chosen.step < 1:
        raise ValueError(f"slices {slices.start}:{slices.stop} select nothing of {len(image.array)} slices")
    assert image.origin is not None and image.direction is not None  # set by Image itself
    start = np.array(image.origin) + chosen.start * image.spacing[0] * image.direction[::-1, 2]
    spacing = (image.spacing[0] * chosen.step, *image.spacing[1:])
    return replace(image, array=image.array[slices], origin=tuple(map(float, start)), spacing=spacing)


def _nifti(path: Path) -> Image:
    import nibabel

    nifti = nibabel.load(path)
    data = np.asarray(nifti.dataobj)
    if data.ndim > 3 and data.shape[3:] == (1,) * (data.ndim - 3):
        data = data.reshape(data.shape[:3])
    data = data[..., None] if data.ndim == 2 else data
    if data.ndim != 3 or data.dtype.names or np.iscomplexobj(data):
        raise UnreadableInput(f"{path.name} has shape {data.shape}; split it into single scalar volumes")
    if data.dtype == np.float64 and nifti.get_data_dtype() != np.float64:
        data = data.astype(np.float32)  # integers with a scale factor
    scale = {"meter": 1e3, "micron": 1e-3}.get(nifti.header.get_xyzt_units()[0], 1.0)
    matrix = np.diag([scale, scale, scale, 1.0]) @ LPS_TO_RAS @ nifti.affine
    about = nifti.header["descrip"].item().decode("ascii", "replace")
    ours = re.match(r"rayfold \S+ (CT|MR) unit=(\S+)", about)
    unit, modality = (ours[2], ours[1]) if ours else ("a.u.", "CT")
    array = np.ascontiguousarray(data.transpose(2, 1, 0))
    array = array.astype(array.dtype.newbyteorder("="))
    return image_at(array, matrix, unit=unit, modality=modality)


def _tiff(path: Path) -> Image:
    import tifffile

    with tifffile.TiffFile(path) as tiff:
        array = tiff.asarray()
        page: Any = tiff.pages[0]
        stated = page.description
        spacing = _tiff_spacing(page)
    try:
        about = json.loads(stated)
    except ValueError:
        about = None
    if isinstance(about, dict) and about.get("format") == "rayfold-image":
        return _described(array.reshape(about["shape"]), about)
    if array.ndim not in (2, 3) or page.samplesperpixel != 1:
        raise UnreadableInput(f"{path.name} has shape {array.shape}; it needs one grey value per pixel")
    return Image(array, (1.0, *spacing)[-array.ndim :], unit="a.u.")


def _tiff_spacing(page: Any) -> tuple[float, float]:
    """Pixel size (y, x) in mm from the resolution tags; 1 where they name no length."""
    tags = page.tags
    per = {2: 25.4, 3: 10.0}.get(int(tags["ResolutionUnit"].value)) if "ResolutionUnit" in tags else None
    if per is None or "XResolution" not in tags or "YResolution" not in tags:
        return 1.0, 1.0
    (ny, dy), (nx, dx) = tags["YResolution"].value, tags["XResolution"].value
    return (per * dy / ny, per * dx / nx) if nx and ny else (1.0, 1.0)


def _hdf5(path: Path) -> Image:
    import h5py

    with h5py.File(path, "r") as file:
        if file.attrs.get("format") != "rayfold-image":
            raise UnreadableInput(
                f"{path.name} is HDF5 but not an image of this package; if it is a raw scan, reconstruct it"
            )
        data = file["image"]
        about = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in data.attrs.items()
        }
        return _described(data[()], about, json.loads(file.attrs["provenance"]))


def _described(array: Any, about: dict[str, Any], provenance: dict[str, Any] | None = None) -> Image:
    return Image(
        array,
        tuple(about["spacing"]),
        tuple(about["origin"]),
        np.array(about["direction"]),
        unit=about["unit"],
        modality=about["modality"],
        provenance=provenance or {},
    )
