"""What single solvers promise beyond the table: falling objectives, kept counts, refusals, equivalences."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pytest
from tests.recon.solvers import minimisers
from tests.recon.solvers.minimisers import Dense
from tests.recon.solvers.table import A, problem, true_image

from rayfold.operators import Gaussian, LinearOperator, Poisson, PoissonTransmission
from rayfold.operators.calculus import Diagonal
from rayfold.recon.priors import TV, HuberTV
from rayfold.recon.problem import Problem
from rayfold.recon.solvers import CGLS, SIRT, run
from rayfold.recon.solvers.cg import CG
from rayfold.recon.solvers.descend import by_scipy, by_torch
from rayfold.recon.solvers.landweber import Landweber
from rayfold.recon.solvers.lbfgs import LBFGS
from rayfold.recon.solvers.lsqr import LSQR
from rayfold.recon.solvers.mlem import MLEM
from rayfold.recon.solvers.os_sqs import OSSQS
from rayfold.recon.solvers.sart import SART
from rayfold.recon.solvers.subsets import order
from rayfold.recon.solvers.surrogates import optimal_curvature

HUBER = HuberTV(0.5, 0.2)


def objectives(solver, given, n) -> list[float]:
    seen: list[float] = []
    run(solver, given, n, callback=lambda status: seen.append(status.objective))
    return seen


@pytest.mark.parametrize(
    ("solver", "kind"),
    [
        (CG(), "weighted"),
        (LSQR(0.7), "weighted"),
        (Landweber(HUBER, lower=0.0), "weighted"),
        (OSSQS(HUBER, 1, momentum=False), "weighted"),
        (OSSQS(HuberTV(20.0, 0.2), 1, momentum=False, likelihood="poisson", lower=0.0), "transmission"),
        (OSSQS(HUBER, 12), "weighted"),  # three rays of weights a hundredfold apart: subsets that disagree
        (MLEM(), "emission"),
        (MLEM(prior=HuberTV(0.1, 5.0)), "emission"),
        (LBFGS(HUBER, inner=2), "weighted"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_the_objective_never_rises(solver, kind):
    seen = objectives(solver, problem(kind)[0], 60)
    assert all(later <= earlier + 1e-12 * abs(seen[0]) for earlier, later in pairwise(seen))
    assert seen[-1] < 0.9 * seen[0]


# --- Krylov methods ---


@pytest.mark.parametrize("solver", [CG, LSQR])
@pytest.mark.parametrize("damping", [0.0, 0.7])
def test_iterates_are_those_of_cgls(solver, damping):
    given, _ = problem("weighted")
    x0 = np.random.default_rng(5).random(A.in_shape)
    for n in (1, 3, 5):
        found, expected = run(solver(damping), given, n, x0=x0), run(CGLS(damping), given, n, x0=x0)
        np.testing.assert_allclose(found.x, expected.x, rtol=1e-9)
        assert found.state.residual == pytest.approx(expected.state.residual, rel=1e-9)


@dataclass(frozen=True)
class OnlyGram(LinearOperator):
    """An operator that counts how it is applied."""

    op: LinearOperator
    counts: list[str]

    in_shape = property(lambda self: self.op.in_shape)
    out_shape = property(lambda self: self.op.out_shape)
    gram = property(lambda self: self.op.gram)
    __hash__ = object.__hash__

    def apply(self, x, out, *, adjoint, **operands):
        self.counts.append("A.H" if adjoint else "A")
        out[...] = self.op.H(x) if adjoint else self.op(x)


@pytest.mark.parametrize("noise", [None, Gaussian(0.3)])
def test_cg_applies_the_gram_alone(noise):
    given, _ = problem("plain")
    counting = OnlyGram(A, [])
    solver, own = CG(), given._replace(A=counting, noise=noise)
    state = solver.init(own)
    del counting.counts[:]
    for _ in range(30):
        state = solver.step(own, state)
    assert not counting.counts
    np.testing.assert_allclose(state.x, run(CGLS(), given, 30).x, rtol=1e-9)


@pytest.mark.parametrize("solver", [CG(), LSQR(), Landweber(), LBFGS(), LSQR(0.0)])
def test_correlated_noise(solver):
    rng = np.random.default_rng(2)
    factor = np.eye(9) + 0.3 * rng.standard_normal((9, 9))
    given = problem("plain")[0]._replace(noise=Gaussian(covariance=factor @ factor.T))
    W = np.kron(np.eye(12), np.linalg.inv(factor @ factor.T))
    M = A.dense()
    expected = np.linalg.solve(M.T @ W @ M, M.T @ W @ given.y.ravel())
    n = 30000 if isinstance(solver, Landweber) else 40
    np.testing.assert_allclose(run(solver, given, n).x.ravel(), expected, rtol=1e-6)


@pytest.mark.parametrize("solver", [CG(), LSQR(), Landweber(), LBFGS(), OSSQS(subsets=3)])
@pytest.mark.parametrize("library", ["numpy", "torch", "jax"])
def test_complex_images(solver, library):
    rng = np.random.default_rng(2)
    d = (1 + rng.random(9)) * np.exp(6j * rng.random(9))
    x = rng.standard_normal(9) + 1j * rng.standard_normal(9)
    y = d * x
    if library == "torch":
        y = pytest.importorskip("torch").as_tensor(y)
    if library == "jax":
        jax = pytest.importorskip("jax")
        with jax.enable_x64():
            found = run(solver, Problem(Diagonal((9,), d), jax.numpy.asarray(y)), 60)
    else:
        found = run(solver, Problem(Diagonal((9,), d), y), 60)
    np.testing.assert_allclose(np.asarray(found.x), x, atol=1e-6)


# --- subsets ---


@pytest.mark.parametrize("n", [1, 2, 7, 16, 30])
def test_subsets_are_visited_once(n):
    assert sorted(order(n)) == list(range(n))


def test_sart_of_one_subset_is_sirt():
    given, _ = problem("weighted")
    np.testing.assert_array_equal(run(SART(1), given, 9).x, run(SIRT(), given, 9).x)


@pytest.mark.parametrize(("many", "one"), [(SART(6), SIRT()), (MLEM(6), MLEM()), (OSSQS(None, 6), OSSQS())])
def test_subsets_are_faster_at_first(many, one):
    kind = "emission" if isinstance(one, MLEM) else "plain"
    one = one if not isinstance(one, OSSQS) else replace(one, subsets=1)
    given, _ = problem(kind, consistent=True)
    exact = true_image(kind)
    far = [np.linalg.norm(run(solver, given, 4).x - exact) for solver in (many, one)]
    assert far[0] < 0.5 * far[1]


@pytest.mark.parametrize("solver", [SART(13), OSSQS(subsets=13), MLEM(13)])
def test_more_subsets_than_views(solver):
    given, _ = problem("emission" if isinstance(solver, MLEM) else "plain")
    with pytest.raises(ValueError, match="subsets is 13, the data have 12 views"):
        run(solver, given, 1)


def test_subsets_of_views_correlated_with_each_other():
    given = problem("plain")[0]._replace(noise=Gaussian(covariance=np.eye(12) + 0.1, axis=-2))
    with pytest.raises(ValueError, match="correlated from view to view"):
        run(OSSQS(), given, 1)
    assert np.isfinite(run(OSSQS(subsets=1), given, 3).x).all()


def test_all_subsets_and_one_agree_in_the_end():
    given, _ = problem("weighted")
    near = run(OSSQS(HUBER, 4, lower=0.0), given, 50).x
    exact = minimisers.smooth(0.5, 0.2, 0.0)(Dense.of(given)).reshape(A.in_shape)
    found = run(OSSQS(HUBER, 1, lower=0.0), given, 300, x0=near).x
    np.testing.assert_allclose(found, exact, atol=1e-6)


# --- counts ---


def test_mlem_keeps_counts():
    given, _ = problem("emission")
    found = run(MLEM(), given, 7)
    assert A(found.x).sum() == pytest.approx(given.y.sum(), rel=1e-12) and found.x.min() >= 0


@pytest.mark.parametrize("subsets", [1, 4])
@pytest.mark.parametrize("background", [30.0, np.linspace(5.0, 50.0, 9), np.full((12, 9), 20.0)])
def test_mlem_knows_the_background(subsets, background):
    given, _ = problem("emission", consistent=True)
    given = given._replace(y=given.y + background, noise=Poisson(background))
    np.testing.assert_allclose(run(MLEM(subsets), given, 4000).x, true_image("emission"), rtol=1e-3)


def test_mlem_refuses_what_is_not_counts():
    given, _ = problem("emission")
    with pytest.raises(ValueError, match="MLEM is for counts with Poisson noise, got Gaussian"):
        run(MLEM(), given._replace(noise=Gaussian(1.0)), 1)
    with pytest.raises(ValueError, match="takes counts and the data hold negative ones"):
        run(MLEM(), given._replace(y=-given.y), 1)
    with pytest.raises(ValueError, match="operator without negative entries"):
        run(MLEM(), given._replace(A=-A), 1)
    with pytest.raises(ValueError, match="x0 holds negative values"):
        run(MLEM(), given, 1, x0=-np.ones(A.in_shape))


def test_mlem_leaves_pixels_out_of_sight():
    blind = Diagonal((3,), np.array([1.0, 0.0, 2.0]))
    found = run(MLEM(), Problem(blind, np.array([3.0, 0.0, 4.0]), Poisson()), 5, x0=np.full(3, 9.0))
    np.testing.assert_allclose(found.x, [3.0, 9.0, 2.0])


@pytest.mark.parametrize("electronic", [0.0, 3.0, 60.0])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_curvature_never_underestimates(electronic, dtype):
    noise = PoissonTransmission(1e3, electronic)
    p = np.linspace(0, 6, 301)[:, None]
    q, y = np.linspace(0, 8, 200)[None, :], np.full((1, 1), 1.5)
    c = optimal_curvature(noise, p.astype(dtype), y.astype(dtype)).astype(float)
    assert c.shape == p.shape and (c >= 0).all()

    def h(at):
        return -noise.log_likelihood(at, y)

    bowl = h(p) - noise.gradient(p, y) * (q - p) + c / 2 * (q - p) ** 2
    assert (bowl - h(q)).min() > -1e-7 * 1e3 * (10 if dtype is np.float32 else 1)
    touching = abs(bowl - h(q))[:, 0]  # at q = 0 the smallest curvature touches
    assert touching[c[:, 0] > 0].max() < 1e-3 * 1e3


# --- L-BFGS ---


def test_lbfgs_within_bounds():
    given, _ = problem("weighted")
    exact = minimisers.bounded(0.5, 0.9)(Dense.of(given)).reshape(A.in_shape)
    np.testing.assert_allclose(run(LBFGS(lower=0.5, upper=0.9), given, 10).x, exact, atol=1e-6)
    torch = pytest.importorskip("torch")
    with pytest.raises(ValueError, match="L-BFGS of torch has no bounds"):
        run(LBFGS(lower=0.0), Problem(A, torch.as_tensor(given.y)), 1)


def test_lbfgs_lends_arrays_to_torch():
    """The way of CuPy, with NumPy's arrays: both speak DLPack."""
    pytest.importorskip("torch")
    given, _ = problem("weighted")
    solver, x = LBFGS(HUBER), np.zeros(A.in_shape)
    for _ in range(5):
        x = by_torch(solver._descent(given, x), 20, 10)
        assert type(x) is np.ndarray and x.dtype == np.float64
    exact = minimisers.smooth(0.5, 0.2)(Dense.of(given)).reshape(A.in_shape)
    np.testing.assert_allclose(x, exact, atol=1e-6)
    np.testing.assert_array_equal(by_scipy(LBFGS()._descent(given._replace(y=0 * given.y), 0 * x), 20, 10), 0)


