"""Rosettes: k-space in petals that cross the centre again and again."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from rayfold.recon.trajectories.spirals import rotated
from rayfold.recon.trajectories.spokes import check_counts

Array = npt.NDArray[np.float64]


def rosette(shots: int, samples: int, *, oscillations: float = 5.0, rotations: float = 4.0) -> Array:
    """Petals ``k(t) = pi sin(2 pi f1 t) exp(2 pi i f2 t)``, t from 0 to 1.

    See Noll, IEEE Trans Med Imaging 16:372, 1997. The centre is measured ``2 f1`` times per shot, which
    separates frequencies or follows motion.

    Parameters
    ----------
    shots, samples : int
        Number of shots, turned evenly over a full turn, and samples of each, evenly spaced in time.
    oscillations : float
        f1, swings from the centre to both edges in one shot.
    rotations : float
        f2, turns of the direction of the swing in one shot; the largest gradient is
        ``2 pi^2 max(f1, f2)`` rad/voxel per shot.

    Returns
    -------
    ndarray, (shots, samples, 2)
        (ky, kx) in rad/voxel.

    Raises
    ------
    ValueError
        If a number is not positive.

    Examples
    --------
    >>> k = rosette(3, 500)
    >>> k.shape, bool(np.abs(k).max() <= np.pi)
    ((3, 500, 2), True)
    """
    check_counts(shots=shots, samples=samples)
    if not (oscillations > 0 and rotations > 0):
        raise ValueError(
            f"oscillations {oscillations} and rotations {rotations} must be positive; 5 and 4 are usual"
        )
    t = np.arange(samples) / samples
    r, direction = math.pi * np.sin(2 * math.pi * oscillations * t), 2 * math.pi * rotations * t
    shot = np.stack([r * np.sin(direction), r * np.cos(direction)], axis=-1)
    return rotated(shot, np.linspace(0, 2 * math.pi, shots, endpoint=False))
