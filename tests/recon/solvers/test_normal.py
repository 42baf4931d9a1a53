"""The fast gram of weighted problems: taken where there is one, the same iterates, in every library."""

from __future__ import annotations

import jax
import numpy as np
import pytest
import torch
from tests.operators.table import SLICES, difference, nufft, operator
from tests.recon.solvers.table import convert, problem

from rayfold.operators import CoilSensitivities, Gaussian, Toeplitz
from rayfold.operators.engine_finufft import FinufftPlan
from rayfold.operators.sense_gram import SenseGram
from rayfold.recon.problem import Problem
from rayfold.recon.solvers import CGLS, run
from rayfold.recon.solvers.cg import CG
from rayfold.recon.solvers.normal import gram_of, normal
from rayfold.recon.solvers.steps import lipschitz

STEPS = 4


def draw(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def density(n, seed=3):
    return Gaussian(np.random.default_rng(seed).uniform(0.5, 2.0, n))


def radial() -> Problem:
    """Coils and a weight for every sample of k-space, the same for all coils."""
    A = nufft((6, 5), 60) @ CoilSensitivities(draw((3, 6, 5)))
    return Problem(A, draw(A.out_shape, 2), density(60))


def views() -> Problem:
    """CT by the Fourier slice model, a weight for every view."""
    A = operator("Fourier slices")
    return Problem(A, draw(A.out_shape, 2).real, density((A.out_shape[0], 1)))


CASES = {"radial SENSE": (radial, SenseGram), "Fourier slices": (views, Toeplitz)}
every = pytest.mark.parametrize("name", CASES)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def transforms(monkeypatch):
    """Counts the non-uniform transforms."""
    seen: list[int] = []
    original = FinufftPlan._run

    def counted(self, kind, a, out):
        seen.append(kind)
        original(self, kind, a, out)

    monkeypatch.setattr(FinufftPlan, "_run", counted)
    return seen


@every
def test_steps_of_a_weighted_problem_are_convolutions(name, transforms):
    make, kind = CASES[name]
    given, solver = make(), CG(damping=0.1)
    state = solver.init(given)
    assert type(state.gram) is kind and transforms
    transforms.clear()
    for _ in range(STEPS):
        state = solver.step(given, state)
    assert not transforms
    expected = run(CGLS(damping=0.1), given, STEPS)
    assert difference(state.x, expected.x) < 1e-10
    assert state.residual == pytest.approx(expected.state.residual, rel=1e-8)


@every
def test_libraries_agree(name, x64):
    given = CASES[name][0]()
    expected = run(CG(), given, STEPS).x
    for into in (torch.as_tensor, jax.numpy.asarray):
        moved = convert(given, into)
        assert type(gram_of(moved)) is CASES[name][1]
        assert difference(np.asarray(run(CG(), moved, STEPS).x), expected) < 1e-10
    state = jax.jit(CG().init)(moved)  # weights of a program have no values to make a kernel of
    assert state.gram is None
    steps = {"without a gram": state, "with one": CG().init(moved)}
    for state in steps.values():
        step = jax.jit(CG().step)
        for _ in range(STEPS):
            state = step(moved, state)
        assert difference(np.asarray(state.x), expected) < 1e-10


@every
def test_batches_share_one_gram(name):
    given = CASES[name][0]()
    several = given._replace(y=np.stack([given.y, 2 * given.y[..., ::-1]]))
    assert gram_of(several) is not None
    for i, x in enumerate(run(CG(), several, STEPS).x):
        assert difference(x, run(CG(), given._replace(y=several.y[i]), STEPS).x) < 1e-10


def without_one():
    """Weights and operators that have no faster way."""
    sense, slices, rays = radial(), views(), problem("weighted")[0]
    learned = torch.ones(sense.A.out_shape[-1], dtype=torch.float64, requires_grad=True)
    return {
        "a weight for every coil and sample": sense._replace(noise=density(sense.A.out_shape)),
        "a weight for every ray": slices._replace(noise=density(slices.A.out_shape)),
        "one set of weights per problem": slices._replace(
            noise=density((2, 7, 1)), y=np.stack([slices.y] * 2)
        ),
        "a narrow detector": views()._replace(
            A=operator("Fourier slices, narrow detector"), y=draw((7, 10)).real
        ),
        "rays": rays,
        "rays of some views": rays._replace(A=(2 * rays.A)),
        "learned weights": convert(sense, torch.as_tensor)._replace(noise=Gaussian(learned)),
    }


@pytest.mark.parametrize("name", without_one())
def test_all_others_apply_the_operator_twice(name):
    given = without_one()[name]
    assert gram_of(given) is None and CG().init(given).gram is None
    if name == "learned weights":
        (run(CG(), given, 2).x.abs() ** 2).sum().backward()
        assert given.noise.sigma.grad.abs().min() > 0
    elif "per problem" not in name:
        assert difference(run(CG(), given, 2).x, run(CGLS(), given, 2).x) < 1e-9


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own call
def test_weights_in_a_transform_of_torch_stay_there():
    given = convert(views(), torch.as_tensor)

    def solved(sigma):
        return CG().step(own := given._replace(noise=Gaussian(sigma)), CG().init(own)).x.square().sum()

    sigma, direction = given.noise.sigma, torch.ones_like(given.noise.sigma)
    _, slope = torch.func.jvp(solved, (sigma,), (direction,))
    step = 1e-6
    quotient = (solved(sigma + step * direction) - solved(sigma - step * direction)) / (2 * step)
    assert slope.item() == pytest.approx(quotient.item(), rel=1e-5)


@pytest.mark.parametrize("noise", [None, Gaussian(0.5), "own"])
@every
def test_largest_curvature_is_found_through_the_gram(name, noise, transforms):
    given = CASES[name][0]()
    given = given if noise == "own" else given._replace(noise=noise)
    gram = gram_of(given)
    x = draw(given.A.in_shape) if given.A.field == "complex" else draw(given.A.in_shape).real
    assert difference(normal(given, gram, x), given.A.H(given.weigh(given.A(x)))) < 1e-12
    transforms.clear()
    found = lipschitz(given)
    assert transforms == [1]  # the start alone
    M = np.stack([normal(given, None, e.reshape(x.shape)).ravel() for e in np.eye(x.size, dtype=x.dtype)], 1)
    largest = np.linalg.eigvalsh(M)[-1]
    assert 0.98 * largest < found < 1.06 * largest


def test_the_table_knows_when_slices_have_no_gram():
    fast = {name: type(operator(name).gram) is Toeplitz for name in SLICES}
    assert not fast["Fourier slices, narrow detector"] and sum(fast.values()) >= 4
