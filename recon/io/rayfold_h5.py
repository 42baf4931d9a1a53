"""rayfold's own scan file: HDF5 that gives back every field of a `Scan` bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rayfold.operators.geometry import FanBeam, ParallelBeam, VectorBeam
from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.assemble import with_options
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.io.files import Rows, arrange, default_axes
from rayfold.recon.io.hdf5 import checked, open_hdf5, text, values
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
    import h5py

    target = Path(path)
    with atomic_file(target, force=force) as part, h5py.File(part, "w") as file:
        file.attrs.update({"format": FORMAT, "version": VERSION})
        for name in ARRAYS:
            array = getattr(scan, name)
            if array is not None:
                # the checksum makes a flipped bit on disk an error instead of an artefact
                packed = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}
                file.create_dataset(name, data=array, track_times=False, **(packed if array.size else {}))
        file.attrs.update({name: v for name in PLAIN if (v := getattr(scan, name)) is not None})
        for name in LISTS:
            file.attrs.create(name, list(getattr(scan, name)), dtype=h5py.string_dtype())
        kind, (_, operand, rest) = next((k, b) for k, b in BEAMS.items() if type(scan.beam) is b[0])
        beam = file.create_dataset("beam", data=getattr(scan.beam, operand), track_times=False)
        beam.attrs.update({"geometry": kind, **{name: getattr(scan.beam, name) for name in rest}})
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
        arrays: dict[str, Any] = {name: values(file, name) for name in ("flat_views",)}
        for name in ("data", "flat", "dark"):
            dataset = file.get(name)
            arrays[name] = (
                None
                if dataset is None
                else arrange(checked(dataset), default_axes(dataset.ndim, name), rows, name)
            )
        plain: dict[str, Any] = {name: _plain(file.attrs[name]) for name in PLAIN if name in file.attrs}
        lists: dict[str, Any] = {name: tuple(text(item) for item in file.attrs[name]) for name in LISTS}
        scan = Scan(beam=_beam(file["beam"]), **(arrays | plain | lists))
    return with_options(scan, geometry)


def _plain(value: Any) -> Any:
    """Attribute as the Python text or number it was."""
    if isinstance(value, str | bytes):
        return text(value)
    return value.item()


def _beam(dataset: Any) -> ParallelBeam | FanBeam | VectorBeam:
    make, operand, rest = BEAMS[text(dataset.attrs["geometry"])]
    return make(**{operand: checked(dataset)[()], **{name: _plain(dataset.attrs[name]) for name in rest}})
