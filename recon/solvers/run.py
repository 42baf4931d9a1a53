"""The driver: repeats a solver's step, tells a callback how it goes, and says why it stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

from rayfold.recon.problem import Problem

Array = Any


class State(Protocol):
    """What any solver's state offers."""

    @property
    def x(self) -> Array:
        """Current image."""

    @property
    def residual(self) -> Array:
        """Norm of the weighted data residual, one per problem of the batch."""


class Solver(Protocol):
    """A frozen dataclass with two pure functions; `step` runs in a loop, under jit, or unrolled."""

    def init(self, problem: Problem, x0: Array | None = None) -> Any:
        """State before the first step."""

    def step(self, problem: Problem, state: Any) -> Any:
        """State after one more step."""


class Status(NamedTuple):
    """What a callback is told after each step."""

    iteration: int
    x: Array
    residual: float
    seconds: float


class Solution(NamedTuple):
    """Result of `run`: the image, the last state, the number of steps, and why it stopped."""

    x: Array
    state: Any
    iterations: int
    stopped: str


def run(
    solver: Solver,
    problem: Problem,
    n: int,
    *,
    x0: Array | None = None,
    callback: Callable[[Status], bool | None] | None = None,
) -> Solution:
    """Run `n` steps of a solver.

    Parameters
    ----------
    solver : Solver
        For example ``CGLS()``.
    problem : Problem
        Operator and data, in any array library.
    n : int
        Steps at most.
    x0 : array, optional
        Start; zero by default.
    callback : callable, optional
        Called with a `Status` after each step; returning False stops.

    Returns
    -------
    Solution
        ``stopped`` is "budget" or "callback".

    Raises
    ------
    ValueError
        If `n` is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon.solvers import CGLS
    >>> run(CGLS(), Problem(Identity((2,)), np.array([1.0, 2.0])), 1).x
    array([1., 2.])
    """
    if n < 0:
        raise ValueError(f"n is {n}; it must be 0 or more steps")
    start = time.perf_counter()
    state = solver.init(problem, x0)
    for i in range(1, n + 1):
        state = solver.step(problem, state)
        if callback is None:
            continue
        status = Status(i, state.x, _norm(state.residual), time.perf_counter() - start)
        if callback(status) is False:
            return Solution(state.x, state, i, "callback")
    return Solution(state.x, state, n, "budget")


def _norm(residuals: Array) -> float:
    """Norm over a batch as a number for people, outside any graph."""
    squared = (residuals**2).sum()
    return math.sqrt(squared.detach() if hasattr(squared, "detach") else squared)