def test_weighted_least_squares_of_counts():
    given, _ = problem("transmission")
    found = run(LBFGS(likelihood="wls"), given, 10).x
    np.testing.assert_allclose(found, run(CGLS(), given, 40).x, rtol=1e-6)


# --- settings ---


@pytest.mark.parametrize("solver", [Landweber, OSSQS, LBFGS])
def test_a_prior_without_gradient(solver):
    with pytest.raises(ValueError, match=f"{solver.__name__} follows gradients and TV has none; use PDHG"):
        solver(TV(1.0))
    with pytest.raises(ValueError, match="lower must not exceed upper"):
        solver(lower=1.0, upper=0.0)


def test_wrong_settings():
    for wrong, message in [
        (lambda: CG(-1.0), "damping is -1"),
        (lambda: LSQR(-1.0), "damping is -1"),
        (lambda: Landweber(step_size=2.0), "between 0 and 2"),
        (lambda: SART(0), "subsets is 0"),
        (lambda: SART(relaxation=2.0), "between 0 and 2"),
        (lambda: MLEM(0), "subsets is 0"),
        (lambda: OSSQS(likelihood="ml"), "give 'wls' or 'poisson'"),
        (lambda: OSSQS(likelihood="poisson"), "lower=0"),
        (lambda: LBFGS(inner=0), "inner is 0"),
        (lambda: LBFGS(likelihood="ml"), "give 'noise' or 'wls'"),
    ]:
        with pytest.raises(ValueError, match=message):
            wrong()
    with pytest.raises(ValueError, match="is for PoissonTransmission noise, got Gaussian"):
        run(OSSQS(likelihood="poisson", lower=0.0), problem("weighted")[0], 1)
    with pytest.raises(ValueError, match="SART needs an operator without negative entries"):
        run(SART(), problem("plain")[0]._replace(A=-A), 1)
