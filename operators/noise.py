"""Noise of measurements: how raw data scatter around what the physics predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any


@dataclass(frozen=True)
class PoissonTransmission:
    """Photon counting behind an object: ``counts ~ Poisson(photons * exp(-p)) + Normal(0, electronic)``.

    Parameters
    ----------
    photons : float
        Photons per detector pixel in the open beam.
    electronic : float
        Standard deviation of the electronic noise, in photons.

    Examples
    --------
    >>> PoissonTransmission(1e4).expected(np.log([2.0, 4.0])).round()
    array([5000., 2500.])
    """

    photons: float
    electronic: float = 0.0

    def __post_init__(self) -> None:
        if not (self.photons > 0 and np.isfinite(self.photons)):
            raise ValueError(f"photons is {self.photons}; it must be a positive number per detector pixel")
        if self.electronic < 0:
            raise ValueError(f"electronic is {self.electronic}; it must be 0 or more photons")

    def expected(self, p: Array) -> Array:
        """Mean counts behind line integrals `p` (no unit), of the same shape."""
        return self.photons * np.exp(-np.asarray(p))

    def sample(self, p: Array, seed: int) -> Array:
        """Counts behind line integrals `p`, float32 of the same shape, the same for the same seed."""
        rng = np.random.default_rng(seed)
        counts = np.asarray(rng.poisson(self.expected(p)), np.float64)
        if self.electronic:
            counts = counts + rng.normal(0, self.electronic, counts.shape)
        return counts.astype(np.float32)
