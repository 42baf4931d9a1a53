"""Spirals from the centre outwards, Archimedean or of variable density, as fast as the gradients allow."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from rayfold.recon.trajectories.limits import GAMMA, Hardware, system
from rayfold.recon.trajectories.spokes import check_counts, golden_angle
from rayfold.recon.trajectories.timing import traverse

Array = npt.NDArray[np.float64]
POINTS_PER_TURN = 64


def spiral(
    interleaves: int,
    n: int,
    *,
    field_of_view: float,
    dwell: float = 0.005,
    hardware: Hardware | str = "clinical",
    density: float | tuple[float, float] = 1.0,
    golden: int = 0,
) -> Array:
    """Interleaved spirals that measure an n x n image, sampled every `dwell`.

    The turns of all interleaves together are ``1 / (density * field_of_view)`` apart, so density 1 meets the
    Nyquist distance; the shape is ``dr/dtheta = interleaves / (2 pi density(r) field_of_view)``
    (Kim, Adalsteinsson and Spielman, Magn Reson Med 50:214, 2003, for variable density). Time along it is
    optimal under both limits, see `traverse`, and samples are nowhere further apart than Nyquist's distance
    either, which for long dwells keeps the gradient below ``1 / (gamma field_of_view dwell)``.

    Parameters
    ----------
    interleaves : int
        Number of shots, each turned against the last.
    n : int
        Voxels across the image; the spiral ends at pi rad/voxel.
    field_of_view : float
        In mm.
    dwell : float
        Time between samples in ms.
    hardware : Hardware or str
        Limits of the gradient system, or their name.
    density : float or (float, float)
        Turns relative to Nyquist, or its values in the centre and at the edge, linear between: (2, 0.5)
        measures the centre twice as densely as needed and the edge half as densely.
    golden : int
        0 for interleaves evenly over a full turn; otherwise the order of the golden angle, here of a full
        turn, between them.

    Returns
    -------
    ndarray, (interleaves, samples, 2)
        (ky, kx) in rad/voxel, from the centre outwards.

    Raises
    ------
    ValueError
        If a number is not positive.

    Examples
    --------
    >>> from rayfold.recon.trajectories import check_limits
    >>> k = spiral(16, 128, field_of_view=220.0)
    >>> k.shape
    (16, 853, 2)
    >>> check_limits(k, dwell=0.005, spacing=220 / 128).ok
    True
    """
    check_counts(interleaves=interleaves, n=n)
    inner, outer = density if isinstance(density, tuple) else (density, density)
    if not (field_of_view > 0 and dwell > 0 and inner > 0 and outer > 0):
        raise ValueError(
            f"field_of_view {field_of_view} mm, dwell {dwell} ms and density {density} must be positive"
        )
    # theta(r) in closed form: the integral of a linear density; r in rad/voxel, Nyquist distance 2 pi / n
    turns_to_edge = n / interleaves * (inner + outer) / 4
    total = max(math.ceil(turns_to_edge * POINTS_PER_TURN), 256)
    full = 2 * math.pi * turns_to_edge
    theta = full * np.linspace(0, 1, total)
    r = math.pi * _part(theta / full, inner, outer)
    # faster than this, samples along the spiral would be further apart than its turns
    limits = system(hardware)
    limits = replace(limits, gradient=min(limits.gradient, 1 / (GAMMA * field_of_view * dwell)))
    shot = traverse(
        np.stack([r * np.sin(theta), r * np.cos(theta)], axis=-1),
        dwell=dwell,
        spacing=field_of_view / n,
        hardware=limits,
    )
    step = 2 * golden_angle(golden) if golden else 2 * math.pi / interleaves
    return rotated(shot, np.asarray(step * np.arange(interleaves), np.float64))


def rotated(shot: Array, angles: Array) -> Array:
    """Copies of one planar shot, turned from kx towards ky."""
    sine, cosine = np.sin(angles)[:, None], np.cos(angles)[:, None]
    ky, kx = shot[None, :, 0], shot[None, :, 1]
    return np.stack([cosine * ky + sine * kx, cosine * kx - sine * ky], axis=-1)


def _part(angle: Array, inner: float, outer: float) -> Array:
    """Radius (0 to 1) that this share of all turns reaches: inner x + (outer - inner) x^2 / 2, inverted."""
    total = (inner + outer) / 2
    if abs(outer - inner) < 1e-9 * total:
        return angle
    bend = (outer - inner) / 2
    # the stable root: no cancellation where the bend is small
    root = np.sqrt(np.maximum(inner**2 + 4 * bend * total * angle, 0))
    return np.asarray(2 * total * angle / (inner + root), np.float64)
