"""Cycle spinning: the mean of proximal operators, the same wherever the image lies."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.operators import Identity
from rayfold.recon import Problem, run
from rayfold.recon.priors.cycle_spinning import CycleSpinning
from rayfold.recon.priors.sparsity import L1
from rayfold.recon.priors.wavelet import WaveletL1
from rayfold.recon.solvers.fista import FISTA


def image(shape: tuple[int, ...] = (8, 8), seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def test_prox_is_the_mean_over_the_shifts():
    prior, x = WaveletL1(0.3, "db2", 2), image()
    expected = np.mean(
        [
            np.roll(prior.prox(np.roll(x, (i, j), (0, 1)), 0.7), (-i, -j), (0, 1))
            for i in range(3)
            for j in range(3)
        ],
        axis=0,
    )
    assert np.allclose(CycleSpinning(prior, 3).prox(x, 0.7), expected, atol=1e-14)


def test_one_shift_is_the_prior_itself():
    prior, x = WaveletL1(0.3, "haar"), image()
    spun = CycleSpinning(prior, 1)
    assert np.allclose(spun.prox(x, 0.7), prior.prox(x, 0.7))
    assert np.allclose(spun.value(x), prior.value(x))


def test_moves_with_the_image():
    prior, x = WaveletL1(0.5, "haar", 1), image()
    spun, moved = CycleSpinning(prior), np.roll(x, (1, 3), (0, 1))
    assert np.allclose(spun.prox(moved, 1.0), np.roll(spun.prox(x, 1.0), (1, 3), (0, 1)))
    assert not np.allclose(prior.prox(moved, 1.0), np.roll(prior.prox(x, 1.0), (1, 3), (0, 1)))


def test_prox_is_firmly_nonexpansive():
    spun, x, y = CycleSpinning(WaveletL1(0.5, "db2")), image(), image(seed=1)
    moved = spun.prox(x, 1.0) - spun.prox(y, 1.0)
    assert np.vdot(moved, x - y).real >= np.vdot(moved, moved).real


def test_batches_and_steps_are_independent():
    spun, x = CycleSpinning(WaveletL1(0.5, "haar")), np.stack([image(), image(seed=1)])
    steps = np.array([0.2, 1.5])[:, None, None]
    both = spun.prox(x, steps)
    assert np.allclose(both[1], spun.prox(x[1], 1.5))
    assert np.allclose(spun.value(x)[1], spun.value(x[1]))


def test_a_step_per_pixel_moves_with_its_pixel():
    prior, x = L1(0.2), image((6, 6))
    steps = np.random.default_rng(2).uniform(0.1, 2.0, x.shape)
    assert np.allclose(CycleSpinning(prior, 3).prox(x, steps), prior.prox(x, steps))


def test_inner_variables_go_on():
    spun, x = CycleSpinning(WaveletL1(0.5, "haar", 2, iterations=5)), image((6, 7))
    exact = CycleSpinning(WaveletL1(0.5, "haar", 2, iterations=500)).prox(x, 1.0)
    first, warm = spun.prox_from(x, 1.0, spun.warm(x))
    second, _ = spun.prox_from(x, 1.0, warm)
    assert abs(second - exact).max() < 0.5 * abs(first - exact).max()


def test_denoises_better_than_the_wavelet_alone():
    clean = np.zeros((32, 32))
    clean[9:21, 5:18] = 1.0
    noisy = clean + 0.2 * np.random.default_rng(0).standard_normal(clean.shape)
    problem, prior = Problem(Identity((32, 32)), noisy), WaveletL1(0.3, "haar")
    alone, spun = (run(FISTA(p), problem, 20).x for p in (prior, CycleSpinning(prior, 4)))
    assert np.linalg.norm(spun - clean) < 0.85 * np.linalg.norm(alone - clean)


@pytest.mark.parametrize("library", ["torch", "jax.numpy"])
def test_other_libraries(library: str):
    xp = pytest.importorskip(library)
    spun, x = CycleSpinning(WaveletL1(0.3, "db2")), image().astype(np.complex64)
    found = spun.prox(xp.asarray(x), 0.7)
    assert type(found) is type(xp.asarray(x))
    assert np.allclose(np.asarray(found), spun.prox(x, 0.7), atol=1e-5)


def test_bad_input():
    with pytest.raises(ValueError, match="shifts"):
        CycleSpinning(WaveletL1(1.0), 0)
    with pytest.raises(ValueError, match="2 axes"):
        CycleSpinning(WaveletL1(1.0)).prox(np.ones(4), 1.0)
