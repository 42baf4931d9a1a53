"""Ordered subsets: every n-th view, visited in an order that never stays near the last one."""

from __future__ import annotations

from typing import Any

from rayfold.operators import LinearOperator
from rayfold.recon.problem import Problem

Array = Any


def order(n: int) -> tuple[int, ...]:
    """The numbers 0 to n - 1 by their reversed bits: 0, 4, 2, 6, 1, 5, 3, 7 for eight.

    Examples
    --------
    >>> order(5)
    (0, 4, 2, 1, 3)
    """
    bits = max(n - 1, 0).bit_length()
    return tuple(k for k in (int(f"{i:0{bits}b}"[::-1], 2) for i in range(1 << bits)) if k < n)


def operators(problem: Problem, n: int) -> tuple[LinearOperator, ...]:
    """The operator of every subset, in the order of visits.

    Raises
    ------
    ValueError
        If there are more subsets than views, or the noise is correlated from view to view.
    """
    views = problem.A.out_shape[0]
    if n > views:
        raise ValueError(f"subsets is {n}, the data have {views} views; take at most one subset per view")
    noise = problem.noise
    if n > 1 and getattr(noise, "covariance", None) is not None:
        assert noise is not None
        if noise.axis == -len(problem.A.out_shape):  # type: ignore[attr-defined]
            raise ValueError("noise correlated from view to view leaves no subsets of views; use 1 subset")
    if n == 1:
        return (problem.A,)
    return tuple(problem.A[slice(k, None, n)] for k in order(n))


def cuts(problem: Problem, n: int) -> list[tuple[Any, ...]]:
    """Where the subsets lie in the data, in the order of visits."""
    rest = (slice(None),) * (len(problem.A.out_shape) - 1)
    return [(..., slice(k, None, n), *rest) for k in order(n)]


def take(problem: Problem, value: Any, cut: tuple[Any, ...]) -> Any:
    """The part for a subset of what broadcasts against the data: numbers stay, arrays are views."""
    n = len(problem.A.out_shape)
    shape = tuple(getattr(value, "shape", ()))
    return value if len(shape) < n or shape[len(shape) - n] == 1 else value[cut]


def weigh(problem: Problem, r: Array, cut: tuple[Any, ...]) -> Array:
    """Inverse covariance of a subset times a residual of it (may be the residual itself)."""
    noise = problem.noise
    if noise is None:
        return r
    if getattr(noise, "sigma", None) is None:
        return noise.weigh(r, problem.y[cut])
    return take(problem, noise.weights(problem.y), cut) * r
