"""Coil images to one image."""

from __future__ import annotations

from typing import Any

from rayfold.operators.dispatch import match, namespace

Array = Any


def root_sum_of_squares(images: Array, axis: int = 0) -> Array:
    """Magnitude over the coils, ``sqrt(sum_c |x_c|^2)``.

    Parameters
    ----------
    images : array, (..., coils, *shape)
        Complex or real coil images.
    axis : int
        The coil axis.

    Returns
    -------
    array
        Real, without the coil axis. Its derivative where all coils are 0 is 0.

    Examples
    --------
    >>> import numpy as np
    >>> root_sum_of_squares(np.array([[3.0, 0.0], [4j, 0.0]]))
    array([5., 0.])
    """
    xp = namespace(images)
    power = xp.sum(xp.real(images * xp.conj(images)), axis=axis) if _complex(images) else None
    power = xp.sum(images * images, axis=axis) if power is None else power
    some = power > 0
    return xp.where(some, xp.sqrt(xp.where(some, power, xp.ones_like(power))), xp.zeros_like(power))


def combine_mvue(images: Array, maps: Array, axis: int = 0) -> Array:
    """Combine coil images with known sensitivities: the estimate of least variance in white noise.

    ``x = sum_c conj(s_c) x_c / sum_c |s_c|^2``, and 0 where all sensitivities are 0.

    Parameters
    ----------
    images : array, (..., coils, *shape)
        Whitened coil images.
    maps : array, (coils, *shape) or (..., coils, *shape)
        Sensitivities; with `axis` counted from the front, of as many axes as `images`.
    axis : int
        The coil axis of both.

    Returns
    -------
    array, (..., *shape)
        Complex.

    Raises
    ------
    ValueError
        If images and maps differ in coils or shape.

    References
    ----------
    P. B. Roemer et al., Magn. Reson. Med. 16 (1990) 192.

    Examples
    --------
    >>> import numpy as np
    >>> maps = np.array([[0.6, 0.0], [0.8j, 0.0]])
    >>> combine_mvue(maps * np.array([2.0, 1.0]), maps)
    array([2.+0.j, 0.+0.j])
    """
    xp = namespace(images)
    maps = match(maps, images)
    if images.shape[axis] != maps.shape[axis]:
        raise ValueError(
            f"{images.shape[axis]} coil images meet maps of {maps.shape[axis]} coils; both need the same"
        )
    try:
        product = xp.conj(maps) * images if _complex(maps) else maps * images
    except (ValueError, RuntimeError, TypeError):
        raise ValueError(
            f"images of shape {tuple(images.shape)} do not fit maps of shape {tuple(maps.shape)}"
        ) from None
    power = xp.real(maps * xp.conj(maps)) if _complex(maps) else maps * maps
    power = xp.sum(power, axis=axis)
    some = power > 0
    return xp.where(some, xp.sum(product, axis=axis), 0) / xp.where(some, power, xp.ones_like(power))


def _complex(x: Array) -> bool:
    return "complex" in str(x.dtype)
