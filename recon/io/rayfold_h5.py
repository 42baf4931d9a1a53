"""rayfold's own scan file: HDF5 that gives back every field of a `Scan` bit by bit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rayfold.operators.geometry import FanBeam, ParallelBeam, VectorBeam
from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.assemble import with_options
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.io.files import Rows, arrange, default_axes
from rayfold.recon.io.hdf5 import checked, new_hdf5, open_hdf5, text, values
from rayfold.recon.io.sidecar import Geometry

FORMAT, VERSION = "rayfold-scan", 1
ARRAYS = ("data", "flat", "dark", "flat_views")
PLAIN = ("kind", "unit", "photons", "row_pitch", "mu_water", "path", "source")
LISTS = ("history", "notes")
BEAMS: dict[str, tuple[type[ParallelBeam | FanBeam | VectorBeam], str, tuple[str, ...]]] = {
    "parallel": (ParallelBeam, "angles", ("n_cols", "pitch", "detector_offset")),
    "fan": (
        FanBeam,
        "angles",
        (
            "n_cols",
            "pitch",
            "source_to_axis",
            "source_to_detector",
            "curved",
            "detector_offset",
            "source_offset",
        ),
    ),
    "vectors": (VectorBeam, "vectors", ("n_cols", "kind", "fan_step")),
}


def write_scan(path: str | Path, scan: Scan, *, force: bool = False) -> Path:
    """Write a scan; the file appears complete or not at all.

    Parameters
    ----------
    path : str or Path
        File to write, usually ending in .h5.
    scan : Scan
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
    >>> import numpy as np
    >>> scan = Scan(np.ones((3, 8), np.float32), ParallelBeam.evenly(3, 8), "attenuation", unit="px")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_scan(write_scan(f"{folder}/scan.h5", scan)).beam == scan.beam
    True
    """
    target = Path(path)
    kind, (_, operand, rest) = next((k, b) for k, b in BEAMS.items() if type(scan.beam) is b[0])
    arrays = {name: getattr(scan, name) for name in ARRAYS} | {"beam": getattr(scan.beam, operand)}
    about = {name: getattr(scan, name) for name in (*PLAIN, *LISTS)}
    about["beam"] = {"geometry": kind, **{name: getattr(scan.beam, name) for name in rest}}
    arrays["about"] = np.frombuffer(json.dumps(about, default=_number).encode(), np.uint8)
    # The latest layout and the filter keep checksums of everything: a flipped bit on disk is an error, not an
    # artefact. Text is kept as bytes because HDF5's own texts have none.
    packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
    with atomic_file(target, force=force) as part, new_hdf5(part, libver="latest") as file:
        file.attrs.update({"format": np.bytes_(FORMAT), "version": VERSION})
        for name, array in arrays.items():
            if array is not None:
                file.create_dataset(name, data=array, track_times=False, **(packed if array.size else {}))
    return target


def read_scan(path: str | Path) -> Scan:
    """Read what `write_scan` wrote.

    Parameters
    ----------
    path : str or Path
        File to read.

    Returns
    -------
    Scan
        Equal to the one written in every field.

    Raises
    ------
    UnreadableInput
        If the file is missing, damaged, of another format, or of a newer version.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> scan = Scan(np.ones((3, 8)), ParallelBeam.evenly(3, 8), "attenuation", history=("neglog",))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     read_scan(write_scan(f"{folder}/scan.h5", scan)).history
    ('neglog',)
    """
    return read_rayfold(Path(path), Geometry(), None)


def read_rayfold(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """Read a scan, only some rows of it, and with the caller's centre, turning sense and water value."""
    extra = [name for name, value in vars(geometry).items() if value is not None]
    if not set(extra) <= {"center", "sense", "mu_water"}:
        raise InconsistentInput(f"{path.name} states its own geometry; leave out {', '.join(extra)}")
    with open_hdf5(path, "a rayfold scan") as file:
        if text(file.attrs.get("format", "")) != FORMAT:
            raise UnreadableInput(f"{path.name} is not a rayfold scan; open it with load")
        if int(file.attrs["version"]) > VERSION:
            raise UnreadableInput(
                f"{path.name} has version {file.attrs['version']} of the format; update rayfold"
            )
        fields: dict[str, Any] = json.loads(values(file, "about").tobytes())
        fields |= {name: tuple(fields[name]) for name in LISTS}
        fields["beam"] = _beam(values(file, "beam"), **fields["beam"])
        fields["flat_views"] = values(file, "flat_views")
        for name in ("data", "flat", "dark"):
            if (dataset := file.get(name)) is not None:
                # arrange may convert, a whole scan comes back bit by bit
                whole, axes = checked(dataset), default_axes(dataset.ndim, name)
                fields[name] = whole[()] if rows is None else arrange(whole, axes, rows, name)
        scan = Scan(**fields)
    return with_options(scan, geometry)


def _beam(operand: Any, geometry: str, **rest: Any) -> ParallelBeam | FanBeam | VectorBeam:
    make, name, _ = BEAMS[geometry]
    return make(**{name: operand, **rest})


def _number(value: Any) -> float | int:
    """NumPy's numbers as Python's, for JSON."""
    number: float | int = value.item()
    return number
