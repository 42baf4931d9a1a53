"""The primal-dual hybrid gradient method of Chambolle and Pock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rayfold.operators.dispatch import namespace
from rayfold.recon.priors.prior import Prior, Split, as_tuple
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.arrays import along, axpy, expand, size, start
from rayfold.recon.solvers.checks import between, positive
from rayfold.recon.solvers.steps import majorant

Array = Any
SHARE = 0.5  # step of a split prior over that of the data term


class PDHGState(NamedTuple):
    """State of `PDHG`.

    `x` is the last proximal point, `u` its over-relaxed companion with auxiliaries `w` and prediction `Au`;
    `q` and `z` are the duals of the data and of the split priors; `tau` and `sigma` their steps.
    """

    x: Array
    u: Array
    w: tuple[Array | None, ...]
    Au: Array
    q: Array
    z: tuple[Array, ...]
    tau: Array
    sigma: Array
    residual: Array


@dataclass(frozen=True)
class PDHG:
    """Minimise the data term plus any sum of priors, each through the operator inside it.

    ``max_q,z min_x <A x - y, q> - 1/2 <q, W^-1 q> + sum <K x, z> - g*(z) + h(x)``: priors of the form g(K x)
    (TV, TGV, wavelets) go to the dual side, one simple prior h (a box) stays with the image. Steps are found
    from the diagonal of ``A.H W A`` and the norm of each K, and every step is over-relaxed.

    Parameters
    ----------
    prior : Prior or tuple of Prior
        Split priors, and at most one simple one.
    balance : float
        Trade between image and dual steps, 1 0.03 by default; no value is unsafe.
    step_size : float
        Part of the largest safe step, at most 1.
    relaxation : float
        Between 0 and 2; 1 is the plain method.

    Raises
    ------
    ValueError
        If there are two simple priors: which one would hold exactly is then undefined.

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
    array([[0.15, 0.15, 0.85, 0.85]])
    """

    prior: Prior | tuple[Prior, ...] | None = None
    balance: float = field(default=0.03, kw_only=True)
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
        """State at `x0`, zero by default; one A and one A.H more for the step sizes."""
        split, _ = self._sides()
        x, prediction = start(problem, x0)
        xp, shape = namespace(x), problem.A.in_shape
        d = majorant(problem)
        top = xp.max(d, axis=tuple(range(-len(shape), 0))) if d.ndim >= len(shape) else d
        tau = self.step_size / (self.balance * (d + SHARE * len(split) * along(shape, top)))
        w = tuple(p.auxiliary(x) for p in split)
        z = tuple(xp.zeros_like(p.analyse(x, a)) for p, a in zip(split, w, strict=True))
        r = problem.y - prediction
        sigma = self.balance * SHARE * top
        return PDHGState(x, x, w, prediction, xp.zeros_like(r), z, tau, sigma, size(problem, r))

    def step(self, problem: Problem, state: PDHGState) -> PDHGState:
        """One step: one A and one A.H, one K and one K.H of every split prior."""
        split, simple = self._sides()
        A, u, rho = problem.A, state.u, self.relaxation
        lead = u.ndim - len(A.in_shape)
        force = A.H(state.q)
        pulls: list[Array | None] = []
        for p, z in zip(split, state.z, strict=True):
            part, on_w = p.synthesise(z, u)
            force = force + part
            pulls.append(on_w)
        x = u - state.tau * force
        del force
        if simple is not None:
            x = simple.prox(x, state.tau)
        prediction = A(x)
        q = axpy(2.0, prediction, -state.Au)  # the prediction at the extrapolated image 2 x - u
        q = axpy(self.balance, problem.weigh(q - problem.y), state.q)
        q /= 1 + self.balance
        q = axpy(rho, q, (1 - rho) * state.q)
        ahead = axpy(2.0, x, -u)
        w, z = [], []
        for p, old_w, old_z, pull in zip(split, state.w, state.z, pulls, strict=True):
            new_w, ahead_w = old_w, None
            if old_w is not None and pull is not None:
                moved = old_w - self.step_size / expand(state.sigma, old_w.ndim - lead) * pull
                ahead_w = axpy(2.0, moved, -old_w)
                new_w = axpy(rho, moved, (1 - rho) * old_w)
            rate = expand(state.sigma, old_z.ndim - lead) / p.squared_norm(u)
            new_z = p.analyse(ahead, ahead_w)
            new_z *= rate
            new_z += old_z
            new_z = p.dual_prox(new_z, rate)
            w.append(new_w)
            z.append(axpy(rho, new_z, (1 - rho) * old_z))
        residual = size(problem, problem.y - prediction)
        u = axpy(rho, x, (1 - rho) * u)
        Au = axpy(rho, prediction, (1 - rho) * state.Au)
        return PDHGState(x, u, tuple(w), Au, q, tuple(z), state.tau, state.sigma, residual)
