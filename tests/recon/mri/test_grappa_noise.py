"""The g-factor from the kernels against the noise of many reconstructions."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.simulated import coil_maps, measured

from rayfold.operators.fourier import ifft
from rayfold.recon.mri.grappa_kernels import Grappa
from rayfold.recon.mri.grappa_noise import g_factor

SHAPE = (24, 20)
FULL, MAPS = measured(SHAPE, coils=4), coil_maps(SHAPE, coils=4)


@pytest.mark.parametrize("step", [2, 3])
def test_against_many_scans(step):
    mask = (np.arange(24) % step == 0)[:, None]
    kernels = Grappa.calibrate(FULL, mask, SHAPE, lines=2, width=3)
    rng = np.random.default_rng(2)
    noise = rng.normal(size=(400, 4, *SHAPE)) + 1j * rng.normal(size=(400, 4, *SHAPE))
    images = (ifft(kernels(noise * mask), (-2, -1)) * MAPS.conj()).sum(axis=1)
    whole = (ifft(noise, (-2, -1)) * MAPS.conj()).sum(axis=1)
    seen = images.std(axis=0) / whole.std(axis=0) / np.sqrt(step)
    found = g_factor(kernels, MAPS)
    # lines at the edge have fewer neighbours than the convolution has: a few of 24
    assert np.mean(seen / found) == pytest.approx(1, abs=0.05)
    assert np.corrcoef(seen.ravel(), found.ravel())[0, 1] > 0.9
    assert found.max() > 1.05


def test_scale_of_maps_and_turned_axes():
    mask = (np.arange(24) % 2 == 0)[:, None]
    found = g_factor(Grappa.calibrate(FULL, mask, SHAPE), MAPS)
    assert np.allclose(g_factor(Grappa.calibrate(FULL, mask, SHAPE), 3j * MAPS), found)
    turned = Grappa.calibrate(np.swapaxes(FULL, 1, 2), mask.T, SHAPE[::-1], readout=-2)
    assert np.allclose(g_factor(turned, np.swapaxes(MAPS, 1, 2)).T, found)
    assert not g_factor(Grappa.calibrate(FULL, mask, SHAPE), 0 * MAPS).any()


def test_refused():
    mask = (np.arange(24) % 2 == 0)[:, None]
    kernels = Grappa.calibrate(FULL, mask, SHAPE)
    with pytest.raises(ValueError, match=r"give \(coils, 24, 20\)"):
        g_factor(kernels, MAPS[:, :8])
    with pytest.raises(ValueError, match="one scan with 3 coils"):
        g_factor(kernels, MAPS[:3])
    random = (np.random.default_rng(0).random(24) < 0.6)[:, None]
    with pytest.raises(ValueError, match="irregular"):
        g_factor(Grappa.calibrate(FULL, random, SHAPE), MAPS)
