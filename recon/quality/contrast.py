"""Contrast against noise in two masks."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from .regions import Floats, regions


def cnr(image: npt.ArrayLike, signal: npt.ArrayLike, background: npt.ArrayLike) -> float:
    """Contrast-to-noise ratio ``|mean(signal) - mean(background)| / std(background)``.

    The noise is the sample standard deviation (with n - 1) of the background alone, so a textured signal
    does not count as noise; other definitions divide by the mean of both variances.

    Parameters
    ----------
    image : array_like, (..., ny, nx)
        Real image.
    signal, background : array_like of bool, shape of `image`
        Where to measure; they may not overlap.

    Returns
    -------
    float
        Without unit.

    Raises
    ------
    ValueError
        If a mask has another shape, is empty or overlaps the other, or the background has no noise.

    Examples
    --------
    >>> cnr([[5.0, 5.0, 1.0, 3.0]], [[1, 1, 0, 0]], [[0, 0, 1, 1]])
    2.1213203435596424
    """
    inside, around = _samples(image, signal, background)
    return abs(float(inside.mean() - around.mean())) / float(around.std(ddof=1))


def rose(image: npt.ArrayLike, signal: npt.ArrayLike, background: npt.ArrayLike) -> float:
    """Signal-to-noise ratio of Rose, ``cnr * sqrt(number of signal pixels)``; about 5 is seen with certainty.

    It is the detectability of a uniform signal in noise without correlation: in correlated noise use
    `low_contrast_detectability`.

    Parameters
    ----------
    image : array_like, (..., ny, nx)
        Real image.
    signal, background : array_like of bool, shape of `image`
        Where to measure; they may not overlap.

    Returns
    -------
    float
        Without unit.

    Raises
    ------
    ValueError
        As for `cnr`.

    References
    ----------
    Rose, "The sensitivity performance of the human eye on an absolute scale", J. Opt. Soc. Am. 38(2), 1948.

    Examples
    --------
    >>> rose([[5.0, 5.0, 1.0, 3.0]], [[1, 1, 0, 0]], [[0, 0, 1, 1]])
    3.0
    """
    inside, around = _samples(image, signal, background)
    contrast = abs(float(inside.mean() - around.mean()))
    return contrast * math.sqrt(inside.size) / float(around.std(ddof=1))


def _samples(image: npt.ArrayLike, signal: npt.ArrayLike, background: npt.ArrayLike) -> tuple[Floats, Floats]:
    values = regions("the image", image)
    masks = [np.asarray(mask).astype(bool) for mask in (signal, background)]
    for name, mask, least in zip(("signal", "background"), masks, (1, 2), strict=True):
        if mask.shape != values.shape:
            raise ValueError(f"the {name} mask has shape {mask.shape} and the image {values.shape}")
        if mask.sum() < least:
            raise ValueError(f"the {name} mask covers {mask.sum()} pixels; mark {least} or more")
    if (masks[0] & masks[1]).any():
        raise ValueError("the signal and background masks overlap; leave a gap between them")
    inside, around = values[masks[0]], values[masks[1]]
    if np.ptp(around) == 0:
        raise ValueError("the background has no noise, so the ratio is undefined; compare means instead")
    return inside, around
