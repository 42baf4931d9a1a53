"""Series of images that are mixtures of a few: the nuclear norm."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rayfold.operators.dispatch import namespace
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Prior

Array = Any


@dataclass(frozen=True)
class LowRank(Prior):
    """``strength`` times the sum of singular values of a series of images, one image a row.

    Frames, echoes or energies that are few mixtures of the same images make a matrix of low rank.

    Parameters
    ----------
    strength : float
        Weight, in units of the data term over those of the image.
    ndim : int
        Trailing axes that are one series: 3 for frames of two axes.
    axis : int
        Which of them counts the frames, from the end; the first one by default.

    References
    ----------
    J.-F. Cai, E. J. Candes, Z. Shen, SIAM J. Optim. 20 (2010) 1956; Z.-P. Liang, IEEE ISBI (2007) 988.

    Examples
    --------
    >>> import numpy as np
    >>> series = np.array([3.0, 4.0])[:, None, None] * np.ones((2, 1, 1))
    >>> LowRank(1.0).prox(series, 1.0).ravel().round(3)
    array([2.4, 3.2])
    """

    strength: float
    ndim: int = 3
    axis: int | None = None

    def __post_init__(self) -> None:
        positive(strength=self.strength)
        if self.ndim < 2:
            raise ValueError(f"ndim is {self.ndim}; a series has 2 or more axes")
        if self.axis is not None and not -self.ndim <= self.axis <= -1:
            raise ValueError(f"axis is {self.axis}; count it from the end, -{self.ndim} to -1")

    def value(self, x: Array) -> Array:
        xp = namespace(x)
        return self.strength * xp.sum(xp.linalg.svd(self._matrix(x)[0], full_matrices=False)[1], axis=-1)

    def prox(self, x: Array, step: Array | float) -> Array:
        xp = namespace(x)
        if not isinstance(step, int | float):
            if any(n > 1 for n in step.shape[-self.ndim :]):
                raise ValueError("LowRank needs one step for all pixels of a series, got one per pixel")
            step = xp.reshape(step, (*step.shape[: -self.ndim], 1))
        matrix, moved = self._matrix(x)
        left, sizes, right = xp.linalg.svd(matrix, full_matrices=False)
        threshold = step * self.strength
        sizes = xp.clip(sizes - threshold, 0.0, None)
        low = (left * sizes[..., None, :]) @ right
        return xp.moveaxis(xp.reshape(low, moved), -self.ndim, self._axis)

    @property
    def _axis(self) -> int:
        return -self.ndim if self.axis is None else self.axis

    def _matrix(self, x: Array) -> tuple[Array, tuple[int, ...]]:
        """Frames as rows, and the shape with the frames in front."""
        if len(x.shape) < self.ndim:
            raise ValueError(f"LowRank needs a series of {self.ndim} axes, got shape {tuple(x.shape)}")
        xp = namespace(x)
        moved = xp.moveaxis(x, self._axis, -self.ndim)
        shape = tuple(moved.shape)
        lead = len(shape) - self.ndim
        return xp.reshape(moved, (*shape[:lead], shape[lead], math.prod(shape[lead + 1 :]))), shape
