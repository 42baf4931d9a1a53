"""The driver: repeats a solver's step, tells a callback how it goes, and says why it stopped."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

from rayfold.operators.dispatch import namespace, to_numpy
from rayfold.operators.noise import Noise
from rayfold.recon.priors.prior import as_tuple
from rayfold.recon.problem import Problem, estimate_noise
from rayfold.recon.solvers.schedule import at

Array = Any


class State(Protocol):
    """What any solver's state offers."""

    @property
    def x(self) -> Array:
        """Current image."""

    @property
    def residual(self) -> Array:
        """Norm of the weighted data residual at `x`, one per problem of the batch."""


class Solver(Protocol):
    """A frozen dataclass with two pure functions; `step` runs in a loop, under jit, or unrolled.

    A solver with a prior holds it in its field `prior`; one whose objective is not the data term plus the
    values of its priors has a method ``objective(problem, state)``.
    """

    def init(self, problem: Problem, x0: Array | None = None) -> Any:
        """State before the first step."""

    def step(self, problem: Problem, state: Any) -> Any:
        """State after one more step."""


@dataclass(frozen=True)
class Status:
    """What a callback is told after each step; what costs something is computed when asked for.

    Attributes
    ----------
    iteration : int
        Steps done.
    seconds : float
        Since the start.
    """

    iteration: int
    seconds: float
    solver: Solver = field(repr=False)
    problem: Problem = field(repr=False)
    state: Any = field(repr=False)
    before: Any = field(repr=False)

    @property
    def x(self) -> Array:
        """Current image, in the caller's library."""
        return self.state.x

    @cached_property
    def residual(self) -> float:
        """Norm of the weighted data residual over the whole batch."""
        return math.sqrt(float((to_numpy(self.state.residual).astype(float) ** 2).sum()))

    @cached_property
    def objective(self) -> float:
        """Data term plus penalties, over the whole batch; nan where a prior has no value."""
        own = getattr(self.solver, "objective", None)
        if own is not None:
            return float(to_numpy(own(self.problem, self.state)).sum())
        try:
            values = [p.value(self.x) for p in as_tuple(getattr(self.solver, "prior", None))]
        except NotImplementedError:
            return math.nan
        return self.residual**2 / 2 + sum(float(to_numpy(v).sum()) for v in values)

    @cached_property
    def change(self) -> float:
        """Norm of the last change over the norm of the image."""
        size = float(to_numpy(namespace(self.x).sum(abs(self.x) ** 2)))
        moved = float(to_numpy(namespace(self.x).sum(abs(self.x - self.before.x) ** 2)))
        return math.sqrt(moved / size) if size else (math.inf if moved else 0.0)


class Stop(Protocol):
    """A reason to stop before the budget is spent."""

    @property
    def name(self) -> str:
        """What `Solution.stopped` says."""

    def reached(self, status: Status, noise: Callable[[], Noise]) -> bool:
        """Whether to stop now; `noise` gives the problem's noise, estimated when it has none."""


@dataclass(frozen=True, repr=False)
class Solution:
    """Result of `run`.

    Attributes
    ----------
    x : array
        The image, ``(..., *A.in_shape)``.
    state : NamedTuple
        Last state of the solver.
    iterations : int
        Steps done.
    stopped : str
        "budget", "callback", "discrepancy" or "change".
    """

    x: Array
    state: Any
    iterations: int
    stopped: str
    problem: Problem = field(repr=False)

    @cached_property
    def noise(self) -> Noise:
        """The problem's noise model; estimated from the data, and marked so, when it was given none."""
        return estimate_noise(self.problem) if self.problem.noise is None else self.problem.noise

    def __repr__(self) -> str:
        kind = "estimated from the data" if self.noise.estimated else "as given"
        return (
            f"Solution({tuple(self.x.shape)}, {self.iterations} steps, stopped by {self.stopped}, "
            f"noise {type(self.noise).__name__} {kind})"
        )


def run(
    solver: Solver,
    problem: Problem,
    n: int,
    *,
    x0: Array | None = None,
    stop: Stop | tuple[Stop, ...] = (),
    callback: Callable[[Status], bool | None] | None = None,
    verbose: bool = False,
) -> Solution:
    """Run at most `n` steps of a solver.

    Parameters
    ----------
    solver : Solver
        For example ``CGLS()``; its schedules are evaluated for every step.
    problem : Problem
        Operator and data, in any array library.
    n : int
        Steps at most.
    x0 : array, optional
        Start; zero by default.
    stop : Stop or tuple of Stop
        `Discrepancy` or `RelativeChange`: reasons to stop earlier.
    callback : callable, optional
        Called with a `Status` after each step; returning False stops.
    verbose : bool
        Write a table of the iterations to standard error.

    Returns
    -------
    Solution
        ``stopped`` says why.

    Raises
    ------
    ValueError
        If `n` is negative, or the data are not finite or do not fit the operator.

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
    problem.check()
    reasons = stop if isinstance(stop, tuple) else (stop,)
    told = _listeners(callback, verbose)
    found: list[Noise] = []

    def noise() -> Noise:
        if not found:
            found.append(estimate_noise(problem) if problem.noise is None else problem.noise)
        return found[0]

    begin = time.perf_counter()
    state = at(solver, 0).init(problem, x0)
    for i in range(1, n + 1):
        now = at(solver, i - 1)
        before, state = state, now.step(problem, state)
        if not (told or reasons):
            continue
        status = Status(i, time.perf_counter() - begin, now, problem, state, before)
        answers = [tell(status) for tell in told]  # all of them are told
        if any(answer is False for answer in answers):
            return Solution(state.x, state, i, "callback", problem)
        for reason in reasons:
            if reason.reached(status, noise):
                return Solution(state.x, state, i, reason.name, problem)
    return Solution(state.x, state, n, "budget", problem)


def _listeners(
    callback: Callable[[Status], bool | None] | None, verbose: bool
) -> list[Callable[[Status], bool | None]]:
    if not verbose:
        return [callback] if callback else []
    from rayfold.recon.solvers.progress import Table

    return [Table(), *([callback] if callback else [])]
