"""The scores of the prior's quality benchmark on what is known beforehand: no measured data, no weights."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
prior_cases = importlib.import_module("benchmarks.prior_cases")
prior_images = importlib.import_module("benchmarks.prior_images")
prior_methods = importlib.import_module("benchmarks.prior_methods")
prior_tomography = importlib.import_module("benchmarks.prior_tomography")
Case, OURS = prior_cases.Case, prior_cases.OURS


@pytest.fixture(scope="module")
def disc():
    """A disc of water with a hole, 64 x 64 pixels in 1/mm, as an object of the benchmark (32 x 32)."""
    y, x = np.mgrid[:64, :64] - 31.5
    hu = np.where(np.hypot(x, y) < 25, 40.0, -1000.0)
    hu[np.hypot(x - 6, y + 4) < 6] = -700
    fine = prior_images.attenuation(hu)
    return prior_tomography.Object("disc", fine, prior_images.halved(fine), 4.0)


def scan(disc, views=40):
    from rayfold.operators import ParallelBeam, Volume, XRay
    from rayfold.operators.noise import Gaussian
    from rayfold.recon import Problem

    clean = prior_images.halved(
        XRay(Volume((64, 64), 2.0), ParallelBeam.evenly(views, 96, pitch=2.0))(disc.fine), -1
    )
    sigma = 0.01 * float(clean.mean())
    drawn = np.random.default_rng(0).standard_normal(clean.shape, np.float32)
    A = XRay(Volume((32, 32), 4.0), ParallelBeam.evenly(views, 48, pitch=4.0))
    return Problem(A, clean + np.float32(sigma) * drawn, Gaussian(sigma))


def test_psnr_of_a_known_error_in_hu():
    truth = prior_images.attenuation(np.zeros((16, 16)))
    score = prior_methods.hu_psnr(truth, prior_images.WATER)
    off = prior_images.attenuation(np.full((16, 16), 20.0))
    assert score(off) == pytest.approx(20 * np.log10(2000 / 20), abs=1e-3)


def test_null_models_score_as_null(disc):
    problem = scan(disc)
    score = prior_methods.hu_psnr(disc.truth, prior_images.WATER)
    fbp = prior_methods.best_fbp(problem.A, problem.y, score)["score"]
    cgls = prior_methods.best_cgls(problem, score, 12)["score"]
    for model in prior_methods.NULLS.values():
        null = score(model.restore(problem))
        assert null < min(fbp, cgls) - 3
    spread = float(np.std(disc.truth)) / (2 * prior_images.WATER)
    flat = score(prior_methods.Constant().restore(problem))
    assert flat <= -20 * np.log10(spread) + 1e-6  # no constant is nearer than the mean


def test_total_variation_with_its_best_weight_is_above_its_neighbours_and_above_fbp(disc):
    problem = scan(disc)
    score = prior_methods.hu_psnr(disc.truth, prior_images.WATER)
    start = np.zeros((32, 32), np.float32)
    row = prior_methods.tv_reconstruction(problem, score, start, steps=40, positive=True)

    def at(factor):
        weight = factor * row["weight"] * row["force"]
        return score(prior_methods.total_variation(problem, weight, start, 200, positive=True))

    assert at(1) > max(at(0.2), at(5)) - 0.05
    assert row["score"] > prior_methods.best_fbp(problem.A, problem.y, score)["score"] + 1


@pytest.mark.parametrize("peak", [0.02, 0.3, 2.9])
def test_golden_section_finds_the_best(peak):
    calls = []

    def score(t):
        calls.append(t)
        return -((np.log(t) - np.log(peak)) ** 2)

    found, best = prior_cases.golden(score, 0.01, 3.0, 12)
    assert len(calls) <= 14  # two to begin with, then one each
    assert found == pytest.approx(peak, rel=0.05) and best == max(map(score, tuple(calls)))


def test_interval_is_that_of_student():
    from scipy import stats

    values = np.random.default_rng(1).normal(3, 2, 7)
    bounds = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    assert prior_cases.interval(list(values)) == pytest.approx(bounds, abs=0.01)
    assert prior_cases.interval([1.0]) is None


def test_entries_say_whether_they_are_reached():
    assert prior_cases.entry("a", 1.5, [1.4, 1.7])["reached"]
    assert not prior_cases.entry("a", 1.5, [1.4, 1.5])["reached"]
    assert prior_cases.entry("a", 20, [19.0], most=True)["reached"]
    with pytest.raises(ValueError, match="no values"):
        prior_cases.entry("a", 1.5, [])


def test_a_number_per_image_is_the_mean_over_its_settings():
    cases = [
        Case("t", image, str(k), {OURS: value, "TV": 0.0})
        for k, (image, value) in enumerate([("a", 1.0), ("a", 3.0), ("b", 5.0)])
    ]
    assert prior_cases.by_image(cases, lambda c: c.gain("TV")) == [2.0, 5.0]


def test_the_store_keeps_rows_and_computes_those_of_other_images(tmp_path, capsys):
    calls = []

    def make():
        calls.append(1)
        return {"score": float(len(calls))}

    image = np.arange(6.0).reshape(2, 3)
    store = prior_cases.Store(tmp_path / "rows.json")
    assert store.get("a", image, {"s": 1}, make)["score"] == 1
    assert prior_cases.Store(store.path).get("a", image, {"s": 1}, make)["score"] == 1
    assert store.get("a", image + np.eye(2, 3), {"s": 1}, make)["score"] == 2
    assert store.get("a", image + np.eye(2, 3), {"s": 2}, make)["score"] == 3
    fresh = prior_cases.Store(store.path, fresh=True)
    assert [fresh.get("a", image + np.eye(2, 3), {"s": 2}, make)["score"] for _ in range(2)] == [4, 4]


def test_halves_are_means_of_pairs():
    x = np.arange(8.0).reshape(2, 4)
    assert prior_images.halved(x, -1).tolist() == [[0.5, 2.5], [4.5, 6.5]]
    assert prior_images.halved(x).tolist() == [[2.5, 4.5]]


def test_the_gallery_shows_the_lowest_margins_first(tmp_path):
    module = importlib.import_module("benchmarks.prior_gallery")
    image = np.random.default_rng(0).random((24, 20))
    pictures = {"truth": image, "data": image, OURS: image}
    cases = [
        Case("t", f"image {k}", "s", {OURS: 30.0, "TV": 28.0 + k, "prior, told sigma": 99}, {}, pictures)
        for k in range(3)
    ]
    assert [case.image for case in module.worst(cases, 2)] == ["image 2", "image 1"]
    module.gallery(cases, tmp_path / "worst.png")
    assert (tmp_path / "worst.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_is_aligned():
    module = importlib.import_module("benchmarks.prior_quality")
    lines = [prior_cases.entry("a", 1.5, [1.4, 1.7]), prior_cases.entry("much longer", 20, [1e-7], most=True)]
    rows = module.table(lines).splitlines()
    assert len({len(row) for row in rows}) == 1 and rows[1].endswith("yes") and "1.0e-07" in rows[2]


def test_enlarging_by_splines_keeps_the_place():
    module = importlib.import_module("benchmarks.prior_superres")
    x = np.linspace(0, 1, 16)
    ramp = np.broadcast_to(x, (16, 16))
    large = module.enlarged(ramp)
    expected = (np.arange(32) + 0.5) / 2 - 0.5
    assert np.abs(large[16, 4:-4] - expected[4:-4] / 15).max() < 1e-3
