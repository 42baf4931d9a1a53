"""Trajectories: analytic truths of their shapes, limits of gradients, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayfold.recon.trajectories import (
    HARDWARE,
    Hardware,
    check_limits,
    golden_angle,
    kooshball,
    radial,
    rosette,
    spiral,
    stack,
    stack_of_stars,
    traverse,
)


def test_golden_angles_are_the_published_ones():
    assert math.degrees(golden_angle()) == pytest.approx(111.246117975)
    published = {
        2: 68.7539,
        3: 49.7508,
        4: 38.9776,
        5: 32.0397,
        6: 27.1981,
        7: 23.6281,
    }  # Wundrak 2015, table I
    for order, degrees in published.items():
        assert math.degrees(golden_angle(order)) == pytest.approx(degrees, abs=2e-3)


@pytest.mark.parametrize("order", [1, 3, 7])
def test_golden_spokes_fill_every_window_evenly(order):
    """Gaps between neighbouring spokes take at most three lengths, whatever the window."""
    k = radial(400, 2, golden=order)
    angle = np.arctan2(k[:, 0, 0], k[:, 0, 1]) % math.pi
    for first in (0, 57, 300):
        some = np.sort(angle[first : first + 55])
        gaps = np.diff(np.append(some, some[0] + math.pi))
        assert len(np.unique(np.round(gaps, 7))) <= 3
        assert gaps.max() / gaps.min() < 5.3


@pytest.mark.parametrize(("spokes", "samples"), [(7, 32), (8, 33), (1, 1)])
def test_radial_spokes(spokes, samples):
    k = radial(spokes, samples, first=0.1)
    assert k.shape == (spokes, samples, 2) and k.dtype == np.float64
    np.testing.assert_allclose(k[:, samples // 2], 0, atol=1e-15)
    steps = np.linalg.norm(np.diff(k, axis=1), axis=-1)
    np.testing.assert_allclose(steps, 2 * math.pi / samples)
    assert np.abs(k).max() <= math.pi
    if samples > 1:
        angle = np.arctan2(k[:, -1, 0], k[:, -1, 1])
        np.testing.assert_allclose(angle, 0.1 + np.arange(spokes) * math.pi / spokes, atol=1e-12)


def turns(k):
    """Radii at which any interleaf crosses the positive kx axis, in order."""
    found = []
    for shot in k:
        angle = np.unwrap(np.arctan2(shot[1:, 0], shot[1:, 1]))
        r = np.hypot(*shot[1:].T)
        low, high = sorted((angle[0], angle[-1]))
        at = 2 * math.pi * np.arange(math.ceil(low / (2 * math.pi)), math.floor(high / (2 * math.pi)) + 1)
        found += np.interp(at, angle if angle[0] < angle[-1] else angle[::-1], r).tolist()
    return np.sort(found)


@pytest.mark.parametrize(
    ("interleaves", "n", "hardware"), [(16, 64, "clinical"), (3, 48, "modest"), (8, 96, "connectome")]
)
def test_spiral_meets_nyquist_and_the_limits(interleaves, n, hardware):
    k = spiral(interleaves, n, field_of_view=200.0, dwell=0.004, hardware=hardware)
    report = check_limits(k, dwell=0.004, spacing=200 / n, hardware=hardware)
    assert report.ok
    assert report.slew > 0.98 * HARDWARE[hardware].slew
    gaps = np.diff(turns(k))
    nyquist = 2 * math.pi / n
    assert gaps.max() < 1.01 * nyquist and np.median(gaps) > 0.99 * nyquist
    assert 0.98 * math.pi < np.hypot(*np.moveaxis(k, -1, 0)).max() <= math.pi
    # samples along the spiral are closer than Nyquist too: amplitude times dwell times field of view below 1
    assert np.linalg.norm(np.diff(k, axis=1), axis=-1).max() < nyquist
    np.testing.assert_array_equal(k[:, 0], 0)
    first = np.linalg.norm(k[:, 1], axis=-1)  # from rest: half the slew rate times the square of the dwell
    gamma, voxel = 42.577478518e-3, 200 / n
    assert first.max() <= math.pi * voxel * gamma * HARDWARE[hardware].slew * 0.004**2 * (1 + 1e-9)


def test_spiral_of_variable_density():
    n, k = 64, spiral(6, 64, field_of_view=220.0, density=(2.0, 0.5))
    assert check_limits(k, dwell=0.005, spacing=220 / n).ok
    crossings = turns(k)
    radius, gaps = (crossings[1:] + crossings[:-1]) / 2 / math.pi, np.diff(crossings) * n / (2 * math.pi)
    expected = 1 / (2.0 - 1.5 * radius)
    good = (radius > 0.15) & (radius < 0.97)
    np.testing.assert_allclose(gaps[good], expected[good], rtol=0.03)


def test_spiral_interleaves_are_turned_evenly_or_by_the_golden_angle():
    k = spiral(5, 32, field_of_view=200.0)
    even = np.unwrap(np.arctan2(k[:, -1, 0], k[:, -1, 1]))
    np.testing.assert_allclose(np.diff(even), 2 * math.pi / 5, atol=1e-9)
    k = spiral(5, 32, field_of_view=200.0, golden=1)
    step = np.diff(np.arctan2(k[:, -1, 0], k[:, -1, 1])) % (2 * math.pi)
    np.testing.assert_allclose(step, 2 * golden_angle(), atol=1e-9)


def test_a_straight_line_is_run_as_fast_as_theory_says():
    """Bang: full slew to the full gradient, then full gradient."""
    hardware, dwell, spacing = Hardware(20.0, 100.0), 0.002, 1.5
    line = np.zeros((5, 2))
    line[:, 1] = np.linspace(0, math.pi, 5)
    k = traverse(line, dwell=dwell, spacing=spacing, hardware=hardware)
    gamma = 42.577478518e-3
    rise = 20.0 / 100.0
    way = 0.5 / spacing - gamma * 20.0 * rise / 2
    expected = rise + way / (gamma * 20.0)
    assert len(k) * dwell == pytest.approx(expected, rel=0.01)
    assert check_limits(k, dwell=dwell, spacing=spacing, hardware=hardware).ok


def test_a_circle_is_run_at_the_speed_its_curvature_allows():
    hardware, dwell, spacing = Hardware(80.0, 100.0), 0.01, 2.0
    angle = np.linspace(0, 12 * math.pi, 800)
    circle = 0.8 * np.stack([np.sin(angle), np.cos(angle)], axis=-1)
    k = traverse(circle, dwell=dwell, spacing=spacing, hardware=hardware)
    report = check_limits(k, dwell=dwell, spacing=spacing, hardware=hardware)
    assert report.ok
    steady = (
        np.linalg.norm(np.diff(k[len(k) // 2 :], axis=0), axis=-1).mean() / dwell / (2 * math.pi * spacing)
    )
    radius = 0.8 / (2 * math.pi * spacing)
    assert steady == pytest.approx(math.sqrt(42.577478518e-3 * 100.0 * radius), rel=0.01)


def test_traverse_in_three_dimensions():
    t = np.linspace(0, 1, 400)[:, None]
    helix = np.concatenate([2 * t, 2 * np.sin(20 * t), 2 * np.cos(20 * t)], axis=1)
    k = traverse(helix, dwell=0.01, spacing=(3.0, 2.0, 1.0))
    assert k.shape[1] == 3 and check_limits(k, dwell=0.01, spacing=(3.0, 2.0, 1.0)).ok
    np.testing.assert_allclose(k[0], helix[0], atol=1e-9)
    assert np.min(np.linalg.norm(helix - k[-1], axis=1)) < 0.1


def test_limits_of_a_known_gradient():
    t = np.arange(100) * 0.01
    gamma, spacing = 42.577478518e-3, 2.0
    k = (2 * math.pi * spacing * gamma * 50 * t**2 / 2)[:, None] * np.array([0.6, 0.8])  # 50 mT/m/ms
    report = check_limits(k, dwell=0.01, spacing=spacing, hardware=Hardware(49.0, 60.0))
    assert report.slew == pytest.approx(50, rel=1e-6)
    assert report.gradient == pytest.approx(50 * 0.985, rel=1e-6)  # between the last two samples
    assert not report.ok and not report and "exceeds" in str(report)
    wide = check_limits(k[None], dwell=0.01, spacing=(spacing, spacing), hardware="connectome")
    assert wide.ok and str(wide).startswith("within the limits of connectome hardware")


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 10), st.floats(0.1, 10))
def test_limits_scale_with_time_and_length(slower, coarser):
    k = rosette(1, 200)
    one = check_limits(k, dwell=0.01, spacing=1.0)
    two = check_limits(k, dwell=0.01 * slower, spacing=coarser)
    assert two.gradient == pytest.approx(one.gradient / slower / coarser)
    assert two.slew == pytest.approx(one.slew / slower**2 / coarser)


def test_rosette_crosses_the_centre():
    k = rosette(4, 4000, oscillations=5, rotations=4)
    r = np.linalg.norm(k, axis=-1)
    minima = (r[:, 1:-1] < r[:, :-2]) & (r[:, 1:-1] <= r[:, 2:]) & (r[:, 1:-1] < 0.05)
    assert (minima.sum(axis=1) == 9).all() and r.max() == pytest.approx(
        math.pi, rel=1e-4
    )  # and once at the start
    steps = np.linalg.norm(np.diff(k, axis=1), axis=-1).max() * 4000
    assert steps == pytest.approx(2 * math.pi**2 * 5, rel=1e-3)


@pytest.mark.parametrize("order", ["phyllotaxis", "golden"])
def test_kooshball_directions_are_uniform(order):
    k = kooshball(1597, 3, order=order)
    direction = k[:, 0] / np.linalg.norm(k[:, 0], axis=-1, keepdims=True)
    np.testing.assert_allclose(direction.T @ direction / len(k), np.eye(3) / 3, atol=2e-3)
    # spherical caps of any axis hold the share of spokes that their area says
    rng = np.random.default_rng(0)
    for axis in rng.standard_normal((20, 3)):
        height = np.abs(direction @ axis) / np.linalg.norm(axis)
        for cap in (0.5, 0.8, 0.95):
            assert np.mean(height > cap) == pytest.approx(1 - cap, abs=0.015)


def test_kooshball_in_interleaves_holds_the_same_spokes():
    whole, parts = kooshball(144, 8), kooshball(144, 8, interleaves=8)
    np.testing.assert_array_equal(np.sort(whole[:, 0, 0]), np.sort(parts[:, 0, 0]))
    heights = parts[:18, 0, 0]
    assert (np.diff(heights) > 0).all()  # from pole to equator, at the negative end


def test_stacks():
    planar = radial(5, 16, golden=1)
    k = stack(planar, 4)
    assert k.shape == (20, 16, 3)
    np.testing.assert_array_equal(np.unique(k[..., 0]), np.array([-1, -0.5, 0, 0.5]) * math.pi)
    np.testing.assert_array_equal(k[10:15, :, 1:], planar)
    np.testing.assert_array_equal(stack_of_stars(5, 16, 4, golden=1), k)
    turned = stack_of_stars(5, 16, 4, turn=math.pi / 20)
    angle = np.arctan2(turned[:, -1, 1], turned[:, -1, 2]) % math.pi
    np.testing.assert_allclose(np.diff(np.sort(angle)), math.pi / 20, atol=1e-9)
    np.testing.assert_array_equal(np.unique(turned[..., 0]), np.unique(k[..., 0]))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: golden_angle(0), "order 0"),
        (lambda: radial(0, 16), "spokes is 0"),
        (lambda: spiral(4, 64, field_of_view=0), "must be positive"),
        (lambda: spiral(4, 64, field_of_view=200, hardware="fast"), "'fast' is not one of modest, clinical"),
        (lambda: spiral(4, 64, field_of_view=200, density=(1, 0)), "density .1, 0. must be positive"),
        (lambda: traverse(np.zeros((9, 2)), dwell=0.01, spacing=1.0), "stands still"),
        (lambda: traverse(np.zeros((3, 2)), dwell=0.01, spacing=1.0), "at least 4 points"),
        (lambda: rosette(1, 10, rotations=0), "must be positive"),
        (lambda: kooshball(10, 8, interleaves=3), "do not divide"),
        (lambda: kooshball(10, 8, order="golden", interleaves=2), "leave it 1"),
        (lambda: kooshball(10, 8, order="random"), "'phyllotaxis' or 'golden'"),
        (lambda: stack(radial(2, 4)[0], 4), "give .shots, samples, 2."),
        (lambda: check_limits(radial(2, 8), dwell=0, spacing=1.0), "dwell 0 ms"),
        (lambda: check_limits(radial(2, 8), dwell=1, spacing=(1.0, 1.0, 1.0)), "does not fit 2 axes"),
        (lambda: check_limits(np.zeros(4), dwell=1, spacing=1.0), "give .shots, samples, ndim."),
        (lambda: Hardware(0, 100), "must be positive"),
    ],
)
def test_bad_input_is_one_line_with_a_cure(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
