"""`Implicit`: the fixed point, its exact gradient, and what it costs."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from rayfold.operators.noise import Gaussian  # noqa: E402
from rayfold.recon import CGLS, run  # noqa: E402
from rayfold.recon.learned import Implicit, MoDL, NoFixedPoint, SmallCNN, Unrolled, VariationalNetwork  # noqa: E402
from rayfold.recon.learned.implicit import at_rest  # noqa: E402


def regulariser(scale: float = 0.02) -> SmallCNN:
    """A step towards zero and a bit of a network: contractive together."""
    torch.manual_seed(3)
    net = SmallCNN(1, 1, width=3, bias=False, depth=2).double()
    with torch.no_grad():
        for layer in net.layers:
            layer.weight.mul_(scale / layer.weight.abs().amax())
        for layer in net.layers:
            for k in range(min(layer.weight.shape[:2])):
                layer.weight[k, k, 1, 1] += math.sqrt(0.3)
    return net


def test_plain_descent_ends_at_tikhonov(problem):
    # network(x) = 0.3 x through rectifiers of slope 1 means damping 0.3 L
    shrink = SmallCNN(1, 1, width=1, depth=2, bias=False, slope=1.0).double()
    with torch.no_grad():
        for layer in shrink.layers:
            layer.weight.zero_()[0, 0, 1, 1] = math.sqrt(0.3)
    solver = VariationalNetwork(shrink, 1.0, lipschitz=300.0)
    found = Implicit(solver, tolerance=1e-11)(problem)
    expected = run(CGLS(damping=0.3 * 300.0), problem, 20).x
    torch.testing.assert_close(found, expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("memory", [0, 5])
def test_gradient_is_that_of_unrolling_to_convergence(problem, memory):
    weighted = problem._replace(noise=Gaussian(0.7))
    results = []
    for kind in ("unrolled", "implicit"):
        solver = VariationalNetwork(regulariser(), 0.9)
        if kind == "unrolled":
            net = Unrolled(solver, 250).double()
        else:
            net = Implicit(solver, tolerance=1e-11, iterations=2000, memory=memory).double()
        one = weighted._replace(y=weighted.y.clone().requires_grad_())
        x = net(one)
        x.pow(3).sum().backward()
        results.append([x.detach(), one.y.grad, *(p.grad for p in net.parameters())])
    assert len(results[0]) == 4
    for a, b in zip(*results, strict=True):
        assert torch.linalg.vector_norm(a - b) <= 1e-4 * torch.linalg.vector_norm(a)


def test_numbers_can_be_trained(problem):
    solver = MoDL(regulariser(0.01), 5.0, iterations=100, tolerance=1e-11)
    one = problem._replace(y=problem.y[0])
    net = Implicit(solver, trainable={"strength"}, tolerance=1e-8).double()
    raw = next(p for name, p in net.named_parameters() if "numbers" in name)

    def image(value):
        return torch.func.functional_call(net, {"one.numbers.strength": value}, (one,)).sum()

    image(raw).backward()
    step = 1e-4
    with torch.no_grad():
        slope = (image(raw + step) - image(raw - step)) / (2 * step)
    assert float(raw.grad) == pytest.approx(float(slope), rel=1e-4)


def test_memory_does_not_depend_on_the_iterations(problem, held_bytes):
    held = []
    for tolerance in (1e-2, 1e-10):
        net = Implicit(VariationalNetwork(regulariser(), 0.9), tolerance=tolerance).double()
        held.append(held_bytes(lambda: net(problem)))  # noqa: B023
    assert held[0] == held[1]


def test_anderson_is_faster_than_repetition():
    d = torch.linspace(0.1, 0.97, 30, dtype=torch.float64)
    calls = {}
    for memory in (0, 5):
        counted = [0]

        def f(x, counted=counted):
            counted[0] += 1
            return d * x + 1.0

        x = at_rest(f, torch.zeros(2, 30, dtype=torch.float64), (30,), tolerance=1e-9, n=3000, memory=memory)
        torch.testing.assert_close(x, (1 / (1 - d)).expand(2, 30), rtol=1e-6, atol=0.0)
        calls[memory] = counted[0]
    assert calls[5] < calls[0] / 3


def test_second_derivatives_are_refused(problem):
    x = Implicit(VariationalNetwork(regulariser(), 0.9)).double()(problem)
    with pytest.raises(RuntimeError, match="differentiated once; use Unrolled"):
        x.sum().backward(create_graph=True)


def test_no_graph_without_gradients(problem):
    net = Implicit(VariationalNetwork(regulariser(), 0.9)).double()
    with torch.no_grad():
        assert not net(problem).requires_grad


def test_a_map_that_does_not_rest_says_so():
    with pytest.raises(NoFixedPoint, match=r"after 20 steps the image still changes by .*smaller step_size"):
        at_rest(lambda x: x + 1, torch.zeros(1, 1), (1,), tolerance=1e-3, n=20, memory=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tolerance": 0.0}, "tolerance is 0.0; it must lie between 0 and 1"),
        ({"iterations": 0}, "iterations is 0"),
        ({"memory": -1}, "memory -1"),
    ],
)
def test_bad_input(options, message):
    with pytest.raises(ValueError, match=message):
        Implicit(CGLS(), **options)
