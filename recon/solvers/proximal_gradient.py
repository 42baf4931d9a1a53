"""Forward-backward splitting: a gradient step on the data, then a proximal step; plain or accelerated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import along, axpy, inner, size, start
from rayfold.recon.checks import positive
from rayfold.recon.priors.denoiser import PlugAndPlay
from rayfold.recon.priors.prior import Prior, as_tuple
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.steps import lipschitz, majorant

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
        Between 0 and 1: how much of the proximal step is taken; by default 0.25 for `PlugAndPlay`, and 1
        (all of it) for priors with a value.

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
        return ProximalGradientState(x, r, _curvature(problem, backward), warm, size(problem, r))

    def step(self, problem: Problem, state: ProximalGradientState) -> ProximalGradientState:
        """One step: one A and one A.H."""
        forward, backward = sides(self.prior)
        rate = self.step_size / _total(state.curvature, forward, state.x)
        z = _descend(problem.A.H(problem.weigh(state.r)), forward, state.x, rate)
        x, warm = z, state.inner
        if backward is not None:
            x, warm = backward.prox_from(z, rate, warm)
            part = self.averaging
            if part is None:
                part = AVERAGING if isinstance(backward, PlugAndPlay) else 1.0
            if not (isinstance(part, int | float) and part == 1):
                x = axpy(part, x, (1 - part) * z)
        del z
        r = problem.y - problem.A(x)
        return ProximalGradientState(x, r, state.curvature, warm, size(problem, r))


class FISTAState(NamedTuple):
    """State of `FISTA`.

    `x` and its prediction `Ax`, the same one step `before`, the momentum `t` and what it multiplies the last
    move by (`beta`), the curvature of the data term, and the inner variables of the prior.
    """

    x: Array
    Ax: Array
    before: tuple[Array, Array]
    t: Array
    beta: Array
    curvature: Array
    inner: tuple[Array, ...]
    residual: Array


@dataclass(frozen=True)
class FISTA:
    """`ProximalGradient` from an extrapolated point: the error falls with the square of the steps.

    Parameters
    ----------
    prior : Prior or tuple of Prior
        Smooth ones add their gradient; at most one other, which must be convex.
    step_size : float
        Part of the safe step, at most 1.
    restart : bool
        Forget the momentum when it points uphill.

    Raises
    ------
    ValueError
        For a denoiser, with which acceleration diverges, and for two priors that need a proximal step.

    References
    ----------
    A. Beck and M. Teboulle, SIAM J. Imaging Sci. 2 (2009) 183; B. O'Donoghue and E. Candes, Found. Comput.
    Math. 15 (2015) 715, for the restart.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators.calculus import Diagonal
    >>> from rayfold.recon import Problem, run
    >>> from rayfold.recon.priors import NonNegative
    >>> A = Diagonal((1, 2), np.array([1.0, 2.0]))
    >>> run(FISTA(NonNegative()), Problem(A, np.array([[3.0, -4.0]])), 1).x
    array([[3., 0.]])
    """

    prior: Prior | tuple[Prior, ...] | None = None
    step_size: float = field(default=1.0, kw_only=True)
    restart: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        positive(step_size=self.step_size)
        if isinstance(self.step_size, int | float) and self.step_size > 1:
            raise ValueError(f"step_size is {self.step_size}; above 1 the method may diverge")
        if isinstance(sides(self.prior)[1], PlugAndPlay):
            raise ValueError(
                "FISTA diverges with a denoiser; use ProximalGradient(PlugAndPlay(...), averaging=0.25)"
            )

    def init(self, problem: Problem, x0: Array | None = None) -> FISTAState:
        """State at `x0`, zero by default; one A and one A.H more for the steps."""
        x, prediction = start(problem, x0)
        backward = sides(self.prior)[1]
        warm = () if backward is None else backward.warm(x)
        residual = size(problem, problem.y - prediction)
        t, d = namespace(residual).ones_like(residual), _curvature(problem, backward)
        return FISTAState(x, prediction, (x, prediction), t, 0 * t, d, warm, residual)

    def step(self, problem: Problem, state: FISTAState) -> FISTAState:
        """One step: one A and one A.H."""
        A, xp, t = problem.A, namespace(state.residual), state.t
        forward, backward = sides(self.prior)
        beta, on_data = along(A.in_shape, state.beta), along(A.out_shape, state.beta)
        force = A.H(problem.weigh(problem.y - _extrapolated(state.Ax, state.before[1], on_data)))
        u = _extrapolated(state.x, state.before[0], beta)
        d = _total(state.curvature, forward, u)
        x = _descend(force, forward, u, self.step_size / d)
        del force, u
        warm = state.inner
        if backward is not None:
            x, warm = backward.prox_from(x, self.step_size / d, warm)
        if self.restart:
            gap = _extrapolated(state.x, state.before[0], beta)
            gap -= x
            gap = d * gap
            uphill = inner(A.in_shape, gap, x) > inner(A.in_shape, gap, state.x)
            t = xp.where(uphill, xp.ones_like(t), t)
            del gap
        del d
        t_new = (1 + xp.sqrt(1 + 4 * t * t)) / 2
        Ax = A(x)
        residual = size(problem, problem.y - Ax)
        before, beta = (state.x, state.Ax), (t - 1) / t_new
        return FISTAState(x, Ax, before, t_new, beta, state.curvature, warm, residual)


def _extrapolated(x: Array, before: Array, beta: Array) -> Array:
    """``x + beta (x - before)``."""
    moved = x - before
    moved = beta * moved
    moved += x
    return moved


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


def _curvature(problem: Problem, backward: Prior | None) -> Array:
    """Bound of ``A.H W A``: per pixel where the proximal step allows it, else one number per problem."""
    if backward is None or backward.simple:
        d = majorant(problem)
    else:
        d = along(problem.A.in_shape, lipschitz(problem))
    xp = namespace(d)
    return xp.where(d > 0, d, xp.ones_like(d))  # nothing is measured, and any step will do


def _total(curvature: Array, forward: tuple[Prior, ...], x: Array) -> Array:
    """Bound of the second derivative, smooth priors included."""
    for prior in forward:
        curvature = curvature + prior.curvature(x)
    return curvature


def _descend(force: Array, forward: tuple[Prior, ...], x: Array, rate: Array) -> Array:
    """``x - rate * gradient``; `force` is minus the gradient of the data term."""
    for prior in forward:
        force = force - prior.gradient(x)
    z = rate * force
    z += x
    return z
