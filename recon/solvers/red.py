"""Regularisation by denoising."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rayfold.recon.arrays import along, axpy, inner, size, start
from rayfold.recon.checks import positive
from rayfold.recon.priors.denoiser import PlugAndPlay
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.steps import lipschitz

Array = Any


class REDState(NamedTuple):
    """Image, data residual, largest curvature of the data term, norm of the weighted residual."""

    x: Array
    r: Array
    top: Array
    residual: Array


@dataclass(frozen=True)
class RED:
    """Solve ``A.H W (A x - y) + strength (x - denoise(x)) = 0`` by gradient steps.

    For a denoiser that is homogeneous and has a symmetric derivative, this is the gradient of the data term
    plus ``strength / 2 <x, x - denoise(x)>``. The step is safe for denoisers that do not expand.

    Parameters
    ----------
    prior : PlugAndPlay
        A denoiser and its noise level `sigma`.
    strength : float, optional
        Weight, in units of ``A.H W A``; ``1 / sigma^2`` by default, which makes ``x - denoise(x)`` over it
        the score of the denoiser's prior: for problems with a noise model.
    step_size : float
        Part of the safe step; below 2.

    Raises
    ------
    ValueError
        If neither `strength` nor a noise model says how much the data weigh.

    References
    ----------
    Y. Romano, M. Elad, P. Milanfar, SIAM J. Imaging Sci. 10 (2017) 1804; E. T. Reehorst and P. Schniter,
    IEEE Trans. Comput. Imaging 5 (2019) 52, for the score.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon import Problem, run
    >>> mean = PlugAndPlay(lambda x, sigma: 0 * x + x.mean(), sigma=0.1)
    >>> run(RED(mean, strength=1.0), Problem(Identity((1, 2)), np.array([[0.0, 4.0]])), 50).x.round(3)
    array([[1., 3.]])
    """

    prior: PlugAndPlay
    strength: float | None = None
    step_size: float = field(default=1.0, kw_only=True)

    def __post_init__(self) -> None:
        positive(strength=self.strength, step_size=self.step_size)
        if not isinstance(self.prior, PlugAndPlay):
            raise TypeError(
                f"RED takes a PlugAndPlay prior, not {type(self.prior).__name__}; use FISTA or ADMM"
            )
        if self.prior.sigma is None:
            raise ValueError("RED needs the noise level of the denoiser: PlugAndPlay(denoise, sigma=...)")

    def init(self, problem: Problem, x0: Array | None = None) -> REDState:
        """State at `x0`, zero by default; one A and one A.H more for the step."""
        self._weight(problem)
        x, prediction = start(problem, x0)
        r = problem.y - prediction
        return REDState(x, r, lipschitz(problem), size(problem, r))

    def step(self, problem: Problem, state: REDState) -> REDState:
        """One step: one A, one A.H and one denoising."""
        strength = self._weight(problem)
        force = state.x - self.prior.prox(state.x, 1.0)
        force = axpy(-strength, force, problem.A.H(problem.weigh(state.r)))
        rate = self.step_size / (
            state.top + 2 * strength
        )  # x - denoise(x) changes at most twice as fast as x
        x = axpy(along(problem.A.in_shape, rate), force, state.x)
        r = problem.y - problem.A(x)
        return REDState(x, r, state.top, size(problem, r))

    def objective(self, problem: Problem, state: REDState) -> Array:
        """Data term plus ``strength / 2 <x, x - denoise(x)>``, one per problem."""
        x = state.x
        rough = inner(problem.A.in_shape, x, x - self.prior.prox(x, 1.0))
        return (state.residual**2 + self._weight(problem) * rough) / 2

    def _weight(self, problem: Problem) -> Any:
        if self.strength is not None:
            return self.strength
        if problem.noise is None:
            raise ValueError(
                "RED without a noise model needs strength, in units of A.H A; or give the problem noise"
            )
        assert self.prior.sigma is not None
        return 1 / self.prior.sigma**2
