"""The middle of k-space from several coils: what lies outside may be made finer, and must not be invented."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.operators import FFT, CartesianMask, CoilSensitivities
from rayfold.operators.fourier import ifft
from rayfold.operators.noise import Gaussian
from rayfold.recon import Problem
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.mri.combine import combine_mvue, root_sum_of_squares
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
    middle = CartesianMask((N, N), mask.astype(np.float32)) @ FFT((N, N))
    noise = Gaussian(sigma)
    clean = (middle @ CoilSensitivities(coils))(image)
    data = (noise.sample(clean, 1) * mask).astype(np.complex64)
    if maps_from == "data":
        found = espirit(data, sampled=mask, width=32)
        maps = (found.maps * soft_mask(found.eigenvalues, 0.9, 0.05)).astype(np.complex64)
    else:
        maps = coils
    restored = np.asarray(prior.restore(Problem(middle @ CoilSensitivities(maps), data, noise)))
    zero_filled = combine_mvue(ifft(data, (1, 2)), maps)
    bright = root_sum_of_squares(maps)  # maps of the data are known but for a factor in each pixel
    bright = bright * (bright > 0.1 * bright.max())
    truth = abs(image) * root_sum_of_squares(coils) * (bright > 0)
    assert decibels(abs(restored) * bright, truth) > decibels(abs(zero_filled) * bright, truth) + 0.5
