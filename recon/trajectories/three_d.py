"""Trajectories through a volume of k-space: stacks of planar ones, and spokes in all directions."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rayfold.recon.trajectories.spokes import GOLDEN, check_counts, radial, readout

Array = npt.NDArray[np.float64]
# the two-dimensional golden means, powers of the root of x^3 + x - 1 (Chan et al., MRM 61:354, 2009)
MEANS = 0.46557123187676803, 0.6823278038280193


def stack(planar: Array, partitions: int) -> Array:
    """A planar trajectory repeated at evenly spaced kz.

    Parameters
    ----------
    planar : ndarray, (shots, samples, 2)
        (ky, kx) in rad/voxel.
    partitions : int
        Number of planes; kz runs from -pi as a phase-encoded axis of so many voxels does.

    Returns
    -------
    ndarray, (partitions * shots, samples, 3)
        (kz, ky, kx) in rad/voxel, all shots of the first plane first.

    Raises
    ------
    ValueError
        If the trajectory is not planar or the number not positive.

    Examples
    --------
    >>> stack(radial(8, 32), 4).shape
    (32, 32, 3)
    """
    check_counts(partitions=partitions)
    k = np.asarray(planar, np.float64)
    if k.ndim != 3 or k.shape[-1] != 2:
        raise ValueError(f"planar trajectory of shape {k.shape}; give (shots, samples, 2)")
    shots, samples, _ = k.shape
    out = np.empty((partitions, shots, samples, 3))
    out[..., 0] = readout(partitions)[:, None, None]
    out[..., 1:] = k
    return out.reshape(-1, samples, 3)


def stack_of_stars(
    spokes: int, samples: int, partitions: int, *, golden: int = 0, turn: float = 0.0
) -> Array:
    """Radial planes along kz, optionally each turned against the one below.

    Parameters
    ----------
    spokes, samples, partitions : int
        Spokes of each plane, samples of each spoke, number of planes.
    golden : int
        0 for even angles; otherwise the order of the golden angle.
    turn : float
        Angle in radian by which each plane is turned against the last; ``pi / spokes / partitions``
        interleaves the planes evenly.

    Returns
    -------
    ndarray, (partitions * spokes, samples, 3)
        (kz, ky, kx) in rad/voxel.

    Raises
    ------
    ValueError
        If a number is not positive.

    Examples
    --------
    >>> stack_of_stars(5, 16, 4, golden=1).shape
    (20, 16, 3)
    """
    if not turn:
        return stack(radial(spokes, samples, golden=golden), partitions)
    check_counts(partitions=partitions)
    planes = [radial(spokes, samples, golden=golden, first=turn * p) for p in range(partitions)]
    heights = readout(partitions)
    return np.concatenate([np.insert(plane, 0, z, axis=-1) for plane, z in zip(planes, heights, strict=True)])


def kooshball(spokes: int, samples: int, *, order: str = "phyllotaxis", interleaves: int = 1) -> Array:
    """Full spokes through the centre in all directions of a half sphere.

    "phyllotaxis" places them as seeds in a flower, turning by the golden angle from pole to equator (Piccini
    et al., Magn Reson Med 66:1049, 2011), here at steps of equal area, ``cos(polar) = 1 - (i + 1/2) /
    spokes``. "golden" takes both coordinates from the two-dimensional golden means, so that any window of
    successive spokes is spread evenly (Chan et al., Magn Reson Med 61:354, 2009).

    Parameters
    ----------
    spokes, samples : int
        Number of spokes, and samples of each, the middle one at the centre.
    order : {"phyllotaxis", "golden"}
        Which directions.
    interleaves : int
        Of "phyllotaxis": spokes are measured in so many spirals, each from pole to equator; Fibonacci numbers
        keep the steps within one small.

    Returns
    -------
    ndarray, (spokes, samples, 3)
        (kz, ky, kx) in rad/voxel, in order of time.

    Raises
    ------
    ValueError
        If the order is unknown, or `interleaves` does not divide `spokes`.

    Examples
    --------
    >>> kooshball(55, 32, interleaves=5).shape
    (55, 32, 3)
    """
    check_counts(spokes=spokes, samples=samples, interleaves=interleaves)
    i = np.arange(spokes)
    if order == "golden":
        if interleaves != 1:
            raise ValueError(
                f"interleaves {interleaves} with order 'golden'; that order has no interleaves, leave it 1"
            )
        height, azimuth = (i * MEANS[0]) % 1.0, 2 * math.pi * (i * MEANS[1] % 1.0)
    elif order == "phyllotaxis":
        if spokes % interleaves:
            raise ValueError(f"{interleaves} interleaves do not divide {spokes} spokes; choose a divisor")
        i = i.reshape(-1, interleaves).T.ravel()
        height, azimuth = 1 - (i + 0.5) / spokes, 2 * math.pi * (i / GOLDEN**2 % 1.0)
    else:
        raise ValueError(f"order {order!r} is not 'phyllotaxis' or 'golden'")
    across = np.sqrt(1 - height**2)
    direction = np.stack([height, across * np.sin(azimuth), across * np.cos(azimuth)], axis=-1)
    return np.asarray(readout(samples)[None, :, None] * direction[:, None], np.float64)
