"""Chi-square, views, spectrum and correlation of a residual, where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.operators import Gaussian, Identity, ParallelBeam, Poisson, PoissonTransmission, Volume, XRay
from rayfold.operators.calculus import Diagonal
from rayfold.recon import Problem
from rayfold.recon.evidence import certify
from rayfold.recon.evidence.spectrum import out_of_line, residual_statistics, tail

SHAPE = (30, 64)
A = Identity(SHAPE)


def noisy(seed, sigma, drawn, truth=2.0):
    """Data of a flat image with noise `drawn`, said to be `sigma`."""
    rng = np.random.default_rng(seed)
    return Problem(A, truth + drawn * rng.standard_normal(SHAPE), Gaussian(sigma)), np.full(SHAPE, truth)


def test_p_values_of_the_truth_are_uniform():
    """At any level the truth is refused just that often."""
    p = np.sort([certify(*noisy(seed, 0.3, 0.3), pairs=11).p_value for seed in range(200)])
    assert np.abs(p - (np.arange(200) + 0.5) / 200).max() < 1.63 / np.sqrt(200)  # Kolmogorov, 1 %


@pytest.mark.parametrize(
    ("drawn", "word"), [(0.3, "are explained"), (0.36, "NOT explained"), (0.2, "taken up")]
)
def test_verdicts(drawn, word):
    c = certify(*noisy(1, 0.3, drawn), pairs=11)
    assert word in c.summary()
    assert c.chi_square == pytest.approx((drawn / 0.3) ** 2, rel=0.1)
    assert c.n_data == 30 * 64 and not c.noise_estimated


def test_estimated_noise_gives_no_p_value():
    problem, x = noisy(1, 0.3, 0.3)
    for given in (problem._replace(noise=None), problem._replace(noise=Gaussian(0.3, estimated=True))):
        c = certify(given, x, pairs=11)
        assert c.p_value is None and c.p_overfit is None and c.noise_estimated
        assert "no p-value" in c.summary() and "estimated" in c.facts()["p-value"]
        assert c.chi_square == pytest.approx(1, rel=0.15)
        assert c.as_dict()["p_value"] is None


def test_complex_data_count_twice():
    rng = np.random.default_rng(0)
    noise = 0.2 * (rng.standard_normal(SHAPE) + 1j * rng.standard_normal(SHAPE))
    c = certify(Problem(A, 1 + noise, Gaussian(0.2)), np.ones(SHAPE, complex), pairs=11)
    assert c.n_data == 2 * 30 * 64 and c.chi_square == pytest.approx(1, rel=0.1) and c.p_value > 1e-3
    np.testing.assert_allclose(np.mean(c.spectrum), c.chi_square)
    assert c.frequencies[0] == -0.5 and len(c.frequencies) == 64


def test_correlated_channels_are_whitened():
    rng = np.random.default_rng(0)
    mix = np.array([[1.0, 0.6], [0.0, 0.5]])
    noise = np.einsum("ij,vjn->vin", mix, rng.standard_normal((10, 2, 100)))
    B = Identity((10, 2, 100))
    c = certify(Problem(B, noise, Gaussian(covariance=mix @ mix.T, axis=-2)), np.zeros(B.in_shape), pairs=11)
    assert c.p_value > 1e-3 and c.p_overfit > 1e-3 and c.n_data == 2000


def test_data_without_weight_count_for_nothing():
    weights = np.ones(SHAPE)
    weights[3], weights[:, 10] = 0, 0
    y = np.random.default_rng(2).standard_normal(SHAPE)
    y[weights == 0] = 1e6
    c = certify(Problem(A, y, Gaussian.from_weights(weights)), np.zeros(SHAPE) + 1e-3, pairs=11)
    assert c.n_data == weights.sum() and c.p_value > 1e-3
    assert np.isnan(c.views[3]) and not c.out_of_line.any()
    assert c.as_dict()["views"][3] is None


@pytest.mark.parametrize("photons", [200.0, 1e5])
def test_photon_counts(photons):
    B = XRay(Volume((16, 16)), ParallelBeam.evenly(60, 24))
    x = np.full(B.in_shape, 0.05)
    noise = PoissonTransmission(photons)
    c = certify(Problem(B, noise.sample(B(x), 5), noise), x)
    assert c.p_value > 1e-3 and c.p_overfit > 1e-3


def test_emission_counts_are_judged_by_what_was_expected():
    B = Diagonal((50, 100), np.full((50, 100), 12.0))
    problem = Problem(B, Poisson(1.5).sample(B(np.ones((50, 100))), 1), Poisson(1.5))
    c = certify(problem, np.ones((50, 100)))
    assert c.p_value > 1e-3 and c.p_overfit > 1e-3
    counts = np.maximum(problem.y, 1)
    unseen = 1 / (144 / counts + 1)
    assert np.linalg.norm(c.unseen - unseen) < 1e-3 * np.sqrt(5000)
    expected = unseen + (1 - unseen) * (problem.y - 1.5) / 12  # data less their background
    assert np.linalg.norm(c.lock(np.ones((50, 100))) - expected) < 1e-3 * np.sqrt(5000)


def test_views_out_of_line_are_named():
    problem, x = noisy(4, 0.3, 0.3)
    problem.y[[7, 20]] += 0.6 * np.sin(np.arange(64.0))
    c = certify(problem, x, pairs=11)
    assert np.flatnonzero(c.out_of_line).tolist() == [7, 20]
    assert "2 of 30 views fit worse than the others: 7, 20." in c.summary()
    np.testing.assert_allclose(c.views[7], np.mean((problem.y[7] - x[7]) ** 2) / 0.09)
    assert dict(c.tables())["Views out of line"][1]["view"] == "20"


def test_a_wrong_noise_level_flags_no_view_and_chance_flags_few():
    assert not certify(*noisy(3, 0.1, 0.3), pairs=11).out_of_line.any()
    rng = np.random.default_rng(0)
    views = rng.chisquare(64, (400, 30)) / 64
    flagged = out_of_line(views, np.full(views.shape, 64)).any(-1).mean()
    assert flagged <= 0.03  # 1 % by the law; 400 draws


def test_spectrum_of_white_and_of_coloured_noise():
    rng = np.random.default_rng(0)
    white = rng.standard_normal((400, 101))
    found = residual_statistics(white, white.shape)
    assert np.abs(found.spectrum - 1).max() < 5 / np.sqrt(400) and found.frequencies[-1] < 0.5
    assert abs(found.correlation) < 4 * found.correlation_error
    smooth = (white[:, 1:] + white[:, :-1]) / np.sqrt(2)
    found = residual_statistics(smooth, smooth.shape)
    np.testing.assert_allclose(found.spectrum, 2 * np.cos(np.pi * found.frequencies) ** 2, atol=0.4)
    assert found.correlation == pytest.approx(0.5, abs=0.03)
    c = certify(
        Problem(Identity(smooth.shape), smooth, Gaussian(1.0)), np.zeros(smooth.shape) + 1e-3, pairs=11
    )
    assert "not white: neighbours correlate by 0.5" in c.summary()


def test_parseval():
    """The mean of the spectrum over all frequencies is chi-square per datum."""
    w = np.random.default_rng(0).standard_normal((3, 5, 12))
    found = residual_statistics(w, (5, 12))
    both_sides = np.r_[1, np.full(5, 2), 1] / 12
    np.testing.assert_allclose(found.spectrum @ both_sides, found.chi_square)
    np.testing.assert_allclose(found.views.mean(-1), found.chi_square)


def test_one_axis_and_one_sample():
    w = np.random.default_rng(0).standard_normal(50)
    found = residual_statistics(w, (50,))
    np.testing.assert_allclose(found.views, w**2)
    np.testing.assert_allclose(found.chi_square, np.mean(w**2))
    single = residual_statistics(w[:, None], (50, 1))
    assert single.correlation == 0 and single.spectrum.shape == (1,)


def test_tails_of_chi_square():
    upper, lower = tail(np.array([1.0, 3.841458820694124]), np.array([2.0, 1.0]))
    np.testing.assert_allclose(upper, [np.exp(-1), 0.05], rtol=1e-12)
    np.testing.assert_allclose(upper + lower, 1)
