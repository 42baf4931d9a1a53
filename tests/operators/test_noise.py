"""Noise models: likelihoods against SciPy, gradients, moments of samples, every library, bad input."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from rayfold.operators import Gaussian, Poisson, PoissonTransmission
from rayfold.operators.dispatch import to_numpy

MODELS = {
    "NumPy scalar": Gaussian(np.float32(0.3)),
    "gaussian": Gaussian(0.3),
    "per datum": Gaussian(np.linspace(0.1, 2.0, 6)),
    "correlated": Gaussian(covariance=0.2 * np.eye(6) + 0.05),
    "transmission": PoissonTransmission(900.0),
    "electronic": PoissonTransmission(900.0, electronic=7.0),
    "emission": Poisson(),
    "background": Poisson(0.5),
}


@pytest.fixture
def rng():
    return np.random.default_rng(11)


@pytest.fixture
def pair(rng):
    p = 0.2 + rng.random((4, 6))
    return p, p + 0.1 * rng.random((4, 6))


@pytest.mark.parametrize("name", MODELS)
def test_gradient_is_the_derivative_of_the_likelihood(name, pair, rng):
    noise, (p, y) = MODELS[name], pair
    d, h = rng.standard_normal(p.shape), 1e-5
    rise = noise.log_likelihood(p + h * d, y).sum() - noise.log_likelihood(p - h * d, y).sum()
    np.testing.assert_allclose(rise / (2 * h), (noise.gradient(p, y) * d).sum(), rtol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_likelihood_is_best_at_the_data(name, pair):
    noise, (_, y) = MODELS[name], pair
    best = y - 0.5 if name == "background" else y
    assert np.abs(noise.log_likelihood(best, y)).max() < 1e-12
    assert np.abs(noise.gradient(best, y)).max() < 1e-9
    assert (noise.log_likelihood(best * 1.2, y).sum() < 0) and (noise.log_likelihood(best * 0.8, y).sum() < 0)


@pytest.mark.parametrize("name", [n for n in MODELS if n != "correlated"])
def test_weights_are_the_curvature_at_the_data(name, pair):
    noise, (_, y) = MODELS[name], pair
    y = np.round(3 + 20 * y) if isinstance(noise, Poisson) else y
    at = y - (0.5 if name == "background" else 0.0)
    h = 1e-4
    curvature = (noise.gradient(at - h, y) - noise.gradient(at + h, y)) / (2 * h)
    np.testing.assert_allclose(noise.weights(y) * np.ones_like(y), curvature, rtol=1e-5)


def test_likelihoods_against_scipy(rng):
    p = 0.1 + rng.random(7)
    counts = rng.poisson(500 * np.exp(-p)).astype(float)
    noise = PoissonTransmission(500.0)
    expected = stats.poisson.logpmf(counts, 500 * np.exp(-p)) - stats.poisson.logpmf(counts, counts)
    np.testing.assert_allclose(noise.log_likelihood(p, noise.line_integrals(counts)), expected, atol=1e-9)
    emission = stats.poisson.logpmf(counts, 40 * p + 2) - stats.poisson.logpmf(counts, counts)
    np.testing.assert_allclose(Poisson(2.0).log_likelihood(40 * p, counts), emission, rtol=1e-9, atol=1e-9)
    c = np.array([[2.0, 0.5], [0.5, 1.0]])
    y, at = rng.standard_normal((2, 2))
    law = stats.multivariate_normal(at, c)
    found = Gaussian(covariance=c).log_likelihood(at, y).sum()
    np.testing.assert_allclose(found, law.logpdf(y) - law.logpdf(at), rtol=1e-10)


@pytest.mark.parametrize("name", MODELS)
def test_samples_have_the_moments_of_the_model(name):
    noise = MODELS[name]
    p = np.tile(np.linspace(0.5, 1.5, 6) * (30 if isinstance(noise, Poisson) else 1), (40000, 1))
    y = noise.sample(p, seed=3)
    mean = p + (0.5 if name == "background" else 0)
    if isinstance(noise, Poisson):
        variance = mean[0]
    elif isinstance(noise, PoissonTransmission):
        variance = 1 / noise.weights(p[0])
    elif noise.covariance is not None:
        variance = np.diag(noise.covariance)
    else:
        variance = np.broadcast_to(np.square(noise.sigma), 6)
    tolerance = 0.02 if isinstance(noise, PoissonTransmission) else 0.005  # the logarithm is a little biased
    np.testing.assert_allclose(
        y.mean(0), mean[0], atol=tolerance * mean.max() + 4 * np.sqrt(variance.max() / 4e4)
    )
    np.testing.assert_allclose(y.var(0), variance, rtol=0.06)
    np.testing.assert_array_equal(y, noise.sample(p, seed=3))
    assert not np.array_equal(y, noise.sample(p, seed=4))


def test_correlated_noise_is_whitened(rng):
    root = rng.standard_normal((3, 3)) + 1j * rng.standard_normal((3, 3))
    noise = Gaussian(covariance=root @ root.conj().T + np.eye(3), axis=-2)
    y = noise.sample(np.zeros((3, 50000), complex), seed=0)
    np.testing.assert_allclose(np.cov(y) / 2, noise.covariance, rtol=0.05, atol=0.05)  # real plus imaginary
    white = noise.whiten(y, y)
    np.testing.assert_allclose(np.cov(white) / 2, np.eye(3), atol=0.03)
    energy = np.vdot(y, noise.weigh(y, y))
    np.testing.assert_allclose((np.abs(white) ** 2).sum(), energy, rtol=1e-10)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("library", ["torch", "jax"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_library_and_precision(name, library, dtype, pair):
    xp = pytest.importorskip("torch" if library == "torch" else "jax.numpy")
    if library == "jax":
        with pytest.importorskip("jax").enable_x64(dtype == "float64"):
            same_in(xp, name, dtype, pair)
    else:
        same_in(xp, name, dtype, pair)


def same_in(xp, name, dtype, pair):
    noise, (p, y) = MODELS[name], pair
    P, Y = (xp.asarray(v.astype(dtype)) for v in (p, y))
    calls = ("log_likelihood", "gradient", "weigh", "whiten")
    for call in calls:
        found = getattr(noise, call)(P, Y)
        assert type(found) is type(P) and str(found.dtype).endswith(dtype)
        expected = getattr(noise, call)(p, y)
        np.testing.assert_allclose(
            to_numpy(found),
            expected,
            rtol=1e-4 if dtype == "float32" else 1e-10,
            atol=2e-3 if dtype == "float32" else 1e-9,
        )
    drawn = noise.sample(P, seed=0)
    assert type(drawn) is type(P) and str(drawn.dtype).endswith(dtype)


def test_noise_is_a_pytree(pair):
    jax = pytest.importorskip("jax")
    p, y = (jax.numpy.asarray(v.astype(np.float32)) for v in pair)
    noise = Gaussian(jax.numpy.linspace(0.5, 1.0, 6), estimated=True)
    found = jax.jit(lambda noise: noise.weigh(p, y))(noise)
    np.testing.assert_allclose(found, noise.weigh(p, y), rtol=1e-6)
    back = jax.tree_util.tree_map(lambda leaf: leaf, noise)
    assert back.estimated and back.axis == -1
    slope = jax.grad(lambda sigma: Gaussian(sigma).log_likelihood(p, y).sum())(jax.numpy.asarray(0.5))
    assert np.isfinite(slope) and slope > 0


def test_noise_models_are_registered_once():
    """A fresh process, in which the bridge is what loads the noise models."""
    code = (
        "from rayfold.operators import Pad; import jax.numpy as jnp; Pad((2,), 1, 1)(jnp.ones(2));"
        "from rayfold.operators import Gaussian; import jax;"
        "print(len(jax.tree.leaves(Gaussian(jnp.ones(3)))))"
    )
    root = Path(__file__).parents[2] / ".dev"
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(root)},
    )
    assert done.stdout.strip() == "1", done.stderr


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(-1.0), "sigma holds values that are not positive"),
        (lambda: Gaussian(np.array([1.0, 0.0])), "sigma holds values that are not positive"),
        (lambda: Gaussian(), "either sigma or covariance"),
        (lambda: Gaussian(1.0, np.eye(2)), "either sigma or covariance"),
        (lambda: Gaussian(covariance=np.diag([1.0, -1.0])), "negative variances"),
        (lambda: Gaussian(covariance=np.ones((2, 3))), r"it must be \(n, n\)"),
        (lambda: Gaussian(1.0, axis=0), "count it from the end"),
        (lambda: Gaussian.from_weights(np.array([-1.0])), "weights hold negative values"),
        (lambda: Gaussian(covariance=np.eye(2)).weights(np.ones(2)), "whiten the data first"),
        (lambda: PoissonTransmission(0.0), "photons is 0.0"),
        (lambda: PoissonTransmission(1e4, -1.0), "electronic is -1.0"),
        (lambda: Poisson(-2.0), "negative counts"),
        (lambda: Poisson().sample(np.array([-1.0]), 0), "predicted counts are negative"),
    ],
)
def test_bad_input_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
