"""Noise measured on images against noise that was put there: level, colour, map, kind."""

from __future__ import annotations

from functools import cache
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rayfold.recon.noise_level import NoiseEstimate, estimate_noise, rician_bias, rician_mean, rician_spread
from rayfold.recon.noise_level.details import GRID, details, responses, white_gains
from rayfold.recon.noise_level.estimate import AREAS, OF_WHITE, QUANTILE, _windows

MEASURED = Path(__file__).resolve().parents[3] / "shared/data"


def radius(shape) -> np.ndarray:
    fy, fx = (np.fft.fftfreq(n) * 2 for n in shape)
    return np.hypot(fy[:, None], fx)


def coloured(rng, shape, density):
    """Noise of variance 1 with the spectral density given as a function of radius, and its true levels."""
    spectrum = density(radius(shape)) / density(radius(shape)).mean()
    noise = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * np.sqrt(spectrum)).real
    edges = (np.inf, 0.5, 0.25, 0.125, -1)
    r = radius(shape)
    levels = [np.sqrt(spectrum[(r < a) & (r >= b)].mean()) for a, b in pairwise(edges)]
    return noise, np.array(levels)


@cache
def shapes(n=256) -> np.ndarray:
    """Discs on a gradient: edges, flat parts, nothing measured."""
    y, x = np.mgrid[:n, :n] / n
    image = 100 * x
    rng = np.random.default_rng(5)
    for _ in range(40):
        cy, cx, radius, value = rng.uniform(size=4)
        image[np.hypot(y - cy, x - cx) < 0.1 * radius] += 1000 * value
    return image


