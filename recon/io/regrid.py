"""Readouts sampled while the gradient ramps: positions of the samples, and the same line on an even grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
SMALLEST = 0.02  # singular values below this part of the largest belong to the edge of the field of view


def trapezoid_positions(
    n: int, dwell: float, delay: float, ramp_up: float, flat: float, ramp_down: float
) -> Array:
    """Positions along the readout of `n` samples under a trapezoid gradient, in cycles per field of view.

    The gradient's moment during the samples is the extent of k-space, and half its total moment is k = 0 (the
    convention of the vendors' headers that state a trapezoid).

    Parameters
    ----------
    n : int
        Samples, which is also the encoded matrix along the readout.
    dwell, delay, ramp_up, flat, ramp_down : float
        Sample distance, start of sampling, and the gradient's three durations, in one unit of time.

    Returns
    -------
    ndarray, (n,)
        From about -n/2 to n/2.

    Raises
    ------
    ValueError
        If a time is negative or the samples outlast the gradient.

    Examples
    --------
    >>> trapezoid_positions(4, 1.0, 1.0, 1.0, 4.0, 1.0).tolist()
    [-1.5, -0.5, 0.5, 1.5]
    """
    total = ramp_up + flat + ramp_down
    if min(dwell, flat) <= 0 or min(delay, ramp_up, ramp_down) < 0 or delay + n * dwell > total * 1.02:
        raise ValueError(
            f"{n} samples of {dwell:g} from {delay:g} do not fit a gradient of {ramp_up:g} + {flat:g} + "
            f"{ramp_down:g}; check the header"
        )

    def moment(t: Array) -> Array:
        up, down = np.clip(t, 0, ramp_up), np.clip(t - ramp_up - flat, 0, ramp_down)
        rising = up**2 / (2 * ramp_up) if ramp_up else 0 * t
        falling = down - down**2 / (2 * ramp_down) if ramp_down else 0 * t
        return np.asarray(rising + np.clip(t - ramp_up, 0, flat) + falling)

    first, last = moment(np.array([delay, delay + n * dwell]))
    middle = (ramp_up + ramp_down) / 4 + flat / 2
    return np.asarray((moment(delay + (np.arange(n) + 0.5) * dwell) - middle) * (n / (last - first)))


def regridding(positions: Array, n: int) -> Array:
    """Matrix ``(n, samples)`` from samples at `positions` to the even grid of `n` samples.

    It is the least-squares image on `n` voxels, transformed to the grid: exact for every object within the
    field of view as far as the samples determine it; the rest is left out (truncated singular values).

    Parameters
    ----------
    positions : ndarray, (samples,)
        In cycles per field of view.
    n : int
        Grid points, from ``-(n // 2)``.

    Examples
    --------
    >>> even = np.arange(-4, 4)
    >>> bool(np.allclose(regridding(even, 8), np.eye(8)))
    True
    """
    x = (np.arange(n) - n // 2) / n
    samples = np.exp(-2j * np.pi * np.outer(positions, x))
    grid = np.exp(-2j * np.pi * np.outer(np.arange(n) - n // 2, x))
    return np.asarray(grid @ np.linalg.pinv(samples, rcond=SMALLEST))
