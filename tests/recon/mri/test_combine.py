"""Coil combination: root sum of squares and least variance."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.coil_phantom import coil_maps, disc

from rayfold.recon.mri.combine import combine_mvue, root_sum_of_squares


def test_mvue_is_the_truth_without_noise():
    maps, image = 3 * coil_maps((17, 20)), disc((17, 20))
    maps[:, :, :3] = 0
    found = combine_mvue(maps * image, maps)
    np.testing.assert_allclose(found[:, 3:], image[:, 3:], atol=1e-12)
    assert (found[:, :3] == 0).all()


def test_mvue_has_the_least_variance(rng):
    """Variance 1 / sum |s|^2; no other unbiased weighting of the coils has less."""
    maps = coil_maps((9, 9))[:, 4:5, 4:5] * np.array([1, 1, 0.1, 0.1, 2, 2])[:, None, None]
    n = rng.standard_normal((6, 4000, 1)) + 1j * rng.standard_normal((6, 4000, 1))
    found = combine_mvue(n, maps * np.ones((1, 4000, 1)))
    assert found.var() / 2 == pytest.approx(1 / (abs(maps) ** 2).sum(), rel=0.05)
    assert (n / maps).mean(axis=0).var() > 2 * found.var()


def test_root_sum_of_squares(rng):
    x = rng.standard_normal((3, 5, 4)) + 1j * rng.standard_normal((3, 5, 4))
    np.testing.assert_allclose(root_sum_of_squares(x), np.linalg.norm(x, axis=0))
    np.testing.assert_allclose(root_sum_of_squares(x.real, axis=1), np.linalg.norm(x.real, axis=1))
    assert root_sum_of_squares(x.astype(np.complex64)).dtype == np.float32


def test_torch_batch_and_derivatives(rng):
    torch = pytest.importorskip("torch")
    maps, image = coil_maps((4, 3), 3), disc((4, 3))
    x = torch.as_tensor(np.stack([maps * image, 2 * maps * image]))
    np.testing.assert_allclose(combine_mvue(x, torch.as_tensor(maps), axis=-3)[1], 2 * image, atol=1e-12)
    x.requires_grad_(True)
    s = torch.as_tensor(maps).requires_grad_(True)
    torch.autograd.gradcheck(lambda a, b: combine_mvue(a, b, axis=-3), (x, s), fast_mode=True)
    zero = torch.zeros(2, 2, 2, dtype=torch.complex128, requires_grad=True)
    (gradient,) = torch.autograd.grad(root_sum_of_squares(zero).sum(), zero)
    assert (gradient == 0).all()  # not infinite
    torch.autograd.gradcheck(root_sum_of_squares, x[0].detach().add(0.1).requires_grad_(True), fast_mode=True)


def test_bad_input():
    maps = coil_maps((8, 8))
    with pytest.raises(ValueError, match="5 coil images meet maps of 6"):
        combine_mvue(maps[:5], maps)
    with pytest.raises(ValueError, match="do not fit maps"):
        combine_mvue(maps[:, :5], maps)
