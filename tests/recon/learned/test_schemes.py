"""Laws of the learned schemes: what they are without their networks, and what must not matter to them."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest

torch = pytest.importorskip("torch")

from rayfold.operators import ParallelBeam, Volume, XRay, fbp_operator  # noqa: E402
from rayfold.operators.calculus import Diagonal  # noqa: E402
from rayfold.operators.noise import Gaussian  # noqa: E402
from rayfold.recon import Problem, run  # noqa: E402
from rayfold.recon.learned import (  # noqa: E402
    LearnedGradient,
    LearnedPrimalDual,
    MoDL,
    SmallCNN,
    Unrolled,
    VariationalNetwork,
)

N = 3


def each(parts: int = 1) -> torch.nn.ModuleList:
    return torch.nn.ModuleList(SmallCNN(parts, parts, width=4) for _ in range(N))


SCHEMES = {
    "primal-dual": lambda field="real": LearnedPrimalDual.create(N, channels=3, width=4, field=field),
    "gradient": lambda field="real": LearnedGradient.create(N, channels=2, width=4, field=field),
    "variational": lambda field="real": VariationalNetwork(each(1 + (field == "complex"))),
    "modl": lambda field="real": MoDL(each(1 + (field == "complex")), 2.0, tolerance=1e-12),
}
everyone = pytest.mark.parametrize("name", SCHEMES)


def silent(network: torch.nn.Module) -> torch.nn.Module:
    for p in network.parameters():
        torch.nn.init.zeros_(p)
    return network


# --- without networks: the classical parents ---


def test_variational_network_is_gradient_descent(problem, scan):
    solver = VariationalNetwork(silent(SmallCNN(1, 1, width=2)).double(), 0.9, lipschitz=200.0)
    x = torch.zeros_like(scan.H(problem.y))
    for _ in range(5):
        x = x - 0.9 / 200 * scan.H(scan(x) - problem.y)
    torch.testing.assert_close(Unrolled(solver, 5)(problem), x, rtol=1e-12, atol=1e-12)


def test_a_bounded_step_descends(problem):
    solver = VariationalNetwork(silent(SmallCNN(1, 1, width=2)).double())
    residuals = []
    run(solver, problem, 20, callback=lambda status: residuals.append(status.residual))
    assert all(b < a for a, b in pairwise(residuals))


def test_modl_starts_at_tikhonov(problem, scan):
    solver = MoDL(silent(SmallCNN(1, 1, width=2)).double(), 3.0, tolerance=1e-12, iterations=100)
    dense = torch.from_numpy(scan.dense())
    normal = dense.T @ dense + 3.0 * torch.eye(dense.shape[1], dtype=torch.float64)
    expected = torch.linalg.solve(normal, scan.H(problem.y).flatten(1).T).T.reshape(3, *scan.in_shape)
    torch.testing.assert_close(solver.init(problem).x, expected, rtol=1e-8, atol=1e-9)


def test_a_modl_step_is_least_squares_around_the_denoised_image(problem, scan):
    net = SmallCNN(1, 1, width=3).double()
    weighted = problem._replace(noise=Gaussian(0.5))
    solver = MoDL(net, 3.0, tolerance=1e-12, iterations=200)
    state = solver.init(weighted)
    x = solver.step(weighted, state).x
    denoised = state.x - net(state.x[:, None])[:, 0]
    slope = 4.0 * scan.H(scan(x) - problem.y) + 3.0 * (x - denoised)
    assert slope.abs().max() < 1e-8 * (3.0 * denoised).abs().max()


# --- what must not matter ---


@everyone
def test_a_batch_is_its_problems(problem, name):
    net = Unrolled(SCHEMES[name](), N).double()
    with torch.no_grad():
        together = net(problem)
        assert together.shape == (3, 12, 12)
        torch.testing.assert_close(net(problem._replace(y=problem.y[1])), together[1], rtol=1e-8, atol=1e-10)
        folded = net(problem._replace(y=problem.y[:2].reshape(2, 1, *problem.y.shape[1:])))
        torch.testing.assert_close(folded[:, 0], together[:2], rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", ["primal-dual", "gradient", "variational"])
def test_the_unit_of_length_does_not_matter(problem, name):
    """Rays a thousand times as long: the same networks see the same."""
    net = Unrolled(SCHEMES[name](), N).double()
    wide = XRay(Volume((12, 12), 1000.0), ParallelBeam.evenly(10, 18, pitch=1000.0))
    with torch.no_grad():
        expected = net(problem)
        found = net(Problem(wide, 1000 * problem.y))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@everyone
def test_residual_is_that_of_the_image(problem, scan, name):
    weighted = problem._replace(noise=Gaussian(0.5))
    net = Unrolled(SCHEMES[name](), N).double()
    with torch.no_grad():
        state = net.at(0).init(weighted)
        for k in range(N):
            state = net.at(k).step(weighted, state)
            expected = torch.linalg.vector_norm((scan(state.x) - problem.y).flatten(1), dim=1) / 0.5
            torch.testing.assert_close(state.residual, expected)


@everyone
def test_run_takes_the_same_steps(problem, name):
    scheme = SCHEMES[name]()
    parts = [f for f in ("primal", "dual", "network") if hasattr(scheme, f)]
    shared = replace(scheme, **{f: getattr(scheme, f)[0].double() for f in parts})
    with torch.no_grad():
        assert torch.equal(run(shared, problem, N).x, Unrolled(shared, N)(problem))


@everyone
def test_every_weight_learns(problem, name):
    net = Unrolled(SCHEMES[name](), N).double()
    net(problem, 0.01 * problem.A.H(problem.y)).square().sum().backward()
    weights = [p.grad for key, p in net.named_parameters() if key.endswith("weight")]
    assert len(weights) == 3 * N * (2 if name == "primal-dual" else 1)
    assert all(g is not None and g.isfinite().all() and (g != 0).any() for g in weights)


@everyone
def test_single_precision_stays_single(problem, name):
    with torch.no_grad():
        single = problem._replace(y=problem.y.float())
        assert Unrolled(SCHEMES[name](), N)(single).dtype == torch.float32


@everyone
def test_complex_images(name):
    d = torch.randn(8, 8, dtype=torch.complex128)
    A = Diagonal((8, 8), d.numpy())
    y = torch.randn(2, 8, 8, dtype=torch.complex128)
    net = Unrolled(SCHEMES[name]("complex"), N).double()
    x = net(Problem(A, y))
    assert x.shape == y.shape and x.dtype == torch.complex128
    x.abs().square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.parameters() if p.grad is not None)


def test_filtered_back_projection_in_place_of_the_adjoint(problem, scan):
    fbp = fbp_operator(scan.volume, scan.beam)[0]
    for make in (LearnedPrimalDual.create, LearnedGradient.create):
        torch.manual_seed(0)
        plain = Unrolled(make(N, width=4), N).double()
        torch.manual_seed(0)
        filtered = Unrolled(make(N, width=4, back=fbp), N, start=fbp).double()
        with torch.no_grad():
            assert not torch.allclose(plain(problem), filtered(problem))
            start = fbp(problem.y)
            # fresh networks hardly move a start
            change = torch.linalg.vector_norm(filtered(problem) - start) / torch.linalg.vector_norm(start)
            assert change < 0.5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LearnedPrimalDual.create(2, channels=1), "channels is 1; the scheme reads two of them"),
        (lambda: LearnedPrimalDual.create(2, scale=0.0), "scale is 0.0; it must be positive"),
        (lambda: LearnedGradient.create(2, channels=0), "channels is 0; it must be positive"),
        (lambda: LearnedGradient.create(2, lipschitz=-1.0), "lipschitz is -1.0; it must be positive"),
        (lambda: VariationalNetwork(SmallCNN(1, 1), 0.0), "step_size is 0.0; it must be positive"),
        (lambda: MoDL(SmallCNN(1, 1), 0.0), "strength is 0.0; it must be positive"),
        (lambda: MoDL(SmallCNN(1, 1), 1.0, iterations=0), "iterations is 0; it must be positive"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
