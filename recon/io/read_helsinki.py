"""MATLAB files of the Helsinki CT laboratory (``CtDataFull``, ``CtDataLimited``): fan beam, already -log.

At angle b the source is at ``SOD * (sin b, -cos b)``, the detector along ``(cos b, sin b)``: our convention.
Only geometry is taken from the parameters, never who measured when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rayfold.recon.data import Scan
from rayfold.recon.errors import UnreadableInput
from rayfold.recon.io.assemble import assemble
from rayfold.recon.io.files import Rows, arrange, default_axes
from rayfold.recon.io.hdf5 import open_hdf5, values
from rayfold.recon.io.sidecar import Geometry

NAMES = ("CtDataFull", "CtDataLimited")


def read_helsinki(path: Path, content: Mapping[str, Any], geometry: Geometry, rows: Rows) -> Scan:
    """Scan from the variables of a MATLAB 5 file.

    Parameters
    ----------
    path : Path
        The .mat file.
    content : mapping
        Its variables, one of them named as in `NAMES`.
    geometry : Geometry
        What the caller adds or corrects.
    rows : slice, int or None
        Must be None for the usual files with one detector row.

    Raises
    ------
    UnreadableInput
        If a parameter is missing.
    """
    record = next(content[name] for name in NAMES if name in content)
    parameters = record["parameters"]
    return _scan(path, record["sinogram"], parameters.get, geometry, rows)


def read_helsinki_hdf5(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """The same from a MATLAB 7.3 file, which is HDF5 with its axes reversed."""
    with open_hdf5(path, "Helsinki MATLAB data") as file:
        record = file[next(name for name in NAMES if name in file)]
        sinogram = values(record, "sinogram")
        return _scan(path, sinogram.T, lambda name: values(record, f"parameters/{name}"), geometry, rows)


def _scan(path: Path, sinogram: Any, parameter: Callable[[str], Any], geometry: Geometry, rows: Rows) -> Scan:
    def numbers(*names: str) -> Any:
        stated = (parameter(name) for name in names)
        found = next((value for value in stated if isinstance(value, np.ndarray) and value.size), None)
        if found is None:
            raise UnreadableInput(f"its parameters lack {names[0]}; it is not a complete Helsinki data set")
        return np.asarray(found, float).ravel()

    facts = Geometry(
        beam="fan",
        pitch=float(numbers("pixelSizePost", "pixelSize")[0]),
        unit="mm",
        source_to_axis=float(numbers("distanceSourceOrigin")[0]),
        source_to_detector=float(numbers("distanceSourceDetector")[0]),
    )
    data = arrange(sinogram, default_axes(sinogram.ndim, "sinogram"), rows, "sinogram")
    angles = np.radians(numbers("angles"))
    return assemble(path, "Helsinki", data, geometry.over(facts), angles=angles, kind="attenuation")
