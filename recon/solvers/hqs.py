"""Half-quadratic splitting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rayfold.recon.arrays import size, start
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Analysis, Prior, as_tuple
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.schedule import Schedule
from rayfold.recon.solvers.splitting import (
    beside,
    couplings,
    data_step,
    look,
    penalties,
    shrink,
    warm,
)

Array = Any
SHARE = 0.03  # largest curvature of a penalty over that of the data term, before it grows


def growing(k: int) -> float:
    """Penalty at step k over the first one: linear, so that the last steps still move the image."""
    return 1.0 + k


class HQSState(NamedTuple):
    """Image, data residual, first penalties, inner variables, norm of the weighted residual."""

    x: Array
    r: Array
    rho: tuple[Array, ...]
    inner: tuple[tuple[Array, ...], ...]
    residual: Array


@dataclass(frozen=True)
class HQS:
    """Minimise ``D(x) + sum g(z) + rho/2 |K x - z|^2`` over x and every z in turn, while rho grows.

    A prior ``g(K x)`` (TV, wavelets) is split at ``z = K x``, any other (a box, a denoiser) at ``z = x``.
    With a constant penalty the limit is that of the priors' Moreau envelopes (TV: Huber TV with the corner at
    ``strength / rho``); with the default, that of the priors themselves. The first steps go far, the last
    ones are careful: good images after ten steps, slow to converge (`ADMM` is not).

    Parameters
    ----------
    prior : Prior or tuple of Prior
        At least one.
    penalty : float or Schedule
        Factor of the automatic penalty, a part of the largest curvature of the data term over the squared
        norm of K; by default ``1 + k`` at step k, for which the sum of ``1 / rho`` is infinite and that of
        its squares is not, which convergence needs.
    iterations : int
        Conjugate gradient steps per step, one A and one A.H each.

    References
    ----------
    D. Geman and C. Yang, IEEE Trans. Image Process. 4 (1995) 932; G. B. Passty, J. Math. Anal. Appl. 72
    (1979) 383, for the growth of the penalty.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon import Problem, run
    >>> from rayfold.recon.priors import NonNegative
    >>> run(HQS(NonNegative()), Problem(Identity((1, 2)), np.array([[-1.0, 2.0]])), 400).x.round(1)
    array([[-0.1,  2. ]])
    """

    prior: Prior | tuple[Prior, ...]
    penalty: float | Schedule = field(default=Schedule(growing), kw_only=True)
    iterations: int = field(default=5, kw_only=True)

    def __post_init__(self) -> None:
        positive(penalty=self.penalty, iterations=self.iterations)
        if not as_tuple(self.prior):
            raise ValueError("HQS needs a prior to split from the image; use CGLS without one")

    def init(self, problem: Problem, x0: Array | None = None) -> HQSState:
        """State at `x0`, zero by default; one A and one A.H more for the penalties."""
        priors = as_tuple(self.prior)
        x, prediction = start(problem, x0)
        r = problem.y - prediction
        rho = couplings(problem, priors, x, SHARE)
        return HQSState(x, r, rho, tuple(warm(p, x) for p in priors), size(problem, r))

    def step(self, problem: Problem, state: HQSState) -> HQSState:
        """One step: the threshold of every prior, then `iterations` A and A.H."""
        targets, inner, rhos = self._split(problem, state)
        priors = as_tuple(self.prior)
        x, r = data_step(problem, priors, state.x, state.r, targets, rhos, self.iterations)
        return HQSState(x, r, state.rho, inner, size(problem, r))

    def objective(self, problem: Problem, state: HQSState) -> Array:
        """Data term plus penalties, one per problem; where a prior is split at the image, at its split."""
        priors = as_tuple(self.prior)
        splits = self._split(problem, state)[0]
        at = (state.x if isinstance(p, Analysis) else z for p, z in zip(priors, splits, strict=True))
        return state.residual**2 / 2 + penalties(problem, priors, tuple(at))

    def _split(
        self, problem: Problem, state: HQSState
    ) -> tuple[list[Array], tuple[tuple[Array, ...], ...], tuple[Array, ...]]:
        """Thresholds at the image, their inner variables, and the penalties of this step."""
        if isinstance(self.penalty, Schedule):
            raise TypeError(
                "the penalty of HQS is a schedule; `run` evaluates it, elsewhere use `at(solver, k)`"
            )
        rhos = tuple(self.penalty * rho for rho in state.rho)
        targets, inner = [], []
        for p, rho, held in zip(as_tuple(self.prior), rhos, state.inner, strict=True):
            v = look(p, state.x)
            z, held = shrink(p, v, beside(rho, v, state.x, problem), held)
            targets.append(z)
            inner.append(held)
        return targets, tuple(inner), rhos
