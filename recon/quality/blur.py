"""How wide an image is blurred: from one of its edges, or against a sharper image of the same object."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import numpy.typing as npt

from .regions import regions, steps
from .resolution import mtf, mtf50

HALF_WIDTH = 2 * math.log(2) / math.pi  # of a Gaussian: FWHM times the frequency of modulation one half
ALIKE = 0.95  # coherence of two images at the frequencies that are compared
LEAST = 5  # rings of frequencies to fit a width to
ONSET = 0.03  # cycles per pixel: below, images differ by more than their blur (scatter, offsets)


def edge_blur(
    roi: npt.ArrayLike,
    spacing: float | tuple[float, float],
    *,
    edge: Literal["straight", "disc"] = "straight",
    reach: float | None = None,
) -> float:
    """Full width at half maximum of the Gaussian blur that has the resolution of an edge.

    Parameters
    ----------
    roi, spacing, edge, reach
        As in `mtf`: a region with one edge of an object that is sharp itself.

    Returns
    -------
    float
        In mm: ``(2 ln 2 / pi) / f``, f being the frequency at which the modulation has fallen to one half. It
        holds everything from the focal spot to the pixels.

    Raises
    ------
    ValueError
        As `mtf`.

    Examples
    --------
    >>> from scipy.special import ndtr
    >>> y, x = np.mgrid[:48, :48] - 23.5
    >>> edge = ndtr((x - 0.1 * y) / 1.01 / 1.2)  # a Gaussian of 1.2 pixels
    >>> round(edge_blur(edge, 1.0), 1), round(2.3548 * 1.2, 1)
    (2.8, 2.8)
    """
    return HALF_WIDTH / mtf50(mtf(roi, spacing, edge=edge, reach=reach))


def kernel_blur(soft: npt.ArrayLike, sharp: npt.ArrayLike, spacing: float | tuple[float, float]) -> float:
    """Full width at half maximum of the Gaussian that turns the sharper of two images into the softer one.

    Of one scan reconstructed with two kernels: the ratio of their spectra in rings of frequency, as far as
    both agree on phases (coherence), is fitted by ``exp(-2 pi^2 s^2 f^2)``. Undone in the softer image, this
    blur gives the resolution of the sharper one.

    Parameters
    ----------
    soft, sharp : array_like, (..., ny, nx)
        Images of the same object on the same grid.
    spacing : float or (float, float)
        Pixel size in mm, one number or (y, x).

    Returns
    -------
    float
        In mm.

    Raises
    ------
    ValueError
        If the images differ in shape, have nothing in common, or `soft` is not the softer one.

    Examples
    --------
    >>> from scipy.ndimage import gaussian_filter
    >>> sharp = np.random.default_rng(0).normal(size=(64, 64))
    >>> width = kernel_blur(gaussian_filter(sharp, 1.5), sharp, 0.5)
    >>> abs(width / (2.3548 * 1.5 * 0.5) - 1) < 0.03
    True
    """
    one, two = regions("soft", soft, 16), regions("sharp", sharp, 16)
    if one.shape != two.shape:
        raise ValueError(f"the images have shapes {one.shape} and {two.shape}; give both on one grid")
    step = steps(spacing)
    ny, nx = one.shape[-2:]
    fade = np.outer(np.hanning(ny + 2)[1:-1], np.hanning(nx + 2)[1:-1])
    spectra = [np.fft.fft2((z - z.mean((-2, -1), keepdims=True)) * fade) for z in (one, two)]
    f = np.hypot(np.fft.fftfreq(ny, step[0])[:, None], np.fft.fftfreq(nx, step[1]))
    width = 2 / (min(ny, nx) * min(step))
    ring = np.floor(f / width).astype(int)
    own, other, cross = (
        _rings(a * b.conj(), ring)
        for a, b in ((spectra[0], spectra[0]), (spectra[1], spectra[1]), (spectra[0], spectra[1]))
    )
    middle = (np.arange(len(own)) + 0.5) * width
    size = np.sqrt((own * other).real)
    coherence = np.abs(cross) / np.where(size > 0, size, 1)
    kept = (coherence > ALIKE) & (middle * max(step) < 0.5) & (middle * min(step) > ONSET)
    if kept.sum() < LEAST:
        raise ValueError("the two images have too little in common; give one scan in two kernels on one grid")
    ratio, squared = np.log(np.abs(cross[kept]) / other[kept].real), middle[kept] ** 2
    slope = -float((ratio * squared).sum() / (squared**2).sum())
    if slope <= 0:
        raise ValueError("the first image is no softer than the second; exchange them")
    return math.sqrt(slope / (2 * math.pi**2)) * 2 * math.sqrt(2 * math.log(2))


def _rings(power: npt.NDArray[np.complex128], ring: npt.NDArray[np.int_]) -> npt.NDArray[np.complex128]:
    total = power.reshape(-1, *ring.shape).sum(0).ravel()
    real, imaginary = (np.bincount(ring.ravel(), part) for part in (total.real, total.imag))
    return np.asarray(real + 1j * imaginary)
