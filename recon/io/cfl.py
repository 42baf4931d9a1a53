"""BART's cfl/hdr pair: a text header with up to 16 sizes, and complex64 in column-major order."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.io.files import reading
from rayfold.recon.io.kspace_facts import KSpaceFacts
from rayfold.recon.io.read_kspace_arrays import stated_scan
from rayfold.recon.kspace import KSpace

Array = npt.NDArray[Any]
N_DIMS, COIL = 16, 3
# which of the format's dimensions holds which named axis
DIMENSIONS = {
    "echo": 5,
    "contrast": 6,
    "repetition": 10,
    "phase": 11,
    "slice": 13,
    "average": 14,
    "set": 15,
}
UNUSED = {4: "coil map sets", 7: "further coefficients", 8: "iterations", 9: "shifts", 12: "levels"}
READABLE_BYTES = 4096


def is_cfl_header(path: Path) -> bool:
    """Whether a file is the header of a pair."""
    with path.open("rb") as file:
        return file.read(64).lstrip().startswith(b"# Dimensions")


def read_cfl_array(path: Path) -> Array:
    """The array of a pair, its dimensions in the format's order without trailing ones.

    Parameters
    ----------
    path : Path
        Either file of the pair.

    Raises
    ------
    UnreadableInput
        If a file of the pair is missing or too short for the sizes stated.
    InconsistentInput
        If the data are longer than the sizes stated.
    """
    header, data = path.with_suffix(".hdr"), path.with_suffix(".cfl")
    for part in (header, data):
        if not part.is_file():
            raise UnreadableInput(f"{part.name} is missing; keep the .cfl and the .hdr file together")
    with reading(header, "a BART header"):
        # only the sizes: what follows them are commands, which may name files and people
        lines = header.read_bytes()[:READABLE_BYTES].decode("ascii", "replace").splitlines()
    at = next((k for k, line in enumerate(lines) if line.strip() == "# Dimensions"), None)
    words = lines[at + 1].split() if at is not None and at + 1 < len(lines) else []
    if not words or not all(word.isdigit() and int(word) > 0 for word in words) or len(words) > N_DIMS:
        raise UnreadableInput(f"{header.name} states no dimensions; the file is damaged, copy it again")
    shape = [int(word) for word in words]
    wanted, held = 8 * math.prod(shape), data.stat().st_size
    if held < wanted:
        raise UnreadableInput(
            f"{data.name} holds {held} bytes, its header asks for {wanted}; it is incomplete, copy it again"
        )
    if held > wanted:
        raise InconsistentInput(
            f"{data.name} holds {held} bytes, its header asks for {wanted}; the two files do not belong "
            "together, copy both again"
        )
    while len(shape) > 1 and shape[-1] == 1:
        shape.pop()
    return np.fromfile(data, "<c8").reshape(shape, order="F")


def read_cfl(path: Path, facts: KSpaceFacts) -> KSpace:
    """k-space from a BART pair.

    Parameters
    ----------
    path : Path
        Either file of the pair.
    facts : KSpaceFacts
        What the format does not state; `trajectory` names another pair, by default ``<name>_traj`` where
        there is one.

    Raises
    ------
    UnreadableInput
        If the pair is incomplete.
    InconsistentInput
        If the files contradict each other, or a dimension has no place in a scan.
    """
    array = read_cfl_array(path)
    array = array.reshape(*array.shape, *(1,) * (N_DIMS - array.ndim))
    for at, meaning in UNUSED.items():
        if array.shape[at] > 1:
            raise InconsistentInput(
                f"{path.name} has {array.shape[at]} {meaning} (dimension {at}), which k-space has not; "
                "extract one with bart slice"
            )
    paths = (
        path.with_name(f"{path.stem}_traj.cfl")
        if facts.trajectory is None
        else path.parent / facts.trajectory
    )
    along = facts.trajectory is not None or paths.is_file()
    space = _along(array) if along else _grid(array)
    lead = [name for name, at in DIMENSIONS.items() if array.shape[at] > 1]
    kept = [*(DIMENSIONS[name] for name in lead), COIL, *space.values()]
    dropped = tuple(at for at in range(N_DIMS) if at not in kept)
    remaining = [at for at in range(N_DIMS) if at in kept]
    data = np.transpose(array.squeeze(dropped), [remaining.index(at) for at in kept])
    if along:
        places = np.moveaxis(read_cfl_array(paths).real, 0, -1)  # (samples, shots, 3)
        places = np.swapaxes(places, 0, 1) if places.ndim == 3 else places[None]
        if places.shape[-1] == 3 and not places[..., 2].any():
            places = places[..., :2]
        stated = {"trajectory": paths.name, "trajectory_unit": "cycles/fov"}
        facts = KSpaceFacts(**{**vars(facts), **stated})
    axes = ",".join((*lead, "coil", *space))
    return stated_scan(path, "BART cfl", data, axes, facts, lambda _: places, ())


def _grid(array: Array) -> dict[str, int]:
    """Dimensions of the Cartesian axes: x is the readout; a 2D scan may use any two of the three."""
    used = [at for at in (2, 1, 0) if array.shape[at] > 1]
    if len(used) == 3:
        return {"kz": 2, "ky": 1, "kx": 0}
    if len(used) < 2:
        used = [1, 0]
    return {"ky": used[0], "kx": used[1]}


def _along(array: Array) -> dict[str, int]:
    if array.shape[0] > 1:
        raise InconsistentInput(
            f"non-Cartesian data have 1 in dimension 0, these {array.shape[0]}; leave the trajectory out"
        )
    return {"shot": 2, "sample": 1}


def write_cfl(path: Path, scan: KSpace, *, force: bool = False) -> Path:
    """Write k-space as a BART pair, a trajectory as a second pair ``<name>_traj``.

    Parameters
    ----------
    path : Path
        ``.cfl`` or ``.hdr``.
    scan : KSpace
        Only its samples and trajectory are kept by the format.
    force : bool
        Replace existing files.

    Returns
    -------
    Path
        The .cfl file.

    Raises
    ------
    OutputFailure
        If a file exists and `force` is off, or if writing fails.
    ValueError
        If the trajectory changes along a leading axis, which this writer does not hold.
    """
    places = {"coil": COIL, **DIMENSIONS}
    places |= {"kx": 0, "ky": 1, "kz": 2} if scan.cartesian else {"sample": 1, "shot": 2}
    order = sorted(range(len(scan.axes)), key=lambda at: places[scan.axes[at]])
    shape = [1] * N_DIMS
    for at in order:
        shape[places[scan.axes[at]]] = scan.data.shape[at]
    if scan.trajectory is not None:
        if scan.trajectory.ndim > len(scan.k_axes) + 1:
            raise ValueError("the trajectory changes between frames; write them one by one with take")
        cycles = scan.trajectory * (np.array(scan.grid) / (2 * np.pi))
        rows = np.zeros((3, *cycles.shape[:-1][::-1]), np.complex64)
        rows[: cycles.shape[-1]] = np.moveaxis(cycles[..., ::-1], -1, 0).swapaxes(1, -1)
        _write_pair(path.with_name(f"{path.stem}_traj.cfl"), rows, rows.shape, force=force)
    return _write_pair(path.with_suffix(".cfl"), np.transpose(scan.data, order), shape, force=force)


def _write_pair(path: Path, array: Array, shape: Any, *, force: bool) -> Path:
    with atomic_file(path, force=force) as part, atomic_file(path.with_suffix(".hdr"), force=force) as head:
        part.write_bytes(np.asarray(array, "<c8").tobytes(order="F"))
        head.write_text(f"# Dimensions\n{' '.join(map(str, shape))}\n", encoding="ascii")
    return path
