"""Filters over the frequencies of an image, without the false edges of a periodic continuation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from rayfold.operators import FFT, CoilSensitivities, KSpaceCrop, LinearOperator
from rayfold.operators.base import Bound, Composed

MARGIN = 0.25  # of a side, on which the mirrored image fades to 0


@dataclass(frozen=True)
class Frequencies:
    """The Fourier grid on which an operator's response is described.

    Images end where the volume ends, but back-projections do not: their periodic continuation has edges that
    a filter against the blur of a back-projection would blow up. Images are therefore continued by their
    mirror image, which fades to 0 (`spread`); after the filter the same is undone by the adjoint (`fold`), so
    that a positive gain stays a positive definite operator. Operators of Cartesian k-space are periodic
    themselves, and nothing is added.

    Parameters
    ----------
    shape : tuple of int
        Of the image.
    margin : tuple of int
        Pixels added at both ends of each axis.

    Examples
    --------
    >>> grid = Frequencies((8, 8), (2, 2))
    >>> grid.full
    (12, 12)
    >>> x = torch.rand(8, 8)
    >>> grid.spread(x)[2:-2, 2:-2].equal(x)
    True
    """

    shape: tuple[int, ...]
    margin: tuple[int, ...]

    @classmethod
    def of(cls, A: LinearOperator) -> Frequencies:
        """The grid for the images of an operator."""
        shape = A.in_shape
        return cls(shape, tuple(0 if periodic(A) else int(MARGIN * n) for n in shape))

    @property
    def full(self) -> tuple[int, ...]:
        """Size of the grid."""
        return tuple(n + 2 * m for n, m in zip(self.shape, self.margin, strict=True))

    @property
    def axes(self) -> tuple[int, ...]:
        """Of the image, counted from the end."""
        return tuple(range(-len(self.shape), 0))

    def spread(self, x: Tensor) -> Tensor:
        """The image with its faded mirror images around it."""
        return self._along(x, adjoint=False)

    def fold(self, x: Tensor) -> Tensor:
        """Adjoint of `spread`."""
        return self._along(x, adjoint=True)

    def filter(self, x: Tensor, gain: Tensor, *, cut: bool = False) -> Tensor:
        """An image times a gain ``(..., *full)`` per frequency; real images stay real.

        With `cut`, what lies beyond the image is cut off instead of folded back: a gain of 1 then changes
        nothing, but the filter is no longer its own adjoint.
        """
        wide = torch.fft.ifftn(torch.fft.fftn(self.spread(x), dim=self.axes) * gain, dim=self.axes)
        wide = wide if x.is_complex() else wide.real
        if not cut:
            return self.fold(wide)
        inside = tuple(slice(m, m + n) for m, n in zip(self.margin, self.shape, strict=True))
        part: Tensor = wide[(..., *inside)]
        return part

    def _along(self, x: Tensor, *, adjoint: bool) -> Tensor:
        for axis, n, m in zip(self.axes, self.shape, self.margin, strict=True):
            if m:
                matrix = _mirror(n, m).to(x)
                x = torch.movedim(torch.movedim(x, axis, -1) @ (matrix if adjoint else matrix.T), -1, axis)
        return x


@lru_cache(maxsize=16)
def _mirror(n: int, m: int) -> Tensor:
    """Matrix ``(n + 2m, n)`` that continues a line by its mirror image, faded to 0."""
    place = torch.arange(-m, n + m)
    inside = torch.where(place < 0, -place, torch.where(place >= n, 2 * (n - 1) - place, place))
    beyond = torch.maximum(-place, place - (n - 1)).clamp(min=0) / (m + 1)
    matrix = torch.zeros(n + 2 * m, n)
    matrix[torch.arange(n + 2 * m), inside.clamp(0, n - 1)] = torch.cos(torch.pi / 2 * beyond) ** 2
    return matrix


def first(A: LinearOperator, *kinds: type[LinearOperator]) -> Any:
    """The first operator of one of these kinds that an operator is or is made of, if there is any."""
    if isinstance(A, kinds):
        return A
    parts = (A.base,) if isinstance(A, Bound) else getattr(A, "parts", ())
    return next((found for part in parts if (found := first(part, *kinds)) is not None), None)


def contains(A: LinearOperator, *kinds: type[LinearOperator]) -> bool:
    """Whether an operator is, or is made of, one of these kinds."""
    return first(A, *kinds) is not None


def periodic(A: LinearOperator) -> bool:
    """Whether images leave on one side and come back on the other, as for a discrete Fourier transform."""
    return contains(A, FFT, KSpaceCrop)


def n_coils(A: LinearOperator) -> int:
    """Coils that an operator ends in, 1 without any."""
    last = A.parts[-1] if isinstance(A, Composed) else A
    last = last.base if isinstance(last, Bound) else last
    return int(last.out_shape[0]) if isinstance(last, CoilSensitivities) else 1
