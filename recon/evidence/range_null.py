"""What the data see of an image at their noise, what they do not, and the way back to the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import match, namespace, to_numpy
from rayfold.recon.arrays import along, axpy, expand, inner
from rayfold.recon.evidence.quadrature import moments
from rayfold.recon.problem import Problem

Array = Any
Floats = npt.NDArray[np.float64]
TOLERANCE = 1e-3  # error of a map, as a part of the image's norm, at which the solver stops


class Solved(NamedTuple):
    """Result of `solve`.

    Attributes
    ----------
    t : array
        ``M^-1 b``.
    second : array or None
        ``M^-2 b``, from the same operator calls.
    error : ndarray
        Upper bound of the norm of what ``s A.H W t`` lacks, per problem.
    low, high : ndarray, (4, ...)
        Bounds of ``<b, W M^-j b>`` for j = 1, 2, 3, 4.
    steps : int
        Operator pairs used.
    """

    t: Array
    second: Array | None
    error: Floats
    low: Floats
    high: Floats
    steps: int


def host(values: Array) -> Floats:
    """Numbers per problem, in double precision on the host."""
    return np.asarray(to_numpy(values), np.float64)


def spread_out(problem: Problem, values: Floats, x: Array) -> Array:
    """One number per problem, ready to multiply images like `x`."""
    return along(problem.A.in_shape, match(np.asarray(values), x))


def image_scale(problem: Problem, x: Array) -> Floats:
    """Root mean square of each image, in its unit."""
    n = max(int(np.prod(problem.A.in_shape)), 1)
    top = to_numpy(namespace(x).max(abs(x), axis=tuple(range(-len(problem.A.in_shape), 0)))).astype(float)
    unit = np.where(top > 0, top, 1.0)  # squares of very small or large values leave float32
    reduced = x / spread_out(problem, unit, x)
    return np.asarray(unit * np.sqrt(host(inner(problem.A.in_shape, reduced, reduced)) / n))


def back(problem: Problem, scale: Floats, t: Array) -> Array:
    """``s A.H W t``: what data say about an image in units of its scale s."""
    g = problem.A.H(problem.weigh(t))
    return spread_out(problem, scale, g) * g


def solve(
    problem: Problem,
    b: Array,
    scale: Floats,
    n: int,
    *,
    second: bool = False,
    tolerance: float = TOLERANCE,
) -> Solved:
    """``M^-1 b`` with ``M = 1 + s^2 A A.H W``, by at most `n` steps of conjugate gradients from zero.

    M lives among the data and is symmetric in the inner product ``<a, W b>``. As
    ``A.H W M^-1 = (1 + s^2 A.H W A)^-1 A.H W``, an image follows with one more A.H, and its part in the null
    space of A is exact after any number of steps. Because ``M >= 1``, Gauss-Radau quadrature bounds what is
    missing strictly, rounding apart.

    Parameters
    ----------
    problem : Problem
        With quadratic noise.
    b : array, (..., *A.out_shape)
        Data.
    scale : ndarray
        s, one per problem, in the unit of the image.
    n : int
        Operator pairs at most.
    second : bool
        Also ``M^-2 b``: the derivative of the iterates in a shift of M, which needs no operator calls.
    tolerance : float
        Stop when the error is below this part of ``sqrt(pixels)``.

    References
    ----------
    M. R. Hestenes and E. Stiefel, J. Res. Nat. Bur. Stand. 49 (1952) 409, for the method;
    G. Meurant and P. Tichy, Numer. Algorithms 62 (2013) 163, for the bound;
    A. Frommer and P. Maass, SIAM J. Sci. Comput. 20 (1999) 1831, for shifted systems.

    Examples
    --------
    >>> from rayfold.operators.calculus import Diagonal
    >>> problem = Problem(Diagonal((2,), np.array([0.0, 3.0])), np.ones(2))
    >>> solve(problem, np.ones(2), np.array(1.0), 5).t.round(6)
    array([1. , 0.1])
    """
    A = problem.A

    def on(values: Floats) -> Array:
        return expand(match(np.asarray(values), b), len(A.out_shape))

    def product(v: Array, w: Array) -> Floats:
        return host(inner(A.out_shape, v, problem.weigh(w)))

    enough = tolerance**2 * float(np.prod(A.in_shape))
    r = p = b
    t = dt = dp = namespace(b).zeros_like(b)
    rho = start = product(r, r)
    radau, before, beta = np.ones_like(rho), np.ones_like(rho), np.zeros_like(rho)
    c = c_before = np.zeros_like(rho)  # derivative in the shift of the factors between shifted residuals
    alphas: list[Floats] = []
    betas: list[Floats] = []
    while len(alphas) < n and bool((radau * rho > enough).any()):
        g = back(problem, scale, p)
        q = A(spread_out(problem, scale, g) * g)
        q = p + q
        alpha = _ratio(rho, product(p, q))
        t = axpy(on(alpha), p, t)
        r = axpy(on(-alpha), q, r)
        new = product(r, r)
        c, c_before = c - alpha + alpha * _ratio(beta, before) * (c - c_before), c
        beta = _ratio(new, rho)
        if second:
            dt = axpy(on(alpha * (c - c_before)), p, axpy(on(alpha), dp, dt))
            dp = axpy(on(c), r, axpy(on(2 * beta * (c - c_before)), p, on(beta) * dp))
        p = axpy(on(beta), p, r)
        gap = np.maximum(radau - alpha, 0.0)
        radau = _ratio(gap, gap + beta)
        rho, before = new, alpha
        alphas.append(alpha)
        betas.append(beta)
    low, high = (start * moments(alphas, betas, last) for last in (0 * radau, radau))
    return Solved(t, -dt if second else None, np.sqrt(radau * rho), low, high, len(alphas))


def locked(problem: Problem, x: Array, scale: Floats, n: int) -> Array:
    """``x + (A.H W A + eps)^-1 A.H W (y - A x)``, which is the unseen part of x plus what the data say.

    Parameters
    ----------
    problem : Problem
        With quadratic noise.
    x : array, (..., *A.in_shape)
        Image.
    scale : ndarray
        ``eps^-1/2``, one per problem.
    n : int
        Operator pairs at most, two or more.
    """
    found = solve(problem, problem.y - problem.A(x), scale, n - 1)
    change = back(problem, scale, found.t)
    return axpy(spread_out(problem, scale, change), change, namespace(x).astype(x, change.dtype))


def _ratio(a: Floats, b: Floats) -> Floats:
    """``a / b``, 0 where b is not positive: a solved problem stays where it is."""
    good = b > 0
    return np.asarray(np.where(good, a / np.where(good, b, 1.0), 0.0))