def test_calibration_of_the_filters_is_their_response(rng):
    point = np.zeros((GRID, GRID))
    point[GRID // 2, GRID // 2] = 1
    for part, gain in zip(details(point)[:4], white_gains()[:4], strict=True):
        assert np.sqrt((part**2).sum()) == pytest.approx(gain, rel=1e-9)
    power = np.abs(np.fft.fft2(details(point)[2])) ** 2
    assert np.allclose(power, responses()[2], atol=1e-12)


def test_quantiles_of_white_noise_are_as_tabulated(rng):
    found = [
        [
            np.percentile(w, QUANTILE) / g
            for w, g in zip(
                _windows(rng.standard_normal((1, 256, 256)), np.zeros((1, 256, 256), bool)),
                white_gains(),
                strict=True,
            )
        ]
        for _ in range(8)
    ]
    assert np.mean(found, axis=0) == pytest.approx(OF_WHITE, rel=0.03)


@pytest.mark.parametrize("sigma", [1e-7, 1.0, 3e4])
def test_white_noise(rng, sigma):
    noise = estimate_noise(sigma * rng.standard_normal((4, 256, 256)))
    assert noise.levels == pytest.approx((sigma,) * 4, rel=0.03)
    assert noise.map is None and noise.kind == "gaussian" and noise.white


COLOURS = {
    "ramp": lambda r: r,
    "standard kernel": lambda r: r * np.exp(-((r / 0.9) ** 2)),
    "soft kernel": lambda r: r * np.exp(-((r / 0.45) ** 2)),
    "smoothed": lambda r: np.exp(-((r / 0.6) ** 2)),
}


@pytest.mark.parametrize("colour", COLOURS)
def test_coloured_noise(rng, colour):
    parts = [coloured(rng, (256, 256), COLOURS[colour]) for _ in range(4)]
    noise = estimate_noise(np.stack([p[0] for p in parts]))
    assert noise.levels[:2] == pytest.approx(parts[0][1][:2], rel=0.04)
    assert noise.levels[2:] == pytest.approx(parts[0][1][2:], rel=0.1)
    assert noise.sigma == pytest.approx(1, rel=0.03)


def test_zero_padded_k_space(rng):
    """Noise with no power beyond 0.6 of the Nyquist frequency; MRI, so no ramp."""
    noise, levels = coloured(rng, (256, 256), lambda r: (r < 0.6).astype(float))
    assert estimate_noise(noise, ramp=False).levels == pytest.approx(levels, rel=0.08)


def test_areas_of_the_octaves():
    r = radius((512, 512))
    parts = [(r >= 0.5).mean(), ((r < 0.5) & (r >= 0.25)).mean(), ((r < 0.25) & (r >= 0.125)).mean()]
    assert AREAS[:3] == pytest.approx(parts, rel=2e-3) and sum(AREAS) == pytest.approx(1)


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_edges_are_no_noise(rng, dtype):
    noisy = (shapes() + 30 * rng.standard_normal((3, 256, 256))).astype(dtype)
    assert estimate_noise(noisy).levels == pytest.approx((30,) * 4, rel=0.1)


def test_edges_of_a_small_image_are_no_noise(rng):
    """Where hardly a window is free of them."""
    noisy = shapes(96) + 30 * rng.standard_normal((96, 96))
    assert estimate_noise(noisy, ramp=False).levels == pytest.approx((30,) * 4, rel=0.2)


@pytest.mark.parametrize("slope", [2, 3])
def test_texture_is_no_noise(rng, slope):
    """A fractal everywhere, in the second octave as strong as the noise and stronger below."""
    fractal, levels = coloured(rng, (256, 256), lambda r: (r + 0.01) ** (-2.0 * slope))
    noisy = 10 * fractal / levels[1] + 10 * rng.standard_normal((256, 256))
    found = estimate_noise(noisy, ramp=False).levels
    assert found[0] == pytest.approx(10, rel=0.1) and found == pytest.approx((10,) * 4, rel=0.3)


def test_soft_kernel_is_no_texture(rng):
    """In CT what the second octave has more of than the finest is the kernel's noise, beside rounding."""
    noise, levels = coloured(rng, (256, 256), lambda r: r * np.exp(-((r / 0.25) ** 2)))
    image = (1000 + 2 * noise).round()
    assert estimate_noise(image, ramp=True).levels[1:] == pytest.approx(2 * levels[1:], rel=0.15)


def test_coarse_structures_do_not_count(rng):
    """Blobs as large as the coarsest octaves, much stronger than the noise, everywhere."""
    r = radius((256, 256))
    blobs = np.fft.ifft2(np.fft.fft2(rng.standard_normal((256, 256))) * np.exp(-((r / 0.02) ** 2))).real
    noisy = 100 * blobs / blobs.std() + 10 * rng.standard_normal((256, 256))
    assert estimate_noise(noisy).levels == pytest.approx((10,) * 4, rel=0.1)


@pytest.mark.parametrize("values", [(-1000,), (-2000, -1024)])
def test_padding_and_clipped_air_do_not_count(rng, values):
    y, x = np.mgrid[-128:128, -128:128]
    image = 20 * rng.standard_normal((256, 256)) + 40
    image[np.hypot(y, x) > 60] = values[-1]
    image[np.hypot(y, x) > 120] = values[0]
    noise = estimate_noise(image.round().astype(np.int16))
    assert noise.sigma == pytest.approx(20, rel=0.08) and noise.map is None


def test_no_noise_is_none():
    image = np.zeros((128, 128))
    image[40:90, 30:100] = 0.02
    assert estimate_noise(image).levels == (0, 0, 0, 0)


def test_map_follows_the_noise(rng):
    y, x = np.mgrid[:256, :256] / 256
    truth = np.exp(1.2 * x - 0.8 * y)
    truth /= truth.mean()
    noise = estimate_noise(shapes() + 50 * truth * rng.standard_normal((4, 256, 256)))
    assert noise.map is not None and noise.map.mean() == pytest.approx(1, abs=1e-5)
    assert np.abs(noise.map / truth - 1).mean() < 0.05 and np.abs(noise.map / truth - 1).max() < 0.25
    assert noise.levels == pytest.approx((50,) * 4, rel=0.1)
    assert estimate_noise(shapes() + 50 * truth, stationary=True).map is None


def test_one_level_for_all_slices(rng):
    series = np.stack([k * 100 + 10 * rng.standard_normal((64, 64)) for k in range(20)])
    assert estimate_noise(series).levels == pytest.approx((10,) * 4, rel=0.06)


def test_levels_along_a_series_are_smooth(rng):
    """Dose that changes along the body is followed; scatter between neighbours is not."""
    truth = np.exp(np.linspace(-0.5, 0.5, 24))
    noise = estimate_noise(truth[:, None, None] * rng.standard_normal((24, 96, 96)))
    assert noise.along is not None and noise.along.shape == (24,)
    assert noise.along == pytest.approx(truth / truth.mean(), rel=0.12)
    assert np.abs(np.diff(np.log(noise.along))).max() < 0.08
    assert noise.sigma == pytest.approx(truth.mean(), rel=0.05)


def test_magnitudes_are_recognised(rng):
    """Noise of the real part, also where the signal is weak."""
    signal = np.where(shapes() > 200, shapes(), 0)
    noise = rng.standard_normal((2, 2, *signal.shape))
    magnitude = np.abs(signal + 40 * (noise[0] + 1j * noise[1]))
    found = estimate_noise(magnitude, magnitude=True, ramp=False)
    assert found.kind == "rician" and found.levels == pytest.approx((40,) * 4, rel=0.05)
    whole = estimate_noise(signal + 40 * (noise[0] + 1j * noise[1]), ramp=False)
    assert whole.levels == pytest.approx((40,) * 4, rel=0.08)


@pytest.mark.parametrize("background", ["zeroed", "two coils", "gaussian"])
def test_other_backgrounds_are_not_taken_for_rician(rng, background):
    signal = np.where(shapes() > 200, shapes(), 0)
    noise = 40 * (rng.standard_normal((2, 2, *signal.shape)) @ np.eye(256))
    if background == "zeroed":
        image = np.where(signal > 0, np.abs(signal + noise[0] + 1j * noise[1]), 0)
    elif background == "two coils":
        other = 40 * rng.standard_normal((2, 2, *signal.shape))
        image = np.sqrt(
            np.abs(signal + noise[0] + 1j * noise[1]) ** 2 + np.abs(signal + other[0] + 1j * other[1]) ** 2
        )
    else:
        image = 1000 + signal + noise[0]
    assert estimate_noise(image, magnitude=True).kind == "gaussian"


def test_moments_of_rician_magnitudes(rng):
    noise = rng.standard_normal((2, 400_000))
    for signal in (0.0, 0.7, 2.0, 6.0):
        magnitude = 3 * np.abs(signal + noise[0] + 1j * noise[1])
        mean = rician_mean(np.array(3 * signal), 3.0)
        assert mean == pytest.approx(magnitude.mean(), rel=4e-3)
        assert mean - rician_bias(mean, 3.0) == pytest.approx(3 * signal, abs=0.01)
        assert rician_spread(mean, 3.0) == pytest.approx(magnitude.std(), rel=6e-3)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((8, 8)), "at least 24 x 24"),
        (np.full((64, 64), 3.0), "constant"),
        (np.full((64, 64), np.nan), "not finite"),
        (np.zeros(64), "at least 24 x 24"),
    ],
)
def test_what_cannot_be_measured(image, message):
    with pytest.raises(ValueError, match=message):
        estimate_noise(image)


