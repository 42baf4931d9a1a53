"""Measured k-space: shapes, agreement with independent copies, and images that are where they should be."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.recon.mri_files import ifft

from rayfold.recon.io import load

MEASURED = Path(__file__).resolve().parents[3] / "shared" / "data" / "mri"


def measured(name: str) -> Path:
    path = MEASURED / name
    if not path.exists():
        pytest.skip(f"measured data are not here: {name}")
    if path.suffix == ".dat":
        pytest.importorskip("twixtools")
        pytest.importorskip("pypulseq")
    return path


def picture(scan) -> np.ndarray:
    """Root sum of squares of the inverse transform, without what the readout's oversampling adds."""
    image = np.sqrt((np.abs(ifft(scan.data)) ** 2).sum(scan.axes.index("coil")))
    for axis, (n, kept) in enumerate(zip(scan.grid, scan.crop or scan.grid, strict=True)):
        start = n // 2 - kept // 2
        image = np.take(image, range(start, start + kept), axis=image.ndim - len(scan.grid) + axis)
    return image


def centre_and_edge(image) -> tuple[np.ndarray, float]:
    """Centre of what is bright from the middle in parts of the size, and the share of it at the edge."""
    bright = image > 0.3 * np.percentile(image, 99)
    middle = [
        (bright.sum(1 - axis) @ np.arange(n)) / bright.sum() / n - 0.5 for axis, n in enumerate(bright.shape)
    ]
    inside = bright[4:-4, 4:-4].sum()
    return np.array(middle), 1 - inside / bright.sum()


@pytest.mark.parametrize(("name", "array", "coils"), [("164128", "array", 16), ("164120", "body", 2)])
def test_brain_twix_is_the_brain_as_arrays(name, array, coils):
    scan = load(measured(f"brain_16ch_twix/2024-02-06-{name}.dat"))
    plain = load(
        measured("brain_16ch_twix/pulseq_brain_invivo_flash_3T.npz"), geometry={"kspace": {"data": array}}
    )
    assert scan.data.shape == (coils, 128, 128) and np.array_equal(scan.data, plain.data)
    assert scan.axes == plain.axes == ("coil", "ky", "kx") and scan.field_strength == pytest.approx(
        2.894, abs=1e-3
    )
    offset, edge = centre_and_edge(picture(scan))
    assert np.abs(offset).max() < 0.06 and edge < 0.02


def test_brain_8ch_mask():
    scan = load(measured("brain_8ch_undersampled/cartesian_ksp.npy"))
    assert scan.data.shape == (8, 230, 180) and scan.acceleration == pytest.approx(8, rel=0.01)
    assert scan.sampled[111:119, 86:94].all()


def test_ismrmrd_r3():
    scan = load(measured("ismrmrd_r3/meas_MID00349_FID09273_SNR_R3.h5"))
    assert scan.data.shape == (14, 144, 384) and scan.crop == (144, 192) and scan.noise.shape == (14, 384)
    lines = np.flatnonzero(scan.sampled[:, 0])
    assert len(lines) == 68 and np.array_equal(lines[lines < 48], np.arange(18, 48, 3))
    assert np.array_equal(np.intersect1d(lines, np.arange(48, 97)), np.arange(48, 97)[:49])
    # beside the object, but where the receiver's filter still passes, there is noise of the power 1
    whitener = np.linalg.inv(np.linalg.cholesky(np.cov(scan.noise)))
    hybrid = ifft(np.tensordot(whitener, scan.data[:, lines], 1), (-1,))
    beside = np.abs(hybrid[..., [*range(90, 102), *range(284, 294)]]) ** 2
    assert 0.85 < beside.mean() < 1.3


@pytest.mark.parametrize("name", ["01_GRE", "01_GRE_example", "06_GRE_xSpoil_yRephase_RFspoilADC"])
def test_pulseq_gradient_echo(name):
    scan = load(measured(f"pulseq_gre_epi/{name}.dat"))
    assert scan.data.shape == (1, 256, 256) and scan.sampled is None and scan.echo_times is not None
    offset, edge = centre_and_edge(picture(scan))
    assert np.abs(offset).max() < 0.1 and edge < 0.02


def test_pulseq_echoes_are_one_object_three_times():
    scan = load(measured("pulseq_gre_epi/02_GRE_3echoes.dat"))
    assert scan.axes == ("echo", "coil", "ky", "kx") and scan.data.shape == (3, 1, 256, 256)
    assert scan.echo_times == pytest.approx((4, 9, 15), abs=0.02)
    images = picture(scan)
    assert np.corrcoef(images.reshape(3, -1)).min() > 0.95
    single = picture(load(measured("pulseq_gre_epi/01_GRE.dat")))
    assert np.corrcoef(images[0].ravel(), single.ravel())[0, 1] > 0.95


def _corrected(scan) -> np.ndarray:
    """Image after a line of phase between the two directions of readout, from the reference."""
    lines = ifft(scan.reference, (-1,))
    back = scan.reference_reversed
    phase = (lines[:, back].mean(1) * lines[:, ~back].mean(1).conj()).sum(0)
    x = np.arange(phase.size)
    slope = np.angle((phase[1:] * phase[:-1].conj()).sum())
    offset = np.angle((phase * np.exp(-1j * slope * x)).sum())
    hybrid = ifft(scan.data, (-1,))
    hybrid[:, scan.reversed_lines] *= np.exp(-1j * (slope * x + offset))
    return np.sqrt((np.abs(ifft(hybrid, (-2,))) ** 2).sum(0))


def test_pulseq_epi_with_its_reference():
    """The ghost, half a field of view away, goes down several times."""
    path = measured("pulseq_gre_epi/05_EPI.dat")
    scan = load(path, reference=measured("pulseq_gre_epi/05_EPI_noPE.dat"))
    assert scan.data.shape == (4, 128, 128) and scan.reference.shape == (4, 128, 128)
    assert scan.reversed_lines.sum() == 64

    def ghost(image):
        return image[100:124].mean() / image[52:76].mean()

    assert ghost(_corrected(scan)) < 0.35 * ghost(picture(scan))


def test_pulseq_single_readout_keeps_its_trajectory():
    scan = load(measured("pulseq_gre_epi/06_EPI_singleTraj.dat"))
    assert scan.data.shape == (4, 1, 21300) and scan.trajectory.shape == (1, 21300, 2) and not scan.cartesian


def test_small_twix():
    gre, epi = load(measured("twix_small/gre.dat")), load(measured("twix_small/epi.dat"))
    assert gre.data.shape == (2, 160, 320) and gre.crop == (160, 160) and gre.field_of_view == (200, 400)
    assert epi.data.shape == (2, 80, 160) and epi.crop == (80, 80) and epi.reference.shape == (2, 3, 160)
    # the same phantom in the same place: ghost-corrected EPI against the gradient echo at its resolution
    small = picture(gre).reshape(80, 2, 80, 2).mean((1, 3))
    fast = _corrected(epi)[:, 40:120]
    assert np.corrcoef(small.ravel(), fast.ravel())[0, 1] > 0.75
