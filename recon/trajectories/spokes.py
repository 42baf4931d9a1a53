"""Spokes through the centre of k-space, at even or golden angles."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
GOLDEN = (1 + math.sqrt(5)) / 2


def golden_angle(order: int = 1) -> float:
    """Angle between successive spokes that fills any window of them almost evenly.

    ``pi / (g + N - 1)`` with g the golden ratio: 111.25 degrees for N = 1 (Winkelmann et al., IEEE Trans Med
    Imaging 26:68, 2007), the tiny golden angles for larger N, 23.63 degrees for N = 7 (Wundrak et al.,
    IEEE Trans Med Imaging 34:1262, 2015), which change gradients less from one spoke to the next.

    Parameters
    ----------
    order : int
        N, 1 or more.

    Returns
    -------
    float
        In radian.

    Raises
    ------
    ValueError
        If N is not positive.

    Examples
    --------
    >>> round(math.degrees(golden_angle()), 3), round(math.degrees(golden_angle(7)), 3)
    (111.246, 23.628)
    """
    if order < 1:
        raise ValueError(
            f"order {order} of the golden angle must be 1 or more; 7 is usual for real-time imaging"
        )
    return math.pi / (GOLDEN + order - 1)


def radial(spokes: int, samples: int, *, golden: int = 0, first: float = 0.0) -> Array:
    """Full spokes from edge to edge of k-space.

    Sample j of the spoke at angle a lies at ``2 pi (j - samples // 2) / samples`` times ``(sin a, cos a)``,
    so one sample of every spoke is the centre.

    Parameters
    ----------
    spokes, samples : int
        Number of spokes and of samples of each. For an image of n voxels ``samples = 2 n`` is the usual
        readout oversampling, and ``spokes >= pi / 2 n`` measures all of the disc.
    golden : int
        0 for angles evenly spread over half a turn; otherwise the order of the golden angle between spokes.
    first : float
        Angle of the first spoke from kx towards ky, in radian.

    Returns
    -------
    ndarray, (spokes, samples, 2)
        (ky, kx) in rad/voxel.

    Raises
    ------
    ValueError
        If a number is not positive.

    Examples
    --------
    >>> radial(2, 4)[:, :, 1].round(3)
    array([[-3.142, -1.571,  0.   ,  1.571],
           [-0.   , -0.   ,  0.   ,  0.   ]])
    """
    check_counts(spokes=spokes, samples=samples)
    step = golden_angle(golden) if golden else math.pi / spokes
    angles = first + step * np.arange(spokes)
    along = readout(samples)[None, :, None]
    return np.asarray(along * np.stack([np.sin(angles), np.cos(angles)], axis=-1)[:, None], np.float64)


def readout(samples: int) -> Array:
    """Places of the samples of a line from edge to edge, in rad/voxel."""
    return np.asarray((np.arange(samples) - samples // 2) * (2 * math.pi / samples), np.float64)


def check_counts(**counts: int) -> None:
    """Refuse what is no positive whole number."""
    for name, count in counts.items():
        if count != int(count) or count < 1:
            raise ValueError(f"{name} is {count}; it must be a whole number of at least 1")
