"""Small problems, in NumPy."""

from __future__ import annotations

import numpy as np

from rayfold.operators import (
    FFT,
    CartesianMask,
    CoilSensitivities,
    Gaussian,
    ParallelBeam,
    PoissonTransmission,
    Volume,
    XRay,
)
from rayfold.recon import Problem

SIDE = 24


def picture(side=SIDE, seed=0):
    """Two discs, smooth inside, values up to about 1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side - 0.5
    body = (np.hypot(y, x) < 0.42) * (0.6 + 0.2 * x) + 0.3 * (np.hypot(y - 0.1, x + 0.1) < 0.15)
    return (body + 0.01 * rng.random((side, side))).astype(np.float32)


def ct(views=20, side=SIDE, sigma=0.05, lead=None):
    """Parallel rays; `lead` images side by side."""
    A = XRay(Volume((side, side)), ParallelBeam.evenly(views, side + 8))
    x = picture(side) if lead is None else np.stack([picture(side, k) for k in range(lead)])
    return Problem(A, Gaussian(sigma).sample(A(x), 0), Gaussian(sigma))


def low_dose(side=SIDE, photons=3e3):
    """Counted photons, with electronic noise."""
    A = XRay(Volume((side, side), (0.5, 0.5)), ParallelBeam.evenly(40, side + 8, pitch=0.5))
    noise = PoissonTransmission(photons, 5.0)
    return Problem(A, noise.sample(A(0.2 * picture(side)), 0), noise)


def mri(coils=3, side=SIDE, sigma=0.02):
    """Every other line of k-space and its centre, from a few coils."""
    y, x = np.mgrid[:side, :side] / side - 0.5
    turns = 2 * np.pi * np.arange(coils) / coils
    maps = [np.exp(-2 * ((y - np.sin(t) / 2) ** 2 + (x - np.cos(t) / 2) ** 2) + 1j * t) for t in turns]
    lines = (np.arange(side) % 2 == 0) | (abs(np.arange(side) - side // 2) < 4)
    mask = np.broadcast_to(lines[:, None], (side, side)).astype(np.float32)
    grid = (coils, side, side)
    A = CartesianMask(grid, mask) @ FFT(grid, (-2, -1)) @ CoilSensitivities(np.array(maps, np.complex64))
    image = (picture(side) * np.exp(1j * (0.4 + x))).astype(np.complex64)
    y = A(image) + mask * Gaussian(sigma).sample(np.zeros(grid, np.complex64), 0)
    return Problem(A, y.astype(np.complex64), Gaussian.from_weights(mask / np.float32(sigma) ** 2))
