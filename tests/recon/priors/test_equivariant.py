"""Denoisers turned at random: exact symmetry, the same answer twice, and iterations that stay good."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rayfold.operators import Gaussian, ParallelBeam, Volume
from rayfold.operators.xray import XRay
from rayfold.recon import Problem, run
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.phantoms.leaves import dead_leaves
from rayfold.recon.priors import Equivariant, PlugAndPlay
from rayfold.recon.priors.equivariant import VIEWS, turn, turn_back
from rayfold.recon.shipped import DEFAULT
from rayfold.recon.solvers import Discrepancy, ProximalGradient

LIBRARIES = ("numpy", "torch", "jax")


def lopsided(x, sigma):
    """A mean over neighbours of one side, by a local weight: no symmetry at all."""
    return x / (1 + sigma) + 0.3 * sigma * x[..., :1, :1]


def identity(x, sigma):
    return x


def of(library: str, x):
    if library == "numpy":
        return x
    if library == "torch":
        return pytest.importorskip("torch").as_tensor(x)
    return pytest.importorskip("jax").numpy.asarray(x)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_eight_ways_are_the_symmetries_of_a_square(rng, library):
    x = rng.standard_normal((2, 5, 7)).astype(np.float32)
    seen = set()
    for way in range(VIEWS):
        turned = turn(of(library, x), way)
        seen.add((turned.shape, np.asarray(turned).tobytes()))
        np.testing.assert_array_equal(np.asarray(turn_back(turned, way)), x)
    assert len(seen) == VIEWS


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("every", [False, True])
def test_turned_and_turned_back(rng, library, every):
    x = rng.standard_normal((3, 6, 9)).astype(np.float32)
    found = Equivariant(identity, every=every)(of(library, x), 0.3)
    assert type(found) is type(of(library, x))
    np.testing.assert_allclose(np.asarray(found), x, rtol=1e-6)


def test_all_ways_together_are_exactly_equivariant(rng):
    x, level = rng.standard_normal((2, 6, 9)), rng.random((6, 9))
    denoise = Equivariant(lopsided, every=True)
    for way in range(VIEWS):
        for sigma, turned in ((0.5, 0.5), (level, turn(level, way))):
            np.testing.assert_allclose(
                denoise(turn(x, way), turned), turn(denoise(x, sigma), way), atol=1e-12
            )
    assert abs(lopsided(turn(x, 2), 0.5) - turn(lopsided(x, 0.5), 2)).max() > 0.05


def test_the_same_call_gives_the_same_answer_and_others_differ(rng):
    images = rng.standard_normal((40, 6, 6))
    ways = [[Equivariant(identity, seed)._drawn(x) for x in images] for seed in (0, 0, 1)]
    assert ways[0] == ways[1] != ways[2]
    assert set(ways[0]) == set(range(VIEWS))  # 40 draws leave one of 8 out once in 25 times; not these


def test_under_jit(rng):
    jax = pytest.importorskip("jax")
    x = rng.standard_normal((6, 9)).astype(np.float32)
    together = Equivariant(lopsided, every=True)
    np.testing.assert_allclose(jax.jit(lambda a: together(a, 0.2))(x), together(x, 0.2), rtol=1e-5, atol=1e-6)
    with pytest.raises(TypeError, match="every=True"):
        jax.jit(lambda a: Equivariant(lopsided)(a, 0.2))(x)
    with pytest.raises(TypeError, match="function of"):
        Equivariant(3.0)


# --- plug-and-play with the learned prior ---

N, STEPS, SIGMA = 64, 200, 2 / 255


@pytest.fixture(scope="module")
def task():
    """A textured disc at 60 views, 1 % noise."""
    y, x = np.mgrid[-1 : 1 : N * 1j, -1 : 1 : N * 1j]
    truth = (dead_leaves((N, N), 3) * (np.hypot(x, y) < 0.92)).astype(np.float32)
    truth /= truth.max()
    A = XRay(Volume((N, N)), ParallelBeam.evenly(60, 96))
    clean = A(truth)
    noise = Gaussian(float(0.01 * clean.max()))
    return truth, Problem(A, noise.sample(clean, 0).astype(np.float32), noise)


@pytest.fixture(scope="module")
def prior():
    return FoundationPrior.load(DEFAULT, device="cpu")


def history(solver, task, n=STEPS, **options):
    """PSNR after every step, and what `run` returned."""
    truth, problem = task
    found: list[float] = []
    solution = run(
        solver,
        problem,
        n,
        callback=lambda s: found.append(-10 * np.log10(np.mean((s.x - truth) ** 2))),
        **options,
    )
    return np.array(found), solution


def test_averaged_and_equivariant_does_not_fall_in_200_steps(task, prior):
    """The default: what is gained stays; all of the step of a network that sees one pose ends lower."""
    stable = PlugAndPlay(Equivariant(prior.for_iterations.denoise), sigma=SIGMA)
    found, _ = history(ProximalGradient(stable), task)
    assert found[-1] > found.max() - 0.1 and np.isfinite(found).all()
    assert found[-1] > found[19] + 2  # it has not stayed where it began either
    one = replace(prior, poses=1)
    whole, _ = history(ProximalGradient(PlugAndPlay(one.denoise, sigma=SIGMA), averaging=1.0), task)
    assert whole[-1] < found[-1] - 0.5


def test_stops_by_discrepancy(task, prior):
    stable = PlugAndPlay(Equivariant(prior.for_iterations.denoise), sigma=SIGMA)
    found, solution = history(ProximalGradient(stable), task, stop=Discrepancy())
    assert solution.stopped == "discrepancy" and 20 < solution.iterations < STEPS
    again, _ = history(ProximalGradient(stable), task, n=30)
    np.testing.assert_array_equal(again, found[:30])


def test_the_prior_itself_is_averaged_too(task, prior):
    """`FoundationPrior` in place of `PlugAndPlay`: a quarter of its step, without being asked."""
    _, problem = task
    x = np.asarray(problem.A.H(problem.y)) / 1e3
    default, whole = (
        run(ProximalGradient(prior, **options), problem, 1, x0=x).x for options in ({}, {"averaging": 0.25})
    )
    np.testing.assert_array_equal(default, whole)
