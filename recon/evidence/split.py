"""An image split into what its data see and what they do not, with strict bounds on the shares."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rayfold.recon.arrays import inner
from rayfold.recon.evidence.range_null import Floats, back, host, solve, spread_out
from rayfold.recon.problem import Problem

Array = Any
MOST_NOISE = 27 / 256  # largest value of g / (g + 1)^4: how much of a residual can turn up as `added`
MAPS = 2  # operator pairs for the prediction and for turning both solves into images


class Split(NamedTuple):
    """Unseen and added maps, their shares of the image's energy, bounds, and operator pairs used."""

    unseen: Array
    unseen_share: Floats
    unseen_at_least: Floats
    unseen_error: Floats
    added: Array
    added_share: Floats
    added_at_most: Floats
    pairs: int


def split(problem: Problem, x: Array, prediction: Array, scale: Floats, pairs: int) -> Split:
    """What the data do not see of `x`, and what of that is not the minimum-norm solution's.

    With ``P = eps (A.H W A + eps)^-1`` the unseen part is ``P x``, and what was added
    ``P x - P (A.H W A + eps)^-1 A.H W y = P^2 x - P (A.H W A + eps)^-1 A.H W (y - A x)``.

    Parameters
    ----------
    problem : Problem
        With quadratic noise.
    x, prediction : array
        Image, and A of it.
    scale : ndarray
        ``eps^-1/2``, one per problem.
    pairs : int
        Operator pairs at most, those for the prediction included; half of what is left for each solve.

    Returns
    -------
    Split
        The share of the unseen map is also an upper bound: more steps only lower it.
    """
    residual = problem.y - prediction
    seen = solve(problem, prediction, scale, (pairs - MAPS) // 2, second=True)
    noise = solve(problem, residual, scale, pairs - MAPS - seen.steps, second=True)
    assert seen.second is not None and noise.second is not None
    first = back(problem, scale, seen.t)
    factor = spread_out(problem, scale, first)
    unseen = x - factor * first
    added = unseen - factor * back(problem, scale, seen.second + noise.second)
    unit = spread_out(problem, np.where(scale > 0, scale, 1.0), x)

    def energy(v: Array) -> Floats:
        v = v / unit
        return host(inner(problem.A.in_shape, v, v))

    total, left = energy(x), energy(unseen)
    lacking = (seen.high - seen.low)[:2].sum(0)
    twice = np.clip(total - seen.low.sum(0), 0.0, left)
    drawn = host(inner(problem.A.out_shape, residual, problem.weigh(residual)))
    drawn = np.minimum(MOST_NOISE * drawn, np.maximum(noise.high[2] - noise.low[3], 0.0))
    return Split(
        unseen,
        np.minimum(_part(left, total), 1.0),
        _part(np.clip(left - lacking, 0.0, total), total),
        _part(seen.error, np.sqrt(total)),
        added,
        _part(energy(added), total),
        _part((np.sqrt(twice) + np.sqrt(drawn)) ** 2, total),
        MAPS + seen.steps + noise.steps,
    )


def _part(a: Floats, b: Floats) -> Floats:
    """``a / b``, and 0 where there is nothing to share."""
    return np.asarray(np.where(b > 0, a / np.where(b > 0, b, 1.0), 0.0))
