import time

import numpy as np
import pytest

from rayfold.operators.geometry import FanBeam, ParallelBeam, VectorBeam, Volume
from rayfold.recon.ellipses import ellipse_sinogram, rasterise
from rayfold.recon.phantoms import (
    MU_WATER,
    disc,
    ellipses,
    shepp_logan,
    shepp_logan_table,
    thorax,
    thorax_table,
)

OBLIQUE = [(1.0, 30.0, 12.0, 9.0, -14.0, 0.6)]
FANS = [
    FanBeam.evenly(7, 91, pitch=2.0, source_to_axis=300.0, source_to_detector=500.0),
    FanBeam.evenly(7, 91, pitch=2.0, source_to_axis=300.0, source_to_detector=500.0, curved=True),
    FanBeam.evenly(7, 91, pitch=2.0, source_to_axis=300.0, source_to_detector=500.0, detector_offset=11.0),
]


def marched(table, source, target, n=200_001):
    """Line integral by many small steps: an independent, slow check."""
    t = (np.arange(n) + 0.5) / n
    x, y = (s + t * (e - s) for s, e in zip(source, target, strict=True))
    total = 0.0
    for value, a, b, x0, y0, angle in table:
        c, s = np.cos(angle), np.sin(angle)
        u, v = ((x - x0) * c + (y - y0) * s) / a, ((y - y0) * c - (x - x0) * s) / b
        total += value * np.mean(u * u + v * v < 1) * np.hypot(*np.subtract(target, source))
    return total


def test_disc_chords_of_parallel_rays():
    beam = ParallelBeam.evenly(8, 65, pitch=1.5, start=0.2)
    x0, y0, r = 7.0, -4.0, 21.0
    s = (np.arange(65) - 32) * 1.5 - (x0 * np.cos(beam.angles) + y0 * np.sin(beam.angles))[:, None]
    expected = 0.02 * 2 * np.sqrt(np.maximum(r**2 - s**2, 0))
    np.testing.assert_allclose(ellipse_sinogram([(0.02, r, r, x0, y0, 0)], beam), expected, atol=1e-12)


@pytest.mark.parametrize("beam", FANS, ids=["flat", "curved", "offset"])
def test_disc_chords_of_fan_rays(beam):
    r, sod = 40.0, beam.source_to_axis
    expected = 2 * np.sqrt(np.maximum(r**2 - (sod * np.sin(beam.gammas)) ** 2, 0))
    sinogram = ellipse_sinogram([(1.0, r, r, 0, 0, 0)], beam)
    np.testing.assert_allclose(sinogram, np.broadcast_to(expected, beam.shape), atol=1e-10)


@pytest.mark.parametrize("beam", FANS, ids=["flat", "curved", "offset"])
def test_oblique_ellipse_by_marching(beam):
    sinogram = ellipse_sinogram(OBLIQUE, beam)
    for view, col in ((0, 40), (2, 47), (5, 52)):
        u = np.array([np.cos(beam.angles[view]), np.sin(beam.angles[view])])
        d = np.array([-u[1], u[0]])
        source, gamma = -beam.source_to_axis * d, beam.gammas[col]
        target = source + 600 * (np.cos(gamma) * d + np.sin(gamma) * u)
        assert sinogram[view, col] == pytest.approx(marched(OBLIQUE, source, target), abs=0.02)


def test_a_vector_beam_is_the_beam_it_describes():
    for beam in (*FANS, ParallelBeam.evenly(5, 33)):
        vectors = VectorBeam(beam.vectors, beam.n_cols, kind=beam.kind, fan_step=beam.fan_step)
        np.testing.assert_allclose(
            ellipse_sinogram(OBLIQUE, vectors), ellipse_sinogram(OBLIQUE, beam), atol=1e-12
        )


def test_the_mass_is_that_of_the_table_in_pixels_and_in_every_view():
    table = shepp_logan_table(radius=100.0)
    mass = float(np.sum(np.pi * table[:, 0] * table[:, 1] * table[:, 2]))
    volume = Volume((256, 256), 0.8)
    assert shepp_logan(volume, radius=100.0).array.sum(dtype=float) * 0.64 == pytest.approx(mass, rel=1e-4)
    sinogram = ellipse_sinogram(table, ParallelBeam.evenly(24, 512, pitch=0.4), sub_bins=4)
    np.testing.assert_allclose(sinogram.sum(axis=1) * 0.4, mass, rtol=1e-4)


def test_projecting_pixels_along_columns_gives_the_exact_view():
    # view 0 looks along y, so its bins are the sums of the pixel columns
    volume = Volume((300, 200), 1.0)
    table = thorax_table(2, width=180.0)
    bins = ellipse_sinogram(table, ParallelBeam([0.0], 200), sub_bins=64)[0]
    columns = rasterise(table, volume, supersample=32).sum(axis=0)
    np.testing.assert_allclose(columns, bins, atol=2e-3 * bins.max())


