"""Synthetic images in 1/mm with exact sinograms: a disc, the Shepp-Logan head and a thorax.

Every phantom is a table of ellipses (see `rayfold.recon.ellipses`), so its measurement needs no projector.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from rayfold.operators.geometry import Floats, Volume
from rayfold.recon.data import Image
from rayfold.recon.ellipses import ellipse_sinogram, rasterise
from rayfold.recon.thorax import MU_WATER, WIDTH, texture_like, thorax_table

__all__ = [
    "MU_WATER",
    "disc",
    "ellipse_sinogram",
    "ellipses",
    "shepp_logan",
    "shepp_logan_table",
    "thorax",
    "thorax_table",
]

# Shepp and Logan 1974: a, b, x, y (upwards), angle in degrees on a head of radius 1
HEAD = (
    (0.69, 0.92, 0.0, 0.0, 0.0),
    (0.6624, 0.874, 0.0, -0.0184, 0.0),
    (0.11, 0.31, 0.22, 0.0, -18.0),
    (0.16, 0.41, -0.22, 0.0, 18.0),
    (0.21, 0.25, 0.0, 0.35, 0.0),
    (0.046, 0.046, 0.0, 0.1, 0.0),
    (0.046, 0.046, 0.0, -0.1, 0.0),
    (0.046, 0.023, -0.08, -0.605, 0.0),
    (0.023, 0.023, 0.0, -0.606, 0.0),
    (0.023, 0.046, 0.06, -0.605, 0.0),
)
ORIGINAL = (2.0, -0.98, -0.02, -0.02, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01)
MODIFIED = (1.0, -0.8, -0.2, -0.2, 0.1, 0.1, 0.1, 0.1, 0.1, 0.1)  # Toft 1996: contrasts an eye can see


def ellipses(
    volume: Volume,
    table: npt.ArrayLike,
    *,
    supersample: int = 8,
    unit: Literal["1/mm", "1/px", "HU", "a.u."] = "1/mm",
) -> Image:
    """Image of a table of ellipses, every pixel the mean over its area.

    Parameters
    ----------
    volume : Volume
        The grid; every slice of a 3D one is the same.
    table : array_like, (n, 6)
        Rows ``(value, a, b, x, y, angle)`` in mm and rad; values add up where ellipses overlap.
    supersample : int
        Lines per pixel row; along each line the covered length is exact.
    unit : {"1/mm", "1/px", "HU", "a.u."}
        Unit of the values.

    Returns
    -------
    Image, volume.shape
        float32.

    Raises
    ------
    ValueError
        If the table has another shape or a semi-axis is not positive, or if `supersample` is less than 1.

    Examples
    --------
    >>> ellipses(Volume((64, 64), 1.0), [(0.02, 20, 10, 0, 5, 0.3)])
    Image(64 x 64, 1 x 1 mm, 1/mm, 0 to 0.02)
    """
    return _image(rasterise(table, volume, supersample=supersample), volume, unit)


def disc(
    volume: Volume,
    radius: float,
    *,
    x: float = 0.0,
    y: float = 0.0,
    value: float = MU_WATER,
    supersample: int = 8,
) -> Image:
    """A disc, by default of water.

    Parameters
    ----------
    volume : Volume
        The grid.
    radius, x, y : float
        Radius and centre in mm.
    value : float
        Attenuation inside in 1/mm.
    supersample : int
        As in `ellipses`.

    Returns
    -------
    Image, volume.shape
        float32, 1/mm.

    Examples
    --------
    >>> disc(Volume((64, 64), 1.0), 20.0)
    Image(64 x 64, 1 x 1 mm, 1/mm, 0 to 0.0195)
    """
    return ellipses(volume, [(value, radius, radius, x, y, 0.0)], supersample=supersample)


def shepp_logan(
    volume: Volume,
    *,
    radius: float | None = None,
    modified: bool = True,
    mu_water: float = MU_WATER,
    supersample: int = 8,
) -> Image:
    """The Shepp-Logan head, nose up.

    Parameters
    ----------
    volume : Volume
        The grid.
    radius : float, optional
        Half the side in mm of the square that the head fills to 92 %; by default that of the volume.
    modified : bool
        Toft's contrasts, which an eye can see, instead of the original 1 % ones.
    mu_water : float
        Attenuation in 1/mm of a value of 1.
    supersample : int
        As in `ellipses`.

    Returns
    -------
    Image, volume.shape
        float32, 1/mm.

    Examples
    --------
    >>> shepp_logan(Volume((128, 128), 1.5)).array.max().round(4)
    np.float32(0.0195)
    """
    half = min(volume.extent[-2:]) / 2 if radius is None else radius
    table = shepp_logan_table(radius=half, modified=modified, mu_water=mu_water)
    return ellipses(volume, table, supersample=supersample)


def shepp_logan_table(*, radius: float, modified: bool = True, mu_water: float = MU_WATER) -> Floats:
    """Ellipses of `shepp_logan`, ``(10, 6)``.

    Parameters
    ----------
    radius : float
        Half the side in mm of the square that the head fills to 92 %.
    modified : bool
        Toft's contrasts instead of the original ones.
    mu_water : float
        Attenuation in 1/mm of a value of 1.

    Examples
    --------
    >>> shepp_logan_table(radius=100.0).shape
    (10, 6)
    """
    values = np.array(MODIFIED if modified else ORIGINAL)[:, None] * mu_water
    shape = np.array(HEAD)
    # the original has y upwards, image rows go down: mirror y and with it the angles
    place = np.stack([shape[:, 2], -shape[:, 3]], axis=1) * radius
    return np.concatenate([values, shape[:, :2] * radius, place, -np.radians(shape[:, 4:])], axis=1)


def thorax(
    volume: Volume, seed: int = 0, *, width: float | None = None, texture: float = 0.0, supersample: int = 8
) -> Image:
    """A slice through a chest at 65 keV: fat, muscle, lungs with vessels, spine, ribs, heart and lesions.

    Parameters
    ----------
    volume : Volume
        The grid.
    seed : int
        Anatomy varies with it and only with it.
    width : float, optional
        Width of the body in mm; by default 340, or 95 % of a volume that is smaller.
    texture : float
        Relative strength of a fine texture inside the body. The exact sinogram of `thorax_table` knows none.
    supersample : int
        As in `ellipses`.

    Returns
    -------
    Image, volume.shape
        float32, 1/mm; water is `MU_WATER`.

    Examples
    --------
    >>> thorax(Volume((128, 128), 3.0), seed=1).unit
    '1/mm'
    """
    size = min(WIDTH, 0.95 * volume.extent[-1]) if width is None else width
    plane = rasterise(thorax_table(seed, width=size), volume, supersample=supersample)
    if texture:
        plane = plane * (1 + texture * texture_like(plane.shape, seed))
    return _image(plane, volume, "1/mm")


def _image(array: Floats, volume: Volume, unit: str) -> Image:
    origin = tuple(float(axis[0]) for axis in volume.coordinates())
    return Image(array.astype(np.float32), volume.steps, origin, unit=unit)
