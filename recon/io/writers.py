"""`save`: one verb for every format, chosen by the suffix."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import numpy as np

from rayfold.recon.data import Image
from rayfold.recon.errors import OutputFailure

FORMATS = {
    ".nii": "nifti",
    ".nii.gz": "nifti",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".png": "png",
    ".dcm": "dicom",
    "": "dicom",
}
COMPLEX = ("nifti", "hdf5")


def save(image: Image, path: str | Path, *, force: bool = False) -> Path:
    """Write an image in the format its suffix names.

    Parameters
    ----------
    image : Image
        What to write.
    path : str or Path
        ``.nii``, ``.nii.gz``, ``.tif``, ``.h5``, ``.png`` (a preview), ``.dcm`` (one slice), or an existing
        folder or a name without suffix for a DICOM series.
    force : bool
        Replace what is already there.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    OutputFailure
        If the suffix is unknown, if `path` exists and `force` is off, or if writing fails.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(Image(np.zeros((4, 6)), (1.0, 1.0)), f"{folder}/a.nii.gz").name
    'a.nii.gz'
    """
    target = Path(path)
    name = "dicom" if target.is_dir() else FORMATS.get(suffix_of(target))
    if name is None:
        known = " ".join(suffix for suffix in FORMATS if suffix)
        raise OutputFailure(
            f"{target.name}: no image format ends in {suffix_of(target)}; use {known}, or no suffix for DICOM"
        )
    if np.iscomplexobj(image.array) and name not in COMPLEX:
        raise OutputFailure(
            f"{target.name}: this format holds no complex images; use .nii.gz or .h5, or the magnitude"
        )
    write: Callable[..., Path] = getattr(import_module(f"rayfold.recon.io.write_{name}"), f"write_{name}")
    return write(image, target, force=force)


def suffix_of(path: Path) -> str:
    """Suffix in lower case, ``.nii.gz`` in one piece."""
    return ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
