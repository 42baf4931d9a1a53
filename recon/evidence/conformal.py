"""Limits that hold as often as they say: split-conformal quantiles of scores from simulated scans.

Nothing is assumed about the reconstruction or the errors; only that the new scan is one more draw from what
the calibration simulated (exchangeable with it). Outside of that the limits promise nothing.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def conformal_quantile(scores: npt.ArrayLike, level: float) -> float:
    """Limit that a new score stays below with probability of at least `level`.

    The ``ceil((n + 1) level)``-th smallest of n scores: with the new one they are n + 1 exchangeable draws,
    so that its rank is uniform. Without ties the probability is below ``level + 1 / (n + 1)``.

    Parameters
    ----------
    scores : array_like, (n,)
        One per calibration scan; larger is worse; infinite values are allowed.
    level : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If there are too few scores for the level: 9 are needed for 0.9, 99 for 0.99.

    References
    ----------
    V. Vovk, A. Gammerman and G. Shafer, Algorithmic Learning in a Random World (2005);
    J. Lei et al., J. Am. Stat. Assoc. 113 (2018) 1094.

    Examples
    --------
    >>> conformal_quantile(range(1, 10), 0.9)
    9.0
    """
    values = np.asarray(scores, np.float64)
    if values.ndim != 1 or np.isnan(values).any():
        raise ValueError(
            f"scores have shape {values.shape} and {int(np.isnan(values).sum())} of them are not numbers; "
            "give one number per calibration scan"
        )
    n, part = len(values), exact(level)
    rank = math.ceil((n + 1) * part)
    if rank > n:
        raise ValueError(
            f"{n} calibration scans are too few for level {level}; "
            f"give at least {math.ceil(part / (1 - part))}"
        )
    return float(np.partition(values, rank - 1)[rank - 1])


def pixel_factor(ratios: npt.ArrayLike, level: float) -> float:
    """Half-width of intervals, in units of a spread map, that cover the pixels of a new image at `level`.

    The smallest factor q for which the mean over n images of the share of pixels with ``|error| > q spread``,
    and one image that misses all, is at most ``1 - level``: then the expected share of the pixels of a new
    image inside their intervals is at least `level` (conformal risk control; the share outside is a loss that
    falls with q and is at most 1).

    Parameters
    ----------
    ratios : array_like, (n, ...)
        ``|error| / spread`` of every pixel of every calibration image, the images equal in size.
    level : float
        Between 0 and 1.

    Raises
    ------
    ValueError
        If there are too few images for the level.

    References
    ----------
    A. N. Angelopoulos, S. Bates, A. Fisch, L. Lei and T. Schuster, "Conformal risk control", ICLR 2024.

    Examples
    --------
    >>> pixel_factor(np.arange(1.0, 201.0).reshape(20, 10), 0.9)
    189.0
    """
    values = np.asarray(ratios)
    if values.ndim < 2 or np.isnan(values).any() or (values < 0).any():
        raise ValueError(
            f"ratios have shape {values.shape}; they must be (images, pixels) of numbers that are 0 or more"
        )
    n, part = len(values), exact(level)
    pixels = math.prod(values.shape[1:])
    outside = math.floor(((n + 1) * (1 - part) - 1) * pixels)
    if outside < 0:
        raise ValueError(
            f"{n} calibration images are too few for level {level}; "
            f"give at least {math.ceil(part / (1 - part))}"
        )
    place = max(n * pixels - outside - 1, 0)
    return float(np.partition(values.reshape(-1), place)[place])


def exact(level: float) -> Fraction:
    """A level as the decimal it was written as, so that ``10 * 0.9`` is 9 and not a little more."""
    if not 0 < level < 1:
        raise ValueError(f"level is {level}; it must lie between 0 and 1, such as 0.9")
    return Fraction(str(float(level)))
