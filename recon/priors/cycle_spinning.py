"""Penalties that do not care where their grid of blocks begins: the mean over shifts of the image."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

from rayfold.operators.dispatch import namespace
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Prior

Array = Any


@dataclass(frozen=True)
class CycleSpinning(Prior):
    """A prior averaged over shifts of the image, which removes the blocky artefacts of wavelets.

    An orthonormal wavelet transform sees an edge differently from pixel to pixel. This is the proximal
    average of the prior over the periodic shifts: a convex penalty of convex priors, close to the mean of
    their values, whose proximal operator is exactly the mean of their proximal operators.

    Parameters
    ----------
    prior : Prior
        Usually `WaveletL1`; it must have a proximal operator.
    shifts : int
        Shifts per axis, 0 to ``shifts - 1`` pixels; the cost grows with their product.
    ndim : int
        Trailing axes that are one image; those of `prior`.

    Raises
    ------
    ValueError
        If `shifts` or `ndim` is not positive.

    References
    ----------
    R. R. Coifman and D. L. Donoho, "Translation-invariant de-noising", Lecture Notes in Statistics 103 (1995)
    125; Y. Yu, "Better approximation and faster algorithm using the proximal average", NIPS 26 (2013) 458.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.recon.priors import WaveletL1
    >>> x = np.array([[0.0, 1.0, 1.0, 0.0]] * 2)
    >>> WaveletL1(1.0, "haar", levels=1).prox(x, 1.0)[0].round(2)
    array([0.5, 0.5, 0.5, 0.5])
    >>> CycleSpinning(WaveletL1(1.0, "haar", levels=1)).prox(x, 1.0)[0].round(2)
    array([0.25, 0.75, 0.75, 0.25])
    """

    prior: Prior
    shifts: int = 2
    ndim: int = 2

    def __post_init__(self) -> None:
        positive(shifts=self.shifts, ndim=self.ndim)

    def value(self, x: Array) -> Array:
        """Mean of the prior's values: a bound of the proximal average, and its limit for small steps."""
        return namespace(x).mean(self.prior.value(self._moved(x)), axis=0)

    def prox(self, x: Array, step: Array | float) -> Array:
        return self.prox_from(x, step, self.warm(x))[0]

    def warm(self, x: Array) -> tuple[Array, ...]:
        return self.prior.warm(self._moved(x))

    def prox_from(
        self, x: Array, step: Array | float, warm: tuple[Array, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        if any(n > 1 for n in getattr(step, "shape", ())[-self.ndim :]):
            step = self._moved(step + 0 * abs(x))  # one step per pixel moves with its pixel
        found, warm = self.prior.prox_from(self._moved(x), step, warm)
        xp, total = namespace(x), None
        for i, shift in enumerate(self._all()):
            back = xp.roll(found[i, ...], tuple(-s for s in shift), axis=self._axes())
            total = back if total is None else total + back
        return total / self.shifts**self.ndim, warm

    def _all(self) -> list[tuple[int, ...]]:
        return list(product(range(self.shifts), repeat=self.ndim))

    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-self.ndim, 0))

    def _moved(self, x: Array) -> Array:
        """All shifts of an image along a new first axis."""
        xp = namespace(x)
        if len(x.shape) < self.ndim:
            raise ValueError(f"CycleSpinning needs images of {self.ndim} axes, got shape {tuple(x.shape)}")
        return xp.stack([xp.roll(x, shift, axis=self._axes()) for shift in self._all()])
