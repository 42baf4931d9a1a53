"""Coils of training scans: anywhere around the object, and as a calibration finds them."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.recon.train.coils import calibrated, random_coils  # noqa: E402


@pytest.mark.parametrize("shape", [(32, 32), (24, 40)])
def test_arrays_differ_and_see_all_of_the_image(shape):
    arrays = [random_coils(np.random.default_rng(seed), shape, 8) for seed in range(24)]
    sizes = [np.sqrt((abs(maps) ** 2).sum(0)) for maps in arrays]
    assert all(size.min() > 0.2 and size.mean() == pytest.approx(1, abs=1e-5) for size in sizes)
    flat = [np.allclose(size, 1, atol=1e-5) for size in sizes]
    assert any(flat) and not all(flat)
    strongest = {int(abs(maps[0]).argmax()) for maps in arrays}  # where the first coil is nearest
    assert len(strongest) > 3
    np.testing.assert_array_equal(random_coils(np.random.default_rng(0), shape, 1), np.ones((1, *shape)))


def test_calibrated_maps_err_between_coils_only():
    errors, ends = [], 0
    for seed in range(24):
        rng = np.random.default_rng(seed)
        maps = random_coils(rng, (48, 48), 8)
        disc = np.hypot(*(np.mgrid[:48, :48] - 23.5)) < 15
        told, support = calibrated(rng, maps, disc[None].astype(np.float32))
        assert not told[:, ~support].any() and support[disc].all()
        ends += not support.all()
        inner = (told.conj() * maps).sum(0)[support]
        power = (abs(maps) ** 2).sum(0)[support]
        np.testing.assert_allclose((abs(told) ** 2).sum(0)[support], power, rtol=1e-4)
        assert abs(inner.imag).max() < 1e-5 * power.max() and inner.real.min() > 0
        errors.append(float(np.sqrt((abs(told - maps) ** 2).sum(0)[support] / power).mean()))
    assert 0.002 < min(errors) < 0.01 and 0.04 < max(errors) < 0.15
    assert 8 < ends < 20


def test_a_single_coil_has_no_errors_between_coils():
    rng = np.random.default_rng(3)
    told, support = calibrated(rng, random_coils(rng, (32, 32), 1), np.ones((1, 32, 32)))
    np.testing.assert_array_equal(told[0], support)


def test_no_coils_are_refused():
    with pytest.raises(ValueError, match="coils is 0"):
        random_coils(np.random.default_rng(0), (32, 32), 0)