def test_coverage_of_a_pixel():
    # a disc that touches the edges of a single pixel covers pi / 4 of it
    assert rasterise([(1, 1, 1, 0, 0, 0)], Volume((1, 1), 2.0), supersample=64)[0, 0] == pytest.approx(
        np.pi / 4, abs=1e-3
    )
    whole = rasterise(OBLIQUE, Volume((128, 128), 1.0), supersample=32)
    assert whole.sum() == pytest.approx(np.pi * 30 * 12, rel=1e-5)
    assert whole.max() == pytest.approx(1.0) and whole.min() == 0.0
    j, i = np.nonzero(whole > 0.5)
    xs, ys = Volume((128, 128), 1.0).coordinates()
    assert xs[i].mean() == pytest.approx(9, abs=0.1) and ys[j].mean() == pytest.approx(-14, abs=0.1)
    # a positive angle turns x towards y: the part to the right lies lower
    assert np.cov(xs[i], ys[j])[0, 1] > 0


def test_an_object_off_the_grid_and_a_volume():
    table = [(1, 5, 5, 60, 0, 0), (1, 5, 5, 14, 0, 0)]
    cut = ellipses(Volume((32, 32), 1.0), table).array
    wide = ellipses(Volume((32, 64), 1.0), table).array
    np.testing.assert_allclose(cut, wide[:, 16:48], atol=1e-6)
    stack = ellipses(Volume((3, 32, 32), 1.0, (10.0, 0.0, 0.0)), table)
    assert stack.shape == (3, 32, 32) and stack.origin == (9.0, -15.5, -15.5)
    np.testing.assert_array_equal(stack.array, np.stack([cut] * 3))


def test_shepp_logan_is_upright_and_positive():
    image = shepp_logan(Volume((256, 256), 1.0))
    brain = 0.2 * MU_WATER
    assert image.array.min() >= -1e-9 and image.array.max() == pytest.approx(MU_WATER, rel=1e-6)
    assert image.array[128 + 55, 128] == pytest.approx(brain, rel=1e-5)
    assert image.array[128 - 45, 128] == pytest.approx(
        0.3 * MU_WATER, rel=1e-5
    )  # large disc towards the nose
    assert image.array[128, 128 + 28] == pytest.approx(0, abs=1e-8)  # a ventricle
    original = shepp_logan(Volume((256, 256), 1.0), modified=False)
    assert original.array[128 + 55, 128] == pytest.approx(1.02 * MU_WATER, rel=1e-5)


@pytest.mark.parametrize("seed", range(6))
def test_thorax_has_no_impossible_value(seed):
    image = thorax(Volume((256, 256), 1.5), seed)
    assert image.unit == "1/mm" and image.array.dtype == np.float32
    relative = image.array / MU_WATER
    assert relative.min() > -1e-4 and relative.max() < 1.95
    lung = (relative > 0.2) & (relative < 0.35)
    assert 0.10 < lung.sum() * 1.5**2 / (np.pi * 170 * 125) < 0.4


def test_thorax_is_deterministic_quick_and_fits():
    volume = Volume((512, 512), 0.7)
    start = time.perf_counter()
    one = thorax(volume, 3)
    assert time.perf_counter() - start < 2
    np.testing.assert_array_equal(one.array, thorax(volume, 3).array)
    assert not np.array_equal(one.array, thorax(volume, 4).array)
    small = thorax(Volume((64, 64), 1.0))
    assert small.array[:, 0].max() == 0 and small.array[32, 2] > 0
    rough = thorax(volume, 3, texture=0.02)
    body = one.array > 0.5 * MU_WATER
    assert np.std(rough.array[body] / one.array[body]) == pytest.approx(0.02, rel=0.5)
    assert rough.array[~(one.array > 0)].max() <= 0


def test_sub_bins_average_the_bin():
    beam = ParallelBeam([0.3], 40)
    fine = ParallelBeam([0.3], 160, pitch=0.25)
    averaged = ellipse_sinogram(OBLIQUE, fine).reshape(1, 40, 4).mean(axis=-1)
    np.testing.assert_allclose(ellipse_sinogram(OBLIQUE, beam, sub_bins=4), averaged, atol=1e-12)


def test_refusals():
    volume, beam = Volume((8, 8)), ParallelBeam([0.0], 4)
    for bad in ([(1, 2, 3)], [(1, 0, 1, 0, 0, 0)], [(np.nan, 1, 1, 0, 0, 0)]):
        with pytest.raises(ValueError, match="table"):
            ellipses(volume, bad)
        with pytest.raises(ValueError, match="table"):
            ellipse_sinogram(bad, beam)
    with pytest.raises(ValueError, match="supersample"):
        disc(volume, 3.0, supersample=0)
    with pytest.raises(ValueError, match="sub_bins"):
        ellipse_sinogram(OBLIQUE, beam, sub_bins=0)
    with pytest.raises(ValueError, match="width"):
        thorax_table(0, width=0)
