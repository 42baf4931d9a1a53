"""Arrays with a geometry in TOML: every key, every mistake; and the options of `load`."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from dataclasses import replace

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayfold.operators.geometry import FanBeam, ParallelBeam, VectorBeam
from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput, OutputFailure, UnreadableInput
from rayfold.recon.io import load, read_scan, write_scan
from rayfold.recon.io.sidecar import Geometry

quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
BASE = {"span_deg": 180, "kind": "attenuation"}


def npy(path, shape=(6, 8)):
    np.save(path, np.arange(np.prod(shape), dtype=np.float32).reshape(shape))
    return path


# --- arrays ---


@quick
@given(
    shape=st.tuples(st.integers(2, 6), st.integers(2, 4), st.integers(2, 7)),
    axes=st.permutations(["views", "rows", "cols"]),
    suffix=st.sampled_from(["npz", "npy", "mat", "h5"]),
)
def test_any_axis_order_in_any_container(tmp_path, shape, axes, suffix):
    data = np.random.default_rng(0).random(shape, np.float32)
    sizes = dict(zip(("views", "rows", "cols"), shape, strict=True))
    turned = np.ascontiguousarray(data.transpose([("views", "rows", "cols").index(a) for a in axes]))
    assert turned.shape == tuple(sizes[a] for a in axes)
    angles = np.linspace(0, 100, shape[0])
    path = tmp_path / f"a.{suffix}"
    about = {"axes": ",".join(axes), "kind": "transmission", "data": "p", "angles": "t", "angles_unit": "deg"}
    if suffix == "npz":
        np.savez(path, p=turned, t=angles)
    elif suffix == "mat":
        scipy.io.savemat(path, {"p": turned, "t": angles})
    elif suffix == "h5":
        with h5py.File(path, "w") as file:
            file["p"], file["t"] = turned, angles
    else:
        np.save(path, turned)
        np.save(tmp_path / "t.npy", angles)
        about = {**about, "data": "a", "angles": "t.npy"}
    scan = load(path, geometry=about)
    assert np.array_equal(scan.data, data)
    np.testing.assert_allclose(scan.beam.angles, np.radians(angles))
    assert np.array_equal(load(path, geometry=about, rows=1).data, data[:, 1])
    assert np.array_equal(load(path, geometry=about, rows="-2:").data, data[:, -2:])


def test_flats_of_arrays_follow_the_axes(tmp_path, rng):
    data, flat = rng.random((3, 7, 5)), rng.random((3, 5))
    np.savez(tmp_path / "a.npz", projections=data, open=flat)
    (tmp_path / "a.toml").write_text(
        'axes = "rows,views,cols"\nspan_deg = 180\ndata = "projections"\nflat = "open"\nphotons = 1e4\n'
    )
    scan = load(tmp_path / "a.npz", rows="1:3")
    assert np.array_equal(scan.data, data.transpose(1, 0, 2)[:, 1:3])
    assert np.array_equal(scan.flat, flat[None, 1:3])
    assert scan.kind == "counts" and scan.photons == 1e4


def test_the_only_array_needs_no_name_several_do(tmp_path):
    np.savez(tmp_path / "a.npz", sino=np.ones((4, 5)), angles=np.arange(4.0))
    assert load(tmp_path / "a.npz", geometry=BASE).data.shape == (4, 5)
    np.savez(tmp_path / "b.npz", one=np.ones((4, 5)), two=np.ones((4, 5)))
    with pytest.raises(
        InconsistentInput, match=r"b\.npz has one 4x5, two 4x5; name the measurement with data ="
    ):
        load(tmp_path / "b.npz", geometry=BASE)
    with pytest.raises(InconsistentInput, match="no array 'three'; it has one 4x5"):
        load(tmp_path / "b.npz", geometry={**BASE, "data": "three"})


# --- statements ---


@pytest.mark.parametrize(
    "stated, degrees",
    [
        ({"angles_deg": [0, 10, 30]}, [0, 10, 30]),
        ({"first_deg": 5, "step_deg": -2}, [5, 3, 1]),
        ({"step_deg": 2}, [0, 2, 4]),
        ({"first_deg": 90, "span_deg": 360}, [90, 210, 330]),
        ({"span_deg": 180, "sense": "cw"}, [0, -60, -120]),
    ],
)
def test_ways_to_state_angles(tmp_path, stated, degrees):
    scan = load(npy(tmp_path / "a.npy", (3, 8)), geometry={"kind": "attenuation", **stated})
    np.testing.assert_allclose(np.degrees(scan.beam.angles), degrees, atol=1e-12)


def test_a_complete_fan_sidecar(tmp_path):
    (tmp_path / "a.toml").write_text(
        'beam = "curved-fan"\nspan_deg = 360\npitch = 0.5\nsource_to_axis = 500\nsource_to_detector = 900\n'
        'detector_offset = 0.125\nsource_offset = 0.2\nkind = "attenuation"\nphotons = 1e5\nmu_water = 0.02\n'
    )
    scan = load(npy(tmp_path / "a.npy"))
    expected = FanBeam.evenly(
        6,
        8,
        pitch=0.5,
        source_to_axis=500.0,
        source_to_detector=900.0,
        curved=True,
        detector_offset=0.125,
        source_offset=0.2,
    )
    assert scan.beam.structure == expected.structure
    np.testing.assert_allclose(scan.beam.vectors, expected.vectors, rtol=1e-12, atol=1e-9)
    assert (scan.photons, scan.mu_water, scan.unit) == (1e5, 0.02, "mm")


@pytest.mark.parametrize(
    "stated, message",
    [
        ({"angels_deg": [1]}, r"unknown key 'angels_deg'; the nearest are angles_deg"),
        ({"sorce_to_axis": 1}, r"source_to_axis"),
        ({"zzzzzz": 1}, r"unknown key 'zzzzzz'; the nearest are angles"),
        ({"beam": "cone"}, r'beam is \'cone\'; it must be "parallel" or "fan" or "curved-fan"'),
        ({"pitch": "1 mm"}, r"pitch is '1 mm'; it must be a finite number"),
        ({"pitch": -1}, r"pitch is -1; it must be positive"),
        ({"pitch": True}, r"pitch is True"),
        ({"pitch": float("nan")}, r"finite number"),
        ({"angles_deg": "0:180"}, r"list of finite numbers"),
        ({"angles_deg": [0, "x"]}, r"list of finite numbers"),
        ({"data": 3}, r"data is 3; it must be a text"),
        ({"span_deg": 180, "step_deg": 1}, r"gives step_deg and span_deg; keep one"),
        ({"center": 1, "detector_offset": 1}, r"gives center and detector_offset; keep one"),
        ({"first_deg": 3}, r"first_deg alone; add step_deg or span_deg"),
        ({"angles": "t"}, r'add angles_unit = "deg" or "rad"'),
        ({"axes": "x,y", **BASE}, r"axes is 'x,y'; it must order views and cols"),
        ({"axes": "views,rows,cols", **BASE}, r"has 2 axes, but axes = .* names 3"),
        ({"beam": "fan", **BASE}, r"needs source_to_axis and source_to_detector"),
        ({"angles_deg": [1, 2], "kind": "attenuation"}, r"holds 6 views but 2 angles"),
        ({"kind": "attenuation"}, r"the view angles are not stated; give angles_deg"),
        ({"span_deg": 180}, r"does not say what its numbers are"),
    ],
)
def test_mistakes_name_the_cure(tmp_path, stated, message):
    with pytest.raises(InconsistentInput, match=message):
        load(npy(tmp_path / "a.npy"), geometry=stated)


def test_bad_toml(tmp_path):
    path = npy(tmp_path / "a.npy")
    with pytest.raises(UnreadableInput, match=r"no geometry file .*b\.toml"):
        load(path, geometry=tmp_path / "b.toml")
    (tmp_path / "a.toml").write_text("span_deg = = 3")
    with pytest.raises(UnreadableInput, match=r"a\.toml is not a readable TOML file: .*line 1"):
        load(path)
    (tmp_path / "a.toml").write_text("picth = 3")
    with pytest.raises(InconsistentInput, match=r"a\.toml: unknown key 'picth'; the nearest are pitch"):
        load(path)


@quick
@given(
    st.dictionaries(
        st.sampled_from([*vars(Geometry()), "x"]),
        st.one_of(
            st.none(), st.booleans(), st.floats(), st.text(), st.integers(), st.lists(st.floats(), max_size=3)
        ),
    )
)
def test_any_mapping_is_accepted_or_refused_clearly(stated):
    with contextlib.suppress(InconsistentInput):
        Geometry.from_mapping(stated)


# --- options of load ---


def test_options_win_over_the_sidecar(tmp_path):
    (tmp_path / "a.toml").write_text(
        'span_deg = 180\nkind = "attenuation"\nsense = "cw"\ndetector_offset = 3\nmu_water = 0.1\n'
    )
    path = npy(tmp_path / "a.npy")
    scan = load(path, center=2.5, sense="ccw", mu_water=0.02, pixel_size=0.1)
    expected = ParallelBeam.evenly(6, 8, pitch=0.1).with_axis_column(2.5)
    np.testing.assert_allclose(scan.beam.vectors, expected.vectors, atol=1e-12)
    assert (scan.mu_water, scan.unit) == (0.02, "mm")
    assert load(path).beam.angles[1] == pytest.approx(-np.pi / 6)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rows": "1:2"}, "single detector row; leave rows out"),
        ({"rows": "1:2:3"}, 'give one row "12" or a range'),
        ({"rows": "some"}, 'give one row "12" or a range'),
        ({"pixel_size": 0}, "pixel_size is 0; it must be a positive length"),
        ({"mu_water": -1}, "mu_water is -1; it must be positive"),
        ({"sense": "left"}, 'sense is \'left\'; it must be "ccw" or "cw"'),
    ],
)
def test_wrong_options_are_mistakes_of_the_call(tmp_path, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(npy(tmp_path / "a.npy"), geometry=BASE, **options)
    assert not isinstance(caught.value, UnreadableInput | InconsistentInput)


@pytest.mark.parametrize("rows", [7, -4, "3:3", "5:", slice(0, 3, 2)])
def test_rows_that_are_not_there(tmp_path, rows):
    with pytest.raises(ValueError, match="rows"):
        load(npy(tmp_path / "a.npy", (6, 3, 8)), geometry=BASE, rows=rows)


def test_pixel_size_scales_a_fan_in_pixels_and_refits_one_in_mm(tmp_path):
    about = {**BASE, "beam": "fan", "source_to_axis": 100, "source_to_detector": 200, "center": 2.0}
    path = npy(tmp_path / "a.npy")
    scaled = load(path, geometry=about, pixel_size=0.5).beam
    assert (scaled.source_to_axis, scaled.source_to_detector, scaled.pitch) == (50, 100, 0.5)
    refitted = load(path, geometry={**about, "unit": "mm"}, pixel_size=0.5).beam
    assert (refitted.source_to_axis, refitted.pitch) == (100, 0.5)
    assert scaled.axis_column == refitted.axis_column == pytest.approx(2.0)


# --- rayfold's own file ---

beams = st.sampled_from(
    [
        ParallelBeam(np.array([0.1, 0.2 + 1e-16, 1 / 3]), 5, 0.3, 0.1),
        FanBeam(np.array([0.0, 1.0, 2.0]), 5, 0.3, 40.0, 70.0, True, 0.1, -0.2),
        VectorBeam(np.random.default_rng(0).random((3, 6)), 5, "fan", 0.01),
        VectorBeam(np.random.default_rng(1).random((3, 6)), 5, "parallel"),
    ]
)
text = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)


@quick
@given(
    beam=beams,
    dtype=st.sampled_from([np.uint16, np.int32, np.float16, np.float32, np.float64, ">f4"]),
    rows=st.sampled_from([None, 1, 2]),
    kind=st.sampled_from(["counts", "transmission", "attenuation"]),
    unit=st.sampled_from(["mm", "px"]),
    photons=st.one_of(st.none(), st.floats(1, 1e9)),
    mu_water=st.one_of(st.none(), st.floats(1e-3, 1)),
    flats=st.booleans(),
    notes=st.lists(text, max_size=3),
    name=st.one_of(st.none(), text.filter(bool)),
)
def test_scans_come_back_exactly(
    tmp_path, beam, dtype, rows, kind, unit, photons, mu_water, flats, notes, name
):
    rng = np.random.default_rng(2)
    inner = (5,) if rows is None else (rows, 5)
    make = lambda n: (rng.random((n, *inner)) * 100).astype(dtype)  # noqa: E731
    scan = Scan(
        make(3),
        beam,
        kind,
        unit=unit,
        flat=make(2) if flats else None,
        dark=make(1) if flats else None,
        flat_views=np.array([-0.5, 2.5]) if flats else None,
        photons=photons,
        row_pitch=None if rows is None else 0.7,
        mu_water=mu_water,
        path=name,
        source="test",
        history=("normalise", *notes),
        notes=tuple(notes),
    )
    back = read_scan(write_scan(tmp_path / "a.h5", scan, force=True))
    for field, value in vars(scan).items():
        got = getattr(back, field)
        if isinstance(value, np.ndarray):
            assert got.dtype == value.dtype and np.array_equal(got, value), field
        else:
            assert got == value and type(got) is type(value), field
    assert np.array_equal(load(tmp_path / "a.h5").data, scan.data)


def test_rayfold_scan_with_options(tmp_path, counts):
    path = write_scan(tmp_path / "a.h5", counts)
    (tmp_path / "a.toml").write_text('method = "fbp"\n')  # not a geometry, and not looked at
    scan = load(path, center=30.5, sense="cw", pixel_size=0.2, mu_water=0.02)
    assert scan.beam.axis_column == pytest.approx(30.5) and scan.beam.pitch == 0.2 and scan.unit == "mm"
    np.testing.assert_array_equal(scan.beam.angles, -counts.beam.angles)
    with pytest.raises(InconsistentInput, match="states its own geometry; leave out span_deg"):
        load(path, geometry={"span_deg": 180})
    moving = replace(counts, beam=VectorBeam(counts.beam.vectors, 64, "parallel"))
    with pytest.raises(ValueError, match="per-view vectors"):
        load(write_scan(tmp_path / "b.h5", moving), center=3)


def test_writing_is_all_or_nothing(tmp_path, counts):
    path = write_scan(tmp_path / "a.h5", counts)
    with pytest.raises(OutputFailure, match="already there"):
        write_scan(path, counts)
    before = path.read_bytes()
    broken = replace(counts, notes=(object(),))
    with pytest.raises((TypeError, AttributeError)):
        write_scan(path, broken, force=True)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.h5"]


def test_a_newer_version_and_a_finished_image_are_named(tmp_path, counts):
    path = write_scan(tmp_path / "a.h5", counts)
    with h5py.File(path, "a") as file:
        file.attrs["version"] = 2
    with pytest.raises(UnreadableInput, match=r"version 2 of the format; update rayfold"):
        load(path)
    with h5py.File(path, "a") as file:
        file.attrs["format"] = "rayfold-image"
    with pytest.raises(UnreadableInput, match="finished image"):
        load(path)


def test_readers_import_nothing_heavy():
    code = (
        "import sys; from rayfold.recon.io import load, read_scan; from rayfold.recon import preprocess; "
        "print([m for m in ('h5py', 'scipy', 'tifffile', 'torch', 'algotom') if m in sys.modules])"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=_paths()
    )
    assert out.stdout.strip() == "[]"


def _paths():
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
