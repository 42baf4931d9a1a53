"""Each loss by the property it is used for."""

from __future__ import annotations

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.operators import Identity, ParallelBeam, Volume, XRay, fbp_operator  # noqa: E402
from rayfold.operators.calculus import Diagonal  # noqa: E402
from rayfold.operators.noise import Gaussian, Poisson  # noqa: E402
from rayfold.recon import Problem  # noqa: E402
from rayfold.recon.train import (  # noqa: E402
    SURE,
    Equivariance,
    Noise2Inverse,
    Sample,
    Splitting,
    Supervised,
    Transform,
)

A = XRay(Volume((12, 12)), ParallelBeam.evenly(10, 18))


def drawn(seed: int = 0, dtype=torch.float64) -> torch.Tensor:
    return torch.rand((2, *A.in_shape), generator=torch.Generator().manual_seed(seed), dtype=dtype)


# --- supervised ---


@pytest.mark.parametrize("power", [1, 2])
def test_supervised_is_the_mean_error(generator, power):
    x = drawn()
    loss = Supervised(power)(lambda problem: x + 0.5, Sample(Problem(A, A(x)), x), generator)
    assert float(loss) == pytest.approx(0.5**power)


def test_supervised_of_complex_images(generator):
    x = torch.zeros(4, dtype=torch.complex64)
    sample = Sample(Problem(Identity((4,)), x), x)
    assert float(Supervised()(lambda problem: x + (3 + 4j), sample, generator)) == pytest.approx(25.0)
    assert float(Supervised(1)(lambda problem: x + (3 + 4j), sample, generator)) == pytest.approx(5.0)


# --- SURE ---

NOISES = {
    "one sigma": Gaussian(0.3),
    "sigma per datum": Gaussian(np.linspace(0.1, 0.8, 10)[:, None] * np.ones(18)),
    "blind bins": Gaussian(np.where(np.arange(18) % 5 == 0, math.inf, 0.3)),
    "correlated": Gaussian(
        covariance=0.1 * (np.eye(10) + 0.4 * (np.eye(10, k=1) + np.eye(10, k=-1))), axis=-2
    ),
}


@pytest.mark.parametrize("name", NOISES)
def test_sure_estimates_the_error_of_a_linear_method(generator, name):
    """Mean over 200 noise draws within four standard errors of the true error behind A."""
    noise, x = NOISES[name], drawn()[:1]
    clean = A(x).repeat(200, 1, 1)
    y = noise.sample(clean, 5)
    y = torch.where(y.isfinite(), y, torch.zeros_like(y))
    shrink = 0.01 * A.H

    def model(problem):
        return shrink(problem.y)

    estimates, errors = [], []
    for k in range(200):
        problem = Problem(A, y[k : k + 1], noise)
        estimates.append(float(SURE()(model, Sample(problem), generator)))
        r = A(model(problem)) - clean[k : k + 1]
        n = int((problem.weigh(torch.ones_like(r)) != 0).sum())
        errors.append(float((r * problem.weigh(r)).sum()) / n)
    gap = np.array(estimates) - np.array(errors)
    assert abs(gap.mean()) < 4 * gap.std() / math.sqrt(len(gap))
    assert abs(gap.mean()) < 0.1 * np.mean(errors)


def test_sure_of_complex_data(generator):
    y = Gaussian(0.5).sample(torch.zeros(40000, dtype=torch.complex64), 3)
    sample = Sample(Problem(Identity((40000,)), y, Gaussian(0.5)))
    loss = SURE()(lambda problem: 0.5 * problem.y, sample, generator)
    assert float(loss) == pytest.approx(0.25, abs=0.02)  # in units of the variance


