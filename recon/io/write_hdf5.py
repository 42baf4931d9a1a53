"""Write an image as HDF5: the one format that gives back every bit, the provenance included."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rayfold.recon.data import Image
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.io.hdf5 import new_hdf5
from rayfold.recon.io.write_tiff import describe
from rayfold.recon.provenance import plain


def write_hdf5(image: Image, path: str | Path, *, force: bool = False) -> Path:
    """Write `path` with the dataset ``image``, its geometry as attributes, and ``provenance`` as JSON.

    Parameters
    ----------
    image : Image
        Stored in its own dtype.
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
    ...     write_hdf5(Image(np.zeros((4, 6)), (1.0, 1.0)), f"{folder}/a.h5").name
    'a.h5'
    """
    target = Path(path)
    with atomic_file(target, force=force) as part, new_hdf5(part) as file:
        data = file.create_dataset("image", data=np.ascontiguousarray(image.array), track_times=False)
        for name, value in describe(image).items():
            if name in ("format", "version"):
                file.attrs[name] = value
            elif name != "shape":
                data.attrs[name] = value
        file.attrs["provenance"] = json.dumps(plain(image.provenance, "provenance"), sort_keys=True)
    return target
