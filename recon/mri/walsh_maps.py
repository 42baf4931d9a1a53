"""Coil sensitivities from coil images alone: the leading eigenvector of their local covariance."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayfold.operators.dispatch import is_traced, namespace, to_numpy
from rayfold.recon.mri.smoothing import smooth
from rayfold.recon.mri.virtual_coil import to_virtual_phase, virtual_coil

Array = Any


def walsh(images: Array, *, fwhm: float = 5.0) -> Array:
    """Estimate coil sensitivities by adaptive combination.

    Around every voxel, the covariance ``R = <x x^H>`` of the coil images is averaged with a Gaussian; its
    leading eigenvector is the filter of largest signal, and the sensitivities up to scale and phase.

    Parameters
    ----------
    images : array, (coils, *shape)
        Whitened coil images without aliasing: from all lines, or from the calibration
        lines at low resolution.
    fwhm : float
        Width of the neighbourhood, voxels.

    Returns
    -------
    array, (coils, *shape)
        Of root sum of squares 1; real and positive in the first virtual coil.

    Raises
    ------
    ValueError
        If `fwhm` is negative, or the images hold NaN.

    References
    ----------
    D. O. Walsh et al., Magn. Reson. Med. 43 (2000) 682.

    Examples
    --------
    >>> x = np.arange(8) / 8
    >>> coils = np.stack([1 - x, 1j * x])[:, None, :] * np.ones((8, 1))
    >>> maps = walsh(coils, fwhm=1.0)
    >>> bool(abs(abs(maps) - abs(coils) / np.sqrt((abs(coils) ** 2).sum(axis=0))).max() < 0.05)
    True
    """
    if not fwhm >= 0:
        raise ValueError(f"fwhm is {fwhm}; the width of the neighbourhood must be 0 or more voxels")
    if images.ndim < 2:
        raise ValueError(f"coil images have shape {tuple(images.shape)}; they must be (coils, *shape)")
    if not is_traced(images) and not np.isfinite(to_numpy(images)).all():
        raise ValueError("the coil images hold NaN or infinite values; set those voxels to 0")
    xp = namespace(images)
    covariance = images[:, None, ...] * xp.conj(images)[None, ...]
    covariance = smooth(covariance, fwhm, images.ndim - 1)
    vectors = xp.linalg.eigh(xp.moveaxis(covariance, (0, 1), (-2, -1)))[1][..., -1]
    return to_virtual_phase(xp.moveaxis(vectors, -1, 0), virtual_coil(images))
