"""Readouts along trajectories to a `KSpace` of shots."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io.lines import Lines, leading_of
from rayfold.recon.kspace import KSpace

Array = npt.NDArray[Any]


def to_radians(places: Array, grid: tuple[int, ...]) -> tuple[Array, str]:
    """Trajectory ``(..., ndim)`` in rad/voxel and image-axis order, from columns kx, ky, (kz) of a file.

    Files do not state the unit; the extent tells cycles per voxel (to 0.5), rad per voxel (to pi) and cycles
    per field of view apart.

    Parameters
    ----------
    places : ndarray, (..., ndim)
        Columns x first.
    grid : tuple of int
        Image grid.

    Returns
    -------
    ndarray, str
        The trajectory and a note that names the unit taken.

    Examples
    --------
    >>> to_radians(np.array([[16.0, 0.0]]), (32, 32))[0].round(3).tolist()
    [[0.0, 3.142]]
    """
    flipped = places[..., ::-1]
    most = float(np.abs(places).max(initial=0))
    if not np.isfinite(most):
        raise InconsistentInput("the trajectory holds NaN or infinite places; export the scan again")
    if most <= 0.5001:
        return flipped * (2 * np.pi), "trajectory taken as cycles per voxel"
    if most <= np.pi * 1.0001:
        return np.array(flipped), "trajectory taken as rad per voxel"
    matrix = np.array(grid[len(grid) - places.shape[-1] :], float)
    return flipped * (2 * np.pi / matrix), "trajectory taken as cycles per field of view"


def shots_scan(lines: Lines, places: Array, grid: tuple[int, ...], facts: Mapping[str, Any]) -> KSpace:
    """k-space ``(..., coil, shot, sample)`` from readouts and their places.

    Parameters
    ----------
    lines : Lines
        Readouts; those with the same counters are shots, in the order of kz, ky and then time.
    places : ndarray, (n, samples, ndim)
        Trajectory of every readout in rad/voxel.
    grid : tuple of int
        Image grid.
    facts : mapping
        Further fields of `KSpace`.

    Raises
    ------
    InconsistentInput
        If the named axes hold different numbers of shots.
    """
    sizes = leading_of(lines)
    group = np.zeros(len(lines), int)
    if sizes:
        group = np.ravel_multi_index(tuple(lines.counters[name] for name in sizes), tuple(sizes.values()))
    order = np.lexsort((np.arange(len(lines)), lines.ky, lines.kz, group))
    counts = np.bincount(group, minlength=int(np.prod(tuple(sizes.values()), initial=1)))
    if len(set(counts.tolist())) > 1:
        raise InconsistentInput(
            f"{', '.join(sizes)} hold {counts.min()} to {counts.max()} shots each; export whole frames"
        )
    shape = (*sizes.values(), int(counts[0]))
    data = lines.samples[order].reshape(*shape, *lines.samples.shape[1:])
    data = np.ascontiguousarray(np.moveaxis(data, -2, len(sizes)))
    path = places[order].reshape(-1, int(counts[0]), *places.shape[1:])
    same = bool((path == path[:1]).all())
    trajectory = path[0] if same else path.reshape(*shape, *places.shape[1:])
    axes = (*sizes, "coil", "shot", "sample")
    return KSpace(
        data, axes, **{**facts, "trajectory": np.ascontiguousarray(trajectory, float), "matrix": grid}
    )
