"""Problems: weights, checks of bad input, and noise estimated from the data."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.operators import Gaussian, Identity, ParallelBeam, Poisson, PoissonTransmission, Volume, XRay
from rayfold.recon import Problem
from rayfold.recon.problem import estimate_noise, estimate_photons
from rayfold.recon.strength import noise_force

A = XRay(Volume((64, 64), 1.0), ParallelBeam.evenly(40, 96))


def blob(shape=(64, 64)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return np.exp(-((x - 30) ** 2 + (y - 34) ** 2) / 300)


@pytest.mark.parametrize("sigma", [1e-6, 0.02, 0.5, 1e5])
def test_noise_is_estimated_within_ten_per_cent(sigma, rng):
    clean = A(blob()) * (sigma / 0.02)
    found = estimate_noise(Problem(A, clean + sigma * rng.standard_normal(clean.shape)))
    assert found.estimated and abs(found.sigma / sigma - 1) < 0.1


def test_estimated_noise_scales_with_the_data(rng):
    y = A(blob()) + 0.1 * rng.standard_normal(A.out_shape)
    one = estimate_noise(Problem(A, y)).sigma
    for c in (1e-4, 1e4):
        np.testing.assert_allclose(estimate_noise(Problem(A, c * y)).sigma, c * one, rtol=1e-9)


def test_data_without_noise_have_almost_none():
    sigma = estimate_noise(Problem(A, np.zeros(A.out_shape, np.float32))).sigma
    assert 0 < sigma < 1e-6


def test_complex_data_have_noise_in_both_parts(rng):
    y = 0.3 * (rng.standard_normal((64, 64)) + 1j * rng.standard_normal((64, 64)))
    assert abs(estimate_noise(Problem(Identity((64, 64)), y)).sigma / 0.3 - 1) < 0.05


@pytest.mark.parametrize("photons", [1e3, 1e5])
def test_photons_are_estimated_behind_any_thickness(photons):
    p = np.tile(np.concatenate([np.linspace(0, 4, 400), np.linspace(4, 0, 400)]), (30, 1))
    found = estimate_photons(PoissonTransmission(photons).sample(p, 1))
    assert found.estimated and abs(found.photons / photons - 1) < 0.1


def test_quadratic_form_of_photon_noise(rng):
    y = 1 + rng.random(A.out_shape)
    problem = Problem(A, y, PoissonTransmission(1e3, 5.0))
    r = rng.standard_normal(A.out_shape)
    np.testing.assert_allclose(problem.quadratic().weigh(r), problem.weigh(r), rtol=1e-12)


def test_noise_force_is_what_noise_does(rng):
    """Its definition by Monte Carlo: the rms of ``A.H W n`` over many draws."""
    noise = Gaussian(0.2)
    draws = [A.H(noise.weigh(0.2 * rng.standard_normal(A.out_shape), None)) for _ in range(20)]
    expected = np.sqrt(np.mean(np.square(draws)))
    y = A(blob())
    assert abs(noise_force(Problem(A, y, noise)) / expected - 1) < 0.1
    plain = noise_force(Problem(A, y + 0.2 * rng.standard_normal(y.shape)))
    assert abs(plain / (expected * 0.2**2) - 1) < 0.15  # W is the identity without a noise model


BAD = np.full(A.out_shape, 1.0)
BAD[3, 4] = np.nan


@pytest.mark.parametrize(
    ("problem", "error", "message"),
    [
        (Problem(A, BAD), ValueError, "1 values that are not finite"),
        (Problem(A, np.ones((40, 95))), ValueError, r"expects \(..., 40, 96\), got \(40, 95\)"),
        (Problem(A, np.ones(A.out_shape, int)), TypeError, "floating-point"),
        (Problem(A, [[1.0]]), TypeError, "NumPy, CuPy, PyTorch or JAX"),
        (Problem(A, np.ones(A.out_shape), Gaussian(np.ones(95))), ValueError, "sigma of the noise has shape"),
        (Problem(A, np.ones(A.out_shape), Poisson(np.ones((2, 40, 96)))), ValueError, "must broadcast"),
        (Problem(A, np.ones(A.out_shape), Gaussian(covariance=np.eye(5))), ValueError, "covariance is for 5"),
    ],
)
def test_bad_input_is_refused(problem, error, message):
    with pytest.raises(error, match=message):
        problem.check()


def test_a_numpy_number_does_not_widen_the_image():
    from rayfold.recon import run
    from rayfold.recon.priors import TV
    from rayfold.recon.solvers import PDHG

    y = A(blob()).astype(np.float32)
    assert run(PDHG(TV(np.float64(0.1))), Problem(A, y), 2).x.dtype == np.float32


def test_a_start_is_taken_to_the_batch_and_precision_of_the_data():
    from rayfold.recon import CGLS, run

    y = np.stack([A(blob()), 2 * A(blob())]).astype(np.float32)
    found = run(CGLS(damping=1.0), Problem(A, y), 3, x0=blob())
    single = run(CGLS(damping=1.0), Problem(A, y[1]), 3, x0=blob())
    assert found.x.shape == (2, 64, 64) and found.x.dtype == np.float32
    np.testing.assert_allclose(found.x[1], single.x, atol=1e-5)
    with pytest.raises(ValueError, match="x0 has shape"):
        run(CGLS(), Problem(A, y), 1, x0=np.zeros((3, 3)))


def test_photon_noise_under_jit():
    jax = pytest.importorskip("jax")
    y = jax.numpy.ones((40, 96))
    weigh = jax.jit(lambda problem, r: problem.weigh(r))
    for noise in (PoissonTransmission(1e3, 5.0), PoissonTransmission(1e3), Gaussian(0.1)):
        problem = Problem(A, y, noise)
        np.testing.assert_allclose(weigh(problem, y), problem.weigh(y), rtol=1e-5)
    closed = Problem(A, y, Gaussian(jax.numpy.full(96, 0.1)))
    for _ in range(2):  # two programs that hold the same noise
        np.testing.assert_allclose(jax.jit(lambda r: closed.weigh(r))(y), 100 * y, rtol=1e-5)
