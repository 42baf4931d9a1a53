"""Interpolation at the points of a trajectory and its exact transpose, on NumPy and CuPy arrays.

The kernel is the exponential of a semicircle, ``exp(beta (sqrt(1 - z^2) - 1))`` (Barnett, Magland and
af Klinteberg, SIAM J. Sci. Comput. 41, 2019), evaluated in the working precision. Complex numbers are handed
to CUDA as they lie: real and imaginary part next to each other.
"""

from __future__ import annotations

import itertools
import math
import sys
from typing import Any, NamedTuple

import numpy as np

from . import launch
from .joseph import images_per_thread, library_of

THREADS = 64  # of cuda/gridding.cu
TILES = {1: (1, 1, 64), 2: (1, 8, 8), 3: (4, 4, 4)}  # nodes a block owns, per number of axes
WIDEST = 16
ALLOWED = 1.15  # times eps: the error of small images lies up to 1.7 times higher, and twice eps is promised
# per width: the beta per node with the least aliasing on a grid of twice the size, and that aliasing, root
# mean square over the frequencies of one axis
KERNELS = {
    2: (2.00, 4.4e-2), 3: (2.11, 4.6e-3), 4: (2.22, 5.3e-4), 5: (2.27, 6.1e-5), 6: (2.29, 7.0e-6),
    7: (2.31, 8.1e-7), 8: (2.31, 9.4e-8), 9: (2.32, 1.1e-8), 10: (2.33, 1.2e-9), 11: (2.33, 1.3e-10),
    12: (2.33, 1.4e-11), 13: (2.34, 1.6e-12), 14: (2.34, 1.5e-13), 15: (2.34, 1.6e-14), 16: (2.34, 4.6e-15),
}  # fmt: skip


class Plan(NamedTuple):
    """Where the points of a trajectory lie on a grid; see `plan`."""

    grid: tuple[int, ...]
    width: int
    cell: Any  # (points, ndim) int32: first of the nodes a point reaches
    offset: Any  # (points, ndim): that node's distance from the point, plus half the width, 0 to 1
    order: Any  # (points,) int32: points tile by tile
    starts: Any  # (tiles + 1,) int64 into `entries`
    entries: Any  # int32: points that reach a tile, tile after tile


def width_of(eps: float, dim: int) -> int:
    """Nodes per axis that a point must reach for a relative error `eps` on a grid of twice the size.

    Examples
    --------
    >>> [width_of(eps, 2) for eps in (1e-2, 1e-6, 1e-13)]
    [3, 7, 15]
    """
    good = [width for width, (_, error) in KERNELS.items() if math.sqrt(dim) * error <= ALLOWED * eps]
    return min(good, default=WIDEST)


def beta_of(width: int) -> float:
    """Shape of the kernel for a grid of twice the size."""
    return width * KERNELS[width][0]


def transform(width: int, n: Any, length: int) -> Any:
    """Fourier transform of the kernel, as `interpolate` sums it, at frequencies `n` of a grid of `length`.

    ``sum_j w(j - g) exp(-2 pi i n j / length) = transform(n) exp(-2 pi i n g / length)``, to the accuracy of
    the kernel: dividing an image by it makes up for interpolation.

    Examples
    --------
    >>> float(transform(6, 0, 32)) > float(transform(6, 8, 32)) > 0
    True
    """
    z, weights = np.polynomial.legendre.leggauss(64)
    values = weights * np.exp(beta_of(width) * (np.sqrt(1 - z * z) - 1))
    angle = np.pi * width / length * np.multiply.outer(np.asarray(n, np.float64), z)
    return 0.5 * width * (np.cos(angle) @ values)


def plan(points: Any, grid: tuple[int, ...], width: int) -> Plan:
    """Cells, offsets and tiles of a trajectory.

    Parameters
    ----------
    points : ndarray, (points, ndim)
        In radians, any number of turns; float32 or float64, NumPy or CuPy. One to three axes.
    grid : tuple of int
        Nodes per axis, each at least `width`; node j lies at ``2 pi j / n``.
    width : int
        See `width_of`.

    Returns
    -------
    Plan
        Arrays of the library and precision of `points`, positions computed in double precision.

    Raises
    ------
    ValueError
        If a point is not finite or the grid does not fit.

    Examples
    --------
    >>> found = plan(np.array([[0.0], [3.0]]), (16,), 4)
    >>> found.cell.tolist(), found.order.tolist()
    ([[14], [6]], [0, 1])
    """
    xp = sys.modules[library_of({"points": points})]
    grid = tuple(int(n) for n in grid)
    n_points, dim = points.shape
    if len(grid) != dim or not 1 <= dim <= 3 or min(grid) < width or not 2 <= width <= WIDEST:
        raise ValueError(
            f"points {points.shape}, grid {grid} and width {width} do not fit: one to three axes, at least "
            f"as many nodes as the width, which is 2 to {WIDEST}"
        )
    if not bool(xp.isfinite(points).all()):
        raise ValueError("points must be finite; remove samples that are NaN or infinite")
    sizes = xp.asarray(grid, dtype=np.float64)
    place = points.astype(np.float64) * (sizes / (2 * math.pi)) - 0.5 * width
    first = xp.ceil(place)
    cell = xp.mod(first, sizes).astype(np.int32)
    tile = TILES[dim][3 - dim :]
    counts = [math.ceil(n / t) for n, t in zip(grid, tile, strict=True)]
    reached = [_reached(xp, cell[:, d], grid[d], tile[d], width) for d in range(dim)]
    number = xp.arange(n_points, dtype=np.int64)
    keys = []
    for choice in itertools.product(*reached):
        key, valid = xp.zeros(n_points, np.int64), xp.ones(n_points, bool)
        for (index, here), count in zip(choice, counts, strict=True):
            key, valid = key * count + index, valid & here
        keys.append((key * n_points + number)[valid])
    order = xp.sort(keys[0]) % max(n_points, 1)  # the first choice is the tile of the first node
    sorted_keys = xp.sort(xp.concatenate(keys))
    bounds = xp.arange(math.prod(counts) + 1, dtype=np.int64) * n_points
    starts = xp.searchsorted(sorted_keys, bounds).astype(np.int64)
    entries = sorted_keys % max(n_points, 1)
    offset = (first - place).astype(points.dtype)
    return Plan(grid, width, cell, offset, order.astype(np.int32), starts, entries.astype(np.int32))


