"""Denoisers as priors: forms, units, libraries, and other people's networks."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.recon.priors.denoiser import PlugAndPlay, from_deepinv, from_numpy, from_score, from_torch
from rayfold.recon.priors.tikhonov import Tikhonov


def shrinking(x, sigma):
    """Exact for images of independent normal pixels of variance 4."""
    return x * (4 / (4 + sigma**2))


def test_strength_gives_the_noise_level(rng):
    """The exact denoiser of normal images is the proximal operator of their penalty."""
    x = rng.standard_normal((2, 5, 6))
    for step in (0.3, np.array([0.3, 2.0]).reshape(2, 1, 1)):
        found = PlugAndPlay(shrinking, strength=1.7).prox(x, step)
        np.testing.assert_allclose(found, Tikhonov(1.7 / 4).prox(x, step), atol=1e-14)
    fixed = PlugAndPlay(shrinking, sigma=0.5)
    np.testing.assert_array_equal(fixed.prox(x, 0.1), fixed.prox(x, 100.0))


def test_score_and_denoiser_are_one(rng):
    x = rng.standard_normal((5, 6))
    found = from_score(lambda a, sigma: -a / (4 + sigma**2))(x, 0.7)
    np.testing.assert_allclose(found, shrinking(x, 0.7), atol=1e-15)


def test_numpy_denoisers_serve_every_library(rng):
    from skimage.restoration import denoise_tv_chambolle

    def theirs(x, sigma):
        return np.stack([denoise_tv_chambolle(image, weight=float(sigma)) for image in x])

    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    x = rng.random((2, 9, 8)).astype(np.float32)
    prior = PlugAndPlay(from_numpy(theirs), sigma=0.2)
    expected = prior.prox(x, 1.0)
    assert 0 < abs(expected - x).max() < 1
    for given in (torch.as_tensor(x), jax.numpy.asarray(x)):
        found = prior.prox(given, 1.0)
        assert type(found) is type(given) and found.dtype == given.dtype
        np.testing.assert_array_equal(np.asarray(found), expected)
    np.testing.assert_array_equal(np.asarray(jax.jit(lambda a: prior.prox(a, 1.0))(x)), expected)


def network(torch):
    """Bias-free, conditioned on the noise level: homogeneous in both."""

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = (torch.nn.Conv2d(2, 4, 3, padding=1, bias=False) for _ in range(2))
            self.c = torch.nn.Conv2d(4, 1, 3, padding=1, bias=False)

        def forward(self, x, sigma):
            both = torch.cat([x, sigma.expand_as(x)], 1)
            return x - self.c(torch.relu(self.a(both)) + torch.relu(self.b(both)))

    return Net()


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
def test_torch_networks_serve_every_library(rng, lead):
    torch, jax = pytest.importorskip("torch"), pytest.importorskip("jax")
    denoise = from_torch(network(torch))
    x = rng.random((*lead, 8, 6)).astype(np.float32)
    sigma = (0.1 + rng.random((*lead, 1, 1))).astype(np.float32)
    for level in (0.2, sigma):
        expected = denoise(torch.as_tensor(x), torch.as_tensor(level))
        assert expected.shape == x.shape and expected.requires_grad
        expected = expected.detach().numpy()
        assert denoise(x, level).dtype == np.float32
        np.testing.assert_allclose(denoise(x, level), expected, atol=1e-6)
        np.testing.assert_allclose(np.asarray(denoise(jax.numpy.asarray(x), level)), expected, atol=1e-6)
        np.testing.assert_allclose(np.asarray(jax.jit(denoise)(x, level)), expected, atol=1e-6)
    if lead:  # a batch is a loop, noise levels included
        first = (0,) * len(lead)
        np.testing.assert_allclose(denoise(x[first], sigma[first]), expected[first], atol=1e-6)
    z = (x + 2j * x).astype(np.complex64)  # the parts of a complex image are two images
    both = denoise(z, 0.2)
    assert both.dtype == np.complex64
    np.testing.assert_allclose(both.real, denoise(x, 0.2), atol=1e-6)
    np.testing.assert_allclose(both.imag, denoise(2 * x, 0.2), atol=1e-6)


def test_a_gradient_goes_through_a_network(rng):
    torch = pytest.importorskip("torch")
    prior = PlugAndPlay(from_torch(network(torch).double()), strength=0.3)
    x = torch.as_tensor(rng.random((5, 6))).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: prior.prox(a, 0.5), x, eps=1e-7, atol=1e-5)


def test_units_of_a_network(rng):
    """`scale` is one unit of the network: the answer is the same whatever the unit of the image."""
    torch = pytest.importorskip("torch")
    net = network(torch).double()
    biased = lambda x, sigma: net(x, sigma) + 0.1  # noqa: E731 - minds its unit
    x = rng.random((7, 8))
    unit = from_torch(biased)(x, 0.1)
    for power in range(-4, 5):
        u = 10.0**power
        np.testing.assert_allclose(from_torch(biased, scale=u)(u * x, u * 0.1) / u, unit, rtol=1e-10)


def test_deepinv_denoisers(rng):
    """Real ones, in NumPy, JAX and torch problems."""
    models, torch = pytest.importorskip("deepinv.models"), pytest.importorskip("torch")
    x = rng.random((2, 16, 16)).astype(np.float32)
    net = models.DRUNet(in_channels=1, out_channels=1, nc=(4, 4, 8, 8), nb=1, pretrained=None).eval()
    median = models.MedianFilter(kernel_size=3)
    for theirs in (net, median):
        prior = PlugAndPlay(from_deepinv(theirs), sigma=0.1)
        with torch.no_grad():
            expected = theirs(torch.as_tensor(x)[:, None], torch.full((2,), 0.1))[:, 0].numpy()
            found = prior.prox(torch.as_tensor(x), 1.0).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)
        np.testing.assert_allclose(prior.prox(x, 1.0), expected, atol=1e-6)
        np.testing.assert_allclose(prior.prox(x[0], 1.0), expected[0], atol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match="either sigma"):
        PlugAndPlay(shrinking)
    with pytest.raises(ValueError, match="either sigma"):
        PlugAndPlay(shrinking, sigma=0.1, strength=1.0)
    with pytest.raises(ValueError, match=r"sigma is -0\.1"):
        PlugAndPlay(shrinking, sigma=-0.1)
    with pytest.raises(TypeError, match="denoise is str"):
        PlugAndPlay("drunet", sigma=0.1)
    with pytest.raises(ValueError, match=r"made shape \(4, 4\) of \(4, 5\); it must keep the shape"):
        PlugAndPlay(lambda x, sigma: x[:, :4], sigma=0.1).prox(np.ones((4, 5)), 1.0)
    with pytest.raises(NotImplementedError, match="known by its denoiser only"):
        PlugAndPlay(shrinking, sigma=0.1).value(np.ones((4, 5)))
    with pytest.raises(ValueError, match="scale is 0"):
        from_torch(lambda x, s: x, scale=0.0)
