"""A disc of one material with holes of many shapes, as in the Helsinki challenge; kept out of training."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.fields import generator

Floats = npt.NDArray[Any]
FINE = 3  # samples across a pixel
TRIES = 12  # for a place that no other hole has


def holes(shape: tuple[int, ...], seed: int) -> Floats:
    """A disc with holes that do not touch: round, slit-like, angular or lobed. A rod where it is a volume.

    Parameters
    ----------
    shape : tuple of int
        Two or three axes.
    seed : int
        Everything varies with it and only with it.

    Returns
    -------
    ndarray, shape
        float32, 0 or 1 but at the edges.

    References
    ----------
    A. Meaney, F. S. de Moura, S. Siltanen, Helsinki Tomography Challenge 2022, Zenodo 6984868.

    Examples
    --------
    >>> picture = holes((64, 64), 3)
    >>> float(picture.min()), float(picture.max())
    (0.0, 1.0)
    """
    rng = generator(shape, seed, 111)
    ny, nx = shape[-2:]
    unit = min(ny, nx) / 2
    y, x = np.meshgrid(*((np.arange(FINE * n) + 0.5) / FINE - n / 2 for n in (ny, nx)), indexing="ij")
    y, x = y / unit - rng.normal(0, 0.02), x / unit - rng.normal(0, 0.02)
    radius = rng.uniform(0.72, 0.93)
    solid = np.hypot(y, x) < radius
    free = np.hypot(y, x) < radius - rng.uniform(0.04, 0.1)  # a rim stays
    gap = rng.uniform(0.02, 0.08)
    for _ in range(int(rng.integers(1, 25))):
        size = np.exp(rng.uniform(np.log(0.05), np.log(0.42)))
        for _ in range(TRIES):
            r, t = radius * np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
            distance = _distance(y - r * np.sin(t), x - r * np.cos(t), size, rng)
            wide = distance < gap
            if not (wide & ~free).any():
                solid[distance < 0] = False
                free[wide] = False
                break
            size *= 0.85
    mean = solid.reshape(ny, FINE, nx, FINE).mean((1, 3)).astype(np.float32)
    return np.ascontiguousarray(np.broadcast_to(mean, shape))


def _distance(y: Floats, x: Floats, size: float, rng: np.random.Generator) -> Floats:
    """About the distance to the edge of a shape of half-width `size`, negative inside."""
    turn = rng.uniform(0, 2 * np.pi)
    u, v = np.cos(turn) * x + np.sin(turn) * y, np.cos(turn) * y - np.sin(turn) * x
    kind = rng.uniform()
    if kind < 0.35:  # an ellipse, often a circle
        ratio = 1.0 if rng.uniform() < 0.5 else rng.uniform(0.4, 1)
        return np.asarray(np.hypot(u, v / ratio) - size)
    if kind < 0.55:  # a slit with round ends
        length = size * rng.uniform(0.5, 0.9)
        return np.asarray(np.hypot(np.maximum(np.abs(u) - length, 0), v) - (size - length))
    if kind < 0.85:  # a polygon, its corners at angles of any kind
        corners = np.sort(rng.uniform(0, 2 * np.pi, int(rng.integers(3, 7))))
        if rng.uniform() < 0.5:
            corners = np.arange(len(corners)) * 2 * np.pi / len(corners)
        normals = corners + 0.5 * np.diff(corners, append=corners[0] + 2 * np.pi)
        inside = [np.cos(a) * u + np.sin(a) * v - 0.6 * size for a in normals]
        return np.asarray(np.maximum(np.max(inside, axis=0), np.hypot(u, v) - size))
    lobes, depth = int(rng.integers(2, 6)), rng.uniform(0.1, 0.35)
    return np.asarray(np.hypot(u, v) - size * (1 - depth + depth * np.cos(lobes * np.arctan2(v, u))))
