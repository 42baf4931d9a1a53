"""What the steps are told of errors: noise goes at once, aliasing slowly."""

import numpy as np
import pytest
import torch

from rayfold.operators import FFT, CartesianMask, ParallelBeam, Volume, XRay
from rayfold.operators.noise import Gaussian
from rayfold.recon import Problem
from rayfold.recon.foundation import steps
from rayfold.recon.foundation.steps import SLOWEST, PhysicsSteps, Schedule
from rayfold.recon.phantoms import draw

SIDE = 96


def scan(views, percent, degrees=180):
    """Projections with noise in percent of their mean."""
    truth = np.abs(draw((SIDE, SIDE), 5, family="ct_body")).astype(np.float32)
    A = XRay(Volume((SIDE, SIDE), 1.0), ParallelBeam(np.deg2rad(np.linspace(0, degrees, views, False)), 144))
    y = A(truth)
    sigma = 0.01 * percent * float(y.mean())
    noise = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    return Problem(A, torch.as_tensor(y + sigma * noise), Gaussian(sigma))


def lines(every):
    """One coil, the middle of k-space and every so many lines beyond."""
    truth = draw((SIDE, SIDE), 5, family="mr_head").astype(np.complex64)
    mask = np.zeros((SIDE, SIDE), np.float32)
    mask[::every] = mask[SIDE // 2 - 6 : SIDE // 2 + 6] = 1
    A = CartesianMask((SIDE, SIDE), mask) @ FFT((SIDE, SIDE))
    sigma = 0.02 * float(abs(truth).max())
    parts = np.random.default_rng(1).standard_normal((2, SIDE, SIDE)).astype(np.float32)
    y = A(truth) + mask * sigma * (parts[0] + 1j * parts[1])
    return Problem(A, torch.as_tensor(y.astype(np.complex64)), Gaussian(sigma))


def confident(prior):
    """A solver that thinks its network leaves hardly any noise."""
    schedule = Schedule(4).requires_grad_(False)
    schedule.kept.fill_(-4.0)
    return PhysicsSteps(prior.network, schedule)


def states(solver, problem, n):
    """State of a solver after its first image and after each of n steps."""
    with torch.no_grad():
        found = [solver.init(problem)]
        for _ in range(n):
            found.append(solver.step(problem, found[-1]))
    return found


@pytest.mark.parametrize(
    ("problem", "aliased"),
    [(scan(24, 0.5), 1), (lines(4), 1), (scan(300, 6), 0), (lines(1), 0)],
    ids=["few views", "few lines", "noisy views", "all lines"],
)
def test_aliasing_is_told_from_noise(small, problem, aliased):
    solver = confident(small)
    first, slow = states(solver, problem, 1)
    assert float(first.errors.aliased) == aliased
    with torch.no_grad():
        fast = solver.step(problem, first._replace(errors=first.errors._replace(aliased=torch.zeros(1))))
    torch.testing.assert_close(slow.x, fast.x)  # it is the next step that differs
    if aliased:
        assert float((slow.levels / first.levels).min()) >= SLOWEST * (1 - 1e-5)
        assert float((fast.levels / first.levels).min()) < SLOWEST
    else:
        torch.testing.assert_close(slow.levels, fast.levels)


@pytest.mark.parametrize(
    ("problem", "widened"),
    [(scan(24, 0.5), False), (scan(24, 0.5, degrees=120), True), (lines(4), True)],
    ids=["all directions", "limited angle", "lines"],
)
def test_levels_are_wider_but_where_all_directions_are_measured(small, monkeypatch, problem, widened):
    """There the weighted gradient would follow single rays that the pixels cannot explain: streaks."""
    found = []
    for factor in (1.0, 1.5):
        monkeypatch.setattr(steps, "WIDER", factor)
        found.append(states(small.steps(), problem, 0)[0].levels)
    assert bool((found[1] > 1.01 * found[0]).any()) == widened
    assert bool((found[1] >= found[0]).all())


def test_aliasing_does_not_depend_on_the_unit(small):
    problem = scan(24, 4)
    scaled = Problem(problem.A, 1e4 * problem.y, Gaussian(1e4 * problem.noise.sigma))
    a, b = (states(small.steps(), p, 0)[0].errors.aliased for p in (problem, scaled))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_aliasing_of_every_scan_of_a_batch_are_its_own(small):
    quiet, loud = scan(24, 0.5), scan(24, 40)
    sigma = torch.tensor([quiet.noise.sigma, loud.noise.sigma])[:, None, None]
    both = Problem(quiet.A, torch.stack([quiet.y, loud.y]), Gaussian(sigma))
    found = states(small.steps(), both, 0)[0].errors.aliased.flatten()
    alone = [states(small.steps(), p, 0)[0].errors.aliased for p in (quiet, loud)]
    torch.testing.assert_close(found, torch.cat(alone).flatten(), rtol=1e-3, atol=1e-3)
    assert found[0] == 1 and found[1] < 1
