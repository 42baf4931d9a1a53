"""Where training samples come from: simulated from images, or recorded. All is drawn from the generator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rayfold.operators import LinearOperator
from rayfold.operators.noise import Noise
from rayfold.recon.checks import positive
from rayfold.recon.problem import Problem
from rayfold.recon.train.sample import Sample, seed_of

if TYPE_CHECKING:
    import torch

Array = Any


@dataclass(frozen=True, eq=False)
class Simulated:
    """Data of an operator and a noise model for images that are known.

    Parameters
    ----------
    A : LinearOperator
        What reconstructs.
    images : Tensor, (n, *A.in_shape), or callable
        A pool to draw from, or ``images(generator, batch) -> (batch, *shape)`` that makes new ones.
    noise : Noise, optional
        None for exact data.
    batch : int
        Images per sample.
    simulate : LinearOperator, optional
        What makes the data, for example the same rays on a finer grid, against the inverse crime; `A` by
        default. Its input must be the images.

    Examples
    --------
    >>> import torch
    >>> from rayfold.operators import Identity
    >>> from rayfold.operators.noise import Gaussian
    >>> task = Simulated(Identity((4,)), torch.eye(4), Gaussian(0.1), batch=2)
    >>> sample = task(torch.Generator().manual_seed(0))
    >>> sample.problem.y.shape, float(sample.truth.sum())
    (torch.Size([2, 4]), 2.0)
    """

    A: LinearOperator
    images: Array | Callable[[torch.Generator, int], Array]
    noise: Noise | None = None
    batch: int = 8
    simulate: LinearOperator | None = None

    def __post_init__(self) -> None:
        positive(batch=self.batch)

    def __call__(self, generator: torch.Generator) -> Sample:
        x = self.images(generator, self.batch) if callable(self.images) else self._drawn(generator)
        y = (self.simulate or self.A)(x)
        if self.noise is not None:
            y = self.noise.sample(y, seed_of(generator))
        return Sample(Problem(self.A, y, self.noise), x)

    def _drawn(self, generator: torch.Generator) -> Array:
        return self.images[_picked(len(self.images), self.batch, generator)]  # type: ignore[index, arg-type]


@dataclass(frozen=True, eq=False)
class Recorded:
    """Measured data, with true images or without.

    Parameters
    ----------
    A : LinearOperator
        Of all of them.
    y : Tensor, (n, *A.out_shape)
        Data.
    truth : Tensor, (n, *A.in_shape), optional
        True images; without, use a loss that needs none.
    noise : Noise, optional
        Of one scan, or broadcasting against it.
    batch : int
        Scans per sample.

    Raises
    ------
    ValueError
        If there are not as many images as scans.

    Examples
    --------
    >>> import torch
    >>> from rayfold.operators import Identity
    >>> Recorded(Identity((4,)), torch.eye(4), batch=3)(torch.Generator()).problem.y.shape
    torch.Size([3, 4])
    """

    A: LinearOperator
    y: Array
    truth: Array | None = None
    noise: Noise | None = None
    batch: int = 8

    def __post_init__(self) -> None:
        positive(batch=self.batch)
        if self.truth is not None and len(self.truth) != len(self.y):
            raise ValueError(f"there are {len(self.truth)} images for {len(self.y)} scans; give one for each")

    def __call__(self, generator: torch.Generator) -> Sample:
        k = _picked(len(self.y), self.batch, generator)
        return Sample(Problem(self.A, self.y[k], self.noise), None if self.truth is None else self.truth[k])


def _picked(n: int, batch: int, generator: torch.Generator) -> Array:
    """`batch` of n positions, none twice while there are enough."""
    import torch

    if batch <= n:
        return torch.randperm(n, generator=generator)[:batch]
    return torch.randint(n, (batch,), generator=generator)
