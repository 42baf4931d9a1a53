"""Safe step sizes from the operator itself, so that nobody has to give one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rayfold.operators.dispatch import match, namespace
from rayfold.recon.arrays import along, expand, inner, ratio, root
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.normal import gram_of, normal

if TYPE_CHECKING:
    from rayfold.recon.priors.prior import Split

Array = Any
NEGLIGIBLE = 1e-5  # part of the largest: a pixel or ray with less is not really measured
MARGIN = 1.05  # power iteration comes from below, by a few per cent after 20 iterations


def majorant(problem: Problem) -> Array:
    """Diagonal ``D`` with ``D >= A.H W A`` as matrices: ``A.H W A 1``, or one number where that is no bound.

    For an operator without negative entries and weights per datum it costs one A and one A.H, and is the
    separable quadratic surrogate of Erdogan and Fessler; otherwise it is `lipschitz` times the identity.

    Returns
    -------
    array
        Broadcasts against the image; never below `NEGLIGIBLE` of its largest entry.

    References
    ----------
    H. Erdogan and J. A. Fessler, Phys. Med. Biol. 44 (1999) 2835.
    """
    if not separable(problem):
        return along(problem.A.in_shape, lipschitz(problem))
    xp, A = namespace(problem.y), problem.A
    d = A.H(problem.weigh(A(_ones(problem))))
    return xp.maximum(d, NEGLIGIBLE * along(A.in_shape, _largest(A.in_shape, d)))


def separable(problem: Problem) -> bool:
    """Whether ``A.H W A 1`` bounds ``A.H W A``."""
    return problem.A.nonnegative and getattr(problem.noise, "covariance", None) is None


def lipschitz(problem: Problem, *, power: int = 0) -> Array:
    """Upper bound of the largest eigenvalue of ``A.H W A``, one per problem.

    Parameters
    ----------
    problem : Problem
        Operator and noise.
    power : int
        Power iterations instead of the bound ``max(A.H W A 1)``; an operator with negative or complex entries
        always gets 20 of them, with 5 % added.
    """
    A = problem.A
    if separable(problem) and not power:
        return _largest(A.in_shape, A.H(problem.weigh(A(_ones(problem)))))
    return MARGIN * _power(problem, power or 20)


def stiffness(prior: Split, x: Array, top: Array) -> Array:
    """Size of a subgradient of g over that of ``K x``: how steep a prior is where the image is, per problem.

    Parameters
    ----------
    prior : Split
        ``R(x) = g(K x)``.
    x : array, (..., *A.in_shape)
        An image of the size of the solution, such as ``A.H W y`` over the curvature.
    top : array
        Largest curvature of the data term, one per problem.
    """
    Kx = prior.analyse(x, prior.auxiliary(x))
    shape = tuple(Kx.shape[len(top.shape) :])
    far = expand(1e3 * top / prior.squared_norm(x), len(shape))  # there the dual is a subgradient of g
    z = prior.dual_prox(far * Kx, far)
    return ratio(root(inner(shape, z, z)), root(inner(shape, Kx, Kx)))


def _ones(problem: Problem) -> Array:
    """An image of ones in the library and precision of the data."""
    ones = np.ones(problem.A.in_shape, np.float32)
    return match(ones, problem.y)


def _largest(shape: tuple[int, ...], d: Array) -> Array:
    return namespace(d).max(d, axis=tuple(range(-len(shape), 0)))


def _power(problem: Problem, n: int) -> Array:
    """Power iteration from a seeded start, in the library of the data."""
    A = problem.A
    like = A.H(problem.y)
    x = match(np.random.default_rng(0).standard_normal(tuple(like.shape)), like)
    value, gram = inner(A.in_shape, x, x), gram_of(problem)
    for _ in range(n):
        x = x * along(A.in_shape, ratio(namespace(value).ones_like(value), root(value)))
        x = normal(problem, gram, x)
        value = inner(A.in_shape, x, x)
    return root(value)
