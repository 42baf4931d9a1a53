"""Whitening: unit covariance, from a scan or from the periphery with signal in it."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.coil_phantom import measured

from rayfold.recon.mri.whiten import Whitening, noise_covariance, whitening


def mixing(rng, coils=4):
    """Root of a covariance with correlated coils of unlike gain."""
    a = rng.standard_normal((coils, coils)) + 1j * rng.standard_normal((coils, coils))
    return np.diag(10.0 ** np.linspace(-1, 1, coils)) @ (np.eye(coils) + 0.2 * a)


def noise(rng, root, *shape):
    n = rng.standard_normal((len(root), *shape)) + 1j * rng.standard_normal((len(root), *shape))
    return np.tensordot(root, n, 1)


def test_scan_gives_unit_covariance(rng):
    scan = noise(rng, mixing(rng), 3000)
    white = whitening(noise=scan)
    np.testing.assert_allclose(noise_covariance(white(scan)), np.eye(4), atol=1e-12)
    np.testing.assert_allclose(white.matrix @ white.covariance @ white.matrix.conj().T, np.eye(4), atol=1e-12)
    assert not white.estimated and not white.noise.estimated and white.noise.sigma == 1.0
    assert white(scan).real.std() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("undersampled", [False, True])
def test_periphery_gives_the_covariance_despite_signal(rng, undersampled):
    """Structure that reaches the edge of k-space does not count as noise: every variance is right to a fifth.

    A sixth of the columns holds strong signal up to the edge, beside the object in the middle.
    """
    root = mixing(rng)
    signal = measured((96, 96), coils=4)[0]
    distance = (np.arange(96) - 48) / 96
    signal *= 1e3 * np.exp(-80 * (distance[:, None] ** 2 + distance**2))
    signal[:, :, ::6] += 40 * np.exp(1j * np.arange(96))[:, None] * np.arange(1, 5)[:, None, None]
    y = signal + noise(rng, root, 96, 96)
    truth = root @ root.conj().T
    sampled = np.ones((96, 1), bool)
    if undersampled:
        sampled = (np.arange(96) % 3 == 0)[:, None]
        y = y * sampled
    white = whitening(y, sampled=sampled)
    assert white.estimated and white.noise.estimated
    inverse = np.linalg.inv(np.linalg.cholesky(truth))
    values = np.linalg.eigvalsh(inverse @ white.covariance @ inverse.conj().T)
    assert values[0] > 0.8 and values[-1] < 1.2
    corner = y[:, [0, -3]][:, :, :12]
    naive = np.linalg.eigvalsh(inverse @ noise_covariance(corner) @ inverse.conj().T)
    assert naive[-1] > 1.5  # what the outermost samples say without care


def test_pure_noise_is_not_underestimated(rng):
    root = mixing(rng, 6)
    white = whitening(noise(rng, root, 128, 128))
    inverse = np.linalg.inv(np.linalg.cholesky(root @ root.conj().T))
    np.testing.assert_allclose(
        np.linalg.eigvalsh(inverse @ white.covariance @ inverse.conj().T), 1, atol=0.12
    )


def test_scale_and_axis(rng):
    scan = noise(rng, mixing(rng), 500)
    small = whitening(noise=1e-9 * scan)
    np.testing.assert_allclose(small(1e-9 * scan), whitening(noise=scan)(scan), rtol=1e-9)
    white = whitening(noise=scan)
    y = noise(rng, mixing(rng), 5, 6)
    np.testing.assert_allclose(white(np.moveaxis(y, 0, 1), axis=1), np.moveaxis(white(y), 0, 1))
    assert white(y.astype(np.complex64)).dtype == np.complex64


def test_torch_and_derivative(rng):
    torch = pytest.importorskip("torch")
    scan, y = noise(rng, mixing(rng), 400), noise(rng, mixing(rng), 3, 4)
    white = whitening(noise=torch.as_tensor(scan))
    assert isinstance(white, Whitening)
    np.testing.assert_allclose(white(torch.as_tensor(y)), whitening(noise=scan)(y), atol=1e-10)
    np.testing.assert_allclose(whitening(noise=scan)(torch.as_tensor(y)), whitening(noise=scan)(y))
    small = torch.as_tensor(noise(rng, np.eye(2), 6)).requires_grad_(True)
    x = torch.as_tensor(noise(rng, np.eye(2), 3)).requires_grad_(True)
    torch.autograd.gradcheck(lambda n, v: whitening(noise=n)(v), (small, x), fast_mode=True)


def test_bad_input(rng):
    y = noise(rng, mixing(rng), 32, 32)
    with pytest.raises(ValueError, match="a noise scan was asked for"):
        whitening(y, measured=True)
    with pytest.raises(ValueError, match="got neither"):
        whitening()
    with pytest.raises(ValueError, match="4 coils, k-space 3"):
        whitening(y[:3], noise=y)
    with pytest.raises(ValueError, match="7 noise samples are too few for 4"):
        whitening(noise=y[:, 0, :7])
    with pytest.raises(ValueError, match="too few to estimate"):
        whitening(y[:, :4, :4])
    with pytest.raises(ValueError, match="coil 2 has no noise"):
        whitening(noise=np.where(np.arange(4)[:, None, None] == 2, 0, y))
    with pytest.raises(ValueError, match="same noise"):
        whitening(noise=y[[0, 1, 1]])
    with pytest.raises(ValueError, match="3 coils, the matrix is for 4"):
        whitening(noise=y)(y[:3])
    y[0, 0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        whitening(noise=y)
    assert whitening(y).estimated  # without a scan, positions that are not numbers are not measured
