"""Pixels as means: the filter and its adjoint, what it mends, which operators it leaves alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayfold.operators import FFT, Blur, CoilSensitivities, ParallelBeam, Volume, XRay
from rayfold.operators.base import Composed
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.foundation.pixels import BORDER, Deinterpolation, of_means
from rayfold.recon.phantoms import draw
from rayfold.recon.problem import Problem


def seen(fine, spacing=1.0, views=90):
    """Rays of a fine image, two per bin and averaged over it, and the operator for pixels twice as wide."""
    n = fine.shape[-1] // 2
    bins = int(1.5 * n)
    twice = ParallelBeam.evenly(views, 2 * bins, pitch=spacing / 2)
    y = XRay(Volume(tuple(fine.shape), spacing / 2), twice)(fine).reshape(views, bins, 2).mean(-1)
    return y, XRay(Volume((n, n), spacing), ParallelBeam.evenly(views, bins, pitch=spacing))


def halved(x):
    return torch.nn.functional.avg_pool2d(x[None, None], 2)[0, 0]


@pytest.mark.parametrize("shape", [(24, 24), (9, 30), (1, 7), (3, 2)])
@pytest.mark.parametrize("kind", [torch.float64, torch.complex128])
def test_dot(shape, kind):
    K, rng = Deinterpolation(shape), torch.Generator().manual_seed(1)
    x, y = (torch.randn(shape, dtype=kind, generator=rng) for _ in range(2))
    left, right = (K(x).conj() * y).sum(), (x.conj() * K.H(y)).sum()
    assert abs(left - right) < 1e-12 * abs(left) + 1e-12


def test_gradient():
    K = Deinterpolation((6, 7))
    x = torch.randn(6, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: K(v), x)


def test_a_wave_along_a_row_is_raised_by_what_interpolation_takes():
    """In the mean over where rays pass between pixels, less for the aliases that are raised as well."""
    n, periods = 64, 12
    t = torch.arange(n, dtype=torch.float64)
    wave = torch.cos(2 * torch.pi * periods * (t - n / 2) / n).expand(n, n).contiguous()
    raised = Deinterpolation((n, n))(wave)
    inside = slice(BORDER, -BORDER)
    share = torch.arange(64, dtype=torch.float64) / 64  # of the way to the next pixel
    between = (1 - share) * wave[0, :, None] + share * wave[0, :, None].roll(-1, 0)
    exact = torch.cos(2 * torch.pi * periods * (t[:, None] + share - n / 2) / n)
    best = (between * exact).sum() / between.square().sum()
    assert float((raised - best * wave)[inside, inside].abs().max()) < 0.01 * float(best)


def test_constants_stay():
    for shape in ((16, 16), (5, 40)):
        assert float((Deinterpolation(shape)(torch.ones(shape)) - 1).abs().max()) < 0.05
        middle = Deinterpolation((64, 64))(torch.ones(64, 64))[20:44, 20:44]
        assert float((middle - 1).abs().max()) < 1e-4


@pytest.mark.parametrize(("family", "share"), [("ct_body", 0.85), ("fractal", 0.8), ("dead_leaves", 0.85)])
def test_bins_see_the_means_of_pixels(family, share):
    """Of what rays through pixels miss of the rays of a finer grid, this share is left at most."""
    fine = torch.from_numpy(np.abs(draw((256, 256), 3, family=family)).astype(np.float32))
    (y, A), image = seen(fine), halved(fine)
    left = [float((y - op(image)).square().mean().sqrt()) for op in (A, of_means(A))]
    assert left[1] < share * left[0]


def test_least_squares_of_many_views_find_the_means():
    """Without the filter they find an image that is too sharp."""
    fine = torch.from_numpy(np.abs(draw((128, 128), 1, family="ct_body")).astype(np.float32))
    y, A = seen(fine, views=180)
    image, errors = halved(fine), []
    for op in (A, of_means(A)):
        x = torch.zeros_like(image)
        residual = y.clone()
        s = p = op.H(residual)
        for _ in range(40):
            Ap = op(p)
            step = s.square().sum() / Ap.square().sum()
            x, residual = x + step * p, residual - step * Ap
            new = op.H(residual)
            s, p = new, new + new.square().sum() / s.square().sum() * p
        errors.append(float((x - image).square().mean()))
    assert errors[1] < 0.7 * errors[0]


def test_other_operators_stay_as_they_are():
    volume, beam = Volume((16, 16)), ParallelBeam.evenly(9, 24)
    for A in (FFT((16, 16)), Blur((16, 16), 1.0), XRay(volume, beam, model="fourier")):
        assert of_means(A) is A
    coils = FFT((16, 16)) @ CoilSensitivities(np.ones((2, 16, 16), np.complex64))
    assert of_means(coils) is coils
    behind = Blur((9, 24), 1.0, axes=(-1,)) @ XRay(volume, beam)
    assert of_means(behind).parts[-1] == Deinterpolation((16, 16))
    assert isinstance(of_means(XRay(volume, beam)), Composed)


def test_the_operator_of_the_user_is_not_touched():
    fine = torch.from_numpy(np.abs(draw((64, 64), 3, family="ct_body")).astype(np.float32))
    y, A = seen(fine)
    problem = Problem(A, y, None)
    FoundationPrior.load("small", device="cpu").restore(problem)
    assert problem.A is A
