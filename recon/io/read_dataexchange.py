"""Data Exchange HDF5 of the synchrotrons: ``exchange/data``, ``data_white``, ``data_dark`` and ``theta``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.assemble import assemble
from rayfold.recon.io.files import AXES, Rows, arrange, parse_axes
from rayfold.recon.io.hdf5 import checked, find, open_hdf5, text, values
from rayfold.recon.io.sidecar import Geometry


def read_dataexchange(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """Scan from a Data Exchange file: raw counts with flats and darks, or transmission without flats.

    Parameters
    ----------
    path : Path
        HDF5 file.
    geometry : Geometry
        What the caller adds; the format states angles in degrees but neither pixel size nor beam.
    rows : slice, int or None
        Detector rows to read.

    Raises
    ------
    UnreadableInput
        If the file is damaged.
    InconsistentInput
        If the parts do not match.
    """
    with open_hdf5(path, "Data Exchange HDF5") as file:
        exchange = find(file, "exchange")
        dataset = checked(find(exchange, "data"))
        axes = parse_axes(geometry.axes) if geometry.axes else _axes(dataset)
        data = arrange(dataset, axes, rows, "exchange/data")
        flat, dark = (_frames(exchange, name, axes, rows) for name in ("data_white", "data_dark"))
        angles = _angles(exchange)
    kind = None if flat is None else "counts"
    if kind is None and geometry.kind is None and geometry.open_beam is None:
        raise InconsistentInput(
            "exchange/data_white is missing, so raw counts cannot be normalised; "
            'give open_beam (counts without sample), or kind = "transmission", in the geometry'
        )
    return assemble(
        path,
        "Data Exchange",
        data,
        geometry,
        angles=angles,
        kind="counts" if flat is not None else None,
        flat=flat,
        dark=dark,
    )


def _axes(dataset: Any) -> tuple[str, ...]:
    """Axis order from the ``axes`` attribute, as "theta:y:x"; projections by default."""
    names = {"theta": "views", "y": "rows", "x": "cols"}
    stated = [names.get(part.strip()) for part in text(dataset.attrs.get("axes", "")).split(":")]
    return tuple(str(name) for name in stated) if sorted(map(str, stated)) == sorted(AXES) else AXES


def _frames(exchange: Any, name: str, axes: tuple[str, ...], rows: Rows) -> npt.NDArray[Any] | None:
    frames = find(exchange, name)
    if frames is None or frames.size == 0:
        return None
    if frames.ndim == 2:  # one frame
        frames, axes = values(exchange, name)[None], AXES
    return arrange(frames if isinstance(frames, np.ndarray) else checked(frames), axes, rows, name)


def _angles(exchange: Any) -> npt.NDArray[Any] | None:
    theta = find(exchange, "theta")
    if theta is None:
        return None
    degrees = not text(theta.attrs.get("units", "deg")).lower().startswith("rad")
    angles = np.asarray(theta[()], float).ravel()
    return np.radians(angles) if degrees else angles
