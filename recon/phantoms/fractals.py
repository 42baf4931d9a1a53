"""Fractals and noise: images without objects, rough at every scale.

Reference: training on quaternion Julia sets alone carries over to cardiac MRI, arXiv 2603.29922.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.fields import generator, normalised, power_law, smooth_map, smoothed
from rayfold.recon.phantoms.leaves import disc_window, sharpness

Floats = npt.NDArray[Any]
STEPS = 24  # of a Julia set
VISITS = 4.0  # of an attractor, per sample of the grid


def fractal(shape: tuple[int, ...], seed: int) -> Floats:
    """A Julia set of quaternions, the attractor of a few affine maps, or fractional Brownian noise.

    Parameters
    ----------
    shape : tuple of int
        Two or three axes.
    seed : int
        Everything varies with it and only with it.

    Returns
    -------
    ndarray, shape
        float32, 0 to about 1.

    Examples
    --------
    >>> fractal((64, 64), 3).shape
    (64, 64)
    """
    rng = generator(shape, seed, 105)
    kind = rng.uniform()
    make = _julia if kind < 0.45 else _attractor if kind < 0.65 else _brownian
    image = make(shape, rng)
    for _ in range(8):  # Julia sets may lie elsewhere and attractors collapse
        if image.std() > 0.05 * np.abs(image).mean() > 0:
            break
        image = make(shape, rng)
    return normalised(image)


def noise_field(shape: tuple[int, ...], seed: int) -> Floats:
    """Noise with a power-law spectrum: as it is, made of plateaus, or two kinds side by side.

    Parameters
    ----------
    shape : tuple of int
        Two or three axes.
    seed : int
        Everything varies with it and only with it.

    Returns
    -------
    ndarray, shape
        float32, 0 to about 1.

    Examples
    --------
    >>> noise_field((64, 64), 3).dtype
    dtype('float32')
    """
    rng = generator(shape, seed, 106)
    kind = rng.uniform()
    field = _spectral(shape, rng)
    out: Floats
    if kind < 0.35:  # plateaus with a rough border
        levels = np.sort(rng.uniform(-1.5, 1.5, int(rng.integers(1, 5))))
        values = rng.uniform(0, 1, len(levels) + 1).astype(np.float32)
        rough = values[np.searchsorted(levels, field.ravel())].reshape(shape)
        out = rough + np.float32(rng.choice([0.0, rng.uniform(0, 0.1)])) * _spectral(shape, rng)
    elif kind < 0.6:  # a border between two textures
        mask = field > rng.uniform(-0.8, 0.8)
        strength = np.exp(rng.uniform(np.log(0.01), np.log(0.3), 2)).astype(np.float32)
        level = rng.uniform(0.2, 1, 2).astype(np.float32)
        a, b = (level[k] + strength[k] * _spectral(shape, rng) for k in (0, 1))
        out = np.where(mask, a, b)
    elif kind < 0.75:
        out = np.exp(np.float32(rng.uniform(0.3, 1.2)) * field)
    else:
        out = np.float32(1) + np.float32(np.exp(rng.uniform(np.log(0.02), np.log(0.5)))) * field
    out = np.maximum(out, 0)
    if rng.uniform() < 0.4:
        out = out * disc_window(shape, rng)
    return normalised(_blurred(out, rng.uniform(0.4, 0.9)))


def _blurred(image: Floats, sigma: float) -> Floats:
    return smoothed(image, sigma, 1, axes=tuple(range(image.ndim)))


def _spectral(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    return power_law(shape, float(rng.uniform(0.6, 2.4)) * (len(shape) / 2) ** 0.7, rng)


def _brownian(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Fractional Brownian noise; folded at zero it has ridges, as mountains have."""
    field = power_law(shape, float(rng.uniform(1.2, 2.2)) * (len(shape) / 2) ** 0.7, rng)
    kind = rng.uniform()
    if kind < 0.4:
        field = 2 - np.abs(field)
    elif kind < 0.7:
        field = np.abs(field)
    else:
        field = field + rng.uniform(0, 3)
    return np.maximum(_blurred(np.maximum(field, 0), rng.uniform(0.3, 0.8)), 0)


def _julia(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    from rayfold.kernels.cpu.fractals import julia

    deep = len(shape) == 3
    fine = 1 if deep else 2
    grid = shape if deep else (1, shape[0] * fine, shape[1] * fine)
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    side = rng.uniform(0.5, 2.6)
    frame = np.zeros((4, 4))
    frame[1:] = turn[1:] * side / max(grid)
    frame[0] = turn[0] * rng.normal(0, 0.2) - np.array(grid) / 2 @ frame[1:] + rng.normal(0, 0.3, 4)
    # near the border of the Mandelbrot set, where Julia sets are richest
    t = rng.uniform(0, 2 * np.pi)
    c = 0.5 * np.exp(1j * t) - 0.25 * np.exp(2j * t)
    away = rng.standard_normal(3)
    away *= c.imag / np.linalg.norm(away)
    out = np.empty(grid, np.float32)
    julia(out, frame, np.concatenate([[c.real], away]) * rng.uniform(0.95, 1.12), STEPS, 16.0)
    picture: Floats = out / STEPS
    kind = rng.uniform()
    if kind < 0.4:
        picture = np.where(out >= STEPS, rng.uniform(), picture ** rng.uniform(0.4, 1.5))
    elif kind < 0.7:
        picture = 0.5 + 0.5 * np.cos(rng.uniform(1, 8) * np.pi * picture)
    else:
        picture = np.where(out >= STEPS, 1, picture * (picture > rng.uniform(0.1, 0.4)))
    axes = (0, 1, 2) if deep else (1, 2)
    return smoothed(picture.astype(np.float32), sharpness(rng, len(shape)) * fine, fine, axes).reshape(shape)


def _attractor(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    from rayfold.kernels.cpu.fractals import chaos

    deep = len(shape) == 3
    grid = shape if deep else (1, *shape)
    n = int(rng.integers(2, 6))
    maps = np.zeros((n, 3, 4))
    for k in range(n):
        size = np.diag(rng.uniform(0.35, 0.8, 3))
        maps[k, :, :3] = np.linalg.qr(rng.standard_normal((3, 3)))[0] @ size
        if not deep:
            t = rng.uniform(0, 2 * np.pi)
            maps[k, 1:, 1:3] = np.array([[np.cos(t), -np.sin(t)], [np.sin(t), np.cos(t)]]) @ size[1:, 1:]
            maps[k, 0] = 0
        maps[k, :, 3] = rng.uniform(-1, 1, 3) * (float(deep), 1, 1)
    weights = np.abs(np.linalg.det(maps[:, 1:, 1:3])) + 0.05
    choice = rng.choice(n, int(VISITS * np.prod(grid)), p=weights / weights.sum()).astype(np.int16)
    out = np.zeros(grid, np.float32)
    scale = np.array(grid) / 2 / rng.uniform(1.0, 2.2)
    chaos(out, maps, choice, scale, np.array(grid) / 2)
    out = np.log1p(out * np.float32(rng.uniform(0.2, 2)))
    level = rng.choice([0.0, rng.uniform(0, 1)])
    base = level * (1 + 0.5 * smooth_map((grid[0], grid[1], grid[2]), 3, rng))
    picture = np.maximum(out + np.maximum(base, 0), 0).reshape(shape)
    return _blurred(picture.astype(np.float32), rng.uniform(0.5, 1.2))
