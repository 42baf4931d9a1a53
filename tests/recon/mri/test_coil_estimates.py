"""Walsh, body-coil and joint estimates against known maps."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.coil_phantom import coil_maps, disc, grid, measured, misfit

from rayfold.operators.fourier import ifft
from rayfold.recon.mri.body_coil import body_coil_maps
from rayfold.recon.mri.jsense_maps import jsense
from rayfold.recon.mri.smoothing import smooth
from rayfold.recon.mri.virtual_coil import to_virtual_phase, virtual_coil
from rayfold.recon.mri.walsh_maps import walsh


def undersampled(n, step=2, around=4):
    return ((np.arange(n) % step == 0) | (abs(np.arange(n) - n // 2) < around))[:, None]


# --- Walsh ---


@pytest.mark.parametrize("shape", [(32, 32), (31, 26)])
def test_walsh_finds_the_maps(shape):
    """Exact without a neighbourhood; away from the edge the bias grows with the square of its width."""
    y, image, truth = measured(shape)
    x, (v, u) = ifft(y, (1, 2)), grid(shape)
    errors = {f: misfit(walsh(x, fwhm=f), truth) for f in (0.0, 1.5, 3.0)}
    assert errors[0.0][abs(image) > 0].max() < 1e-6
    interior = u**2 + v**2 < 0.45**2
    assert 3 < errors[3.0][interior].max() / errors[1.5][interior].max() < 5
    np.testing.assert_allclose((abs(walsh(x)) ** 2).sum(axis=0), 1, atol=1e-9)


def test_walsh_suppresses_noise():
    y, image, truth = measured((48, 48), noise=0.1)
    x, inside = ifft(y, (1, 2)), abs(image) > 0
    errors = [np.median(misfit(walsh(x, fwhm=f), truth)[inside]) for f in (0.0, 3.0)]
    assert errors[1] < 0.5 * errors[0]


def test_walsh_scale_and_order():
    x = ifft(measured(noise=0.01)[0], (1, 2))
    base = walsh(x)
    np.testing.assert_allclose(walsh(1e-8j * x), base, atol=1e-8)
    assert misfit(walsh(x[::-1])[::-1], base).max() < 1e-6


def test_walsh_torch_and_derivative():
    torch = pytest.importorskip("torch")
    x = ifft(measured((6, 5), coils=3, noise=0.02)[0], (1, 2))
    np.testing.assert_allclose(walsh(torch.as_tensor(x)), walsh(x), atol=1e-8)
    t = torch.as_tensor(x).requires_grad_(True)
    torch.autograd.gradcheck(lambda v: walsh(v, fwhm=2.0), t, fast_mode=True, atol=1e-4)


def test_smooth_keeps_constants_and_means(rng):
    x = rng.standard_normal((3, 9, 8))
    np.testing.assert_allclose(smooth(x * 0 + 2, 3.0, 2), 2)
    wide = smooth(x, 1e6, 2)
    np.testing.assert_allclose(wide, np.broadcast_to(x.mean(axis=(1, 2), keepdims=True), x.shape), atol=1e-9)
    impulse = np.zeros((1, 41))
    impulse[0, 20] = 1
    row = smooth(impulse, 6.0, 1)[0]
    assert row[17] == pytest.approx(row[20] / 2) and row[23] == pytest.approx(row[20] / 2)
    assert smooth(x, 0, 2) is x


def test_virtual_coil_is_the_strongest(rng):
    data = rng.standard_normal((5, 40)) + 1j * rng.standard_normal((5, 40))
    v = virtual_coil(data)
    assert np.linalg.norm(v) == pytest.approx(1)
    assert np.linalg.norm(v.conj() @ data) == pytest.approx(np.linalg.svd(data)[1][0])
    turned = to_virtual_phase(data, v)
    np.testing.assert_allclose(abs(turned), abs(data))
    assert abs((v.conj() @ turned).imag).max() < 1e-12


# --- body coil ---


def test_body_coil_ratio():
    """Maps with the phase of the ratio, within 2 % in the object; of two channels, up to one phase."""
    truth, image = coil_maps((40, 37)), disc((40, 37), 0.8)
    even = image * np.exp(0.3j)
    found = body_coil_maps(truth * even, even, fwhm=2.0, regularisation=1e-6)
    inside = abs(image) > 0
    assert np.quantile(abs(found - truth).max(axis=0)[inside], 0.95) < 0.02
    channels = np.stack([0.6 * even, 0.8j * even])
    two = body_coil_maps(truth * even, channels, fwhm=2.0, regularisation=1e-6)
    np.testing.assert_allclose(abs(two), abs(found), atol=1e-9)
    phase = (two[:, inside] * found[:, inside].conj()).ravel()
    assert np.ptp(np.angle(phase / phase[0])) < 1e-9


def test_body_coil_outside_is_quiet(rng):
    truth, image = coil_maps((32, 32)), disc((32, 32), 0.4)
    n = 1e-3 * (rng.standard_normal((7, 32, 32)) + 1j * rng.standard_normal((7, 32, 32)))
    found = body_coil_maps(truth * image + n[:6], image + n[6])
    far = sum(p**2 for p in grid((32, 32))) > (0.4 + 10 / 16) ** 2  # two widths of the mean from the object
    assert abs(found[:, far]).max() < 0.05
    assert np.isfinite(body_coil_maps(0 * truth, 0 * image)).all()


def test_body_coil_torch_and_derivative():
    torch = pytest.importorskip("torch")
    truth, image = coil_maps((6, 5), 3), disc((6, 5)) + 0.1
    found = body_coil_maps(torch.as_tensor(truth * image), torch.as_tensor(image))
    np.testing.assert_allclose(found, body_coil_maps(truth * image, image), atol=1e-12)
    pair = [torch.as_tensor(v).requires_grad_(True) for v in (truth * image, image)]
    torch.autograd.gradcheck(body_coil_maps, pair, fast_mode=True)


# --- joint ---


@pytest.mark.parametrize("shape", [(32, 32), (33, 28)])
def test_joint_estimate(shape):
    """Image within 4 % and maps within 5 % from half of the lines; the product predicts the data."""
    y, image, truth = measured(shape)
    mask = undersampled(shape[0])
    found = jsense(y * mask, mask, n_newton=10)
    inside = abs(image) > 0
    assert np.linalg.norm(abs(found.image) - abs(image)) < 0.04 * np.linalg.norm(image)
    assert np.median(misfit(found.maps, truth)[inside]) < 0.05
    np.testing.assert_allclose((abs(found.maps) ** 2).sum(axis=0), 1, atol=1e-9)


def test_joint_estimate_beats_the_aliased_image():
    """A third of the lines: a quarter of the error of the aliased image, less with every Newton step."""
    y, image, _ = measured((36, 30), noise=0.004)
    mask = undersampled(36, step=3, around=5)
    aliased = np.linalg.norm(ifft(y * mask, (1, 2)), axis=0)

    def error(x):
        x = x * (x * abs(image)).sum() / (x**2).sum()
        return np.linalg.norm(x - abs(image)) / np.linalg.norm(image)

    errors = [error(abs(jsense(y * mask, mask, n_newton=n).image)) for n in (6, 8, 10)]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.25 * error(aliased)


def test_joint_estimate_scale_and_torch():
    torch = pytest.importorskip("torch")
    y = measured((20, 18), coils=4)[0]
    mask = undersampled(20)
    base = jsense(y * mask, mask, n_newton=4)
    scaled = jsense(1e-7 * y * mask, mask, n_newton=4)
    np.testing.assert_allclose(scaled.image, 1e-7 * base.image, atol=1e-13)
    theirs = jsense(torch.as_tensor(y * mask), torch.as_tensor(mask), n_newton=4)
    np.testing.assert_allclose(theirs.image, base.image, atol=1e-8)
    np.testing.assert_allclose(theirs.maps, base.maps, atol=1e-6)
    assert jsense((y * mask).astype(np.complex64), mask, n_newton=2).image.dtype == np.complex64


# --- bad input ---


def test_bad_input():
    y, image, maps = measured((16, 16))
    mask = undersampled(16)
    with pytest.raises(ValueError, match="fwhm is -1"):
        walsh(maps, fwhm=-1)
    with pytest.raises(ValueError, match="must be"):
        walsh(maps[0, 0])
    with pytest.raises(ValueError, match="do not fit array images"):
        body_coil_maps(maps, image[:8])
    with pytest.raises(ValueError, match="must be 0 or more"):
        body_coil_maps(maps, image, regularisation=-1)
    with pytest.raises(ValueError, match="must broadcast"):
        jsense(y, mask[:7])
    with pytest.raises(ValueError, match="reduction 1"):
        jsense(y, mask, reduction=1)
    with pytest.raises(ValueError, match="smoothness is"):
        jsense(y, mask, smoothness=(0.0, 1.0))
    with pytest.raises(ValueError, match="nothing but 0"):
        jsense(0 * y, mask)
    y[0, 0, 0] = np.nan
    for call in (lambda: walsh(y), lambda: body_coil_maps(y, image), lambda: jsense(y, mask)):
        with pytest.raises(ValueError, match="NaN"):
            call()
