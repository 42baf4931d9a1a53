"""Objects made of ellipses, as pixels and as exact line integrals.

A table has one row ``(value, a, b, x, y, angle)`` per ellipse: the value it adds inside, semi-axes and centre
in mm, and the angle in rad from the x axis to semi-axis a. A ray at distance p from the centre and at angle t
to semi-axis a has the chord ``2 a b sqrt(q - p^2) / q`` with ``q = (b cos t)^2 + (a sin t)^2``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayfold.operators.geometry import FanBeam, Floats, ParallelBeam, VectorBeam, Volume

COLUMNS = ("value", "a", "b", "x", "y", "angle")


def rasterise(table: npt.ArrayLike, volume: Volume, *, supersample: int = 8) -> Floats:
    """Mean of the ellipses over every pixel.

    Parameters
    ----------
    table : array_like, (n, 6)
        Rows ``(value, a, b, x, y, angle)`` in mm and rad.
    volume : Volume
        The grid; every slice of a 3D one is the same.
    supersample : int
        Lines per pixel row. Along each line the covered length is exact.

    Returns
    -------
    ndarray, volume.shape
        float64, in the unit of `value`.

    Raises
    ------
    ValueError
        If the table has another shape or a semi-axis is not positive, or if `supersample` is less than 1.

    Examples
    --------
    >>> area = rasterise([(1, 3, 3, 0, 0, 0)], Volume((8, 8), 1.0)).sum()
    >>> round(float(area / 9), 2)
    3.14
    """
    rows = checked(table)
    if supersample < 1:
        raise ValueError(f"supersample is {supersample}; it must be at least 1")
    (dy, dx), (ys, xs) = volume.steps[-2:], volume.coordinates()[-2:]
    plane = np.zeros(volume.shape[-2:])
    for value, a, b, x0, y0, angle in rows:
        c, s = np.cos(angle), np.sin(angle)
        j = _touched(ys, y0, float(np.hypot(a * s, b * c)), dy)
        i = _touched(xs, x0, float(np.hypot(a * c, b * s)), dx)
        if j.start >= j.stop or i.start >= i.stop:
            continue
        left = xs[None, i] - dx / 2 - x0
        for k in range(supersample):
            y = ys[j, None] + ((k + 0.5) / supersample - 0.5) * dy - y0
            middle, half = _chord_along_x(y, a, b, angle)
            ends = np.clip(middle + half, left, left + dx)
            covered = ends - np.clip(middle - half, left, left + dx)
            plane[j, i] += value / (supersample * dx) * covered
    return plane if len(volume.shape) == 2 else np.repeat(plane[None], volume.shape[0], axis=0)


def ellipse_sinogram(
    table: npt.ArrayLike, beam: ParallelBeam | FanBeam | VectorBeam, *, sub_bins: int = 1
) -> Floats:
    """Line integrals of the ellipses, exact but for rounding: simulation without an inverse crime.

    Parameters
    ----------
    table : array_like, (n, 6)
        Rows ``(value, a, b, x, y, angle)`` in mm and rad.
    beam : ParallelBeam, FanBeam or VectorBeam
        The rays. The object must lie between source and detector.
    sub_bins : int
        Rays per bin, evenly spaced and averaged; 1 for the ray through the middle of the bin.

    Returns
    -------
    ndarray, (views, cols)
        float64, in the unit of `value` times mm.

    Raises
    ------
    ValueError
        If the table has another shape or a semi-axis is not positive, or if `sub_bins` is less than 1.

    Examples
    --------
    >>> beam = ParallelBeam.evenly(2, 3, pitch=3.0)
    >>> ellipse_sinogram([(1, 5, 5, 0, 0, 0)], beam)
    array([[ 8., 10.,  8.],
           [ 8., 10.,  8.]])
    """
    rows = checked(table)
    if sub_bins < 1:
        raise ValueError(f"sub_bins is {sub_bins}; it must be at least 1")
    total = np.zeros(beam.shape)
    for k in range(sub_bins):
        _add_chords(total, rows, *_rays(beam, (k + 0.5) / sub_bins - 0.5))
    return total / sub_bins


def checked(table: npt.ArrayLike) -> Floats:
    """Table as float64 of shape (n, 6); ValueError if it is none."""
    rows = np.atleast_2d(np.asarray(table, dtype=np.float64))
    if rows.ndim != 2 or rows.shape[1] != len(COLUMNS):
        raise ValueError(f"the table has shape {rows.shape}; it needs one row {COLUMNS} per ellipse")
    if not (np.isfinite(rows).all() and (rows[:, 1:3] > 0).all()):
        raise ValueError("the table holds a semi-axis that is not positive or a number that is not finite")
    return rows


def _touched(centres: Floats, at: float, half: float, step: float) -> slice:
    """Pixels of one axis that the interval at +- half may touch."""
    first = int(np.floor((at - half - centres[0]) / step + 0.5))
    last = int(np.ceil((at + half - centres[0]) / step + 0.5))
    return slice(max(first, 0), min(last, len(centres)))


def _chord_along_x(y: Floats, a: float, b: float, angle: float) -> tuple[Floats, Floats]:
    """Middle and half length, relative to the centre, of the horizontal chord at height y."""
    c, s = np.cos(angle), np.sin(angle)
    q = (b * c) ** 2 + (a * s) ** 2
    middle = y * c * s * (a * a - b * b) / q
    inside = np.maximum(q - y * y, 0.0)
    return middle, a * b * np.sqrt(inside) / q


def _rays(beam: ParallelBeam | FanBeam | VectorBeam, shift: float) -> tuple[Floats, Floats, Floats]:
    """Unit direction (dx, dy) and moment ``x dy - y dx`` of the rays `shift` bins off the bin middles."""
    v = beam.vectors
    bins = np.arange(beam.n_cols) - (beam.n_cols - 1) / 2 + shift
    first, centre, step = v[:, None, 0:2], v[:, None, 2:4], v[:, None, 4:6]
    if beam.kind == "parallel":
        direction: Floats = np.broadcast_to(first, (beam.n_views, beam.n_cols, 2))
        point: Floats = centre + bins[:, None] * step
    elif beam.fan_step:
        along = centre - first
        along = along / np.linalg.norm(along, axis=-1, keepdims=True)
        across = step / np.linalg.norm(step, axis=-1, keepdims=True)
        fan = bins[:, None] * beam.fan_step
        direction, point = np.cos(fan) * along + np.sin(fan) * across, first
    else:
        direction, point = centre + bins[:, None] * step - first, first
    direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    dx, dy = direction[..., 0], direction[..., 1]
    return dx, dy, point[..., 0] * dy - point[..., 1] * dx


def _add_chords(total: Floats, rows: Floats, dx: Floats, dy: Floats, moment: Floats) -> None:
    dx, dy, moment, flat = dx.ravel(), dy.ravel(), moment.ravel(), total.ravel()
    for value, a, b, x0, y0, angle in rows:
        distance = moment - (x0 * dy - y0 * dx)
        hit = np.flatnonzero(np.abs(distance) < max(a, b))  # a small ellipse meets few rays
        c, s = np.cos(angle), np.sin(angle)
        along, across = dx[hit] * c + dy[hit] * s, dy[hit] * c - dx[hit] * s
        q = (b * along) ** 2 + (a * across) ** 2
        inside = np.maximum(q - distance[hit] ** 2, 0.0)
        flat[hit] += 2 * value * a * b * np.sqrt(inside) / q
