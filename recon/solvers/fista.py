"""Forward-backward splitting with momentum."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import along, inner, size, start
from rayfold.recon.checks import positive
from rayfold.recon.priors.denoiser import PlugAndPlay
from rayfold.recon.priors.prior import Prior
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.forward_backward import curvature, descend, sides, total

Array = Any


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
        t, d = namespace(residual).ones_like(residual), curvature(problem, backward)
        return FISTAState(x, prediction, (x, prediction), t, 0 * t, d, warm, residual)

    def step(self, problem: Problem, state: FISTAState) -> FISTAState:
        """One step: one A and one A.H."""
        A, xp, t = problem.A, namespace(state.residual), state.t
        forward, backward = sides(self.prior)
        beta, on_data = along(A.in_shape, state.beta), along(A.out_shape, state.beta)
        force = A.H(problem.weigh(problem.y - _extrapolated(state.Ax, state.before[1], on_data)))
        u = _extrapolated(state.x, state.before[0], beta)
        d = total(state.curvature, forward, u)
        x = descend(force, forward, u, self.step_size / d)
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
