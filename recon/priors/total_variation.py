"""Total variation: the length of the gradient, summed over the image; its Huber form is smooth."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar

from rayfold.operators import LinearOperator
from rayfold.operators.differences import Gradient
from rayfold.operators.dispatch import library, namespace
from rayfold.recon.checks import positive
from rayfold.recon.priors import fused
from rayfold.recon.priors.prior import Analysis, scaled

Array = Any


@lru_cache(maxsize=64)
def _gradient(shape: tuple[int, ...], spacing: float | tuple[float, ...]) -> Gradient:
    return Gradient(shape, spacing)


def _scales(gradient: LinearOperator) -> tuple[float, ...]:
    assert isinstance(gradient, Gradient)
    return gradient.scales


def lengths(z: Array, n: int) -> Array:
    """Euclidean length over the axis in front of the last `n`: of a gradient, per pixel; the axis stays."""
    xp = namespace(z)
    parts = [z[(..., slice(k, k + 1), *(slice(None),) * n)] for k in range(z.shape[z.ndim - n - 1])]
    if "complex" in str(z.dtype):
        parts = [part for z in parts for part in (xp.real(z), xp.imag(z))]
    total = parts[0] * parts[0]
    for part in parts[1:]:
        total += part * part
    if library(type(z)) in ("numpy", "cupy"):
        return xp.sqrt(total)
    some = total > 0  # so that the derivative of the root at 0 is 0
    return xp.where(some, xp.sqrt(xp.where(some, total, xp.ones_like(total))), xp.zeros_like(total))


def onto_ball(z: Array, radius: Any, n: int) -> Array:
    """Gradients of length above `radius` shortened to it; writes into `z` where it may."""
    return scaled(z, radius / namespace(z).clip(lengths(z, n), radius, None))


@dataclass(frozen=True)
class TV(Analysis):
    """Isotropic total variation ``strength * sum |gradient of x|``.

    Parameters
    ----------
    strength : float
        Weight, in units of the data term over those of the image.
    ndim : int
        Trailing axes that are one image: 2 (slices on their own) or 3.
    spacing : float or tuple of float
        Pixel size along each axis; only ratios matter beside `strength`.
    iterations : int
        Steps of `prox`, which has no closed form; solvers start each where the last one ended.

    References
    ----------
    L. Rudin, S. Osher, E. Fatemi, Physica D 60 (1992) 259; A. Beck and M. Teboulle, IEEE Trans. Image
    Process. 18 (2009) 2419, for the proximal operator.

    Examples
    --------
    >>> import numpy as np
    >>> float(TV(2.0).value(np.array([[0.0, 1.0], [0.0, 1.0]])))
    4.0
    """

    strength: float
    ndim: int = 2
    spacing: float | tuple[float, ...] = 1.0
    iterations: int = field(default=60, kw_only=True)

    def __post_init__(self) -> None:
        positive(strength=self.strength, iterations=self.iterations)

    def operator(self, shape: tuple[int, ...]) -> Gradient:
        return _gradient(shape, self.spacing)

    def value(self, x: Array) -> Array:
        total = namespace(x).sum(lengths(self.of(x)(x), self.ndim), axis=tuple(range(-self.ndim - 1, 0)))
        return self.strength * total

    def dual_prox(self, z: Array, step: Array | float) -> Array:
        return onto_ball(z, self.strength, self.ndim)

    def pull(self, z: Array, x: Array, force: Array) -> tuple[Array, Array | None]:
        found = fused.pull(z, force, _scales(self.of(x))) if z.ndim == force.ndim + 1 else None
        return super().pull(z, x, force) if found is None else (found, None)

    def ascend(self, z: Array, x: Array, w: Array | None, rate: Array, relaxation: Array | float) -> Array:
        found = fused.ascend(z, x, rate, relaxation, self.strength, 1.0, _scales(self.of(x)))
        return super().ascend(z, x, w, rate, relaxation) if found is None else found


@dataclass(frozen=True)
class HuberTV(Analysis):
    """Total variation rounded off at small gradients: ``strength * sum h(|gradient of x|)``.

    ``h(t) = t^2 / (2 corner)`` up to `corner` and ``t - corner / 2`` beyond: noise below the corner is
    smoothed like a quadratic penalty would, edges above it are kept as by total variation.

    Parameters
    ----------
    strength : float
        Weight, in units of the data term over those of the image.
    corner : float
        Gradient, in units of the image over those of `spacing`, where the penalty turns linear.
    ndim, spacing, iterations
        As for `TV`.

    References
    ----------
    P. J. Huber, Ann. Math. Statist. 35 (1964) 73.

    Examples
    --------
    >>> import numpy as np
    >>> float(HuberTV(1.0, 0.5).value(np.array([[0.0, 1.0]])))
    0.75
    """

    strength: float
    corner: float
    ndim: int = 2
    spacing: float | tuple[float, ...] = 1.0
    iterations: int = field(default=60, kw_only=True)
    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(strength=self.strength, corner=self.corner, iterations=self.iterations)

    def operator(self, shape: tuple[int, ...]) -> Gradient:
        return _gradient(shape, self.spacing)

    def value(self, x: Array) -> Array:
        xp = namespace(x)
        length = lengths(self.of(x)(x), self.ndim)
        small = xp.clip(length, None, self.corner)
        terms = small * small / (2 * self.corner) + (length - small)
        return self.strength * xp.sum(terms, axis=tuple(range(-self.ndim - 1, 0)))

    def gradient(self, x: Array) -> Array:
        K = self.of(x)
        z = K(x)
        factor = self.strength / namespace(x).clip(lengths(z, self.ndim), self.corner, None)
        return K.H(scaled(z, factor))

    def curvature(self, x: Array) -> Array | float:
        """``strength / corner`` times the squared norm of the gradient: holds everywhere."""
        return self.strength / self.corner * self.squared_norm(x)

    def dual_prox(self, z: Array, step: Array | float) -> Array:
        z /= 1 + step * self.corner / self.strength
        return onto_ball(z, self.strength, self.ndim)

    def pull(self, z: Array, x: Array, force: Array) -> tuple[Array, Array | None]:
        found = fused.pull(z, force, _scales(self.of(x))) if z.ndim == force.ndim + 1 else None
        return super().pull(z, x, force) if found is None else (found, None)

    def ascend(self, z: Array, x: Array, w: Array | None, rate: Array, relaxation: Array | float) -> Array:
        found = fused.ascend(
            z,
            x,
            rate,
            relaxation,
            self.strength,
            1 / (1 + rate * (self.corner / self.strength)),
            _scales(self.of(x)),
        )
        return super().ascend(z, x, w, rate, relaxation) if found is None else found
