"""An image split into what its data see and what they do not, with strict bounds on the shares."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rayfold.operators.dispatch import match
from rayfold.recon.arrays import along, axpy, inner
from rayfold.recon.evidence.range_null import Floats, Solved, host, ratio, solve, unseen_error, white
from rayfold.recon.evidence.system import System

Array = Any
SOLVES = 3
OWN = 2  # operator pairs for two predictions


class Split(NamedTuple):
    """Unseen and added maps, their shares of the image's energy, bounds, and operator pairs used."""

    unseen: Array
    unseen_share: Floats
    unseen_at_least: Floats
    unseen_at_most: Floats
    unseen_error: Floats
    added: Array
    added_share: Floats
    added_at_most: Floats
    pairs: int


def split(system: System, x: Array, prediction: Array, pairs: int) -> Split:
    """What the data do not see of `x`, and what of that is not the minimum-norm solution's.

    With ``P = eps (A.H W A + eps)^-1`` the unseen part is ``P x``, and what was added ``P (x - x_mn)`` with
    ``x_mn = (A.H W A + eps)^-1 A.H W y``.

    Parameters
    ----------
    system : System
        Among the data, for images of the scale ``eps^-1/2``.
    x, prediction : array
        Image, and A of it.
    pairs : int
        Operator pairs at most, those for the prediction included; half of what is left for the unseen part.

    Returns
    -------
    Split
        Bounds: for any u, ``|x - s^2 A.H u|^2 + s^2 <u, C u>`` with C the covariance is at least
        ``<x, P x>``, which is at least ``|P x|^2``; and what was added is at most the unseen part of x and
        that of ``(A.H W A + eps)^-1 A.H W (y - A x)`` together.
    """
    A, y = system.problem.A, system.problem.y
    pairs -= OWN
    one = solve(system, prediction, pairs // 2)
    two = solve(system, y - prediction, (pairs - one.steps) // 2)
    factor = along(A.in_shape, match(system.scale, one.image))
    unit = along(A.in_shape, match(system.unit, one.image))
    unseen = axpy(-factor, one.image, x)
    apart = axpy(-factor, two.image, unseen)  # image less minimum-norm solution
    three = solve(system, A(apart), pairs - one.steps - two.steps)
    added = axpy(-factor, three.image, apart)

    def energy(v: Array) -> Floats:
        v = v / unit
        return host(inner(A.in_shape, v, v))

    def most(v: Array, found: Solved) -> Floats:
        """Norm at most of the unseen part whose map is `v`."""
        noise = host(inner(A.out_shape, found.u, system.spread(found.u)))
        left = energy(v)
        return np.minimum(np.sqrt(left + noise), np.sqrt(left) + found.error)

    total = energy(x)
    norm, left = np.sqrt(total), np.sqrt(energy(unseen))
    unseen_most = np.minimum(most(unseen, one), norm)
    added_most = np.minimum(
        most(added, three) + one.error_unseen + two.error_unseen,
        unseen_most + unseen_error(white(system.problem, y - prediction)),
    )
    return Split(
        unseen,
        np.minimum(ratio(left, norm) ** 2, 1.0),
        ratio(np.clip(left - one.error, 0.0, norm), norm) ** 2,
        ratio(unseen_most, norm) ** 2,
        ratio(one.error, norm),
        added,
        ratio(energy(added), total),
        ratio(added_most, norm) ** 2,
        OWN + one.steps + two.steps + three.steps,
    )
