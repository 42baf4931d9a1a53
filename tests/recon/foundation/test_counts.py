"""Few photons: line integrals without bias, weights that do not follow the noise; many stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayfold.operators import Gaussian, Identity, ParallelBeam, Volume, XRay
from rayfold.operators.noise import PoissonTransmission
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.foundation.counts import with_gaussian_noise
from rayfold.recon.problem import Problem

SHAPE = (120, 160)


def sinogram(photons, electronic=0.0, seed=0):
    """A smooth sinogram of up to 5, its noisy data, and the problem."""
    view, col = np.mgrid[0 : np.pi : SHAPE[0] * 1j, -1 : 1 : SHAPE[1] * 1j]
    exact = (5 * np.sqrt(np.clip(1 - col**2, 0, None)) * (1 - 0.2 * np.cos(2 * view))).astype(np.float32)
    noise = PoissonTransmission(photons, electronic)
    y = torch.from_numpy(np.asarray(noise.sample(exact, seed), np.float32))
    return torch.from_numpy(exact), Problem(Identity(SHAPE), y, noise)


def bias(problem, exact, where):
    """Mean error of the data where, as weighted least squares takes it."""
    w = problem.noise.weights(problem.y)
    return float((w * (problem.y - exact))[where].sum() / (w + 0 * exact)[where].sum())


@pytest.mark.parametrize("electronic", [0.0, 2.0])
def test_few_counts_have_no_bias(electronic):
    exact, problem = sinogram(1500.0, electronic)
    starved = exact > 4.5
    before = bias(problem.quadratic(), exact, starved)
    after = bias(with_gaussian_noise(problem), exact, starved)
    assert before < -0.03  # the data that came out too low weigh most
    assert abs(after) < 0.3 * abs(before)


def test_the_spread_is_that_of_the_weights():
    exact, problem = sinogram(3000.0)
    made = with_gaussian_noise(problem)
    whitened = made.whiten(made.y - exact)
    for where in (exact > 4, exact < 2):
        assert 0.9 < float(whitened[where].square().mean()) < 1.1


def test_many_counts_stay():
    _, problem = sinogram(1e7)
    made, plain = with_gaussian_noise(problem), problem.quadratic()
    assert float(((made.y - problem.y) / plain.noise.sigma).abs().max()) < 0.2
    assert float((made.noise.sigma / plain.noise.sigma - 1).abs().max()) < 0.01


def test_it_is_the_likelihood_to_second_order():
    """Slope and curvature at the point of expansion, from three values of the likelihood."""
    _, problem = sinogram(800.0, 3.0)
    noise, y = problem.noise, problem.y.double()
    made = with_gaussian_noise(problem._replace(y=y))
    w = 1 / made.noise.sigma**2
    # where is the expansion point: w = m^2 / (m + s^2) of q
    m = (w + torch.sqrt(w**2 + 4 * w * noise.electronic**2)) / 2
    q = noise.line_integrals(m)
    h = 1e-3
    up, mid, down = (noise.log_likelihood(q + d, y) for d in (h, 0.0, -h))
    slope = (up - down) / (2 * h)
    torch.testing.assert_close(slope, w * (made.y - q), rtol=2e-2, atol=2e-2 * float(w.max()))
    assert float((up - 2 * mid + down).mean()) < 0


def test_other_noise_is_left_alone():
    y = torch.ones(4, 5)
    problem = Problem(Identity((4, 5)), y, Gaussian(0.5))
    assert with_gaussian_noise(problem) is problem
    photons = Problem(Identity((5,)), y[0], PoissonTransmission(50.0))
    assert torch.equal(with_gaussian_noise(photons).y, y[0])


def test_a_starved_disc_keeps_its_attenuation():
    """Mean attenuation of a disc behind which about eight photons arrive."""
    n = 64
    t = np.linspace(-1, 1, n)
    image = 0.1 * (np.hypot(t[:, None], t[None, :]) < 0.8).astype(np.float32)
    A = XRay(Volume((n, n)), ParallelBeam.evenly(120, 96))
    noise = PoissonTransmission(1200.0)
    y = noise.sample(np.asarray(A(image)), 0).astype(np.float32)
    x = FoundationPrior.load("small", device="cpu").restore(Problem(A, y, noise))
    middle = np.hypot(t[:, None], t[None, :]) < 0.5
    assert abs(np.asarray(x)[middle].mean() / 0.1 - 1) < 0.01
