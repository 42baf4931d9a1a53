"""Coils of training scans: arrays anywhere around an object, and maps as a calibration finds them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from rayfold.recon.mri.simulate import loop_coils

Array = Any
WIDEST = 1.5  # ring of loops over the field of view
NORMALISED = 0.7  # share of arrays whose root sum of squares is 1 everywhere, as that of maps from ESPIRiT
ERROR = (0.004, 0.08)  # of calibrated maps, relative, log-uniform: ESPIRiT from few lines of a brain had 0.03
WAVES = (4, 12)  # over the field of view, of these errors
UNEVEN = 0.6  # how much their logarithm scatters over the image
CUT = 0.6  # share of calibrated maps that end where the object ends
DARK, RIM = 0.02, 2  # part of the maximum below which nothing is taken for object; pixels kept around it


def random_coils(rng: np.random.Generator, shape: tuple[int, ...], coils: int) -> Array:
    """Maps of a ring of loops: mirrored, transposed, shifted, up to `WIDEST` times as wide as the image.

    Parameters
    ----------
    rng : numpy.random.Generator
        All randomness.
    shape : (int, int)
        Image grid.
    coils : int
        Number of loops, 1 or more; a single coil sees all of the image equally.

    Returns
    -------
    ndarray of complex64, (coils, ny, nx)
        Root sum of squares 1, at every pixel or in the mean.

    Raises
    ------
    ValueError
        If there are no coils.

    References
    ----------
    The loops: `loop_coils`. Normalised: M. Uecker et al., Magn. Reson. Med. 71 (2014) 990, ESPIRiT.

    Examples
    --------
    >>> maps = random_coils(np.random.default_rng(0), (32, 32), 4)
    >>> maps.shape, bool(np.isfinite(maps).all())
    ((4, 32, 32), True)
    """
    if coils == 1:
        return np.ones((1, *shape), np.complex64)
    wide = tuple(round(n * rng.uniform(1.0, WIDEST)) for n in shape)
    at = [int(rng.integers(w - n + 1)) for w, n in zip(wide, shape, strict=True)]
    transposed = bool(rng.random() < 0.5)
    maps = loop_coils(wide[::-1] if transposed else wide, coils)
    maps = maps.swapaxes(1, 2) if transposed else maps
    maps = maps[:, at[0] : at[0] + shape[0], at[1] : at[1] + shape[1]]
    maps = np.flip(maps, tuple(axis for axis in (1, 2) if rng.random() < 0.5))
    size = np.sqrt((np.abs(maps) ** 2).sum(0))
    return np.ascontiguousarray(maps / (size if rng.random() < NORMALISED else size.mean()))


def calibrated(rng: np.random.Generator, maps: Array, objects: Array) -> tuple[Array, Array]:
    """Maps as they are told to a reconstruction: a little wrong, and often 0 beside the object.

    With smooth random fields e the told maps are ``s (m + e)``, where the complex s at each pixel keeps the
    root sum of squares, and ``sum_c conj(told) m`` real: brightness and phase of the image stay as they are,
    and what is left are errors between coils, as noise and a short calibration make them.

    Parameters
    ----------
    rng : numpy.random.Generator
        All randomness.
    maps : array, (coils, ny, nx)
        The true ones.
    objects : array, (n, ny, nx)
        Magnitudes of the images that are measured with them.

    Returns
    -------
    maps, support : ndarray
        The maps that are told, complex64 (coils, ny, nx), and where they are not 0, bool (ny, nx).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> maps = random_coils(rng, (32, 32), 4)
    >>> told, support = calibrated(rng, maps, np.ones((1, 32, 32)))
    >>> bool(0 < np.linalg.norm(told - maps) / np.linalg.norm(maps) < 0.2), bool(support.all())
    (True, True)
    """
    coils, *shape = maps.shape
    support = np.ones(shape, bool)
    if rng.random() < CUT:
        bright = (objects > DARK * objects.max((-2, -1), keepdims=True)).any(0)
        support = ndimage.binary_dilation(ndimage.binary_fill_holes(bright), iterations=RIM)
    if coils == 1:
        return maps * support, support
    size = np.sqrt((np.abs(maps) ** 2).sum(0))
    waves = int(rng.integers(*WAVES, endpoint=True))
    real, imaginary, where = np.split(_smooth(rng, 2 * coils + 1, waves, maps.shape[1:]), (coils, 2 * coils))
    level = np.exp(rng.uniform(*np.log(ERROR)) + UNEVEN * where) / np.sqrt(2 * coils)
    error = (real + 1j * imaginary) * level * size
    told = maps + error
    match = (told.conj() * maps).sum(0)
    told = told * match / np.abs(match) * size / np.sqrt((np.abs(told) ** 2).sum(0))
    return (told * support).astype(np.complex64), support


def _smooth(rng: np.random.Generator, fields: int, waves: int, shape: tuple[int, ...]) -> Array:
    """Random fields of variance about 2/3, ``(fields, ny, nx)``, that change over 1 / waves of the image."""
    coarse = torch.as_tensor(rng.standard_normal((1, fields, waves, waves), np.float32))
    return F.interpolate(coarse, shape, mode="bicubic", align_corners=True)[0].numpy()
