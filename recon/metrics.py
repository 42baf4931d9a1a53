"""How far an image is from a reference: PSNR, SSIM and NMSE.

The data range is never guessed from the images: a guessed one makes the numbers of two papers incomparable.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
# Wang et al. 2004: Gaussian window of 11 pixels and standard deviation 1.5, constants 0.01 and 0.03
WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03


def psnr(x: npt.ArrayLike, reference: npt.ArrayLike, *, data_range: float) -> float:
    """Peak signal-to-noise ratio ``10 log10(data_range^2 / mean((x - reference)^2))`` in dB.

    Parameters
    ----------
    x, reference : array_like, (...)
        Real images in the same unit.
    data_range : float
        Width of the range of values that the images may take, in their unit.

    Returns
    -------
    float
        dB; infinite for equal images.

    Raises
    ------
    ValueError
        If the shapes differ, the images are complex or not finite, or `data_range` is not positive.

    Examples
    --------
    >>> psnr([0.0, 0.1], [0.0, 0.0], data_range=1.0)
    23.010299956639813
    """
    a, b = _pair(x, reference)
    peak = _range(data_range)
    error = float(np.mean((a - b) ** 2))
    return math.inf if error == 0 else 10 * math.log10(peak**2 / error)


def nmse(x: npt.ArrayLike, reference: npt.ArrayLike) -> float:
    """Normalised mean squared error ``|x - reference|^2 / |reference|^2``.

    Parameters
    ----------
    x, reference : array_like, (...)
        Real images in the same unit.

    Returns
    -------
    float
        0 for equal images, 1 for an image of zeros.

    Raises
    ------
    ValueError
        If the shapes differ, the images are complex or not finite, or the reference is zero everywhere.

    Examples
    --------
    >>> nmse([1.0, 1.0], [1.0, 2.0])
    0.2
    """
    a, b = _pair(x, reference)
    energy = float(np.sum(b**2))
    if energy == 0:
        raise ValueError("the reference is zero everywhere, so NMSE is undefined; use psnr")
    return float(np.sum((a - b) ** 2)) / energy


def ssim(x: npt.ArrayLike, reference: npt.ArrayLike, *, data_range: float) -> float:
    """Structural similarity with the Gaussian window of the original paper, slice by slice.

    Parameters
    ----------
    x, reference : array_like, (..., ny, nx)
        Real images in the same unit, at least 11 x 11 pixels.
    data_range : float
        Width of the range of values that the images may take, in their unit.

    Returns
    -------
    float
        Mean over all slices and all pixels whose window lies inside the image; 1 for equal images.

    Raises
    ------
    ValueError
        If shapes differ, the images are complex, not finite or too small, or `data_range` is not positive.

    References
    ----------
    Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", IEEE Trans. Image Processing 13(4), 2004.

    Examples
    --------
    >>> ssim(np.eye(16), np.eye(16), data_range=1.0)
    1.0
    """
    a, b = _pair(x, reference)
    peak = _range(data_range)
    if a.ndim < 2 or min(a.shape[-2:]) < WINDOW:
        raise ValueError(f"SSIM needs slices of at least {WINDOW} x {WINDOW} pixels, these have {a.shape}")
    planes = zip(a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:]), strict=True)
    return float(np.mean([_ssim_slice(p, q, (K1 * peak) ** 2, (K2 * peak) ** 2) for p, q in planes]))


def _ssim_slice(x: Floats, y: Floats, c1: float, c2: float) -> float:
    mx, my = _smooth(x), _smooth(y)
    # the weights sum to one, so these are the variances and the covariance without Bessel's correction
    vx, vy, vxy = _smooth(x * x) - mx * mx, _smooth(y * y) - my * my, _smooth(x * y) - mx * my
    similarity = (2 * mx * my + c1) * (2 * vxy + c2) / ((mx**2 + my**2 + c1) * (vx + vy + c2))
    return float(similarity.mean())


def _smooth(plane: Floats) -> Floats:
    """Local Gaussian mean, only where the window lies inside the image."""
    from scipy.ndimage import gaussian_filter

    edge = WINDOW // 2
    smooth: Floats = gaussian_filter(plane, SIGMA, radius=edge)[edge:-edge, edge:-edge]
    return smooth


def _pair(x: npt.ArrayLike, reference: npt.ArrayLike) -> tuple[Floats, Floats]:
    a, b = np.asarray(x), np.asarray(reference)
    if a.shape != b.shape:
        raise ValueError(f"the image has shape {a.shape} and the reference {b.shape}; resample one of them")
    return _real("image", a), _real("reference", b)


def _real(name: str, array: npt.NDArray[Any]) -> Floats:
    if np.iscomplexobj(array):
        raise ValueError(f"the {name} is complex; compare magnitudes, abs(x)")
    values = array.astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"the {name} holds values that are not finite; restrict both to a region")
    return values


def _range(data_range: float) -> float:
    if not (data_range > 0 and math.isfinite(data_range)):
        raise ValueError(
            f"data_range is {data_range}; it must be positive, such as 2000 for HU from -1000 to 1000"
        )
    return float(data_range)
