"""The middle of k-space from several coils: what lies outside may be made finer, and must not be invented."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.operators import FFT, CartesianMask, CoilSensitivities
from rayfold.operators.fourier import fft, ifft
from rayfold.operators.noise import Gaussian
from rayfold.recon import Problem
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.mri.espirit_maps import espirit, soft_mask
from rayfold.recon.mri.simulate import loop_coils
from rayfold.recon.phantoms import FAMILIES

N, CROP, NOISE = 96, 48, 0.01  # noise of each part of a coil, over the image


@pytest.fixture(scope="module")
def prior():
    return FoundationPrior.load("base", device="cpu")


def decibels(x, truth):
    x = x * (np.vdot(x, truth) / np.vdot(x, x))
    return -10 * np.log10((abs(x - truth) ** 2).sum() / (abs(truth) ** 2).sum())


@pytest.mark.parametrize(
    ("family", "maps_from"), [("mr_head", "simulation"), ("foam", "simulation"), ("foam", "data")]
)
def test_better_than_zero_filling(prior, family, maps_from):
    image = FAMILIES[family].draw((N, N), 3).astype(np.complex64)
    sigma = NOISE * float(np.sqrt((abs(image) ** 2).mean()))
    coils = loop_coils((N, N), 8).astype(np.complex64)
    inside = abs(np.arange(N) - N // 2 + 0.5) < CROP / 2
    mask = inside[:, None] & inside
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((2, *coils.shape))
    data = ((fft(coils * image, (1, 2)) + sigma * (noise[0] + 1j * noise[1])) * mask).astype(np.complex64)
    if maps_from == "data":
        found = espirit(data, sampled=mask, width=32)
        maps = (found.maps * soft_mask(found.eigenvalues, 0.9, 0.05)).astype(np.complex64)
    else:
        maps = coils
    A = CartesianMask((N, N), mask.astype(np.float32)) @ FFT((N, N)) @ CoilSensitivities(maps)
    bright = np.sqrt((abs(maps) ** 2).sum(0))
    seen = bright > 0.1 * bright.max()
    truth = abs(image) * np.sqrt((abs(coils) ** 2).sum(0)) * seen
    zero_filled = abs((maps.conj() * ifft(data, (1, 2))).sum(0)) / np.maximum(bright, 1e-3) * seen
    restored = abs(np.asarray(prior.restore(Problem(A, data, Gaussian(sigma))))) * bright * seen
    assert decibels(restored, truth) > decibels(zero_filled, truth) + 0.5
