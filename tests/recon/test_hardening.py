"""Hardening of one material: physics of two energies, calibration, and what a veil of scatter does."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.recon.preprocess.hardening import Hardening, unveil

LENGTHS = np.linspace(0.0, 70.0, 400)


def measured(lengths: np.ndarray, veil: float = 0.0) -> np.ndarray:
    """Attenuation of two energies, of which the soft one dies out first."""
    return -np.log(0.4 * np.exp(-0.06 * lengths) + 0.6 * np.exp(-0.03 * lengths) + veil)


def test_a_calibration_undoes_the_hardening():
    p = measured(LENGTHS)
    straight = Hardening.fit(p, LENGTHS, degree=1)
    curved = Hardening.fit(p, LENGTHS, degree=3)
    assert np.abs(straight.lengths(p) - LENGTHS).max() > 1.0  # hardening is worth the trouble
    assert np.abs(curved.lengths(p) - LENGTHS).max() < 0.05
    assert curved.lengths(np.zeros(1))[0] == 0


def test_lengths_of_a_disc_make_a_flat_image():
    """Filtered back-projection of a hardened disc cups; of its lengths it does not."""
    from rayfold.operators import ParallelBeam, Volume
    from rayfold.operators.fbp import fbp_operator

    beam = ParallelBeam.evenly(180, 192, pitch=0.5)
    t = (np.arange(192) - 95.5) * 0.5
    chord = np.broadcast_to(2 * np.sqrt(np.clip(35.0**2 - t**2, 0, None)), (180, 192))
    curve = Hardening.fit(measured(LENGTHS), LENGTHS)
    fbp, _ = fbp_operator(Volume((128, 128), 0.6), beam)
    y, x = np.meshgrid(*2 * [(np.arange(128) - 63.5) * 0.6], indexing="ij")
    r = np.hypot(x, y)

    def cupping(data: np.ndarray) -> float:
        image = fbp(data)
        return float(image[(r > 25) & (r < 30)].mean() / image[r < 10].mean() - 1)

    assert cupping(measured(chord)) > 0.05
    assert abs(cupping(curve.lengths(measured(chord)))) < 0.005


def test_slopes_are_derivatives():
    curve = Hardening((24.0, -0.5, 1.8))
    p = np.linspace(0, 2, 9)
    numeric = (curve.lengths(p + 1e-6) - curve.lengths(p - 1e-6)) / 2e-6
    np.testing.assert_allclose(curve.slopes(p), numeric, rtol=1e-8)


@pytest.mark.parametrize("veil", [-0.008, 0.0, 0.02])
def test_a_veil_is_found_among_rays_of_wrong_length(veil):
    curve = Hardening.fit(measured(LENGTHS), LENGTHS, degree=5)
    rng = np.random.default_rng(0)
    p = measured(LENGTHS, veil) + rng.normal(0, 1e-3, LENGTHS.shape)
    believed = LENGTHS.copy()
    believed[::10] += 15  # holes that the image has missed
    found = curve.veil(p, believed)
    assert found == pytest.approx(veil, abs=1e-3)
    np.testing.assert_allclose(unveil(measured(LENGTHS, veil), veil), measured(LENGTHS), atol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_stays(dtype):
    p = np.ones((2, 3), dtype)
    curve = Hardening((20.0, 5.0))
    assert curve.lengths(p).dtype == curve.slopes(p).dtype == unveil(p, 0.01).dtype == dtype


def test_bad_calibrations_are_refused():
    with pytest.raises(ValueError, match="must match"):
        Hardening.fit(np.ones(3), np.ones(4))
    with pytest.raises(ValueError, match="not finite"):
        Hardening.fit([1.0, np.nan, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="2 values cannot give 3"):
        Hardening.fit([1.0, 2.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="coefficients are"):
        Hardening(())
    with pytest.raises(ValueError, match=r"transmits 0\.0498"):
        unveil(np.array([0.0, 3.0]), 0.1)
