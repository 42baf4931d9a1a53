"""Conjugate gradients on the normal equations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from rayfold.recon.problem import Problem
from rayfold.recon.solvers.arrays import along, inner, ratio, size, start

Array = Any


class CGLSState(NamedTuple):
    """Image, data residual, search direction, squared norm of the gradient, norm of the weighted residual."""

    x: Array
    r: Array
    p: Array
    gamma: Array
    residual: Array


@dataclass(frozen=True)
class CGLS:
    """Minimise ``|A x - y|_W^2 + damping |x|^2`` by conjugate gradients.

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
        if self.damping < 0:
            raise ValueError(f"damping is {self.damping}; it must be 0 or more")

    def init(self, problem: Problem, x0: Array | None = None) -> CGLSState:
        """State at `x0`, zero by default."""
        x, r = start(problem, x0)
        s = problem.A.H(problem.weigh(r)) - self.damping * x
        return CGLSState(x, r, s, inner(problem.A.in_shape, s, s), size(problem, r))

    def step(self, problem: Problem, state: CGLSState) -> CGLSState:
        """One step: one A and one A.H."""
        A = problem.A
        q = A(state.p)
        curvature = inner(A.out_shape, q, problem.weigh(q))
        if self.damping:
            curvature = curvature + self.damping * inner(A.in_shape, state.p, state.p)
        alpha = ratio(state.gamma, curvature)
        x = state.x + along(A.in_shape, alpha) * state.p
        r = state.r - along(A.out_shape, alpha) * q
        s = A.H(problem.weigh(r)) - self.damping * x
        gamma = inner(A.in_shape, s, s)
        p = s + along(A.in_shape, ratio(gamma, state.gamma)) * state.p
        return CGLSState(x, r, p, gamma, size(problem, r))