def test_sure_finds_the_best_shrinkage(generator):
    """Minimised over a factor without ever seeing x, it gives Wiener's."""
    x = 2.0 * torch.randn(50000, generator=generator)
    noise = Gaussian(1.0)
    sample = Sample(Problem(Identity((50000,)), noise.sample(x, 1), noise))
    factor = torch.tensor(0.2, requires_grad=True)
    descent = torch.optim.LBFGS([factor], max_iter=20)

    def closure():
        descent.zero_grad()
        loss = SURE()(lambda problem: factor * problem.y, sample, torch.Generator().manual_seed(0))
        loss.backward()
        return loss

    descent.step(closure)
    assert float(factor.detach()) == pytest.approx(4.0 / 5.0, abs=0.02)


# --- splitting ---


@pytest.mark.parametrize("axis", [-1, -2])
def test_splitting_never_shows_what_is_held_out(generator, axis):
    y, loss = A(drawn()), Splitting(0.3, axis)
    state = generator.get_state()
    seen, held = loss.split(Problem(A, y), generator)
    out = held.expand_as(y).bool()
    assert 0.2 < out.double().mean() < 0.4
    assert (seen.y[out] == 0).all() and torch.equal(seen.y[~out], y[~out])
    # nor through the operator, and not by changing the data that are held out
    image = drawn(3)
    assert (seen.A(image)[out] == 0).all() and torch.equal(seen.A(image)[~out], A(image)[~out])
    generator.set_state(state)
    other, _ = loss.split(Problem(A, torch.where(out, y + 100.0, y)), generator)
    assert torch.equal(other.y, seen.y) and other.A == seen.A


def test_splitting_compares_with_what_is_held_out_only(generator):
    x, noise = drawn(), Gaussian(0.5)
    problem = Problem(A, A(x), noise)
    masks = []

    class Watching(Splitting):
        def split(self, problem, generator):
            seen, held = super().split(problem, generator)
            masks.append(held)
            return seen, held

    loss = Watching(0.5)(lambda seen: x + 0.1, Sample(problem), generator)
    r = (A(x + 0.1) - A(x)) * masks[0]
    expected = (r * r).sum() / 0.25 / (masks[0].expand_as(r).sum())
    assert float(loss) == pytest.approx(float(expected))


def test_splitting_of_noise_alone_is_its_variance(generator):
    """A model that says nothing of the held-out data has the weighted noise for its loss: 1."""
    noise = Gaussian(0.3)
    y = noise.sample(torch.zeros(50, *A.out_shape), 0)
    loss = Splitting()(lambda problem: torch.zeros(50, *A.in_shape), Sample(Problem(A, y, noise)), generator)
    assert float(loss) == pytest.approx(1.0, abs=0.05)


# --- equivariance ---


def test_equivariance_is_zero_for_an_exact_inverse(generator):
    d = 0.5 + torch.rand(9, 9, generator=generator, dtype=torch.float64)
    op = Diagonal((9, 9), d.numpy())
    sample = Sample(Problem(op, op(torch.rand(2, 9, 9, generator=generator, dtype=torch.float64))))
    for transform in (Transform(), Transform(shifts=3), Transform(rotation=1.0)):
        loss = Equivariance(transform)(lambda problem: problem.y / d, sample, generator)
        assert float(loss) < 1e-25


def test_equivariance_sees_what_data_consistency_does_not(generator):
    """An operator without the right half: filling it with zeros is consistent, but not equivariant."""
    mask = np.ones((8, 8))
    mask[:, 4:] = 0
    op = Diagonal((8, 8), mask)
    x = torch.rand(3, 8, 8, generator=generator, dtype=torch.float64)
    sample = Sample(Problem(op, op(x)))
    losses = [float(Equivariance()(lambda problem: problem.y, sample, generator)) for _ in range(20)]
    assert max(losses) > 0.01
    loss = Equivariance(Transform(turns=False, flips=False))(lambda problem: problem.y, sample, generator)
    assert float(loss) == 0


def test_equivariance_with_noise_passes_gradients_through_the_moved_image(generator):
    noise = Gaussian(0.1)
    sample = Sample(Problem(Identity((4, 4)), torch.ones(4, 4, dtype=torch.float64), noise))
    factor = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    state = generator.get_state()

    def loss(value):
        generator.set_state(state)
        return Equivariance(noisy=True)(lambda problem: value * problem.y, sample, generator)

    assert torch.autograd.gradcheck(loss, factor)


