"""Data Exchange HDF5 of the synchrotrons: ``exchange/data``, ``data_white``, ``data_dark`` and ``theta``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.assemble import assemble
from rayfold.recon.io.files import AXES, Rows, arrange, default_axes, parse_axes
from rayfold.recon.io.hdf5 import checked, find, open_hdf5, text
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
        axes = parse_axes(geometry.axes) if geometry.axes else _axes(dataset, None)
        data = arrange(dataset, axes, rows, "exchange/data")
        flat, dark = (_frames(exchange, name, axes, rows) for name in ("data_white", "data_dark"))
        angles = _angles(exchange)
    if flat is None and geometry.kind is None and geometry.open_beam is None:
        raise InconsistentInput(
            "exchange/data_white is missing, so raw counts cannot be normalised; "
            'give open_beam (counts without sample), or kind = "transmission", in the geometry'
        )
    return assemble(path, "Data Exchange", data, geometry, angles=angles, flat=flat, dark=dark)


def _axes(dataset: Any, otherwise: tuple[str, ...] | None) -> tuple[str, ...]:
    """Axis order from the ``axes`` attribute, as "theta:y:x" ("theta_white" of flats)."""
    names = {"theta": "views", "y": "rows", "x": "cols"}
    labels = text(dataset.attrs.get("axes", "")).split(":")
    stated = tuple(names.get(label.strip().split("_")[0], "") for label in labels)
    if len(stated) == dataset.ndim and sorted(stated) in (sorted(AXES), ["cols", "views"]):
        return stated
    return otherwise or default_axes(dataset.ndim, dataset.name)


def _frames(exchange: Any, name: str, axes: tuple[str, ...], rows: Rows) -> npt.NDArray[Any] | None:
    frames = find(exchange, name)
    if frames is None or frames.size == 0:
        return None
    if frames.ndim == len(axes) - 1:  # one frame
        single = np.expand_dims(checked(frames)[()], axes.index("views"))
        return arrange(single, axes, rows, name)
    return arrange(checked(frames), _axes(frames, axes), rows, name)


def _angles(exchange: Any) -> npt.NDArray[Any] | None:
    """View angles in rad; the format says degrees unless the unit is stated."""
    theta = find(exchange, "theta")
    if theta is None:
        return None
    angles = np.asarray(checked(theta)[()], float).ravel()
    return angles if text(theta.attrs.get("units", "")).lower().startswith("rad") else np.radians(angles)
