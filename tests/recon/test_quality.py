"""Image quality against truths in closed form: blurred edges and discs, known spectra, ideal observers."""

import math

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import ncx2

from rayfold.recon.quality import (
    MTF,
    cnr,
    gabor,
    laguerre_gauss,
    low_contrast_detectability,
    mtf,
    mtf50,
    noise_power_spectrum,
    rose,
)


def grid(n, spacing=(1.0, 1.0), m=None):
    y, x = np.mgrid[:n, : m or n].astype(float)
    return (y - (n - 1) / 2) * spacing[0], (x - ((m or n) - 1) / 2) * spacing[1]


def blurred_edge(sigma, angle, offset=0.0, spacing=(1.0, 1.0), n=64):
    y, x = grid(n, spacing)
    return ndtr((x * math.cos(angle) + y * math.sin(angle) - offset) / sigma)


def blurred_disc(sigma, radius, centre=(0.0, 0.0), spacing=(1.0, 1.0), n=96):
    """A disc under a Gaussian: the chance that a point moved by the Gaussian lies in the disc."""
    y, x = grid(n, spacing)
    return ncx2.cdf((radius / sigma) ** 2, 2, ((y - centre[0]) ** 2 + (x - centre[1]) ** 2) / sigma**2)


def gaussian_mtf(sigma, frequency):
    return np.exp(-2 * (math.pi * sigma * frequency) ** 2)


def half(sigma):
    return math.sqrt(math.log(2) / 2) / (math.pi * sigma)


# --- resolution ---


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("angle", [0.07, 0.1, 0.5, math.pi / 2 - 0.1, math.pi + 0.2])
def test_mtf_of_a_blurred_edge(sigma, angle):
    curve = mtf(-3 + 5 * blurred_edge(sigma, angle, 0.3), 1.0)
    assert (
        curve.value[0] == 1
        and curve.frequency[0] == 0
        and curve.frequency[-1] == pytest.approx(1.0, rel=0.02)
    )
    low = curve.frequency <= 0.5
    np.testing.assert_allclose(curve.value[low], gaussian_mtf(sigma, curve.frequency[low]), rtol=0, atol=1e-3)
    assert mtf50(curve) == pytest.approx(half(sigma), rel=1e-3)
    assert curve.at(0.1) == pytest.approx(half(sigma) * math.sqrt(math.log(10) / math.log(2)), rel=2e-3)


