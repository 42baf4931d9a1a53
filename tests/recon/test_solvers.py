"""Driver and oddities of CGLS and SIRT; what they share with all solvers is in the table."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from rayfold.operators import FanBeam, Gaussian, ParallelBeam, Volume, XRay
from rayfold.operators.calculus import Diagonal
from rayfold.recon import CGLS, SIRT, Problem, run

BEAM = FanBeam.evenly(13, 11, pitch=1.3, source_to_axis=30.0, source_to_detector=44.0)
A = XRay(Volume((6, 7), 1.1), BEAM)
SOLVERS = {"cgls": CGLS(), "damped": CGLS(damping=0.7), "sirt": SIRT(lower=0.0), "boxed": SIRT(1.5, 0.0, 0.6)}


def gauss(weights):
    """Noise of given inverse variances, or none."""
    return None if weights is None else Gaussian.from_weights(weights)


@pytest.fixture
def y(rng) -> np.ndarray:
    return A(rng.random(A.in_shape)) + 0.05 * rng.standard_normal(A.out_shape)


def _torch(values):
    return pytest.importorskip("torch").as_tensor(values)


@pytest.fixture
def x64():
    """Double precision in JAX for one test."""
    jax = pytest.importorskip("jax")
    with jax.enable_x64():
        yield jax


# --- what is computed ---


def test_complex_operator(rng):
    d = rng.standard_normal(9) + 1j * rng.standard_normal(9)
    x = rng.standard_normal(9) + 1j * rng.standard_normal(9)
    for convert in (np.asarray, _torch):
        op = Diagonal((9,), d)
        found = run(CGLS(), Problem(op, convert(d * x)), 9).x
        np.testing.assert_allclose(np.asarray(found), x, atol=1e-9)
    with pytest.raises(ValueError, match="SIRT needs an operator without negative entries; use CGLS"):
        run(SIRT(), Problem(Diagonal((9,), d), d * x), 1)


@pytest.mark.parametrize("relaxation", [0.3, 1.0, 1.9])
@pytest.mark.parametrize("weighted", [False, True])
def test_sirt_residual_falls(y, rng, relaxation, weighted):
    """In the norm that SIRT descends in: weights over row sums."""
    w = 0.1 + rng.random(A.out_shape) if weighted else np.ones(A.out_shape)
    sums = A(np.ones(A.in_shape))
    metric = w * np.divide(1, sums, out=np.zeros_like(sums), where=sums > 0)
    norms = [float((metric * y**2).sum())]
    run(
        SIRT(relaxation),
        Problem(A, y, gauss(w if weighted else None)),
        60,
        callback=lambda s: norms.append(float((metric * (y - A(s.x)) ** 2).sum())),
    )
    assert all(later <= earlier * (1 + 1e-12) for earlier, later in pairwise(norms))


def test_sirt_stays_in_its_box(y):
    found = run(SIRT(1.5, lower=0.3, upper=0.5), Problem(A, y), 60).x
    assert found.min() == 0.3 and found.max() == 0.5
    assert run(SIRT(lower=0.0), Problem(A, -y), 5).x.max() == 0.0


def test_sirt_and_cgls_meet(rng):
    x = rng.random(A.in_shape)
    found = run(SIRT(1.9), Problem(A, A(x)), 6000).x
    np.testing.assert_allclose(found, run(CGLS(), Problem(A, A(x)), 60).x, atol=5e-3)


# --- laws ---


@pytest.mark.parametrize("solver", [CGLS(), CGLS(damping=0.3), SIRT(lower=0.0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scale(y, solver, dtype):
    """Photon counts or 1/nm: the image scales with the data."""
    y = y.astype(dtype)
    unit = run(solver, Problem(A, y), 8).x
    for power in range(-14, 15, 2):  # eight decades; powers of two round nothing
        scale = dtype(2.0**power)
        np.testing.assert_array_equal(run(solver, Problem(A, scale * y), 8).x / scale, unit)


def test_sirt_ignores_rays_that_graze_a_corner():
    """A ray along the rim of the grid has weights of 1e-16; their row sum is no measurement."""
    B = XRay(Volume((3, 4)), ParallelBeam.evenly(4, 5))
    state = SIRT().init(Problem(B, np.ones(B.out_shape)))
    assert state.rows.max() < 10 and state.rows[2, 0] == 0


def test_bins_that_see_nothing_and_pixels_that_are_not_seen():
    beam = ParallelBeam(np.array([0.0, 0.1]), 40)  # wide detector, two views
    B = XRay(Volume((8, 8)), beam)
    y = np.ones(B.out_shape)  # also where no pixel is: cannot be explained, must not explode
    for solver in (CGLS(), SIRT(lower=0.0)):
        assert np.isfinite(run(solver, Problem(B, y), 50).x).all()


@pytest.mark.parametrize("name", SOLVERS)
def test_warm_start(y, name):
    solver, problem = SOLVERS[name], Problem(A, y)
    far = run(solver, problem, 80).x
    again = run(solver, problem, 3, x0=far)
    assert np.linalg.norm(A(again.x) - y) <= np.linalg.norm(A(far) - y) * (1 + 1e-4)
    none = run(solver, problem, 0, x0=far)
    assert none.x is far and none.iterations == 0 and none.stopped == "budget"
    if name in ("sirt", "boxed"):  # memoryless: stopping and going on is the same
        half = run(solver, problem, 40).x
        np.testing.assert_allclose(run(solver, problem, 40, x0=half).x, far, atol=1e-12)


# --- the driver ---


@pytest.mark.parametrize("convert", [np.asarray, _torch])
def test_callback_sees_each_step_and_stops(y, convert):
    seen = []
    found = run(CGLS(), Problem(A, convert(y)), 9, callback=lambda s: seen.append(s) or len(seen) < 4)
    assert (found.iterations, found.stopped) == (4, "callback")
    assert [s.iteration for s in seen] == [1, 2, 3, 4] and seen[-1].x is found.x
    residuals = [s.residual for s in seen]
    assert residuals == sorted(residuals, reverse=True) and type(residuals[0]) is float
    assert residuals[-1] == pytest.approx(float(np.linalg.norm(y - A(np.asarray(found.x)))))
    assert run(CGLS(), Problem(A, y), 3, callback=lambda s: None).stopped == "budget"


def test_wrong_settings():
    with pytest.raises(ValueError, match="n is -1"):
        run(CGLS(), Problem(A, np.zeros(A.out_shape)), -1)
    with pytest.raises(ValueError, match="damping is -1"):
        CGLS(damping=-1)
    with pytest.raises(ValueError, match="between 0 and 2"):
        SIRT(relaxation=2.0)
    with pytest.raises(ValueError, match="lower must not exceed upper"):
        SIRT(lower=1.0, upper=0.0)


# --- gradients ---


def test_cgls_is_differentiable_in_the_data():
    torch = pytest.importorskip("torch")
    small = XRay(Volume((3, 4)), ParallelBeam.evenly(4, 5))
    y = small(torch.rand(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) + 0.2)
    y.requires_grad_()
    for solver in (CGLS(), CGLS(damping=0.4), SIRT()):
        assert torch.autograd.gradcheck(lambda data, s=solver: run(s, Problem(small, data), 3).x, y)
    run(CGLS(), Problem(small, y), 2, callback=lambda s: None)  # a number for people, whatever the graph


def test_the_residual_of_solved_data_has_a_gradient(x64):
    """The square root of zero must not turn gradients through the state into NaN."""
    torch = pytest.importorskip("torch")
    y = torch.zeros(A.out_shape, dtype=torch.float64, requires_grad=True)
    state = run(CGLS(), Problem(A, y), 2).state
    (state.residual + state.x.sum()).backward()
    assert torch.isfinite(y.grad).all()

    def loss(data):
        state = CGLS().step(Problem(A, data), CGLS().init(Problem(A, data)))
        return state.residual + state.x.sum()

    assert np.isfinite(x64.grad(loss)(x64.numpy.zeros(A.out_shape))).all()


def test_damped_cgls_stays_at_the_solution(y):
    """Steps beyond convergence change nothing, where rounding once grew without bound."""
    problem = Problem(A, np.stack([y, 3 * y, -y]))
    there, beyond = (run(CGLS(damping=2.5), problem, n).x for n in (60, 400))
    np.testing.assert_allclose(beyond, there, atol=1e-12 * np.abs(there).max())


def test_gradient_through_lsqr(y):
    torch = pytest.importorskip("torch")
    from rayfold.recon.solvers import LSQR

    data = torch.as_tensor(y).requires_grad_()
    for solver in (LSQR(), LSQR(damping=0.3)):
        found = run(solver, Problem(A, data), 4).x
        (slope,) = torch.autograd.grad(found.square().sum(), data)
        step = 1e-6 * np.random.default_rng(0).standard_normal(y.shape)
        rise = [(run(solver, Problem(A, y + s * step), 4).x ** 2).sum() for s in (1, -1)]
        np.testing.assert_allclose((slope.numpy() * step).sum(), (rise[0] - rise[1]) / 2, rtol=1e-5)
