import math

import numpy as np
import pytest

from rayfold.recon.metrics import nmse, psnr, ssim


@pytest.fixture
def pair():
    rng = np.random.default_rng(5)
    y, x = np.mgrid[:64, :48] / 10
    reference = 0.02 * (1 + np.sin(x) * np.cos(y))
    return reference + 0.003 * rng.normal(size=reference.shape), reference


@pytest.mark.parametrize("scale", [1.0, 1e3])
def test_metrics_agree_with_scikit_image(pair, scale):
    metrics = pytest.importorskip("skimage.metrics")
    x, reference = (scale * a for a in pair)
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    expected = metrics.structural_similarity(x, reference, data_range=0.05 * scale, **options)
    assert ssim(x, reference, data_range=0.05 * scale) == pytest.approx(expected, abs=1e-6)
    expected = metrics.peak_signal_noise_ratio(reference, x, data_range=0.05 * scale)
    assert psnr(x, reference, data_range=0.05 * scale) == pytest.approx(expected, abs=1e-9)


def test_a_volume_is_the_mean_of_its_slices(pair):
    x, reference = pair
    worse = reference + 2 * (x - reference)
    both = ssim(np.stack([x, worse]), np.stack([reference] * 2), data_range=0.05)
    each = [ssim(a, reference, data_range=0.05) for a in (x, worse)]
    assert both == pytest.approx(np.mean(each)) and each[1] < each[0]


def test_known_values(pair):
    x, reference = pair
    assert psnr(x, x, data_range=1) == math.inf
    assert ssim(x, x, data_range=1) == 1.0
    assert nmse(x, x) == 0.0 and nmse(0 * x, x) == 1.0
    assert psnr(reference + 0.01, reference, data_range=0.1) == pytest.approx(20.0)
    assert nmse(1.1 * reference, reference) == pytest.approx(0.01)


def test_integers_do_not_wrap_around():
    a, b = np.zeros((12, 12), np.uint8), np.full((12, 12), 200, np.uint8)
    assert psnr(a, b, data_range=200) == pytest.approx(0.0)


def test_refusals(pair):
    x, reference = pair
    with pytest.raises(TypeError):
        psnr(x, reference)
    with pytest.raises(TypeError):
        ssim(x, reference, 1.0)
    for metric in (psnr, ssim):
        with pytest.raises(ValueError, match="data_range is 0"):
            metric(x, reference, data_range=0)
        with pytest.raises(ValueError, match="shape"):
            metric(x, reference[1:], data_range=1)
        with pytest.raises(ValueError, match="complex"):
            metric(1j * x, reference, data_range=1)
        with pytest.raises(ValueError, match="not finite"):
            metric(x, reference * np.nan, data_range=1)
    with pytest.raises(ValueError, match="11 x 11"):
        ssim(x[:10], reference[:10], data_range=1)
    with pytest.raises(ValueError, match="undefined"):
        nmse(x, 0 * x)