# --- Noise2Inverse ---


def test_parts_are_reconstructions_of_their_views(generator):
    y = A(drawn())
    images = Noise2Inverse(3).images(Problem(A, y))
    assert len(images) == 3
    for k, image in enumerate(images):
        part = A[k::3]
        torch.testing.assert_close(image, fbp_operator(part.volume, part.beam)[0](y[:, k::3]))


def test_noise2inverse_compares_independent_parts(generator):
    """The best constant factor on pure noise is 0: no part predicts another."""
    y = torch.randn(60, *A.out_shape, generator=generator)
    loss = Noise2Inverse(2, direct=lambda problem: problem.A.H(problem.y))
    state, values = generator.get_state(), []
    for factor in (-1.0, 0.0, 1.0):
        generator.set_state(state)
        values.append(float(loss(lambda image: factor * image, Sample(Problem(A, y)), generator)))  # noqa: B023
    best = (values[0] - values[2]) / (2 * (values[0] + values[2] - 2 * values[1]))
    assert abs(best) < 0.05


def test_noise2inverse_shows_the_network_the_other_parts(generator):
    y = A(drawn())
    images = Noise2Inverse(2).images(Problem(A, y))
    shown = []
    loss = Noise2Inverse(2)(lambda image: shown.append(image) or image, Sample(Problem(A, y)), generator)
    k = 0 if torch.equal(shown[0], images[1]) else 1
    assert torch.equal(shown[0], images[1 - k])
    torch.testing.assert_close(loss, (images[1 - k] - images[k]).square().mean())


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda s, g: Supervised()(lambda p: p.y, s, g),
            ValueError,
            "no true image; use a loss that needs none",
        ),
        (lambda s, g: Supervised(3), ValueError, "power is 3; it must be 1 or 2"),
        (lambda s, g: SURE()(lambda p: p.y, s, g), ValueError, "SURE needs Gaussian noise, got NoneType"),
        (lambda s, g: SURE(0.0), ValueError, "probe is 0.0; it must be positive"),
        (lambda s, g: Splitting(1.0), ValueError, "held is 1.0; it must lie between 0 and 1"),
        (lambda s, g: Splitting(axis=1), ValueError, "axis is 1; count it from the end"),
        (lambda s, g: Splitting(0.01)(lambda p: p.y, s, g), ValueError, "leaves one side empty"),
        (
            lambda s, g: Splitting(axis=-3)(lambda p: p.y, s, g),
            ValueError,
            "axis is -3, the data have the axes",
        ),
        (lambda s, g: Equivariance(weight=0.0), ValueError, "weight is 0.0; it must be positive"),
        (
            lambda s, g: Equivariance(noisy=True)(lambda p: p.y, s, g),
            ValueError,
            "needs a problem with Gaussian",
        ),
        (lambda s, g: Noise2Inverse(1), ValueError, "parts is 1; at least 2 are needed"),
        (
            lambda s, g: Noise2Inverse(9)(lambda x: x, s, g),
            ValueError,
            "4 views cannot be dealt out to 9 parts",
        ),
        (lambda s, g: Noise2Inverse(2)(lambda x: x, s, g), TypeError, "no filtered back-projection for"),
    ],
)
def test_bad_input(generator, call, error, message):
    sample = Sample(Problem(Identity((4, 4)), torch.ones(4, 4)))
    with pytest.raises(error, match=message):
        call(sample, generator)


def test_sure_says_what_to_do_with_counts(generator):
    sample = Sample(Problem(Identity((4,)), torch.ones(4), Poisson()))
    with pytest.raises(ValueError, match=r"got Poisson; use problem.quadratic\(\)"):
        SURE()(lambda problem: problem.y, sample, generator)
    quadratic = Sample(sample.problem.quadratic())
    assert SURE()(lambda problem: problem.y, quadratic, generator).isfinite()
