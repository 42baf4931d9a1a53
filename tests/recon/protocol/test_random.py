"""Random protocols: operators that see the whole image, are made quickly, and serve tensors in batches."""

import time

import numpy as np
import pytest
import torch

from rayfold.operators import Volume
from rayfold.operators.checks import dot_test
from rayfold.recon.protocol import random_ct, random_mri

GRID = Volume((40, 40), 5.0)


def drawn(draw, n, grid=GRID):
    rng = np.random.default_rng(7)
    return [draw(rng, grid) for _ in range(n)]


def test_ct_covers_what_it_says():
    many = drawn(random_ct, 400)
    views = np.array([p.views for p in many])
    assert views.min() >= 20 and views.max() <= 1000 and not ((views > 180) & (views < 360)).any()
    assert 0.1 < np.mean(views >= 360) < 0.3
    spans = np.array([p.span_deg for p in many])
    assert spans.min() >= 30 and spans.max() == 360 and 0.1 < np.mean((spans != 180) & (spans != 360)) < 0.3
    kinds = [p.geometry for p in many]
    assert all(kinds.count(kind) > 60 for kind in ("parallel", "fan", "curved-fan"))
    photons = np.array([p.photons for p in many if p.photons is not None])
    assert photons.min() >= 1e3 and photons.max() <= 1e5 and len(photons) > 150
    percent = np.array([p.noise_percent for p in many if p.noise_percent is not None])
    assert percent.min() >= 0.03 and percent.max() <= 3 and len(percent) > 100
    reach = np.hypot(*GRID.extent) / 2
    assert all(p.beam.half_width >= reach * (1 - 1e-9) for p in many)


def test_mri_covers_what_it_says():
    many = drawn(random_mri, 120, Volume((48, 48), 4.0))
    assert {p.pattern for p in many} == {
        "equispaced", "random", "gaussian", "poisson", "radial", "golden-radial", "spiral",
    }  # fmt: skip
    assert {p.coils for p in many} == {1, 4, 8, 12, 16}
    rates = np.array([p.mask.size / p.mask.sum() for p in many if p.cartesian])
    assert rates.min() > 1.2 and 6 < rates.max() <= 10.1
    assert all(10 <= p.snr <= 3000 for p in many)


@pytest.mark.parametrize("draw", [random_ct, random_mri])
def test_operators_are_made_quickly_and_are_adjoint(draw):
    times = []
    for i, p in enumerate(drawn(draw, 30)):
        begin = time.perf_counter()
        A = p.operator(GRID)
        times.append(time.perf_counter() - begin)
        if i < 4:
            assert dot_test(A).ok
    assert np.median(times) < 0.05


@pytest.mark.parametrize("draw", [random_ct, random_mri])
def test_tensors_in_batches_are_measured_as_the_noise_model_says(draw):
    """Whitened by the noise model, what `measure` added has unit variance, image by image."""
    generator = torch.Generator().manual_seed(0)
    for seed, p in enumerate(drawn(draw, 8)):
        x = 0.01 * torch.rand(2, 40, 40, generator=generator) * torch.tensor([1.0, 3.0])[:, None, None]
        x = x.to(torch.complex64) if p.modality == "MRI" else x
        A = p.operator(GRID)
        clean = A(x)
        scale = p.scale(x, clean)
        assert scale.shape[0] == 2 and float(scale[1] / scale[0]) > 2
        noisy = p.measure(clean, scale=scale, seed=seed)
        assert noisy.dtype == clean.dtype and noisy.shape == clean.shape
        assert torch.equal(noisy, p.measure(clean, scale=scale, seed=seed))
        white = p.noise(scale).whiten(noisy - clean, noisy)
        for one in white:
            one = one[one != 0]
            parts = 2 if one.is_complex() else 1
            variance = float(one.abs().square().mean()) / parts
            assert abs(variance - 1) < 6 * np.sqrt(2 / (parts * len(one))) + (0.03 if parts == 1 else 0)
        plain = p.measure(clean.numpy(), scale=scale.numpy(), seed=seed)
        assert np.allclose(plain, noisy.numpy(), rtol=1e-5, atol=1e-5 * float(clean.abs().max()))
