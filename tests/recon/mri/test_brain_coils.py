"""Receivers of the measured 16-channel brain; skipped where the data are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.recon.mri.coil_phantom import misfit

from rayfold.operators.fourier import fft, ifft
from rayfold.recon.mri.body_coil import body_coil_maps
from rayfold.recon.mri.combine import combine_mvue
from rayfold.recon.mri.compress import compress_geometric, compress_svd
from rayfold.recon.mri.espirit_maps import espirit
from rayfold.recon.mri.walsh_maps import walsh
from rayfold.recon.mri.whiten import noise_covariance, whitening

BRAIN = (
    Path(__file__).resolve().parents[4] / "shared/data/mri/brain_16ch_twix/pulseq_brain_invivo_flash_3T.npz"
)
LINES = np.arange(64) % 4 == 0
LINES[27:37] = True


@pytest.fixture(scope="module")
def array():
    """K-space of the head array as measured, (16, 128, 128)."""
    if not BRAIN.exists():
        pytest.skip("measured data are not here: brain_16ch_twix")
    with np.load(BRAIN) as content:
        return content["array"]


@pytest.fixture(scope="module")
def brain(array):
    """Whitened k-space, its maps from all lines, voxels of the head, body-coil k-space, the whitening.

    The middle 64 of 128 positions on both axes: half the resolution.
    """
    with np.load(BRAIN) as content:
        body = content["body"][:, 32:96, 32:96]
    white = whitening(array)
    array = array[:, 32:96, 32:96]
    y = white(array)
    maps = espirit(y, width=24).maps
    image = abs(combine_mvue(ifft(y, (1, 2)), maps))
    return y, maps, image > 0.1 * image.max(), body, white, array


def test_noise_is_white(array):
    white = whitening(array)
    y = white(array)
    corners = np.concatenate([y[:, :12, :12], y[:, -12:, :12], y[:, :12, -12:], y[:, -12:, -12:]], axis=1)
    assert white.estimated
    np.testing.assert_allclose(noise_covariance(corners), np.eye(16), atol=0.25)
    lines = (np.arange(128) % 4 == 0)[:, None]
    sparse = whitening(array * lines, sampled=lines)
    np.testing.assert_allclose(np.diag(sparse.covariance).real, np.diag(white.covariance).real, rtol=0.2)


def test_ten_lines_give_the_maps_of_all_lines(brain):
    """Median angle 2.5 % (of its sine) in the head; no hole there, zero in the corners."""
    y, full, head, *_ = brain
    found = espirit(y * LINES[:, None], sampled=LINES[:, None])
    assert np.median(misfit(found.maps, full)[head]) < 0.025
    assert (abs(found.maps[:, head]).max(axis=0) > 0).mean() > 0.995
    assert (found.maps[:, :8, :8] == 0).all() and (found.maps[:, :8, -8:] == 0).all()


def test_sigpy_on_the_brain(brain):
    """The same subspace as SigPy's from all lines, and ours sees less of what it should not from ten."""
    app = pytest.importorskip("sigpy.mri.app")
    y, full, head, *_ = brain
    y = y * LINES[:, None]
    theirs = app.EspiritCalib(y, calib_width=10, kernel_width=4, crop=0.0, show_pbar=False, max_iter=30).run()
    ours = espirit(y, sampled=LINES[:, None]).maps
    errors = [np.median(misfit(m, full)[head]) for m in (ours, theirs)]
    assert errors[0] < 0.6 * errors[1] < 0.1


def test_other_estimates_agree(brain):
    y, full, head, body, white, array = brain
    images = ifft(y, (1, 2))
    assert np.median(misfit(walsh(images), full)[head]) < 0.03
    ratio = body_coil_maps(ifft(array, (1, 2)), ifft(body, (1, 2)))
    assert np.median(misfit(white(ratio), full)[head]) < 0.2  # the body coil's image is noisy
    assert np.isfinite(ratio).all()


def test_compression_keeps_99_percent(brain):
    y = brain[0]
    counts = []
    for method in (compress_svd, compress_geometric):
        found = method(y)
        assert (abs(found(y)) ** 2).sum() >= 0.99 * (abs(y) ** 2).sum() * (1 - 1e-5)
        counts.append(found.matrix.shape[-2])
    assert counts[1] < counts[0] < 16


def test_sense_from_ten_lines(array):
    """Seven steps of damped conjugate gradients from R = 3.28 with default maps: over 33 dB.

    Lines 0::4 and 59..68 of 128; target and score as everywhere: least variance with maps from all lines,
    magnitude, least-squares scale, peak of the target, all pixels.
    """
    y, mask = whitening(array)(array), np.arange(128)[:, None] % 4 == 0
    mask[59:69] = True
    target = abs(combine_mvue(ifft(y, (1, 2)), espirit(y).maps)).astype(float)
    maps = espirit(y * mask, sampled=mask).maps

    def gram(v):
        return (maps.conj() * ifft(mask * fft(maps * v, (1, 2)), (1, 2))).sum(axis=0) + 0.01 * v

    r = (maps.conj() * ifft(mask * y, (1, 2))).sum(axis=0)
    x, p, power = 0 * r, r, np.vdot(r, r).real
    for _ in range(7):
        q = gram(p)
        a = power / np.vdot(p, q).real
        x, r = x + a * p, r - a * q
        power, before = np.vdot(r, r).real, power
        p = r + power / before * p
    x = abs(x).astype(float)
    error = x * (x * target).sum() / (x**2).sum() - target
    assert 10 * np.log10(target.max() ** 2 / (error**2).mean()) > 33.0
