"""Random points that keep a distance from each other, denser in the middle of k-space."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rayfold.recon.trajectories.masks import Mask, Shape, budget, centre, radius

TRIALS = 12
EXCESS = 0.004  # share of points that may be dropped again to meet the number exactly


def poisson_disc(
    shape: tuple[int, int],
    acceleration: float,
    *,
    calibration: Shape = 0,
    slope: float = 3.0,
    corners: bool = False,
    seed: int = 0,
) -> Mask:
    """Variable-density Poisson disc mask with exactly ``round(ny nz / R)`` points.

    Points are thrown in random order and kept where no earlier one is nearer than its radius ``s (1 + slope
    |k|)``, with ``|k| = 1`` at the edges (Cook 1986; Lustig and Pauly, Magn Reson Med 64:457, 2010), rounded
    at random up or down to a distance that grid points can have. The scale s is searched until the number is
    right; the few points above it that remain are those thrown last, so the distances hold for all.

    Parameters
    ----------
    shape : (int, int)
        Phase-encoded grid.
    acceleration : float
        R = all positions / measured positions, corners and calibration region included in both.
    calibration : int or (int, int)
        Size of the fully measured middle.
    slope : float
        How much larger the distance is at the edge; 0 for one density everywhere.
    corners : bool
        Whether points outside the ellipse inscribed in k-space are measured.
    seed : int
        The same seed gives the same mask.

    Returns
    -------
    ndarray of bool, `shape`

    Raises
    ------
    ValueError
        If R, slope, shape or calibration do not fit each other.

    Examples
    --------
    >>> mask = poisson_disc((64, 64), 6, calibration=12)
    >>> int(mask.sum()) == round(64 * 64 / 6)
    True
    """
    if len(shape) != 2:
        raise ValueError(
            f"shape {shape} has {len(shape)} axes; a Poisson disc mask has the two that are phase-encoded"
        )
    if not 0 <= slope < math.inf:
        raise ValueError(f"slope {slope} must be zero or positive")
    fixed = centre(shape, calibration)
    count = budget(shape, acceleration, fixed)
    away = radius(shape)
    allowed = fixed | (np.ones(shape, bool) if corners else away <= 1)
    if count > allowed.sum():
        raise ValueError(
            f"acceleration {acceleration:g} needs {count} points, without corners there are {allowed.sum()}; "
            "use corners=True"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(np.flatnonzero((allowed & ~fixed).ravel()))
    wanted, relative = count - int(fixed.sum()), 1 + slope * away
    chosen = _search(order, relative, rng.random(shape), fixed, wanted)
    mask = fixed.copy()
    mask.ravel()[chosen[:wanted]] = True
    return mask


def _search(
    order: npt.NDArray[np.intp],
    relative: npt.NDArray[np.float64],
    dither: npt.NDArray[np.float64],
    fixed: Mask,
    wanted: int,
) -> list[int]:
    """Throw with scales between one that is known to be dense enough and one that is not."""
    low, high = 0.0, math.inf
    best: list[int] = order.tolist()  # scale 0 keeps every point
    # points as far apart as s(1 + slope |k|) cover about 0.7 of a circle of that radius each
    scale = math.sqrt((order.size or 1) / max(wanted, 1) / 0.7 / float(np.mean(relative**2)))

    for _ in range(TRIALS):
        points = _throw(order, relative * scale, dither, fixed)
        if len(points) >= wanted:
            low, best = scale, points
            if len(points) <= wanted * (1 + EXCESS) + 1:
                break
        else:
            high = scale
        guess = scale * math.sqrt(max(len(points), 1) / (wanted * (1 + EXCESS / 2) + 0.5))
        inside = low < guess < high
        scale = guess if inside else (low + high) / 2 if high < math.inf else 1.5 * low
    return best


def _throw(
    order: npt.NDArray[np.intp],
    distance: npt.NDArray[np.float64],
    dither: npt.NDArray[np.float64],
    fixed: Mask,
) -> list[int]:
    """Points in the order they were accepted, as flat indices."""
    shape, reach = distance.shape, math.ceil(float(distance.max())) + 1
    wide = shape[1] + 2 * reach
    # distances between grid points take few values: one list of neighbours for each serves all
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    square, step = (dy**2 + dx**2).ravel(), (dy * wide + dx).ravel()
    ring = np.argsort(square, kind="stable")
    square, step = square[ring], step[ring]
    possible = np.unique(square)
    ends = np.searchsorted(square, possible)
    below = np.searchsorted(possible, distance**2, side="right") - 1
    share = (distance**2 - possible[below]) / (possible[below + 1] - possible[below])
    level = below + (dither < share)
    taken = np.zeros((shape[0] + 2 * reach) * wide, bool)
    place = (order // shape[1] + reach) * wide + order % shape[1] + reach
    inner = np.flatnonzero(fixed.ravel())
    for at, where in zip(inner, (inner // shape[1] + reach) * wide + inner % shape[1] + reach, strict=True):
        taken[where + step[: ends[level.flat[at]]]] = True
    free = memoryview(taken.data)  # reading one flag through NumPy would cost more than all else
    neighbours = {e: step[:e] for e in set(ends.tolist())}
    last = ends[level.ravel()[order]].tolist()
    accepted = []
    for at, where, end in zip(order.tolist(), place.tolist(), last, strict=True):
        if not free[where]:
            accepted.append(at)
            taken[where + neighbours[end]] = True
    return accepted
