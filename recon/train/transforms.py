"""Motions of images for losses and augmentation, drawn at random."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Array = Any


@dataclass(frozen=True)
class Transform:
    """A random motion of images ``(..., ny, nx)``, the same for the whole batch.

    Quarter turns, flips and shifts only move pixels about. A rotation interpolates linearly and brings zeros
    in from outside.

    Parameters
    ----------
    turns : bool
        Quarter turns; half turns only where the image is not square.
    flips : bool
        Mirror images.
    shifts : int
        Largest shift along each axis in pixels, around the border.
    rotation : float
        Largest angle in rad.

    Raises
    ------
    ValueError
        If `shifts` or `rotation` is negative.

    Examples
    --------
    >>> import torch
    >>> x = torch.arange(6.0).reshape(2, 3)
    >>> moved = Transform(shifts=1)(x, torch.Generator().manual_seed(0))
    >>> sorted(moved.ravel().tolist()) == x.ravel().tolist()
    True
    """

    turns: bool = True
    flips: bool = True
    shifts: int = 0
    rotation: float = 0.0

    def __post_init__(self) -> None:
        if self.shifts < 0 or self.rotation < 0:
            raise ValueError(f"shifts is {self.shifts}, rotation {self.rotation}; both must be 0 or more")

    def __call__(self, x: Array, generator: torch.Generator) -> Array:
        import torch

        def draw(n: int) -> int:
            return int(torch.randint(n, (), generator=generator))

        if self.turns:
            square = x.shape[-2] == x.shape[-1]
            x = torch.rot90(x, draw(4) if square else 2 * draw(2), dims=(-2, -1))
        if self.flips and draw(2):
            x = x.flip(-1)
        if self.shifts:
            by = [draw(2 * self.shifts + 1) - self.shifts for _ in range(2)]
            x = torch.roll(x, by, dims=(-2, -1))
        if self.rotation:
            share = float(torch.rand((), generator=generator))
            x = rotated(x, (2 * share - 1) * self.rotation)
        return x


def rotated(x: Array, angle: float) -> Array:
    """Images turned by `angle` (rad) about their middle, from the x axis towards the y axis.

    Examples
    --------
    >>> import torch
    >>> rotated(torch.tensor([[1.0, 2.0], [4.0, 3.0]]), math.pi / 2).round().tolist()
    [[4.0, 1.0], [3.0, 2.0]]
    """
    import torch

    if x.is_complex():
        return torch.complex(rotated(x.real, angle), rotated(x.imag, angle))
    ny, nx = x.shape[-2:]
    c, s = math.cos(angle), math.sin(angle)
    # where each pixel of the result comes from, in units of half the image
    matrix = torch.tensor([[c, s * ny / nx, 0.0], [-s * nx / ny, c, 0.0]], dtype=x.dtype, device=x.device)
    flat = x.reshape(-1, 1, ny, nx)
    grid = torch.nn.functional.affine_grid(
        matrix.expand(len(flat), 2, 3), list(flat.shape), align_corners=False
    )
    return torch.nn.functional.grid_sample(flat, grid, align_corners=False).reshape(x.shape)
