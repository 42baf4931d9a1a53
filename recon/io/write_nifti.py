"""Write an image as NIfTI-1 in RAS millimetres."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from rayfold.recon.data import Image
from rayfold.recon.io.affine import LPS_TO_RAS, affine_of, is_sheared
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.provenance import version

KEPT = ("complex64", "float32", "float64", "int16", "uint16", "int32", "uint8")


def write_nifti(image: Image, path: str | Path, *, force: bool = False) -> Path:
    """Write `path` (.nii or .nii.gz); the array becomes ``(nx, ny, nz)`` and LPS becomes RAS.

    Parameters
    ----------
    image : Image
        A 2D image becomes a volume of one slice; types that NIfTI readers disagree on become float32
        (complex64).
    path : str or Path
        File to write.
    force : bool
        Replace an existing file.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OutputFailure
        If the file exists and `force` is off, or if writing fails.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_nifti(Image(np.zeros((4, 6)), (1.0, 1.0)), f"{folder}/a.nii.gz").name
    'a.nii.gz'
    """
    import nibabel

    volume = image.array if image.array.ndim == 3 else image.array[None]
    matrix = affine_of(image)
    kept = (
        volume
        if volume.dtype.name in KEPT
        else volume.astype(np.complex64 if np.iscomplexobj(volume) else np.float32)
    )
    nifti = nibabel.Nifti1Image(kept.transpose(2, 1, 0), LPS_TO_RAS @ matrix)
    nifti.set_sform(LPS_TO_RAS @ matrix, code="scanner")
    # a quaternion is a rotation: it cannot hold a tilted gantry, and a wrong one would contradict the sform
    nifti.set_qform(LPS_TO_RAS @ matrix, code="unknown" if is_sheared(matrix) else "scanner")
    nifti.header.set_xyzt_units("mm")
    length = " 1px=1mm" if image.unit == "1/px" else ""
    about = f"rayfold {version()} {image.modality} unit={image.unit}{length} research only"
    nifti.header["descrip"] = about.encode("ascii", "replace")[:79]
    target = Path(path)
    with atomic_file(target, force=force) as part:
        nibabel.save(nifti, os.fspath(part))
    return target
