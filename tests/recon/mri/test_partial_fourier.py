"""Partial Fourier: exact for real images, close for smooth phases, unchanged where measured."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.simulated import coil_maps, nrmse, phantom, places

from rayfold.operators.fourier import fft, ifft
from rayfold.recon.mri.partial_fourier import homodyne, pocs

SHAPE = (48, 32)
IMAGE = phantom(SHAPE)


def first(part, n=48):
    return np.arange(n) < round(part * n)


def last(part, n=48):
    return first(part, n)[::-1]


@pytest.mark.parametrize("shape", [(48, 32), (47, 33)])
@pytest.mark.parametrize("side", [first, last])
def test_real_image_from_five_eighths(shape, side, rng):
    image = phantom(shape) * rng.normal(size=shape)  # of both signs
    run = side(0.625, shape[0])
    full = pocs(fft(image) * run[:, None], run)
    missing_alone = np.zeros(shape, bool)  # the edge of an even grid has no mirror image
    missing_alone[0] = shape[0] % 2 == 0 and not run[0]
    error = np.where(missing_alone, 0, full - fft(image))
    assert np.linalg.norm(error) < 1e-8 * np.linalg.norm(image)
    assert np.array_equal(full[run], (fft(image) * run[:, None])[run])


@pytest.mark.parametrize("shape", [(48, 32), (47, 33)])
@pytest.mark.parametrize("side", [first, last])
def test_homodyne_is_exact_for_real_images(shape, side):
    run, data = side(0.625, shape[0]), fft(phantom(shape))
    if shape[0] % 2 == 0 and not run[0]:
        data[0] = 0  # the edge of an even grid has no mirror image
    assert nrmse(homodyne(data * run[:, None], run), ifft(data)) < 1e-10


def test_smooth_phase():
    at = places(SHAPE)
    image = IMAGE * np.exp(1j * (1 + 2 * at[0] - 3 * at[1] ** 2))
    run = first(0.625)
    data = fft(image) * run[:, None]
    zero_filled = nrmse(ifft(data), image)
    assert zero_filled > 0.12
    assert nrmse(homodyne(data, run), image) < 0.05
    assert nrmse(ifft(pocs(data, run)), image) < 0.025


def test_coils_axes_and_scale():
    """Any leading axes, any axis, and three Fourier axes."""
    maps = coil_maps(SHAPE, coils=4)
    data = fft(maps * IMAGE, (-2, -1))
    run = first(0.7)
    for method in (homodyne, pocs):
        together = method(data * run[:, None], run)
        for c in range(4):
            assert np.allclose(method(data[c] * run[:, None], run), together[c])
        turned = method(np.swapaxes(data * run[:, None], -1, -2), run, axis=-1)
        assert np.allclose(np.swapaxes(turned, -1, -2), together)
        assert np.allclose(method(1e4j * data * run[:, None], run), 1e4j * together, rtol=1e-9)
        assert method((data * run[:, None]).astype(np.complex64), run).dtype == np.complex64
    volume = phantom((8, 10, 12))
    half = np.arange(8) < 6
    full = pocs(fft(volume) * half[:, None, None], half, axis=-3, axes=(-3, -2, -1))
    assert nrmse(full, fft(volume)) < 1e-6


def test_what_is_not_measured_does_not_matter():
    run = first(0.6)
    data = fft(IMAGE)
    for method in (homodyne, pocs):
        assert np.array_equal(method(data, run), method(np.where(run[:, None], data, 0), run))


def test_symmetric_or_whole_data():
    data, whole = fft(IMAGE), np.ones(48, bool)
    assert np.array_equal(pocs(data, whole), data)
    assert nrmse(homodyne(data, whole), IMAGE) < 1e-12
    middle = abs(np.arange(48) - 24) < 12
    assert nrmse(homodyne(data, middle), ifft(data * middle[:, None])) < 1e-12


@pytest.mark.parametrize("method", [homodyne, pocs])
def test_torch_gradient(method):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    data = torch.tensor(rng.normal(size=(2, 8, 4)) + 1j * rng.normal(size=(2, 8, 4)), requires_grad=True)
    run = np.arange(8) < 6
    assert torch.autograd.gradcheck(lambda k: method(k, run), (data,), fast_mode=True)
    assert np.allclose(method(data, run).detach().numpy(), method(data.detach().numpy(), run))


@pytest.mark.parametrize("method", [homodyne, pocs])
def test_jax_gives_the_same(method):
    jax = pytest.importorskip("jax")
    data, run = fft(IMAGE).astype(np.complex64), first(0.7)
    assert nrmse(np.asarray(method(jax.numpy.asarray(data), run)), method(data, run)) < 1e-5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sampled": np.arange(48) < 20}, "not one run beyond both sides of 24"),
        ({"sampled": np.arange(48) % 2 == 0}, "not one run"),
        ({"sampled": np.zeros(48, bool)}, "0 of 48"),
        ({"sampled": np.ones(32, bool)}, "has 48 positions"),
        ({"axis": -3}, "must be one of them"),
    ],
)
@pytest.mark.parametrize("method", [homodyne, pocs])
def test_refused(method, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        method(**({"kspace": fft(IMAGE), "sampled": first(0.6)} | change))
    assert "\n" not in str(caught.value)


def test_no_iterations():
    with pytest.raises(ValueError, match="iterations is 0"):
        pocs(fft(IMAGE), first(0.6), iterations=0)