def test_estimate_as_text_and_values():
    noise = NoiseEstimate((3.0, 2.0, 1.0, 0.5), np.array([[0.5, 1.5]]), "rician", "HU")
    assert repr(noise) == (
        "NoiseEstimate(sigma 2.8 HU, octaves 3 2 1 0.5, 0.5 to 1.5 times that over the image, Rician)"
    )
    assert "along the slices" in repr(NoiseEstimate((1.0,) * 4, along=np.array([0.5, 1.5])))
    assert noise.scaled(2).levels == (6, 4, 2, 1) and noise.as_dict()["map"] == [0.5, 1.5]


# --- measured slices ---


def slices(name: str) -> tuple[np.ndarray, float, bool]:
    """A measured slice, its range of values, and whether it is a magnitude."""
    path = MEASURED / name
    if not path.exists():
        pytest.skip(f"measured data are not here: {name}")
    if path.suffix == ".dcm":
        from rayfold.recon.io.read_dicom_image import read_dicom_image

        return read_dicom_image(path).array[0], 2000.0, False
    coils = np.load(path)["array"]
    axes = (-2, -1)
    images = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(coils, axes=axes)), axes=axes)
    image = np.sqrt((np.abs(images) ** 2).sum(0))
    return image, float(image.max()), True


@pytest.mark.parametrize("level", [10, 25, 50])
@pytest.mark.parametrize(
    "name",
    [
        "ct/head_dicom/12.dcm",
        "ct/head_dicom/22.dcm",
        "ct/chest_dicom/0.dcm",
        "mri/brain_16ch_twix/pulseq_brain_invivo_flash_3T.npz",
    ],
)
def test_noise_added_to_measured_slices(rng, name, level):
    image, span, magnitude = slices(name)
    sigma = level / 255 * span
    found = estimate_noise(image + sigma * rng.standard_normal(image.shape), magnitude=magnitude)
    assert found.sigma == pytest.approx(sigma, rel=0.1) and found.kind == "gaussian"
