"""Quadratic penalties: small images, or small gradients."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np

from rayfold.operators import Identity, LinearOperator
from rayfold.operators.differences import Gradient
from rayfold.operators.dispatch import match, namespace
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Analysis

Array = Any


@lru_cache(maxsize=64)
def _gradient(shape: tuple[int, ...], spacing: float | tuple[float, ...]) -> Gradient:
    return Gradient(shape, spacing)


@dataclass(frozen=True)
class Tikhonov(Analysis):
    """``strength / 2 * |x|^2``, or the same of the gradient of x.

    Parameters
    ----------
    strength : float
        Weight, in units of the data term over those of the squared image (or gradient).
    of_what : {"image", "gradient"}
        What is to be small.
    ndim : int
        Trailing axes that are one image.
    spacing : float or tuple of float
        Pixel size along each axis, for the gradient.
    iterations : int
        Steps of `prox` for the gradient when the step differs from pixel to pixel; otherwise it is exact.

    References
    ----------
    A. N. Tikhonov, Soviet Math. Dokl. 4 (1963) 1035; G. Strang, SIAM Review 41 (1999) 135, for the cosine
    transform, which diagonalises differences.

    Examples
    --------
    >>> import numpy as np
    >>> Tikhonov(1.0).prox(np.array([[2.0, 4.0]]), 1.0)
    array([[1., 2.]])
    >>> Tikhonov(1.0, "gradient").prox(np.array([[0.0, 3.0]]), 1.0)
    array([[1., 2.]])
    """

    strength: float
    of_what: Literal["image", "gradient"] = "image"
    ndim: int = 2
    spacing: float | tuple[float, ...] = 1.0
    iterations: int = field(default=60, kw_only=True)
    smooth: ClassVar[bool] = True

    def __post_init__(self) -> None:
        positive(strength=self.strength, iterations=self.iterations)
        if self.of_what not in ("image", "gradient"):
            raise ValueError(f"of_what is {self.of_what!r}; it must be 'image' or 'gradient'")

    def operator(self, shape: tuple[int, ...]) -> LinearOperator:
        return Identity(shape) if self.of_what == "image" else _gradient(shape, self.spacing)

    def analyse(self, x: Array, w: Array | None) -> Array:
        return 1 * x if self.of_what == "image" else super().analyse(x, w)

    def squared_norm(self, x: Array) -> float:
        return 1.0 if self.of_what == "image" else super().squared_norm(x)

    def value(self, x: Array) -> Array:
        z = self.of(x)(x)
        axes = tuple(range((x.ndim - self.ndim) - z.ndim, 0))
        return self.strength / 2 * namespace(x).sum(abs(z) ** 2, axis=axes)

    def gradient(self, x: Array) -> Array:
        return self.strength * self.of(x).gram(x)

    def curvature(self, x: Array) -> Array | float:
        """``strength`` times the squared norm of the operator: holds everywhere."""
        return self.strength * self.squared_norm(x)

    def dual_prox(self, z: Array, step: Array | float) -> Array:
        return z / (1 + step / self.strength)

    def prox(self, x: Array, step: Array | float) -> Array:
        if self.of_what == "image":
            return x / (1 + step * self.strength)
        if not isinstance(step, int | float) and any(n > 1 for n in step.shape[-self.ndim :]):
            return self.prox_from(x, step, super().warm(x))[0]
        return self._by_cosines(x, step)

    def warm(self, x: Array) -> tuple[Array, ...]:
        return ()

    def prox_from(
        self, x: Array, step: Array | float, warm: tuple[Array, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        return super().prox_from(x, step, warm) if warm else (self.prox(x, step), warm)

    def _by_cosines(self, x: Array, step: Array | float) -> Array:
        """``(1 + step strength G.H G)^-1 x``: the mirrored image is periodic, and Fourier diagonalises it."""
        xp = namespace(x)
        shape = tuple(x.shape[x.ndim - self.ndim :])
        axes = tuple(range(-self.ndim, 0))
        mirrored = x
        for axis in axes:
            mirrored = xp.concat([mirrored, xp.flip(mirrored, axis=axis)], axis=axis)
        if "complex" not in str(x.dtype):
            mirrored = xp.astype(mirrored, xp.complex64 if "32" in str(x.dtype) else xp.complex128)
        spectrum = xp.fft.fftn(mirrored, axes=axes)
        eigenvalues = match(_eigenvalues(shape, _gradient(shape, self.spacing).scales), _real(x))
        spectrum = spectrum / (1 + step * self.strength * eigenvalues)
        z = xp.fft.ifftn(spectrum, axes=axes)[(..., *(slice(0, n) for n in shape))]
        return z if "complex" in str(x.dtype) else xp.real(z)


def _real(x: Array) -> Array:
    return namespace(x).real(x) if "complex" in str(x.dtype) else x


@lru_cache(maxsize=16)
def _eigenvalues(shape: tuple[int, ...], scales: tuple[float, ...]) -> Any:
    """Of G.H G on mirrored images, by frequency."""
    total = np.zeros((1,) * len(shape))
    for axis, (n, scale) in enumerate(zip(shape, scales, strict=True)):
        wave = (2 * scale * np.sin(math.pi * np.arange(2 * n) / (2 * n))) ** 2
        total = total + wave.reshape([2 * n if k == axis else 1 for k in range(len(shape))])
    return total
