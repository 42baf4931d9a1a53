"""Density weights: areas, identity of ``A.H W A``, agreement of independent ways to the same number."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rayfold.operators import NUFFT
from rayfold.recon.trajectories import (
    correct_trajectory,
    kooshball,
    pipe_menon,
    radial,
    radial_weights,
    rosette,
    spiral,
    spiral_weights,
    stack,
    stack_of_stars,
    voronoi_weights,
)

N = 32


def disc(n):
    r = np.hypot(*(np.mgrid[:n, :n] - n // 2))
    return 1 / (1 + np.exp((r - 0.3 * n) / 1.2))


def ball(n):
    square = sum((np.mgrid[:n, :n, :n] - n // 2) ** 2)
    return np.exp(-square / (2 * (n / 7) ** 2))


def error(k, w, x):
    a = NUFFT(x.shape, k.reshape(-1, k.shape[-1]))
    y = a.H(w.ravel() * a(x.astype(np.complex128)))
    return np.linalg.norm(y - x) / np.linalg.norm(x)


def cartesian(ny, nx):
    y, x = ((np.arange(n) - n // 2) * 2 * math.pi / n for n in (ny, nx))
    return np.stack(np.meshgrid(y, x, indexing="ij"), axis=-1)


SPOKES = {
    "even": radial(55, 2 * N),
    "golden": radial(60, 2 * N, golden=1),
    "tiny": radial(75, 2 * N + 1, golden=7),
    "uneven": radial(89, 2 * N, golden=1)[:70],
    "delayed": correct_trajectory(radial(55, 2 * N), 0.5 * np.eye(2)),
    "delayed a third": correct_trajectory(radial(55, 2 * N), 0.3 * np.eye(2)),
}


@pytest.mark.parametrize("name", SPOKES)
def test_radial_weights_invert(name):
    w = radial_weights(SPOKES[name], (N, N))
    assert error(SPOKES[name], w, disc(N)) < 1e-3
    assert (w > 0).all()


@pytest.mark.parametrize("n", [31, 32])
def test_pipe_menon_inverts_any_trajectory(n):
    for k in (SPOKES["golden"], spiral(8, n, field_of_view=200.0, density=(2.0, 1.1)), cartesian(n, n)):
        w = pipe_menon(k, (n, n))
        assert w.shape == k.shape[:2] and (w > 0).all()
        assert error(k, w, disc(n)) < 0.01


def test_pipe_menon_solves_the_normal_equation_of_the_nearest_identity():
    """sum_j |<a_i, a_j>|^2 w_j = 1, with the rows of A written out."""
    n = (6, 7)
    k = radial(12, 14, golden=1)
    y, x = (np.arange(m) - m // 2 for m in n)
    rows = np.exp(
        -1j * (k.reshape(-1, 2) @ np.stack(np.meshgrid(y, x, indexing="ij")).reshape(2, -1))
    ) / math.sqrt(42)
    kernel = np.abs(rows @ rows.conj().T) ** 2
    w = pipe_menon(k, n, iterations=400).ravel()
    held = w > 1e-3 * w.max()  # weights that go to zero are where the condition is an inequality
    np.testing.assert_allclose((kernel @ w)[held], 1, atol=0.02)
    once = pipe_menon(k, n, iterations=1).ravel()
    np.testing.assert_allclose(once, 1 / kernel.sum(axis=1), rtol=1e-4)


def test_spiral_weights_invert():
    k = spiral(16, N, field_of_view=200.0, density=(2.0, 1.2))
    w = spiral_weights(k, (N, N))
    assert error(k, w, disc(N)) < 0.01
    np.testing.assert_allclose(w.sum(), N**2 * math.pi / 4, rtol=0.01)


def test_voronoi_inverts():
    k = radial(55, 4 * N, golden=1)
    assert error(k, voronoi_weights(k, (N, N)), disc(N)) < 0.02
    k = spiral(16, N, field_of_view=200.0, density=2.0)
    assert error(k, voronoi_weights(k, (N, N)), disc(N)) < 0.02


@pytest.mark.parametrize("name", ["even", "golden", "tiny"])
def test_voronoi_is_analytic_on_spokes(name):
    k = SPOKES[name]
    v, a = voronoi_weights(k, (N, N)), radial_weights(k, (N, N))
    away = np.linalg.norm(k, axis=-1) > 2.5 * math.pi / N
    np.testing.assert_allclose(v[away], a[away], rtol=0.04)
    np.testing.assert_allclose(v.sum(), N**2 * math.pi / 4, rtol=0.015)  # of the disc in the square


def test_voronoi_is_analytic_on_spirals():
    k = spiral(12, N, field_of_view=200.0)
    v, a = voronoi_weights(k, (N, N)), spiral_weights(k, (N, N))
    np.testing.assert_allclose(v.sum(), a.sum(), rtol=0.005)
    r = np.linalg.norm(k, axis=-1) / math.pi
    np.testing.assert_allclose(v[(r > 0.3) & (r < 0.9)], a[(r > 0.3) & (r < 0.9)], rtol=0.01)
    assert v.max() < 1.2 * a.max()  # the border's cells are no larger than their neighbours


@pytest.mark.parametrize("shape", [(8, 8), (7, 10)])
def test_voronoi_of_a_grid_is_one_and_duplicates_share(shape):
    k = cartesian(*shape)
    np.testing.assert_allclose(voronoi_weights(k, shape), 1, atol=1e-4)
    twice = np.concatenate([k, k, k[:2]])
    w = voronoi_weights(twice, shape)
    np.testing.assert_allclose(w[2 : shape[0]], 0.5, atol=1e-4)
    np.testing.assert_allclose(w[:2], 1 / 3, atol=1e-4)
    np.testing.assert_allclose(w.sum(), math.prod(shape), rtol=1e-4)


def test_voronoi_cells_against_counting_the_nearest_sample():
    """Areas by brute force: which sample is nearest, on a fine grid inside a cloud of random points."""
    from scipy.spatial import cKDTree

    points = np.random.default_rng(0).uniform(-math.pi, math.pi, (120, 2))
    w = voronoi_weights(points[None], (10, 10))[0]
    axis = (np.arange(1500) + 0.5) / 1500 * 2 * math.pi - math.pi
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    count = np.bincount(cKDTree(points).query(grid)[1], minlength=120) / 1500**2 * 100
    inside = np.abs(points).max(axis=1) < 0.6 * math.pi
    np.testing.assert_allclose(w[inside], count[inside], rtol=0.01)
    assert abs(w.sum() - 100) < 8  # the border of a cloud is anyone's guess, but not far away


def test_weights_of_volumes():
    n = 12
    k = kooshball(600, 2 * n)
    w = radial_weights(k, (n, n, n))
    assert error(k, w, ball(n)) < 0.01
    np.testing.assert_allclose(w.sum(), n**3 * math.pi / 6, rtol=0.01)
    stars = stack_of_stars(30, 2 * n, n, golden=1)
    v = voronoi_weights(stars, (n, n, n))
    plane = voronoi_weights(radial(30, 2 * n, golden=1), (n, n))
    np.testing.assert_allclose(v.reshape(n, 30, -1), np.broadcast_to(plane, (n, 30, 2 * n)), rtol=1e-6)
    assert error(stars, pipe_menon(stars, (n, n, n), iterations=10), ball(n)) < 0.01


def test_point_spread_has_its_peak_at_the_origin_and_the_height_of_the_measured_share():
    k = SPOKES["golden"]
    for make in (radial_weights, pipe_menon, voronoi_weights):
        w = make(k, (N, N))
        point = np.zeros((N, N), complex)
        point[N // 2, N // 2] = 1
        a = NUFFT((N, N), k.reshape(-1, 2))
        spread = a.H(w.ravel() * a(point))
        assert np.argmax(np.abs(spread)) == N // 2 * N + N // 2
        np.testing.assert_allclose(spread[N // 2, N // 2], w.sum() / N**2, rtol=1e-4)
        near = np.abs(spread[N // 2 - 3 : N // 2 + 4, N // 2 - 3 : N // 2 + 4])
        assert np.abs(spread).sum() - near.sum() < 4 * near.sum()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: radial_weights(rosette(2, 50), (8, 8)), "voronoi_weights takes any"),
        (lambda: radial_weights(stack(radial(4, 8), 4), (4, 8, 8)), "voronoi_weights takes any"),
        (lambda: radial_weights(radial(4, 8), (8, 8, 8)), "its last axis must be 3"),
        (lambda: radial_weights(radial(4, 1), (8, 8)), "at least two samples"),
        (lambda: pipe_menon(radial(4, 8) * np.nan, (8, 8)), "NaN or infinity; drop"),
        (lambda: pipe_menon(radial(4, 8), (8, 8), iterations=0), "iterations is 0"),
        (lambda: spiral_weights(radial(4, 8), (8, 8)), "radius shrinks"),
        (lambda: spiral_weights(kooshball(4, 8), (8, 8, 8)), "planar spirals"),
        (lambda: voronoi_weights(kooshball(20, 8), (8, 8, 8)), "needs planes in 3D"),
        (lambda: voronoi_weights(radial(1, 8), (8, 8)), "span no plane"),
    ],
)
def test_bad_input_is_one_line_with_a_cure(call, words):
    with pytest.raises(ValueError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)
