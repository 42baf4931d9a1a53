"""MRC 2014 image stacks: one section per view, rows along y, columns along x."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Scan, ScanKind
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.assemble import assemble
from rayfold.recon.io.beside import beside
from rayfold.recon.io.files import AXES, Rows, arrange, parse_axes
from rayfold.recon.io.sidecar import Geometry

HEADER_BYTES = 1024
MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
ANGSTROM_IN_MM = 1e-7


def read_mrc(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """Scan from an MRC stack, transmission unless stated otherwise; the angles come from the geometry.

    Parameters
    ----------
    path : Path
        MRC file of mode 0, 1, 2, 6 or 12, either byte order.
    geometry : Geometry
        Angles and beam; `angles` may name a text file of angles (.tlt, .rawtlt) next to the data.
    rows : slice, int or None
        Detector rows to read.

    Raises
    ------
    UnreadableInput
        If the header makes no sense or the file is shorter than it says.
    InconsistentInput
        If no angles are stated.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        raise UnreadableInput(f"{path.name} is shorter than an MRC header of 1024 bytes; copy it again")
    order = next((o for o in "<>" if _sensible(np.frombuffer(head, f"{o}i4", 24))), None)
    if order is None:
        raise UnreadableInput(
            f"{path.name} has no valid MRC header (sizes and mode make no sense); copy it again"
        )
    words = np.frombuffer(head, f"{order}i4", 24)
    cols, n_rows, views, mode, extended = (int(words[k]) for k in (0, 1, 2, 3, 23))
    if mode not in MODES:
        raise UnreadableInput(
            f"{path.name} has MRC mode {mode}; modes {', '.join(map(str, MODES))} are read: convert it"
        )
    dtype = np.dtype(order + MODES[mode])
    start, needed = HEADER_BYTES + extended, views * n_rows * cols * dtype.itemsize
    if size < start + needed:
        raise UnreadableInput(
            f"{path.name} is truncated: {size} bytes of {start + needed} in its header; copy it again"
        )
    stack = np.memmap(path, dtype, "r", start, (views, n_rows, cols))
    axes = parse_axes(geometry.axes) if geometry.axes else AXES
    data = arrange(stack, axes, rows, path.name)
    if not geometry.states_angles:
        raise InconsistentInput(
            f"{path.name}: MRC states no angles; give first_deg and step_deg in {path.stem}.toml next to it, "
            "or with geometry="
        )
    kind: ScanKind | None = None if geometry.open_beam is not None else "transmission"
    return assemble(path, "MRC", data, geometry.over(_facts(head, order)), lookup=beside(path), kind=kind)


def _facts(head: bytes, order: str) -> Geometry:
    """Pixel size from the cell; 1 angstrom is what writers put in when they do not know."""
    sampled, cell = np.frombuffer(head, f"{order}i4", 24)[7:9], np.frombuffer(head, f"{order}f4", 24)[10:12]
    if not (np.isfinite(cell).all() and (cell > 0).all() and (sampled > 0).all()) or (cell == sampled).all():
        return Geometry()
    pitch, row_pitch = (float(size) * ANGSTROM_IN_MM for size in cell / sampled)
    return Geometry(pitch=pitch, row_pitch=row_pitch)


def _sensible(words: npt.NDArray[np.int32]) -> bool:
    return bool((words[:3] > 0).all() and words[:3].max() < 2**20 and 0 <= words[3] < 128 and words[23] >= 0)
