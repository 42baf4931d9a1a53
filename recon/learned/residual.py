"""The residual a state reports where the scheme itself has no use for it."""

from __future__ import annotations

import torch
from torch import Tensor

from rayfold.recon.arrays import size
from rayfold.recon.problem import Problem


def residual_of(problem: Problem, x: Tensor) -> Tensor:
    """Norm of the weighted residual of an image, one per problem, outside any graph.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> residual_of(Problem(Identity((2,)), torch.tensor([3.0, 4.0])), torch.zeros(2))
    tensor(5.)
    """
    with torch.no_grad():
        norm: Tensor = size(problem, problem.y - problem.A(x))
    return norm
