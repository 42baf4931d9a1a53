"""From simulated raw data to images: amplitudes, units, grids, slices, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rayfold.operators import FanBeam, ParallelBeam, VectorBeam
from rayfold.operators.noise import PoissonTransmission
from rayfold.recon import InconsistentInput, Scan, fbp, reconstruct, simulate
from rayfold.recon.ellipses import ellipse_sinogram
from rayfold.recon.methods import plan

MU = 0.02
DISC = [[MU, 30.0, 30.0, 4.0, -6.0, 0.0]]
FAN = FanBeam.evenly(180, 128, pitch=1.4, source_to_axis=300.0, source_to_detector=480.0)
BEAMS = {
    "parallel": ParallelBeam.evenly(180, 128, pitch=0.8),
    "fan": FAN,
    "curved": replace(FAN, curved=True),
    "offset": FAN.with_axis_column(60.0),
}


def clean(beam, table=DISC, **about) -> Scan:
    sinogram = ellipse_sinogram(np.asarray(table), beam).astype(np.float32)
    return Scan(sinogram, beam, "attenuation", **about)


def inside(image, x=4.0, y=-6.0, radius=22.0) -> np.ndarray:
    """Pixels of the last slice well within the disc."""
    ny, nx = image.shape[-2:]
    py = (np.arange(ny) - (ny - 1) / 2) * image.spacing[-2]
    px = (np.arange(nx) - (nx - 1) / 2) * image.spacing[-1]
    return image.array[..., np.hypot(px - x, py[:, None] - y) < radius]


# --- amplitude, place and unit ---


@pytest.mark.parametrize("name", BEAMS)
@pytest.mark.parametrize("method", ["fbp", "cgls", "sirt"])
def test_disc(name, method):
    image = reconstruct(clean(BEAMS[name]), method, nonnegative=True)
    tolerance = 0.005 if method == "fbp" else 0.02
    assert inside(image).mean() == pytest.approx(MU, rel=tolerance)
    assert inside(image, x=-4.0, y=26.0 + 14, radius=5).mean() == pytest.approx(0, abs=0.05 * MU)
    assert image.unit == "1/mm" and image.modality == "CT" and image.array.dtype == np.float32


@pytest.mark.parametrize("window", ["ram-lak", "shepp-logan", "cosine", "hamming", "hann"])
def test_every_filter_keeps_the_amplitude(window):
    assert inside(fbp(clean(FAN), window=window, cutoff=0.7)).mean() == pytest.approx(MU, rel=0.005)


@pytest.mark.parametrize("seed", [0, 1])
def test_raw_counts(seed):
    scan = simulate(DISC, FAN, PoissonTransmission(1e5, electronic=3), seed=seed, mu_water=MU)
    image = reconstruct(scan)
    assert inside(image).mean() == pytest.approx(MU, rel=0.005)
    assert inside(image.to_hu(scan.mu_water)).mean() == pytest.approx(0, abs=5)
    assert image.provenance["steps"] == ["normalise", "neglog"] and image.provenance["method"] == "fbp"


def test_pixel_units():
    """Without a pixel size the attenuation is per bin: 0.8 times that per mm for 0.8 mm bins."""
    beam = BEAMS["parallel"]
    unknown = Scan(clean(beam).data, ParallelBeam.evenly(180, 128), "attenuation", unit="px")
    image, known = fbp(unknown), fbp(clean(beam))
    assert image.unit == "1/px" and image.spacing == (1.0, 1.0) and image.shape == known.shape
    np.testing.assert_allclose(image.array, 0.8 * known.array, atol=1e-6)
    with pytest.raises(ValueError, match="1/px: give the pixel size"):
        image.to_hu(MU)
    with pytest.raises(ValueError, match="positive attenuation"):
        known.to_hu(0.0)


@pytest.mark.parametrize("method", ["fbp", "sirt"])
def test_lengths_scale(method):
    """The same scan in micrometre-sized pixels: attenuation per mm goes up by as much."""
    small = replace(clean(BEAMS["parallel"]), beam=ParallelBeam.evenly(180, 128, pitch=0.8e-3))
    one = reconstruct(clean(BEAMS["parallel"]), method, iterations=None if method == "fbp" else 5)
    other = reconstruct(small, method, iterations=None if method == "fbp" else 5)
    np.testing.assert_allclose(other.array * 1e-3, one.array, atol=1e-6)
    assert other.spacing[0] == pytest.approx(0.8e-3)


# --- the grid ---


@pytest.mark.parametrize(
    ("beam", "n", "spacing"),
    [
        (ParallelBeam.evenly(8, 100), 112, 1.0),
        (ParallelBeam.evenly(8, 112), 112, 1.0),
        (ParallelBeam.evenly(8, 113, pitch=0.25), 128, 0.25),
        (ParallelBeam.evenly(8, 96).with_axis_column(40.0), 112, 1.0),
        (FanBeam.evenly(8, 560, pitch=0.2, source_to_axis=410.66, source_to_detector=553.74), 560, 0.1483223),
        (FanBeam.evenly(8, 64, pitch=1.0, source_to_axis=1e5, source_to_detector=2e5), 64, 0.5),
    ],
)
def test_grid_rule(beam, n, spacing):
    """Pitch over magnification, covering the field of view, a multiple of 16, about the axis."""
    scan = Scan(np.ones(beam.shape, np.float32), beam, "attenuation")
    volume = plan(scan).volume
    assert volume.shape == (n, n) and volume.steps == pytest.approx((spacing, spacing), rel=1e-6)
    assert volume.middle == (0.0, 0.0) and n * volume.steps[0] >= 2 * beam.half_width * (1 - 1e-6)
    assert plan(scan, grid=50, spacing=0.3).volume.extent == pytest.approx((15, 15))
    assert plan(scan, spacing=2 * spacing).volume.shape[0] < n


@pytest.mark.parametrize(("grid", "spacing"), [(64, None), (None, 1.7), (77, 1.1)])
def test_own_grid(grid, spacing):
    image = fbp(clean(FAN), grid=grid, spacing=spacing)
    assert grid is None or image.shape == (grid, grid)
    assert image.spacing[0] == pytest.approx(spacing or FAN.resolution)
    assert inside(image, radius=18).mean() == pytest.approx(MU, rel=0.005)


def test_plan_counts_memory():
    scan = clean(FAN)
    small, large = plan(scan), plan(scan, grid=1024)
    assert small.bytes < large.bytes and large.bytes > 4 * 1024**2
    assert plan(scan, "sirt").iterations == 100 and plan(scan, "cgls", iterations=3).iterations == 3
    assert plan(scan, device="cpu").device == "cpu"


# --- slices ---


@pytest.mark.parametrize("method", ["fbp", "cgls"])
def test_rows_of_a_parallel_beam_are_slices(rng, method):
    beam = ParallelBeam.evenly(60, 40, pitch=0.5)
    data = np.stack([k * clean(beam, [[MU, 5.0, 5.0, 0, 0, 0]]).data for k in range(11)], axis=1)
    image = reconstruct(Scan(data, beam, "attenuation", row_pitch=0.7), method, grid=40)
    assert image.shape == (11, 40, 40) and image.spacing == (0.7, 0.5, 0.5)
    alone = reconstruct(Scan(data[:, 9], beam, "attenuation"), method, grid=40)
    assert alone.shape == (40, 40)
    np.testing.assert_allclose(image.array[9], alone.array, atol=1e-6)
    np.testing.assert_allclose(inside(image, 0, 0, 3).mean(axis=-1), MU * np.arange(11), rtol=0.02)
    one = reconstruct(Scan(data[:, 9:10], beam, "attenuation"), method, grid=40)
    assert one.shape == (1, 40, 40) and one.spacing == (0.5, 0.5, 0.5)


def test_a_cone_is_refused_and_flat_rows_are_not():
    cone = np.ones((8, 64, 32), np.float32)
    beam = FanBeam.evenly(8, 32, pitch=1.0, source_to_axis=50.0, source_to_detector=100.0)
    with pytest.raises(ValueError, match=r"64 detector rows .* cone-beam.* central slice, row 32"):
        plan(Scan(cone, beam, "attenuation"))
    far = FanBeam.evenly(8, 32, pitch=1.0, source_to_axis=5000.0, source_to_detector=5001.0)
    assert plan(Scan(cone, far, "attenuation")).slices == 64


# --- arbitrary vectors ---


def test_vectors_are_solved_not_inverted():
    scan = replace(clean(FAN), beam=VectorBeam(FAN.vectors, FAN.n_cols, "fan"))
    with pytest.raises(ValueError, match="use an iterative method, as cgls"):
        reconstruct(scan)
    with pytest.raises(ValueError, match="give grid and spacing"):
        reconstruct(scan, "cgls")
    image = reconstruct(scan, "cgls", grid=112, spacing=FAN.resolution)
    np.testing.assert_allclose(image.array, reconstruct(clean(FAN), "cgls", grid=112).array, atol=1e-3 * MU)


# --- what the caller is told ---


@pytest.mark.parametrize(("method", "n"), [("fbp", None), ("cgls", 4), ("sirt", 6)])
def test_progress_reaches_its_total(method, n):
    beam = ParallelBeam.evenly(20, 16)
    seen = []
    scan = Scan(np.ones((20, 19, 16), np.float32), beam, "attenuation")
    reconstruct(scan, method, iterations=n, progress=lambda *step: seen.append(step))
    done, total = zip(*seen, strict=True)
    assert list(done) == sorted(done) and done[-1] == total[-1] and len(set(total)) == 1


def test_missing_views_are_noted():
    short = FanBeam.evenly(60, 64, span=2.0, pitch=1.4, source_to_axis=300.0, source_to_detector=480.0)
    assert any("deg" in note for note in reconstruct(clean(short)).provenance["notes"])
    assert reconstruct(clean(FAN)).provenance["notes"] == []


def test_nonnegative_is_sirt_s_box():
    scan = clean(FAN)
    assert reconstruct(scan, "sirt", iterations=5).array.min() == 0
    assert reconstruct(scan, "sirt", iterations=5, nonnegative=False).array.min() < 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "fdk"}, "method is 'fdk'; it must be one of fbp, cgls, sirt"),
        ({"method": "cgls", "iterations": 0}, "cgls needs at least one"),
        ({"method": "sirt", "iterations": -2}, "iterations is -2"),
        ({"grid": 0}, "positive"),
        ({"spacing": -1.0}, "spacing is -1.0; it must be a positive length"),
        ({"window": "hanning"}, "ram-lak, shepp-logan"),
        ({"cutoff": 0.0}, "cutoff"),
        ({"device": "gpu"}, "auto, cpu, cuda or cuda:N"),
        ({"device": "cuda:x"}, "auto, cpu, cuda or cuda:N"),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(ValueError, match=message):
        reconstruct(clean(BEAMS["parallel"]), **options)


def test_an_axis_off_the_detector_is_refused():
    with pytest.raises(ValueError, match="off the detector of 128; correct the centre"):
        reconstruct(clean(BEAMS["parallel"].with_axis_column(-9.0)))


def test_impossible_data_is_refused():
    scan = clean(FAN)
    scan.data[7] = np.nan
    with pytest.raises(InconsistentInput, match="1 of 180 views hold no number"):
        reconstruct(scan)
