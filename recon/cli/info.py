"""`rayfold info`: what a file holds and what can be done with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rayfold.recon.cli.console import as_json, result
from rayfold.recon.cli.settings import input_options
from rayfold.recon.data import Image, Scan
from rayfold.recon.kspace import KSpace


def command(args: argparse.Namespace) -> None:
    """Describe a scan, or an image."""
    thing = open_any(args.file, input_options(args))
    if args.json:
        as_json(_facts(thing))
    else:
        result(repr(thing))


def open_any(path: str, options: dict[str, Any]) -> Scan | KSpace | Image:
    """A finished image by its suffix or kind, everything else as a scan."""
    from rayfold.recon.io import load
    from rayfold.recon.io.files import parse_rows

    source = Path(path)
    if (source / "image.nii.gz").is_file():  # a folder of results
        source = source / "image.nii.gz"
    if options.get("geometry") is None and is_image(source):
        from rayfold.recon.io.read_image import read_image

        rows = parse_rows(options.get("rows"))
        return read_image(source, slices=slice(rows, rows + 1) if isinstance(rows, int) else rows)
    return load(source, **options)


def is_image(path: Path) -> bool:
    """Whether a file is a finished image: DICOM and NIfTI are; HDF5 and TIFF when nothing says otherwise."""
    name = path.name.lower()
    if name.endswith((".nii", ".nii.gz", ".dcm", ".ima")):
        return True
    if path.is_dir():
        return any(p.suffix.lower() in (".dcm", ".ima") for p in path.iterdir())
    if name.endswith((".tif", ".tiff")):
        return not any(p.exists() for p in (path.with_suffix(".toml"), path.with_name(f"{path.name}.toml")))
    if name.endswith((".h5", ".hdf5")) and path.is_file():
        import h5py

        with path.open("rb") as file:
            if file.read(8) != b"\x89HDF\r\n\x1a\n":
                return False
        try:
            with h5py.File(path, "r") as file:
                return str(file.attrs.get("format", "")) == "rayfold-image"
        except OSError:
            return False
    return False


def _facts(thing: Scan | KSpace | Image) -> dict[str, Any]:
    if isinstance(thing, Image):
        return {
            "what": "image",
            "shape": list(thing.shape),
            "spacing": list(thing.spacing),
            "unit": thing.unit,
            "modality": thing.modality,
        }
    if isinstance(thing, KSpace):
        return {
            "what": "k-space",
            "format": thing.source,
            "axes": dict(zip(thing.axes, map(int, thing.data.shape), strict=True)),
            "matrix": list(thing.grid),
            "field_of_view": None if thing.field_of_view is None else list(thing.field_of_view),
            "acceleration": round(thing.acceleration, 4),
            "trajectory": not thing.cartesian,
            "noise_scan": thing.noise is not None,
            "echo_times": None if thing.echo_times is None else list(thing.echo_times),
            "notes": list(thing.notes),
        }
    return {
        "what": "scan",
        "format": thing.source,
        "views": thing.n_views,
        "rows": thing.n_rows,
        "cols": thing.n_cols,
        "kind": thing.kind,
        "unit": thing.unit,
        "photons": thing.photons,
        "mu_water": thing.mu_water,
        "beam": repr(thing.beam),
        "notes": list(thing.notes),
    }
