"""Coil compression: energy, orthonormality, alignment along the readout, other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.coil_phantom import measured, misfit

from rayfold.operators.fourier import ifft
from rayfold.recon.mri.combine import root_sum_of_squares
from rayfold.recon.mri.compress import compress_geometric, compress_svd

METHODS = [compress_svd, compress_geometric]


def energy(y):
    return float((abs(y) ** 2).sum())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(24, 20), (15, 17)])
def test_keeps_the_energy_it_promises(method, shape):
    y = measured(shape, coils=12)[0]
    for share in (0.9, 0.99, 0.9999):
        found = method(y, energy=share)
        kept = energy(found(y)) / energy(y)
        assert share - 1e-9 <= kept <= 1 + 1e-9
        n = found.matrix.shape[-2]
        assert n < 12 and found(y).shape == (n, *shape)
        if n > 1:
            assert energy(method(y, n - 1)(y)) / energy(y) < share


@pytest.mark.parametrize("method", METHODS)
def test_all_coils_are_a_rotation(method, rng):
    y = measured((16, 18), coils=5, noise=0.1)[0]
    found = method(y, 5)
    m = found.matrix
    np.testing.assert_allclose(
        m @ np.conj(np.swapaxes(m, -1, -2)), np.broadcast_to(np.eye(5), m.shape), atol=1e-9
    )
    images = [root_sum_of_squares(ifft(v, (1, 2))) for v in (y, found(y))]
    np.testing.assert_allclose(images[1], images[0], atol=1e-9)


def test_geometric_needs_fewer_and_is_smooth():
    """At equal number it keeps more energy than one matrix, and neighbours' bases are alike."""
    y = measured((24, 48), coils=12)[0]
    one, many = compress_svd(y, 2), compress_geometric(y, 2)
    assert energy(many(y)) > energy(one(y)) * 1.01
    step = np.linalg.norm(np.diff(many.matrix[10:-9], axis=0), axis=(1, 2))  # where the object is
    assert step.max() < 0.3
    assert np.linalg.norm(many.matrix[10] - many.matrix[-10]) > 1.0


def test_readout_axis():
    y = measured((24, 20), coils=6)[0]
    found = compress_geometric(y, 3, readout=-2)
    turned = compress_geometric(np.swapaxes(y, 1, 2), 3)
    np.testing.assert_allclose(found(y), np.swapaxes(turned(np.swapaxes(y, 1, 2)), 1, 2), atol=1e-9)


def test_calibration_lines_compress_all_data():
    y = measured((32, 24), coils=10)[0]
    found = compress_geometric(y[:, 12:20], energy=0.999)
    assert energy(found(y)) > 0.99 * energy(y)


def test_scale_and_order():
    y = measured(coils=8)[0]
    a, b = compress_svd(y, 3)(y), compress_svd(1e-12 * y[::-1], 3)(y[::-1])
    for u, v in zip(a, b, strict=True):  # each virtual coil is known up to a phase
        assert misfit(u.reshape(-1, 1), v.reshape(-1, 1)).max() < 1e-6


@pytest.mark.parametrize("method", METHODS)
def test_torch_and_derivative(method):
    torch = pytest.importorskip("torch")
    y = measured((8, 6), coils=4, noise=0.1)[0]
    ours, theirs = method(y, 3), method(torch.as_tensor(y), 3)
    np.testing.assert_allclose(abs(theirs(torch.as_tensor(y))), abs(ours(y)), atol=1e-8)
    x = torch.as_tensor(y).requires_grad_(True)
    torch.autograd.gradcheck(ours, x, fast_mode=True)
    # the matrix too: the energy kept does not depend on the phases of the basis
    torch.autograd.gradcheck(lambda v: method(v, 2)(v).abs().square().sum(), x, fast_mode=True)


def test_bad_input():
    y = measured((16, 16))[0]
    with pytest.raises(ValueError, match="7 virtual coils were asked for; 6"):
        compress_svd(y, 7)
    with pytest.raises(ValueError, match="energy is"):
        compress_svd(y, energy=1.5)
    with pytest.raises(ValueError, match="readout is 2"):
        compress_geometric(y, readout=2)
    with pytest.raises(ValueError, match="window is 4"):
        compress_geometric(y, window=4)
    with pytest.raises(ValueError, match="do not fit a compression of 6 coils"):
        compress_geometric(y, 2)(y[..., :12])
    with pytest.raises(ValueError, match="5 coils, the matrix is for 6"):
        compress_svd(y, 2)(y[:5])
    y[0, 3, 3] = np.inf
    for method in METHODS:
        with pytest.raises(ValueError, match="NaN or infinite"):
            method(y)
