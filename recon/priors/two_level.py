"""An image of two values: a concave penalty on everything between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from rayfold.operators.dispatch import namespace
from rayfold.recon.checks import nonnegative
from rayfold.recon.priors.prior import Prior

Array = Any


@dataclass(frozen=True, eq=False)
class TwoLevel(Prior):
    """``strength * sum (x - lower) (upper - x)`` within the bounds, infinite outside.

    The penalty is 0 at the two levels and greatest half way. It is concave: solvers of convex problems
    replace it by its tangent, which bounds it from above, at an image held fixed for a while (`around`);
    raised slowly from 0, it leads from the convex solution to one of two levels.

    Parameters
    ----------
    strength : float
        Weight, in units of the data term over the square of the image's; 0 leaves the bounds alone.
    lower, upper : float or array
        The two levels, broadcast against the image; equal where a pixel is known.
    at : array, optional
        Image whose tangent takes the place of the penalty in `prox`, by default none: the exact penalty.
    ndim : int
        Trailing axes that are one image.

    References
    ----------
    T. Schuele et al., Discrete Appl. Math. 151 (2005) 229, for the concave penalty in discrete tomography;
    P. D. Tao and L. T. H. An, Acta Math. Vietnam. 22 (1997) 289, for the tangents.

    Examples
    --------
    >>> import numpy as np
    >>> grey = np.array([[0.25, 0.75, 2.0]])
    >>> TwoLevel(0.5).prox(grey, 1.0)
    array([[0., 1., 1.]])
    >>> TwoLevel(0.1).around(grey).prox(grey, 1.0).round(3)
    array([[0.2, 0.8, 1. ]])
    """

    strength: float
    lower: float | Array = 0.0
    upper: float | Array = 1.0
    at: Array | None = None
    ndim: int = 2
    simple: ClassVar[bool] = True

    def __post_init__(self) -> None:
        nonnegative(strength=self.strength)
        low, high = self.lower, self.upper
        if isinstance(low, float | int) and isinstance(high, float | int) and not low <= high:
            raise ValueError(f"lower is {low} and upper {high}; lower must not exceed upper")

    def around(self, x: Array) -> Self:
        """The tangent of the penalty at `x` in place of it."""
        return replace(self, at=x)

    def value(self, x: Array) -> Array:
        """The penalty itself (never its tangent), one number per leading index."""
        xp = namespace(x)
        axes = tuple(range(-self.ndim, 0))
        total = self.strength * xp.sum((x - self.lower) * (self.upper - x), axis=axes)
        outside = xp.max(abs(x - xp.clip(x, self.lower, self.upper)), axis=axes) > 0
        return xp.where(outside, xp.full_like(total, math.inf), total)

    def prox(self, x: Array, step: Array | float) -> Array:
        if "complex" in str(x.dtype):
            raise ValueError("two levels need a real image; a complex one has no order")
        xp = namespace(x)
        rate = step * self.strength
        if self.at is not None:
            return xp.clip(x - rate * (self.lower + self.upper - 2 * self.at), self.lower, self.upper)
        # a parabola 1/2 (z - x)^2 + rate (z - lower) (upper - z): convex below rate 1/2, else an end is best
        middle = 0.5 * (self.lower + self.upper) + xp.zeros_like(x)
        far = x - middle
        curvature = 1 - 2 * rate + xp.zeros_like(x)
        convex = curvature > 0
        inside = middle + far / xp.where(convex, curvature, xp.ones_like(x))
        end = xp.where(far > 0, self.upper + xp.zeros_like(x), self.lower + xp.zeros_like(x))
        return xp.where(convex, xp.clip(inside, self.lower, self.upper), end)
