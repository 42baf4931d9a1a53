"""Plain arrays (.npz, .npy, .mat, any HDF5) whose geometry is stated in a sidecar."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.assemble import assemble
from rayfold.recon.io.beside import beside
from rayfold.recon.io.files import Rows, arrange, default_axes, parse_axes, reading
from rayfold.recon.io.hdf5 import checked, find, open_hdf5
from rayfold.recon.io.mat5 import read_mat5
from rayfold.recon.io.read_helsinki import NAMES, read_helsinki
from rayfold.recon.io.sidecar import Geometry

Array = npt.NDArray[Any]
Get = Callable[[str], Any]


def read_npy(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """Scan from one array; `angles` may name a file next to it."""
    with reading(path, ".npy"):
        array = np.lib.format.open_memmap(path, mode="r")
        return _scan(path, {path.stem: array.shape}, lambda _: array, geometry, rows)


def read_npz(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """Scan from named arrays; `data` names the measurement unless there is a single array of 2 or 3 axes."""
    # np.load leaves a damaged file open that it opened itself
    with reading(path, ".npz"), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
        return _scan(path, {n: a.shape for n, a in arrays.items()}, arrays.__getitem__, geometry, rows)


def read_mat(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """Scan from a MATLAB 5 file: one of the Helsinki laboratory, or plain arrays."""
    with reading(path, "MATLAB"):
        content = read_mat5(path)
        if any(name in content for name in NAMES):
            return read_helsinki(path, content, geometry, rows)
        arrays = {n: a for n, a in content.items() if isinstance(a, np.ndarray) and a.dtype.kind != "c"}
        return _scan(path, {n: a.shape for n, a in arrays.items()}, arrays.__getitem__, geometry, rows)


def read_hdf5(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """Scan from the datasets of any HDF5 file (MATLAB 7.3 included), named by their path in the file."""
    import h5py

    with open_hdf5(path) as file:
        shapes: dict[str, tuple[int, ...]] = {}

        def note(name: str, node: Any) -> None:
            if isinstance(node, h5py.Dataset) and node.dtype.kind in "iuf":
                shapes[name] = node.shape

        file.visititems(note)
        return _scan(path, shapes, lambda name: checked(find(file, name.strip("/"))), geometry, rows)


def _scan(path: Path, shapes: dict[str, tuple[int, ...]], get: Get, geometry: Geometry, rows: Rows) -> Scan:
    name = geometry.data or _only(path, shapes)
    missing = [
        n for n in (name, geometry.flat, geometry.dark) if n is not None and n.strip("/") not in shapes
    ]
    if missing:
        raise InconsistentInput(f"{path.name} holds no array {missing[0]!r}; it has {_listed(shapes)}")
    source = get(name)
    axes = parse_axes(geometry.axes) if geometry.axes else default_axes(len(source.shape), name)
    data = arrange(source, axes, rows, name)

    def frames(of: str | None) -> Array | None:
        if of is None:
            return None
        block = get(of)
        if len(block.shape) == len(axes) - 1:
            block = np.expand_dims(block[()], axes.index("views"))
        return arrange(block, axes, rows, of)

    def lookup(of: str) -> Array:
        return np.asarray(get(of)[()]) if of.strip("/") in shapes else beside(path)(of)

    return assemble(
        path,
        path.suffix.lstrip(".").lower() or "arrays",
        data,
        geometry,
        lookup=lookup,
        flat=frames(geometry.flat),
        dark=frames(geometry.dark),
    )


def _only(path: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    """Name of the only array that can be a measurement."""
    names = [name for name, shape in shapes.items() if len(shape) in (2, 3) and min(shape) > 1]
    if len(names) == 1:
        return names[0]
    raise InconsistentInput(
        f"{path.name} has {_listed(shapes)}; name the measurement with data = in {path.stem}.toml next to it"
    )


def _listed(shapes: dict[str, tuple[int, ...]]) -> str:
    shown = [f"{name} {'x'.join(map(str, shape)) or 'scalar'}" for name, shape in list(shapes.items())[:8]]
    return ", ".join(shown) + (" and more" if len(shapes) > 8 else "") if shown else "no numeric arrays"