@pytest.mark.parametrize("sigma", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("contrast", [1.0, -40.0])
def test_mtf_of_a_blurred_disc(sigma, contrast):
    curve = mtf(7 + contrast * blurred_disc(sigma, 30.0, (-0.7, 0.3)), 1.0, edge="disc")
    low = curve.frequency <= 0.5
    np.testing.assert_allclose(curve.value[low], gaussian_mtf(sigma, curve.frequency[low]), rtol=0, atol=3e-3)
    assert mtf50(curve) == pytest.approx(half(sigma), rel=3e-3)


def test_mtf_in_millimetres_and_with_oblong_pixels():
    spacing = (0.8, 0.5)
    edge = mtf(blurred_edge(0.7, 0.3, spacing=spacing), spacing)
    disc = mtf(blurred_disc(0.7, 18.0, spacing=spacing), spacing, edge="disc")
    for curve in (edge, disc):
        assert mtf50(curve) == pytest.approx(half(0.7), rel=5e-3)
    scaled = mtf(blurred_edge(1.0, 0.1), 0.25)
    plain = mtf(blurred_edge(1.0, 0.1), 1.0)
    assert mtf50(scaled) == pytest.approx(4 * mtf50(plain), rel=1e-9)


@pytest.mark.parametrize("edge", ["straight", "disc"])
def test_mtf50_within_two_percent_in_noise(edge):
    """Contrast to noise of 20 per pixel, ten repeats: the median is unbiased, each is near."""
    rng = np.random.default_rng(0)
    clean = blurred_edge(1.2, 0.1) if edge == "straight" else blurred_disc(1.2, 30.0)
    found = [mtf50(mtf(clean + rng.normal(0, 0.05, clean.shape), 1.0, edge=edge)) for _ in range(10)]
    assert np.median(found) == pytest.approx(half(1.2), rel=0.02)
    many = clean + rng.normal(0, 0.05, (40, *clean.shape))
    assert mtf50(mtf(many, 1.0, edge=edge)) == pytest.approx(half(1.2), rel=0.02)


def test_the_pixel_belongs_to_the_result():
    """Averaging over pixels multiplies by a sinc along the edge's normal."""
    fine = blurred_edge(4.0, 0.07, n=512)
    pixels = fine.reshape(64, 8, 64, 8).mean((1, 3))
    curve = mtf(pixels, 8.0, reach=60.0)
    across, along = (curve.frequency * trig(0.07) for trig in (math.cos, math.sin))
    exact = gaussian_mtf(4.0, curve.frequency) * np.sinc(8 * across) * np.sinc(8 * along)
    low = curve.frequency <= 0.5 / 8
    np.testing.assert_allclose(curve.value[low], exact[low], rtol=0, atol=5e-3)


def test_edges_that_cannot_be_measured_are_refused():
    edge, disc = blurred_edge(1.0, 0.1), blurred_disc(1.0, 30.0)
    rng = np.random.default_rng(1)
    for call, cure in [
        (lambda: mtf(np.zeros((32, 32)), 1.0), "uniform; choose one across an edge"),
        (lambda: mtf(rng.standard_normal((32, 32)), 1.0), "no edge found"),
        (lambda: mtf(blurred_edge(1.0, 0.0), 1.0), "slant the edge"),
        (lambda: mtf(edge[:8], 1.0), "16 pixels or more"),
        (lambda: mtf(1j * edge, 1.0), "magnitude"),
        (lambda: mtf(edge * np.nan, 1.0), "not finite"),
        (lambda: mtf(edge, 0.0), "positive pixel size"),
        (lambda: mtf(edge, 1.0, edge="square"), "straight or disc"),
        (lambda: mtf(edge, 1.0, reach=-1.0), "positive length"),
        (lambda: mtf(edge, 1.0, reach=1.0), "within two pixels"),
        (lambda: mtf(edge, 1.0, oversampling=0), "whole number"),
        (lambda: mtf(disc[:, 30:], 1.0, edge="disc"), "cut by the border"),
        (lambda: MTF(np.array([0.0, 1.0]), np.array([1.0, 0.7])).at(0.5), "falls from 1 to 0.70"),
        (lambda: mtf(edge, 1.0).at(1.5), "ask for a level between"),
    ]:
        with pytest.raises(ValueError, match=cure) as caught:
            call()
        assert "\n" not in str(caught.value)


# --- noise ---


@pytest.mark.parametrize("detrend", ["mean", "plane", "ensemble"])
def test_white_noise_is_flat_and_its_integral_is_the_variance(detrend):
    dy, dx, sigma = 0.8, 0.5, 3.0
    rois = np.random.default_rng(2).normal(10, sigma, (300, 24, 32))
    found = noise_power_spectrum(rois, (dy, dx), detrend=detrend)
    level = sigma**2 * dx * dy
    # 300 regions: one frequency varies by 1 / sqrt(300), a ring by less; the lowest lost their trend
    np.testing.assert_allclose(found.radial[2:], level, rtol=0.1)
    assert found.radial[2:].mean() == pytest.approx(level, rel=0.01)
    area = 1 / (24 * dy) / (32 * dx)
    assert found.variance == pytest.approx(found.spectrum.sum() * area, rel=1e-12)
    assert found.variance == pytest.approx(sigma**2, rel=0.01 + 3 / (24 * 32))
    assert found.spectrum.shape == (24, 32) and found.frequencies[0][12] == found.frequencies[1][16] == 0
    assert found.frequencies[1][0] == -0.5 / dx and found.frequency[-1] <= 0.5 / dy


def test_the_integral_is_the_variance_of_the_regions_exactly():
    rois = np.random.default_rng(3).normal(5, 2, (7, 9, 12))
    found = noise_power_spectrum(rois, 0.3, detrend="mean")
    assert found.variance == pytest.approx(rois.var(axis=(1, 2)).mean(), rel=1e-12)
    assert noise_power_spectrum(rois[0] * 2, 0.3).variance == pytest.approx(
        4 * noise_power_spectrum(rois[0], 0.3).variance
    )


def test_a_coloured_spectrum_is_found():
    """A ramp under a Gaussian, as filtered back-projection gives: level and peak in closed form."""
    n, dx, peak = 64, 0.5, 0.35
    fy, fx = np.fft.fftfreq(n, dx)[:, None], np.fft.fftfreq(n, dx)
    f = np.hypot(fy, fx)
    power = 8 * f * np.exp(-0.5 * (f / peak) ** 2)
    white = np.random.default_rng(4).standard_normal((400, n, n))
    rois = np.fft.ifft2(np.fft.fft2(white) * np.sqrt(power / dx**2)).real
    found = noise_power_spectrum(rois, dx, detrend="mean")
    exact = 8 * found.frequency * np.exp(-0.5 * (found.frequency / peak) ** 2)
    np.testing.assert_allclose(found.radial, exact, rtol=0, atol=0.05 * exact.max())
    assert found.peak == pytest.approx(peak, abs=2 / (n * dx))
    assert found.variance == pytest.approx(power.sum() / (n * dx) ** 2, rel=0.01)


def test_a_plane_is_no_noise_and_fixed_patterns_leave_an_ensemble():
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1, (50, 16, 20))
    y, x = grid(16, m=20)
    tilted = noise + 3 * y - 2 * x + 100
    one, two = (noise_power_spectrum(rois, 1.0, detrend="plane") for rois in (noise, tilted))
    np.testing.assert_allclose(one.spectrum, two.spectrum, rtol=0, atol=1e-9)
    rings = 5 * np.sin(np.hypot(y, x))
    one, two = (noise_power_spectrum(rois, 1.0, detrend="ensemble") for rois in (noise, noise + rings))
    np.testing.assert_allclose(one.spectrum, two.spectrum, rtol=0, atol=1e-9)


