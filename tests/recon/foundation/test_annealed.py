"""The thorough way: better where data are few and good, and the same in any unit and batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.operators import FFT, Identity, KSpaceCrop, ParallelBeam, Volume, XRay  # noqa: E402
from rayfold.operators.noise import Gaussian  # noqa: E402
from rayfold.recon import Problem, metrics  # noqa: E402
from rayfold.recon.foundation import FoundationPrior, annealed  # noqa: E402
from rayfold.recon.foundation.annealed import AnnealedSteps  # noqa: E402
from rayfold.recon.learned import Unrolled  # noqa: E402
from rayfold.recon.phantoms import draw  # noqa: E402
from rayfold.recon.prior_method import Restorer  # noqa: E402
from rayfold.recon.priors import NonNegative  # noqa: E402
from rayfold.recon.priors.equivariant import turn_back  # noqa: E402


def psnr(x, truth):
    return metrics.psnr(x, truth, data_range=float(truth.max()))


def apart(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def sparse(side=32, views=12, level=0.02, n=1, scale=1.0, family="dead_leaves", seed=3):
    """Few views of some images, and the images."""
    truth = np.stack([np.abs(draw((side, side), seed + k, family=family)) for k in range(n)])
    truth = scale * truth.astype(np.float32)
    A = XRay(Volume((side, side)), ParallelBeam.evenly(views, int(1.5 * side)))
    clean = A(truth)
    noise = Gaussian((level * clean.max(axis=(-2, -1), keepdims=True)).astype(np.float32))
    return Problem(A, noise.sample(clean, 0).astype(np.float32), noise), truth


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_scale(prior, scale):
    one = prior.restore(sparse()[0], thorough=True, n=6)
    many = prior.restore(sparse(scale=scale)[0], thorough=True, n=6)
    assert apart(many / scale, one) < 1e-4


def test_an_image_does_not_know_its_batch(prior):
    """Levels and couplings are those of each problem, however different."""
    problem, _ = sparse(n=2)
    sigma = problem.noise.sigma * np.array([1.0, 30.0], np.float32)[:, None, None]
    problem = problem._replace(noise=Gaussian(sigma))
    both = prior.restore(problem, thorough=True, n=5)
    for k in range(2):
        own = problem._replace(y=problem.y[k], noise=Gaussian(sigma[k]))
        assert apart(both[k], prior.restore(own, thorough=True, n=5)) < 1e-4


def test_at_most_260_pairs(prior, monkeypatch):
    plain, counts = XRay.apply, {True: 0, False: 0}

    def counted(self, x, out, *, adjoint, **operands):
        n = len(self.out_shape if adjoint else self.in_shape)
        counts[adjoint] += int(np.prod(x.shape[: x.ndim - n]))
        return plain(self, x, out, adjoint=adjoint, **operands)

    problem, _ = sparse()
    problem = problem._replace(y=problem.y[0], noise=Gaussian(problem.noise.sigma[0]))
    monkeypatch.setattr(XRay, "apply", counted)
    prior.restore(problem, thorough=True)
    assert 200 < min(counts.values()) <= max(counts.values()) <= 260, counts


def test_volumes_complex_images_bounds_and_no_strength(prior):
    y = np.random.default_rng(0).normal(1.0, 0.1, (2, 16, 16)).astype(np.float32)
    volume = Problem(Identity((2, 16, 16)), y, Gaussian(0.1))
    assert prior.restore(volume, thorough=True, n=3).shape == (2, 16, 16)
    assert apart(prior.restore(volume, thorough=True, n=3, strength=0), y) < 0.1
    problem, _ = sparse()
    assert prior.restore(problem, thorough=True, n=3).min() < 0
    assert prior.restore(problem, thorough=True, n=3, bounds=NonNegative()).min() >= 0
    z = (y[0] + 1j * y[1]).astype(np.complex64)
    made = prior.restore(
        Problem(FFT((16, 16)), np.fft.fft2(z, norm="ortho"), Gaussian(0.1)), thorough=True, n=3
    )
    assert made.dtype.kind == "c" and np.isfinite(made).all()


@pytest.mark.parametrize("dtype", [np.float32, np.complex64])
def test_where_the_error_is_goes_with_the_image(prior, monkeypatch, dtype):
    """More error is told of where a real image's data have more noise, whichever way it is turned."""
    shape, half = (24, 40), 20
    sigma = np.full(shape, 0.02, np.float32)
    sigma[:, half:] = 0.2
    y = np.random.default_rng(0).normal(1.0, sigma).astype(dtype)
    plain, told = annealed.apply_network, []

    def watched(network, z, levels, *rest, **settings):
        told.append(levels)
        return plain(network, z, levels, *rest, **settings)

    monkeypatch.setattr(annealed, "apply_network", watched)
    prior.restore(Problem(Identity(shape), y, Gaussian(sigma)), thorough=True, n=2 * annealed.WAYS)
    places = [turn_back(t, k % annealed.WAYS) for k, t in enumerate(told) if t.ndim > 2]
    assert len(told) == 2 * annealed.WAYS and len(places) == (len(told) if dtype == np.float32 else 0)
    for place in places:
        assert place.shape[-2:] == shape
        assert place[..., half + 5 :].mean() > 1.5 * place[..., : half - 5].mean()


def test_is_a_solver_like_others(prior):
    problem, _ = sparse()
    tensors = problem._replace(
        y=torch.as_tensor(problem.y), noise=Gaussian(torch.as_tensor(problem.noise.sigma))
    )
    steps = AnnealedSteps(prior.steps(), 4)
    with torch.no_grad():
        x = Unrolled(steps, 4)(tensors).numpy()
    np.testing.assert_allclose(x, prior.restore(problem, thorough=True, n=4), rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def base():
    return FoundationPrior.load("base", device="cpu", precision="float32")


def test_few_views_with_little_noise(base):
    """Ellipses, which were held out from training: better by half a decibel and more."""
    problem, truth = sparse(96, 30, 0.005, n=3, family="random_ellipses", seed=970001)
    short, long = base.restore(problem), base.restore(problem, thorough=True)
    gains = [psnr(b, t) - psnr(a, t) for a, b, t in zip(short, long, truth, strict=True)]
    assert np.mean(gains) > 0.5, gains


def test_middle_of_k_space(base):
    """Six heads: both ways are above the samples alone by a decibel and more in the mean."""
    A, gains = KSpaceCrop((96, 96), 48), []
    for seed in range(970005, 970011):
        truth = draw((96, 96), seed, family="mr_head").astype(np.complex64)
        noise = Gaussian(np.float32(0.005 * np.abs(truth).max()))
        y = noise.sample(A(truth), 0).astype(np.complex64)
        zero, top = np.abs(A.H(y)), np.abs(truth)
        zero *= (zero * top).sum() / (zero * zero).sum()
        made = [np.abs(base.restore(Problem(A, y, noise), thorough=way)) for way in (False, True)]
        gains.append([psnr(x, top) - psnr(zero, top) for x in made])
    assert np.all(np.mean(gains, axis=0) > 1), gains


def test_provenance_and_other_priors(prior):
    record = replace(Restorer(prior, "mine"), thorough=True).record()
    assert record["thorough"] is True and record["steps"] == 24

    class Another:
        def restore(self, problem, **_):
            return problem.y

    with pytest.raises(ValueError, match="Another has no thorough way"):
        Restorer.load(Another(), thorough=True)
