"""The simultaneous iterative reconstruction technique."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import axpy, ratio, size, start
from rayfold.recon.problem import Problem

Array = Any
NEGLIGIBLE = 1e-5  # part of the largest sum


class SIRTState(NamedTuple):
    """Image, data residual, reciprocal row and column sums, norm of the weighted residual."""

    x: Array
    r: Array
    rows: Array
    cols: Array
    residual: Array


@dataclass(frozen=True)
class SIRT:
    """``x <- x + relaxation * C A.H R W (y - A x)``.

    R holds the reciprocal row sums of A and C the reciprocal column sums of ``W A``.
    Needs no step size, and keeps the image within a box when asked to.

    Parameters
    ----------
    relaxation : float
        Between 0 and 2.
    lower, upper : float, optional
        Bounds of the image; ``lower=0`` for attenuation.

    References
    ----------
    P. Gilbert, J. Theor. Biol. 36 (1972) 105; Y. Censor and T. Elfving, SIAM J. Matrix Anal. 24 (2002) 40.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators.calculus import Diagonal
    >>> from rayfold.recon import Problem, run
    >>> A = Diagonal((2,), np.array([1.0, 2.0]))
    >>> run(SIRT(lower=0.0), Problem(A, np.array([3.0, -4.0])), 1).x
    array([3., 0.])
    """

    relaxation: float = 1.0
    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.relaxation < 2:
            raise ValueError(f"relaxation is {self.relaxation}; it must lie between 0 and 2")
        if self.lower is not None and self.upper is not None and not self.lower <= self.upper:
            raise ValueError(f"lower is {self.lower} and upper {self.upper}; lower must not exceed upper")

    def init(self, problem: Problem, x0: Array | None = None) -> SIRTState:
        """State at `x0`, zero by default; costs one A and one A.H for the sums."""
        if not problem.A.nonnegative:
            raise ValueError("SIRT needs an operator without negative entries; use CGLS for this one")
        x, prediction = start(problem, x0)
        r = problem.y - prediction
        xp = namespace(r)
        rows = problem.A(xp.ones_like(x))
        cols = problem.A.H(problem.weigh(xp.ones_like(r)))
        return SIRTState(x, r, reciprocal(rows), reciprocal(cols), size(problem, r))

    def step(self, problem: Problem, state: SIRTState) -> SIRTState:
        """One step: one A and one A.H."""
        x = problem.A.H(problem.weigh(state.rows * state.r))
        x = axpy(self.relaxation, state.cols * x, state.x)
        if self.lower is not None or self.upper is not None:
            x = namespace(x).clip(x, self.lower, self.upper)
        r = problem.y - problem.A(x)
        return SIRTState(x, r, state.rows, state.cols, size(problem, r))


def reciprocal(sums: Array) -> Array:
    """``1 / sums``, and 0 for rays and pixels that hardly meet: their sums are rounding, not measurement."""
    xp = namespace(sums)
    known = xp.where(sums > NEGLIGIBLE * xp.max(sums), sums, xp.zeros_like(sums))
    return ratio(xp.ones_like(sums), known)
