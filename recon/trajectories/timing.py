"""How fast a curve through k-space can be run: all of the gradient or all of the slew rate, at all times."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayfold.recon.trajectories.limits import GAMMA, Hardware, physical, system

Array = npt.NDArray[np.float64]
STEPS = 16  # of the integration, per sample of a curve run at full gradient
MARGIN = 0.998  # of both limits, left for the interpolation


def traverse(
    curve: Array, *, dwell: float, spacing: float | tuple[float, ...], hardware: Hardware | str = "clinical"
) -> Array:
    """Time-optimal samples along a curve, starting at rest.

    Along the arc length s with curvature c, the speed v obeys ``v <= gamma G``, ``c v^2 <= gamma S`` and
    ``|d(v^2)/ds| <= 2 sqrt((gamma S)^2 - (c v^2)^2)``; the largest v is found by integrating forwards from
    rest and backwards from the end, and taking the smaller one (Lustig, Kim and Pauly, IEEE Trans Med Imaging
    27:866, 2008).

    Parameters
    ----------
    curve : ndarray, (points, ndim)
        Smooth curve in rad/voxel, with points dense enough that a cubic spline through them is the curve.
    dwell : float
        Time between samples in ms.
    spacing : float or tuple of float
        Voxel size in mm, per image axis.
    hardware : Hardware or str
        Limits of the gradient system, or their name.

    Returns
    -------
    ndarray, (samples, ndim)
        In rad/voxel; the first is the start of the curve, the last less than a dwell before its end.

    Raises
    ------
    ValueError
        If the curve has fewer than four points or stands still.

    Examples
    --------
    >>> from rayfold.recon.trajectories import check_limits
    >>> line = np.stack([np.zeros(9), np.linspace(0, np.pi, 9)], axis=-1)
    >>> k = traverse(line, dwell=0.01, spacing=1.0)
    >>> len(k), check_limits(k, dwell=0.01, spacing=1.0).ok
    (38, True)
    """
    from scipy.interpolate import CubicSpline

    limits = system(hardware)
    k = physical(curve, spacing)
    if k.ndim != 2 or len(k) < 4 or not dwell > 0:
        raise ValueError(
            f"curve of shape {k.shape} and dwell {dwell} ms; give at least 4 points and a positive dwell"
        )
    speed, push = MARGIN * GAMMA * limits.gradient, MARGIN * GAMMA * limits.slew
    path = CubicSpline(np.arange(len(k)), k)
    length = _arc_length(path, len(k))
    n = int(np.ceil(length[-1] / (speed * dwell) * STEPS)) + 64
    # finer where a curve begins: from rest, equal times are squares of the length
    s = length[-1] * np.linspace(0, 1, n) ** 1.5
    fine = np.linspace(0, len(k) - 1, len(length))
    at = np.interp(s, length, fine)
    first, second = path(at, 1), path(at, 2)
    along = np.sum(first**2, axis=-1)
    normal = second - first * (np.sum(first * second, axis=-1) / along)[:, None]
    curvature = np.sqrt(np.sum(normal**2, axis=-1)) / along
    squared = _fastest(s, curvature, speed, push)
    time = np.concatenate([[0.0], np.cumsum(2 * np.diff(s) / (np.sqrt(squared[1:]) + np.sqrt(squared[:-1])))])
    when = np.arange(0, time[-1], dwell)
    # between two points v^2 is linear in s, so s is quadratic in time: exact, no kinks in the speed
    i = np.clip(np.searchsorted(time, when, side="right") - 1, 0, n - 2)
    gone = when - time[i]
    push_here = (squared[i + 1] - squared[i]) / (s[i + 1] - s[i]) / 2
    where = s[i] + np.sqrt(squared[i]) * gone + push_here * gone**2 / 2
    samples = path(np.interp(where, length, fine))
    return np.asarray(samples * (2 * np.pi * np.asarray(spacing, np.float64)), np.float64)


def _arc_length(path: object, points: int) -> Array:
    """Length up to many places evenly spread over the spline's parameter, by Simpson's rule."""
    n = 32 * (points - 1) if points < 2000 else 8 * (points - 1)
    x = np.linspace(0, points - 1, 2 * n + 1)
    rate = np.sqrt(np.sum(path(x, 1) ** 2, axis=-1))  # type: ignore[operator]
    if not rate.min() > 0:
        raise ValueError("the curve stands still somewhere; drop repeated points")
    pieces = (rate[:-2:2] + 4 * rate[1:-1:2] + rate[2::2]) * ((points - 1) / n / 6)
    return np.concatenate([[0.0], np.cumsum(pieces)])


def _fastest(s: Array, curvature: Array, speed: float, push: float) -> Array:
    """Largest v^2 at every place, at rest at the first."""
    bound = np.minimum(speed**2, push / np.maximum(curvature, 1e-12))
    ahead = _integrate(s, curvature, bound, push, 0.0)
    back = _integrate(s[-1] - s[::-1], curvature[::-1], bound[::-1], push, bound[-1])[::-1]
    return np.asarray(np.minimum(ahead, back), np.float64)


def _integrate(s: Array, curvature: Array, bound: Array, push: float, start: float) -> Array:
    """d(v^2)/ds = 2 sqrt(push^2 - (c v^2)^2) up to the bound, by the midpoint rule."""
    steps, bends, caps = np.diff(s).tolist(), curvature.tolist(), bound.tolist()
    u, out, most = start, [start], push * push
    for i, h in enumerate(steps):
        c = bends[i]
        half = u + h * max(most - (c * u) ** 2, 0.0) ** 0.5
        c = 0.5 * (c + bends[i + 1])
        u = min(u + 2 * h * max(most - (c * half) ** 2, 0.0) ** 0.5, caps[i + 1])
        out.append(u)
    return np.asarray(out)
