"""`load`: one verb for every scan format, chosen by suffix and content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.assemble import with_pixel_size
from rayfold.recon.io.files import BadOption, Rows, parse_rows
from rayfold.recon.io.sidecar import Geometry, find_sidecar, read_sidecar

Reader = Callable[[Path, Geometry, Rows], Scan]

FORMATS = {
    ".h5": "HDF5",
    ".hdf5": "HDF5",
    ".hdf": "HDF5",
    ".nxs": "HDF5",
    ".mat": "MATLAB",
    ".npz": "npz",
    ".npy": "npy",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".mrc": "MRC",
    ".mrcs": "MRC",
    ".st": "MRC",
    ".ali": "MRC",
}


def load(
    path: str | Path,
    *,
    center: float | None = None,
    mu_water: float | None = None,
    rows: str | int | slice | None = None,
    sense: Literal["ccw", "cw"] | None = None,
    geometry: str | Path | Mapping[str, Any] | None = None,
    pixel_size: float | None = None,
) -> Scan:
    """Read a CT scan.

    Parameters
    ----------
    path : str or Path
        Data Exchange, NXtomo or rayfold HDF5, Helsinki .mat, MRC, TIFF (a file or a folder of
        projections), or arrays (.npz, .npy, .mat, other HDF5) with a geometry.
    center : float, optional
        Detector column (from 0) onto which the rotation axis projects.
    mu_water : float, optional
        Attenuation of water in 1/mm, needed for HU.
    rows : str, int or slice, optional
        Detector rows to read: one number (the row axis is dropped) or a range as ``"10:20"``.
    sense : {"ccw", "cw"}, optional
        Turning sense of the angles; "cw" changes their sign.
    geometry : str, Path or mapping, optional
        What the file does not say, as a TOML file or its content (see `rayfold.recon.io.sidecar.Geometry`).
        By default a .toml file of the same name, next to the data.
    pixel_size : float, optional
        Detector bin distance in mm.

    Returns
    -------
    Scan
        As measured, with the flats and darks; `rayfold.recon.preprocess.prepare` makes it attenuation.

    Raises
    ------
    UnreadableInput
        If the file is missing, damaged, or of no known format.
    InconsistentInput
        If its parts contradict each other or something needed is not stated.
    ValueError
        If an argument is wrong.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     np.save(f"{folder}/scan.npy", np.ones((4, 6), np.float32))
    ...     scan = load(f"{folder}/scan.npy", geometry={"span_deg": 180, "kind": "attenuation"})
    >>> scan.data.shape, scan.unit
    ((4, 6), 'px')
    """
    path = Path(path)
    options = _options(center=center, mu_water=mu_water, sense=sense)
    wanted = parse_rows(rows)
    module, function = _reader(path)
    # A scan written by rayfold is complete: a .toml of its name is something else, as a saved configuration.
    complete = module == "rayfold_h5" and geometry is None
    stated = options if complete else options.over(_stated(path, geometry))
    read: Reader = getattr(import_module(f"rayfold.recon.io.{module}"), function)
    try:
        scan = read(path, stated, wanted)
    except (UnreadableInput, InconsistentInput) as error:
        if path.name in str(error):
            raise
        raise type(error)(f"{path.name}: {error}") from error
    return scan if pixel_size is None else with_pixel_size(scan, pixel_size)


def _options(**given: float | str | None) -> Geometry:
    try:
        return Geometry.from_mapping({k: v for k, v in given.items() if v is not None}, "load")
    except InconsistentInput as error:
        raise BadOption(str(error)) from None


def _stated(path: Path, geometry: str | Path | Mapping[str, Any] | None) -> Geometry:
    if geometry is None:
        return find_sidecar(path) or Geometry()
    if isinstance(geometry, Mapping):
        return Geometry.from_mapping(geometry)
    return read_sidecar(geometry)


def _reader(path: Path) -> tuple[str, str]:
    """Module and function that read a file or folder; UnreadableInput if there is none."""
    if not path.exists():
        raise UnreadableInput(f"there is no file or folder {path}; check the name")
    if path.is_dir():
        return "read_tiff", "read_tiff"
    found, expected = _content(path), FORMATS.get(path.suffix.lower())
    if found == "HDF5":
        return _hdf5_reader(path)
    if found == "MATLAB":
        return "read_arrays", "read_mat"
    if expected == "MRC" and found is None:
        found = "MRC"  # the older kinds have no signature
    if found in ("npz", "npy", "TIFF", "MRC"):
        name = f"read_{found.lower()}"
        return ("read_arrays" if found in ("npz", "npy") else name), name
    looks = f"its content looks like {found}" if found else "its content is something else"
    if expected:
        raise UnreadableInput(f"{path.name} should be {expected} but {looks}; check the file and its name")
    raise UnreadableInput(
        f"{path.name} is not a scan format known here ({looks}); "
        "export it as Data Exchange or NXtomo HDF5, MRC, TIFF, .npz or .npy"
    )


def _content(path: Path) -> str | None:
    """Format by signature, None when there is none."""
    try:
        with path.open("rb") as file:
            head = file.read(2056)
    except OSError as error:
        raise UnreadableInput(
            f"{path.name} cannot be opened: {error.strerror}; check its permissions"
        ) from error
    if not head:
        raise UnreadableInput(f"{path.name} is empty; copy it again from its source")
    # HDF5 may begin behind a user block; MATLAB 7.3 does
    if any(head[at : at + 8] == b"\x89HDF\r\n\x1a\n" for at in (0, 512, 1024, 2048)):
        return "HDF5"
    for signature, name in _SIGNATURES:
        if head.startswith(signature):
            return name
    if head[208:212] == b"MAP ":
        return "MRC"
    return "DICOM" if head[128:132] == b"DICM" else None


_SIGNATURES = (
    (b"MATLAB 5.0", "MATLAB"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "npz"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"\xd0\xcf\x11\xe0", "Zeiss TXRM (OLE2)"),
)


def _hdf5_reader(path: Path) -> tuple[str, str]:
    from rayfold.recon.io.hdf5 import open_hdf5, text
    from rayfold.recon.io.read_nxtomo import is_nxtomo

    with open_hdf5(path) as file:
        made = text(file.attrs.get("format", ""))
        if made == "rayfold-scan":
            return "rayfold_h5", "read_rayfold"
        if made == "rayfold-image":
            raise UnreadableInput(f"{path.name} is a finished image, not a scan; open it with read_image")
        if "exchange/data" in file:
            return "read_dataexchange", "read_dataexchange"
        if "CtDataFull" in file or "CtDataLimited" in file:
            return "read_helsinki", "read_helsinki_hdf5"
        if is_nxtomo(file):
            return "read_nxtomo", "read_nxtomo"
    return "read_arrays", "read_hdf5"
