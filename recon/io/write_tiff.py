"""Write an image as a float32 TIFF, one page per slice, its geometry as JSON in the description."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from rayfold.recon.data import Image
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.provenance import version


def describe(image: Image) -> dict[str, Any]:
    """Place and unit of an image as plain values, for formats without fields of their own."""
    assert image.origin is not None and image.direction is not None  # set by Image itself
    return {
        "format": "rayfold-image",
        "version": 1,
        "shape": list(image.shape),
        "spacing": list(image.spacing),
        "length": image.length,
        "origin": list(image.origin),
        "direction": image.direction.tolist(),
        "unit": image.unit,
        "modality": image.modality,
    }


def write_tiff(image: Image, path: str | Path, *, force: bool = False) -> Path:
    """Write `path` (.tif or .tiff).

    Parameters
    ----------
    image : Image
        Values are stored as float32.
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
    ...     write_tiff(Image(np.zeros((4, 6)), (1.0, 1.0)), f"{folder}/a.tif").name
    'a.tif'
    """
    import tifffile

    target = Path(path)
    per_cm = 1.0 if image.unit == "1/px" else 10.0
    with atomic_file(target, force=force) as part:
        tifffile.imwrite(
            os.fspath(part),
            np.ascontiguousarray(image.array, dtype=np.float32),
            photometric="minisblack",
            resolution=(per_cm / image.spacing[-1], per_cm / image.spacing[-2]),
            resolutionunit="NONE" if image.unit == "1/px" else "CENTIMETER",
            description=json.dumps(describe(image)),
            software=f"rayfold {version()}",
            metadata=None,
        )
    return target
