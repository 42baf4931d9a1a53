"""`denoise`: units, padding, noise models and array types around any prior, and the prior of the package."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.recon.data import Image
from rayfold.recon.denoising import denoise, looks_like_hu, noise_of
from rayfold.recon.noise_level import NoiseEstimate


class Wavelets:
    """Soft thresholds at three standard deviations; remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []

    def denoise(self, x, sigma, *, bands=None):
        import pywt

        self.told.append((x.copy(), sigma, bands))
        level = float(np.mean(sigma))
        parts = pywt.wavedec2(x, "db2", level=3, axes=(-2, -1), mode="periodization")
        less = [tuple(pywt.threshold(d, 3 * level, "soft") for d in scale) for scale in parts[1:]]
        return pywt.waverec2([parts[0], *less], "db2", axes=(-2, -1), mode="periodization").astype(x.dtype)


class Smooth:
    """The mean over 9 x 9 pixels, whatever the noise."""

    def denoise(self, x, sigma):
        from scipy.ndimage import uniform_filter

        return np.stack([uniform_filter(plane, 9) for plane in x])


class Never:
    def denoise(self, x, sigma):
        raise AssertionError("the prior was asked")


def blocks(n: int = 64) -> np.ndarray:
    """Attenuation over that of water: a square of 1.05 in 1."""
    image = np.ones((n, n))
    image[n // 4 : n // 2, n // 4 : 3 * n // 4] = 1.05
    return image


@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64"])
def test_strength_zero_is_the_identity(rng, dtype):
    image = (1e3 * rng.standard_normal((2, 32, 32)) - 500).astype(dtype)
    out = denoise(image, strength=0, prior=Never(), unit="HU")
    assert out.dtype == image.dtype and np.array_equal(out, image) and out is not image


def test_integers_come_back_as_float32(rng):
    image = (50 * rng.standard_normal((32, 32))).astype(np.int16)
    out = denoise(image, strength=0, prior=Never())
    assert out.dtype == np.float32 and np.array_equal(out, image)
    assert denoise(image, prior=Wavelets()).dtype == np.float32


def test_no_noise_is_left_alone():
    image = np.zeros((128, 128))
    image[30:90, 30:90] = 0.02
    assert np.array_equal(denoise(image, prior=Never()), image)


def test_hu_is_attenuation_and_back(rng):
    """The prior sees water as 1 and air as 0, and the result is the same as of attenuation in any unit."""
    mu = blocks() + 0.02 * rng.standard_normal((64, 64))
    prior = Wavelets()
    hu = denoise(Image(1000 * (mu - 1), (1.0, 1.0), unit="HU"), sigma=20.0, prior=prior)
    assert np.allclose(prior.told[0][0][0], mu) and prior.told[0][1] == pytest.approx(0.02)
    per_mm = denoise(Image(0.0192 * mu, (1.0, 1.0)), sigma=0.0192 * 0.02, prior=Wavelets())
    assert hu.unit == "HU" and np.allclose(1 + hu.array / 1000, per_mm.array / 0.0192, atol=1e-9)
    assert np.abs(1 + hu.array / 1000 - blocks()).mean() < 0.5 * np.abs(mu - blocks()).mean()


def test_noise_is_measured_and_scaled_by_the_strength(rng):
    image = 100 * blocks(128) + 3 * rng.standard_normal((128, 128))
    for strength in (0.5, 1.0, 2.0):
        prior = Wavelets()
        denoise(image, strength=strength, prior=prior)
        assert prior.told[0][1] == pytest.approx(3 * strength, rel=0.06)
        assert prior.told[0][2] == pytest.approx([1, 1, 1, 1], abs=0.06)


def test_what_is_stated_is_told(rng):
    image, prior = rng.standard_normal((2, 32, 32)), Wavelets()
    chart = rng.uniform(1, 2, (32, 32))
    denoise(image, sigma=chart, prior=prior)
    assert np.allclose(prior.told[0][1], chart, rtol=1e-6)
    noise = NoiseEstimate((4.0, 2.0, 1.0, 1.0))
    denoise(image, sigma=noise, prior=prior)
    assert prior.told[1][1] * prior.told[1][2] == pytest.approx(noise.levels)


def test_all_slices_are_told_the_same(rng, monkeypatch):
    """Slices come in parts; level and map are those of the series."""
    monkeypatch.setattr("rayfold.recon.denoising.BATCH", 2 * 64 * 64)
    series = 10 * rng.standard_normal((5, 64, 64)) * np.array([1, 1, 1, 1, 1.1])[:, None, None]
    prior, seen = Wavelets(), []
    denoise(series, prior=prior, progress=lambda done, total: seen.append((done, total)))
    assert [len(told[0]) for told in prior.told] == [2, 2, 1] and seen == [(2, 5), (4, 5), (5, 5)]
    assert len({float(told[1]) for told in prior.told}) == 1


def test_neighbours_do_not_flicker(rng):
    """The same slice with other noise: what is left of the difference is less than what was there."""
    series = 1000 * (blocks(128) - 1) + 20 * rng.standard_normal((4, 128, 128))
    out = denoise(series, prior=Wavelets(), unit="HU")
    assert np.abs(np.diff(out, axis=0)).mean() < 0.5 * np.abs(np.diff(series, axis=0)).mean()
    assert np.abs(out.mean((1, 2)) - series.mean((1, 2))).max() < 0.5


def test_slices_are_told_their_own_level(rng):
    """A series whose noise doubles along it; real ends of the profile, in HU."""
    truth = np.linspace(10, 20, 12)
    series = 40 + truth[:, None, None] * rng.standard_normal((12, 64, 64))
    prior = Wavelets()
    noise = noise_of(series, unit="HU")
    denoise(series, sigma=noise, prior=prior, unit="HU")
    told = 1000 * prior.told[0][1]
    assert told.shape == (12, 1, 1) and told[:, 0, 0] == pytest.approx(truth, rel=0.15)
    with pytest.raises(ValueError, match="measured on 12 slices"):
        denoise(series[:3], sigma=noise, prior=prior)


def test_padding_comes_back_as_it_was(rng):
    y, x = np.mgrid[-32:32, -32:32]
    outside = np.hypot(y, x) > 30
    image = np.where(outside, -2000, 40 + 20 * rng.standard_normal((64, 64))).round()
    prior = Wavelets()
    out = denoise(Image(image, (1.0, 1.0), unit="HU"), prior=prior).array
    assert (out[outside] == -2000).all() and (out[~outside] > -500).all()
    assert prior.told[0][0].min() == 0, "the prior sees air in place of padding"


def test_magnitudes_lose_their_bias(rng):
    signal = np.zeros((3, 128, 128))
    signal[:, 32:96, 32:96], signal[:, 48:80, 48:80] = 30, 100
    noise = 20 * rng.standard_normal((2, *signal.shape))
    magnitude = np.abs(signal + noise[0] + 1j * noise[1])
    out = denoise(Image(magnitude, (1.0,) * 3, unit="a.u.", modality="MR"), prior=Smooth()).array
    for cut, truth, near in (((60, 68), 100, 0.03), ((38, 42), 30, 0.1)):
        assert out[:, slice(*cut), 60:68].mean() == pytest.approx(truth, rel=near)
    assert magnitude[:, 4:24, 4:24].mean() == pytest.approx(25, rel=0.05)
    assert out[:, 8:20, 8:20].mean() < 6
    half = denoise(
        Image(magnitude, (1.0,) * 3, unit="a.u.", modality="MR"), prior=Smooth(), strength=0.5
    ).array
    assert out[:, 8:20, 8:20].mean() < half[:, 8:20, 8:20].mean() < 25


def test_magnitude_noise_is_told_as_it_is_spread(rng):
    signal = np.zeros((128, 128))
    signal[32:96, 32:96] = 400
    noise = 20 * rng.standard_normal((2, 128, 128))
    prior = Wavelets()
    denoise(np.abs(signal + noise[0] + 1j * noise[1]), prior=prior, modality="MR", unit="a.u.")
    told = prior.told[0][1][0]
    assert told[40:88, 40:88].mean() == pytest.approx(20, rel=0.06)
    assert told[8:24, 8:24].mean() == pytest.approx(0.655 * 20, rel=0.1)


def test_complex_images_stay_complex(rng):
    image = np.exp(0.3j) * blocks() + 0.02 * (
        rng.standard_normal((64, 64)) + 1j * rng.standard_normal((64, 64))
    )
    prior = Wavelets()
    out = denoise(image.astype(np.complex64), prior=prior, modality="MR")
    assert out.dtype == np.complex64 and prior.told[0][1] == pytest.approx(0.02, rel=0.1)


def test_tensors_come_back_as_tensors(rng):
    torch = pytest.importorskip("torch")
    image = torch.from_numpy(rng.standard_normal((32, 32)).astype(np.float32))
    out = denoise(image, prior=Wavelets())
    assert isinstance(out, torch.Tensor) and out.dtype == torch.float32 and out.shape == image.shape


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": -1}, "strength is -1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"sigma": -2.0}, "sigma is -2.0"),
        ({"sigma": np.ones((3, 3))}, "of the size of a slice"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        denoise(np.eye(32), prior=Wavelets(), **options)


def test_hu_is_recognised(rng):
    head = np.where(blocks() > 1, 40, -1000) + 5 * rng.standard_normal((64, 64))
    assert looks_like_hu(head) and looks_like_hu(head.astype(np.int16))
    assert (
        not looks_like_hu(np.abs(head)) and not looks_like_hu(head / 1000) and not looks_like_hu(1e3 * head)
    )
    assert noise_of(Image(head, (1.0, 1.0), unit="HU")).sigma == pytest.approx(5, rel=0.1)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_prior_of_the_package(rng, scale):
    """Coloured and white noise, measured by itself: well below the noise, with edges kept."""
    from scipy.ndimage import gaussian_filter

    truth = np.kron(blocks(32), np.ones((4, 4)))
    for blur in (0, 0.8):
        noise = rng.standard_normal((128, 128))
        noise = gaussian_filter(noise, blur) if blur else noise
        noise *= 0.02 / noise.std()
        out = denoise(scale * (truth + noise), prior="small") / scale
        assert np.sqrt(((out - truth) ** 2).mean()) < 0.6 * 0.02
