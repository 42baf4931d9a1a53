"""What a training step sees, and how it draws at random."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from rayfold.recon.problem import Problem

if TYPE_CHECKING:
    import torch

Array = Any


class Sample(NamedTuple):
    """A problem, or a batch of them along leading axes, and the true image where one is known."""

    problem: Problem
    truth: Array | None = None


Model = Callable[[Problem], Any]
Task = Callable[["torch.Generator"], Sample]


def seed_of(generator: torch.Generator) -> int:
    """A seed for another source of random numbers."""
    import torch

    return int(torch.randint(2**31, (), generator=generator))


def noise_of(problem: Problem, generator: torch.Generator) -> Array:
    """A realisation of the problem's Gaussian noise, 0 where data say nothing."""
    import torch

    assert problem.noise is not None
    drawn = problem.noise.sample(torch.zeros_like(problem.y), seed_of(generator))
    return torch.where(drawn.isfinite(), drawn, torch.zeros_like(drawn))


def misfit(problem: Problem, r: Array, *, other: Array | None = None, where: Array | None = None) -> Array:
    """Weighted square of a residual per datum that counts: about 1 for noise alone, averaged over problems.

    Parameters
    ----------
    problem : Problem
        Its noise gives the weights.
    r : Tensor
        Residual.
    other : Tensor, optional
        For the weighted inner product of two residuals instead of the square.
    where : Tensor, optional
        Mask of the data to count, ones and zeros.
    """
    import torch

    counting = torch.ones_like(r) if where is None else where.expand_as(r)
    n = (problem.weigh(counting) != 0).sum() * (2 if r.is_complex() else 1)
    weighted = problem.weigh(r * counting)
    return ((r if other is None else other).conj() * weighted).real.sum() / n
