"""Proximal solvers beyond the table: schedules, denoisers, several priors, costs, and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from tests.recon.solvers import minimisers
from tests.recon.solvers.linear_minimisers import smoothing
from tests.recon.solvers.minimisers import Dense
from tests.recon.solvers.table import A, problem

from rayfold.operators import Gaussian, LinearOperator
from rayfold.operators.calculus import Diagonal
from rayfold.recon.priors.bounds import Box, NonNegative
from rayfold.recon.priors.denoiser import PlugAndPlay
from rayfold.recon.priors.low_rank import LowRank
from rayfold.recon.priors.sparsity import L1
from rayfold.recon.priors.tgv import TGV
from rayfold.recon.priors.tikhonov import Tikhonov
from rayfold.recon.priors.total_variation import TV, HuberTV
from rayfold.recon.priors.wavelet import WaveletL1
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.admm import ADMM
from rayfold.recon.solvers.fista import FISTA
from rayfold.recon.solvers.hqs import HQS
from rayfold.recon.solvers.pdhg import PDHG
from rayfold.recon.solvers.proximal_gradient import ProximalGradient
from rayfold.recon.solvers.red import RED
from rayfold.recon.solvers.run import run
from rayfold.recon.solvers.schedule import Schedule, at

DENOISER = PlugAndPlay(smoothing, sigma=0.1)


@dataclass(frozen=True)
class Counted(LinearOperator):
    """An operator that counts how often it is applied."""

    op: LinearOperator
    calls: list

    in_shape = property(lambda self: self.op.in_shape)
    out_shape = property(lambda self: self.op.out_shape)
    nonnegative = True

    def apply(self, x, out, *, adjoint, **operands):
        self.calls.append(adjoint)
        out[...] = self.op.H(x) if adjoint else self.op(x)


@pytest.mark.parametrize(
    ("solver", "n"),
    [
        (ProximalGradient(NonNegative()), 1),
        (FISTA(TV(0.1, iterations=2)), 1),
        (RED(DENOISER, 1.0), 1),
        (ADMM(TV(0.1), iterations=4), 4),
        (HQS(TV(0.1), penalty=1.0, iterations=3), 3),
    ],
)
def test_cost_of_a_step(solver, n):
    given, _ = problem("plain")
    counted = given._replace(A=Counted(A, []))
    state = solver.init(counted)
    back = 3 if isinstance(solver, ADMM) else 2  # one for the size of the image, which its penalties go by
    assert counted.A.calls.count(True) <= back and counted.A.calls.count(False) <= 1
    counted.A.calls.clear()
    solver.step(counted, state)
    assert counted.A.calls.count(False) == n and counted.A.calls.count(True) == n


@pytest.mark.parametrize(
    "solver", [ProximalGradient(Box(0.3, 0.6)), ProximalGradient(TV(0.5, iterations=30))]
)
def test_every_proximal_gradient_step_descends(solver):
    given, _ = problem("weighted")
    seen = []
    run(solver, given, 60, callback=lambda s: seen.append(s.objective))
    assert all(b <= a * (1 + 1e-9) for a, b in pairwise(seen[1:]))


def test_acceleration_and_restart_pay():
    """Steps until the objective is within 1e-8 of the best."""
    given, _ = problem("weighted")
    prior = HuberTV(2.0, 0.1)
    best = run(FISTA(prior), given, 3000)
    least = []
    run(FISTA(prior), given, 1, x0=best.x, callback=lambda s: least.append(s.objective))

    def steps(solver):
        seen = []
        run(solver, given, 1500, callback=lambda s: seen.append(s.objective))
        return next(i for i, f in enumerate(seen) if f <= least[0] * (1 + 1e-8))

    plain, fast = steps(ProximalGradient(prior)), steps(FISTA(prior))
    assert fast < plain / 3 and fast <= steps(FISTA(prior, restart=False))


def test_penalty_changes_the_speed_only():
    given, _ = problem("plain")
    exact = minimisers.tv(0.3)(Dense.of(given)).reshape(A.in_shape)
    for penalty in (0.3, 1.0, 3.0):
        found = run(ADMM(TV(0.3), penalty=penalty), given, 800).x
        np.testing.assert_allclose(found, exact, atol=1e-6)


def test_hqs_with_a_growing_penalty_comes_to_the_priors_themselves():
    """Passty's steps: the distance falls like one over the number of steps."""
    given, _ = problem("plain")
    exact = minimisers.tv(0.3)(Dense.of(given)).reshape(A.in_shape)
    errors = [abs(run(HQS(TV(0.3)), given, n).x - exact).max() for n in (50, 200, 800)]
    assert errors[1] < 0.5 * errors[0] and errors[2] < 0.5 * errors[1] and errors[2] < 3e-3


