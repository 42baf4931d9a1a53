"""Data in the order measured and the sequence that made them, together a `KSpace`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.cartesian import REGRIDDED, cartesian_scan
from rayfold.recon.io.lines import Lines
from rayfold.recon.io.read_pulseq import FLAGS, LABELS, PulseqReadouts
from rayfold.recon.io.regrid import regridding
from rayfold.recon.io.shots import shots_scan
from rayfold.recon.kspace import KSpace

Array = npt.NDArray[Any]
ON_GRID = 0.05  # cycles per field of view that a Cartesian line may lie beside its place
ALIKE = 0.01  # steps that readouts of one pattern may differ
MOST_PATTERNS = 64  # different readouts that are still regridded one by one


def pulseq_scan(
    samples: Array, sequence: PulseqReadouts, facts: Mapping[str, Any], reference: Array | None = None
) -> KSpace:
    """k-space of a Pulseq measurement.

    Lines on a grid are placed on it, under the labels of the sequence or, without any, by the order of
    excitations: the same line again after one excitation is an echo, after another a repetition. Readouts
    along other paths keep their trajectory.

    Parameters
    ----------
    samples : ndarray, (readouts, coils, samples)
        Data in the order measured.
    sequence : PulseqReadouts
        What was run; see `rayfold.recon.io.read_pulseq`.
    facts : mapping
        Further fields of `KSpace`.
    reference : ndarray, like `samples`, optional
        The same sequence without phase encoding, for the ghosts of an EPI.

    Raises
    ------
    InconsistentInput
        If the data are not those of the sequence.
    """
    blocks = _arranged(samples, sequence)
    back = None if reference is None else _arranged(reference, sequence)
    facts = {**facts, "dwell": sequence.dwell}
    if len(set(sequence.lengths.tolist())) == 1:
        n = int(sequence.lengths[0])
        places = sequence.places.reshape(3, len(sequence), n).transpose(1, 0, 2)
        order = _axis_order(places)
        path = places[:, order]
        found = _grid_lines(path)
        facts = _turned(facts, order)
        extent = [sequence.field_of_view[axis] for axis in order]
        if found is not None:
            return _on_grid(blocks, back, found, sequence, extent, facts)
    if back is not None:
        raise InconsistentInput("a reference belongs to Cartesian EPI, this sequence is not; leave it out")
    return _off_grid(blocks, sequence, facts)


def _arranged(samples: Array, sequence: PulseqReadouts) -> Array:
    """Data as ``(readouts, coils, samples)``; long readouts are stored in pieces."""
    n, coils, length = samples.shape
    lengths = sequence.lengths
    if n == len(lengths) and (lengths == length).all():
        return samples
    if n * length == lengths.sum() and len(set(lengths.tolist())) == 1:
        whole = np.moveaxis(samples, 1, 0).reshape(coils, len(lengths), int(lengths[0]))
        return np.moveaxis(whole, 0, 1)
    raise InconsistentInput(
        f"the data hold {n} readouts of {length} samples, the sequence {len(lengths)} of {lengths.min()} to "
        f"{lengths.max()}; give the .seq that was run with sequence="
    )


def _axis_order(places: Array) -> list[int]:
    """Axes of the sequence as image axes x, y, z: the readout first, a slice axis without encoding last."""
    inside = np.ptp(places, axis=2).max(0)
    across = np.ptp(places, axis=(0, 2))
    read = 0 if inside[0] >= 0.5 * inside.max() else int(inside.argmax())
    rest = [axis for axis in range(3) if axis != read]
    if across[rest[0]] < 0.5 <= across[rest[1]]:
        rest.reverse()
    return [read, *rest]


def _turned(facts: Mapping[str, Any], order: list[int]) -> dict[str, Any]:
    made = dict(facts)
    if order != [0, 1, 2]:
        names = "xyz"
        made["notes"] = (
            *made.get("notes", ()),
            f"image x, y, z are {', '.join(names[a] for a in order)} of the sequence",
        )
    return made


@dataclass(frozen=True, eq=False)
class _GridLines:
    kx: Array  # (readouts, samples), ascending
    backwards: Array
    ky: Array
    kz: Array


def _grid_lines(path: Array) -> _GridLines | None:
    """Rows of a Cartesian sequence: straight, forwards or backwards, at whole steps; None for other paths."""
    phase = path[:, 1:]
    middle = phase.mean(2)
    whole = np.round(middle)
    steady = np.ptp(phase, axis=2).max() < ON_GRID and np.abs(middle - whole).max() < ON_GRID
    steps = np.diff(path[:, 0], axis=1)
    forwards, backwards = np.all(steps > 0, axis=1), np.all(steps < 0, axis=1)
    if not steady or not (forwards | backwards).all():
        return None
    kx = np.where(backwards[:, None], path[:, 0, ::-1], path[:, 0])
    return _GridLines(kx, backwards, whole[:, 0].astype(int), whole[:, 1].astype(int))


def _on_grid(
    samples: Array,
    reference: Array | None,
    found: _GridLines,
    sequence: PulseqReadouts,
    extent: list[float],
    facts: dict[str, Any],
) -> KSpace:
    step = float(np.median(np.diff(found.kx, axis=1)))
    even = np.abs(np.diff(found.kx, axis=1) / step - 1).max() < 0.01
    alike = np.abs(found.kx - found.kx[:1]).max() < ALIKE * step
    notes = list(facts.get("notes", ()))
    if even and alike:
        nx, start, offset = _even(found.kx[0] / step)
        if abs(offset) > ON_GRID:
            notes.append(
                f"samples lie {offset:.3g} of a step beside the grid along kx: a linear phase in the image"
            )
        fov_x, matrices = extent[0] / step, None
    else:
        nx, start, fov_x = 2 * int(np.ceil(np.abs(found.kx).max() - ON_GRID)), 0, extent[0]
        _, first, which = np.unique(found.kx.round(2), axis=0, return_index=True, return_inverse=True)
        if len(first) > MOST_PATTERNS:
            return _off_grid(samples, sequence, facts)
        matrices = [regridding(found.kx[k], nx).astype(np.complex64) for k in first]
        notes.append(REGRIDDED)

    def ready(block: Array) -> Array:
        block = np.where(found.backwards[:, None, None], block[..., ::-1], block)
        if matrices is None:
            return block
        out = np.empty((*block.shape[:2], nx), np.complex64)
        for k, matrix in enumerate(matrices):
            out[which.ravel() == k] = block[which.ravel() == k] @ matrix.T
        return out

    ny, ky = _wrapped(found.ky)
    nz, kz = _wrapped(found.kz)
    grid = (nz, ny, nx) if nz > 1 else (ny, nx)
    counters, image, navigator = _counters(found, sequence)
    lines = Lines(ready(samples), counters, ky, kz, found.backwards)
    fov = [extent[2] / 1.0, extent[1], fov_x][-len(grid) :]
    crop = (*grid[:-1], min(nx, round(nx * step))) if matrices is None and step < 0.75 else None
    made = {
        **facts,
        "field_of_view": tuple(fov),
        "crop": crop,
        "slice_thickness": extent[2] if nz == 1 else None,
        "echo_times": _echo_times(sequence, found, counters["echo"], image),
        "notes": tuple(notes),
    }
    spare = lines.take(navigator) if navigator.any() else None
    if reference is not None:
        spare = replace(lines, samples=ready(reference)).take(image)
    return cartesian_scan(lines.take(image), grid, made, start=start, reference=spare)


def _even(kx: Array) -> tuple[int, int, float]:
    """Matrix, first index and offset from the grid of evenly sampled positions in steps."""
    n, centre = len(kx), -float(kx[0])
    if abs(centre - (n - 1) / 2) <= 0.75:
        return n, 0, n // 2 - centre
    nx = 2 * int(np.ceil(max(centre, n - 1 - centre)))
    start = nx // 2 - round(centre)
    return max(nx, start + n), start, round(centre) - centre


def _wrapped(k: Array) -> tuple[int, Array]:
    """Grid size and indices of whole steps; +n/2 is the same frequency as -n/2."""
    low, high = int(k.min()), int(k.max())
    if low == high:
        return 1, np.zeros(len(k), int)
    n = 2 * high if high == 1 - low else 2 * max(-low, high + 1)
    if high == -low:
        n = 2 * high + 1
    return n, (k + n // 2) % n


def _counters(found: _GridLines, sequence: PulseqReadouts) -> tuple[dict[str, Array], Array, Array]:
    """Counters per readout; which readouts belong to the image, and which are EPI reference lines."""
    n = len(sequence)
    labels = {ours: sequence.labels[theirs] for theirs, ours in LABELS.items() if theirs in sequence.labels}
    counters = {name: labels.get(name, np.zeros(n, int)) for name in LABELS.values()}
    marked = [sequence.labels[name] > 0 for name in FLAGS if name in sequence.labels]
    navigator = np.zeros(n, bool)
    spare = np.zeros(n, bool)
    for name, flags in zip([f for f in FLAGS if f in sequence.labels], marked, strict=True):
        (spare if name == "NOISE" else navigator)[:] |= flags
    if not navigator.any():
        navigator = _leading_reference(found, sequence.shots)
    image = ~(navigator | spare)
    keys = list(
        zip(found.ky.tolist(), found.kz.tolist(), *(labels[name].tolist() for name in labels), strict=True)
    )
    in_shot: Counter[Any] = Counter()
    before: Counter[Any] = Counter()
    echo, again = np.zeros(n, int), np.zeros(n, int)
    for k in np.flatnonzero(image):
        here = (keys[k], int(sequence.shots[k]))
        echo[k] = in_shot[here] if "echo" not in labels else 0
        in_shot[here] += 1
        again[k] = before[keys[k], int(echo[k])]
        before[keys[k], int(echo[k])] += 1
    if "echo" not in labels:
        counters["echo"] = echo
    if "repetition" not in labels:
        counters["repetition"] = again
    return counters, image, navigator


def _leading_reference(found: _GridLines, shots: Array) -> Array:
    """Readouts at the start of an EPI train that repeat one line before the train begins."""
    marks = np.zeros(len(shots), bool)
    for shot in np.unique(shots):
        rows = np.flatnonzero(shots == shot)
        keys = list(zip(found.ky[rows].tolist(), found.kz[rows].tolist(), strict=True))
        run = next((k for k, key in enumerate(keys) if key != keys[0]), len(keys))
        rest = Counter(keys[run:])
        if run >= 2 and len(rest) >= 4 * run and max(rest.values()) == 1:
            marks[rows[:run]] = True
    return marks


def _echo_times(
    sequence: PulseqReadouts, found: _GridLines, echo: Array, image: Array
) -> tuple[float, ...] | None:
    """Time from excitation to the sample nearest to the centre of k-space, per echo."""
    times = sequence.times.reshape(len(sequence), -1)
    times = np.where(found.backwards[:, None], times[:, ::-1], times)
    made = []
    for number in range(int(echo[image].max()) + 1):
        rows = np.flatnonzero(image & (echo == number))
        row = rows[np.argmin(np.hypot(found.ky[rows], found.kz[rows]))]
        # between two samples
        made.append(float(np.interp(0.0, found.kx[row], times[row])))
    return tuple(made)


def _off_grid(samples: Array, sequence: PulseqReadouts, facts: Mapping[str, Any]) -> KSpace:
    if len(set(sequence.lengths.tolist())) > 1:
        raise InconsistentInput(
            f"readouts have {sequence.lengths.min()} to {sequence.lengths.max()} samples and lie on no grid; "
            "export readouts of one length"
        )
    n = int(sequence.lengths[0])
    ndim = 3 if np.ptp(sequence.places[2]) > 0.5 else 2
    places = sequence.places[:ndim].reshape(ndim, len(sequence), n).transpose(1, 2, 0)
    most = np.abs(places).max((0, 1))
    matrix = tuple(2 * max(int(np.ceil(k * (1 - 1e-4))), 1) for k in most[::-1])
    radians = places[..., ::-1] * (2 * np.pi / np.array(matrix))
    counters = {
        ours: sequence.labels.get(theirs, np.zeros(len(sequence), int)) for theirs, ours in LABELS.items()
    }
    none = np.zeros(len(sequence), int)
    distance = np.linalg.norm(sequence.places, axis=0)
    made = {
        **facts,
        "echo_times": (float(sequence.times[np.argmin(distance)]),),
        "field_of_view": tuple(sequence.field_of_view[:ndim][::-1]),
        "slice_thickness": sequence.field_of_view[2] if ndim == 2 else None,
    }
    lines = Lines(np.ascontiguousarray(samples), counters, none, none, none > 0)
    return shots_scan(lines, radians, matrix, made)
