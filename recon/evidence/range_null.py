"""What the data see of an image at their noise, what they do not, and the way back to the data."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import match, namespace, to_numpy
from rayfold.recon.arrays import along, axpy, inner
from rayfold.recon.evidence.system import System
from rayfold.recon.problem import Problem

Array = Any
Floats = npt.NDArray[np.float64]
TOLERANCE = 1e-3  # error of a map, as a part of the image's norm, at which the solver stops


class Solved(NamedTuple):
    """Result of `solve`.

    Attributes
    ----------
    u : array
        ``H^-1 b``, in units of data over the image's scale.
    image : array
        ``A.H u``, over the image's scale.
    white, energy : ndarray
        Upper bounds of ``<r, V^-1 r>`` and ``<r, H^-1 r>`` of what is left of b, per problem.
    steps : int
        Operator pairs used.
    """

    u: Array
    image: Array
    white: Floats
    energy: Floats
    steps: int

    @property
    def error(self) -> Floats:
        """Upper bound of the norm of what `image` lacks.

        With g the eigenvalues of ``V^-1/2 A A.H V^-1/2``, ``g / (g + 1)^2 <= 1/4`` and ``g / (g + 1) <= 1``.
        """
        return np.asarray(np.sqrt(np.minimum(self.white / 4, self.energy)))

    @property
    def error_unseen(self) -> Floats:
        """The same of its unseen part: besides, ``g / (g + 1)^3 <= 4/27``."""
        return np.asarray(np.minimum(unseen_error(self.white), np.sqrt(4 / 27 * self.energy)))


def host(values: Array) -> Floats:
    """Numbers per problem, in double precision on the host."""
    return np.asarray(to_numpy(values), np.float64)


def image_scale(shape: tuple[int, ...], x: Array) -> Floats:
    """Root mean square of each image of shape `shape`, in its unit."""
    n = max(int(np.prod(shape)), 1)
    top = to_numpy(namespace(x).max(abs(x), axis=tuple(range(-len(shape), 0)))).astype(float)
    unit = np.where(top > 0, top, 1.0)  # squares of very small or large values leave float32
    reduced = x / along(shape, match(np.asarray(unit), x))
    return np.asarray(unit * np.sqrt(host(inner(shape, reduced, reduced)) / n))


def solve(system: System, b: Array, n: int, *, tolerance: float = TOLERANCE) -> Solved:
    """``u = H^-1 b / s`` by at most `n` steps of preconditioned conjugate gradients from zero.

    H lives among the data. As ``s^2 A.H (C + s^2 A A.H)^-1 = (A.H W A + s^-2)^-1 A.H W`` with W the inverse
    of the covariance C, an image follows with one more A.H, which the steps have computed already; and its
    part in the null space of A is exact after any number of steps. A lower bound of the eigenvalues makes
    Gauss-Radau quadrature bound what is missing strictly, rounding apart.

    Parameters
    ----------
    system : System
        H, for images of scale s.
    b : array, (..., *A.out_shape)
        Data.
    n : int
        Operator pairs at most.
    tolerance : float
        Stop when the error of the image is below this part of ``sqrt(pixels)``.

    References
    ----------
    M. R. Hestenes and E. Stiefel, J. Res. Nat. Bur. Stand. 49 (1952) 409, for the method;
    G. Meurant and P. Tichy, Numer. Algorithms 62 (2013) 163, for the bound.

    Examples
    --------
    >>> from rayfold.operators.calculus import Diagonal
    >>> problem = Problem(Diagonal((2,), np.array([0.0, 3.0])), np.ones(2))
    >>> solve(System(problem, np.array(1.0), np.zeros(3)), np.ones(2), 5).u.round(6)
    array([1. , 0.1])
    """
    A, on = system.problem.A, system.on

    def product(v: Array, w: Array) -> Floats:
        return host(inner(A.out_shape, v, w))

    enough = tolerance**2 * float(np.prod(A.in_shape))
    unit = on(system.unit)
    r = system.only(b / unit)
    p = h = system.precondition(r)
    u, image = namespace(r).zeros_like(r), None
    rho, left = product(r, h), white(system.problem, unit * r)
    least = system.least
    radau = 1 / least
    steps = 0
    while steps < n and bool((np.minimum(left / 4, radau * rho) > enough).any()):
        back = A.H(p)
        q = axpy(1.0, system.only(A(back)), system.spread(p))
        alpha = ratio(rho, product(p, q))
        u = axpy(on(alpha), p, u)
        step = along(A.in_shape, match(np.asarray(alpha), back)) * back
        image = step if image is None else axpy(1.0, step, image)
        r = axpy(on(-alpha), q, r)
        h = system.precondition(r)
        new = product(r, h)
        beta = ratio(new, rho)
        p = axpy(on(beta), p, h)
        gap = np.maximum(radau - alpha, 0.0)
        radau = ratio(gap, least * gap + beta)
        rho, left = new, white(system.problem, unit * r)
        steps += 1
    if image is None:
        image = namespace(r).zeros_like(A.H(r))
    return Solved(u, image, left, radau * rho, steps)


def locked(system: System, x: Array, n: int) -> Array:
    """``x + (A.H W A + eps)^-1 A.H W (y - A x)``, which is the unseen part of x plus what the data say.

    Parameters
    ----------
    system : System
        H, for images of scale ``eps^-1/2``.
    x : array, (..., *A.in_shape)
        Image.
    n : int
        Operator pairs at most, two or more.
    """
    A = system.problem.A
    change = solve(system, system.problem.y - A(x), n - 1).image
    scale = along(A.in_shape, match(np.asarray(system.scale), change))
    return axpy(scale, change, namespace(x).astype(x, change.dtype))


def white(problem: Problem, r: Array) -> Floats:
    """``<r, W r>`` of a residual, per problem."""
    w = problem.whiten(r)
    return host(inner(problem.A.out_shape, w, w))


def unseen_error(white: Floats) -> Floats:
    """Norm at most, over s, of the unseen part of what such data make: ``g / (g + 1)^4 <= 27/256``."""
    return np.asarray(np.sqrt(27 / 256 * white))


def ratio(a: Floats, b: Floats) -> Floats:
    """``a / b``, 0 where b is not positive: a solved problem stays where it is."""
    good = b > 0
    return np.asarray(np.where(good, a / np.where(good, b, 1.0), 0.0))
