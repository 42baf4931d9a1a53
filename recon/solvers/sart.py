"""The simultaneous algebraic reconstruction technique: SIRT over ordered subsets of views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from rayfold.operators import LinearOperator
from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import axpy, size, start
from rayfold.recon.checks import between, positive
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.sirt import reciprocal
from rayfold.recon.solvers.smooth import clipped, require_bounds
from rayfold.recon.solvers.subsets import cuts, operators, weigh

Array = Any


class SARTState(NamedTuple):
    """Image, data residual, and per subset: operator, reciprocal row sums and column sums."""

    x: Array
    r: Array
    parts: tuple[LinearOperator, ...]
    rows: tuple[Array, ...]
    cols: tuple[Array, ...]
    residual: Array


@dataclass(frozen=True)
class SART:
    """``x <- x + relaxation * C A.H R W (y - A x)``, subset of views by subset.

    R holds the reciprocal row sums and C the reciprocal column sums of ``W A`` of a subset. One step goes
    through all subsets, interleaved and in bit-reversed order, and is worth about as many steps of `SIRT` at
    first. With one view per subset it is the method of Andersen and Kak. Data without noise are met exactly;
    with noise the last steps go round in a small circle, narrower with less relaxation.

    Parameters
    ----------
    subsets : int
        How many; 1 is `SIRT`.
    relaxation : float
        Between 0 and 2.
    lower, upper : float, optional
        Bounds of the image; ``lower=0`` for attenuation.

    References
    ----------
    A. H. Andersen and A. C. Kak, Ultrason. Imaging 6 (1984) 81; M. Jiang and G. Wang, IEEE Trans. Image
    Process. 12 (2003) 957, for convergence with subsets.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators.calculus import Diagonal
    >>> from rayfold.recon import Problem, run
    >>> A = Diagonal((2,), np.array([1.0, 2.0]))
    >>> run(SART(2), Problem(A, np.array([3.0, 4.0])), 1).x
    array([3., 2.])
    """

    subsets: int = 10
    relaxation: float = 1.0
    lower: float | None = None
    upper: float | None = None

    def __post_init__(self) -> None:
        positive(subsets=self.subsets)
        between(0, 2, relaxation=self.relaxation)
        require_bounds(self.lower, self.upper)

    def init(self, problem: Problem, x0: Array | None = None) -> SARTState:
        """State at `x0`, zero by default; costs one A and one A.H for the sums."""
        if not problem.A.nonnegative:
            raise ValueError("SART needs an operator without negative entries; use CGLS for this one")
        parts = operators(problem, self.subsets)
        x, prediction = start(problem, x0)
        r = problem.y - prediction
        xp = namespace(r)
        rows = tuple(reciprocal(part(xp.ones_like(x))) for part in parts)
        ones = xp.ones_like(r)
        cols = tuple(
            reciprocal(part.H(weigh(problem, ones[cut], cut)))
            for part, cut in zip(parts, cuts(problem, self.subsets), strict=True)
        )
        return SARTState(x, r, parts, rows, cols, size(problem, r))

    def step(self, problem: Problem, state: SARTState) -> SARTState:
        """One pass: one A and one A.H, and with several subsets one A for the residual."""
        x = state.x
        every = zip(state.parts, cuts(problem, self.subsets), state.rows, state.cols, strict=True)
        for i, (part, cut, rows, cols) in enumerate(every):
            r = state.r[cut] if i == 0 else problem.y[cut] - part(x)
            back = part.H(weigh(problem, rows * r, cut))
            del r
            x = axpy(self.relaxation, cols * back, x)
            del back
            x = clipped(x, self.lower, self.upper)
        r = problem.y - problem.A(x)
        return SARTState(x, r, state.parts, state.rows, state.cols, size(problem, r))
