"""Proximal operators that have no closed form, from the dual problem; each may start where another ended."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rayfold.operators.dispatch import namespace
from rayfold.recon.solvers.arrays import axpy, expand

if TYPE_CHECKING:
    from rayfold.recon.priors.prior import Split

Array = Any
PACE = 0.1  # image steps of `primal_dual` over the step of the proximal operator


def start(prior: Split, x: Array) -> tuple[Array, ...]:
    """Inner variables at 0: the dual one, and the auxiliary one of priors that have it."""
    w = prior.auxiliary(x)
    p = namespace(x).zeros_like(prior.analyse(x, w))
    return (p,) if w is None else (p, w)


def descend(
    prior: Split, x: Array, step: Array | float, warm: tuple[Array, ...], n: int
) -> tuple[Array, tuple[Array, ...]]:
    """Proximal operator of ``step R`` at `x` by `n` steps from the inner variables `warm`.

    Parameters
    ----------
    prior : Split
        R, taken apart into g and K.
    x : array
        Point.
    step : float or array
        A number, or positive numbers that broadcast against `x`: the metric is then ``|z - x|^2 / step``.
    warm : tuple of array
        From `start`, or from the last call.
    n : int
        Steps.

    Returns
    -------
    tuple
        The proximal point, and the inner variables there.
    """
    if isinstance(step, int | float) and step == 0:
        return x, warm
    if len(warm) == 1:
        z, p = dual_ascent(prior, x, step, warm[0], n)
        return z, (p,)
    z, p, w = primal_dual(prior, x, step, *warm, n)
    return z, (p, w)


def dual_ascent(prior: Split, x: Array, step: Array | float, p: Array, n: int) -> tuple[Array, Array]:
    """Accelerated gradient steps on the dual problem of a prior without auxiliary variable.

    The dual of ``min_z 1/2 |z - x|^2 + step g(K z)`` is smooth and ``z = x - step K.H p`` at its solution.

    References
    ----------
    A. Beck and M. Teboulle, IEEE Trans. Image Process. 18 (2009) 2419.
    """
    rate = _beside(1 / (_largest(step, prior.ndim) * _size(prior, x)), p, x, prior.ndim)
    ahead, t = p, 1.0
    for _ in range(n):
        moved = prior.analyse(x - step * prior.synthesise(ahead, x)[0], None)
        moved *= rate
        moved += ahead
        new = prior.dual_prox(moved, rate)
        del moved
        t_new = (1 + math.sqrt(1 + 4 * t * t)) / 2
        ahead = new - p
        ahead *= (t - 1) / t_new
        ahead += new
        p, t = new, t_new
    return x - step * prior.synthesise(p, x)[0], p


def primal_dual(
    prior: Split, x: Array, step: Array | float, p: Array, w: Array, n: int
) -> tuple[Array, Array, Array]:
    """Primal-dual steps on ``min_z,w 1/2 |z - x|^2 + step g(K (z, w))``.

    References
    ----------
    A. Chambolle and T. Pock, J. Math. Imaging Vis. 40 (2011) 120.
    """
    ndim = prior.ndim
    top = _largest(step, ndim)
    tau = _beside(PACE * top, x, x, ndim)
    tau_w = _beside(PACE * top, w, x, ndim)
    sigma = _beside(1 / (PACE * top * _size(prior, x)), p, x, ndim)
    z = x - step * prior.synthesise(p, x)[0]
    for _ in range(n):
        on_z, on_w = prior.synthesise(p, x)
        new_z = step * (z - tau * on_z)
        new_z += tau * x
        new_z /= step + tau
        new_w = w - tau_w * on_w
        moved = prior.analyse(axpy(2.0, new_z, -z), axpy(2.0, new_w, -w))
        moved *= sigma
        moved += p
        p = prior.dual_prox(moved, sigma)
        z, w = new_z, new_w
    return z, p, w


def _size(prior: Split, x: Array) -> float:
    """Squared norm of K; an image of one pixel has no differences, and any step will do."""
    return prior.squared_norm(x) or 1.0


def _largest(step: Array | float, ndim: int) -> Array | float:
    """Largest step of every image, without its axes."""
    if isinstance(step, int | float):
        return step
    xp = namespace(step)
    return xp.max(step, axis=tuple(range(-ndim, 0))) if step.ndim >= ndim else xp.max(step)


def _beside(value: Array | float, z: Array, x: Array, ndim: int) -> Array | float:
    """One number per image of `x`, ready to multiply `z`, whose leading axes are those of `x`."""
    return value if isinstance(value, int | float) else expand(value, z.ndim - (x.ndim - ndim))
