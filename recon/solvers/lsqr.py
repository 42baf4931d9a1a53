"""LSQR: conjugate gradients for least squares in the form of Golub and Kahan's bidiagonalisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, NamedTuple

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import along, axpy, inner, ratio, rescale, root, start
from rayfold.recon.checks import is_zero, nonnegative
from rayfold.recon.problem import Problem

Array = Any


class LSQRState(NamedTuple):
    """State of `LSQR`.

    `w` is the search direction; `u` (data), `below` (the rows of the damping, None without) and `v` (image)
    are the last vectors of the bidiagonalisation, `alpha` its last diagonal entry, `rho` and `phi` what the
    rotations have left over.
    """

    x: Array
    w: Array
    v: Array
    u: Array
    below: Array | None
    alpha: Array
    rho: Array
    phi: Array
    residual: Array


@dataclass(frozen=True)
class LSQR:
    """Minimise ``1/2 |A x - y|_W^2 + damping / 2 |x|^2`` by bidiagonalisation.

    The iterates are those of `CGLS`, in exact arithmetic; in single precision and for ill-conditioned
    operators they stay accurate for longer, for one image more of memory. Lengths of data are measured in the
    metric of W, so that correlated noise needs no square root of W.

    Parameters
    ----------
    damping : float
        Tikhonov weight, in the units of ``A.H W A``.

    References
    ----------
    C. C. Paige and M. A. Saunders, ACM Trans. Math. Softw. 8 (1982) 43; M. Arioli, SIAM J. Matrix Anal. Appl.
    34 (2013) 571, for lengths in a metric.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators.calculus import Diagonal
    >>> from rayfold.recon import Problem, run
    >>> A = Diagonal((2,), np.array([1.0, 2.0]))
    >>> run(LSQR(), Problem(A, np.array([3.0, 4.0])), 2).x.round(6)
    array([3., 2.])
    """

    damping: float = 0.0

    def __post_init__(self) -> None:
        nonnegative(damping=self.damping)

    def init(self, problem: Problem, x0: Array | None = None) -> LSQRState:
        """State at `x0`, zero by default."""
        x, prediction = start(problem, x0)
        r = problem.y - prediction
        below = None if is_zero(self.damping) else -self._root * x
        u, below, beta, weighted = self._normalised(problem, r, below)
        v = problem.A.H(weighted)
        if below is not None:
            v = axpy(self._root, below, v)
        alpha = root(inner(problem.A.in_shape, v, v))
        v = along(problem.A.in_shape, _reciprocal(alpha)) * v
        residual = root(inner(problem.A.out_shape, r, problem.weigh(r)))
        return LSQRState(x, v, v, u, below, alpha, alpha, beta, residual)

    def step(self, problem: Problem, state: LSQRState) -> LSQRState:
        """One step: one A and one A.H."""
        shape, v = problem.A.in_shape, state.v
        u = axpy(-along(problem.A.out_shape, state.alpha), state.u, problem.A(v))
        below = None
        if state.below is not None:
            below = axpy(-along(shape, state.alpha), state.below, self._root * v)
        u, below, beta, weighted = self._normalised(problem, u, below)
        weighted = problem.A.H(weighted)
        v = axpy(-along(shape, beta), v, weighted)
        del weighted
        if below is not None:
            v += self._root * below
        alpha = root(inner(shape, v, v))
        v = rescale(v, along(shape, _reciprocal(alpha)))
        rho = root(state.rho**2 + beta**2)
        cosine, sine = _quotient(state.rho, rho), ratio(beta, rho)
        x = axpy(along(shape, _quotient(cosine * state.phi, rho)), state.w, state.x)
        w = axpy(along(shape, -_quotient(sine * alpha, rho)), state.w, v)
        phi = sine * state.phi
        squared = phi**2
        if below is not None:
            squared = squared - self.damping * inner(shape, x, x)
            squared = namespace(squared).clip(squared, 0.0, None)
        return LSQRState(x, w, v, u, below, alpha, -cosine * alpha, phi, root(squared))

    def objective(self, problem: Problem, state: LSQRState) -> Array:
        """``1/2 |A x - y|_W^2 + damping / 2 |x|^2``, one per problem."""
        return state.phi**2 / 2

    @property
    def _root(self) -> Any:
        d = self.damping
        return math.sqrt(d) if isinstance(d, int | float) else namespace(d).sqrt(d)

    def _normalised(
        self, problem: Problem, u: Array, below: Array | None
    ) -> tuple[Array, Array | None, Array, Array]:
        """A fresh vector of data and damping made 1 long, its old length, and W times it."""
        A = problem.A
        squared = inner(A.out_shape, u, problem.weigh(u))
        if below is not None:
            squared = squared + inner(A.in_shape, below, below)
        length = root(squared)
        scale = _reciprocal(length)
        u = rescale(u, along(A.out_shape, scale))
        if below is not None:
            below = rescale(below, along(A.in_shape, scale))
        return u, below, length, problem.weigh(u)


def _quotient(a: Array, b: Array) -> Array:
    """``a / b`` for a of any sign, and 0 where b is 0."""
    return a * _reciprocal(b)


def _reciprocal(b: Array) -> Array:
    """``1 / b``, and 0 where b is 0."""
    return ratio(namespace(b).ones_like(b), b)
