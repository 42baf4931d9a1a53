"""Posterior samples: what agrees, what differs, units, seeds, libraries, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.recon.foundation.scans import ct, low_dose, mri

from rayfold.operators import FFT, CartesianMask, Composed, Gaussian, ParallelBeam, Volume, XRay
from rayfold.recon import Problem
from rayfold.recon.evidence import calibrate
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.foundation.pixels import of_means
from rayfold.recon.foundation.sampling import sample, spread_of
from rayfold.recon.phantoms.leaves import dead_leaves
from rayfold.recon.shipped import DEFAULT

SIDE, SIGMA, WEDGE = 64, 0.02, 100


@pytest.fixture(scope="module")
def best():
    return FoundationPrior.load(DEFAULT, device="cpu")


def truth(seed=3):
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    image = dead_leaves((SIDE, SIDE), seed) * (np.hypot(x, y) < 0.92)
    return (image / image.max()).astype(np.float32)


def lines():
    """Every third line of k-space and the centre: which components are seen is known exactly."""
    seen = np.zeros((SIDE, SIDE), np.float32)
    seen[::3] = seen[SIDE // 2 - 5 : SIDE // 2 + 6] = 1
    noise = Gaussian.from_weights(seen / SIGMA**2)
    A = Composed.of(CartesianMask((SIDE, SIDE), seen), FFT((SIDE, SIDE)))
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, SIGMA, (2, SIDE, SIDE))
    y = (A(truth().astype(np.complex64)) + (drawn[0] + 1j * drawn[1]) * seen).astype(np.complex64)
    return Problem(A, y, noise), FFT((SIDE, SIDE)), seen > 0, seen == 0


def wedge():
    """Parallel rays over 100 degrees: the frequencies of the other 80 are not seen."""
    A = XRay(Volume((SIDE, SIDE)), ParallelBeam(np.linspace(0, np.deg2rad(WEDGE), 60, endpoint=False), 96))
    clean = of_means(A)(torch.from_numpy(truth())).numpy()
    noise = Gaussian(float(0.01 * clean.max()))
    fy, fx = np.fft.fftfreq(SIDE)[:, None], np.fft.fftfreq(SIDE)[None, :]
    angle, radius = np.rad2deg(np.arctan2(fy, fx)) % 180, np.hypot(fx, fy)
    seen = (angle < WEDGE - 5) & (angle > 5) & (radius > 0.03)
    unseen = (angle > WEDGE + 10) & (angle < 170) & (radius > 0.03)
    y = noise.sample(clean, 0).astype(np.float32)
    return Problem(A, y, noise), lambda v: np.fft.fft2(v, norm="ortho"), seen, unseen


def psnr(image, exact):
    return float(-10 * np.log10(np.mean(np.abs(image - exact) ** 2)))


@pytest.mark.parametrize("task", [lines, wedge])
def test_samples_differ_where_the_data_are_silent(best, task, record_property):
    problem, transform, seen, unseen = task()
    drawn = sample(best, problem, 12)
    assert drawn.shape == (12, SIDE, SIDE) and drawn.dtype == problem.y.dtype
    mean, spread = spread_of(drawn)
    scatter = np.mean([np.abs(transform(x - mean)) ** 2 for x in drawn], axis=0)
    ratio = scatter[unseen].mean() / scatter[seen].mean()
    alone = best.restore(problem)
    record_property("variance_unseen_over_seen", float(ratio))
    record_property("mean_less_restore_db", psnr(mean, truth()) - psnr(alone, truth()))
    assert ratio > 3
    # the mean of n samples of a posterior errs by 1 / n more than its mean does
    assert psnr(mean, truth()) > psnr(alone, truth()) - 0.5
    error = np.abs(transform(mean - truth())) ** 2
    assert 0.03 < scatter[unseen].mean() / error[unseen].mean() < 30
    fits = [np.mean(np.abs(problem.whiten(problem.y - problem.A(x))) ** 2) for x in (drawn, alone)]
    assert fits[0] < 1.1 * fits[1]  # samples follow the data as closely as the reconstruction does
    assert spread.shape == (SIDE, SIDE) and spread.min() > 0 and spread.dtype == np.float32


@pytest.mark.parametrize("task", [ct, mri])
def test_samples_know_no_unit_bit_for_bit(prior, task):
    """Powers of two scale without rounding."""
    problem, scale = task(), 2.0**13
    noise = Gaussian(scale * problem.noise.sigma)
    other = problem._replace(y=(scale * problem.y).astype(problem.y.dtype), noise=noise)
    plain, scaled = (sample(prior, each, 2, steps=4) for each in (problem, other))
    np.testing.assert_array_equal(scaled, plain * np.float32(scale))


@pytest.mark.parametrize("scale", [1e-4, 1e4])
@pytest.mark.parametrize("task", [ct, mri])
def test_samples_know_no_unit(prior, task, scale):
    problem = task()
    noise = Gaussian(scale * problem.noise.sigma)
    other = problem._replace(y=(scale * problem.y).astype(problem.y.dtype), noise=noise)
    plain, scaled = (sample(prior, each, 2, steps=4) for each in (problem, other))
    # a chain amplifies the rounding of the scaled data; without rounding see above
    assert np.abs(scaled / scale - plain).max() < 1e-4 * np.abs(plain).max()


def test_seeds(prior):
    problem = ct()
    some = sample(prior, problem, 3, steps=3)
    np.testing.assert_array_equal(some, sample(prior, problem, 3, steps=3))
    np.testing.assert_allclose(some[:2], sample(prior, problem, 2, steps=3), rtol=1e-4, atol=1e-5)
    other = sample(prior, problem, 3, steps=3, seed=1)
    apart = [np.abs(a - b).max() for a in some for b in other]
    assert min(apart) > 1e-3 and np.abs(some[0] - some[1]).max() > 1e-3


def test_a_batch_of_problems_and_counts(prior):
    problem = ct(lead=2)
    drawn = sample(prior, problem, 3, steps=3)
    assert drawn.shape == (3, 2, *problem.A.in_shape)
    counted = sample(prior, low_dose(), 2, steps=3)
    assert np.isfinite(counted).all()


@pytest.mark.parametrize("name", ["torch", "jax"])
def test_every_library(prior, name):
    library = pytest.importorskip(name)
    convert = library.as_tensor if name == "torch" else library.numpy.asarray
    for problem in (ct(), mri()) if name == "torch" else (mri(),):
        expected = sample(prior, problem, 2, steps=3)
        found = sample(prior, problem._replace(y=convert(problem.y)), 2, steps=3)
        assert type(found) is type(convert(problem.y))
        np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-3, atol=1e-4)
        mean, spread = spread_of(found)
        assert type(mean) is type(spread) is type(found) and not np.iscomplexobj(np.asarray(spread))


def test_double_precision_comes_back(prior):
    problem = ct()
    assert sample(prior, problem._replace(y=problem.y.astype(np.float64)), 2, steps=2).dtype == np.float64


def test_a_volume_is_its_slices_together(prior):
    """Operators of three axes: the network sees slices."""
    shape = (3, 16, 16)
    y = np.random.default_rng(0).normal(size=shape).astype(np.complex64)
    assert sample(prior, Problem(FFT(shape), y, Gaussian(0.5)), 2, steps=2).shape == (2, *shape)


def test_spread_serves_calibration(prior):
    """The map goes into intervals for pixels that hold as often as they say."""

    def simulate(seed):
        made = ct(views=10)
        exact = np.roll(truth()[20:44, 20:44], seed % 24)
        return exact, made._replace(y=made.noise.sample(made.A(exact), seed).astype(np.float32))

    found = calibrate(simulate, lambda p: spread_of(sample(prior, p, 3, steps=2)), 10, data_range=1.0)
    assert 0 < found.factor < np.inf
    exact, problem = simulate(5)
    low, high = found.pixel_intervals(*spread_of(sample(prior, problem, 3, steps=2)))
    assert ((low <= exact) & (exact <= high)).mean() > 0.7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda prior: sample(prior, ct(), 0), "n is 0"),
        (lambda prior: sample(prior, ct(), 2, steps=0), "steps is 0"),
        (lambda prior: sample(prior, ct(), 2, strength=-1.0), "strength"),
        (lambda prior: spread_of(np.zeros((1, 4, 4))), "draw two or more"),
    ],
)
def test_bad_input_in_one_line(prior, call, message):
    with pytest.raises(ValueError, match=message) as caught:
        call(prior)
    assert "\n" not in str(caught.value)
