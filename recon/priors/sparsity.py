"""Sparse images: the sum of absolute values, and the thresholds behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rayfold.operators.dispatch import namespace
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Prior

Array = Any


def clipped(z: Array, radius: Any) -> Array:
    """Numbers, real or complex, of modulus above `radius` shortened to it; a new array."""
    xp = namespace(z)
    if "complex" not in str(z.dtype):
        if isinstance(radius, int | float):
            return xp.clip(z, -radius, radius)
        return xp.minimum(xp.maximum(z, -radius), radius)
    size = abs(z)
    over = size > radius
    return z * xp.where(over, radius / xp.where(over, size, xp.ones_like(size)), xp.ones_like(size))


def shrunk(z: Array, radius: Any) -> Array:
    """Soft threshold: every number, real or complex, moved towards 0 by `radius`, at most up to 0."""
    return z - clipped(z, radius)


@dataclass(frozen=True)
class L1(Prior):
    """``strength * sum |x|``: an image that is 0 in most places.

    Parameters
    ----------
    strength : float
        Weight, in units of the data term over those of the image.
    ndim : int
        Trailing axes that are one image.

    References
    ----------
    R. Tibshirani, J. R. Stat. Soc. B 58 (1996) 267.

    Examples
    --------
    >>> import numpy as np
    >>> L1(0.5).prox(np.array([2.0, -0.3]), 1.0)
    array([1.5, 0. ])
    """

    strength: float
    ndim: int = 2
    simple: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(strength=self.strength)

    def value(self, x: Array) -> Array:
        return self.strength * namespace(x).sum(abs(x), axis=tuple(range(-min(self.ndim, x.ndim), 0)))

    def prox(self, x: Array, step: Array | float) -> Array:
        return shrunk(x, step * self.strength)
