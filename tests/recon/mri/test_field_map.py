"""The field map from two echoes: analytic phantom, noise, coils, and a measured map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.recon.mri.coil_phantom import coil_maps, disc, grid

from rayfold.recon.mri.field_maps import field_map

MEASURED = Path(__file__).resolve().parents[4] / "shared/data/mri/b0_dual_echo"
T = 2.5  # ms


def field(shape, peak=120.0):
    """A smooth field in Hz with a hot spot, as near the sinuses."""
    y, x = grid(shape)
    return peak * np.exp(-6 * ((y - 0.3) ** 2 + x**2)) - 25 * x


def echoes(shape=(40, 36), noise=0.0, seed=0, peak=120.0):
    rng = np.random.default_rng(seed)
    image, f = disc(shape, 0.8) * np.exp(1j), field(shape, peak)
    pair = np.stack([image, 0.9 * image * np.exp(-2j * np.pi * f * T * 1e-3)])
    return pair + noise * (rng.standard_normal(pair.shape) + 1j * rng.standard_normal(pair.shape)), f


@pytest.mark.parametrize("shape", [(40, 36), (33, 31)])
def test_exact_without_noise_or_regularisation(shape):
    (a, b), f = echoes(shape)
    found = field_map(a, b, T, regularisation=0)
    inside = abs(a) > 0
    np.testing.assert_allclose(found[inside], f[inside], atol=1e-9)
    assert (found[~inside] == 0).all()


def test_regularised_map_keeps_the_field_and_loses_noise():
    (a, b), f = echoes(noise=0.1)
    inside = abs(disc((40, 36), 0.8)) > 0

    def error(r):
        return np.sqrt(((field_map(a, b, T, regularisation=r) - f)[inside] ** 2).mean())

    assert error(0.1) < 0.6 * error(0)
    (a, b), f = echoes()
    assert error(0.03) < 1.0  # Hz, of 120


def test_outside_follows_the_object():
    """Where there is no signal the map continues that of the neighbours, not the phase of the noise."""
    (a, b), f = echoes(noise=1e-3)
    found = field_map(a, b, T)
    outside = abs(disc((40, 36), 0.8)) == 0
    assert abs(found - f)[outside].max() < 80
    assert abs(field_map(a, b, T, regularisation=0) - f)[outside].max() > 150


def test_noisy_voxels_beyond_half_a_period_are_held_by_their_neighbours():
    """At 195 of 200 Hz noise wraps single voxels; the regularised map has none of them 100 Hz off."""
    rng = np.random.default_rng(3)
    f = np.full((24, 24), 195.0)
    a = np.ones((24, 24), complex)
    n = 0.15 * (rng.standard_normal((2, 24, 24)) + 1j * rng.standard_normal((2, 24, 24)))
    b = np.exp(-2j * np.pi * f * T * 1e-3) + n[0]
    assert (abs(field_map(a + n[1], b, T, regularisation=0) - f) > 100).any()
    turns = (field_map(a + n[1], b, T, regularisation=1.0) - f) / 400
    assert abs(turns - turns[0, 0].round()).max() < 0.25


def test_coils_are_combined(rng):
    (a, b), f = echoes()
    maps = coil_maps(a.shape)
    np.testing.assert_allclose(field_map(maps * a, maps * b, T, coils=True), field_map(a, b, T), atol=1e-6)
    assert field_map((maps * a)[:1], (maps * b)[:1], T, coils=True).shape == f.shape


def test_scale_and_precision():
    (a, b), _ = echoes(noise=0.05)
    base = field_map(a, b, T)
    np.testing.assert_allclose(field_map(1e-6 * a, 1e-6 * b, T), base, atol=1e-6)
    single = field_map(a.astype(np.complex64), b.astype(np.complex64), T)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, base, atol=0.05)


def test_three_dimensions_and_torch():
    torch = pytest.importorskip("torch")
    f = np.linspace(-50, 50, 6)[:, None, None] * np.ones((6, 5, 4))
    a, b = np.ones(f.shape, complex), np.exp(-2j * np.pi * f * T * 1e-3)
    np.testing.assert_allclose(field_map(a, b, T, regularisation=1e-4), f, atol=0.1)
    theirs = field_map(torch.as_tensor(a), torch.as_tensor(b), T)
    np.testing.assert_allclose(theirs, field_map(a, b, T), atol=1e-6)
    pair = [torch.as_tensor(v[0]).requires_grad_(True) for v in (a, b)]
    torch.autograd.gradcheck(lambda u, v: field_map(u, v, T, regularisation=0), pair, fast_mode=True)


def test_measured_dual_echo():
    """The product of two measured echoes against the map that its makers fitted to it (Funai 2008).

    The image is every second voxel of their grid, transposed. Median difference 0.5 Hz where the signal is
    more than a tenth, correlation 0.999.
    """
    if not MEASURED.exists():
        pytest.skip("measured data are not here: b0_dual_echo")
    scipy_io = pytest.importorskip("scipy.io")
    product = scipy_io.loadmat(MEASURED / "phfit.mat")["m1"].T
    content = [(MEASURED / f"{name}.fld").read_bytes() for name in ("fieldmap128", "mag128")]
    theirs, size = (
        np.frombuffer(c[c.index(b"\f\f") + 2 :], ">f4").reshape(128, 128)[::2, ::2] for c in content
    )
    np.testing.assert_allclose(abs(product), size, rtol=1e-6)
    found = field_map(abs(product) + 0j, product.conj(), 2.0)  # their phase grows with the field
    inside = size > 0.1 * size.max()
    assert np.median(abs(found - theirs)[inside]) < 0.5
    assert np.corrcoef(found[inside], theirs[inside])[0, 1] > 0.999


def test_the_map_is_what_the_operator_takes():
    """Echoes simulated with `OffResonance` give its field map back, with its sign."""
    from rayfold.operators import OffResonance

    (a, _), f = echoes()
    first, second = OffResonance(f, (4.0, 4.0 + T))(a)
    inside = abs(a) > 0
    np.testing.assert_allclose(field_map(first, second, T, regularisation=0)[inside], f[inside], atol=1e-9)


def test_bad_input():
    (a, b), _ = echoes()
    with pytest.raises(ValueError, match="the echoes have shapes"):
        field_map(a, b[:5], T)
    with pytest.raises(ValueError, match="echo_spacing is -1"):
        field_map(a, b, -1)
    with pytest.raises(ValueError, match="regularisation is -1"):
        field_map(a, b, T, regularisation=-1)
    with pytest.raises(ValueError, match="first echo is real"):
        field_map(abs(a), b, T)
    b[0, 0] = np.nan
    with pytest.raises(ValueError, match="second echo holds NaN"):
        field_map(a, b, T)
