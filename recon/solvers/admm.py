"""The alternating direction method of multipliers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import size, start
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Analysis, Prior, as_tuple
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.splitting import (
    beside,
    data_step,
    look,
    penalties,
    shrink,
    steep_couplings,
    warm,
)

Array = Any
SHARE = 0.03  # largest curvature of a penalty over that of the data term


class ADMMState(NamedTuple):
    """Image, data residual, scaled dual of every split, penalties, inner variables, norm of the residual."""

    x: Array
    r: Array
    u: tuple[Array, ...]
    rho: tuple[Array, ...]
    inner: tuple[tuple[Array, ...], ...]
    residual: Array


@dataclass(frozen=True)
class ADMM:
    """Minimise the data term plus any sum of priors, each split from the image by a constraint.

    A prior ``g(K x)`` (TV, wavelets) is split at ``z = K x``, any other (a box, TGV, a denoiser) at
    ``z = x``. Thresholds ``z = prox(K x + u)``, duals ``u += K x - z`` and the linear system for x, by
    conjugate gradients from the last image, take turns.

    Parameters
    ----------
    prior : Prior or tuple of Prior
        At least one.
    penalty : float
        Factor of the automatic penalty, a part of the largest curvature of the data term over the squared
        norm of K; changes the speed, not the result.
    iterations : int
        Conjugate gradient steps per step, one A and one A.H each.

    References
    ----------
    S. Boyd, N. Parikh, E. Chu, B. Peleato, J. Eckstein, Found. Trends Mach. Learn. 3 (2011) 1.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon import Problem, run
    >>> from rayfold.recon.priors import TV
    >>> noisy = np.array([[0.0, 0.2, 1.0, 0.8]])
    >>> run(ADMM(TV(0.1)), Problem(Identity((1, 4)), noisy), 100).x.round(3)
    array([[0.1 , 0.2 , 0.85, 0.85]])
    """

    prior: Prior | tuple[Prior, ...]
    penalty: float = field(default=1.0, kw_only=True)
    iterations: int = field(default=5, kw_only=True)

    def __post_init__(self) -> None:
        positive(penalty=self.penalty, iterations=self.iterations)
        if not as_tuple(self.prior):
            raise ValueError("ADMM needs a prior to split from the image; use CGLS without one")

    def init(self, problem: Problem, x0: Array | None = None) -> ADMMState:
        """State at `x0`, zero by default; one A and two A.H more for the penalties."""
        priors = as_tuple(self.prior)
        x, prediction = start(problem, x0)
        r = problem.y - prediction
        u = tuple(namespace(x).zeros_like(look(p, x)) for p in priors)
        rho = steep_couplings(problem, priors, x, SHARE)
        return ADMMState(x, r, u, rho, tuple(warm(p, x) for p in priors), size(problem, r))

    def step(self, problem: Problem, state: ADMMState) -> ADMMState:
        """One step: `iterations` A and A.H, and the threshold of every prior."""
        priors = as_tuple(self.prior)
        targets, duals, inner = [], [], []
        rhos = tuple(self.penalty * rho for rho in state.rho)
        for p, old, rho, held in zip(priors, state.u, rhos, state.inner, strict=True):
            v = look(p, state.x) + old
            z, held = shrink(p, v, beside(rho, v, state.x, problem), held)
            v = v - z
            duals.append(v)
            targets.append(z - v)
            inner.append(held)
        del z, v
        x, r = data_step(problem, priors, state.x, state.r, targets, rhos, self.iterations)
        return ADMMState(x, r, tuple(duals), state.rho, tuple(inner), size(problem, r))

    def objective(self, problem: Problem, state: ADMMState) -> Array:
        """Data term plus penalties, one per problem; where a prior is split at the image, at its split."""
        priors = as_tuple(self.prior)
        images = []
        for p, u, rho, held in zip(priors, state.u, state.rho, state.inner, strict=True):
            x = state.x
            if not isinstance(p, Analysis):
                x = shrink(p, x + u, beside(self.penalty * rho, x, x, problem), held)[0]
            images.append(x)
        return state.residual**2 / 2 + penalties(problem, priors, tuple(images))
