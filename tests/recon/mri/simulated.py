"""A small object under smooth receive coils, and its k-space."""

from __future__ import annotations

import numpy as np

from rayfold.operators.fourier import fft


def places(shape):
    """Coordinates of every axis, -1/2 to 1/2."""
    return np.meshgrid(*((np.arange(n) - n // 2) / n for n in shape), indexing="ij")


def coil_maps(shape, coils=8, width=0.3):
    """Gaussian sensitivities with a phase, centred on a ring around the object (two rings in 3D)."""
    at = places(shape)
    maps = []
    for c in range(coils):
        t = 2 * np.pi * c / coils
        far = (at[-2] - 0.55 * np.sin(t)) ** 2 + (at[-1] - 0.55 * np.cos(t)) ** 2
        if len(shape) == 3:
            far = far + (at[0] - (0.3 if c % 2 else -0.3)) ** 2
        turn = t + 1.5 * (at[-1] * np.cos(t) - at[-2] * np.sin(t))
        maps.append(np.exp(-far / (2 * width**2) + 1j * turn))
    return np.stack(maps)


def phantom(shape):
    """Ellipsoids with edges in an empty field of view."""
    at = places(shape)
    centre = (0.0,) * len(shape)

    def inside(middle, radii):
        return sum(((a - m) / r) ** 2 for a, m, r in zip(at, middle, radii, strict=True)) < 1

    image = 1.0 * inside(centre, (0.4, 0.42, 0.36)[-len(shape) :])
    image += 0.5 * inside((0.1, -0.1, 0.05)[-len(shape) :], (0.12, 0.15, 0.1)[-len(shape) :])
    return image - 0.4 * inside((0.0, 0.15, 0.12)[-len(shape) :], (0.1, 0.12, 0.1)[-len(shape) :])


def measured(shape, coils=8, width=0.3):
    """Fully sampled k-space ``(coils, *shape)`` without noise."""
    axes = tuple(range(-len(shape), 0))
    return fft(coil_maps(shape, coils, width) * phantom(shape), axes)


def nrmse(x, truth):
    return float(np.linalg.norm(x - truth) / np.linalg.norm(truth))
