"""rayfold's own k-space file: HDF5 that gives back every field of a `KSpace` bit by bit."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from rayfold.recon.errors import UnreadableInput
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.io.hdf5 import new_hdf5, open_hdf5, text, values
from rayfold.recon.kspace import KSpace

FORMAT, VERSION = "rayfold-kspace", 1
ARRAYS = (
    "data",
    "trajectory",
    "sampled",
    "direction",
    "noise",
    "calibration",
    "calibration_sampled",
    "reference",
    "reference_reversed",
    "reversed_lines",
)
PLAIN = tuple(f.name for f in fields(KSpace) if f.name not in ARRAYS)


def write_kspace_h5(path: Path, scan: KSpace, *, force: bool = False) -> Path:
    """Write k-space; the file appears complete or not at all.

    Parameters
    ----------
    path : Path
        File to write, ending in .h5.
    scan : KSpace
        What to write; its arrays keep their dtype.
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
    >>> scan = KSpace(np.ones((2, 4, 4), np.complex64), ("coil", "ky", "kx"), history=("whitened",))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_kspace_h5(write_kspace_h5(Path(folder) / "scan.h5", scan)).history
    ('whitened',)
    """
    about = {name: getattr(scan, name) for name in PLAIN}
    arrays = {name: getattr(scan, name) for name in ARRAYS}
    arrays["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    # as for a CT scan: checksums of everything, so that a flipped bit is an error and not an artefact
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    with atomic_file(path, force=force) as part, new_hdf5(part, libver="latest") as file:
        file.attrs.update({"format": np.bytes_(FORMAT), "version": VERSION})
        for name, array in arrays.items():
            if array is not None:
                file.create_dataset(name, data=array, track_times=False, **(packed if array.size else {}))
    return path


def read_kspace_h5(path: Path) -> KSpace:
    """Read what `write_kspace_h5` wrote.

    Parameters
    ----------
    path : Path
        File to read.

    Raises
    ------
    UnreadableInput
        If the file is missing, damaged, of another format, or of a newer version.
    """
    with open_hdf5(path, "rayfold k-space") as file:
        if text(file.attrs.get("format", "")) != FORMAT:
            raise UnreadableInput(f"{path.name} is not k-space written by rayfold; open it with load")
        if int(file.attrs["version"]) > VERSION:
            raise UnreadableInput(
                f"{path.name} has version {file.attrs['version']} of the format; update rayfold"
            )
        about: dict[str, Any] = json.loads(values(file, "about").tobytes())
        about = {name: tuple(v) if isinstance(v, list) else v for name, v in about.items()}
        return KSpace(**about, **{name: values(file, name) for name in ARRAYS})
