"""Random images: the same seed, the same image; ranges and units; what is held out is never drawn."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rayfold.recon import phantoms
from rayfold.recon.phantoms import FAMILIES, MU_WATER_70, ct_body, draw, mixture, world
from rayfold.recon.phantoms.body import Body, Look
from rayfold.recon.phantoms.fields import normalised, power_law, smooth_map
from rayfold.recon.phantoms.mr import _through_k_space

CT = Path(__file__).resolve().parents[4] / "shared/data/ct"
HELD_OUT = {"foam", "text", "random_ellipses", "holes"}
every_family = pytest.mark.parametrize("family", FAMILIES)


def slope(image, low=0.03, high=0.2):
    """Exponent of the amplitude spectrum between two frequencies in cycles per pixel."""
    n = min(image.shape)
    image = image[:n, :n] - image[:n, :n].mean()
    power = np.abs(np.fft.fft2(image * np.outer(np.hanning(n), np.hanning(n)))) ** 2
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    edges = np.geomspace(low, high, 8)
    mean = [power[(radius >= a) & (radius < b)].mean() for a, b in pairwise(edges)]
    return -np.polyfit(np.log(np.sqrt(edges[1:] * edges[:-1])), np.log(mean), 1)[0] / 2


@every_family
def test_the_seed_decides_everything(family):
    first = [draw((48, 64), seed, family=family) for seed in range(4)]
    for seed, image in enumerate(first):
        np.testing.assert_array_equal(draw((48, 64), seed, family=family), image)
    assert len({image.tobytes() for image in first}) == 4


def test_threads_draw_the_same_images():
    def one(seed):
        return mixture((40, 40), seed)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one, range(24)))
    for seed, image in enumerate(together):
        np.testing.assert_array_equal(image, one(seed))


@every_family
@pytest.mark.parametrize("shape", [(61, 40), (16, 26, 20)], ids=["plane", "volume"])
def test_shape_type_and_range(family, shape):
    for seed in range(4):
        image = draw(shape, seed, family=family)
        assert image.shape == shape and np.isfinite(image).all() and image.flags.c_contiguous
        assert image.dtype == (np.complex64 if family.startswith("mr") else np.float32)
        size = np.abs(image)
        assert np.isrealobj(image) <= (image.real.min() >= 0)
        seen = size[size > 0.02 * size.max()]
        assert np.quantile(seen, 0.995) == pytest.approx(1, abs=0.12)
        assert size.std() > 1e-4


def test_the_mixture_draws_the_trained_families_by_their_shares(monkeypatch):
    drawn = []

    def spy(name, family):
        return family._replace(draw=lambda shape, seed: drawn.append(name))

    monkeypatch.setattr(world, "FAMILIES", {name: spy(name, f) for name, f in FAMILIES.items()})
    for seed in range(4000):
        mixture((16, 16), seed)
    for name, family in FAMILIES.items():
        assert drawn.count(name) / 4000 == pytest.approx(family.share, abs=0.03)
        assert family.trained == (name not in HELD_OUT) == (name in drawn)
    assert sum(family.share for family in FAMILIES.values()) == pytest.approx(1)


def test_the_mixture_is_a_family_of_the_same_seed():
    for seed in range(5):
        image = mixture((32, 32), seed)
        same = [
            name
            for name, family in FAMILIES.items()
            if family.trained and np.array_equal(draw((32, 32), seed, family=name), image)
        ]
        assert len(same) == 1


def test_units_of_ct():
    for seed in range(4):
        relative, mu = (ct_body((48, 48), seed, unit=unit) for unit in ("water", "1/mm"))
        np.testing.assert_allclose(mu, relative * MU_WATER_70, rtol=1e-6)
        assert relative.min() == 0 and 1.0 < relative.max() < 3.0
        np.testing.assert_allclose(normalised(relative), ct_body((48, 48), seed), atol=1e-6)
    # most of what is not air is soft tissue
    soft = np.concatenate([ct_body((48, 48), seed, unit="water").ravel() for seed in range(12)])
    assert np.median(soft[soft > 0.5]) == pytest.approx(1.03, abs=0.06)


def test_the_phase_of_mr_is_smooth_and_the_background_empty():
    for seed in range(6):
        image = phantoms.mr_body((64, 64), seed)
        bright = (np.abs(image[1:]) > 0.3) & (np.abs(image[:-1]) > 0.3)
        steps = np.abs(np.angle(image[1:] * image[:-1].conj()))[bright]
        assert np.median(steps) < 0.2 and np.quantile(steps, 0.99) < 0.8
    assert max(np.ptp(np.angle(phantoms.mr_head((48, 48), seed))) for seed in range(4)) > 1
    corners = [np.abs(phantoms.mr_head((64, 64), seed)[:4, :4]).max() for seed in range(8)]
    assert np.median(corners) < 0.02


def test_fat_is_painted_apart_and_moved():
    def made():
        look = {"fat": Look(0.8, 0.0, 2), "muscle": Look(0.3, 0.0, 2)}
        body = Body((48, 48), np.random.default_rng(3), look.__getitem__)
        body.frame(0.8, 0.8)
        body.blob("muscle", 0, 0, 0.5, 0.5)
        body.blob("fat", 0, 0, 0.8, 0.8)
        return body

    whole = made().finish(0.4)
    water, fat = made().finish_apart(0.4, {"fat"}, (0, 0))
    np.testing.assert_allclose(water + fat, whole, atol=1e-6)
    assert abs(water[24, 24] - 0.3) < 1e-3 and fat[24, 24] == 0 and fat.max() == pytest.approx(0.8, abs=1e-3)
    moved = made().finish_apart(0.4, {"fat"}, (0, 4))  # two samples to the pixel
    np.testing.assert_array_equal(moved[0], water)
    np.testing.assert_allclose(moved[1][:, 6:-6], fat[:, 4:-8], atol=1e-6)


def test_k_space_beyond_its_extent_is_empty():
    image = np.random.default_rng(0).standard_normal((32, 48)).astype(np.complex64)
    spectrum = np.fft.fft2(_through_k_space(image, 0.5, 0.3))
    fy, fx = np.abs(np.fft.fftfreq(32))[:, None], np.abs(np.fft.fftfreq(48))[None]
    outside = (fy > 0.25) | (fx > 0.25)
    assert np.abs(spectrum[outside]).max() < 1e-4 * np.abs(spectrum).max()
    assert spectrum[0, 0] == pytest.approx(image.sum(), rel=1e-4)


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_power_law_fields_have_their_slope(exponent):
    fields = [power_law((128, 128), exponent, np.random.default_rng(k)) for k in range(4)]
    assert np.mean([slope(f) for f in fields]) == pytest.approx(exponent, abs=0.15)
    assert all(abs(float(f.mean())) < 1e-3 and float(f.std()) == pytest.approx(1, abs=1e-3) for f in fields)


def test_smooth_maps_are_smooth_and_about_one():
    maps = [smooth_map((1, 64, 64), 4, np.random.default_rng(k)) for k in range(20)]
    assert 0.3 < np.std(maps) < 1.0 and np.abs(maps).max() < 3
    assert np.abs(np.diff(maps, axis=-1)).max() < 0.6


def test_dead_leaves_have_the_spectrum_of_natural_images():
    slopes = [slope(draw((128, 128), seed, family="dead_leaves")) for seed in range(16)]
    assert 0.9 < np.median(slopes) < 1.7


def test_images_are_band_limited_as_those_of_a_scanner():
    for family in ("dead_leaves", "ct_body", "mr_head"):
        high = [slope(np.abs(draw((96, 96), s, family=family)), 0.25, 0.5) for s in range(8)]
        low = [slope(np.abs(draw((96, 96), s, family=family)), 0.03, 0.2) for s in range(8)]
        assert np.median(high) > np.median(low) + 0.5


def test_measured_scans_lie_within_the_synthetic_range():
    pydicom = pytest.importorskip("pydicom")
    files = [CT / "chest_dicom/0.dcm", *(CT / f"head_dicom/{n:02}.dcm" for n in (4, 12, 20, 26))]
    if not all(file.exists() for file in files):
        pytest.skip("measured data are not here: head_dicom, chest_dicom")
    synthetic = [slope(draw((256, 256), seed, family="ct_body")) for seed in range(24)]
    for file in files:
        scan = pydicom.dcmread(file)
        hu = scan.pixel_array * float(scan.RescaleSlope) + float(scan.RescaleIntercept)
        real = slope(np.maximum(1 + hu / 1000, 0).reshape(256, 2, 256, 2).mean(axis=(1, 3)))
        assert min(synthetic) < real < max(synthetic)


@pytest.mark.parametrize("make", [draw, mixture, phantoms.foam, phantoms.noise_field])
def test_refusals(make):
    more = {"family": "text"} if make is draw else {}
    for bad in ((64,), (8, 64), (64, 64, 64, 64)):
        with pytest.raises(ValueError, match=r"shape is .* at least 16"):
            make(bad, 0, **more)
    with pytest.raises(ValueError, match="seed is -1"):
        make((32, 32), -1, **more)


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match=r"family is 'leafs'; it must be one of dead_leaves"):
        draw((32, 32), 0, family="leafs")
    with pytest.raises(ValueError, match="unit is 'HU'"):
        ct_body((32, 32), 0, unit="HU")
