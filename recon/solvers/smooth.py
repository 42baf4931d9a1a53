"""Smooth priors and bounds, for methods that follow gradients."""

from __future__ import annotations

from typing import Any

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import axpy
from rayfold.recon.priors.prior import Prior, as_tuple

Array = Any
Priors = Prior | tuple[Prior, ...] | None


def require_smooth(solver: str, prior: Priors) -> None:
    """ValueError unless every prior has a gradient."""
    for each in as_tuple(prior):
        if not each.smooth:
            raise ValueError(
                f"{solver} follows gradients and {type(each).__name__} has none; "
                "use PDHG, ADMM or FISTA, or a smooth prior such as HuberTV"
            )


def require_bounds(lower: float | None, upper: float | None) -> None:
    """ValueError unless `lower` is at most `upper`."""
    if isinstance(lower, int | float) and isinstance(upper, int | float) and not lower <= upper:
        raise ValueError(f"lower is {lower} and upper {upper}; lower must not exceed upper")


def clipped(x: Array, lower: float | None, upper: float | None) -> Array:
    """Values within bounds; `x` itself without any."""
    return x if lower is None and upper is None else namespace(x).clip(x, lower, upper)


def add_slopes(prior: Priors, x: Array, force: Array, part: float = 1.0) -> Array:
    """`force` plus `part` of the gradient of every prior at `x`."""
    for each in as_tuple(prior):
        force = axpy(part, each.gradient(x), force)
    return force


def curvature(prior: Priors, x: Array) -> Array | float:
    """Diagonal that bounds the second derivative of all priors around `x`: a number, or one per pixel."""
    return sum((each.curvature(x) for each in as_tuple(prior)), 0.0)


def values(prior: Priors, x: Array) -> Array | float:
    """Sum of the values of all priors, one per problem."""
    return sum((each.value(x) for each in as_tuple(prior)), 0.0)
