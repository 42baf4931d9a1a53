"""Parabolas above a negative log-likelihood."""

from __future__ import annotations

from typing import Any

from rayfold.operators.dispatch import namespace
from rayfold.operators.noise import PoissonTransmission

Array = Any
SERIES = 0.03  # the closed form loses more to rounding below than the expansion leaves out


def optimal_curvature(noise: PoissonTransmission, p: Array, y: Array) -> Array:
    """Smallest curvature of a parabola that touches the negative log-likelihood at `p` and lies above it.

    Above it for line integrals of 0 or more, that is: ``2 / p^2`` times the integral from 0 to p of q h''(q).

    References
    ----------
    H. Erdogan and J. A. Fessler, IEEE Trans. Med. Imaging 18 (1999) 801, equation 26.
    """
    xp = namespace(p)
    photons, shift = noise.photons, noise.electronic**2
    p = xp.clip(p, 0.0, None)
    near = p < SERIES
    far = xp.where(near, xp.ones_like(p), p)
    decay = xp.exp(-far)
    bend = photons * (-xp.expm1(-far) - far * decay)
    counts = photons * xp.exp(-y) + shift
    mean = photons * decay + shift
    bend = bend - counts * (xp.log((photons + shift) / mean) - far * (photons * decay / mean))
    bend = 2 * bend / (far * far)
    # h'' at the centre of gravity of the weights q
    decay = photons * xp.exp(-p * (2 / 3))
    mean = decay + shift
    at = decay - counts * shift * decay / (mean * mean)
    return xp.clip(xp.where(near, at, bend), 0.0, None)
