"""MATLAB files of the Helsinki CT laboratory (``CtDataFull``, ``CtDataLimited``): fan beam, already -log.

At angle b the source is at ``SOD * (sin b, -cos b)``, the detector along ``(cos b, sin b)``: our convention.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rayfold.recon.data import Scan
from rayfold.recon.errors import UnreadableInput
from rayfold.recon.io.assemble import assemble
from rayfold.recon.io.files import AXES, Rows, arrange
from rayfold.recon.io.hdf5 import open_hdf5, values
from rayfold.recon.io.sidecar import Geometry, Lookup

NAMES = ("CtDataFull", "CtDataLimited")


def is_helsinki(path: Path) -> bool:
    """Whether a MATLAB 5 file has one of the laboratory's structures."""
    from scipy.io import whosmat

    from rayfold.recon.io.files import reading

    with reading(path, "MATLAB"):
        return any(name in NAMES for name, *_ in whosmat(path))


def read_helsinki(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """Scan from a MATLAB 5 file; only geometry is taken from the parameters, never who measured when.

    Parameters
    ----------
    path : Path
        The .mat file.
    geometry : Geometry
        What the caller adds or corrects.
    rows : slice, int or None
        Must be None: the files hold one detector row.

    Raises
    ------
    UnreadableInput
        If the file is damaged or lacks a parameter.
    """
    from scipy.io import loadmat

    from rayfold.recon.io.files import reading

    with reading(path, "Helsinki MATLAB data"):
        content = loadmat(path, variable_names=NAMES, squeeze_me=True, struct_as_record=False)
        record = next(content[name] for name in NAMES if name in content)
        return _scan(
            path, np.asarray(record.sinogram), lambda name: getattr(record.parameters, name), geometry, rows
        )


def read_helsinki_hdf5(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """The same from a MATLAB 7.3 file, which is HDF5 with its axes reversed."""
    with open_hdf5(path, "Helsinki MATLAB data") as file:
        record = file[next(name for name in NAMES if name in file)]

        def parameter(name: str) -> Any:
            value = values(record, f"parameters/{name}")
            if value is None:
                raise AttributeError(name)
            if value.dtype.kind == "u" and value.dtype.itemsize == 2 and name not in ("angles",):
                return "".join(map(chr, value.ravel())) if name.endswith("Unit") else value
            return value

        return _scan(path, values(record, "sinogram").T, parameter, geometry, rows)


def _scan(path: Path, sinogram: Any, parameter: Lookup, geometry: Geometry, rows: Rows) -> Scan:
    def number(*names: str) -> float:
        for name in names:
            try:
                return float(np.asarray(parameter(name), float).flat[0])
            except (AttributeError, ValueError, IndexError):
                continue
        raise UnreadableInput(f"its parameters lack {names[0]}; it is not a complete Helsinki data set")

    facts = Geometry(
        beam="fan",
        pitch=number("pixelSizePost", "pixelSize"),
        unit="mm",
        source_to_axis=number("distanceSourceOrigin"),
        source_to_detector=number("distanceSourceDetector"),
    )
    angles = np.radians(np.asarray(parameter("angles"), float).ravel())
    data = arrange(sinogram, ("views", "cols") if sinogram.ndim == 2 else AXES, rows, "sinogram")
    return assemble(path, "Helsinki", data, geometry.over(facts), angles=angles, kind="attenuation")
