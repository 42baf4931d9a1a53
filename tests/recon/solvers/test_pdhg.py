"""PDHG: duality gaps and optimality conditions over strengths, weights, priors and units; its own steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from rayfold.operators import Gaussian, Identity, ParallelBeam, PoissonTransmission, Volume, XRay
from rayfold.operators.calculus import Diagonal
from rayfold.operators.differences import Gradient
from rayfold.recon import Problem
from rayfold.recon.priors import TV, Box, HuberTV, NonNegative
from rayfold.recon.solvers import PDHG, run

N = 16
A = XRay(Volume((N, N), 1.0), ParallelBeam.evenly(12, 24))
GRID = np.indices((N, N)) - (N - 1) / 2
TRUTH = 0.02 * (np.hypot(*GRID) < 6) + 0.01 * (np.hypot(GRID[0] - 1, GRID[1] + 2) < 2.5)
DISC = np.hypot(*GRID) < 7


def data(kind: str, dtype: Any = np.float64) -> Problem:
    """Noisy sinogram of a disc in a disc, with the noise model `kind`."""
    rng = np.random.default_rng(4)
    y = A(TRUTH)
    if kind == "transmission":
        noise = PoissonTransmission(3e3, electronic=4.0)
        return Problem(A, noise.sample(y, 1).astype(dtype), noise)
    sigma = 0.003 * np.exp(rng.normal(0, 0.4, y.shape))
    noisy = (y + sigma * rng.standard_normal(y.shape)).astype(dtype)
    return Problem(A, noisy, Gaussian(sigma.astype(dtype)) if kind == "weighted" else None)


@dataclass(frozen=True)
class Gap:
    """Primal and dual value at the last state, the latter minus what its infeasibility may be worth."""

    primal: float
    dual: float

    @property
    def relative(self) -> float:
        return (self.primal - self.dual) / self.primal


def gap(problem: Problem, state: Any, strength: float, lower: float, upper: float) -> Gap:
    """Of ``D(x) + strength TV(x)`` over images between bounds (a box that holds the solution when free)."""
    K = Gradient(problem.A.in_shape)
    x, q, z = state.x, state.q, state.z[0]
    r = problem.A(x) - problem.y
    w = problem.weigh(np.ones_like(r))
    primal = float((r * w * r).sum() / 2) + float(TV(strength).value(x))
    length = np.sqrt((z**2).sum(axis=0))
    z = z * (strength / np.maximum(length, strength))  # over-relaxed, hence a little outside
    force = problem.A.H(q) + K.H(z)
    support = np.maximum(-force * lower, -force * upper).sum()
    return Gap(primal, float(-(q * q / w).sum() / 2 - (q * problem.y).sum() - support))


@pytest.mark.parametrize("kind", ["plain", "weighted", "transmission"])
@pytest.mark.parametrize("power", [-1, 0, 1, 2, 3])
def test_duality_gap_closes_over_four_decades(kind, power):
    problem = data(kind)
    typical = float(np.sqrt(np.median(problem.weigh(np.ones_like(problem.y)))))
    strength = 10.0**power * typical * (0.01 if kind == "plain" else 1.0)
    state = run(PDHG(TV(strength)), problem, 4000).state
    found = gap(problem, state, strength, -0.1, 0.1)
    assert abs(state.x).max() < 0.1
    assert -1e-10 < found.relative < 1e-4


@pytest.mark.parametrize("upper", [None, 0.015])
def test_duality_gap_with_bounds(upper):
    problem = data("weighted")
    prior = NonNegative() if upper is None else Box(0.0, upper)
    state = run(PDHG((TV(30.0), prior)), problem, 4000).state
    found = gap(problem, state, 30.0, 0.0, 0.1 if upper is None else upper)
    assert -1e-10 < found.relative < 1e-5
    assert state.x.min() == 0.0 and state.x.max() <= (1.0 if upper is None else upper)


def test_conditions_of_karush_kuhn_and_tucker():
    """TV, bounds and a support: force balance inside, one-sided at bounds, duals along gradients."""
    problem, strength = data("weighted"), 20.0
    state = run(PDHG((TV(strength), Box(0.0, 0.025, DISC))), problem, 6000).state
    x, q, z = state.x, state.q, state.z[0]
    K = Gradient((N, N))
    size = abs(A.H(problem.weigh(problem.y))).max()
    force = (A.H(q) + K.H(z)) / size
    np.testing.assert_allclose(q, problem.weigh(A(x) - problem.y), atol=1e-4 * abs(q).max())
    assert not x[~DISC].any() and x.min() >= 0 and x.max() <= 0.025
    low, high = DISC & (x <= 0), DISC & (x >= 0.025)
    assert low.any() and high.any()
    assert abs(force[DISC & ~low & ~high]).max() < 1e-4
    assert force[low].min() > -1e-4 and force[high].max() < 1e-4
    g = K(x)
    length = np.sqrt((g**2).sum(axis=0))
    steep = length > 1e-3 * length.max()
    np.testing.assert_allclose(
        (z * length)[:, steep], strength * g[:, steep], atol=1e-3 * strength * length.max()
    )
    assert np.sqrt((z**2).sum(axis=0)).max() <= strength * (1 + 1e-6)


def test_solution_of_one_edge():
    """Two flat halves: total variation moves each mean towards the other by strength over its width."""
    y = np.where(np.arange(12) < 4, 0.0, 1.0)[None] * np.ones((5, 1))
    found = run(PDHG(TV(0.6)), Problem(Identity((5, 12)), y), 3000).x
    expected = np.where(np.arange(12) < 4, 0.6 / 4, 1 - 0.6 / 8)[None] * np.ones((5, 1))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_volume():
    """Flat layers along the first axis of a volume, each measured with its own gain."""
    gains = np.full((6, 3, 4), 2.0)
    y = 2.0 * np.where(np.arange(6) < 2, 0.0, 1.0)[:, None, None] * np.ones((1, 3, 4))
    found = run(PDHG(TV(0.8, ndim=3)), Problem(Diagonal((6, 3, 4), gains), y), 3000).x
    low, high = 0.8 / (4 * 2), 1 - 0.8 / (4 * 4)
    expected = np.where(np.arange(6) < 2, low, high)[:, None, None] * np.ones((1, 3, 4))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_converges_in_the_steps_it_is_known_for():
    """A hundred steps from zero to 1 % above the optimum at useful strengths, whatever the noise model."""
    for kind, strength in (("plain", 0.01), ("weighted", 1000.0), ("transmission", 150.0)):
        problem = data(kind)
        values: list[float] = []
        run(PDHG(TV(strength)), problem, 100, callback=lambda s, v=values: v.append(s.objective))
        least = gap(problem, run(PDHG(TV(strength)), problem, 4000).state, strength, -0.1, 0.1).primal
        assert values[-1] < 1.01 * least


@pytest.mark.parametrize("prior", [TV(0.02), HuberTV(0.02, 0.002), (TV(0.02), NonNegative())])
def test_batch_is_a_loop_even_for_problems_of_other_sizes(prior):
    """Steps are found per problem: a bright neighbour changes nothing."""
    given = data("plain")
    y = np.stack([given.y, 1e3 * given.y, np.zeros_like(given.y), given.y[::-1]])
    found = run(PDHG(prior), given._replace(y=y), 50)
    for i in range(4):
        one = run(PDHG(prior), given._replace(y=y[i]), 50)
        np.testing.assert_allclose(found.x[i], one.x, rtol=0, atol=1e-12 * abs(y[i]).max())
        assert found.state.beta[i] == pytest.approx(float(one.state.beta), rel=1e-12)
        assert found.state.sigma[0][i] == pytest.approx(float(one.state.sigma[0]), rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_units_of_image_and_data_do_not_matter(dtype):
    """Image times a, data times b, over eight decades each: the same steps to the last but rounding."""
    given = data("plain", dtype)
    strength, unit = 0.02, run(PDHG(TV(0.02)), given, 25).x
    for a in (1e-4, 1e-2, 1e2, 1e4):
        for b in (1e-4, 1e4):
            op = (b / a) * A
            scaled = Problem(op, (b * given.y.astype(np.float64)).astype(dtype))
            found = run(PDHG(TV(strength * b**2 / a)), scaled, 25)
            assert found.x.dtype == dtype and found.state.beta.dtype == dtype
            tolerance = (2e-5 if dtype is np.float32 else 1e-11) * abs(unit).max()
            np.testing.assert_allclose(found.x / a, unit, rtol=0, atol=tolerance)


@pytest.mark.parametrize("prior", [None, TV(0.02), (HuberTV(0.02, 0.002), Box(0.0, 0.03, DISC))])
def test_jit_and_plain_code_agree(prior):
    jax = pytest.importorskip("jax")
    given = data("plain")
    expected = run(PDHG(prior), given, 20)
    with jax.enable_x64():
        solver, y = PDHG(prior), jax.numpy.asarray(given.y)
        state = jax.jit(lambda y: solver.init(Problem(A, y)))(y)
        step = jax.jit(lambda y, state: solver.step(Problem(A, y), state))
        for _ in range(20):
            state = step(y, state)
        np.testing.assert_allclose(np.asarray(state.x), expected.x, rtol=0, atol=1e-10)
        np.testing.assert_allclose(float(state.residual), float(expected.state.residual), rtol=1e-9)


def test_fused_and_plain_steps_agree(monkeypatch):
    from rayfold.recon.priors import fused

    solvers = [PDHG(TV(0.02, spacing=(1.0, 0.7))), PDHG(HuberTV(0.02, 0.002, spacing=(1.3, 1.0)))]
    fast = [run(solver, data("plain"), 30).x for solver in solvers]
    monkeypatch.setattr(fused, "_fits", lambda *_: False)
    for solver, found in zip(solvers, fast, strict=True):
        np.testing.assert_allclose(found, run(solver, data("plain"), 30).x, rtol=0, atol=1e-12)


def test_safe_for_every_balance():
    """The metric of image and duals stays positive whatever the balance."""
    problem, strength = data("weighted"), 3.0
    M = A.dense()
    K = Gradient((N, N)).dense()
    w = problem.weigh(np.ones_like(problem.y)).ravel()
    for balance in (1e-3, 1.0, 1e3):
        state = PDHG(TV(strength), balance=balance).init(problem)
        root = np.sqrt(np.broadcast_to(state.tau, (N, N))).ravel()
        inside = float(state.beta) * (M.T * w) @ M + float(state.sigma[0]) / 8 * K.T @ K
        assert np.linalg.eigvalsh(root[:, None] * inside * root).max() <= 1 + 1e-9


def test_steps_are_finite_without_anything_to_go_by():
    for y in (np.zeros(A.out_shape), A(np.ones((N, N)))):
        state = run(PDHG(TV(0.1)), Problem(A, y), 20).state
        assert np.isfinite(state.x).all() and np.isfinite(state.sigma[0]) and state.sigma[0] > 0


def test_bad_parameters_are_refused():
    with pytest.raises(ValueError, match=r"balance is 0\.0; it must be positive"):
        PDHG(balance=0.0)
    with pytest.raises(ValueError, match=r"step_size is 1\.1; above 1 the method may diverge"):
        PDHG(step_size=1.1)
    with pytest.raises(ValueError, match="relaxation is 2"):
        PDHG(relaxation=2.0)
    with pytest.raises(ValueError, match="keeps one simple prior with the image, got NonNegative, Box"):
        PDHG((NonNegative(), Box(0.0, 1.0)))


def test_slices_of_a_volume_under_a_planar_prior():
    """A batch of volumes with total variation in each slice: as each alone, and in double precision."""
    y = np.random.default_rng(0).random((2, 3, 8, 9)).astype(np.float32)
    whole = Diagonal((3, 8, 9), np.ones((3, 8, 9)))
    for prior in (TV(0.1), HuberTV(0.1, 0.05)):
        found = run(PDHG(prior), Problem(whole, y), 40).x
        for one, image in zip(y, found, strict=True):
            np.testing.assert_allclose(run(PDHG(prior), Problem(whole, one), 40).x, image, atol=1e-6)
        double = run(PDHG(prior), Problem(whole, y.astype(float)), 40).x
        np.testing.assert_allclose(found, double, atol=1e-5)
