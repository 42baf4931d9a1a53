"""Solvers on a device: the fused kernels against their twins, and the same steps on CuPy, torch and NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.kernels import total_variation
from rayfold.operators import FanBeam, Gaussian, PoissonTransmission, Volume, XRay
from rayfold.recon import Problem, run
from rayfold.recon.priors import TGV, TV, HuberTV, NonNegative, WaveletL1
from rayfold.recon.solvers import ADMM, CGLS, FISTA, LBFGS, MLEM, OSSQS, PDHG, SART, SIRT

A = XRay(
    Volume((64, 72), 1.1), FanBeam.evenly(40, 90, pitch=1.4, source_to_axis=120.0, source_to_detector=170.0)
)
SOLVERS = {
    "cgls": CGLS(damping=0.5),
    "sirt": SIRT(lower=0.0),
    "sart": SART(4, lower=0.0),
    "pdhg": PDHG((TV(0.5), NonNegative())),
    "pdhg huber": PDHG(HuberTV(0.5, 0.01)),
    "pdhg tgv": PDHG(TGV(0.5)),
    "pdhg wavelet": PDHG(WaveletL1(0.5)),
    "admm": ADMM(TV(0.5)),
    "fista": FISTA(NonNegative()),
    "os-sqs": OSSQS(HuberTV(0.5, 0.01), subsets=4, lower=0.0),
}


@pytest.fixture(scope="module")
def y():
    rng = np.random.default_rng(0)
    return A(rng.random((2, *A.in_shape)) * 0.03) + 0.01 * rng.standard_normal((2, *A.out_shape))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("function", ["ascend", "pull"])
def test_fused_total_variation_agrees_with_the_numba_twin(cupy, function, dtype):
    rng = np.random.default_rng(1)
    x, z = (rng.standard_normal(s).astype(dtype) for s in ((3, 37, 50), (3, 2, 37, 50)))
    scale = np.array([1.0, 0.7], dtype)
    if function == "ascend":
        rates = np.array([[0.3, 1.0], [0.5, 0.8], [2.0, 1.0]], dtype)
        given = [x, z, np.empty_like(z), rates, np.array([0.4, 1.9, 0.0], dtype), scale]
    else:
        given = [z, x, np.empty_like(x), scale]
    at = 2
    device = [cupy.asarray(v) for v in given]
    getattr(total_variation, function)(*given)
    getattr(total_variation, function)(*device)
    tolerance = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(device[at].get(), given[at], atol=tolerance * np.abs(given[at]).max())


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("weighted", [False, True])
def test_a_solver_gives_the_same_on_the_device(cupy, y, name, weighted):
    noise = PoissonTransmission(1e3) if weighted else Gaussian(0.1)
    expected = run(SOLVERS[name], Problem(A, y, noise), 6).x
    found = run(SOLVERS[name], Problem(A, cupy.asarray(y), noise), 6).x
    assert isinstance(found, cupy.ndarray)
    np.testing.assert_allclose(found.get(), expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_on_tensors_of_the_device(cupy, y, name):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch has no CUDA here")
    found = run(SOLVERS[name], Problem(A, torch.as_tensor(y, device="cuda")), 6).x
    assert found.is_cuda
    expected = run(SOLVERS[name], Problem(A, y), 6).x
    np.testing.assert_allclose(found.cpu().numpy(), expected, atol=1e-5 * np.abs(expected).max())


def test_libraries_minimisers_and_counts(cupy, y):
    from rayfold.operators import Poisson

    counts = np.random.default_rng(2).poisson(50 * np.abs(y)).astype(float)
    problem = Problem(A, counts, Poisson())
    expected = run(MLEM(), problem, 5).x
    found = run(MLEM(), problem._replace(y=cupy.asarray(counts)), 5).x
    np.testing.assert_allclose(found.get(), expected, atol=1e-9 * np.abs(expected).max())
    here, there = (run(LBFGS(), Problem(A, data), 5).state for data in (y, cupy.asarray(y)))
    np.testing.assert_allclose(there.residual.get(), here.residual, rtol=0.2)  # two libraries, one minimum


def test_evidence_on_the_device(cupy, y):
    from rayfold.recon import certify

    problem = Problem(A, y, Gaussian(0.01))
    x = run(CGLS(), problem, 20).x
    there = certify(problem._replace(y=cupy.asarray(y)), cupy.asarray(x))
    here = certify(problem, x)
    np.testing.assert_allclose(there.chi_square, here.chi_square, rtol=1e-6)
    np.testing.assert_allclose(there.unseen.get(), here.unseen, atol=1e-5 * np.abs(x).max())