def test_bad_noise_regions_are_refused():
    rois = np.random.default_rng(6).standard_normal((2, 8, 8))
    for call, cure in [
        (lambda: noise_power_spectrum(rois[:, :2], 1.0), "4 pixels or more"),
        (lambda: noise_power_spectrum(rois[0, 0], 1.0), "must be"),
        (lambda: noise_power_spectrum(rois, -1.0), "positive pixel size"),
        (lambda: noise_power_spectrum(rois, (1.0, 1.0, 1.0)), "positive pixel size"),
        (lambda: noise_power_spectrum(rois[:1], 1.0, detrend="ensemble"), "2 or more"),
        (lambda: noise_power_spectrum(rois, 1.0, detrend="cubic"), "choose mean"),
    ]:
        with pytest.raises(ValueError, match=cure):
            call()


# --- contrast ---


def test_contrast_to_noise_and_rose():
    rng = np.random.default_rng(7)
    y, x = grid(128)
    signal, background = np.hypot(y, x) < 20, np.hypot(y, x) > 30
    image = 100 + 6.0 * (np.hypot(y, x) < 22) + rng.normal(0, 3, (128, 128))
    assert cnr(image, signal, background) == pytest.approx(2.0, rel=0.02)
    assert cnr(-5 * image, signal, background) == pytest.approx(cnr(image, signal, background))
    assert rose(image, signal, background) == pytest.approx(2.0 * math.sqrt(signal.sum()), rel=0.02)


def test_bad_masks_are_refused():
    image, mask = np.random.default_rng(8).standard_normal((8, 8)), np.zeros((8, 8), bool)
    left, right = mask.copy(), mask.copy()
    left[:, :3], right[:, 5:] = True, True
    for arguments, cure in [
        ((image, left[:4], right), "shape"),
        ((image, mask, right), "covers 0 pixels"),
        ((image, left, ~left | left), "overlap"),
        ((0 * image, left, right), "no noise"),
        ((image * np.inf, left, right), "not finite"),
    ]:
        for measure in (cnr, rose):
            with pytest.raises(ValueError, match=cure):
                measure(*arguments)


# --- detectability ---


def test_in_white_noise_the_observer_is_ideal_when_the_channels_span_the_signal():
    """d' = |s| / sigma; exact up to chance for a signal made of the channels."""
    U, sigma = laguerre_gauss((32, 32), 5, 8.0), 2.0
    signal = np.tensordot([2.0, -1.0, 0.5, 0.0, 1.5], U, 1)
    exact = float(np.linalg.norm(signal)) / sigma
    noise = np.random.default_rng(9).normal(50, sigma, (2, 2000, 32, 32))
    found = low_contrast_detectability(noise[0] + signal, noise[1], U, confidence=0.999)
    assert found.low < exact < found.high and found.high - found.low < 0.3
    assert found.dprime == pytest.approx(exact, abs=0.12) and found.dprime < found.resubstituted
    assert found.auc == pytest.approx(ndtr(found.dprime / math.sqrt(2)))
    narrow = low_contrast_detectability(noise[0] + signal, noise[1], U[:1])
    assert narrow.dprime == pytest.approx(2.0 / sigma, abs=0.12)  # it sees the part along its only channel


