"""The primal-dual hybrid gradient method of Chambolle and Pock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import along, axpy, expand, inner, ratio, size, start
from rayfold.recon.checks import between, positive
from rayfold.recon.priors.prior import Prior, Split, as_tuple, scaled
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.steps import majorant, stiffness

Array = Any
# The three numbers of the step sizes, none with a unit, found on CT problems (see `_dual_steps`).
PACE = 0.25  # part of the way from 0 to its final size that a prior's dual goes per step
LEAST, MOST = 1e-4, 30.0  # weight of a prior in the metric over that of the data with `DAMPING` 1
DAMPING = 0.25  # weight of the data over the square root of that of the priors


class PDHGState(NamedTuple):
    """State of `PDHG`.

    `x` is the last proximal point, `u` its over-relaxed companion with auxiliaries `w` and prediction `Au`;
    `q` and `z` are the duals of the data and of the split priors; `tau` is the step of the image, `beta` that
    of the data's dual over the weights of the data, `sigma` those of the priors' duals times their squared
    norms. One number per problem each, `tau` one per pixel. `residual` is that of `x`.
    """

    x: Array
    u: Array
    w: tuple[Array | None, ...]
    Au: Array
    q: Array
    z: tuple[Array, ...]
    tau: Array
    beta: Array
    sigma: tuple[Array, ...]
    residual: Array


@dataclass(frozen=True)
class PDHG:
    """Minimise the data term plus any sum of priors, each through the operator inside it.

    ``max_q,z min_x <A x - y, q> - 1/2 <q, W^-1 q> + sum <K x, z> - g*(z) + h(x)``: priors of the form g(K x)
    (TV, TGV, wavelets) go to the dual side, one simple prior h (a box) stays with the image.

    Nobody has to give a step: ``1 / tau = beta D + sum sigma`` with D the diagonal that bounds ``A.H W A`` is
    safe for every beta and sigma, and these follow from the sizes that the dual variables must grow to.

    Parameters
    ----------
    prior : Prior or tuple of Prior
        Split priors, and at most one simple one.
    balance : float
        Factor of all dual steps at the cost of the image's; no value is unsafe.
    step_size : float
        Part of the largest safe step of the image, at most 1.
    relaxation : float
        Between 0 and 2; 1 is the plain method.

    Raises
    ------
    ValueError
        If there are two simple priors: which one would hold exactly is then undefined.

    Notes
    -----
    The dual of a prior should reach its final size (`strength`, for total variation) while ``K x`` is that of
    the image: ``sigma`` is a fixed part of ``|z| / |K x|``, both taken from the back-projection
    ``D^-1 A.H W y``. `beta` damps the oscillation between image and data.

    References
    ----------
    A. Chambolle and T. Pock, J. Math. Imaging Vis. 40 (2011) 120; T. Pock and A. Chambolle, ICCV (2011) 1762,
    for the preconditioning; L. Condat, J. Optim. Theory Appl. 158 (2013) 460, for over-relaxation.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon import Problem, run
    >>> from rayfold.recon.priors import TV
    >>> noisy = np.array([[0.0, 0.2, 1.0, 0.8]])
    >>> run(PDHG(TV(0.1)), Problem(Identity((1, 4)), noisy), 200).x.round(3)
    array([[0.1 , 0.2 , 0.85, 0.85]])
    """

    prior: Prior | tuple[Prior, ...] | None = None
    balance: float = field(default=1.0, kw_only=True)
    step_size: float = field(default=1.0, kw_only=True)
    relaxation: float = field(default=1.9, kw_only=True)

    def __post_init__(self) -> None:
        positive(balance=self.balance, step_size=self.step_size)
        between(0, 2, relaxation=self.relaxation)
        if isinstance(self.step_size, float) and self.step_size > 1:
            raise ValueError(f"step_size is {self.step_size}; above 1 the method may diverge")
        self._sides()

    def _sides(self) -> tuple[tuple[Split, ...], Prior | None]:
        """Priors of the dual side, and the one of the image side."""
        priors = as_tuple(self.prior)
        simple = [p for p in priors if p.simple]
        split = [p for p in priors if not p.simple]
        for p in split:
            if not isinstance(p, Split):
                raise ValueError(f"PDHG cannot take {type(p).__name__} apart; use ADMM, FISTA or HQS")
        if len(simple) > 1:
            names = ", ".join(type(p).__name__ for p in simple)
            raise ValueError(f"PDHG keeps one simple prior with the image, got {names}")
        return tuple(p for p in split if isinstance(p, Split)), simple[0] if simple else None

    def init(self, problem: Problem, x0: Array | None = None) -> PDHGState:
        """State at `x0`, zero by default; one A and two A.H more for the step sizes."""
        split, _ = self._sides()
        x, prediction = start(problem, x0)
        xp, n = namespace(x), len(problem.A.in_shape)
        d = majorant(problem)
        top = xp.max(d, axis=tuple(range(-n, 0)))
        top = top + xp.zeros_like(inner(problem.A.in_shape, x, x))  # one per problem
        beta, sigma = _dual_steps(problem, split, d, top)
        beta, sigma = self.balance * beta, tuple(self.balance * s for s in sigma)
        metric = expand(beta, n) * d
        for s in sigma:
            metric = metric + expand(s, n)
        w = tuple(p.auxiliary(x) for p in split)
        z = tuple(xp.zeros_like(p.analyse(x, a)) for p, a in zip(split, w, strict=True))
        residual = size(problem, problem.y - prediction)
        q = xp.zeros_like(prediction)
        return PDHGState(x, x, w, prediction, q, z, self.step_size / metric, beta, sigma, residual)

    def step(self, problem: Problem, state: PDHGState) -> PDHGState:
        """One step: one A and one A.H, one K and one K.H of every split prior."""
        split, simple = self._sides()
        A, u, rho = problem.A, state.u, self.relaxation
        x, pulls = _descend(A.H(state.q), state, split)
        if simple is not None:
            x = simple.prox(x, state.tau)
        moved = A(x)
        moved_residual = moved - problem.y
        residual = size(problem, moved_residual)
        moved = moved - state.Au
        # the residual at the extrapolated image 2 x - u
        q = problem.weigh(moved_residual + moved)
        del moved_residual
        rate = along(A.out_shape, rho * state.beta / (1 + state.beta))
        q = scaled(q - state.q, rate)
        q += state.q
        moved *= rho
        moved += state.Au
        Au, moved = moved, x - u
        ahead = x + moved
        moved *= rho
        moved += u
        w, z = self._ascend(split, state, ahead, pulls)
        return PDHGState(x, moved, w, Au, q, z, state.tau, state.beta, state.sigma, residual)

    def _ascend(
        self, split: tuple[Split, ...], state: PDHGState, ahead: Array, pulls: list[Array | None]
    ) -> tuple[tuple[Array | None, ...], tuple[Array, ...]]:
        """New auxiliaries and duals of the split priors."""
        rho, lead = self.relaxation, len(state.beta.shape)
        w, z = [], []
        for p, sigma, old_w, old_z, pull in zip(split, state.sigma, state.w, state.z, pulls, strict=True):
            new_w, ahead_w = old_w, None
            if old_w is not None and pull is not None:
                moved = old_w - self.step_size / expand(sigma, old_w.ndim - lead) * pull
                ahead_w = axpy(2.0, moved, -old_w)
                new_w = axpy(rho, moved, (1 - rho) * old_w)
            rate = expand(sigma, old_z.ndim - lead) / p.squared_norm(ahead)
            w.append(new_w)
            z.append(p.ascend(old_z, ahead, ahead_w, rate, rho))
        return tuple(w), tuple(z)


def _descend(force: Array, state: PDHGState, split: tuple[Split, ...]) -> tuple[Array, list[Array | None]]:
    """Image after a step against all forces, and the forces on the auxiliaries."""
    pulls: list[Array | None] = []
    for p, z in zip(split, state.z, strict=True):
        force, on_w = p.pull(z, state.u, force)
        pulls.append(on_w)
    if not split:  # an operator may return its input
        return state.u - state.tau * force, pulls
    return state.u - scaled(force, state.tau), pulls


def _dual_steps(
    problem: Problem, split: tuple[Split, ...], d: Array, top: Array
) -> tuple[Array, tuple[Array, ...]]:
    """Steps of the duals of the data and of the priors, the latter times the squared norm of K.

    For a prior: the size that its dual grows to over that of ``K x``; it is kept in proportion to the largest
    entry of `d`, so that no prior is left behind or alone in the metric.
    """
    xp, A = namespace(d), problem.A
    sigma: list[Array] = []
    weight = xp.zeros_like(top)
    x = A.H(problem.weigh(problem.y)) / d if split else top
    for p in split:
        part = xp.clip(ratio(PACE * p.squared_norm(x) * stiffness(p, x, top), top), LEAST, MOST)
        sigma.append(part * top)
        weight = weight + part
    beta = xp.clip(DAMPING * xp.sqrt(weight), 0.02, 1.0)
    return beta, tuple(sigma)
