"""What the kernels take: rays in pixel units, made from a beam's vectors once and kept on the device."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any

import numpy as np

from . import dispatch
from .geometry import BeamStructure, Volume, digest

Array = Any
KEPT = 64  # geometries


def bin_coordinates(beam: BeamStructure) -> Array:
    """Coordinate t of every bin in steps of the detector, ``(cols,)``: tangents, when curved."""
    index = np.arange(beam.n_cols) - (beam.n_cols - 1) / 2
    return np.tan(index * beam.fan_step) / beam.fan_step if beam.fan_step else index


def ray_coefficients(vectors: Array, beam: BeamStructure, volume: Volume) -> Array:
    """Rays as lines ``x * ey - y * ex = a`` in pixels about the middle of the grid.

    Parameters
    ----------
    vectors : ndarray, (views, 6)
        Source or direction, detector centre and bin step in mm.
    beam : BeamStructure
        Kind and sizes.
    volume : Volume
        Two-dimensional grid.

    Returns
    -------
    ndarray, (views, 6)
        ``a0 a1 ex0 ex1 ey0 ey1``; bin coordinate t has ``a = a0 + t a1`` and so on.
    """
    xp = np if isinstance(vectors, np.ndarray) else dispatch.namespace(vectors)
    (dy, dx), (cy, cx) = volume.steps, volume.middle
    v = vectors.astype(np.float64)
    ox, oy, ux, uy = (v[:, 2] - cx) / dx, (v[:, 3] - cy) / dy, v[:, 4] / dx, v[:, 5] / dy
    zero = 0 * ox
    if beam.kind == "parallel":
        ex, ey = v[:, 0] / dx, v[:, 1] / dy
        a0, a1, ex1, ey1 = ox * ey - oy * ex, ux * ey - uy * ex, zero, zero
    else:
        sx, sy = (v[:, 0] - cx) / dx, (v[:, 1] - cy) / dy
        ex, ey, ex1, ey1 = ox - sx, oy - sy, ux, uy
        a0, a1 = sx * ey - sy * ex, sx * uy - sy * ux
    size = xp.sqrt(ex * ex + ey * ey)
    coef = xp.stack([a0, a1, ex, ex1, ey, ey1], axis=1) / size[:, None]
    if xp is np:
        _check_rays(coef, volume)
    return coef


def _check_rays(coef: Array, volume: Volume) -> None:
    """Every pixel must lie before the source: the view from there must not turn inside the grid."""
    if not np.isfinite(coef).all():
        raise ValueError(
            "a view has rays without direction: source on the detector, or a direction of length zero"
        )
    ny, nx = volume.shape
    corners = np.array([[sx * (nx + 3) / 2, sy * (ny + 3) / 2] for sx in (-1, 1) for sy in (-1, 1)])
    depth = coef[:, 5, None] * corners[:, 0] - coef[:, 3, None] * corners[:, 1] - coef[:, 1, None]
    bad = np.flatnonzero((np.sign(depth) != np.sign(depth[:, :1])).any(axis=1) | (depth == 0).any(axis=1))
    if len(bad):
        raise ValueError(
            f"view {bad[0]}: the grid of {volume.extent[1]:g} x {volume.extent[0]:g} mm reaches the source; "
            "use a smaller grid, or check the distances"
        )


_kept: OrderedDict[Hashable, tuple[Array, ...]] = OrderedDict()
_lock = Lock()


def prepared(
    x: Array, operands: tuple[Array, ...], about: Hashable, make: Callable[[], tuple[Array, ...]]
) -> tuple[Array, ...]:
    """Arrays a kernel needs, contiguous, on x's device, in x's precision; kept for the next call.

    Parameters
    ----------
    x : ndarray
        NumPy or CuPy buffer the kernel will read.
    operands : tuple of ndarray
        What the arrays are made from. NumPy operands are known again by content; arrays on the device belong
        to the caller's graph, and what is made from them is not kept.
    about : hashable
        Everything else they are made from.
    make : callable
        Makes them, in float64.
    """
    if not all(isinstance(value, np.ndarray) for value in operands):
        return tuple(on_device(x, value) for value in make())
    device = str(getattr(x, "device", "cpu"))
    key = (about, tuple(digest(value) for value in operands), str(x.dtype), device)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    found = tuple(on_device(x, value) for value in make())
    for value in found:
        if isinstance(value, np.ndarray):
            value.setflags(write=False)  # kernels may keep what they derive from it
    with _lock:
        _kept[key] = found
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found


def on_device(like: Array, values: Array) -> Array:
    """NumPy or CuPy values as a contiguous array of the library, device and type of `like`."""
    if isinstance(like, np.ndarray):
        return np.ascontiguousarray(values, dtype=like.dtype)
    return dispatch.namespace(like).asarray(values, dtype=like.dtype, order="C")
