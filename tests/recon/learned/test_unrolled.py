"""`Unrolled`: the very steps of the solver, with gradients."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from rayfold.operators import ParallelBeam, Volume, XRay  # noqa: E402
from rayfold.recon import CGLS, SIRT, Problem, run  # noqa: E402
from rayfold.recon.learned import LearnedPrimalDual, MoDL, SmallCNN, Unrolled, VariationalNetwork  # noqa: E402
from rayfold.recon.priors import TV, HuberTV, NonNegative  # noqa: E402
from rayfold.recon.solvers import ADMM, FISTA, HQS, OSSQS, PDHG, SART, Landweber, Schedule  # noqa: E402

SOLVERS = {
    "cgls": CGLS(damping=0.3),
    "sirt": SIRT(lower=0.0),
    "pdhg": PDHG((TV(0.2), NonNegative())),
    "schedule": CGLS(damping=Schedule(lambda k: 1.0 / (1 + k))),
    "fista": FISTA(TV(0.2, iterations=5)),
    "admm": ADMM(TV(0.2)),
    "hqs": HQS(TV(0.2)),
    "landweber": Landweber(HuberTV(0.1, 0.1), lower=0.0),
    "sart": SART(),
    "subsets": OSSQS(HuberTV(0.1, 0.1)),
}


# --- the same steps ---


@pytest.mark.parametrize("name", SOLVERS)
def test_is_the_solver_run_bit_for_bit(problem, name):
    expected = run(SOLVERS[name], problem, 6).x
    assert torch.equal(Unrolled(SOLVERS[name], 6)(problem), expected)
    x0 = torch.ones_like(expected)
    assert torch.equal(Unrolled(SOLVERS[name], 6)(problem, x0), run(SOLVERS[name], problem, 6, x0=x0).x)


def test_start_is_an_operator_on_the_data(problem, scan):
    net = Unrolled(CGLS(), 2, start=0.01 * scan.H)
    assert torch.equal(net(problem), run(CGLS(), problem, 2, x0=0.01 * scan.H(problem.y)).x)


@pytest.mark.parametrize("name", SOLVERS)
def test_gradient_with_respect_to_the_data(problem, name):
    net = Unrolled(SOLVERS[name], 3)
    one = problem._replace(y=problem.y[0].clone().requires_grad_())
    assert torch.autograd.gradcheck(lambda y: net(one._replace(y=y)), one.y, fast_mode=True)


# --- what is trained ---


def test_nothing_is_trainable_unless_named(problem):
    assert list(Unrolled(PDHG((TV(0.2), HuberTV(0.1, 0.3))), 3).parameters()) == []


@pytest.mark.parametrize(
    ("solver", "names", "keys"),
    [
        (CGLS(damping=0.3), {"damping"}, {"damping"}),
        (SIRT(1.3), {"relaxation"}, {"relaxation"}),
        (PDHG(TV(0.02)), {"strength", "step_size"}, {"prior__strength", "step_size"}),
        (PDHG((TV(0.02), HuberTV(0.01, 0.3))), {"strength"}, {"prior__0__strength", "prior__1__strength"}),
        (PDHG((TV(0.02), HuberTV(0.01, 0.3))), {"prior.1.corner"}, {"prior__1__corner"}),
    ],
)
def test_numbers_start_at_the_fields_value(problem, solver, names, keys):
    net = Unrolled(solver, 4, trainable=names).double()
    assert set(net.numbers) == keys
    assert all(tuple(p.shape) == (4,) for p in net.parameters())
    with torch.no_grad():
        torch.testing.assert_close(net(problem), run(solver, problem, 4).x, rtol=1e-5, atol=1e-6)
    net(problem).square().sum().backward()
    for p in net.parameters():  # PDHG feels its step size in `init`, its priors from the second step on
        assert p.grad.isfinite().all() and p.grad.abs().max() > 1e-6


def test_each_iteration_has_its_own_number(problem):
    net = Unrolled(CGLS(damping=0.3), 3, trainable={"damping"}).double()

    def image(raw):
        return torch.func.functional_call(net, {"numbers.damping": raw}, (problem,))

    raw = net.numbers["damping"].detach().clone().requires_grad_()
    assert torch.autograd.gradcheck(image, raw, fast_mode=True)
    jacobian = torch.autograd.functional.jacobian(lambda r: image(r).sum(), raw)
    assert (jacobian != 0).all() and len(set(jacobian.tolist())) == 3


@pytest.mark.parametrize("value", [1e-6, 0.3, 50.0])
def test_numbers_stay_positive_whatever_the_optimiser_does(value):
    net = Unrolled(CGLS(damping=value), 1, trainable={"damping"})
    assert float(net.at(0).damping.detach()) == pytest.approx(value, rel=1e-4)
    with torch.no_grad():
        net.numbers["damping"] -= 30.0
    assert net.at(0).damping > 0


def test_single_precision_stays_single(problem):
    single = problem._replace(y=problem.y.float())
    for solver, names in ((CGLS(damping=0.3), {"damping"}), (PDHG(TV(0.2)), {"strength"})):
        assert Unrolled(solver, 2, trainable=names)(single).dtype == torch.float32


def test_a_module_is_shared_and_a_list_is_one_each():
    shared = Unrolled(VariationalNetwork(SmallCNN(1, 1, width=2)), 3)
    nets = torch.nn.ModuleList(SmallCNN(1, 1, width=2) for _ in range(3))
    each = Unrolled(VariationalNetwork(nets), 3)
    count = [sum(p.numel() for p in net.parameters()) for net in (shared, each)]
    assert count[1] == 3 * count[0]
    assert [each.at(k).network for k in range(3)] == list(nets)
    assert shared.at(0).network is shared.at(2).network


def test_weights_travel_by_state_dict(problem):
    first, second = (Unrolled(VariationalNetwork(SmallCNN(1, 1, width=2)), 2).double() for _ in range(2))
    assert not torch.equal(first(problem), second(problem))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(problem), second(problem))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Unrolled(CGLS(), 0), "n is 0; it must be 1 or more"),
        (
            lambda: Unrolled(CGLS(), 2, trainable={"strength"}),
            "'strength' is no field of the solver; it has: damp",
        ),
        (lambda: Unrolled(CGLS(), 2, trainable={"damping"}), "damping is 0.0; only a positive number"),
        (lambda: Unrolled(CGLS(), 2, trainable="damping"), "give a set of names"),
        (
            lambda: Unrolled(HQS(TV(0.1)), 2, trainable={"penalty"}),
            r"penalty is Schedule.*; only a positive number",
        ),
        (lambda: Unrolled(SIRT(), 2, trainable={"lower"}), "lower is None; only a positive number"),
        (
            lambda: Unrolled(LearnedPrimalDual.create(3, width=2), 2),
            "primal holds 3 modules for 2 iterations",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


# --- memory ---


def test_recomputed_gradients_are_the_same(problem):
    grads = []
    for checkpoint in (False, True):
        torch.manual_seed(0)
        net = Unrolled(LearnedPrimalDual.create(3, width=4), 3, checkpoint=checkpoint).double()
        net(problem).square().sum().backward()
        grads.append([p.grad for p in net.parameters()])
    assert len(grads[0]) == 36
    assert all(torch.equal(a, b) for a, b in zip(*grads, strict=True))


@pytest.mark.parametrize("name", ["primal-dual", "modl", "pdhg"])
def test_memory_grows_by_less_than_a_state_per_iteration(held_bytes, name):
    A = XRay(Volume((40, 40)), ParallelBeam.evenly(6, 50))
    big = Problem(A, A(torch.ones(1, 40, 40)))

    def net(n: int, checkpoint: bool) -> Unrolled:
        if name == "pdhg":
            return Unrolled(PDHG(TV(0.2)), n, trainable={"strength"}, checkpoint=checkpoint)
        if name == "modl":
            return Unrolled(MoDL(SmallCNN(1, 1, width=16), 1.0, iterations=3), n, checkpoint=checkpoint)
        return Unrolled(LearnedPrimalDual.create(n, width=16), n, checkpoint=checkpoint)

    solver = net(1, False).at(0)
    parts = torch.utils._pytree.tree_leaves(solver.init(big))
    state = sum(part.numel() * part.element_size() for part in parts if isinstance(part, torch.Tensor))
    growth = {}
    for checkpoint in (False, True):
        short, long = net(2, checkpoint), net(5, checkpoint)
        growth[checkpoint] = (held_bytes(lambda: long(big)) - held_bytes(lambda: short(big))) / 3  # noqa: B023
    assert 0 < growth[True] < state
    assert growth[True] < growth[False]
