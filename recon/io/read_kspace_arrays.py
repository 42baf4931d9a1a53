"""Complex arrays (.npy, .npz, .mat, any HDF5): k-space whose axes are stated, or told by their number."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.beside import beside
from rayfold.recon.io.files import reading
from rayfold.recon.io.hdf5 import checked, find, open_hdf5
from rayfold.recon.io.kspace_facts import KSpaceFacts
from rayfold.recon.io.lines import shortest
from rayfold.recon.io.mat5 import read_mat5
from rayfold.recon.io.shots import to_radians
from rayfold.recon.kspace import KSpace

Array = npt.NDArray[Any]
Lookup = Callable[[str], Array]
BY_NUMBER = {2: "ky,kx", 3: "coil,ky,kx", 4: "slice,coil,ky,kx"}
USUAL = ("kspace", "ksp", "data")
CANONICAL = ("coil", "kz", "ky", "kx", "shot", "sample")
SCALES = {"rad/voxel": 1.0, "cycles/voxel": 2 * np.pi}


def complex_names(path: Path) -> set[str]:
    """Names of the complex arrays of a .npy, .npz, MATLAB or HDF5 file, read from headers where possible."""
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"PK"):
        return _complex_in_npz(path)
    if head.startswith(b"\x93NUMPY"):
        with path.open("rb") as file:
            return {path.stem} if _npy_dtype(file).kind == "c" else set()
    if head.startswith(b"MATLAB 5"):
        content = read_mat5(path)
        return {n for n, a in content.items() if isinstance(a, np.ndarray) and a.dtype.kind == "c"}
    with open_hdf5(path) as hdf5:
        return {name for name, _ in _complex_datasets(hdf5)}


def read_kspace_arrays(path: Path, facts: KSpaceFacts) -> KSpace:
    """k-space from a file of plain arrays.

    Parameters
    ----------
    path : Path
        .npy, .npz, .mat (5 to 7.3) or any HDF5 file with a complex array.
    facts : KSpaceFacts
        Names of arrays and axes. Without, the only complex array is taken (or the one called "kspace", "ksp"
        or "data"), with the axes ky, kx; coil, ky, kx; or slice, coil, ky, kx.

    Raises
    ------
    UnreadableInput
        If the file is damaged.
    InconsistentInput
        If an array is missing, or shapes contradict the axes.
    """
    with path.open("rb") as file:
        head = file.read(8)
    if head.startswith(b"\x93NUMPY"):
        with reading(path, ".npy"):
            array = np.lib.format.open_memmap(path, mode="r")
            return _scan(path, {path.stem: array}, facts)
    if head.startswith(b"PK"):
        with reading(path, ".npz"), path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return _scan(path, {name: archive[name] for name in archive.files}, facts)
    if head.startswith(b"MATLAB 5"):
        with reading(path, "MATLAB"):
            content = read_mat5(path)
            return _scan(path, {n: a for n, a in content.items() if isinstance(a, np.ndarray)}, facts)
    with open_hdf5(path) as hdf5:
        wanted = {
            n for n in (facts.data, facts.trajectory, facts.sampled, facts.noise, facts.calibration) if n
        }
        names = {name for name, _ in _complex_datasets(hdf5)} | wanted
        found = {name: find(hdf5, name.strip("/")) for name in sorted(names)}
        return _scan(path, {n: _pairs(checked(d)[()]) for n, d in found.items() if d is not None}, facts)


def arranged(data: Array, axes: str, path: Path) -> tuple[Array, tuple[str, ...]]:
    """Data in the order of `KSpace`, with a coil axis, as complex64 (or complex128 where given so)."""
    names = axes.split(",")
    if len(names) != data.ndim:
        raise InconsistentInput(
            f'{path.name} holds an array {data.shape}, axes = "{axes}" names {len(names)}; name every axis'
        )
    lead = [name for name in names if name not in CANONICAL]
    order = lead + [name for name in CANONICAL if name in names]
    data = np.transpose(data, [names.index(name) for name in order])
    if "coil" not in names:
        data, order = np.expand_dims(data, len(lead)), [*lead, "coil", *order[len(lead) :]]
    kind = np.complex128 if data.dtype == np.complex128 else np.complex64
    return np.ascontiguousarray(data, kind), tuple(order)


def stated_scan(
    path: Path,
    source: str,
    data: Array,
    axes: str,
    facts: KSpaceFacts,
    lookup: Lookup,
    notes: tuple[str, ...],
) -> KSpace:
    """`KSpace` of an array and what is stated of it; zeros on the grid are positions not measured."""
    array, names = arranged(data, axes, path)
    made: dict[str, Any] = {**facts.plain(), "path": path.name, "source": source}
    more = list(notes)
    if names[-1] == "kx":
        grid = 3 if "kz" in names else 2
        if facts.sampled is not None:
            made["sampled"] = np.asarray(lookup(facts.sampled)).astype(bool)
        else:
            seen = (array != 0).any(axis=names.index("coil"))
            made["sampled"] = shortest(seen, grid) if seen.any() else None
            if made["sampled"] is not None:
                more.append("positions where all coils are 0 are taken as not measured")
    elif facts.trajectory is not None:
        ndim = names.index("sample") - names.index("coil")
        places = np.asarray(lookup(facts.trajectory), float)
        made |= _trajectory(places, ndim, facts, more)
    for name in ("noise", "calibration"):
        if (stated := getattr(facts, name)) is not None:
            made[name] = np.ascontiguousarray(lookup(stated), array.dtype)
    return KSpace(array, names, **made, notes=tuple(more))


def _trajectory(places: Array, ndim: int, facts: KSpaceFacts, notes: list[str]) -> dict[str, Any]:
    """Trajectory and matrix, which follows from the extent where the unit is cycles per field of view."""
    if places.ndim < ndim + 1 or places.shape[-1] not in (2, 3):
        raise InconsistentInput(
            f"trajectory has the shape {places.shape}; it must be (shots, samples, 2 or 3), columns x, y, (z)"
        )
    dims, matrix = places.shape[-1], facts.matrix
    if matrix is None and facts.trajectory_unit in (None, "cycles/fov"):
        most = np.abs(places).max(axis=tuple(range(places.ndim - 1)), initial=0)[::-1]
        if most.max() > np.pi * 1.0001:
            matrix = tuple(2 * max(int(np.ceil(k * (1 - 1e-4))), 1) for k in most)
            notes.append(f"grid {' x '.join(map(str, matrix))} from the extent of the trajectory")
    if matrix is None or len(matrix) != dims:
        raise InconsistentInput(f"matrix is {matrix}; state {dims} numbers, the image grid of the trajectory")
    if facts.trajectory_unit is None:
        radians, note = to_radians(places, matrix)
        notes.append(note)
    elif facts.trajectory_unit == "cycles/fov":
        radians = places[..., ::-1] * (2 * np.pi / np.array(matrix, float))
    else:
        radians = places[..., ::-1] * SCALES[facts.trajectory_unit]
    return {"trajectory": np.ascontiguousarray(radians), "matrix": matrix}


def _scan(path: Path, arrays: Mapping[str, Array], facts: KSpaceFacts) -> KSpace:
    name = facts.data or _only(path, arrays)
    if name not in arrays:
        raise InconsistentInput(f"{path.name} holds no array {name!r}; it has {_listed(arrays)}")
    data = arrays[name]
    if data.dtype.kind != "c":
        raise InconsistentInput(f"{name} of {path.name} holds {data.dtype} values; k-space is complex")
    axes = facts.axes or BY_NUMBER.get(data.ndim)
    if axes is None:
        raise InconsistentInput(
            f"{name} has {data.ndim} axes {data.shape}; name them with axes = in [kspace] of {path.stem}.toml"
        )
    source = path.suffix.lstrip(".").lower() or "arrays"
    notes = () if facts.axes else (f"axes taken as {axes.replace(',', ', ')}",)

    def lookup(of: str) -> Array:
        return arrays[of] if of in arrays else np.asarray(beside(path)(of))

    return stated_scan(path, source, data, axes, facts, lookup, notes)


def _only(path: Path, arrays: Mapping[str, Array]) -> str:
    names = [name for name, array in arrays.items() if array.dtype.kind == "c" and array.ndim > 1]
    if len(names) > 1:
        names = [name for name in names if name.lower().rpartition("/")[2] in USUAL] or names
    if len(names) == 1:
        return names[0]
    raise InconsistentInput(
        f"{path.name} has {_listed(arrays)}; name the measurement with data = in [kspace] of {path.stem}.toml"
    )


def _listed(arrays: Mapping[str, Array]) -> str:
    shown = [f"{n} {'x'.join(map(str, a.shape)) or 'scalar'}" for n, a in list(arrays.items())[:8]]
    return ", ".join(shown) + (" and more" if len(arrays) > 8 else "") if shown else "no numeric arrays"


def _pairs(array: Array) -> Array:
    """Complex numbers, also where a file calls their parts real and imag (MATLAB 7.3)."""
    if array.dtype.names == ("real", "imag"):
        kind = np.complex128 if array.dtype["real"].itemsize == 8 else np.complex64
        return np.asarray(array["real"] + 1j * array["imag"], kind)
    return np.asarray(array)


def _complex_datasets(file: Any) -> list[tuple[str, Any]]:
    import h5py

    found = []

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and (
            node.dtype.kind == "c" or node.dtype.names in (("real", "imag"), ("r", "i"))
        ):
            found.append((name, node))

    file.visititems(note)
    return found


def _complex_in_npz(path: Path) -> set[str]:
    names = set()
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            with archive.open(name) as file:
                if name.endswith(".npy") and _npy_dtype(file).kind == "c":
                    names.add(name[:-4])
    return names


def _npy_dtype(file: Any) -> np.dtype[Any]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(file)[2]
