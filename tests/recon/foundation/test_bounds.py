"""`restore` within bounds that are known, and from noise told by a NumPy scalar."""

import numpy as np
import pytest
import torch
from tests.recon.foundation.scans import SIDE, ct, mri, picture

from rayfold.operators import Gaussian, ParallelBeam, Volume, XRay
from rayfold.recon import Problem
from rayfold.recon.prior_method import Restorer
from rayfold.recon.priors import Box, NonNegative


def apart(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return float(np.abs(a - b).max() / np.abs(b).max())


def test_restore_within_bounds(small):
    problem, top = ct(), 0.8 * picture().max()
    plain = small.restore(problem)
    assert plain.min() < 0 and plain.max() > top
    found = small.restore(problem, bounds=Box(0.0, top))
    assert found.min() >= 0 and found.max() <= top
    upper = np.full((SIDE, SIDE), top, np.float32)
    upper[:, : SIDE // 2] = 0.0  # bounds as arrays, of any library
    for array in (upper, torch.as_tensor(upper)):
        half = small.restore(problem, bounds=Box(0.0, array))
        assert (half[:, : SIDE // 2] == 0).all() and half[:, SIDE // 2 :].max() <= top
    two = ct(lead=2)
    for k, one in enumerate(small.restore(two, bounds=NonNegative())):
        assert apart(one, small.restore(two._replace(y=two.y[k]), bounds=NonNegative())) < 1e-4
    # with all directions measured what is cut off between steps would come back as streaks
    np.testing.assert_array_equal(small.restore(problem, bounds=NonNegative()), np.maximum(plain, 0))
    wide = Box(-1e6, 1e6)
    assert apart(small.restore(problem, bounds=wide), plain) < 1e-6
    with pytest.raises(ValueError, match="real image"):
        small.restore(mri(), bounds=NonNegative())


def test_bounds_find_more_of_a_limited_angle(small):
    """Knowing that nothing is below 0 is worth something where directions are missing."""
    A = XRay(Volume((SIDE, SIDE)), ParallelBeam(np.linspace(0, 2.0, 60, endpoint=False), SIDE + 8))
    truth = np.zeros((SIDE, SIDE), np.float32)
    truth[SIDE // 4 : SIDE // 2, SIDE // 3 : SIDE // 2] = 1
    problem = Problem(A, Gaussian(0.02).sample(A(truth), 0), Gaussian(0.02))
    assert apart(small.restore(problem, bounds=NonNegative()), truth) < 0.95 * apart(
        np.maximum(small.restore(problem), 0), truth
    )


def test_a_prior_of_another_kind_is_cut_off():
    class Other:
        def restore(self, problem, *, strength, n):
            return problem.y - 1.0

    restorer = Restorer(Other(), "other", bounds=NonNegative())
    problem = Problem(XRay(Volume((4, 4)), ParallelBeam.evenly(3, 6)), np.zeros((3, 6), np.float32))
    assert (restorer(problem) == 0).all()


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.array])
def test_noise_of_a_numpy_scalar(small, kind):
    problem = ct()
    sigma = float(np.mean(problem.noise.sigma))
    told, plain = (problem._replace(noise=Gaussian(s)) for s in (kind(np.float32(sigma)), sigma))
    assert apart(small.restore(told), small.restore(plain)) < 1e-5
