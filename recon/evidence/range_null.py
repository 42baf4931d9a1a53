"""What the data see of an image at their noise, what they do not, and the way back to the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import match, namespace, to_numpy
from rayfold.recon.arrays import along, axpy, inner
from rayfold.recon.evidence.quadrature import upper_bound
from rayfold.recon.problem import Problem

Array = Any
Floats = npt.NDArray[np.float64]
TOLERANCE = 1e-3  # error of a map, as a part of the image's norm, at which the solver stops


class Solved(NamedTuple):
    """Result of `solve`.

    Attributes
    ----------
    z : array
        ``(K + 1)^-1 b``.
    second : array or None
        ``(K + 1)^-2 b``, from the same operator calls.
    residual : ndarray
        Norm of ``b - (K + 1) z``, per problem.
    error : ndarray
        Upper bound of the norm of what is missing in `z`, per problem.
    at_most, second_at_most : ndarray
        Upper bounds of the squared norms of ``(K + 1)^-1 b`` and ``(K + 1)^-2 b``; those of `z` and `second`
        are lower bounds.
    steps : int
        Operator pairs used.
    """

    z: Array
    second: Array | None
    residual: Floats
    error: Floats
    at_most: Floats
    second_at_most: Floats
    steps: int


def image_scale(problem: Problem, x: Array) -> Floats:
    """Root mean square of each image, in its unit."""
    n = max(int(np.prod(problem.A.in_shape)), 1)
    top = to_numpy(namespace(x).max(abs(x), axis=tuple(range(-len(problem.A.in_shape), 0)))).astype(float)
    unit = np.where(top > 0, top, 1.0)  # squares of very small or large values leave float32
    reduced = x / spread_out(problem, unit, x)
    return np.asarray(unit * np.sqrt(host(inner(problem.A.in_shape, reduced, reduced)) / n))


def host(values: Array) -> Floats:
    """Numbers per problem, in double precision on the host."""
    return np.asarray(to_numpy(values), np.float64)


def spread_out(problem: Problem, values: Floats, x: Array) -> Array:
    """One number per problem, ready to multiply images like `x`."""
    return along(problem.A.in_shape, match(np.asarray(values), x))


def gradient(problem: Problem, scale: Floats, residual: Array) -> Array:
    """``s A.H W r``: what a data residual says about an image in units of its scale s."""
    g = problem.A.H(problem.weigh(residual))
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
    """``(K + 1)^-1 b`` with ``K = s^2 A.H W A``, by at most `n` steps of conjugate gradients from zero.

    K is the Fisher information of the data about an image measured in units of its own scale s: components
    of eigenvalue above 1 stand out of the noise. Started from zero, the norm of the iterates only grows, and
    because ``K + 1 >= 1`` Gauss-Radau quadrature bounds errors and norms strictly, rounding apart.

    Parameters
    ----------
    problem : Problem
        With quadratic noise.
    b : array, (..., *A.in_shape)
        Right-hand side, in units of the scale.
    scale : ndarray
        s, one per problem.
    n : int
        Operator pairs at most.
    second : bool
        Also ``(K + 1)^-2 b``: the derivative of the iterates in the shift, which needs no operator calls.
    tolerance : float
        Stop when the error is below this part of ``sqrt(pixels)``.

    References
    ----------
    M. R. Hestenes and E. Stiefel, J. Res. Nat. Bur. Stand. 49 (1952) 409, for the method;
    T. Steihaug, SIAM J. Numer. Anal. 20 (1983) 626, for the growth of the iterates;
    G. Meurant and P. Tichy, Numer. Algorithms 62 (2013) 163, for the bound;
    A. Frommer and P. Maass, SIAM J. Sci. Comput. 20 (1999) 1831, for shifted systems.

    Examples
    --------
    >>> from rayfold.operators.calculus import Diagonal
    >>> problem = Problem(Diagonal((2,), np.array([0.0, 3.0])), np.ones(2))
    >>> solve(problem, np.ones(2), np.array(1.0), 5).z.round(6)
    array([1. , 0.1])
    """
    shape = problem.A.in_shape

    def on(values: Floats) -> Array:
        return spread_out(problem, values, b)

    enough = tolerance**2 * float(np.prod(shape))
    r = p = b
    z = dz = dp = namespace(b).zeros_like(b)
    rho = host(inner(shape, r, r))
    radau, before, beta = np.ones_like(rho), np.ones_like(rho), np.zeros_like(rho)
    c = c_before = np.zeros_like(rho)  # derivative in the shift of the factors between shifted residuals
    steps, alphas, betas = 0, [], []
    start = rho
    while steps < n and bool((radau * rho > enough).any()):
        q = gradient(problem, scale, problem.A(on(scale) * p))
        q = p + q
        alpha = _ratio(rho, host(inner(shape, p, q)))
        z = axpy(on(alpha), p, z)
        r = axpy(on(-alpha), q, r)
        new = host(inner(shape, r, r))
        c, c_before = c - alpha + alpha * _ratio(beta, before) * (c - c_before), c
        beta = _ratio(new, rho)
        if second:
            dz = axpy(on(alpha * (c - c_before)), p, axpy(on(alpha), dp, dz))
            dp = axpy(on(c), r, axpy(on(2 * beta * (c - c_before)), p, on(beta) * dp))
        p = axpy(on(beta), p, r)
        gap = np.maximum(radau - alpha, 0.0)
        radau = _ratio(gap, gap + beta)
        rho, before, steps = new, alpha, steps + 1
        alphas.append(alpha)
        betas.append(beta)
    once, twice = (start * upper_bound(alphas, betas, radau, power) for power in (1, 2))
    return Solved(z, -dz if second else None, np.sqrt(rho), np.sqrt(radau * rho), once, twice, steps)


def locked(problem: Problem, x: Array, scale: Floats, n: int) -> tuple[Array, Solved]:
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

    Returns
    -------
    tuple of (array, Solved)
        The image and how its solve went.
    """
    b = gradient(problem, scale, problem.y - problem.A(x))
    found = solve(problem, b, scale, n - 1)
    return axpy(spread_out(problem, scale, b), found.z, x), found


def _ratio(a: Floats, b: Floats) -> Floats:
    """``a / b``, 0 where b is not positive: a solved problem stays where it is."""
    good = b > 0
    return np.asarray(np.where(good, a / np.where(good, b, 1.0), 0.0))
