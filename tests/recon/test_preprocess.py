"""From raw counts to attenuation: every step, what is refused, and measured scans."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from rayfold.operators.geometry import FanBeam, ParallelBeam, VectorBeam
from rayfold.recon import preprocess
from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput
from rayfold.recon.io import load
from rayfold.recon.preprocess.check import dead_pixels


def attenuation(data, span=np.pi):
    return Scan(np.asarray(data), ParallelBeam.evenly(*np.shape(data), span=span), "attenuation", unit="px")


def blobs(angles, s):
    """Line integrals of two Gaussian blobs at distance s from the axis."""
    total = 0.0
    for weight, radius, at, width in ((1.0, 8.0, 0.3, 6.0), (0.6, 15.0, 2.0, 3.0)):
        total = total + weight * np.exp(-((s - radius * np.cos(angles - at)) ** 2) / (2 * width**2))
    return total


# --- check ---


def test_a_good_scan_passes_unchanged(counts):
    assert preprocess.check(counts) is counts


@pytest.mark.parametrize("shape", [(20, 32), (20, 3, 32)])
def test_a_view_without_numbers_is_refused(rng, shape):
    data = rng.random(shape)
    data[7] = np.nan
    with pytest.raises(InconsistentInput, match=r"1 of 20 views hold no number \(7\)"):
        preprocess.check(Scan(data, ParallelBeam.evenly(20, 32), "attenuation"))


def test_a_row_without_numbers_in_one_view_is_refused(rng):
    data = rng.random((20, 3, 32))
    data[7, 1] = np.nan
    with pytest.raises(InconsistentInput, match="row 1 of view 7"):
        preprocess.check(Scan(data, ParallelBeam.evenly(20, 32), "attenuation"))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0, 3.0])
def test_too_many_dead_columns_are_refused(rng, value):
    data = rng.random((20, 40))
    data[:, 10:13] = value
    with pytest.raises(InconsistentInput, match=r"3 of 40 detector pixels are dead \(7.5 %"):
        preprocess.check(attenuation(data))


def test_negative_counts_are_refused_beyond_one_percent(counts):
    data = counts.data.copy()
    data.flat[: int(0.009 * data.size)] = -1
    assert preprocess.check(replace(counts, data=data)).kind == "counts"
    data.flat[: int(0.03 * data.size)] = -1
    with pytest.raises(InconsistentInput, match=r"3\.0 % of the raw counts are below zero.*kind ="):
        preprocess.check(replace(counts, data=data))


def test_flats_of_another_size_are_refused(counts):
    with pytest.raises(InconsistentInput, match="flat frames"):
        preprocess.check(replace(counts, flat=counts.flat[:, :-1]))


def test_legitimate_constant_pixels_are_not_dead(rng):
    s = np.arange(48) - 23.5
    disc = np.tile(2 * np.sqrt(np.clip(15.0**2 - s**2, 0, None)), (30, 1))  # centred and without noise
    assert not dead_pixels(attenuation(disc)).any()
    angles = np.arange(30)[:, None] * np.pi / 30
    clipped = np.where(
        np.abs(s) < 12, blobs(angles, s) + rng.normal(0, 0.01, (30, 48)), 0.0
    )  # air set to zero
    assert not dead_pixels(attenuation(clipped)).any()
    few = rng.random((4, 48))
    few[:, 9] = 0.5  # four equal views prove nothing
    assert not dead_pixels(attenuation(few)).any()
    assert not dead_pixels(attenuation(np.zeros((30, 48)))).any()


def test_a_faded_beam_is_not_dead_but_a_blind_pixel_is(counts):
    profile = np.exp(-((np.arange(64) - 32) ** 2) / 300)
    faded = replace(counts, data=counts.data * profile, flat=counts.flat * profile, dark=None)
    assert not dead_pixels(faded).any()
    flat = counts.flat.copy()
    flat[:, 20] = counts.dark[:, 20]
    assert np.flatnonzero(dead_pixels(replace(counts, flat=flat))).tolist() == [20]


# --- mend ---


@pytest.mark.parametrize("value", [np.nan, np.inf, 0.0])
def test_dead_columns_are_mended_counted_and_noted(counts, value):
    data = counts.data.copy()
    data[:, 40] = value
    data[3, 7] = np.nan
    mended = preprocess.mend_dead(replace(counts, data=data))
    assert mended.notes == (
        "1 dead detector pixels and 1 single missing values replaced from their neighbours",
    )
    assert mended.history == ("mend_dead",)
    np.testing.assert_allclose(mended.data[:, 40], (data[:, 39] + data[:, 41]) / 2)
    assert mended.data[3, 7] == pytest.approx((data[3, 6] + data[3, 8]) / 2)
    np.testing.assert_allclose(mended.flat[:, 40], (counts.flat[:, 39] + counts.flat[:, 41]) / 2)
    assert np.array_equal(np.delete(mended.data, (7, 40), 1), np.delete(data, (7, 40), 1))
    assert preprocess.mend_dead(mended) is mended


def test_nothing_to_mend_is_the_same_scan(counts):
    assert preprocess.mend_dead(counts) is counts


def test_the_input_is_never_changed(counts):
    data = counts.data.copy()
    data[:, 5] = np.nan
    scan = replace(counts, data=data)
    before = data.copy()
    preprocess.prepare(scan, zingers=True, rings="sorting", center=31.0)
    np.testing.assert_array_equal(data, before)


def test_a_dead_detector_row_takes_its_neighbour(rng):
    data = rng.random((12, 30, 16))
    data[:, 9] = np.nan
    mended = preprocess.mend_dead(Scan(data, ParallelBeam.evenly(12, 16), "attenuation"))
    np.testing.assert_array_equal(mended.data[:, 9], data[:, 8])


# --- normalise and neglog ---


def test_counts_become_the_line_integrals(counts):
    scan = preprocess.prepare(counts)
    expected = blobs(counts.beam.angles[:, None], np.arange(64) - 30.5)
    assert scan.kind == "attenuation" and scan.data.dtype == np.float32
    assert scan.flat is None and scan.dark is None
    assert np.abs(scan.data - expected).max() < 0.08  # five sigma of 20000 photons behind an attenuation of 1
    assert abs(float((scan.data - expected).mean())) < 1e-3


def test_flats_follow_the_time():
    brightness = np.linspace(100, 200, 11)
    data = np.full((11, 4), 0.5) * brightness[:, None]
    flat = np.repeat([100.0, 200.0], 3)[:, None] * np.ones((6, 4))
    scan = Scan(
        data, ParallelBeam.evenly(11, 4), "counts", flat=flat, flat_views=np.repeat([0.0, 10.0], 3), unit="px"
    )
    np.testing.assert_allclose(preprocess.normalise(scan).data, 0.5)
    assert preprocess.normalise(scan).history == ("normalise over time",)
    averaged = preprocess.normalise(scan, over_time=False)
    np.testing.assert_allclose(averaged.data[:, 0], 0.5 * brightness / 150)
    with pytest.raises(ValueError, match="flat_views"):
        preprocess.normalise(replace(scan, flat_views=None), over_time=True)


def test_counts_without_flats_say_what_to_give(counts):
    with pytest.raises(InconsistentInput, match=r"without flat frames; give flat = or open_beam ="):
        preprocess.prepare(replace(counts, flat=None))
    with pytest.raises(InconsistentInput, match="run normalise before"):
        preprocess.neglog(counts)


def test_the_floor_is_noted_and_uses_the_photons():
    scan = Scan(np.array([[0.0, 0.5], [-1.0, 1.0]]), ParallelBeam.evenly(2, 2), "transmission")
    done = preprocess.neglog(scan)
    assert done.data[0, 0] == pytest.approx(-np.log(1e-4))
    assert done.notes == ("2 values (50 %) below transmission 0.0001 set to it",)
    assert preprocess.neglog(replace(scan, photons=1e3)).data[1, 0] == pytest.approx(-np.log(0.5e-3))
    with pytest.raises(ValueError, match="floor is 2"):
        preprocess.neglog(scan, floor=2)


def test_preparing_twice_changes_nothing(counts):
    options = {"zingers": True, "rings": "sorting", "center": "auto"}
    once = preprocess.prepare(counts, **options)
    assert once.history == ("normalise", "remove_zingers", "neglog", "center", "remove_rings(sorting)")
    assert preprocess.prepare(once, **options) is once
    at = preprocess.prepare(counts, center=30.5)
    assert preprocess.prepare(at, center=30.5) is at


# --- zingers and rings ---


def test_zingers_are_removed_and_the_rest_is_kept(counts, rng):
    normal = preprocess.normalise(counts)
    clean = preprocess.neglog(normal)
    hits = rng.choice(normal.data.size, 20, replace=False)
    data = normal.data.copy()
    data.flat[hits] += 3.0
    done = preprocess.neglog(preprocess.remove_zingers(replace(normal, data=data)))
    assert np.abs(done.data - clean.data).max() < 0.2
    assert np.mean(done.data != clean.data) < 0.01
    logged = preprocess.remove_zingers(preprocess.neglog(replace(normal, data=data)))
    np.testing.assert_allclose(logged.data, done.data, atol=1e-5)


@pytest.mark.parametrize("method", ["sorting", "all", "filtering", "fitting"])
def test_rings_are_reduced(rng, method):
    angles, s = np.arange(180)[:, None] * np.pi / 180, np.arange(128) - 63.5
    true = blobs(angles, s / 2) + rng.normal(0, 0.005, (180, 128))
    striped = true.copy()
    striped[:, [30, 61, 90]] += 0.3
    done = preprocess.remove_rings(attenuation(striped), method=method)
    stripes = np.abs(done.data - true)[:, [30, 61, 90]]
    assert stripes.mean() < 0.1  # of 0.3
    assert np.abs(done.data - true).mean() < 0.04  # the price in structure, 6 % of the mean signal at most
    assert done.history == (f"remove_rings({method})",)


def test_unknown_ring_method_lists_the_known(counts):
    with pytest.raises(ValueError, match="'nothing'; use one of all, sorting"):
        preprocess.remove_rings(preprocess.prepare(counts), method="nothing")
    with pytest.raises(ValueError, match="'sorting' has no option 'sise'; use size, dim"):
        preprocess.remove_rings(preprocess.prepare(counts), sise=3)
    with pytest.raises(ValueError, match="run normalise"):
        preprocess.remove_rings(counts)


def test_missing_algotom_names_the_extra(counts, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "algotom"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "algotom", None)
    scan = preprocess.prepare(counts)
    for step in (preprocess.remove_zingers, preprocess.remove_rings, preprocess.find_center):
        with pytest.raises(ImportError, match=r'pip install "rayfold\[preprocess\]"'):
            step(scan)


# --- centre ---


def test_axis_from_half_a_turn(counts):
    assert preprocess.find_center(counts) == pytest.approx(30.5, abs=0.5)
    centred = preprocess.center(counts)
    assert centred.beam.axis_column == pytest.approx(30.5, abs=0.5)
    assert centred.notes[-1].startswith("rotation axis found at column 30.")


@pytest.mark.parametrize("column", [31.5, 27.3, 52.0])
@pytest.mark.parametrize("sign", [1, -1])
def test_axis_from_a_full_parallel_turn(rng, column, sign):
    angles = sign * np.linspace(0, 2 * np.pi, 121)  # closing view included
    data = blobs(angles[:, None], np.arange(64) - column) + rng.normal(0, 0.02, (121, 64))
    assert preprocess.find_center(Scan(data, ParallelBeam(angles, 64), "attenuation")) == pytest.approx(
        column, abs=0.15
    )


@pytest.mark.parametrize("curved", [False, True])
def test_axis_from_a_full_fan_turn(rng, curved):
    beam = FanBeam.evenly(
        180, 80, pitch=1.0, source_to_axis=80.0, source_to_detector=120.0, curved=curved
    ).with_axis_column(36.2)
    gamma = beam.gammas - beam.gamma_of_axis
    data = blobs(beam.angles[:, None] - gamma, 80.0 * np.sin(gamma)) + rng.normal(0, 0.01, beam.shape)
    scan = Scan(data, beam.with_axis_column(39.5), "attenuation")
    assert preprocess.find_center(scan) == pytest.approx(36.2, abs=0.1)


def test_axis_of_a_stack_is_the_median_of_its_rows(rng):
    angles = np.arange(120) * 2 * np.pi / 120
    one = blobs(angles[:, None], np.arange(64) - 29.0)
    data = np.stack([one * (row + 1) for row in range(7)], axis=1) + rng.normal(0, 0.01, (120, 7, 64))
    assert preprocess.find_center(Scan(data, ParallelBeam(angles, 64), "attenuation")) == pytest.approx(
        29, abs=0.1
    )


def test_axis_search_says_when_it_cannot(rng):
    data = rng.random((60, 32))
    fan = FanBeam.evenly(60, 32, span=np.pi, pitch=1.0, source_to_axis=50.0, source_to_detector=80.0)
    with pytest.raises(ValueError, match="full turn, not from 180 deg; give center"):
        preprocess.find_center(Scan(data, fan, "attenuation"))
    with pytest.raises(ValueError, match="half a turn or more, not from 90 deg; give center"):
        preprocess.find_center(attenuation(data, span=np.pi / 2))
    vectors = VectorBeam(fan.vectors, 32)
    with pytest.raises(ValueError, match="per-view vectors"):
        preprocess.center(Scan(data, vectors, "attenuation"))
    with pytest.raises(ValueError, match='a column or "auto"'):
        preprocess.prepare(attenuation(data), center="middle")


# --- measured ---


def test_tooth(measured):
    scan = preprocess.prepare(load(measured("tooth_parallel/tooth.h5")), center="auto")
    assert scan.beam.axis_column == pytest.approx(295.5, abs=0.5)
    assert np.isfinite(scan.data).all() and scan.data.min() > -0.1 and 1.9 < scan.data.max() < 2.0
    assert not any("dead" in note for note in scan.notes)


def test_helsinki_axis_and_turning_sense(measured):
    from rayfold.recon.preprocess.center import _mismatch

    path = measured("htc2022_training/htc2022_ta_full.mat")
    scan = load(path)
    assert preprocess.prepare(scan) is scan
    assert preprocess.find_center(scan) == pytest.approx(279.5, abs=0.3)
    # Opposite rays meet only when the angles turn the right way.
    views = slice(0, 720)
    cost = {
        sense: _mismatch(
            np.concatenate([scan.data[views], scan.data[:1]])[::sign],
            np.radians(np.arange(721) * 0.5),
            scan.beam,
            279.4,
        )
        for sense, sign in (("ccw", 1), ("cw", -1))
    }
    assert 10 * cost["ccw"] < cost["cw"]


def test_neutron_full_turn(measured):
    geometry = {"span_deg": 360, "open_beam": 46950}
    scan = load(measured("sarepy_neutron_360/sinogram_360_neutron_image.tif"), geometry=geometry)
    done = preprocess.prepare(scan, zingers=True, rings="all", center="auto")
    assert done.beam.axis_column == pytest.approx(245, abs=0.5)


def test_rock_full_turn(measured):
    scan = load(measured("rock_rings/Sinogram_Rock_sample_3D.nxs"))
    assert preprocess.find_center(scan) == pytest.approx(198, abs=0.5)
    stripes = np.abs(np.diff(scan.data.mean(axis=0), axis=-1)).mean()
    clean = preprocess.remove_rings(scan, method="all")
    assert np.abs(np.diff(clean.data.mean(axis=0), axis=-1)).mean() < 0.5 * stripes


def test_basalt(measured):
    geometry = {
        "data": "sino_basalt",
        "axes": "cols,views",
        "angles": "angles",
        "angles_unit": "rad",
        "kind": "attenuation",
    }
    scan = load(measured("basalt_neutron_parallel/sino_basalt.mat"), geometry=geometry)
    done = preprocess.prepare(scan, zingers=True, center="auto")
    assert done.beam.axis_column == pytest.approx(312.25, abs=0.5)  # first view against the mirrored last
    assert 0.001 < np.mean(done.data != scan.data) < 0.02


def test_dls_pin(measured):
    scan = load(
        measured("dls_standard_parallel3d/projections.mrc"), geometry={"first_deg": -88.2, "step_deg": 2.0}
    )
    assert int(np.isnan(scan.data).sum()) == 91
    done = preprocess.prepare(scan, center="auto")
    assert done.notes[0] == "1 dead detector pixels replaced from their neighbours"
    assert done.beam.axis_column == pytest.approx(85.75, abs=0.5)