@pytest.mark.parametrize(
    "prior",
    [
        (TV(0.5), Box(0.3, 0.7)),
        (TV(0.5), WaveletL1(0.3, "haar"), NonNegative()),
        (HuberTV(0.5, 0.1), L1(0.4)),
        (Tikhonov(0.5, "gradient"), NonNegative()),
        TGV(0.4, iterations=40),
    ],
)
def test_several_priors_have_one_minimiser(prior):
    """Two methods that share nothing but the objective."""
    given, _ = problem("weighted")
    found = run(ADMM(prior), given, 400).x
    np.testing.assert_allclose(found, run(PDHG(prior), given, 3000).x, atol=3e-4)


def test_objective_of_a_split_image_is_finite():
    """The image of ADMM may leave a box by a hair; its split does not."""
    given, _ = problem("plain")
    for solver in (ADMM((TV(0.3), Box(0.3, 0.6))), HQS((TV(0.3), Box(0.3, 0.6)))):
        seen = []
        run(solver, given, 300, callback=lambda s, seen=seen: seen.append(s.objective))
        assert np.isfinite(seen).all()
        best = run(PDHG((TV(0.3), Box(0.3, 0.6))), given, 4000)
        r = given.A(best.x) - given.y
        least = float((r**2).sum() / 2 + TV(0.3).value(best.x))
        if isinstance(solver, HQS):
            assert abs(seen[-1] - least) < 0.5 * abs(seen[74] - least)
        else:
            assert seen[-1] == pytest.approx(least, rel=1e-4)


def test_a_series_of_low_rank(rng):
    """Frames that are mixtures of two images, half of their pixels measured."""
    frames, rank = 8, 2
    x = np.tensordot(rng.standard_normal((frames, rank)), rng.standard_normal((rank, 12, 12)), 1)
    mask = (rng.random(x.shape) < 0.6).astype(float)
    given = Problem(Diagonal(x.shape, mask), mask * x)
    for solver in (FISTA(LowRank(0.05)), ADMM(LowRank(0.05))):
        found = run(solver, given, 300).x
        assert np.linalg.norm(found - x) < 0.1 * np.linalg.norm(x)
        assert np.linalg.norm(mask * x - x) > 0.5 * np.linalg.norm(x)


def test_a_batch_of_volumes_with_priors_of_slices(rng):
    """A prior of two axes in a problem of three: slices on their own."""
    y = rng.standard_normal((2, 3, 6, 8))
    given = Problem(Diagonal((3, 6, 8), np.ones((3, 6, 8))), y)
    slices = Problem(Diagonal((6, 8), np.ones((6, 8))), y[1, 2])
    for make in (FISTA, ADMM, lambda prior: HQS(prior, penalty=1.0)):
        for prior in (TV(0.3, iterations=20), WaveletL1(0.3, "haar"), TGV(0.3, iterations=20)):
            found = run(make(prior), given, 15, callback=lambda s: np.isfinite(s.objective))
            assert found.state.residual.shape == (2,) and found.stopped == "budget"
            np.testing.assert_allclose(found.x[1, 2], run(make(prior), slices, 15).x, atol=0.05)


# --- denoisers ---


def test_a_denoiser_is_averaged_unless_told_otherwise():
    given, _ = problem("plain")
    quarter = run(ProximalGradient(DENOISER, averaging=0.25), given, 5).x
    np.testing.assert_array_equal(run(ProximalGradient(DENOISER), given, 5).x, quarter)
    assert abs(run(ProximalGradient(DENOISER, averaging=1.0), given, 5).x - quarter).max() > 1e-3
    convex = TV(0.1)
    full = run(ProximalGradient(convex, averaging=1.0), given, 5).x
    np.testing.assert_array_equal(run(ProximalGradient(convex), given, 5).x, full)


def test_averaging_keeps_an_expanding_denoiser_in_check():
    """A denoiser that overshoots on chequerboards: iterated in full it explodes, averaged it settles."""
    rng = np.random.default_rng(0)
    few = Problem(Diagonal((16, 16), (rng.random((16, 16)) < 0.1).astype(float)), rng.random((16, 16)))
    overshooting = PlugAndPlay(lambda x, sigma: 3 * smoothing(x, sigma) - 2 * x, sigma=0.1)
    calm = run(ProximalGradient(overshooting), few, 400).x
    wild = run(ProximalGradient(overshooting, averaging=1.0), few, 400).x
    assert abs(calm).max() < 1 < 1e3 < abs(wild).max()


