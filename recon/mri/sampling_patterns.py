"""What surrounds a missing k-space line: its measured neighbours, on a regular lattice or anywhere."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Pattern:
    """Missing lines that have measured neighbours in the same places.

    Attributes
    ----------
    offsets : ndarray of int, (sources, axes)
        Places of the neighbours, relative to the missing line.
    targets : ndarray of int, (targets,)
        The missing lines: flat indices over the phase-encoded axes.
    """

    offsets: Array
    targets: Array


def lines_and_columns(sampled: npt.ArrayLike, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """A mask of k-space, its readout last, as the lines that were measured times the part measured of each.

    Parameters
    ----------
    sampled : array_like of bool
        Broadcasts to `shape` from the right.
    shape : tuple of int, ([nz,] ny, nx)
        k-space of one coil.

    Returns
    -------
    lines : ndarray of bool, ([nz,] ny)
        Measured lines.
    columns : ndarray of bool, (nx,)
        Measured samples of each of them.

    Raises
    ------
    ValueError
        If nothing is measured, or some lines are measured elsewhere along the readout than others.

    Examples
    --------
    >>> lines_and_columns([[True], [False], [True]], (3, 4))[0]
    array([ True, False,  True])
    """
    given = np.asarray(sampled).astype(bool)
    try:
        mask = np.broadcast_to(given, shape)
    except ValueError:
        raise ValueError(
            f"sampled has shape {given.shape}, k-space {shape}; it must broadcast to k-space"
        ) from None
    if not mask.any():
        raise ValueError("sampled marks nothing as measured; give the mask of the scan")
    lines: Array = np.any(mask, axis=-1)
    columns: Array = np.any(mask.reshape(-1, shape[-1]), axis=0)
    if not np.array_equal(mask, lines[..., None] & columns):
        raise ValueError("some lines are measured in part only; GRAPPA needs whole lines along the readout")
    return lines, columns


def accelerations(lines: Array) -> tuple[int, ...]:
    """Largest step from one measured line to the next, along every axis.

    Examples
    --------
    >>> accelerations(np.array([1, 0, 0, 1, 1, 1, 0, 0, 1], bool))
    (3,)
    """
    steps = []
    for axis in range(lines.ndim):
        rows = np.moveaxis(lines, axis, -1).reshape(-1, lines.shape[axis])
        gaps = (np.diff(np.flatnonzero(row)).max(initial=1) for row in rows)
        steps.append(int(max(gaps)))
    return tuple(steps)


def lattice(lines: Array, steps: tuple[int, ...]) -> Array | None:
    """The regular lattice, sheared or not (CAIPIRINHA), that is measured: True on its lines, or None.

    Measured lines that are not on it must belong to a solid block (calibration), and it may have no holes: it
    ends where sampling ends, at the corners of a round region too.

    Parameters
    ----------
    lines : ndarray of bool, ([nz,] ny)
        Measured lines.
    steps : tuple of int
        From `accelerations`.

    Returns
    -------
    ndarray of bool, or None
        The lattice on ``3 n`` places per axis, the middle third being k-space: it goes on beyond the edge.

    References
    ----------
    F. A. Breuer et al., Magn. Reson. Med. 55 (2006) 549, for sheared lattices.

    Examples
    --------
    >>> lattice(np.array([0, 1, 0, 0, 1, 1, 1, 1, 0], bool), (3,))[9:18].astype(int)
    array([0, 1, 0, 0, 1, 0, 0, 1, 0])
    """
    solid = _opened(lines, tuple(3 if s > 1 else 1 for s in steps))
    alone = lines & ~solid
    first = tuple(np.argwhere(lines)[0].tolist())
    cells = sorted(product(*(range(1, s + 1) for s in steps)), key=math.prod, reverse=True)
    for cell in cells:  # the largest first: denser lattices hold it too
        if math.prod(cell) * alone.sum() > 2 * lines.size:
            continue  # it has too few points
        for shear in range(cell[-1] if len(cell) > 1 else 1):
            part = _points(lines.shape, first, cell, shear, 0)
            if not (alone & ~part).any() and not _holes(lines, part):
                return _points(lines.shape, first, cell, shear, 1)
    return None


def _points(
    shape: tuple[int, ...], first: tuple[int, ...], cell: tuple[int, ...], shear: int, beyond: int
) -> Array:
    """A lattice through `first`, on the grid and so many times its size on every side."""
    at = np.ogrid[
        tuple(slice(-beyond * n - f, (1 + beyond) * n - f) for n, f in zip(shape, first, strict=True))
    ]
    shift = shear * (at[0] // cell[0]) if len(cell) > 1 else 0
    found = (at[-1] - shift) % cell[-1] == 0
    for places, step in zip(at[:-1], cell[:-1], strict=True):
        found = found & (places % step == 0)
    return np.asarray(found)


def _opened(mask: Array, size: tuple[int, ...]) -> Array:
    """Points of all boxes of this size that are wholly in the mask."""
    reach = tuple(n // 2 for n in size)
    core = _windows(np.pad(mask, [(r, r) for r in reach]), reach)
    core = np.asarray(core.all(axis=tuple(range(mask.ndim, 2 * mask.ndim))))
    wide = _windows(np.pad(core, [(r, r) for r in reach]), reach)
    return np.asarray(wide.any(axis=tuple(range(mask.ndim, 2 * mask.ndim))))


def _holes(lines: Array, part: Array) -> bool:
    """Whether a lattice has missing lines between measured ones, along any axis."""
    for axis in range(lines.ndim):
        rows = np.moveaxis(lines, axis, -1).reshape(-1, lines.shape[axis])
        for row, on in zip(rows, np.moveaxis(part, axis, -1).reshape(rows.shape), strict=True):
            seen = np.flatnonzero(row[on])
            if seen.size and seen[-1] - seen[0] + 1 != seen.size:
                return True
    return False


def patterns(
    lines: Array, reach: tuple[int, ...], steps: tuple[int, ...], *, most: int = 4
) -> tuple[Pattern, ...]:
    """Missing lines grouped by where their measured neighbours are.

    On a regular lattice only its lines are neighbours, and it goes on beyond the edge (as zeros), so that
    there is one pattern per place between its lines; otherwise the nearest measured lines are.

    Parameters
    ----------
    lines : ndarray of bool, ([nz,] ny)
        Measured lines.
    reach : tuple of int
        How far a neighbour may be, per axis.
    steps : tuple of int
        From `accelerations`. Lines farther from all measured ones stay missing (partial Fourier).
    most : int
        How many neighbours a line has where there is no lattice, for each axis with gaps.

    Returns
    -------
    tuple of Pattern
        Lines without a neighbour are left out.

    Examples
    --------
    >>> [p.offsets.ravel().tolist() for p in patterns(np.array([1, 0, 0, 1, 0, 0, 1], bool), (5,), (3,))]
    [[-4, -1, 2, 5], [-5, -2, 1, 4]]
    """
    near = _windows(np.pad(lines, [(s - 1, s - 1) for s in steps]), tuple(s - 1 for s in steps))
    missing = ~lines & near.any(axis=tuple(range(lines.ndim, 2 * lines.ndim)))
    targets = np.flatnonzero(missing)
    if targets.size == 0:
        return ()
    regular = lattice(lines, steps)
    if regular is None:
        sources = np.pad(lines, [(r, r) for r in reach])
    else:
        reach = tuple(min(r, n) for r, n in zip(reach, lines.shape, strict=True))
        sources = regular[tuple(slice(n - r, 2 * n + r) for r, n in zip(reach, lines.shape, strict=True))]
    places = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1)
    places = places.reshape(-1, lines.ndim)
    around = _windows(sources, reach).reshape(lines.size, -1)[targets]
    if regular is None:
        order = np.argsort((places**2).sum(axis=1), kind="stable")
        places, around = places[order], around[:, order]
        around = around & (around.cumsum(axis=1) <= most * sum(s > 1 for s in steps))
    kinds, which = np.unique(around, axis=0, return_inverse=True)
    found = [Pattern(places[kind], targets[which.ravel() == i]) for i, kind in enumerate(kinds) if kind.any()]
    return tuple(sorted(found, key=lambda pattern: int(pattern.targets[0])))


def _windows(mask: Array, reach: tuple[int, ...]) -> Array:
    return np.lib.stride_tricks.sliding_window_view(mask, tuple(2 * r + 1 for r in reach))


def neighbours(pattern: Pattern, shape: Sequence[int]) -> Array:
    """Flat indices of the neighbours of every target, ``(targets, sources)``; one past the end outside."""
    at = np.stack(np.unravel_index(pattern.targets, tuple(shape)), axis=-1)
    places = at[:, None, :] + pattern.offsets
    inside = ((places >= 0) & (places < np.asarray(shape))).all(axis=-1)
    flat = np.ravel_multi_index(tuple(np.moveaxis(places, -1, 0)), tuple(shape), mode="clip")
    return np.where(inside, flat, int(np.prod(shape)))
