"""Total generalised variation: certified from the dual side, and what it is for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import LinearConstraint, linprog, minimize

from rayfold.operators import Identity
from rayfold.operators.differences import Gradient, SymmetricGradient
from rayfold.recon.priors.tgv import TGV
from rayfold.recon.priors.total_variation import TV
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.pdhg import PDHG
from rayfold.recon.solvers.run import run


def length(z: np.ndarray) -> np.ndarray:
    return np.sqrt((z**2).sum(axis=0))


def feasible(prior: TGV, x: np.ndarray, q: np.ndarray) -> np.ndarray:
    """The image part of a dual point that satisfies every constraint, from the tensor part of any."""
    p = SymmetricGradient(x.shape, prior.spacing).H(q)
    over = max(length(p).max() / prior.strength, length(q).max() / (prior.ratio * prior.strength), 1.0)
    return p / over


@pytest.mark.parametrize("step", [0.05, 0.7])
@pytest.mark.parametrize(("shape", "ratio"), [((6, 8), 2.0), ((12, 10), 0.7), ((3, 4, 5), 1.5)])
def test_prox_by_its_duality_gap(rng, step, shape, ratio):
    """The objective at z exceeds a lower bound by little: z is as near as the gap says."""
    prior = TGV(0.3, ratio, len(shape), iterations=3000)
    x = rng.standard_normal(shape) + np.arange(shape[-1])
    z, (p, w) = prior.prox_from(x, step, prior.warm(x))
    G, E = Gradient(shape), SymmetricGradient(shape)
    value = prior.strength * (length(G(z) - w).sum() + ratio * length(E(w)).sum())
    primal = ((z - x) ** 2).sum() / (2 * step) + value
    push = step * G.H(feasible(prior, x, p[len(shape) :]))
    dual = ((x**2).sum() - ((x - push) ** 2).sum()) / (2 * step)
    assert -1e-12 * primal <= primal - dual <= 1e-5 * primal
    assert prior.value(z) == pytest.approx(value, rel=1e-3)


def line(prior: TGV, x: np.ndarray) -> float:
    """Value for one row of pixels: a linear program in w, t >= |Gx - w| and b >= |Ew|."""
    n = x.size
    G = Gradient((1, n)).dense().reshape(2, n, n)[1]
    E = SymmetricGradient((1, n)).dense().reshape(3, n, 2, n)[1, :, 1]
    eye, zero, slope = np.eye(n), np.zeros((n, n)), G @ x
    above = np.block([[-eye, -eye, zero], [eye, -eye, zero], [E, zero, -eye], [-E, zero, -eye]])
    limit = np.concatenate([-slope, slope, np.zeros(2 * n)])
    cost = np.concatenate([np.zeros(n), np.ones(n), prior.ratio * np.ones(n)])
    bounds = [(None, None)] * n + [(0, None)] * 2 * n
    return prior.strength * float(linprog(cost, above, limit, bounds=bounds).fun)


@pytest.mark.parametrize("ratio", [0.5, 2.0, 10.0])
def test_value_of_a_row_is_a_linear_program(rng, ratio):
    for x in (
        np.arange(12.0),
        rng.standard_normal(12),
        np.abs(np.arange(12.0) - 5),
        np.repeat([0.0, 2.0], 6),
    ):
        prior = TGV(0.3, ratio, iterations=8000)
        assert prior.value(x[None]) == pytest.approx(line(prior, x), rel=1e-4)


def test_nothing_is_paid_for_a_slope():
    """Only the last pixel of every row and column, which has no neighbour, bends an affine image."""
    n, across, down = 24, 0.5, 1.5
    ramp = np.add.outer(down * np.arange(float(n)), across * np.arange(float(n)))
    paid = float(TGV(1.0, iterations=1500).value(ramp))
    assert paid <= n * (across + down) and paid < 0.12 * float(TV(1.0).value(ramp))
    # where the field may follow the gradient, the cost is that of the border alone: it does not grow inside
    larger = np.add.outer(down * np.arange(2.0 * n), across * np.arange(2.0 * n))
    assert float(TGV(1.0, iterations=1500).value(larger)) < 2.2 * paid


def test_it_is_total_variation_where_bending_costs_too_much(rng):
    """A large ratio forbids a field that varies; of a flat image with edges the best constant field is 0."""
    x = np.zeros((12, 12))
    x[3:8, 4:9] = 1.0
    assert TGV(0.7, 50.0).value(x) == pytest.approx(float(TV(0.7).value(x)), rel=1e-9)
    for ratio in (0.5, 2.0):
        noise = rng.standard_normal((9, 9))
        assert TGV(1.0, ratio).value(noise) <= TV(1.0).value(noise) * (1 + 1e-12)


def test_pdhg_reaches_the_optimum_of_a_row(rng):
    """Against a quadratic program for x, w and the bounds of both absolute values."""
    n, prior = 8, TGV(0.2, 1.5)
    y = np.abs(np.arange(n) - 3.0) + 0.2 * rng.standard_normal(n)
    G = Gradient((1, n)).dense().reshape(2, n, n)[1]
    E = SymmetricGradient((1, n)).dense().reshape(3, n, 2, n)[1, :, 1]
    eye, zero = np.eye(n), np.zeros((n, n))
    above = np.block(
        [[G, -eye, -eye, zero], [-G, eye, -eye, zero], [zero, E, zero, -eye], [zero, -E, zero, -eye]]
    )
    cost = np.concatenate(
        [np.zeros(2 * n), prior.strength * np.ones(n), prior.strength * prior.ratio * np.ones(n)]
    )

    def objective(v):
        r = v[:n] - y
        return (r @ r) / 2 + cost @ v, np.concatenate([r, np.zeros(3 * n)]) + cost

    start = np.concatenate([y, 0 * y, abs(G @ y), 0 * y])
    limits = LinearConstraint(above, ub=np.zeros(4 * n))
    options = {"maxiter": 500, "ftol": 1e-15}
    best = minimize(objective, start, jac=True, method="SLSQP", constraints=limits, options=options)
    assert best.success
    problem = Problem(Identity((1, n)), y[None])
    found = run(PDHG(prior), problem, 8000).x[0]
    np.testing.assert_allclose(found, best.x[:n], atol=2e-4)
    near = TGV(0.2, 1.5, iterations=8000)
    np.testing.assert_allclose(near.prox(y[None], 1.0)[0], best.x[:n], atol=1e-4)


def test_no_stairs_on_a_ramp(rng):
    """Denoised at the best strength of each, a slope with an edge: fewer errors, and hardly a flat pixel."""
    n = 40
    x = np.add.outer(np.linspace(0, 1, n), np.linspace(0, 2, n))
    x[:, n // 2 :] += 1.0
    y = x + 0.1 * rng.standard_normal(x.shape)

    def best(make):
        tries = [make(s).prox(y, 1.0) for s in (0.05, 0.1, 0.15, 0.2, 0.3)]
        return min(tries, key=lambda z: ((z - x) ** 2).sum())

    flat, sloped = best(lambda s: TV(s, iterations=300)), best(lambda s: TGV(s, iterations=300))

    def error(z):
        return float(np.sqrt(((z - x) ** 2).mean()))

    def stairs(z):  # steps along rows much smaller than the slope
        return float((abs(np.diff(z[:, : n // 2], axis=1)) < 0.2 * (2 / n)).mean())

    assert error(sloped) < 0.7 * error(flat) and stairs(sloped) < 0.3 * stairs(flat)


def test_bad_input():
    with pytest.raises(ValueError, match="strength is -1"):
        TGV(-1.0)
    with pytest.raises(ValueError, match="ratio is 0"):
        TGV(1.0, 0.0)
    with pytest.raises(ValueError, match=r"TGV needs images of 2 axes, got shape \(5,\)"):
        TGV(1.0).value(np.ones(5))