def test_every_splitting_takes_denoisers():
    """A linear denoiser (1 + c L)^-1 is the proximal operator of a quadratic: all find its minimiser."""
    given, _ = problem("weighted")
    quadratic = Tikhonov(4.0, "gradient")
    prior = PlugAndPlay(
        lambda x, sigma: quadratic.prox(x, float(np.asarray(sigma).item()) ** 2), strength=1.0
    )
    exact = run(FISTA(quadratic), given, 1000).x
    for solver, n in ((ProximalGradient(prior, averaging=1.0), 2000), (ADMM(prior), 600)):
        np.testing.assert_allclose(run(solver, given, n).x, exact, atol=1e-6)
    errors = [abs(run(HQS(prior), given, n).x - exact).max() for n in (200, 800)]
    assert errors[1] < 0.4 * errors[0]  # towards it like one over the number of steps


def test_red_weighs_by_the_score():
    given, _ = problem("weighted")
    found = run(RED(DENOISER), given, 300).x
    np.testing.assert_array_equal(found, run(RED(DENOISER, 1 / 0.1**2), given, 300).x)
    with pytest.raises(ValueError, match="RED without a noise model needs strength"):
        run(RED(DENOISER), given._replace(noise=None), 1)


# --- schedules, gradients ---


def test_schedules():
    given, _ = problem("plain")
    solver = ProximalGradient(PlugAndPlay(smoothing, sigma=Schedule(lambda k: 0.5 / (1 + k))), averaging=0.5)
    assert at(solver, 4).prior.sigma == 0.1
    run(solver, given, 3)
    assert at(HQS(TV(0.1)), 9).penalty == 10.0
    with pytest.raises(TypeError, match="`run` evaluates it"):
        HQS(TV(0.1)).step(given, HQS(TV(0.1)).init(given))


@pytest.mark.parametrize(
    "make",
    [
        lambda s: ProximalGradient(L1(s)),
        lambda s: FISTA(TV(s, iterations=3)),
        lambda s: FISTA(HuberTV(s, 0.1)),
        lambda s: ADMM((TV(s), NonNegative())),
        lambda s: ADMM(WaveletL1(s, "haar")),
        lambda s: HQS(TV(s), penalty=1.0),
        lambda s: RED(DENOISER, s),
        lambda s: PDHG(TV(s)),
    ],
)
def test_steps_differentiate_in_data_and_strength(make):
    torch = pytest.importorskip("torch")
    given, _ = problem("plain")
    y = torch.as_tensor(given.y).requires_grad_()
    strength = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda data, s: run(make(s), given._replace(y=data), 3).x, (y, strength), eps=1e-7, atol=1e-4
    )


# --- refusals ---


def test_wrong_settings():
    with pytest.raises(ValueError, match=r"use ProximalGradient\(PlugAndPlay\(...\), averaging=0.25\)"):
        FISTA(DENOISER)
    with pytest.raises(ValueError, match="one prior that is not smooth, got TV, Box; use ADMM"):
        FISTA((TV(1.0), Box(0.0, 1.0)))
    with pytest.raises(ValueError, match=r"step_size is 1\.5; above 1"):
        FISTA(step_size=1.5)
    with pytest.raises(ValueError, match=r"step_size is 2\.0; from 2 on"):
        ProximalGradient(step_size=2.0)
    with pytest.raises(ValueError, match=r"averaging is 1\.5"):
        ProximalGradient(DENOISER, averaging=1.5)
    with pytest.raises(ValueError, match="ADMM needs a prior"):
        ADMM(())
    with pytest.raises(ValueError, match="HQS needs a prior"):
        HQS(())
    with pytest.raises(ValueError, match="penalty is 0"):
        ADMM(TV(1.0), penalty=0.0)
    with pytest.raises(TypeError, match="RED takes a PlugAndPlay prior, not TV"):
        RED(TV(1.0))
    with pytest.raises(ValueError, match="noise level of the denoiser"):
        RED(PlugAndPlay(smoothing, strength=1.0))
    with pytest.raises(ValueError, match=r"TV needs images of 3 axes, got shape \(4, 5\)"):
        run(ADMM(TV(1.0, 3)), problem("plain")[0], 1)
    assert run(FISTA(), Problem(A, np.zeros(A.out_shape), Gaussian(np.inf)), 2).x.any() is np.False_
