"""Proximal operators that have no closed form, by descent on the dual."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rayfold.operators.dispatch import namespace

if TYPE_CHECKING:
    from rayfold.recon.priors.prior import Split

Array = Any


def dual_prox_descent(prior: Split, x: Array, step: Array | float, n: int) -> Array:
    """Proximal operator of ``step g(K .)`` at `x` by `n` accelerated steps on the dual problem.

    The dual of ``min_z 1/2 |z - x|^2 + step g(K z)`` is smooth and ``z = x - step K.H p`` at its solution.

    Parameters
    ----------
    prior : Split
        Without auxiliary variable.
    x : array
        Point.
    step : float or array
        A number, or positive numbers that broadcast against `x`: the metric is then ``|z - x|^2 / step``.
    n : int
        Steps.

    References
    ----------
    A. Beck and M. Teboulle, IEEE Trans. Image Process. 18 (2009) 2419.
    """
    xp = namespace(x)
    largest = step if isinstance(step, int | float) else xp.max(step)
    rate = 1.0 / (largest * prior.squared_norm(x))
    p = prior.analyse(xp.zeros_like(x), None)
    ahead, t = p, 1.0
    for _ in range(n):
        z = x - step * prior.synthesise(ahead, x)[0]
        moved = prior.analyse(z, None)
        moved *= rate
        moved += ahead
        new = prior.dual_prox(moved, rate)
        t_new = (1 + math.sqrt(1 + 4 * t * t)) / 2
        ahead = new - p
        ahead *= (t - 1) / t_new
        ahead += new
        p, t = new, t_new
    return x - step * prior.synthesise(p, x)[0]
