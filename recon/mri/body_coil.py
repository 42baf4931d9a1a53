"""Coil sensitivities measured against the body coil, whose own sensitivity is nearly even."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayfold.operators.dispatch import is_traced, match, namespace, to_numpy
from rayfold.recon.mri.smoothing import smooth
from rayfold.recon.mri.virtual_coil import virtual_coil

Array = Any


def body_coil_maps(images: Array, body: Array, *, fwhm: float = 5.0, regularisation: float = 1e-3) -> Array:
    """Sensitivities as the smoothed, regularised ratio of array images to a body-coil image.

    ``s_c = <x_c conj(b)> / (<|b|^2> + r max <|b|^2>)`` with a Gaussian mean ``<>``: the least-squares ratio
    in each neighbourhood, tending to 0 where the body coil sees nothing.

    Parameters
    ----------
    images : array, (coils, *shape)
        Images of the array.
    body : array, (*shape) or (channels, *shape)
        Images of the body coil, of the same slice and scale. Of more channels, the magnitude is their root
        sum of squares and the phase that of their strongest combination.
    fwhm : float
        Width of the mean, voxels.
    regularisation : float
        r above: relative energy below which the body coil is not trusted.

    Returns
    -------
    array, (coils, *shape)
        Relative to the body coil, phase included: an image made with these maps has its brightness.

    Raises
    ------
    ValueError
        If the shapes do not fit, the images hold NaN, or an option is negative.

    Examples
    --------
    >>> body = np.ones((8, 8)) + 0j
    >>> maps = body_coil_maps(np.stack([0.5 * body, 2j * body]), body, regularisation=0.0)
    >>> maps[:, 4, 4].round(6)
    array([0.5+0.j, 0. +2.j])
    """
    if not (fwhm >= 0 and regularisation >= 0):
        raise ValueError(f"fwhm {fwhm} and regularisation {regularisation} must be 0 or more")
    shape = tuple(images.shape[1:])
    if tuple(body.shape[-len(shape) :]) != shape or body.ndim - len(shape) not in (0, 1):
        raise ValueError(
            f"body-coil images of shape {tuple(body.shape)} do not fit array images of {shape}; "
            "reconstruct both on the same grid"
        )
    xp = namespace(images)
    body = match(body, images)
    for name, value in (("array", images), ("body-coil", body)):
        if not is_traced(value) and not np.isfinite(to_numpy(value)).all():
            raise ValueError(f"the {name} images hold NaN or infinite values; set those voxels to 0")
    if body.ndim > len(shape):
        strongest = xp.tensordot(xp.conj(virtual_coil(body)), body, axes=([0], [0]))
        safe = xp.where(xp.abs(strongest) > 0, strongest, xp.ones_like(strongest))
        energy = xp.sum(xp.real(body * xp.conj(body)), axis=0)
        body = safe / xp.abs(safe) * xp.sqrt(energy)
    ndim = len(shape)
    power = smooth(xp.real(body * xp.conj(body)), fwhm, ndim)
    power = power + regularisation * xp.max(power)
    product = smooth(images * xp.conj(body)[None, ...], fwhm, ndim)
    some = power > 0
    return xp.where(some, product, xp.zeros_like(product)) / xp.where(some, power, xp.ones_like(power))
