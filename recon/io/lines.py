"""Readouts in the order they were measured, put where they belong: a Cartesian grid under named axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.kspace_checks import LEADING

Array = npt.NDArray[Any]
TRUSTED_BYTES, SPARSEST = 2**28, 200  # a grid larger than this many times its data is a damaged counter


@dataclass(frozen=True, eq=False)
class Lines:
    """Readouts of equal length with their counters.

    Parameters
    ----------
    samples : ndarray, (n, coils, samples)
        Complex samples; lines that were read backwards are already turned round.
    counters : mapping of str to ndarray, (n,)
        Index along each named leading axis.
    ky, kz : ndarray of int, (n,)
        Position of the line on the grid.
    reversed : ndarray of bool, (n,)
        Which of them were read backwards.
    """

    samples: Array
    counters: Mapping[str, Array]
    ky: Array
    kz: Array
    reversed: Array

    def __len__(self) -> int:
        return len(self.samples)

    def take(self, which: Array) -> Lines:
        """Some of the readouts, by mask or by number."""
        return Lines(
            self.samples[which],
            {name: count[which] for name, count in self.counters.items()},
            self.ky[which],
            self.kz[which],
            self.reversed[which],
        )


def leading_of(lines: Lines) -> dict[str, int]:
    """Lengths of the named axes along which the readouts differ."""
    sizes = {name: int(lines.counters[name].max()) + 1 for name in LEADING if name in lines.counters}
    return {name: n for name, n in sizes.items() if n > 1}


def place(
    lines: Lines, grid: tuple[int, ...], start: int = 0, leading: Mapping[str, int] | None = None
) -> tuple[Array, Array | None, list[str]]:
    """Data ``(..., coils, [nz,] ny, nx)``, the mask of what was measured (None: all), and notes.

    Parameters
    ----------
    lines : Lines
        Readouts; those at one place are averaged.
    grid : tuple of int
        ``(ny, nx)`` or ``(nz, ny, nx)``.
    start : int
        Index along kx of the first sample.
    leading : mapping of str to int, optional
        Named axes and their lengths; by default those along which the readouts differ.

    Raises
    ------
    InconsistentInput
        If a line lies outside the grid.

    Examples
    --------
    >>> zero = np.zeros(2, int)
    >>> two = Lines(np.ones((2, 1, 4)), {}, np.array([0, 2]), zero, zero > 0)
    >>> data, sampled, _ = place(two, (3, 4))
    >>> data.shape, sampled[:, 0].tolist()
    ((1, 3, 4), [True, False, True])
    """
    sizes = leading_of(lines) if leading is None else dict(leading)
    n, coils, samples = lines.samples.shape
    nz, (ny, nx) = (grid[0] if len(grid) == 3 else 1), grid[-2:]
    _check_inside(lines, (nz, ny, nx), start, samples)
    shape = (*sizes.values(), nz, ny)
    frames, rows = math.prod(sizes.values()), nz * ny
    frame = np.zeros(n, int)
    if sizes:
        frame = np.ravel_multi_index(tuple(lines.counters[name] for name in sizes), tuple(sizes.values()))
    row = lines.kz * ny + lines.ky
    needed = math.prod(shape) * coils * nx * lines.samples.itemsize
    if needed > max(TRUSTED_BYTES, SPARSEST * lines.samples.nbytes):
        raise InconsistentInput(
            f"the counters of {n} readouts span {' x '.join(map(str, shape))} lines; the file is damaged or "
            "counts without end, export the scan again"
        )
    data = np.zeros((frames, coils, rows, nx), lines.samples.dtype)
    part = data[..., start : start + samples]
    _, first, inverse, count = np.unique(
        frame * rows + row, return_index=True, return_inverse=True, return_counts=True
    )
    notes = []
    if len(first) == n:
        part[frame, :, row] = lines.samples
    else:
        total = np.zeros((len(first), coils, samples), lines.samples.dtype)
        np.add.at(total, inverse, lines.samples)
        part[frame[first], :, row[first]] = total / count[:, None, None].astype(np.float32)
        several = int(np.count_nonzero(count > 1))
        notes.append(f"{several} lines were measured more than once; their mean is used")
    found = np.zeros((frames, rows, nx), bool)
    found[frame, row, start : start + samples] = True
    data = data.reshape(*sizes.values(), coils, *grid)
    return data, shortest(found.reshape(*sizes.values(), *grid), len(grid)), notes


def shortest(sampled: Array, ndim: int) -> Array | None:
    """A mask without the axes along which it never changes; None when everything was measured.

    Parameters
    ----------
    sampled : ndarray of bool
        Mask whose last `ndim` axes are the grid.
    ndim : int
        Axes of the grid.
    """
    if sampled.all():
        return None
    lead = sampled.ndim - ndim
    flat = sampled.reshape(-1, *sampled.shape[lead:])
    if (flat == flat[:1]).all():
        sampled = flat[0]
    return np.array(sampled)


def _check_inside(lines: Lines, grid: tuple[int, int, int], start: int, samples: int) -> None:
    for name, index, n in (("kz", lines.kz, grid[0]), ("ky", lines.ky, grid[1])):
        low, high = int(index.min()), int(index.max())
        if low < 0 or high >= n:
            raise InconsistentInput(
                f"lines reach {name} {low if low < 0 else high} of a grid of {n}; the matrix of the "
                "header and the counters contradict each other, export the scan again"
            )
    if start < 0 or start + samples > grid[2]:
        raise InconsistentInput(
            f"readouts of {samples} samples from {start} do not fit the matrix of {grid[2]}; the header and "
            "the data contradict each other, export the scan again"
        )


def reference_of(lines: Lines, leading: Mapping[str, int]) -> tuple[Array, Array]:
    """EPI phase-correction lines ``(..., coils, lines, samples)`` as measured, and which were reversed.

    Parameters
    ----------
    lines : Lines
        The lines without phase encoding, not empty.
    leading : mapping of str to int
        Named axes of the data; averages share their reference.
    """
    names = [name for name in leading if name != "average" and lines.counters[name].max() > 0]
    sizes = tuple(leading[name] for name in names)
    group = np.zeros(len(lines), int)
    if names:
        group = np.ravel_multi_index(tuple(lines.counters[name] for name in names), sizes)
    members = [np.flatnonzero(group == g) for g in range(math.prod(sizes))]
    fewest = min(map(len, members))
    if fewest == 0:  # measured once for all
        names, sizes, members = [], (), [np.arange(len(lines))[: max(map(len, members))]]
        fewest = len(members[0])
    picked = np.stack([m[:fewest] for m in members])
    flags = lines.reversed[picked]
    if (flags != flags[:1]).any():
        raise InconsistentInput(
            "the phase-correction lines alternate differently in each slice; leave them out"
        )
    found = np.moveaxis(lines.samples[picked], 2, 1)  # (groups, coils, lines, samples)
    shape = tuple(leading[name] if name in names else 1 for name in leading) if names else ()
    return np.ascontiguousarray(found.reshape(*shape, *found.shape[1:])), flags[0]


def line_flags(lines: Lines, ny: int) -> Array | None:
    """Which ky lines were read backwards, None when none was or when a line was read both ways."""
    flags, forward = np.zeros(ny, bool), np.zeros(ny, bool)
    flags[lines.ky[lines.reversed]] = True
    forward[lines.ky[~lines.reversed]] = True
    return flags if flags.any() and not (flags & forward).any() else None


def slice_ranks(numbers: Array, places: Array, facts: dict[str, Any]) -> Array | None:
    """Position of every slice number in the stack, in order of place; None where the file's order stays.

    Scanners number slices in the order measured, often interleaved.

    Parameters
    ----------
    numbers : ndarray of int, (n,)
        Slice counter per readout.
    places : ndarray, (n, 3)
        Centre of the slice of every readout in mm.
    facts : dict
        Fields of the scan; "direction" is used, "origin" and "slice_spacing" are set.
    """
    count = int(numbers.max()) + 1
    if count < 2 or facts["direction"] is None:
        return None
    known, first = np.unique(numbers, return_index=True)
    height = places[first] @ facts["direction"][:, 2]
    if len(known) < count or np.ptp(height) < 1e-6:
        return None
    order = np.argsort(height, kind="stable")
    facts["origin"] = tuple(map(float, places[first][order[0]]))
    facts["slice_spacing"] = float(np.median(np.diff(height[order])))
    rank = np.empty(count, int)
    rank[order] = np.arange(count)
    return rank
