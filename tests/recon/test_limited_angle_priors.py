"""Penalties for limited angles: total variation along one direction, and an image of two levels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfold.operators import Identity
from rayfold.recon import Problem
from rayfold.recon.priors import TV
from rayfold.recon.priors.directional import DirectionalTV
from rayfold.recon.priors.two_level import TwoLevel
from rayfold.recon.solvers import run
from rayfold.recon.solvers.pdhg import PDHG

RNG = np.random.default_rng(0)


def libraries():
    torch = pytest.importorskip("torch")
    jnp = pytest.importorskip("jax.numpy")
    return [torch.asarray, jnp.asarray]


# --- total variation along one direction ---


@pytest.mark.parametrize("angle", [0.0, 0.7, math.pi / 2, 2.5, -0.3])
def test_a_ramp_costs_its_slope_along_the_direction(angle):
    y, x = np.indices((24, 30), float)
    for toward in (0.0, angle, angle + math.pi / 2):
        ramp = math.cos(toward) * x + math.sin(toward) * y
        inside = DirectionalTV(2.0, angle).analyse(ramp, None)[..., :-1, :-1]
        np.testing.assert_allclose(inside, math.cos(angle - toward), atol=1e-12)


def test_along_an_axis_it_is_the_variation_of_that_axis():
    image = RNG.normal(size=(2, 9, 8))
    across = DirectionalTV(1.5, 0.0).value(image)
    np.testing.assert_allclose(across, 1.5 * np.abs(np.diff(image, axis=-1)).sum(axis=(-1, -2)))
    down = DirectionalTV(1.5, math.pi / 2, spacing=(0.5, 2.0)).value(image)
    np.testing.assert_allclose(down, 1.5 * np.abs(np.diff(image, axis=-2) / 0.5).sum(axis=(-1, -2)))


@pytest.mark.parametrize("shape", [(7, 9), (1, 9), (3, 7, 1), (2, 3, 6, 5)])
def test_its_operator_has_an_adjoint_and_a_bounded_norm(shape):
    prior = DirectionalTV(1.0, 0.6, spacing=(0.7, 1.3))
    x = RNG.normal(size=shape)
    z = RNG.normal(size=prior.analyse(x, None).shape)
    back, auxiliary = prior.synthesise(z, x)
    assert auxiliary is None and back.shape == x.shape
    assert np.vdot(prior.analyse(x, None), z) == pytest.approx(np.vdot(x, back), rel=1e-12)
    flat = np.eye(math.prod(shape[-2:])).reshape(-1, *shape[-2:])
    norm = np.linalg.norm(prior.analyse(flat, None).reshape(len(flat), -1), 2)
    assert norm**2 <= prior.squared_norm(x) * (1 + 1e-12)


def test_the_norm_bound_is_tight_for_large_images():
    prior = DirectionalTV(1.0, 0.6)
    flat = np.eye(400).reshape(-1, 20, 20)
    norm = np.linalg.norm(prior.analyse(flat, None).reshape(400, -1), 2)
    assert norm**2 > 0.95 * prior.squared_norm(flat)


def test_denoising_meets_the_optimality_condition():
    """x - y + K.H z = 0 with |z| <= strength and z in line with K x."""
    y = RNG.normal(size=(12, 11))
    prior = DirectionalTV(0.3, 1.1)
    solution = run(PDHG(prior), Problem(Identity(y.shape), y), 1500)
    z = solution.state.z[0]
    np.testing.assert_allclose(solution.x - y + prior.synthesise(z, y)[0], 0, atol=1e-6)
    assert np.abs(z).max() <= 0.3 * (1 + 1e-9)
    gap = float(prior.value(solution.x)) - float((z * prior.analyse(solution.x, None)).sum())
    assert abs(gap) < 1e-5 * float(prior.value(y))
    better = prior.prox(y, 1.0)

    def objective(x):
        return 0.5 * float(((x - y) ** 2).sum()) + float(prior.value(x))

    assert objective(better) == pytest.approx(objective(solution.x), rel=1e-3)


@pytest.mark.parametrize("strength", [0.1, 100.0])
def test_edges_along_the_direction_cost_nothing(strength):
    stripes = np.repeat(RNG.normal(size=(9, 1)), 8, axis=1)  # constant along x
    prior = DirectionalTV(strength, 0.0)
    np.testing.assert_allclose(prior.prox(stripes, 1.0), stripes, atol=1e-12)
    shrunk = prior.prox(stripes.T, 1.0)
    assert np.ptp(shrunk) < np.ptp(stripes) and shrunk.mean() == pytest.approx(stripes.mean())


def test_directions_in_every_library():
    image = RNG.normal(size=(2, 8, 9)).astype(np.float32)
    prior = DirectionalTV(0.4, 0.9)
    expected, value = prior.prox(image, 0.5), prior.value(image)
    assert expected.dtype == np.float32
    for convert in libraries():
        found = prior.prox(convert(image), 0.5)
        assert type(found) is type(convert(image))
        np.testing.assert_allclose(np.asarray(found), expected, atol=1e-5)
        np.testing.assert_allclose(np.asarray(prior.value(convert(image))), value, rtol=1e-5)


def test_bad_directional_input_is_refused():
    with pytest.raises(ValueError, match="strength is 0"):
        DirectionalTV(0, 0.0)
    with pytest.raises(ValueError, match="images of 2 axes"):
        DirectionalTV(1.0, 0.0).value(np.ones(4))


# --- two levels ---


@given(
    x=st.floats(-2, 3),
    rate=st.floats(0, 2).filter(lambda r: abs(r - 0.5) > 1e-3),
    low=st.floats(-1, 0.4),
    width=st.floats(0, 1.5),
)
def test_the_exact_proximal_point_is_the_best_of_a_fine_grid(x, rate, low, width):
    prior = TwoLevel(rate, low, low + width)

    def objective(z):
        return 0.5 * (z - x) ** 2 + rate * (z - low) * (low + width - z)

    found = float(prior.prox(np.array([x]), 1.0)[0])
    assert low - 1e-12 <= found <= low + width + 1e-12
    assert objective(found) <= objective(np.linspace(low, low + width, 301)).min() + 1e-9


def test_tangents_bound_the_penalty_and_touch_it():
    """A step against the tangent never raises the penalty plus the distance."""
    at, x = RNG.random((2, 6, 6))
    prior = TwoLevel(0.7)
    tangent = prior.value(at[None])[0] + 0.7 * ((1 - 2 * at) * (x - at)).sum()
    assert tangent >= prior.value(x[None])[0]
    moved = prior.around(at).prox(at, 0.3)
    np.testing.assert_allclose(moved, np.clip(at - 0.3 * 0.7 * (1 - 2 * at), 0, 1))
    assert prior.value(moved[None])[0] <= prior.value(at[None])[0]


def test_the_penalty_vanishes_at_the_levels_only():
    levels = RNG.integers(0, 2, (3, 4, 5)).astype(float)
    prior = TwoLevel(2.0)
    np.testing.assert_array_equal(prior.value(levels), 0)
    assert (prior.value(0.9 * levels + 0.05) > 0).all()
    assert np.isinf(prior.value(levels + 0.5)).all()


def test_levels_may_differ_from_pixel_to_pixel():
    lower, upper = np.array([[0.0, 1.0, 0.0]]), np.array([[1.0, 1.0, 0.0]])
    prior = TwoLevel(0.0, lower, upper)
    np.testing.assert_array_equal(prior.prox(np.full((1, 3), 0.4), 1.0), [[0.4, 1.0, 0.0]])


def test_levels_in_every_library():
    image = RNG.normal(size=(2, 4, 5)).astype(np.float32)
    for prior in (TwoLevel(0.3), TwoLevel(0.8, -0.5, 0.5), TwoLevel(0.2).around(image)):
        expected = prior.prox(image, 0.9)
        assert expected.dtype == np.float32
        for convert in libraries():
            same = prior if prior.at is None else prior.around(convert(image))
            found = same.prox(convert(image), 0.9)
            assert type(found) is type(convert(image))
            np.testing.assert_allclose(np.asarray(found), expected, atol=1e-6)


def test_pulled_slowly_a_grey_reconstruction_becomes_two_levels():
    """Few views of a disc: the pull leaves less grey and comes nearer to the truth."""
    from rayfold.operators import ParallelBeam, Volume, XRay

    n = 32
    y, x = np.indices((n, n)) - (n - 1) / 2
    truth = (np.hypot(x, y) < 12) & (np.hypot(x - 3, y + 2) > 4)
    A = XRay(Volume((n, n)), ParallelBeam.evenly(5, 48))
    problem = Problem(A, A(truth.astype(np.float32)))
    solver = PDHG((TV(0.2), TwoLevel(0.0)))
    state = solver.init(problem)
    for _ in range(400):
        state = solver.step(problem, state)
    convex = state.x
    for pull in (0.02, 0.05, 0.1, 0.2):
        solver = PDHG((TV(0.2), TwoLevel(pull).around(state.x)))
        for _ in range(100):
            state = solver.step(problem, state)

    def grey(image):
        return float((image * (1 - image)).sum())

    assert grey(state.x) < 0.5 * grey(convex)
    assert np.abs(state.x - truth).sum() < 0.8 * np.abs(convex - truth).sum()


def test_bad_levels_are_refused():
    with pytest.raises(ValueError, match="strength is -1"):
        TwoLevel(-1.0)
    with pytest.raises(ValueError, match="lower is 2"):
        TwoLevel(1.0, 2.0, 1.0)
    with pytest.raises(ValueError, match="real image"):
        TwoLevel(1.0).prox(np.ones((2, 2), complex), 1.0)
