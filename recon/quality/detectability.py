"""How well a low-contrast signal can be detected: the channelised Hotelling observer."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from .regions import Floats, regions


class Detectability(NamedTuple):
    """Detectability index of a channelised Hotelling observer.

    Attributes
    ----------
    dprime : float
        Estimate whose square has no bias for Gaussian channel outputs; 0 where that square is negative.
    low, high : float
        Ends of the confidence interval, exact for Gaussian channel outputs.
    resubstituted : float
        The plain plug-in estimate, biased upwards: more so with more channels and fewer images.
    """

    dprime: float
    low: float
    high: float
    resubstituted: float

    @property
    def auc(self) -> float:
        """Area under the ROC curve, ``Phi(d' / sqrt(2))``."""
        return 0.5 * (1 + math.erf(self.dprime / 2))


def low_contrast_detectability(
    present: npt.ArrayLike, absent: npt.ArrayLike, channels: npt.ArrayLike, *, confidence: float = 0.95
) -> Detectability:
    """Detectability index d' of a known signal at a known place from images with and without it.

    Each image becomes a few numbers ``v = U^T g`` (one per channel); with the mean difference ``dv`` and the
    pooled covariance S, the plug-in estimate is ``d'^2 = dv^T S^-1 dv``. For n1 and n0 images, c channels
    and ``f = n1 + n0 - 2``, ``d'^2 (f - c + 1) n1 n0 / (f c (n1 + n0))`` follows a noncentral F distribution;
    this gives the correction ``d'^2 (f - c - 1) / f - c (1 / n1 + 1 / n0)`` and the interval. The index is at
    most that of the ideal observer, ``|s| / sigma`` in white noise, and equal to it when the channels span
    what the ideal observer looks at.

    Parameters
    ----------
    present, absent : array_like, (n, ny, nx)
        Independent regions with the signal in the middle, and without it.
    channels : array_like, (c, ny, nx)
        Linearly independent channels, such as those of `laguerre_gauss` or `gabor`.
    confidence : float
        Coverage of the interval.

    Returns
    -------
    Detectability

    Raises
    ------
    ValueError
        If shapes differ, there are fewer than c + 4 images, the channels depend on each other, or the images
        hold no noise.

    References
    ----------
    Barrett, Yao, Rolland, Myers, "Model observers for assessment of image quality", PNAS 90, 1993;
    Wunderlich, Noo, Gallas, Heilbrun, "Exact confidence intervals for channelized Hotelling observer
    performance in image quality studies", IEEE Trans. Medical Imaging 34(2), 2015.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> U = laguerre_gauss((32, 32), n=3, width=8.0)
    >>> signal = 2.0 * U[0]  # of norm 2 in noise of standard deviation 1: d' = 2
    >>> noise = rng.standard_normal((2, 400, 32, 32))
    >>> found = low_contrast_detectability(noise[0] + signal, noise[1], U)
    >>> found.low < 2 < found.high
    True
    """
    with_signal, without, U = _checked(present, absent, channels)
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; give a coverage between 0 and 1, such as 0.95")
    c, n1, n0 = len(U), len(with_signal), len(without)
    flat = U.reshape(c, -1)
    v1, v0 = (images.reshape(len(images), -1) @ flat.T for images in (with_signal, without))
    difference = v1.mean(0) - v0.mean(0)
    f = n1 + n0 - 2
    pooled = sum((v - v.mean(0)).T @ (v - v.mean(0)) for v in (v1, v0)) / f
    sizes = np.sqrt(np.diag(pooled))
    if not sizes.all() or np.linalg.matrix_rank(pooled / np.outer(sizes, sizes), hermitian=True) < c:
        raise ValueError(
            f"the covariance of the {c} channels is singular; give noisy images and independent channels"
        )
    squared = float(difference @ np.linalg.solve(pooled, difference))
    each = 1 / n1 + 1 / n0
    unbiased = squared * (f - c - 1) / f - c * each
    low, high = _interval(squared * (f - c + 1) / (f * c * each), c, f - c + 1, each, confidence)
    return Detectability(math.sqrt(max(unbiased, 0.0)), low, high, math.sqrt(squared))


def _checked(*given: npt.ArrayLike) -> tuple[Floats, Floats, Floats]:
    names = ("present", "absent", "channels")
    one, two, U = (regions(name, value) for name, value in zip(names, given, strict=True))
    for name, array in zip(names, (one, two, U), strict=True):
        if array.ndim != 3 or array.shape[1:] != one.shape[-2:]:
            raise ValueError(f"{name} has shape {array.shape}; all must be (n, ny, nx) with one (ny, nx)")
    if len(one) + len(two) < len(U) + 4 or min(len(one), len(two)) < 2:
        raise ValueError(
            f"{len(one)} and {len(two)} images are too few for {len(U)} channels; give {len(U) + 4} in all"
        )
    return one, two, U


def _interval(F: float, c: int, rest: int, each: float, confidence: float) -> tuple[float, float]:
    """Values of d' at which the F that was found is as large, or as small, as chance allows."""
    from scipy.optimize import brentq
    from scipy.special import ncfdtr

    tail = (1 - confidence) / 2

    def end(p: float) -> float:
        if ncfdtr(c, rest, 0.0, F) <= p:
            return 0.0
        top = c * F + 1.0
        while ncfdtr(c, rest, top, F) > p:
            top *= 2
        return math.sqrt(each * float(brentq(lambda nc: ncfdtr(c, rest, nc, F) - p, 0.0, top)))

    return end(1 - tail), end(tail)


def laguerre_gauss(shape: tuple[int, int], n: int, width: float) -> Floats:
    """Laguerre-Gauss channels for a round signal in the middle, orthonormal on a fine grid.

    ``u_j(r) = sqrt(2) / a * exp(-pi r^2 / a^2) L_j(2 pi r^2 / a^2)`` with the Laguerre polynomials L_j.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the regions.
    n : int
        How many channels; 5 to 10 are usual.
    width : float
        The width a in pixels, about the diameter of the signal.

    Returns
    -------
    ndarray, (n, ny, nx)
        Channels, orthonormal up to sampling and the border of the region.

    Raises
    ------
    ValueError
        If `n` or `width` is not positive.

    References
    ----------
    Gallas, Barrett, "Validating the use of channels to estimate the ideal linear observer", J. Opt. Soc. Am.
    A 20(9), 2003.

    Examples
    --------
    >>> U = laguerre_gauss((64, 64), n=4, width=12.0).reshape(4, -1)
    >>> bool(np.allclose(U @ U.T, np.eye(4), atol=1e-6))
    True
    """
    if n < 1 or not width > 0:
        raise ValueError(f"cannot make {n} channels of width {width}; both must be positive")
    y, x = _grid(shape)
    r = 2 * math.pi * (y**2 + x**2) / width**2
    polynomial = [np.ones_like(r), 1 - r]
    for j in range(1, n - 1):
        polynomial.append(((2 * j + 1 - r) * polynomial[j] - j * polynomial[j - 1]) / (j + 1))
    bell = math.sqrt(2) / width * np.exp(-r / 2)
    return np.stack([bell * p for p in polynomial[:n]])


def gabor(
    shape: tuple[int, int],
    frequencies: tuple[float, ...] = (3 / 128, 3 / 64, 3 / 32, 3 / 16),
    orientations: int = 4,
) -> Floats:
    """Gabor channels of one octave, even and odd, which resemble those of human vision.

    ``exp(-4 ln 2 r^2 / w^2) cos(2 pi f (x cos t + y sin t) + phase)``, each of norm one, with the width
    ``w = 6 ln 2 / (pi f)`` of a bandwidth of one octave.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the regions.
    frequencies : tuple of float
        Centres in cycles per pixel, below 0.5.
    orientations : int
        Number of angles over half a turn.

    Returns
    -------
    ndarray, (2 * orientations * len(frequencies), ny, nx)

    Raises
    ------
    ValueError
        If a frequency is not between 0 and 0.5, or there is no orientation.

    References
    ----------
    Eckstein, Abbey, Whiting, "Human vs model observers in anatomic backgrounds", Proc. SPIE 3340, 1998.

    Examples
    --------
    >>> gabor((64, 64)).shape
    (32, 64, 64)
    """
    if not frequencies or not all(0 < f < 0.5 for f in frequencies) or orientations < 1:
        raise ValueError(
            f"cannot make channels at {frequencies} in {orientations} orientations; "
            "give frequencies between 0 and 0.5 cycles per pixel and 1 orientation or more"
        )
    y, x = _grid(shape)
    channels = []
    for f in frequencies:
        bell = np.exp(-4 * math.log(2) * (y**2 + x**2) * (math.pi * f / (6 * math.log(2))) ** 2)
        for k in range(orientations):
            angle = math.pi * k / orientations
            wave = 2 * math.pi * f * (x * math.cos(angle) + y * math.sin(angle))
            channels += [bell * np.cos(wave), bell * np.sin(wave)]
    return np.stack([u / np.linalg.norm(u) for u in channels])


def _grid(shape: tuple[int, int]) -> tuple[Floats, Floats]:
    ny, nx = shape
    y, x = np.mgrid[:ny, :nx].astype(np.float64)
    return y - (ny - 1) / 2, x - (nx - 1) / 2
