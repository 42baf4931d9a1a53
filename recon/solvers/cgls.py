"""Conjugate gradients on the normal equations, in the form that never squares the operator."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import along, axpy, inner, ratio, root, start
from rayfold.recon.checks import is_zero, nonnegative
from rayfold.recon.problem import Problem

Array = Any
ROUNDING = 10.0  # units of rounding in a difference that ought to vanish


class CGLSState(NamedTuple):
    """Image, data residual, search direction, squared norm of the gradient, norm of the weighted residual."""

    x: Array
    r: Array
    p: Array
    gamma: Array
    residual: Array


@dataclass(frozen=True)
class CGLS:
    """Minimise ``1/2 |A x - y|_W^2 + damping / 2 |x|^2`` by conjugate gradients.

    With noisy data the image is best long before convergence: the number of steps regularises.

    Parameters
    ----------
    damping : float
        Tikhonov weight, in the units of ``A.H W A``.

    References
    ----------
    M. R. Hestenes and E. Stiefel, J. Res. Nat. Bur. Stand. 49 (1952) 409; A. Bjorck, Numerical Methods
    for Least Squares Problems (1996), section 7.4.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators.calculus import Diagonal
    >>> from rayfold.recon import Problem, run
    >>> A = Diagonal((2,), np.array([1.0, 2.0]))
    >>> run(CGLS(), Problem(A, np.array([3.0, 4.0])), 2).x.round(6)
    array([3., 2.])
    """

    damping: float = 0.0

    def __post_init__(self) -> None:
        nonnegative(damping=self.damping)

    def init(self, problem: Problem, x0: Array | None = None) -> CGLSState:
        """State at `x0`, zero by default."""
        x, prediction = start(problem, x0)
        r = problem.y - prediction
        s, squared = _back(problem, r)
        if not is_zero(self.damping):
            s = axpy(-self.damping, x, s)
        return CGLSState(x, r, s, inner(problem.A.in_shape, s, s), root(squared))

    def step(self, problem: Problem, state: CGLSState) -> CGLSState:
        """One step: one A and one A.H."""
        A = problem.A
        q = A(state.p)
        curvature = inner(A.out_shape, q, problem.weigh(q))
        if not is_zero(self.damping):
            curvature = curvature + self.damping * inner(A.in_shape, state.p, state.p)
        alpha = ratio(state.gamma, curvature)
        r = axpy(-along(A.out_shape, alpha), q, state.r)
        del q
        s, squared = _back(problem, r)
        alpha = along(A.in_shape, alpha)
        damped = not is_zero(self.damping)
        if damped:
            floor = inner(A.in_shape, s, s) * (ROUNDING * namespace(s).finfo(s.dtype).eps) ** 2
            s = axpy(-self.damping, state.x, s)
            s -= (self.damping * alpha) * state.p
        gamma = inner(A.in_shape, s, s)
        if damped:  # the difference of two equal terms is rounding, and following it would diverge
            gamma = namespace(gamma).where(gamma > floor, gamma, namespace(gamma).zeros_like(gamma))
        p = axpy(along(A.in_shape, ratio(gamma, state.gamma)), state.p, s)
        del s  # the image comes last: one array less at a time
        return CGLSState(axpy(alpha, state.p, state.x), r, p, gamma, root(squared))

    def objective(self, problem: Problem, state: CGLSState) -> Array:
        """``1/2 |A x - y|_W^2 + damping / 2 |x|^2``, one per problem."""
        return (state.residual**2 + self.damping * inner(problem.A.in_shape, state.x, state.x)) / 2


def _back(problem: Problem, r: Array) -> tuple[Array, Array]:
    """``A.H W r``, and the squared weighted norm of the residual r."""
    weighted = problem.weigh(r)
    squared = inner(problem.A.out_shape, r, weighted)
    return problem.A.H(weighted), squared
