"""Forward-backward splitting: a gradient step on the data, then a proximal step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rayfold.recon.arrays import axpy, size, start
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Prior
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.forward_backward import curvature, descend, sides, total

Array = Any
AVERAGING = 0.25  # of denoisers: the step for which plug-and-play iterations stay stable


class ProximalGradientState(NamedTuple):
    """Image, data residual, curvature of the data term, inner variables of the prior, weighted residual."""

    x: Array
    r: Array
    curvature: Array
    inner: tuple[Array, ...]
    residual: Array


@dataclass(frozen=True)
class ProximalGradient:
    """``x <- prox(x - step * gradient)``, for one prior of any kind and any number of smooth ones.

    Steps come from the operator: one per pixel without a prior or for one that acts on every pixel by itself
    (a box, L1), one per problem otherwise. A denoiser is averaged: ``z + averaging * (denoise(z) - z)``.

    Parameters
    ----------
    prior : Prior or tuple of Prior
        Smooth ones add their gradient; at most one other.
    step_size : float
        Factor of the safe step; below 2.
    averaging : float, optional
        Between 0 and 1: how much of the proximal step is taken; by default 0.25 for denoisers (`PlugAndPlay`,
        `FoundationPrior`), and 1 (all of it) for priors with a value.

    Raises
    ------
    ValueError
        If two priors need a proximal step.

    References
    ----------
    P. L. Combettes and V. R. Wajs, Multiscale Model. Simul. 4 (2005) 1168; X. Xu, Y. Sun, J. Liu,
    B. Wohlberg, U. S. Kamilov, IEEE Signal Process. Lett. 27 (2020) 1280, for denoisers.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon import Problem, run
    >>> from rayfold.recon.priors import NonNegative
    >>> problem = Problem(Identity((1, 2)), np.array([[-1.0, 2.0]]))
    >>> run(ProximalGradient(NonNegative()), problem, 1).x
    array([[0., 2.]])
    """

    prior: Prior | tuple[Prior, ...] | None = None
    step_size: float = field(default=1.0, kw_only=True)
    averaging: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        positive(step_size=self.step_size, averaging=self.averaging)
        if isinstance(self.averaging, int | float) and self.averaging > 1:
            raise ValueError(f"averaging is {self.averaging}; it must be at most 1")
        if isinstance(self.step_size, int | float) and self.step_size >= 2:
            raise ValueError(f"step_size is {self.step_size}; from 2 on the method diverges")
        sides(self.prior)

    def init(self, problem: Problem, x0: Array | None = None) -> ProximalGradientState:
        """State at `x0`, zero by default; one A and one A.H more for the steps."""
        x, prediction = start(problem, x0)
        r = problem.y - prediction
        backward = sides(self.prior)[1]
        warm = () if backward is None else backward.warm(x)
        return ProximalGradientState(x, r, curvature(problem, backward), warm, size(problem, r))

    def step(self, problem: Problem, state: ProximalGradientState) -> ProximalGradientState:
        """One step: one A and one A.H."""
        forward, backward = sides(self.prior)
        rate = self.step_size / total(state.curvature, forward, state.x)
        z = descend(problem.A.H(problem.weigh(state.r)), forward, state.x, rate)
        x, warm = z, state.inner
        if backward is not None:
            x, warm = backward.prox_from(z, rate, warm)
            part = self.averaging
            if part is None:
                part = AVERAGING if backward.learned else 1.0
            if not (isinstance(part, int | float) and part == 1):
                x = axpy(part, x, (1 - part) * z)
        del z
        r = problem.y - problem.A(x)
        return ProximalGradientState(x, r, state.curvature, warm, size(problem, r))
