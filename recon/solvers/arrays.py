"""Inner products and starts for solvers, in the caller's array library, one problem per leading index."""

from __future__ import annotations

from typing import Any

from rayfold.operators.dispatch import namespace
from rayfold.recon.problem import Problem

Array = Any


def inner(shape: tuple[int, ...], a: Array, b: Array) -> Array:
    """Real inner product over the trailing axes `shape`: one number per leading index."""
    xp = namespace(a)
    product = xp.real(xp.conj(a) * b) if "complex" in str(a.dtype) else a * b
    return xp.sum(product, axis=tuple(range(-len(shape), 0)))


def along(shape: tuple[int, ...], value: Array) -> Array:
    """One number per problem, ready to multiply arrays that end in the axes `shape`."""
    return value.reshape(tuple(value.shape) + (1,) * len(shape))


def ratio(a: Array, b: Array) -> Array:
    """``a / b``, and 0 where b is not positive: a solved problem stays where it is."""
    xp = namespace(a)
    good = b > 0
    return xp.where(good, a / xp.where(good, b, xp.ones_like(b)), xp.zeros_like(b))


def start(problem: Problem, x0: Array | None) -> tuple[Array, Array]:
    """First image, and its residual ``y - A x``."""
    if x0 is None:
        return namespace(problem.y).zeros_like(problem.A.H(problem.y)), problem.y
    return x0, problem.y - problem.A(x0)


def size(problem: Problem, r: Array) -> Array:
    """Weighted norm of a residual, one per problem; its derivative is 0, not infinite, where it vanishes."""
    xp = namespace(r)
    squared = inner(problem.A.out_shape, r, problem.weigh(r))
    some = squared > 0
    return xp.where(some, xp.sqrt(xp.where(some, squared, xp.ones_like(squared))), xp.zeros_like(squared))
