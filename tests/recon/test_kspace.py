"""The container of raw MRI data: named axes, what belongs together, and what it refuses."""

from __future__ import annotations

import re

import numpy as np
import pytest
from tests.recon.mri_files import coil_images

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.kspace import KSpace


@pytest.fixture
def full(rng):
    """Every field set, with different lengths everywhere."""
    return KSpace(
        coil_images(rng, 3, 2, 4, 6, 5),
        ("slice", "echo", "coil", "ky", "kx"),
        sampled=rng.random((3, 1, 6, 5)) > 0.3,
        crop=(6, 3),
        field_of_view=(120, 50),
        slice_thickness=4.0,
        slice_spacing=5.0,
        direction=np.diag([1.0, -1.0, 1.0]),
        origin=(1.0, 2.0, -5.0),
        noise=coil_images(rng, 4, 30),
        calibration=coil_images(rng, 3, 1, 4, 6, 5),
        calibration_sampled=np.ones((6, 1), bool),
        reference=coil_images(rng, 3, 1, 4, 2, 5),
        reference_reversed=np.array([False, True]),
        reversed_lines=np.arange(6) % 2 > 0,
        echo_times=(3.0, 7.0),
        dwell=0.01,
        field_strength=3.0,
        path="scan.h5",
        source="ISMRMRD",
        history=("whitened",),
        notes=("phantom",),
    )


def test_sizes_and_grid(full):
    assert (full.n_coils, full.size("slice"), full.size("ky"), full.size("set")) == (4, 3, 6, 1)
    assert full.leading == ("slice", "echo") and full.k_axes == ("ky", "kx") and full.cartesian
    assert full.matrix == (6, 5) and full.spacing == (20.0, 10.0)
    assert full.acceleration == pytest.approx(full.sampled.size / full.sampled.sum())
    with pytest.raises(ValueError, match="axis is 'view'; this scan has slice, echo, coil, ky, kx"):
        full.size("view")


def test_take_cuts_all_that_belongs_to_an_axis(full):
    one = full.take("slice", 1)
    assert one.axes == ("echo", "coil", "ky", "kx")
    assert np.array_equal(one.data, full.data[1]) and np.array_equal(one.sampled, full.sampled[1])
    assert np.array_equal(one.calibration, full.calibration[1])
    assert np.array_equal(one.reference, full.reference[1])
    assert one.origin == (1.0, 2.0, 0.0) and one.echo_times == (3.0, 7.0)
    late = full.take("echo", [1])
    assert late.axes == full.axes and late.echo_times == (7.0,)
    assert np.array_equal(late.data, full.data[:, 1:]) and np.array_equal(late.sampled, full.sampled)
    assert full.take("echo", -1).sampled.shape == (3, 6, 5)
    coils = full.take("coil", [2, 0])
    assert np.array_equal(coils.data, full.data[:, :, [2, 0]]) and np.array_equal(
        coils.noise, full.noise[[2, 0]]
    )
    assert np.array_equal(coils.calibration, full.calibration[:, :, [2, 0]])
    assert np.array_equal(coils.reference, full.reference[:, :, [2, 0]])
    assert full.take("coil", 3).n_coils == 1
    assert full.take("slice", slice(1, 3)).size("slice") == 2


def test_take_along_shots(rng):
    places = rng.uniform(-3, 3, (2, 5, 7, 2))
    scan = KSpace(
        coil_images(rng, 2, 3, 5, 7),
        ("repetition", "coil", "shot", "sample"),
        trajectory=places,
        matrix=(8, 8),
    )
    part = scan.take("shot", slice(0, 5, 2))
    assert np.array_equal(part.trajectory, places[:, ::2]) and part.size("shot") == 3
    assert np.array_equal(scan.take("repetition", 1).trajectory, places[1])
    same = KSpace(scan.data, scan.axes, trajectory=places[0], matrix=(8, 8))
    assert np.array_equal(same.take("repetition", 1).trajectory, places[0])


