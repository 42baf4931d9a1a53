"""Images for the verbs that turn one into another: read with what is known, written again in their kind."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console
from rayfold.recon.data import Image
from rayfold.recon.errors import UnreadableInput

KEPT = (".nii", ".nii.gz", ".tif", ".tiff", ".h5", ".hdf5", ".npy")


@dataclass(frozen=True)
class Given:
    """What was read: the image, the DICOM series it came as if it did, and the file that is written."""

    image: Image
    series: Any
    name: str


def suffix(source: Path) -> str:
    """Suffix in lower case, ``.nii.gz`` in one piece."""
    from rayfold.recon.io.writers import suffix_of

    return suffix_of(source)


def is_dicom(source: Path) -> bool:
    """A folder, or a file that is named as DICOM is."""
    return source.is_dir() or suffix(source) in (".dcm", ".ima", "")


def output_name(source: Path, verb: str) -> str:
    """What is written: a folder of slices for DICOM, a file of the same kind for anything else."""
    if (source / "image.nii.gz").is_file():  # a folder of results
        return "image.nii.gz"
    if is_dicom(source):
        return "dicom"
    ending = suffix(source)
    if ending not in KEPT:
        raise UnreadableInput(
            f"{source.name} is no image that {verb} reads; give a DICOM folder or {' '.join(KEPT)}"
        )
    return f"image{ending}"


def read_picture(source: Path, args: argparse.Namespace, verb: str) -> Given:
    """Read an image; `args` may state `unit` and `modality`, and says whether to be quiet."""
    from rayfold.recon.denoising import looks_like_hu

    if not source.exists():
        raise UnreadableInput(f"{source} does not exist; check the path")
    name = output_name(source, verb)
    if (source / "image.nii.gz").is_file():
        source = source / "image.nii.gz"
    if is_dicom(source):
        from rayfold.recon.io.derived_dicom import read_dicom_series

        series = read_dicom_series(source)
        unit, modality = args.unit or series.unit, args.modality or series.modality
        series = replace(series, unit=unit, modality=modality)
        return Given(series.image, series, name)
    if suffix(source) == ".npy":
        image = _array(source)
    else:
        from rayfold.recon.io.read_image import read_image

        image = read_image(source)
    unit = args.unit or image.unit
    if args.unit is None and unit == "a.u." and looks_like_hu(image.array):
        unit = "HU"  # as NIfTI and TIFF of other tools hold it, without saying so
        console.say("  note      values are taken for HU; --unit a.u. says otherwise", quiet=args.quiet)
    return Given(replace(image, unit=unit, modality=args.modality or image.modality), None, name)


def _array(source: Path) -> Image:
    import numpy as np

    try:
        array = np.load(source, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise UnreadableInput(f"{source.name} cannot be read as .npy: {error}") from error
    if array.ndim not in (2, 3) or array.dtype.kind not in "iufc":
        raise UnreadableInput(f"{source.name} has shape {array.shape} of {array.dtype}; it must be an image")
    return Image(array, (1.0,) * array.ndim, unit="a.u.")


def write_picture(
    folder: Path, given: Given, made: Image, *, series: Any = None, done: str, description: str
) -> Image:
    """Write in the kind that was read, saying what was `done` in DICOM; returns the image as written."""
    import numpy as np

    target = folder / given.name
    if series is not None:
        from rayfold.recon.io.derived_dicom import write_derived

        write_derived(series, target, done=done, description=description)
        return replace(made, array=series.array)
    if target.suffix == ".npy":
        np.save(target, made.array)
    else:
        made.save(target)
    return made