def test_coloured_noise_with_the_observer_in_closed_form():
    """``d'^2 = s^T U (U^T K U)^-1 U^T s`` for noise of covariance K = B B^T."""
    rng = np.random.default_rng(10)
    U = gabor((24, 24), (0.06, 0.12), 2)
    blur = np.exp(-0.5 * (grid(24)[1][0][:, None] - grid(24)[1][0]) ** 2 / 1.5**2)
    y, x = grid(24)
    signal = 1.5 * np.exp(-0.5 * (y**2 + x**2) / 3**2)
    images = np.einsum("ij,nkjl,ml->nkim", blur, rng.standard_normal((2, 2000, 24, 24)), blur)
    through = np.stack([blur.T @ u @ blur for u in U]).reshape(len(U), -1)
    v = U.reshape(len(U), -1) @ signal.ravel()
    exact = math.sqrt(v @ np.linalg.solve(through @ through.T, v))
    found = low_contrast_detectability(images[0] + signal, images[1], U, confidence=0.999)
    assert found.low < exact < found.high
    assert found.dprime == pytest.approx(exact, abs=0.1)


def test_few_images_no_bias_and_the_promised_coverage():
    """Many small experiments: the mean square within its error, the coverage within binomial chance."""
    rng = np.random.default_rng(11)
    channels, n, exact = 4, 12, 1.5
    U = np.eye(36).reshape(36, 6, 6)[:channels]
    signal = exact * U[1]
    trials = 1600
    noise = rng.standard_normal((trials, 2, n, 6, 6))
    found = [low_contrast_detectability(a + signal, b, U, confidence=0.8) for a, b in noise]
    covered = np.mean([f.low <= exact <= f.high for f in found])
    assert abs(covered - 0.8) < 4 * math.sqrt(0.8 * 0.2 / trials)
    rest, each = 2 * n - 2, 2 / n
    plain = np.array([f.resubstituted**2 for f in found])
    corrected = plain * (rest - channels - 1) / rest - channels * each  # before its negative values are cut
    error = corrected.std() / math.sqrt(trials)
    assert abs(corrected.mean() - exact**2) < 4 * error
    assert plain.mean() - exact**2 > 20 * error  # the plain estimate is far too good
    np.testing.assert_allclose([f.dprime**2 for f in found], np.maximum(corrected, 0), rtol=1e-9, atol=1e-12)


def test_no_signal_is_not_detected():
    noise = np.random.default_rng(12).standard_normal((2, 300, 16, 16))
    found = low_contrast_detectability(*noise, laguerre_gauss((16, 16), 3, 5.0))
    assert found.low == 0 and found.dprime < 0.3 and found.auc < 0.6


def test_channels_have_the_stated_frequency_and_norm():
    U = gabor((128, 128), (3 / 64,), 4)
    assert U.shape == (8, 128, 128)
    np.testing.assert_allclose((U**2).sum((1, 2)), 1, rtol=1e-12)
    spectrum = np.abs(np.fft.rfft(U[1].sum(0), 1024))  # odd, along x
    assert np.argmax(spectrum) / 1024 == pytest.approx(3 / 64, abs=2 / 1024)
    above = np.flatnonzero(
        np.abs(np.fft.rfft(U[0].sum(0), 8192)) > 0.5 * np.abs(np.fft.rfft(U[0].sum(0), 8192)).max()
    )
    assert above[-1] / above[0] == pytest.approx(2.0, rel=0.05)  # one octave between the half maxima


def test_bad_observers_are_refused():
    rng = np.random.default_rng(13)
    images, U = rng.standard_normal((20, 8, 8)), laguerre_gauss((8, 8), 3, 4.0)
    for call, cure in [
        (lambda: low_contrast_detectability(images, images[:, :6], U), "one \\(ny, nx\\)"),
        (lambda: low_contrast_detectability(images, images, U[0]), "must be|all must be"),
        (lambda: low_contrast_detectability(images[:3], images[:3], U), "too few"),
        (lambda: low_contrast_detectability(images, images, np.stack([U[0], 2 * U[0]])), "singular"),
        (lambda: low_contrast_detectability(0 * images, 0 * images, U), "singular"),
        (lambda: low_contrast_detectability(images, images, U, confidence=95), "between 0 and 1"),
        (lambda: laguerre_gauss((8, 8), 0, 4.0), "positive"),
        (lambda: gabor((8, 8), (0.7,)), "between 0 and 0.5"),
    ]:
        with pytest.raises(ValueError, match=cure) as caught:
            call()
        assert "\n" not in str(caught.value)
