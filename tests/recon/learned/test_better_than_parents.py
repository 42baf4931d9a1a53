"""Each learned scheme, trained for seconds, beats its classical parent on images neither has seen."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.operators import ParallelBeam, Volume, XRay, fbp_operator  # noqa: E402
from rayfold.operators.noise import Gaussian  # noqa: E402
from rayfold.recon import Problem, run  # noqa: E402
from rayfold.recon.ellipses import rasterise  # noqa: E402
from rayfold.recon.learned import (  # noqa: E402
    LearnedGradient,
    LearnedPrimalDual,
    MoDL,
    SmallCNN,
    Unrolled,
    VariationalNetwork,
)
from rayfold.recon.priors import TV, HuberTV  # noqa: E402
from rayfold.recon.solvers import CGLS, PDHG, Landweber  # noqa: E402
from rayfold.recon.train import Plan, Sample, Simulated, Supervised, Trainer  # noqa: E402

pytestmark = pytest.mark.slow
SIZE, SIGMA = 32, 0.4
A = XRay(Volume((SIZE, SIZE)), ParallelBeam.evenly(20, 46))
FBP = fbp_operator(A.volume, A.beam, window="hann")[0]


def ellipses(n: int, seed: int) -> torch.Tensor:
    """Images of a few ellipses of values 0.2 .. 1."""
    rng, images = np.random.default_rng(seed), []
    for _ in range(n):
        rows = [
            (rng.uniform(0.2, 1), *rng.uniform(2, 9, 2), *rng.uniform(-9, 9, 2), rng.uniform(0, np.pi))
            for _ in range(rng.integers(3, 8))
        ]
        images.append(rasterise(rows, A.volume, supersample=3))
    return torch.from_numpy(np.stack(images)).float()


def measured(x: torch.Tensor, seed: int) -> Problem:
    return Problem(A, Gaussian(SIGMA).sample(A(x), seed))


def quality(x: torch.Tensor, truth: torch.Tensor) -> float:
    """Mean PSNR in dB for a peak of 1."""
    return float(-10 * (x - truth).square().mean((-2, -1)).log10().mean())


@pytest.fixture(scope="module")
def images() -> dict[str, torch.Tensor]:
    return {"train": ellipses(150, 0), "held out": ellipses(30, 1)}


def tuned(candidates, images) -> float:
    """Quality on held-out images of the candidate that is best on some of the training images."""
    shown, held = images["train"][:30], images["held out"]
    problem = measured(shown, 11)
    best = max(candidates, key=lambda method: quality(method(problem), shown))
    return quality(best(measured(held, 12)), held)


def trained(net: Unrolled, images, steps: int, rate: float) -> float:
    """Quality on held-out images after a short training."""
    drawn = Simulated(A, images["train"], Gaussian(SIGMA))

    def task(generator: torch.Generator) -> Sample:
        sample = drawn(generator)
        return sample._replace(problem=sample.problem._replace(noise=None))  # as the parents: plain squares

    Trainer(net, task, Supervised(), Plan(steps, rate, warmup=10, average=0.95)).run()
    held = images["held out"]
    with torch.no_grad():
        return quality(net(measured(held, 12)), held)


def solved(solver, n: int):
    return lambda problem: run(solver, problem, n).x


def test_learned_gradient_beats_descent_stopped_in_time(images):
    parents = [solved(CGLS(), n) for n in range(2, 13)]
    parents += [solved(Landweber(lower=0.0), n) for n in (20, 60, 200)]
    net = Unrolled(LearnedGradient.create(5, width=16, back=FBP), 5, start=FBP)
    found, parent = trained(net, images, 150, 3e-3), tuned(parents, images)
    assert found > parent + 1.0


def test_learned_primal_dual_beats_total_variation_and_filtered_back_projection(images):
    parents = [solved(PDHG(TV(float(strength))), 150) for strength in np.geomspace(0.5, 4, 5)]
    for cutoff in (0.3, 0.5, 0.7, 0.9):
        direct = fbp_operator(A.volume, A.beam, window="hann", cutoff=cutoff)[0]
        parents.append(lambda problem, direct=direct: direct(problem.y))
    net = Unrolled(LearnedPrimalDual.create(5, width=16, scale=A.norm(), back=FBP), 5, start=FBP)
    found, parent = trained(net, images, 300, 3e-3), tuned(parents, images)
    assert found > parent


def test_modl_beats_damped_least_squares(images):
    parents = [solved(CGLS(damping=float(damping)), 15) for damping in np.geomspace(1, 300, 8)]
    solver = MoDL(SmallCNN(1, 1, width=16), 20.0, iterations=8, tolerance=1e-3)
    net = Unrolled(solver, 3, trainable={"strength"})
    found, parent = trained(net, images, 120, 3e-3), tuned(parents, images)
    assert found > parent + 1.0


def test_variational_network_beats_descent_with_a_smooth_penalty(images):
    penalties = [HuberTV(float(s), corner) for s in np.geomspace(0.5, 2, 4) for corner in (0.02, 0.05)]
    parents = [solved(Landweber(penalty, lower=0.0), 300) for penalty in penalties]
    nets = torch.nn.ModuleList(SmallCNN(1, 1, width=16) for _ in range(6))
    net = Unrolled(VariationalNetwork(nets), 6, start=FBP, trainable={"step_size"})
    found, parent = trained(net, images, 400, 3e-3), tuned(parents, images)
    assert found > parent
