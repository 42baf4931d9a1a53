"""Details of an image at four scales and at its finest diagonals, and what of noise each lets through.

The filters are those of the undecimated B3-spline wavelet (starlet): details ``w_j = c_(j-1) - c_j`` of
smoothings by (1, 4, 6, 4, 1) / 16 with holes. They are of compact support, so that padding and edges reach
no farther than `REACH`; and nearly round, so that they match octaves of radial frequency. In front stands
the second difference along both axes: it sees only the corner of the spectrum.

References
----------
J.-L. Starck and F. Murtagh, Publ. Astron. Soc. Pac. 110 (1998) 193, noise from the multiresolution support;
J. Immerkaer, Comput. Vis. Image Underst. 64 (1996) 300, noise from second differences.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SCALES = 4
REACH = (2, 2, 6, 14, 30)  # pixels by which the details of each filter depend on others
GRID = 128  # frequencies per axis of the calibration


def details(x: Array) -> list[Array]:
    """Details of images ``(..., ny, nx)``: finest diagonals, then four octaves from fine to coarse.

    Examples
    --------
    >>> plane = np.arange(64.0)[:, None] + np.arange(64.0)
    >>> [bool(np.allclose(d[..., 30:34, 30:34], 0)) for d in details(plane)]
    [True, True, True, True, True]
    """
    from scipy.ndimage import convolve1d

    def both(image: Array, kernel: Array) -> Array:
        across: Array = convolve1d(image, kernel, axis=-1, mode="reflect")
        down: Array = convolve1d(across, kernel, axis=-2, mode="reflect")
        return down

    x = np.asarray(x, np.float64)
    found, smooth = [both(x, np.array([1.0, -2.0, 1.0]) / 4)], x
    for scale in range(SCALES):
        kernel = np.zeros(4 * 2**scale + 1)
        kernel[:: 2**scale] = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
        smoother = both(smooth, kernel)
        found.append(smooth - smoother)
        smooth = smoother
    return found


@lru_cache(maxsize=1)
def responses() -> Array:
    """Power response of every filter, ``(5, GRID, GRID)``, in the order of ``numpy.fft.fftfreq``.

    Examples
    --------
    >>> responses()[:, 0, 0].tolist()  # none lets a constant through
    [0.0, 0.0, 0.0, 0.0, 0.0]
    """
    omega = 2 * np.pi * np.fft.fftfreq(GRID)
    sine = np.sin(omega / 2) ** 2
    amplitudes, passed = [sine[:, None] * sine], np.ones((GRID, GRID))
    for scale in range(SCALES):
        low = np.cos(2**scale * omega / 2) ** 4
        smoothed = passed * low[:, None] * low
        amplitudes.append(passed - smoothed)
        passed = smoothed
    return np.stack(amplitudes) ** 2


@lru_cache(maxsize=1)
def white_gains() -> Array:
    """Standard deviation of each filter's details of white noise of variance 1, ``(5,)``."""
    return np.asarray(np.sqrt(responses().mean((-2, -1))))
