"""Gradient descent with projection onto bounds, as Landweber had it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import along, axpy, size, start
from rayfold.recon.checks import between
from rayfold.recon.priors.prior import Prior
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.smooth import add_slopes, clipped, curvature, require_bounds, require_smooth
from rayfold.recon.solvers.steps import lipschitz

Array = Any


class LandweberState(NamedTuple):
    """Image, data residual ``y - A x``, bound of the curvature of the data term, norm of the residual."""

    x: Array
    r: Array
    curvature: Array
    residual: Array


@dataclass(frozen=True)
class Landweber:
    """``x <- P(x - step (A.H W (A x - y) + gradient of the priors))`` with P the projection onto bounds.

    The step is `step_size` over a bound of the curvature. The plainest method there is, for comparison and
    for early stopping; `CGLS`, FISTA and `LBFGS` reach the same minimiser in far fewer steps.

    Parameters
    ----------
    prior : Prior or tuple of Prior
        Smooth priors.
    step_size : float
        Factor of the step, between 0 and 2; at 1 and below the objective falls with every step.
    lower, upper : float, optional
        Bounds of the image.

    References
    ----------
    L. Landweber, Am. J. Math. 73 (1951) 615.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon import Problem, run
    >>> run(Landweber(lower=0.0), Problem(Identity((2,)), np.array([3.0, -4.0])), 1).x
    array([3., 0.])
    """

    prior: Prior | tuple[Prior, ...] | None = None
    step_size: float = field(default=1.0, kw_only=True)
    lower: float | None = field(default=None, kw_only=True)
    upper: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        between(0, 2, step_size=self.step_size)
        require_bounds(self.lower, self.upper)
        require_smooth(type(self).__name__, self.prior)

    def init(self, problem: Problem, x0: Array | None = None) -> LandweberState:
        """State at `x0`, zero by default; one A and one A.H more for the step size."""
        x, prediction = start(problem, x0)
        r = problem.y - prediction
        return LandweberState(x, r, lipschitz(problem), size(problem, r))

    def step(self, problem: Problem, state: LandweberState) -> LandweberState:
        """One step: one A and one A.H."""
        xp, shape = namespace(state.x), problem.A.in_shape
        force = -problem.A.H(problem.weigh(state.r))
        force = add_slopes(self.prior, state.x, force)
        bound = curvature(self.prior, state.x)
        if not isinstance(bound, int | float) and bound.ndim:
            bound = xp.max(bound, axis=tuple(range(-len(shape), 0)), keepdims=True)
        bound = along(shape, state.curvature) + bound
        x = axpy(-self.step_size / bound, force, state.x)
        del force
        x = clipped(x, self.lower, self.upper)
        r = problem.y - problem.A(x)
        return LandweberState(x, r, state.curvature, size(problem, r))
