"""Magnitude images of MRI: recognised by their background, and the bias of the magnitude taken out.

The magnitude of a complex value A with Gaussian noise of standard deviation s in both parts follows Rice's
distribution. Its mean is ``s m(A / s)`` with ``m(a) = sqrt(pi/2) L(-a^2/2)``, L the Laguerre function of
order 1/2, its variance ``s^2 (2 + a^2 - m(a)^2)``; without signal it is Rayleigh's, of mean 1.253 s and
standard deviation 0.655 s.

References
----------
H. Gudbjartsson and S. Patz, Magn. Reson. Med. 34 (1995) 910; C. G. Koay and P. J. Basser, J. Magn. Reson.
179 (2006) 317, the mean inverted; S. Aja-Fernandez and G. Vegas-Sanchez-Ferrero, Statistical Analysis of
Noise in MRI, Springer 2016, noise from the background.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.recon.noise_level.regions import sampled

Array = npt.NDArray[Any]
RAYLEIGH = np.pi / 4  # squared mean over mean square
NEAR = 0.022  # of that ratio; half a normal distribution has 0.64, two coils 0.88
ROOM = 0.02  # least part of the image that is background


class Background(NamedTuple):
    """Noise in the air around the object: its standard deviation in each part, and where it was found."""

    sigma: float
    mask: Array


def rayleigh_background(x: Array, empty: Array) -> Background | None:
    """The air of a magnitude image, if there is some and it is Rayleigh distributed.

    Parameters
    ----------
    x : ndarray, (n, ny, nx)
        Slices.
    empty : ndarray, (n, ny, nx)
        Padding.

    Returns
    -------
    Background or None
        None for images that are no magnitude, have no air, or air that was zeroed or denoised.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> signal = np.zeros((1, 64, 64))
    >>> signal[:, 16:48, 16:48] = 100
    >>> noise = 5 * (rng.normal(size=signal.shape) + 1j * rng.normal(size=signal.shape))
    >>> found = rayleigh_background(abs(signal + noise), signal < 0)
    >>> bool(abs(found.sigma / 5 - 1) < 0.05)
    True
    """
    from scipy.ndimage import maximum_filter

    valid = x[~empty]
    if not valid.size or valid.min() < 0:
        return None
    windows = np.stack([sampled(s * s, ~e, 8, 4) for s, e in zip(x, empty, strict=True)])
    seen = windows[np.isfinite(windows)]
    if not seen.size:
        return None
    low = float(np.percentile(seen, 2))
    for _ in range(4):  # root mean square of 64 values of a Rayleigh distribution: 6 % standard deviation
        low = float(np.median(seen[seen <= 1.25 * low]))
    mask = np.zeros(x.shape, bool)
    for k, plane in enumerate(windows):
        corners = np.zeros(x.shape[1:], bool)
        rows, cols = np.nonzero(plane <= 1.2 * low)
        corners[4 * rows + 4, 4 * cols + 4] = True
        mask[k] = np.asarray(maximum_filter(corners, 7)) & ~empty[k]
    if mask.sum() < max(ROOM * mask.size, 200):
        return None
    values = x[mask]
    square = float((values**2).mean())
    if not square > 0 or abs(float(values.mean()) ** 2 / square - RAYLEIGH) > NEAR:
        return None
    return Background(float(np.sqrt(square / 2)), mask)


@lru_cache(maxsize=1)
def _table() -> tuple[Array, Array]:
    """Signal over noise, and the mean of the magnitude over noise."""
    from scipy.special import ive

    a = np.linspace(0, 12, 2401)
    h = a * a / 4
    mean = np.sqrt(np.pi / 2) * ((1 + 2 * h) * ive(0, h) + 2 * h * ive(1, h))
    return a, mean


def rician_mean(signal: Array, sigma: Array | float) -> Array:
    """Mean of the magnitude of `signal` in noise of standard deviation `sigma` in each part.

    Examples
    --------
    >>> rician_mean(np.array([0.0, 1000.0]), 1.0).round(4).tolist()
    [1.2533, 1000.0005]
    """
    a, mean = _table()
    ratio = np.abs(signal) / np.maximum(sigma, np.finfo(np.float64).tiny)
    # far out the mean is a + 1 / (2 a)
    inside = np.interp(ratio, a, mean)
    return np.asarray(np.where(ratio < a[-1], inside, ratio + 0.5 / np.maximum(ratio, 1)) * sigma)


def rician_bias(mean: Array, sigma: Array | float) -> Array:
    """What the mean of a magnitude exceeds the signal by; all of it where there is no signal.

    Examples
    --------
    >>> rician_bias(np.array([1.0, 1.2533, 100.0]), 1.0).round(3).tolist()
    [1.0, 1.253, 0.005]
    """
    a, table = _table()
    ratio = np.asarray(mean) / np.maximum(sigma, np.finfo(np.float64).tiny)
    signal = np.where(ratio < table[-1], np.interp(ratio, table, a), ratio - 0.5 / np.maximum(ratio, 1))
    return np.asarray((ratio - signal) * sigma)


def rician_spread(mean: Array, sigma: Array | float) -> Array:
    """Standard deviation of a magnitude of this mean: from 0.655 sigma without signal to sigma.

    Examples
    --------
    >>> rician_spread(np.array([1.2533, 100.0]), 1.0).round(3).tolist()
    [0.655, 1.0]
    """
    sigma = np.asarray(sigma, np.float64)
    signal = np.asarray(mean) - rician_bias(mean, sigma)
    expected = rician_mean(signal, sigma)
    variance = 2 * sigma**2 + signal**2 - expected**2
    return np.asarray(np.sqrt(np.clip(variance, (2 - np.pi / 2) * sigma**2, sigma**2)))
