"""Samples come from the generator and from nothing else."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from rayfold.operators import ParallelBeam, Volume, XRay  # noqa: E402
from rayfold.operators.calculus import Diagonal  # noqa: E402
from rayfold.operators.noise import Gaussian  # noqa: E402
from rayfold.recon.train import Recorded, Simulated  # noqa: E402

A = XRay(Volume((8, 8)), ParallelBeam.evenly(6, 12))


def pool(n: int = 20) -> torch.Tensor:
    return torch.rand((n, 8, 8), generator=torch.Generator().manual_seed(4), dtype=torch.float64)


TASKS = {
    "simulated": Simulated(A, pool(), Gaussian(0.1), batch=5),
    "made": Simulated(A, lambda generator, n: torch.rand((n, 8, 8), generator=generator), batch=5),
    "recorded": Recorded(A, A(pool()), pool(), batch=5),
}


@pytest.mark.parametrize("name", TASKS)
def test_the_generator_decides(name):
    samples = [TASKS[name](torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(samples[0].problem.y, samples[1].problem.y)
    assert torch.equal(samples[0].truth, samples[1].truth)
    assert not torch.equal(samples[0].problem.y, samples[2].problem.y)
    assert samples[0].problem.y.shape == (5, 6, 12) and samples[0].truth.shape == (5, 8, 8)


def test_simulated_data_are_those_of_the_images(generator):
    exact = Simulated(A, pool(), batch=4)(generator)
    assert torch.equal(exact.problem.y, A(exact.truth)) and exact.problem.noise is None
    noisy = Simulated(A, pool(), Gaussian(0.2), batch=20)(generator)
    assert float((noisy.problem.y - A(noisy.truth)).std()) == pytest.approx(0.2, rel=0.1)
    assert noisy.problem.noise.sigma == 0.2


def test_another_operator_may_make_the_data(generator):
    import numpy as np

    other = 3 * A @ Diagonal((8, 8), np.linspace(0, 1, 8))
    sample = Simulated(A, pool(), simulate=other)(generator)
    assert sample.problem.A is A
    torch.testing.assert_close(sample.problem.y, other(sample.truth))


def test_no_scan_twice_while_there_are_enough(generator):
    y = torch.arange(20.0).reshape(20, 1, 1).expand(20, 6, 12)
    for batch, different in ((20, 20), (7, 7), (50, 20)):
        found = Recorded(A, y, batch=batch)(generator)
        assert found.truth is None and len(found.problem.y) == batch
        assert len(set(found.problem.y[:, 0, 0].tolist())) <= different
        if batch <= 20:
            assert len(set(found.problem.y[:, 0, 0].tolist())) == different


def test_pairs_stay_together(generator):
    sample = Recorded(A, A(pool()), pool(), batch=6)(generator)
    torch.testing.assert_close(A(sample.truth), sample.problem.y)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Simulated(A, pool(), batch=0), "batch is 0; it must be positive"),
        (lambda: Recorded(A, A(pool()), pool(3)), "there are 3 images for 20 scans; give one for each"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
