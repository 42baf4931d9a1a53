"""Reasons to stop before the budget of steps is spent."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from rayfold.operators.dispatch import to_numpy
from rayfold.operators.noise import Gaussian, Noise
from rayfold.recon.checks import positive
from rayfold.recon.solvers.run import Status


@dataclass(frozen=True)
class Discrepancy:
    """Stop when the data are explained to within their noise (Morozov's principle).

    ``|A x - y|_W^2 <= factor^2 * (number of data)``; without a noise model one is estimated from the data.

    Parameters
    ----------
    factor : float
        1 for the principle itself; a little above guards against noise that is underestimated.

    References
    ----------
    V. A. Morozov, Soviet Math. Dokl. 7 (1966) 414.
    """

    factor: float = 1.0
    name: ClassVar[str] = "discrepancy"

    def __post_init__(self) -> None:
        positive(factor=self.factor)

    def reached(self, status: Status, noise: Callable[[], Noise]) -> bool:
        y = status.problem.y
        n = math.prod(y.shape) * (2 if "complex" in str(y.dtype) else 1)
        sigma = 1.0
        if status.problem.noise is None:  # the residual is then in units of the data
            found = noise()
            assert isinstance(found, Gaussian)
            sigma = float(to_numpy(found.sigma))
        return status.residual <= self.factor * sigma * math.sqrt(n)


@dataclass(frozen=True)
class RelativeChange:
    """Stop when a step changes the image by less than a part of it.

    Parameters
    ----------
    below : float
        Norm of the change over the norm of the image.
    """

    below: float = 1e-4
    name: ClassVar[str] = "change"

    def __post_init__(self) -> None:
        positive(below=self.below)

    def reached(self, status: Status, noise: Callable[[], Noise]) -> bool:
        return status.iteration > 1 and status.change < self.below