def _reached(xp: Any, first: Any, n: int, tile: int, width: int) -> list[tuple[Any, Any]]:
    """Tiles of an axis that points reach, each with which points do: the nodes may go around the end."""
    node, seen = first.astype(np.int64), xp.zeros(len(first), np.int64)
    home = node // tile
    found = [(home, xp.ones(len(first), bool))]
    while True:
        edge = xp.minimum((node // tile + 1) * tile, n)
        seen, node = seen + edge - node, edge % n
        if not bool((seen < width).any()):
            return found
        found.append((node // tile, (seen < width) & (node // tile != home)))


def interpolate(grid: Any, out: Any, plan: Plan) -> None:
    r"""Values of a periodic grid at the points of a trajectory.

    Parameters
    ----------
    grid : ndarray, (batch, \*plan.grid)
        complex64 or complex128, C-contiguous, NumPy or CuPy.
    out : ndarray, (batch, points)
        Overwritten; of the type of `grid`.
    plan : Plan
        From `plan`, of the same library and precision.

    Raises
    ------
    TypeError, ValueError
        If arrays do not match in library, type or shape.
    """
    _run("interpolate", grid, grid, out, plan)


def spread(samples: Any, out: Any, plan: Plan) -> None:
    """Exact transpose of `interpolate`: `samples` ``(batch, points)``, `out` ``(batch, *plan.grid)``."""
    _run("spread", out, samples, out, plan)


def _run(function: str, grid: Any, a: Any, out: Any, plan: Plan) -> None:
    library = library_of({"in": a, "out": out, "plan": plan.cell})
    real = plan.offset.dtype
    kind = np.dtype(np.complex64 if real == np.float32 else np.complex128)
    batch, (points, dim) = len(grid), plan.cell.shape
    shapes = {"grid": (batch, *plan.grid), "samples": (batch, points)}
    for name, array in (("grid", grid), ("samples", out if function == "interpolate" else a)):
        if array.shape != shapes[name] or array.dtype != kind or not array.flags.c_contiguous:
            raise ValueError(
                f"{name} is {array.dtype} {array.shape}; it must be C-contiguous {kind} {shapes[name]}"
            )
    if out.size == 0:
        return
    if points == 0:
        out[...] = 0
        return
    beta, whole = beta_of(plan.width), (1,) * (3 - dim) + plan.grid
    lists = (plan.order,) if function == "interpolate" else (plan.starts, plan.entries)
    if library == "numpy":
        from .cpu import gridding as twin

        points_of, shape_of = (plan.cell, plan.offset), (plan.width, beta)
        if function == "interpolate":
            twin.interpolate(a.reshape(batch, *whole), out, *points_of, plan.order, *shape_of)
        else:
            starts = plan.starts, plan.entries
            twin.spread(a, out.reshape(batch, *whole), *points_of, *starts, *shape_of, TILES[dim])
        return
    images = images_per_thread(batch)
    launch.launch(
        "gridding",
        function,
        defines(real, images, dim, plan.width),
        launch_grid(function, images, batch, plan),
        THREADS,
        (
            *(a, out, plan.cell, plan.offset, *lists, real.type(beta), np.int32(batch), np.int64(points)),
            *map(np.int32, whole),
        ),
    )


def defines(real: Any, images: int, dim: int, width: int) -> tuple[tuple[str, str], ...]:
    """Macros of ``cuda/gridding.cu``: precision, images per thread, number of axes and nodes."""
    return (*launch.preamble(real, images), ("DIM", str(dim)), ("WIDTH", str(width)))


def launch_grid(function: str, images: int, batch: int, plan: Plan) -> tuple[int, int, int]:
    """Blocks along x, y and z; groups of images beyond z's limit are looped over."""
    blocks = math.ceil(len(plan.cell) / THREADS) if function == "interpolate" else len(plan.starts) - 1
    return blocks, 1, min(math.ceil(batch / images), launch.MAX_GRID_Z)
