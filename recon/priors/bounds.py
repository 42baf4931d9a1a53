"""Bounds of pixel values as priors: infinite outside, nothing inside."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from rayfold.operators.dispatch import match, namespace
from rayfold.recon.priors.prior import Prior

Array = Any


@dataclass(frozen=True, eq=False)
class Box(Prior):
    """Values between two bounds, and 0 outside a support.

    Parameters
    ----------
    lower, upper : float or array, optional
        Bounds, arrays broadcast against the image; either may be left out.
    support : array of bool, optional
        Where the image may differ from 0, broadcast against it.
    ndim : int
        Trailing axes that are one image.

    Examples
    --------
    >>> import numpy as np
    >>> Box(0.0, 1.0).prox(np.array([-1.0, 0.5, 3.0]), 1.0)
    array([0. , 0.5, 1. ])
    """

    lower: float | Array | None = None
    upper: float | Array | None = None
    support: Array | None = None
    ndim: int = 2
    simple: ClassVar[bool] = True

    def __post_init__(self) -> None:
        low, high = self.lower, self.upper
        if isinstance(low, float | int) and isinstance(high, float | int) and not low <= high:
            raise ValueError(f"lower is {low} and upper {high}; lower must not exceed upper")

    def value(self, x: Array) -> Array:
        """0 inside, infinite outside."""
        xp = namespace(x)
        axes = tuple(range(-min(self.ndim, x.ndim), 0))
        wrong = xp.max(abs(x - self.prox(x, 0.0)), axis=axes) > 0
        return xp.where(wrong, xp.full_like(xp.real(xp.max(abs(x), axis=axes)), math.inf), 0.0)

    def prox(self, x: Array, step: Array | float) -> Array:
        if "complex" in str(x.dtype):
            raise ValueError("bounds need a real image; a complex one has no order")
        if self.lower is not None or self.upper is not None:
            low, high = (match(b, x) if hasattr(b, "dtype") else b for b in (self.lower, self.upper))
            x = namespace(x).clip(x, low, high)
        if self.support is None:
            return x
        mask = self.support
        return x * match(mask.astype("float32") if hasattr(mask, "astype") else mask, x)


@dataclass(frozen=True, eq=False)
class NonNegative(Box):
    """Values of 0 or more: attenuation, activity, magnitude.

    Examples
    --------
    >>> import numpy as np
    >>> NonNegative().prox(np.array([-1.0, 2.0]), 1.0)
    array([0., 2.])
    """

    lower: float | None = 0.0
