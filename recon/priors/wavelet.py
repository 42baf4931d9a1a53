"""Images with few large wavelet coefficients."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np

from rayfold.operators import LinearOperator
from rayfold.operators.base import Composed
from rayfold.operators.calculus import Diagonal
from rayfold.operators.dispatch import namespace
from rayfold.operators.wavelet import Wavelet
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Analysis
from rayfold.recon.priors.sparsity import clipped

Array = Any


@lru_cache(maxsize=64)
def _transform(
    shape: tuple[int, ...], wavelet: str, levels: int | None, approximation: bool
) -> LinearOperator:
    W = Wavelet(shape, wavelet, levels)
    if approximation:
        return W
    details = np.ones(W.out_shape)
    details[W.approximation] = 0
    return Composed.of(Diagonal(W.out_shape, details), W)


@dataclass(frozen=True)
class WaveletL1(Analysis):
    """``strength * sum |W x|`` with an orthonormal wavelet transform W.

    Parameters
    ----------
    strength : float
        Weight, in units of the data term over those of the image.
    wavelet : str
        An orthonormal family: "haar", "db4", "sym4", ...
    levels : int, optional
        Depth of the transform; by default as far as the filter fits.
    approximation : bool
        Whether the coarsest approximation is penalised too; by default the mean of an image is free.
    ndim : int
        Trailing axes that are one image.
    iterations : int
        Steps of `prox` for images whose axes are no multiple of ``2^levels``; for others it is a soft
        threshold, in closed form.

    References
    ----------
    D. L. Donoho, IEEE Trans. Inf. Theory 41 (1995) 613.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 0.2, 1.0, 1.0]])
    >>> WaveletL1(0.2, "haar", levels=1).prox(x, 1.0).round(2)
    array([[0.05, 0.05, 1.  , 1.  ],
           [0.05, 0.05, 1.  , 1.  ]])
    """

    strength: float
    wavelet: str = "db4"
    levels: int | None = None
    approximation: bool = False
    ndim: int = 2
    iterations: int = field(default=60, kw_only=True)

    def __post_init__(self) -> None:
        positive(strength=self.strength, iterations=self.iterations)

    def operator(self, shape: tuple[int, ...]) -> LinearOperator:
        return _transform(shape, self.wavelet, self.levels, self.approximation)

    def value(self, x: Array) -> Array:
        return self.strength * namespace(x).sum(abs(self.of(x)(x)), axis=tuple(range(-self.ndim, 0)))

    def dual_prox(self, z: Array, step: Array | float) -> Array:
        return clipped(z, self.strength)

    def prox(self, x: Array, step: Array | float) -> Array:
        if not (self._orthogonal(x) and self._uniform(step)):
            return super().prox_from(x, step, super().warm(x))[0]
        K = self.of(x)  # K K.H is a projection: what the threshold takes away is known at once
        return x - K.H(clipped(K(x), step * self.strength))

    def warm(self, x: Array) -> tuple[Array, ...]:
        return () if self._orthogonal(x) else super().warm(x)

    def prox_from(
        self, x: Array, step: Array | float, warm: tuple[Array, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        return super().prox_from(x, step, warm) if warm else (self.prox(x, step), warm)

    def squared_norm(self, x: Array) -> float:
        """1: the transform is an isometry."""
        return 1.0

    def _orthogonal(self, x: Array) -> bool:
        """Whether the image needs no padding, which makes the transform invertible from both sides."""
        K = self.of(x)
        return K.in_shape == K.out_shape

    def _uniform(self, step: Array | float) -> bool:
        """Whether a step is the same for every pixel of an image."""
        return isinstance(step, int | float) or all(n == 1 for n in step.shape[-self.ndim :])
