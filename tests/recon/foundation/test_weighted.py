"""Directions that know the weights of the data: where photons differ, and what a step costs."""

import numpy as np
import pytest
import torch

from rayfold.operators import FanBeam, Identity, ParallelBeam, Volume, XRay
from rayfold.operators.fbp import Backproject
from rayfold.operators.noise import Gaussian, PoissonTransmission
from rayfold.recon import Problem
from rayfold.recon.arrays import inner
from rayfold.recon.foundation.bands import spectrum_of
from rayfold.recon.foundation.directions import local_weights
from rayfold.recon.phantoms import draw

SIDE = 64
VOLUME = Volume((SIDE, SIDE), 1.0)


def behind_bone(views=90, photons=3000.0):
    """Counts of an object with two dense rods: one ray in a few hundred is all but black."""
    truth = np.abs(draw((SIDE, SIDE), 5, family="ct_body")).astype(np.float32)
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    for centre in (-14, 14):
        truth[np.hypot(y, x - centre) < 4] = 4 * truth.max()
    A = XRay(VOLUME, ParallelBeam.evenly(views, 96))
    truth *= 6 / A(truth).max()
    noise = PoissonTransmission(photons)
    return Problem(A, noise.sample(A(truth), 0), noise)


def test_a_step_with_weights_comes_nearer_to_the_minimum(small):
    problem = behind_bone()
    own = problem._replace(y=torch.as_tensor(problem.y))
    with torch.no_grad():
        state = small.steps().init(own)
        task, x = state.task, state.x / state.scale
        assert task.local is not None and task.local.max() / task.local.min() > 3
        power, wide = (spectrum_of(n, state.levels) for n in (task.problem.A.in_shape, task.grid.full))
        residual = task.problem.y - task.problem.A(x)

        def objective(one, n):
            z = one.solve(x, residual, power, wide, n)
            r = task.problem.y - task.problem.A(z)
            apart = torch.fft.fft2(z - x, norm="ortho").abs() ** 2 / power
            return float(inner(r.shape, r, task.problem.weigh(r)) + apart.sum())

        least = objective(task, 40)
        plain = objective(task._replace(local=None), 2)
        assert least <= objective(task, 2) < least + 0.6 * (plain - least)


def test_local_weights():
    A = XRay(VOLUME, ParallelBeam.evenly(60, 96))
    ones = torch.ones(A.out_shape)
    even = local_weights(Problem(A, ones, Gaussian(0.1)))
    inside = np.hypot(*np.mgrid[-31.5:32, -31.5:32]) < 28
    np.testing.assert_allclose(even.numpy()[inside], 1, atol=0.1)
    sigma = torch.full(A.out_shape, 0.1)
    sigma[:30] = 0.05  # every pixel sees these views
    views = local_weights(Problem(A, ones, Gaussian(sigma)))
    np.testing.assert_allclose(views.numpy()[inside], 1, atol=0.1)
    sigma = torch.full(A.out_shape, 0.1)
    sigma[:, 40:56] = 0.2  # 8 mm to either side of the axis: at 24 mm, asin(8 / 24) / (pi / 2) of the views
    uneven = local_weights(Problem(A, ones, Gaussian(sigma)))
    share = np.arcsin(8 / 24) / (np.pi / 2)
    ring = abs(np.hypot(*np.mgrid[-31.5:32, -31.5:32]) - 24) < 1
    assert float(uneven[torch.as_tensor(ring)].mean()) == pytest.approx(share + 4 * (1 - share), rel=0.05)
    again = local_weights(Problem(A, ones, Gaussian(1e3 * sigma)))
    np.testing.assert_allclose(again, uneven, rtol=1e-5)
    assert local_weights(Problem(Identity((8, 8)), torch.ones(8, 8), Gaussian(0.1))) is None


@pytest.mark.parametrize("degrees", [120, 180])
def test_no_local_weights_where_views_are_missing(degrees):
    angles = np.deg2rad(np.arange(0, degrees, 2))
    beams = [
        ParallelBeam(angles, 96),
        FanBeam(angles, 96, 1.0, source_to_axis=200.0, source_to_detector=300.0),
    ]
    found = [
        local_weights(Problem(A := XRay(VOLUME, b), torch.ones(A.out_shape), Gaussian(1.0))) for b in beams
    ]
    assert (found[0] is None) == (degrees < 180)
    assert found[1] is None  # a fan needs half a turn and its own angle


@pytest.mark.parametrize("degrees", [120, 360])
def test_at_most_16_pairs_of_projections(small, monkeypatch, degrees):
    counts = {"forth": 0, "back": 0}

    def counted(kind):
        plain = kind.apply

        def apply(self, x, out, *, adjoint, **operands):
            n = len(self.out_shape if adjoint else self.in_shape)
            back = adjoint if kind is XRay else not adjoint
            counts["back" if back else "forth"] += int(np.prod(x.shape[: x.ndim - n]))
            return plain(self, x, out, adjoint=adjoint, **operands)

        monkeypatch.setattr(kind, "apply", apply)

    for kind in (XRay, Backproject):
        counted(kind)
    angles = np.linspace(0, np.deg2rad(degrees), 40, endpoint=False)
    A = XRay(VOLUME, ParallelBeam(angles, 96))
    y = A(np.abs(draw((SIDE, SIDE), 5, family="ct_body")).astype(np.float32))
    counts.update(forth=0, back=0)
    small.restore(Problem(A, y, Gaussian(0.01 * float(y.max()))))
    assert 10 <= (counts["forth"] + counts["back"]) / 2 <= 16
    assert counts["back"] <= counts["forth"]
