"""`Lines`: the exact inverse of what coils mix when whole lines of k-space are measured."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.recon.foundation.scans import ct, mri

from rayfold.operators import FFT, NUFFT, CartesianMask, CoilSensitivities, Gaussian
from rayfold.recon import Problem
from rayfold.recon.foundation import lines
from rayfold.recon.foundation.convert import tensors
from rayfold.recon.foundation.directions import DataStep
from rayfold.recon.foundation.frequencies import Frequencies
from rayfold.recon.foundation.information import information
from rayfold.recon.foundation.lines import Lines
from rayfold.recon.solvers.normal import normal

SHAPE = (24, 20)


def scan(axis=-2, coils=4, mask=None, sigma=0.02, batch=None):
    """Random maps, and random lines along an axis, with the weights that users give."""
    rng = np.random.default_rng(0)
    maps = (rng.normal(size=(coils, *SHAPE)) + 1j * rng.normal(size=(coils, *SHAPE))).astype(np.complex64)
    maps.flags.writeable = False  # as arrays from a file may be
    kept = rng.random(SHAPE[axis]) < 0.5
    if mask is None:
        mask = np.broadcast_to(kept[:, None] if axis == -2 else kept, SHAPE).astype(np.float32)
    mask.flags.writeable = False
    A = CartesianMask(SHAPE, mask) @ FFT(SHAPE) @ CoilSensitivities(maps)
    x = rng.normal(size=(*(batch or ()), *SHAPE)) + 1j * rng.normal(size=(*(batch or ()), *SHAPE))
    y = A(x.astype(np.complex64))
    return tensors(Problem(A, y, Gaussian.from_weights(mask / np.float32(sigma) ** 2)))


def along_lines(axis, levels=(30.0, 3.0)):
    """A gain per frequency that varies along one axis only."""
    n = SHAPE[axis]
    gain = levels[1] + (levels[0] - levels[1]) * torch.fft.fftfreq(n).abs() * 2
    return (gain[:, None] if axis == -2 else gain[None, :]).expand(SHAPE)


@pytest.mark.parametrize("axis", [-2, -1])
@pytest.mark.parametrize("blocks", [False, True], ids=["at once", "in blocks"])
def test_it_is_the_inverse(axis, blocks, monkeypatch):
    if blocks:
        monkeypatch.setattr(lines, "AT_ONCE", 2000)
        monkeypatch.setattr(lines, "KEPT", 0)
    problem = scan(axis)
    prior = along_lines(axis)
    g = torch.randn(3, *SHAPE, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    found = Lines.of(problem)
    assert found is not None and found.axis == axis
    d = found.solver(prior)(g)
    again = normal(problem, None, d) + Frequencies(SHAPE, (0, 0)).filter(d, prior)
    assert float((again - g).abs().max() / g.abs().max()) < 2e-2  # the ridge, and single precision


def test_a_batch_is_a_loop():
    problem = scan(batch=(3,))
    prior = torch.stack([along_lines(-2, (10.0 * k, 1.0 * k)) for k in (1, 2, 3)])
    g = torch.randn(2, 3, *SHAPE, dtype=torch.complex64, generator=torch.Generator().manual_seed(2))
    found = Lines.of(problem)
    together = found.solver(prior)(g)
    for k in range(3):
        alone = Lines.of(problem._replace(y=problem.y[k])).solver(prior[k])(g[:, k])
        assert torch.allclose(together[:, k], alone, rtol=1e-4, atol=1e-8)


def test_two_steps_find_the_minimum():
    """Without `Lines` they are far from it."""
    problem = scan()
    grid = Frequencies.of(problem.A)
    known = information(problem, None, grid)
    power = 1 / (2 + 3 * torch.rand(SHAPE, generator=torch.Generator().manual_seed(3)))
    zero = torch.zeros(SHAPE, dtype=torch.complex64)
    step = DataStep(problem, grid, known, None, None, Lines.of(problem))

    def cost(x):
        r = problem.whiten(problem.A(x) - problem.y)
        return float((r.abs() ** 2).sum() + (torch.fft.fft2(x, norm="ortho").abs() ** 2 / power).sum())

    few, many = (step.solve(zero, problem.y, power, power, n) for n in (2, 40))
    unmixed = step._replace(lines=None).solve(zero, problem.y, power, power, 2)
    assert cost(few) < 1.05 * cost(many) and cost(unmixed) > 2 * cost(many)


def test_only_what_it_is_made_for():
    assert isinstance(Lines.of(tensors(mri())), Lines)
    assert Lines.of(tensors(ct())) is None
    points = (np.random.default_rng(1).random(SHAPE) < 0.5).astype(np.float32)
    assert Lines.of(scan(mask=points)) is None
    k = np.random.default_rng(2).uniform(-3, 3, (50, 2)).astype(np.float32)
    A = NUFFT(SHAPE, k) @ CoilSensitivities(np.ones((2, *SHAPE), np.complex64))
    assert Lines.of(tensors(Problem(A, np.zeros((2, 50), np.complex64), Gaussian(1.0)))) is None
    one = Problem(FFT(SHAPE), np.zeros(SHAPE, np.complex64), Gaussian(1.0))
    assert Lines.of(tensors(one)) is None
    coils = scan()
    correlated = coils._replace(noise=Gaussian(covariance=torch.eye(4), axis=-3))
    assert Lines.of(correlated) is None
