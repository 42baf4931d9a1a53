"""From noise measured by a few filters to its level in four octaves, through a model of its spectrum.

The octaves are those of radial frequency r over Nyquist: r >= 1/2 (the corner of the square with it), 1/4 to
1/2, 1/8 to 1/4, and below. The level of an octave is the root of the mean spectral density over it, so white
noise of standard deviation s has the levels (s, s, s, s).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.noise_level.details import GRID, responses, white_gains

Array = npt.NDArray[Any]
EDGES = (np.inf, 0.5, 0.25, 0.125, -1.0)
FINE = 3  # filters that are measured: the coarser ones hold too much image and only bound the noise
POWERS = np.arange(0, 1.55, 0.1)  # of r: 0 is white, 1 a ramp filter's
CUTS = np.concatenate([np.geomspace(0.2, 2.0, 40), [np.inf]])
SHARPNESS = (2, 8)  # a window's smooth decay; zero padding of k-space
TRUSTED = 0.03  # relative error of a measured level
TRUSTED_CORNER = 0.05
TRUSTED_CORNER_CT = 0.1  # a kernel leaves little there but what rounding to whole HU adds
TRUSTED_BOUND = 0.06
TEXTURE = 0.12  # what the second octave easily holds beyond its noise
TOO_MUCH = 2  # most that such an excess, however large, speaks against a model


def octaves(shape: tuple[int, int]) -> Array:
    """Which frequencies of ``numpy.fft.fft2`` belong to each octave, ``(4, ny, nx)``; a partition.

    Examples
    --------
    >>> octaves((16, 16)).sum((-2, -1)).tolist()
    [211, 36, 8, 1]
    """
    r = np.hypot(*np.meshgrid(*(np.fft.fftfreq(n) * 2 for n in shape), indexing="ij"))
    return np.stack([(r < high) & (r >= low) for high, low in pairwise(EDGES)])


@lru_cache(maxsize=1)
def _models() -> tuple[Array, Array, Array, Array]:
    """Levels in every filter ``(n, 5)`` and octave ``(n, 4)`` of every model, its price, its power of r."""
    f = np.fft.fftfreq(GRID) * 2
    r = np.hypot(f[:, None], f)
    passed, gains, masks = responses(), white_gains(), octaves((GRID, GRID))
    filters, levels, cost, powers = [], [], [], []
    for sharp in SHARPNESS:
        for cut in CUTS:
            for power in POWERS:
                density = np.maximum(r, 0.5 / GRID) ** power * np.exp(-((r / cut) ** sharp))
                filters.append(np.sqrt((passed * density).mean((-2, -1))) / gains)
                levels.append(np.sqrt((masks * density).sum((-2, -1)) / masks.sum((-2, -1))))
                powers.append(power)
                cost.append(power**2 + (0.0 if cut == np.inf else 0.5))  # of two that fit, the simpler
    return np.array(filters), np.array(levels), np.array(cost), np.array(powers)


def octave_levels(measured: Array, *, ramp: bool | None = None) -> Array:
    """Noise levels ``(4,)`` of the octaves, finest first.

    The noise of the three finest filters is fitted by the density ``a r^p exp(-(r/c)^q)``: a ramp filter has
    p = 1, its window or the pixel's aperture a cut c, data of MRI p = 0 and, where the image was interpolated
    by zero padding, a sharp cut. Texture adds to noise, the more the coarser the filter: the level is that of
    the two finest, the third may hold more than the model says, and the coarser ones, which see more of the
    image than of the noise, can only lower what this extrapolates. With `ramp` the third counts in full:
    a soft kernel leaves so little in the two finest that the third is where its noise is.

    Parameters
    ----------
    measured : ndarray, (5,)
        Standard deviation of the noise that each filter of `details` lets through, over that of white noise
        of variance 1; NaN where it could not be measured.
    ramp : bool, optional
        Whether p is above 0: False says it is not, True that it is about 1 unless the noise is plainly white,
        as of CT; by default it is as small as fits.

    Examples
    --------
    >>> octave_levels(np.array([2.0, 2.0, 2.0, 7.0, 30.0])).round(3).tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    measured = np.asarray(measured, np.float64)
    if not measured[1] > 0:
        return np.zeros(4)
    filters, levels, cost, powers = _models()
    log = np.log(np.maximum(filters, 1e-12)) - np.log(np.maximum(measured, 1e-9 * measured[1]))
    usable = np.isfinite(measured)
    judged = np.flatnonzero(usable[: FINE if ramp else FINE - 1])
    weight = np.array([TRUSTED_CORNER_CT if ramp else TRUSTED_CORNER, TRUSTED, TRUSTED])[judged] ** -2
    shift = (log[:, judged] * weight).sum(1) / weight.sum()
    log = log - shift[:, None]
    misfit = (log[:, judged] ** 2 * weight).sum(1)
    if usable[FINE - 1] and not ramp:
        rest = log[:, FINE - 1]
        more = (rest / TEXTURE) ** 2
        misfit = misfit + np.where(rest > 0, (rest / TRUSTED) ** 2, more / (1 + more / TOO_MUCH))
    for j in range(FINE, len(measured)):
        if usable[j]:
            misfit = misfit + (np.maximum(log[:, j] / TRUSTED_BOUND, 0)) ** 2
    if ramp:
        cost = np.where(cost > 0, (powers - 1) ** 2 + 0.5, 0)
    misfit = np.where((powers > 0) & (ramp is False), np.inf, misfit + cost)
    best = int(np.argmin(misfit))
    found = levels[best] * np.exp(-shift[best])
    # what the model leaves of the two measured octaves is put right, but for texture
    found[0] *= np.exp(-log[best, 1])
    if usable[FINE - 1]:
        excess = -log[best, FINE - 1]
        found[1:] *= np.exp(excess if ramp else min(excess, TRUSTED))
    return np.asarray(found)
