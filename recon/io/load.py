"""`load`: one verb for every format of raw data, CT and MRI, chosen by suffix and content."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.assemble import with_pixel_size
from rayfold.recon.io.files import BadOption, Rows, parse_rows
from rayfold.recon.io.kspace_facts import KSpaceFacts
from rayfold.recon.io.sidecar import Geometry, read_toml, sidecar_of
from rayfold.recon.io.twix_file import looks_like_twix
from rayfold.recon.kspace import KSpace

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
    ".mrd": "HDF5",
    ".dat": "Siemens twix",
    ".cfl": "BART",
    ".hdr": "BART",
}
# statements that make sense of a CT scan only
CT_ONLY = {f.name for f in fields(Geometry)} - {f.name for f in fields(KSpaceFacts)}
# readers of k-space, and whether they take statements of the caller
KSPACE = {
    "read_ismrmrd": False,
    "read_fastmri": False,
    "read_twix": False,
    "kspace_h5": False,
    "cfl": True,
    "read_kspace_arrays": True,
}
TWIX_TAKES = ("sequence", "reference")


def load(
    path: str | Path,
    *,
    center: float | None = None,
    mu_water: float | None = None,
    rows: str | int | slice | None = None,
    sense: Literal["ccw", "cw"] | None = None,
    geometry: str | Path | Mapping[str, Any] | None = None,
    pixel_size: float | None = None,
    sequence: str | Path | None = None,
    reference: str | Path | None = None,
) -> Scan | KSpace:
    """Read raw data of a CT or MRI scanner; complex arrays are k-space.

    Parameters
    ----------
    path : str or Path
        Data Exchange, NXtomo or rayfold HDF5, Helsinki .mat, MRC, TIFF (a file or a folder of
        projections), or arrays (.npz, .npy, .mat, other HDF5) with a geometry. For MRI: ISMRMRD, fastMRI or
        rayfold HDF5, Siemens twix (.dat), BART (.cfl with .hdr), or complex arrays.
    center : float, optional
        Detector column (from 0) onto which the rotation axis projects.
    mu_water : float, optional
        Attenuation of water in 1/mm, needed for HU.
    rows : str, int or slice, optional
        Detector rows to read: one number (the row axis is dropped) or a range as ``"10:20"``.
    sense : {"ccw", "cw"}, optional
        Turning sense of the angles; "cw" changes their sign.
    geometry : str, Path or mapping, optional
        What the file does not say, as a TOML file or its content: `rayfold.recon.io.sidecar.Geometry` for CT,
        `rayfold.recon.io.kspace_facts.KSpaceFacts` (in a table "kspace") for MRI. By default a .toml file of
        the same name, next to the data.
    pixel_size : float, optional
        Detector bin distance in mm.
    sequence : str or Path, optional
        Twix only: the Pulseq .seq that was run; by default the one of the same name next to the data.
    reference : str or Path, optional
        Twix only: the same Pulseq EPI without phase encoding.

    Returns
    -------
    Scan or KSpace
        As measured: a CT scan with the flats and darks (`rayfold.recon.preprocess.prepare` makes it
        attenuation), or k-space.

    Raises
    ------
    UnreadableInput
        If the file is missing, damaged, or of no known format.
    InconsistentInput
        If its parts contradict each other or something needed is not stated.
    ValueError
        If an argument is wrong, or belongs to the other modality.
    ImportError
        If a format needs a package that is not installed, with the command that installs it.

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
    module, function = _reader(path, lambda: _stated(path, geometry)[0])
    if module in KSPACE:
        ct = {"center": center, "mu_water": mu_water, "rows": rows, "sense": sense, "pixel_size": pixel_size}
        given = [name for name, value in ct.items() if value is not None]
        if given:
            raise BadOption(f"{path.name} is k-space; leave out {', '.join(given)}, which belongs to CT")
        return _kspace(path, module, function, geometry, sequence, reference)
    if sequence is not None or reference is not None:
        raise BadOption(f"{path.name} is no Siemens twix file; leave out sequence and reference")
    # A scan written by rayfold is complete: a .toml of its name is something else, as a saved configuration.
    complete = module == "rayfold_h5" and geometry is None
    stated = options if complete else options.over(Geometry.from_mapping(*_stated(path, geometry)))
    read: Reader = getattr(import_module(f"rayfold.recon.io.{module}"), function)
    with _naming(path):
        scan = read(path, stated, wanted)
    return scan if pixel_size is None else with_pixel_size(scan, pixel_size)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name into a message that lacks it."""
    try:
        yield
    except (UnreadableInput, InconsistentInput) as error:
        if path.name in str(error):
            raise
        raise type(error)(f"{path.name}: {error}") from error


def _kspace(
    path: Path,
    module: str,
    function: str,
    geometry: str | Path | Mapping[str, Any] | None,
    sequence: str | Path | None,
    reference: str | Path | None,
) -> KSpace:
    read: Callable[..., KSpace] = getattr(import_module(f"rayfold.recon.io.{module}"), function)
    stated, where = _stated(path, geometry)
    # next to data, other tables and keys of a TOML file may be a configuration
    about = stated.get("kspace", {} if geometry is None else stated)
    if not isinstance(about, Mapping):
        raise InconsistentInput(f"{where}: kspace is {about!r}; it must be a table of names and values")
    facts = KSpaceFacts.from_mapping(about, where)
    if not KSPACE[module]:
        needless = sorted(about.keys() - (TWIX_TAKES if module == "read_twix" else ()))
        if needless:
            raise InconsistentInput(f"{path.name} states its own geometry; leave out {', '.join(needless)}")
    if module == "read_twix":
        # names in a sidecar are of files next to the data
        own = None if facts.sequence is None else path.parent / facts.sequence
        spare = None if facts.reference is None else path.parent / facts.reference
        with _naming(path):
            return read(path, sequence=sequence or own, reference=reference or spare)
    if sequence is not None or reference is not None:
        raise BadOption(f"{path.name} is no Siemens twix file; leave out sequence and reference")
    with _naming(path):
        return read(path, facts) if KSPACE[module] else read(path)


def _stated(path: Path, geometry: str | Path | Mapping[str, Any] | None) -> tuple[Mapping[str, Any], str]:
    """What the caller or the file next to the data states, and a name for it in messages."""
    if isinstance(geometry, Mapping):
        return geometry, "geometry"
    beside = sidecar_of(path) if geometry is None else Path(geometry)
    return ({}, "geometry") if beside is None else (read_toml(beside), beside.name)


def _options(**given: float | str | None) -> Geometry:
    try:
        return Geometry.from_mapping({k: v for k, v in given.items() if v is not None}, "load")
    except InconsistentInput as error:
        raise BadOption(str(error)) from None


def _reader(path: Path, stated: Callable[[], Mapping[str, Any]]) -> tuple[str, str]:
    """Module and function that read a file or folder; UnreadableInput if there is none."""
    if not path.exists():
        raise UnreadableInput(f"there is no file or folder {path}; check the name")
    if path.is_dir():
        return "read_tiff", "read_tiff"
    found, expected = _content(path), FORMATS.get(path.suffix.lower())
    if found == "HDF5":
        return _hdf5_reader(path, stated)
    if found in ("npz", "npy", "MATLAB") and _holds_kspace(path, stated()):
        return "read_kspace_arrays", "read_kspace_arrays"
    if found == "MATLAB":
        return "read_arrays", "read_mat"
    if expected == "BART" and (path.suffix.lower() == ".cfl" or found == "BART"):
        return "cfl", "read_cfl"
    if found == "Siemens twix":
        return "read_twix", "read_twix"
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
        "export it as Data Exchange, NXtomo or ISMRMRD HDF5, MRC, TIFF, twix, BART, .npz or .npy"
    )


def _holds_kspace(path: Path, stated: Mapping[str, Any]) -> bool:
    """Whether the measurement of a file of arrays is complex; a damaged file is left to its reader."""
    from rayfold.recon.io.read_kspace_arrays import complex_names

    about = stated.get("kspace", stated)
    if about is not stated:
        return True
    if stated.keys() & CT_ONLY:
        return False
    try:
        names = complex_names(path)
    except Exception:
        return False
    return bool(names) if about.get("data") is None else about["data"] in names


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
    if head[128:132] == b"DICM":
        return "DICOM"
    if head.lstrip().startswith(b"# Dimensions"):
        return "BART"
    if head.startswith(b"# Pulseq"):
        raise UnreadableInput(
            f"{path.name} is a Pulseq sequence and holds no data; give the .dat, with sequence={path.name}"
        )
    return "Siemens twix" if path.suffix.lower() == ".dat" and looks_like_twix(head) else None


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


def _hdf5_reader(path: Path, stated: Callable[[], Mapping[str, Any]]) -> tuple[str, str]:
    from rayfold.recon.io.hdf5 import open_hdf5, text
    from rayfold.recon.io.read_fastmri import is_fastmri
    from rayfold.recon.io.read_ismrmrd import is_ismrmrd
    from rayfold.recon.io.read_nxtomo import is_nxtomo

    with open_hdf5(path) as file:
        made = text(file.attrs.get("format", ""))
        if made == "rayfold-scan":
            return "rayfold_h5", "read_rayfold"
        if made == "rayfold-kspace":
            return "kspace_h5", "read_kspace_h5"
        if made == "rayfold-image":
            raise UnreadableInput(f"{path.name} is a finished image, not a scan; open it with read_image")
        if "exchange/data" in file:
            return "read_dataexchange", "read_dataexchange"
        if "CtDataFull" in file or "CtDataLimited" in file:
            return "read_helsinki", "read_helsinki_hdf5"
        if is_nxtomo(file):
            return "read_nxtomo", "read_nxtomo"
        if is_ismrmrd(file) is not None:
            return "read_ismrmrd", "read_ismrmrd"
        if is_fastmri(file) and not stated().keys() & {"data", "kspace"}:
            return "read_fastmri", "read_fastmri"
    if _holds_kspace(path, stated()):
        return "read_kspace_arrays", "read_kspace_arrays"
    return "read_arrays", "read_hdf5"
