"""Where data determine the image the prior must not spoil it: at most 0.1 dB below the best of the others."""

import itertools

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from rayfold.operators import Gaussian, Volume, fbp_operator
from rayfold.recon import Problem
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.metrics import psnr
from rayfold.recon.phantoms import draw
from rayfold.recon.protocol import CTProtocol, MRIProtocol
from rayfold.recon.protocol.simulate_ct import of_pixels
from rayfold.recon.solvers import CGLS, run

SIDE, WORSE = 64, 0.1  # pixels; dB
NOISE = (0.0, 0.03, 0.1)  # % of the largest datum
STEPS = 40


@pytest.fixture(scope="module")
def base():
    return FoundationPrior.load("base", device="cpu")


def drawn(noise, y, seed):
    sigma = noise / 100 * float(np.abs(y).max())
    rng = np.random.default_rng(seed)
    parts = rng.standard_normal((2, *y.shape), np.float32) * np.float32(sigma)
    return y + (parts[0] + 1j * parts[1] if np.iscomplexobj(y) else parts[0]), Gaussian(max(sigma, 1e-6))


def scan(family, views, noise):
    """Of an object on a grid twice as fine, every bin the mean of two rays; and the means over the pixels."""
    fine = np.abs(draw((2 * SIDE, 2 * SIDE), 7, family=family)).astype(np.float32)
    protocol = CTProtocol(views=views, cols=int(1.5 * SIDE), pitch_mm=1.0)
    y = np.asarray(of_pixels(protocol, fine, Volume(fine.shape, 0.5)), np.float32)
    A = protocol.operator(Volume((SIDE, SIDE), 1.0))
    return Problem(A, *drawn(noise, y, views)), F.avg_pool2d(torch.as_tensor(fine)[None], 2)[0].numpy()


def full_kspace(family, coils, noise):
    truth = draw((SIDE, SIDE), 7, family=family).astype(np.complex64)
    protocol = MRIProtocol(
        matrix=(SIDE, SIDE), field_of_view_mm=(float(SIDE),) * 2, pattern="full", coils=coils, snr=100
    )
    A = protocol.operator(Volume((SIDE, SIDE), 1.0))
    y, noise_model = drawn(noise, np.asarray(A(truth)), coils)
    return Problem(A, y.astype(np.complex64), noise_model), np.abs(truth)


def others(problem, truth):
    """The best step of conjugate gradients, which a user would have to guess; filtered back-projection."""
    top = float(truth.max())
    scores = []
    plain = problem._replace(noise=None)
    run(CGLS(), plain, STEPS, callback=lambda s: scores.append(psnr(np.abs(s.x), truth, data_range=top)))
    if not np.iscomplexobj(problem.y):
        fbp = fbp_operator(problem.A.volume, problem.A.beam)[0]
        scores.append(psnr(fbp(problem.y), truth, data_range=top))
    return max(scores)


CT = list(itertools.product(("ct_body", "dead_leaves", "random_ellipses"), (360, 720, 1000), NOISE))
MRI = list(itertools.product(("mr_head", "dead_leaves"), (4, 16), (1e-4, 0.03, 0.1)))


def margin(base, problem, truth):
    x = np.abs(np.asarray(base.restore(problem)))
    return psnr(x, truth, data_range=float(truth.max())) - others(problem, truth)


@pytest.mark.parametrize(("family", "views", "noise"), CT)
def test_dense_projections(base, family, views, noise):
    assert margin(base, *scan(family, views, noise)) > -WORSE


@pytest.mark.parametrize(("family", "coils", "noise"), MRI)
def test_full_kspace(base, family, coils, noise):
    assert margin(base, *full_kspace(family, coils, noise)) > -WORSE
