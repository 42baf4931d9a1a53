"""Proximal operators that have no closed form, from the dual problem; each may start where another ended."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rayfold.operators.dispatch import is_traced, namespace
from rayfold.recon.arrays import expand

if TYPE_CHECKING:
    from rayfold.recon.priors.prior import Split

Array = Any


def start(prior: Split, x: Array) -> tuple[Array, ...]:
    """Inner variable, the dual one, at 0."""
    return (namespace(x).zeros_like(prior.analyse(x, None)),)


def descend(
    prior: Split, x: Array, step: Array | float, warm: tuple[Array, ...], n: int
) -> tuple[Array, tuple[Array, ...]]:
    """Proximal operator of ``step R`` at `x` by `n` accelerated gradient steps on the dual problem.

    The dual of ``min_z 1/2 |z - x|^2 + step g(K z)`` is smooth and ``z = x - step K.H p`` at its solution.

    Parameters
    ----------
    prior : Split
        R, taken apart into g and K; without auxiliary variable.
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

    References
    ----------
    A. Beck and M. Teboulle, IEEE Trans. Image Process. 18 (2009) 2419.
    """
    if isinstance(step, int | float) and step == 0:
        return x, warm
    (p,) = warm
    rate = beside(1 / (largest(step, prior.ndim) * _size(prior, x)), p, x, prior.ndim)
    betas, t = [], 1.0
    for _ in range(n):
        t, before = (1 + math.sqrt(1 + 4 * t * t)) / 2, t
        betas.append((before - 1) / t)

    def body(k: Any, duals: list[Array]) -> list[Array]:
        ahead, p = duals.pop(), duals.pop()
        moved = prior.analyse(x - step * prior.synthesise(ahead, x)[0], None)
        moved *= rate
        moved += ahead
        del ahead
        new = prior.dual_prox(moved, rate)
        del moved
        ahead = new - p
        ahead *= _entry(betas, k, p)
        ahead += new
        return [new, ahead]

    p, _ = repeat(n, body, [p, p])
    return x - step * prior.synthesise(p, x)[0], (p,)


def repeat(n: int, body: Callable[[Any, list[Array]], list[Array]], carry: list[Array]) -> list[Array]:
    """``carry = body(k, carry)`` for k below n; one loop, not n copies, in what JAX compiles.

    The body takes its arrays out of the list, so that nothing holds those it has done with.
    """
    if any(is_traced(part) for part in carry):
        found: list[Array] = sys.modules["jax"].lax.fori_loop(0, n, body, carry)
        return found
    for k in range(n):
        carry = body(k, carry)
    return carry


def _entry(values: list[float], k: Any, like: Array) -> Any:
    """An entry of a list; `k` may be a counter of a compiled loop."""
    if isinstance(k, int):
        return values[k]
    real = abs(like[(0,) * like.ndim])
    return namespace(like).asarray(values, dtype=real.dtype)[k]


def _size(prior: Split, x: Array) -> float:
    """Squared norm of K; an image of one pixel has no differences, and any step will do."""
    return prior.squared_norm(x) or 1.0


def largest(step: Array | float, ndim: int) -> Array | float:
    """Largest step of every image, without its axes."""
    if isinstance(step, int | float):
        return step
    xp = namespace(step)
    return xp.max(step, axis=tuple(range(-ndim, 0))) if step.ndim >= ndim else xp.max(step)


def beside(value: Array | float, z: Array, x: Array, ndim: int) -> Array | float:
    """One number per image of `x`, ready to multiply `z`, whose leading axes are those of `x`."""
    return value if isinstance(value, int | float) else expand(value, z.ndim - (x.ndim - ndim))
