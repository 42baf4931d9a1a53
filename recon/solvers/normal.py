"""The normal operator ``A.H W A`` of a problem: one gram where the operator has a fast one, or A and A.H."""

from __future__ import annotations

from typing import Any

from rayfold.operators import LinearOperator
from rayfold.operators.base import Composed
from rayfold.operators.calculus import Diagonal
from rayfold.operators.dispatch import is_plain
from rayfold.operators.noise import Gaussian
from rayfold.recon.problem import Problem

Array = Any


def gram_of(problem: Problem) -> LinearOperator | None:
    """The gram that `normal` applies, or None where it applies A and A.H.

    It is ``A.gram`` for weights that are one number, and ``A.weighted_gram(W)`` for one weight per datum, the
    same for all problems of a batch and outside any graph or program, if the operator knows a faster way.
    """
    noise = problem.noise
    if noise is None:
        return problem.A.gram
    if not isinstance(noise, Gaussian) or noise.sigma is None:
        return None
    if _is_one_number(noise):
        return problem.A.gram
    n = len(problem.A.out_shape)
    weights = noise.weights(None)
    if any(m > 1 for m in weights.shape[: max(0, weights.ndim - n)]) or not is_plain(weights):
        return None
    gram = problem.A.weighted_gram(weights)
    parts = gram.parts if isinstance(gram, Composed) else (gram,)
    plain = any(isinstance(part, Diagonal) and part.weights is weights for part in parts)
    return None if plain else gram  # A, W and A.H one after the other: no gain, and W once more in memory


def normal(problem: Problem, gram: LinearOperator | None, x: Array) -> Array:
    """``A.H W A x``, through what `gram_of` gave."""
    A = problem.A
    if gram is None:
        return A.H(problem.weigh(A(x)))
    if isinstance(problem.noise, Gaussian) and not _is_one_number(problem.noise):
        return gram(x)
    return problem.weigh(gram(x))


def _is_one_number(noise: Gaussian) -> bool:
    return noise.sigma is not None and getattr(noise.sigma, "ndim", 0) == 0
