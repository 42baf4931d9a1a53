"""A disc seen by smooth coils whose maps are known."""

from __future__ import annotations

import numpy as np

from rayfold.operators.fourier import fft


def grid(shape):
    """Positions in -1..1, the origin at ``n // 2``."""
    return np.meshgrid(*[2 * (np.arange(n) - n // 2) / n for n in shape], indexing="ij")


def coil_maps(shape, coils=6, *, distance=1.1, width=1.0):
    """Sensitivities around the field of view, (coils, *shape); root sum of squares 1, phases included."""
    y, x = grid(shape)[-2:]
    turn = 2 * np.pi * np.arange(coils) / coils
    a = np.stack(
        [
            np.exp(-((y - distance * np.sin(t)) ** 2 + (x - distance * np.cos(t)) ** 2) / width**2)
            * np.exp(1j * (t + 0.6 * np.cos(t) * x - 0.5 * np.sin(t) * y))
            for t in turn
        ]
    )
    return a / np.sqrt((abs(a) ** 2).sum(axis=0))


def disc(shape, radius=0.7):
    """An image with structure inside a disc."""
    positions = grid(shape)
    inside = sum(p**2 for p in positions) < radius**2
    return inside * (1 + 0.3 * np.cos(5 * positions[-1]) * np.cos(4 * positions[-2]) + 0j)


def measured(shape=(32, 32), coils=6, noise=0.0, seed=0):
    """K-space (coils, *shape), image and maps."""
    maps, image = coil_maps(shape, coils), disc(shape)
    axes = tuple(range(1, 1 + len(shape)))
    y = fft(maps * image, axes)
    rng = np.random.default_rng(seed)
    y = y + noise * (rng.standard_normal(y.shape) + 1j * rng.standard_normal(y.shape))
    return y, image, maps


def misfit(found, truth):
    """Sine of the angle between two coil vectors in every voxel: blind to scale and phase."""
    overlap = abs((found.conj() * truth).sum(axis=0)) ** 2
    size = (abs(found) ** 2).sum(axis=0) * (abs(truth) ** 2).sum(axis=0)
    return np.sqrt(np.maximum(1 - overlap / np.maximum(size, 1e-30), 0))
