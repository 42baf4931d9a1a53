"""Inner products, updates and starts for solvers, in the caller's array library, per leading index.

Products go through `matmul` and updates through `+=`, so that a step makes few temporary arrays; where arrays
cannot be written to (JAX) `+=` makes a new one.
"""

from __future__ import annotations

import math
from typing import Any

from rayfold.operators.dispatch import match, namespace
from rayfold.recon.problem import Problem

Array = Any


def inner(shape: tuple[int, ...], a: Array, b: Array) -> Array:
    """Real inner product over the trailing axes `shape`: one number per leading index."""
    xp, n = namespace(a), math.prod(shape)
    lead = tuple(a.shape[: len(a.shape) - len(shape)])
    row = xp.reshape(xp.conj(a) if "complex" in str(a.dtype) else a, (*lead, 1, n))
    product = row @ xp.reshape(b, (*lead, n, 1))
    product = xp.reshape(product, lead)
    return xp.real(product) if "complex" in str(product.dtype) else product


def along(shape: tuple[int, ...], value: Array) -> Array:
    """One number per problem, ready to multiply arrays that end in the axes `shape`."""
    return expand(value, len(shape))


def expand(value: Array, n: int) -> Array:
    """One number per problem with `n` axes of length 1 behind it."""
    return value.reshape(tuple(value.shape) + (1,) * n)


def axpy(a: Array | float, x: Array, y: Array) -> Array:
    """``a * x + y`` with one new array."""
    total = a * x
    total += y
    return total


def rescale(x: Array, a: Array | float) -> Array:
    """``a * x``, written over x unless a gradient of torch still needs it."""
    if getattr(x, "requires_grad", False):
        return a * x
    x *= a
    return x


def ratio(a: Array, b: Array) -> Array:
    """``a / b``, and 0 where b is not positive: a solved problem stays where it is."""
    xp = namespace(a)
    good = b > 0
    return xp.where(good, a / xp.where(good, b, xp.ones_like(b)), xp.zeros_like(b))


def start(problem: Problem, x0: Array | None) -> tuple[Array, Array]:
    """First image and its prediction ``A x``; both of the library, precision and batch axes of the data."""
    xp, A, y = namespace(problem.y), problem.A, problem.y
    if x0 is None:
        x = xp.zeros_like(A.H(y))
        return x, xp.zeros_like(y) if "complex" in str(y.dtype) or A.field == "real" else A(x)
    if tuple(x0.shape[len(x0.shape) - len(A.in_shape) :]) != tuple(A.in_shape):
        raise ValueError(f"x0 has shape {tuple(x0.shape)}; it must end in {tuple(A.in_shape)}")
    x0 = match(x0, y)
    if A.field == "complex" or "complex" in str(y.dtype):
        x0 = x0 + 0j
    full = (*y.shape[: len(y.shape) - len(A.out_shape)], *A.in_shape)
    if tuple(x0.shape) != full:
        x0 = xp.broadcast_to(x0, full) + xp.zeros_like(x0)
    return x0, A(x0)


def size(problem: Problem, r: Array) -> Array:
    """Weighted norm of a residual, one per problem; its derivative is 0, not infinite, where it vanishes."""
    return root(inner(problem.A.out_shape, r, problem.weigh(r)))


def root(squared: Array) -> Array:
    """Square root whose derivative at 0 is 0."""
    xp = namespace(squared)
    some = squared > 0
    return xp.where(some, xp.sqrt(xp.where(some, squared, xp.ones_like(squared))), xp.zeros_like(squared))
