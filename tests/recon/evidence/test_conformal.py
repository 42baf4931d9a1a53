"""Conformal limits hold as often as they say: exactly for few scores, measured for many."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfold.operators import Gaussian, ParallelBeam, Volume, XRay
from rayfold.operators.calculus import Diagonal
from rayfold.recon import CGLS, Problem, run
from rayfold.recon.evidence import certify
from rayfold.recon.evidence.calibration import Calibration, calibrate
from rayfold.recon.evidence.conformal import conformal_quantile, pixel_factor
from rayfold.recon.evidence.quality import Bound
from rayfold.recon.metrics import psnr

N = 5000
GAIN = np.random.default_rng(5).uniform(0.2, 1.0, (8, 8))
PHYSICS = Diagonal((8, 8), GAIN)


def scans(n, seed):
    """Many small scans at once: textured images of uneven contrast behind an uneven gain, with noise."""
    rng = np.random.default_rng(seed)
    contrast = rng.gamma(2.0, 0.1, (n, 1, 1))
    truth = 0.5 + contrast * np.cumsum(rng.standard_normal((n, 8, 8)), axis=-1)
    noise = Gaussian(0.1)
    return truth, Problem(PHYSICS, noise.sample(PHYSICS(truth), seed + 1), noise)


def images(problem):
    """A damped reconstruction, biased as any prior is."""
    return run(CGLS(damping=5.0), problem, 20).x


# --- exact for few ---


@given(st.integers(1, 40), st.integers(1, 19), st.randoms(use_true_random=False))
def test_exact_coverage_for_few_scores(n, twentieths, random):
    """Leaving out each of n + 1 distinct scores in turn: exactly ceil((n + 1) level) are covered."""
    level = twentieths / 20
    scores = list(range(n + 1))
    random.shuffle(scores)
    wanted = math.ceil((n + 1) * twentieths / 20 - 1e-9)
    if wanted > n:
        with pytest.raises(ValueError, match=f"{n} calibration scans are too few for level {level}"):
            conformal_quantile(scores[:-1], level)
        return
    inside = sum(
        score <= conformal_quantile([*scores[:i], *scores[i + 1 :]], level) for i, score in enumerate(scores)
    )
    assert inside == wanted


@pytest.mark.parametrize(("level", "least"), [(0.9, 9), (0.95, 19), (0.99, 99), (0.5, 1), (0.999, 999)])
def test_the_smallest_calibration(level, least):
    assert conformal_quantile(np.arange(least), level) == least - 1
    ratios = np.arange(2.0 * least).reshape(least, 2)
    assert pixel_factor(ratios, level) == 2 * least - 1
    for few in (np.arange(least - 1), np.zeros(0)):
        with pytest.raises(ValueError, match=f"too few for level {level}; give at least {least}"):
            conformal_quantile(few, level)
    with pytest.raises(ValueError, match=f"give at least {least}"):
        pixel_factor(ratios[: least - 1], level)


@given(st.integers(9, 25), st.integers(0, 2**32 - 1))
def test_pixels_of_a_left_out_image_are_covered_in_the_mean(n, seed):
    """Over all choices of the new image among n + 1 the mean share outside is at most 10 %."""
    ratios = np.random.default_rng(seed).gamma(0.5, 1.0, (n + 1, 7)) * np.arange(1, n + 2)[:, None]
    outside = [np.mean(ratios[i] > pixel_factor(np.delete(ratios, i, axis=0), 0.9)) for i in range(n + 1)]
    assert np.mean(outside) <= 0.1 + 1e-12


@given(st.lists(st.floats(-1e6, 1e6), min_size=9, max_size=40))
def test_order_does_not_matter_and_units_pass_through(scores):
    limit = conformal_quantile(scores, 0.9)
    assert limit == conformal_quantile(sorted(scores), 0.9)
    assert conformal_quantile([4 * s for s in scores], 0.9) == 4 * limit
    assert conformal_quantile(scores, 0.5) <= limit


def test_scores_may_be_infinite_but_not_missing():
    assert conformal_quantile([0.0] * 9 + [np.inf], 0.9) == np.inf
    with pytest.raises(ValueError, match="1 of them are not numbers"):
        conformal_quantile([0.0] * 9 + [np.nan], 0.9)
    with pytest.raises(ValueError, match="level is 1; it must lie between 0 and 1"):
        conformal_quantile(np.zeros(10), 1)
    with pytest.raises(ValueError, match="0 or more"):
        pixel_factor(-np.ones((10, 3)), 0.9)


# --- measured for many: 5000 calibration and 5000 test scores ---


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_coverage_of_quality_bounds(seed):
    found = []
    for offset in (0, 1000):
        truth, problem = scans(N, seed + offset)
        error = np.mean((images(problem) - truth) ** 2, axis=(1, 2))
        found.append(10 * np.log10(error))  # minus PSNR for a range of 1
    covered = np.mean(found[1] <= conformal_quantile(found[0], 0.9))
    assert 0.88 <= covered <= 0.92


@pytest.mark.parametrize("scaled", [False, True])
def test_coverage_of_pixel_intervals(scaled):
    spread = 1 / (GAIN**2 + 0.05) if scaled else np.ones((8, 8))
    found = []
    for seed in (10, 2000):
        truth, problem = scans(N, seed)
        found.append(np.abs(images(problem) - truth) / spread)
    covered = np.mean(found[1] <= pixel_factor(found[0], 0.9))
    assert 0.88 <= covered <= 0.92


def test_a_wrong_simulation_is_not_covered():
    """The promise is for scans like those simulated: with more noise it must fail, or the test is void."""
    truth, problem = scans(N, 0)
    limit = conformal_quantile(np.mean((images(problem) - truth) ** 2, axis=(1, 2)), 0.9)
    truth, problem = scans(N, 1000)
    worse = problem._replace(y=Gaussian(0.2).sample(problem.y, 7))
    assert np.mean(np.mean((images(worse) - truth) ** 2, axis=(1, 2)) <= limit) < 0.8


# --- the user's own physics ---

CT = XRay(Volume((12, 12)), ParallelBeam.evenly(8, 18))


def simulate(seed):
    rng = np.random.default_rng(seed)
    truth = rng.gamma(2.0) * (rng.random(CT.in_shape) > 0.6)
    return truth, Problem(CT, Gaussian(0.2).sample(CT(truth), seed), Gaussian(0.2))


def reconstruct(problem):
    return run(CGLS(damping=20.0), problem, 12).x


def test_calibration_with_a_predictor_is_sharper_and_still_covers():
    """Bright images have a lower PSNR here, and their scale is known without the truth."""

    def scale(problem, x):
        return [float(np.log(np.sqrt(np.mean(x**2))))]

    def draw(seed):
        truth, problem = scans(1, seed)
        return truth[0], problem._replace(y=problem.y[0])

    def invert(problem):
        return GAIN * problem.y / (GAIN**2 + 0.05)

    plain = calibrate(draw, invert, 1500, data_range=4.0, seed=3)
    told = calibrate(draw, invert, 1500, data_range=4.0, seed=3, features=scale)
    assert plain.ssim is None  # 8 x 8 pixels are too few
    bounds, truths = {"plain": [], "told": []}, []
    for seed in range(10_000, 11_500):
        truth, problem = draw(seed)
        x = invert(problem)
        truths.append(psnr(x, truth, data_range=4.0))
        bounds["plain"].append(plain.quality_bound()["psnr"])
        bounds["told"].append(told.quality_bound(scale(problem, x))["psnr"])
    for found in bounds.values():
        assert 0.87 <= np.mean(np.array(truths) >= found) <= 0.93  # 1000 and 1500: 2.5 standard deviations
    gap = {name: np.mean(np.array(truths) - found) for name, found in bounds.items()}
    assert gap["told"] < 0.7 * gap["plain"]


def test_a_certificate_is_a_feature():
    def unseen(problem, x):
        return [certify(problem, x, pairs=12).unseen_share]

    found = calibrate(simulate, reconstruct, 30, data_range=4.0, features=unseen)
    problem = simulate(99)[1]
    bound = found.quality_bound(unseen(problem, reconstruct(problem)))
    assert set(bound) == {"psnr", "ssim"} and len(found.psnr.coefficients) == 2
    assert np.isfinite(list(bound.values())).all() and bound["ssim"] < 1
    with pytest.raises(ValueError, match="0 features were given; the calibration was made with 1"):
        found.quality_bound()


def test_intervals_follow_the_spread_and_its_scale_does_not_matter():
    spread = 0.5 + np.random.default_rng(0).random(CT.in_shape)
    found = [
        calibrate(simulate, lambda p, s=s: (reconstruct(p), s * spread), 20, data_range=4.0) for s in (1, 8)
    ]
    x = reconstruct(simulate(5)[1])
    low, high = found[0].pixel_intervals(x, spread)
    np.testing.assert_allclose(high - low, 2 * found[0].factor * spread)
    np.testing.assert_allclose(found[1].pixel_intervals(x, 8 * spread)[0], low)
    narrow = calibrate(simulate, reconstruct, 20, data_range=4.0, level=0.5)
    wide = calibrate(simulate, reconstruct, 20, data_range=4.0)
    assert narrow.factor < wide.factor and narrow.psnr.slack < wide.psnr.slack


def test_intervals_in_the_callers_library():
    torch = pytest.importorskip("torch")
    found = Calibration(0.9, 9, 0, 1.0, 2.0, Bound((0.0,), 1.0), None)
    low, high = found.pixel_intervals(torch.tensor([3 + 4j], dtype=torch.complex64))
    assert low.dtype == torch.float32 and (low.item(), high.item()) == (3, 7)  # of the magnitude
    low, _ = found.pixel_intervals(torch.ones(2), np.array([1.0, 2.0]))
    assert low.tolist() == [-1, -3] and found.quality_bound() == {"psnr": -1.0}


def test_it_repeats_and_it_is_saved(tmp_path):
    found = calibrate(simulate, reconstruct, 12, data_range=4.0, seed=4)
    assert found == calibrate(simulate, reconstruct, 12, data_range=4.0, seed=4)
    assert found != calibrate(simulate, reconstruct, 12, data_range=4.0, seed=5)
    path = found.save(tmp_path / "calibration.json")
    assert Calibration.load(path) == found and path.stat().st_size < 2000
    small = Calibration(0.9, 9, 0, 1.0, 2.0, Bound((0.0,), 1.0), None)
    assert Calibration.load(small.save(tmp_path / "small.json")) == small
    (tmp_path / "other.json").write_text(json.dumps({"kind": "x"}))
    with pytest.raises(ValueError, match=r"other\.json holds no calibration"):
        Calibration.load(tmp_path / "other.json")


def test_too_little_and_wrong_input():
    with pytest.raises(ValueError, match=r"8 calibration scans are too few for level 0\.9; give at least 9"):
        calibrate(simulate, reconstruct, 8, data_range=4.0)
    with pytest.raises(ValueError, match="calibration needs scans"):
        calibrate(simulate, reconstruct, 0, data_range=4.0)
    with pytest.raises(ValueError, match="spread holds values that are not positive"):
        calibrate(simulate, lambda p: (reconstruct(p), np.zeros(CT.in_shape)), 9, data_range=4.0)
