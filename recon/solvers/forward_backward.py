"""What proximal gradient methods share: who steps forward, who backward, and how far."""

from __future__ import annotations

from typing import Any

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import along
from rayfold.recon.priors.prior import Prior, as_tuple
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.steps import lipschitz, majorant

Array = Any


def sides(prior: Prior | tuple[Prior, ...] | None) -> tuple[tuple[Prior, ...], Prior | None]:
    """Priors that add their gradient, and the one that takes a proximal step."""
    priors = as_tuple(prior)
    backward = [p for p in priors if not p.smooth]
    if len(backward) > 1:
        names = ", ".join(type(p).__name__ for p in backward)
        raise ValueError(
            f"a proximal gradient step takes one prior that is not smooth, got {names}; use ADMM"
        )
    return tuple(p for p in priors if p.smooth), backward[0] if backward else None


def curvature(problem: Problem, backward: Prior | None) -> Array:
    """Bound of ``A.H W A``: per pixel where the proximal step allows it, else one number per problem."""
    if backward is None or backward.simple:
        d = majorant(problem)
    else:
        d = along(problem.A.in_shape, lipschitz(problem))
    xp = namespace(d)
    return xp.where(d > 0, d, xp.ones_like(d))  # nothing is measured, and any step will do


def total(curvature: Array, forward: tuple[Prior, ...], x: Array) -> Array:
    """Bound of the second derivative, smooth priors included."""
    for prior in forward:
        curvature = curvature + prior.curvature(x)
    return curvature


def descend(force: Array, forward: tuple[Prior, ...], x: Array, rate: Array) -> Array:
    """``x - rate * gradient``; `force` is minus the gradient of the data term."""
    for prior in forward:
        force = force - prior.gradient(x)
    z = rate * force
    z += x
    return z
