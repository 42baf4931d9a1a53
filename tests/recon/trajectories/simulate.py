"""Exact sums over voxels, the truth that transforms are held against, and a receiver array."""

from __future__ import annotations

import numpy as np


def exact(image, k):
    """The orthonormal transform of the last axes of `image` at `k`, rad/voxel, term by term."""
    ndim = k.shape[-1]
    shape = image.shape[-ndim:]
    axes = [np.arange(n) - n // 2 for n in shape]
    where = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, ndim)
    waves = np.exp(-1j * (k.reshape(-1, ndim) @ where.T))
    flat = image.reshape(*image.shape[:-ndim], -1) @ waves.T
    return flat.reshape(*image.shape[:-ndim], *k.shape[:-1]) / np.sqrt(np.prod(shape))


def coils(k, n, count=6):
    """K-space of a phantom of ellipses with a smooth phase, seen by coils around it."""
    y, x = (np.mgrid[:n, :n] - n // 2) / (n / 2)
    image = 1.0 * ((x / 0.7) ** 2 + (y / 0.85) ** 2 < 1) - 0.5 * (
        ((x - 0.2) / 0.2) ** 2 + ((y + 0.1) / 0.35) ** 2 < 1
    )
    image = (image + 0.6 * ((x + 0.3) ** 2 + (y - 0.3) ** 2 < 0.02)) * np.exp(1j * (0.6 * x - 0.8 * y**2))
    at = 2 * np.pi * np.arange(count)[:, None, None] / count
    distance = (x - 1.1 * np.cos(at)) ** 2 + (y - 1.1 * np.sin(at)) ** 2
    return exact(image * np.exp(-distance / 1.5 + 1j * (at + x * np.cos(at))), k)
