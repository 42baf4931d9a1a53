"""RING finds the delays that a simulated receiver array was given."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.trajectories.simulate import coils

from rayfold.recon.trajectories import correct_trajectory, estimate_delays, radial

ELLIPSES = [
    np.array([[0.4, 0.1], [0.1, -0.3]]),
    np.array([[-1.3, 0.2], [0.2, 0.8]]),
    np.array([[2.2, 0.0], [0.0, 2.5]]),
    np.zeros((2, 2)),
]


@pytest.mark.parametrize("true", ELLIPSES)
@pytest.mark.parametrize(("spokes", "samples", "golden"), [(9, 64, 1), (5, 64, 1), (12, 64, 0), (11, 32, 7)])
def test_delays_are_recovered(true, spokes, samples, golden):
    k = radial(spokes, samples, golden=golden)
    y = coils(correct_trajectory(k, true), 32)
    np.testing.assert_allclose(estimate_delays(y, k), true, atol=0.002)


def test_delays_are_recovered_from_noise_in_single_precision():
    k, true, rng = radial(15, 64, golden=1), ELLIPSES[1], np.random.default_rng(2)
    y = coils(correct_trajectory(k, true), 32)
    y = y + 0.002 * np.abs(y).max() * (rng.standard_normal(y.shape) + 1j * rng.standard_normal(y.shape))
    np.testing.assert_allclose(estimate_delays(y.astype(np.complex64), k), true, atol=0.02)


def test_corrected_data_need_no_correction_and_two_corrections_add():
    k = radial(7, 48, golden=1)
    first, second = ELLIPSES[0], ELLIPSES[1]
    twice = correct_trajectory(correct_trajectory(k, first), second)
    np.testing.assert_allclose(twice, correct_trajectory(k, first + second), atol=1e-12)
    # pi/4 of the field of view per sample: a delay of one sample along kx moves horizontal spokes by a step
    np.testing.assert_allclose(correct_trajectory(k, np.diag([0.0, 1.0]))[0, :-1, 1], k[0, 1:, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda y, k: (y[0], k), "give .coils, spokes, samples."),
        (lambda y, k: (y * np.nan, k), "holds NaN"),
        (lambda y, k: (y * 0, k), "nothing but zeros"),
        (lambda y, k: (y, k + 0.3), "bent or miss the centre"),
        (lambda y, k: (y[:, :1], k[:1]), "cross at 30 degrees"),
    ],
)
def test_bad_input_is_one_line_with_a_cure(change, words):
    k = radial(4, 16)
    with pytest.raises(ValueError, match=words) as caught:
        estimate_delays(*change(np.ones((2, 4, 16), complex), k))
    assert "\n" not in str(caught.value)


def test_correction_refuses_other_shapes():
    with pytest.raises(ValueError, match=r"give .spokes, samples, 2. and .2, 2."):
        correct_trajectory(radial(4, 16), np.zeros(3))