@pytest.mark.parametrize(
    ("axis", "index", "said"),
    [
        ("kx", 0, "axis is 'kx'; take works along slice, echo, coil of this scan"),
        ("set", 0, "axis is 'set'"),
        ("slice", 3, "slice 3 is not there; this scan has 3 (0 to 2)"),
        ("slice", slice(3, 5), "selects nothing of 3"),
    ],
)
def test_take_refuses(full, axis, index, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        full.take(axis, index)


def test_did_keeps_everything_else(full):
    done = full.did("compressed", notes=())
    assert done.history == ("whitened", "compressed") and done.notes == () and done.noise is full.noise


def test_repr_says_what_is_there(full, rng):
    shown = repr(full)
    for part in ("3 slice x 2 echo x 4 coils", "readout", "120 x 50 mm", "3 lines", "T", "phantom", "next"):
        assert (part in shown) == (part != "readout"), part
    assert "3.14 rad/voxel" in repr(
        KSpace(np.ones((1, 2), "c8"), ("coil", "sample"), np.array([[3.14, 0], [0, 1]]), matrix=(4, 4))
    )


OK = np.ones((2, 4, 4), np.complex64)
AXES = ("coil", "ky", "kx")
PLACES = np.zeros((4, 4, 2))
SHOTS = ("coil", "shot", "sample")


@pytest.mark.parametrize(
    ("data", "axes", "more", "said"),
    [
        (OK.real, AXES, {}, "k-space holds float32 values; give a NumPy array of complex numbers"),
        (OK, ("ky", "kx"), {}, "axes names 2: ky, kx"),
        (OK, ("slice", "ky", "kx"), {}, "allowed are any of slice, echo"),
        (OK[None, None], ("echo", "echo", *AXES), {}, "allowed are"),
        (OK, ("coil", "kx", "ky"), {}, "(kz,) ky, kx or (shot,) sample"),
        (OK[:0], AXES, {}, "k-space is empty, its shape is (0, 4, 4)"),
        (OK, AXES, {"matrix": (4, 5)}, "data have 4x4 Cartesian positions, matrix is (4, 5)"),
        (OK, AXES, {"crop": (4, 5)}, "crop (4, 5) is larger than the encoded grid (4, 4)"),
        (OK, AXES, {"field_of_view": (100,)}, "field_of_view is (100.0,); give 2 positive numbers"),
        (OK, AXES, {"readout": "kz"}, "readout is 'kz'"),
        (OK, AXES, {"sampled": np.ones((3, 4), bool)}, "sampled of shape (3, 4) does not fit"),
        (OK, AXES, {"sampled": np.ones((4, 4))}, "sampled holds float64"),
        (OK, AXES, {"sampled": np.zeros((4, 1), bool)}, "marks no position"),
        (OK, AXES, {"noise": OK[0]}, "noise has 4 coils, the data have 2; use a scan of the same receiver"),
        (OK, AXES, {"noise": OK}, "noise is complex64 of shape (2, 4, 4); it must be complex, (coils, n)"),
        (OK, AXES, {"calibration": OK[:1]}, "calibration has 1 coils, the data have 2"),
        (OK, AXES, {"calibration": OK[..., :3]}, "the grid is (4, 4)"),
        (OK, AXES, {"reference": OK[0]}, "reference is complex64 of shape (4, 4)"),
        (OK, AXES, {"reversed_lines": np.ones(3, bool)}, "give 4 of bool, one per line"),
        (OK, AXES, {"trajectory": PLACES}, "take no trajectory"),
        (OK, SHOTS, {}, "give the image grid, matrix=(ny, nx)"),
        (OK, SHOTS, {"matrix": (8, 8)}, "coil, shot, sample need a trajectory"),
        (OK, SHOTS, {"matrix": (8, 8), "trajectory": PLACES[:3]}, "give one place per sample"),
        (OK, SHOTS, {"matrix": (8, 8, 8), "trajectory": PLACES}, "(..., samples, 3)"),
        (OK, SHOTS, {"matrix": (8, 8), "trajectory": PLACES + 3.15}, "reaches 3.15 rad/voxel, beyond pi"),
        (OK, SHOTS, {"matrix": (8, 8), "trajectory": PLACES * np.nan}, "reaches nan rad/voxel"),
        (OK, SHOTS, {"matrix": (8, 8), "trajectory": PLACES, "sampled": PLACES > 0}, "belongs to Cartesian"),
    ],
)
def test_refuses_what_contradicts_itself(data, axes, more, said):
    with pytest.raises(InconsistentInput, match=re.escape(said)) as caught:
        KSpace(data, axes, **more)
    assert "\n" not in str(caught.value)


def test_pi_may_be_missed_by_a_thousandth():
    KSpace(OK, SHOTS, trajectory=PLACES + np.pi + 9e-4, matrix=(8, 8))
    with pytest.raises(InconsistentInput):
        KSpace(OK, SHOTS, trajectory=PLACES + np.pi + 1.1e-3, matrix=(8, 8))


@pytest.mark.parametrize("name", ["data", "noise", "calibration", "reference"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -1j * np.inf])
def test_counts_samples_that_are_no_numbers(name, bad):
    arrays = {"data": OK, "noise": OK[:, 0], "calibration": OK, "reference": OK}
    arrays[name] = arrays[name].copy()
    arrays[name].flat[:3] = bad
    with pytest.raises(
        InconsistentInput, match=f"{name} holds 3 NaN or infinite samples of {arrays[name].size};"
    ):
        KSpace(axes=AXES, **arrays)


def test_large_finite_samples_pass():
    assert KSpace(OK * 3e38, AXES).n_coils == 2  # their sum overflows
