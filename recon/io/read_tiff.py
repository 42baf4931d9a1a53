"""TIFF projections: a folder with one file per view, a multipage file, or one page that is a sinogram."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.assemble import assemble
from rayfold.recon.io.beside import beside
from rayfold.recon.io.files import Rows, arrange, default_axes, parse_axes, reading
from rayfold.recon.io.sidecar import Geometry

Array = npt.NDArray[Any]
SUFFIXES = (".tif", ".tiff")


def read_tiff(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """Scan from TIFF files; what the numbers are and the angles come from the geometry.

    Parameters
    ----------
    path : Path
        A file, or a folder whose TIFFs are taken in natural order (2 before 10).
    geometry : Geometry
        `flat` and `dark` may name a TIFF file or folder next to the data.
    rows : slice, int or None
        Detector rows to read.

    Raises
    ------
    UnreadableInput
        If a file is damaged, compressed in a way that needs another package, or missing.
    InconsistentInput
        If the projections differ in size or no angles are stated.
    """
    stack = _stack(path)
    axes = parse_axes(geometry.axes) if geometry.axes else default_axes(stack.ndim, path.name)
    data = arrange(stack, axes, rows, path.name)
    extra = {
        name: arrange(_frames(path.parent / where, axes), axes, rows, where)
        for name, where in (("flat", geometry.flat), ("dark", geometry.dark))
        if where is not None
    }
    return assemble(path, "TIFF", data, geometry, lookup=beside(path), **extra)  # type: ignore[arg-type]


def _frames(path: Path, axes: tuple[str, ...]) -> Array:
    if not path.exists():
        raise UnreadableInput(
            f"there is no {path.name} next to the data; check flat and dark in the geometry"
        )
    stack = _stack(path)
    return np.expand_dims(stack, axes.index("views")) if stack.ndim == len(axes) - 1 else stack


def _stack(path: Path) -> Array:
    if not path.is_dir():
        return _page(path)
    files = sorted((p for p in path.iterdir() if p.suffix.lower() in SUFFIXES), key=_natural)
    if not files:
        raise UnreadableInput(
            f"the folder {path.name} holds no .tif files; give a folder of projections or a file"
        )
    first = _page(files[0])
    stack = np.empty((len(files), *first.shape), first.dtype)
    for k, file in enumerate(files):
        page = _page(file) if k else first
        if page.shape != first.shape:
            raise InconsistentInput(
                f"{file.name} is {page.shape} but {files[0].name} {first.shape}; remove what is no projection"
            )
        stack[k] = page
    return stack


def _page(path: Path) -> Array:
    import tifffile

    with reading(path, "TIFF"), tifffile.TiffFile(path) as tiff:
        array: Array = np.asarray(tiff.asarray())
    return array


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sort key in which numbers count as numbers."""
    return [
        (int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name.lower())
    ]
