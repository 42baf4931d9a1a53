"""Measured k-space: GRAPPA without fold-over, EPI without its ghost; skipped where the files are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rayfold.operators.fourier import ifft
from rayfold.recon import load
from rayfold.recon.mri.epi import correct_ghost, ghost_phase, ghost_phase_blind
from rayfold.recon.mri.grappa_kernels import grappa
from rayfold.recon.mri.grid import cut_oversampling

MEASURED = Path(__file__).resolve().parents[4] / "shared/data/mri"


def measured(name: str) -> Path:
    path = MEASURED / name
    if not path.exists():
        pytest.skip(f"measured data are not here: {name}")
    return path


def together(kspace):
    """Root sum of squares of the coil images."""
    return np.sqrt((abs(ifft(kspace, (-2, -1))) ** 2).sum(axis=0))


def test_phantom_at_three_times_the_speed():
    """Two bottles with air above and below, where R = 3 folds them to."""
    pytest.importorskip("ismrmrd")
    scan = load(measured("ismrmrd_r3/meas_MID00349_FID09273_SNR_R3.h5"))
    covariance = scan.noise @ scan.noise.conj().T / scan.noise.shape[1]
    white = np.linalg.solve(np.linalg.cholesky(covariance), scan.data.reshape(scan.n_coils, -1))
    kspace = cut_oversampling(white.reshape(scan.data.shape).astype(np.complex64), scan.crop[1])
    lines = np.broadcast_to(scan.sampled, scan.data.shape[1:]).any(axis=1)
    folded = lines & (np.arange(144) % 3 == 0)
    full = grappa(kspace, lines[:, None])
    assert full.dtype == np.complex64
    assert np.array_equal(full[:, lines], kspace[:, lines])
    image, aliased = together(full), together(kspace * folded[:, None])
    air = np.r_[0:12, 125:144]  # rows outside the bottles
    bottles = image > 0.3 * np.percentile(image, 98)
    assert not bottles[air].any()
    assert 0.35 < bottles.mean() < 0.5
    assert np.median(image[air]) < 0.03 * np.median(image[bottles])
    assert np.median(aliased[air]) > 0.1 * np.median(aliased[bottles])


def ghost(image, body):
    """Size of what lies half a field of view away from the object, over the object's."""
    from scipy.ndimage import binary_dilation

    away = np.roll(body, len(body) // 2, axis=0)
    there = away & ~binary_dilation(body, iterations=4)
    return float(np.sqrt((image[there] ** 2).mean() / (image[body] ** 2).mean()))


def test_echo_planar_ghost():
    pytest.importorskip("twixtools")
    pytest.importorskip("pypulseq")
    scan = load(measured("pulseq_gre_epi/05_EPI.dat"), reference=measured("pulseq_gre_epi/05_EPI_noPE.dat"))
    phase = ghost_phase(scan.reference, scan.reference_reversed)
    image = together(correct_ghost(scan.data, scan.reversed_lines, phase))
    body = image > 0.3 * np.percentile(image, 98)
    assert ghost(together(scan.data), body) > 0.7
    assert ghost(image, body) < 0.05
    blind = ghost_phase_blind(scan.data, scan.reversed_lines)
    assert float(blind.slope) == pytest.approx(float(phase.slope), abs=0.002)
    assert ghost(together(correct_ghost(scan.data, scan.reversed_lines, blind)), body) < 0.05
