"""Conjugate gradients on the normal equations themselves, through a gram operator where one is fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from rayfold.operators import LinearOperator
from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import along, axpy, inner, ratio, root, start
from rayfold.recon.checks import nonnegative
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.normal import gram_of, normal

Array = Any


class CGState(NamedTuple):
    """State of `CG`.

    `r` is what the normal equations lack, `p` the search direction, `gamma` the squared norm of `r`, `energy`
    the objective, `gram` the operator ``A.H A``, or ``A.H W A``, where it serves (see `gram_of`).
    """

    x: Array
    r: Array
    p: Array
    gamma: Array
    energy: Array
    gram: LinearOperator | None
    residual: Array


@dataclass(frozen=True)
class CG:
    """Solve ``(A.H W A + damping) x = A.H W y`` by conjugate gradients.

    The iterates are those of `CGLS`, in exact arithmetic. Without noise, or with one standard deviation for
    all data, a step applies ``A.gram`` and never A: the faster one where the gram is a convolution. With a
    standard deviation for each datum so it does where the operator can put the weights into its gram (density
    weights of a `NUFFT` that coils share, weights of whole views of `XRay` with ``model="fourier"``). `CGLS`
    is the more accurate one: here the condition of A enters squared, and the residual of the data is found
    from the fall of the objective, to about the square root of the precision of the arrays times the data.

    Parameters
    ----------
    damping : float
        Tikhonov weight, in the units of ``A.H W A``.

    References
    ----------
    M. R. Hestenes and E. Stiefel, J. Res. Nat. Bur. Stand. 49 (1952) 409.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators.calculus import Diagonal
    >>> from rayfold.recon import Problem, run
    >>> A = Diagonal((2,), np.array([1.0, 2.0]))
    >>> run(CG(damping=1.0), Problem(A, np.array([3.0, 4.0])), 2).x.round(6)
    array([1.5, 1.6])
    """

    damping: float = 0.0

    def __post_init__(self) -> None:
        nonnegative(damping=self.damping)

    def init(self, problem: Problem, x0: Array | None = None) -> CGState:
        """State at `x0`, zero by default."""
        A = problem.A
        x, prediction = start(problem, x0)
        r = problem.y - prediction
        weighted = problem.weigh(r)
        squared = inner(A.out_shape, r, weighted)
        r = axpy(-self.damping, x, A.H(weighted))
        energy = (squared + self.damping * inner(A.in_shape, x, x)) / 2
        return CGState(x, r, r, inner(A.in_shape, r, r), energy, gram_of(problem), root(squared))

    def step(self, problem: Problem, state: CGState) -> CGState:
        """One step: one gram, or one A and one A.H."""
        A, p = problem.A, state.p
        q = normal(problem, state.gram, p)
        curvature = inner(A.in_shape, p, q) + self.damping * inner(A.in_shape, p, p)
        alpha = ratio(state.gamma, curvature)
        energy = state.energy - alpha * state.gamma / 2
        alpha = along(A.in_shape, alpha)
        r = axpy(-alpha, q, state.r)
        del q
        r -= (self.damping * alpha) * p
        gamma = inner(A.in_shape, r, r)
        x = axpy(alpha, p, state.x)
        squared = 2 * energy - self.damping * inner(A.in_shape, x, x)
        p = axpy(along(A.in_shape, ratio(gamma, state.gamma)), p, r)
        squared = namespace(squared).clip(squared, 0.0, None)
        return CGState(x, r, p, gamma, energy, state.gram, root(squared))

    def objective(self, problem: Problem, state: CGState) -> Array:
        """``1/2 |A x - y|_W^2 + damping / 2 |x|^2``, one per problem."""
        return state.energy
