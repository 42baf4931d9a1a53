"""Cutting and filling grids: values of pixels stay, origins stay, odd and even."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.operators.fourier import fft, ifft
from rayfold.recon.mri.grid import crop, cut_oversampling, interpolate, zero_fill


@pytest.mark.parametrize("before", [12, 13])
@pytest.mark.parametrize("after", [6, 7])
def test_cut_oversampling(before, after, rng):
    image = rng.normal(size=(2, 3, before)) + 1j * rng.normal(size=(2, 3, before))
    start = before // 2 - after // 2
    cut = ifft(cut_oversampling(fft(image), after), (-1,))
    assert np.allclose(ifft(cut, (0, 1)), image[..., start : start + after])
    swapped = cut_oversampling(np.moveaxis(fft(image), -1, 0), after, axis=0)
    assert np.allclose(np.moveaxis(swapped, 0, -1), cut_oversampling(fft(image), after))


def test_noise_keeps_its_size(rng):
    noise = rng.normal(size=(50, 400)) + 1j * rng.normal(size=(50, 400))
    assert np.std(cut_oversampling(noise, 200)) == pytest.approx(np.std(noise), rel=0.03)


@pytest.mark.parametrize("before", [8, 9])
@pytest.mark.parametrize("after", [16, 18, 27])
def test_interpolation_is_the_trigonometric_sum(before, after, rng):
    image = rng.normal(size=before)
    found = interpolate(image, (after,), (0,))
    k = np.arange(before) - before // 2
    x = (np.arange(after) - after // 2) * before / after
    exact = np.exp(2j * np.pi * np.outer(x, k) / before) @ fft(image) / np.sqrt(before)
    assert np.allclose(found, exact)


def test_two_axes_and_back(rng):
    image = rng.normal(size=(2, 5, 6))
    data = fft(image, (-2, -1))
    wide = zero_fill(data, (8, 9), (-2, -1))
    assert wide.shape == (2, 8, 9)
    assert np.array_equal(crop(wide, (5, 6), (-2, -1)), data)
    assert zero_fill(data.astype(np.complex64), (8,), (1,)).dtype == np.complex64


def test_torch_gradient():
    torch = pytest.importorskip("torch")
    x = torch.randn(2, 6, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda k: cut_oversampling(k, 3), (x,), fast_mode=True)
    assert torch.autograd.gradcheck(lambda i: interpolate(i, (9,), (-1,)), (x,), fast_mode=True)


def test_refused():
    for n in (0, 9):
        with pytest.raises(ValueError, match=f"cannot cut axis -1 of 8 to {n}; give 1 to 8"):
            cut_oversampling(np.ones((2, 8)), n)
    with pytest.raises(ValueError, match="cannot fill axis 1 of 8 up to 7; give 8 or more"):
        zero_fill(np.ones((2, 8)), (7,), (1,))
