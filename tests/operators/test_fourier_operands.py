"""What may be learned in MRI: derivatives of first and second order, each batch element its own."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads
from tests.operators.table import FIELD_MAP, TIMES, difference, lines, maps, nufft, phases, trajectory

from rayfold.operators import NUFFT, CoilSensitivities, Diagonal, OffResonance, time_segments

SEGMENTS = time_segments(TIMES, FIELD_MAP, n_segments=3)
OPERANDS = {
    "trajectory": lambda: (nufft((3, 4), 6), "trajectory"),
    "trajectory in 3D": lambda: (nufft((2, 3, 2), 5), "trajectory"),
    "trajectory of shots": lambda: (
        NUFFT((3, 4), trajectory(6, 2).reshape(2, 3, 2), eps=1e-14),
        "trajectory",
    ),
    "trajectory, coils": lambda: (nufft((3, 4), 6).over((2,)), "trajectory"),
    "basis": lambda: (nufft((3, 4), 6, basis=phases((2, 6))), "basis"),
    "coil maps": lambda: (maps(2, (3, 4)), "maps"),
    "two sets of coil maps": lambda: (CoilSensitivities(phases((2, 2, 3, 4)), sets=True), "maps"),
    "field map": lambda: (OffResonance(FIELD_MAP, tuple(SEGMENTS.centres)), "field_map"),
    "mask": lambda: (lines(), "weights"),
    "density weights": lambda: (Diagonal((6,), np.linspace(0.5, 2.0, 6)), "weights"),
}
every = pytest.mark.parametrize("what", OPERANDS)


def draw(shape, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def operand(A, name):
    return np.array(A.operands[name], dtype=complex if np.iscomplexobj(A.operands[name]) else float)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@every
@pytest.mark.parametrize("adjoint", [False, True], ids=["A", "A.H"])
def test_torch_first_and_second_order(what, adjoint):
    A, name = OPERANDS[what]()
    M = A.H if adjoint else A
    x = torch.tensor(draw(M.in_shape), requires_grad=True)
    k = torch.tensor(operand(A, name), requires_grad=True)

    def f(x, k):
        return M(x, **{name: k})

    assert torch.autograd.gradcheck(f, (x, k), check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(f, (x, k), fast_mode=True)


@every
def test_jax_has_the_gradients_and_hessian_vector_products_of_torch(what, x64):
    A, name = OPERANDS[what]()
    x0, k0 = draw(A.in_shape), operand(A, name)
    v0 = draw(k0.shape, 3).astype(k0.dtype) if np.iscomplexobj(k0) else draw(k0.shape, 3).real

    def loss(x, k):
        return (abs(A(x, **{name: k}) + 1) ** 4).sum()

    gradient = jax.grad(loss, argnums=(0, 1))
    ours = jax.jit(lambda x, k, v: jax.jvp(lambda k: gradient(x, k), (k,), (v,)))(x0, k0, v0)
    x, k = (torch.tensor(a, requires_grad=True) for a in (x0, k0))
    grads = torch.autograd.grad(loss(x, k), (x, k), create_graph=True)
    # torch's gradients are the conjugates of those of JAX
    for a, b in zip(ours[0], grads, strict=True):
        assert difference(np.conj(a), b.detach().numpy()) < 1e-10
    directional = torch.func.jvp(
        lambda k: torch.func.grad(loss, argnums=(0, 1))(x.detach(), k), (k.detach(),), (torch.tensor(v0),)
    )[1]
    for a, b in zip(ours[1], directional, strict=True):
        assert difference(np.conj(a), b.detach().numpy()) < 1e-10


@pytest.mark.parametrize("adjoint", [False, True], ids=["A", "A.H"])
def test_jax_derivatives_are_difference_quotients(adjoint, x64):
    A, name = OPERANDS["trajectory"]()
    M = A.H if adjoint else A
    x, k = jnp.asarray(draw(M.in_shape)), jnp.asarray(operand(A, name))
    check_grads(lambda x, k: M(x, **{name: k}), (x, k), order=2, rtol=1e-5)


@every
def test_every_element_of_a_batch_has_its_own_operand_and_gradient(what):
    """Operators that other packages change in a loop give every element the gradient of the last one."""
    A, name = OPERANDS[what]()
    k0 = operand(A, name)
    ks = torch.tensor(np.stack([k0, 0.7 * k0, -0.5 * k0]), requires_grad=True)
    xs = torch.tensor(draw((3, *A.in_shape)), requires_grad=True)

    def loss(x, k):
        y = A(x, **{name: k})
        return ((y + 1).abs().square() * torch.linspace(1, 2, y.shape[-1], dtype=torch.float64)).sum()

    together = torch.autograd.grad(loss(xs, ks), (xs, ks))
    one_by_one = [torch.autograd.grad(loss(x, k), (x, k)) for x, k in zip(xs, ks, strict=True)]
    rebound = torch.autograd.grad(sum(loss(x, k) for x, k in zip(xs, ks, strict=True)), (xs, ks))
    for i in (0, 1):
        truth = torch.stack([grads[i] for grads in one_by_one])
        assert torch.allclose(together[i], truth, rtol=1e-10)
        assert torch.allclose(rebound[i], truth, rtol=1e-10)
        assert not torch.allclose(truth[0], truth[-1])


@every
def test_hessian_vector_products_are_finite_differences_of_gradients(what):
    """Where another package's second derivative with respect to the points is wrong by 92 %, silently."""
    A, name = OPERANDS[what]()
    x, k = torch.tensor(draw(A.in_shape)), torch.tensor(operand(A, name))
    v = torch.randn(k.shape, dtype=k.dtype, generator=torch.Generator().manual_seed(1))

    def gradient(k):
        k = k.detach().requires_grad_()
        y = A(x, **{name: k})
        loss = ((y + 1).abs() ** 4).sum()
        (g,) = torch.autograd.grad(loss, k, create_graph=True)
        return k, g

    at, g = gradient(k)
    (ours,) = torch.autograd.grad((g.conj() * v).real.sum(), at)
    step = 1e-5
    difference_quotient = (gradient(k + step * v)[1] - gradient(k - step * v)[1]).detach() / (2 * step)
    assert (ours - difference_quotient).norm() < 1e-6 * ours.norm()


def explicit(k, x, shape, xp):
    """The exact sum in a library's own arithmetic."""
    axes = np.meshgrid(*[np.arange(n) - n // 2 for n in shape], indexing="ij")
    r = xp.asarray(np.stack(axes).reshape(len(shape), -1).astype(float))
    return xp.exp(-1j * (k @ r)) @ x.reshape(-1) / np.sqrt(np.prod(shape))


def test_gradients_are_those_of_the_exact_sum(x64):
    shape, k0, x0, s0 = (4, 5), trajectory(14, 2), draw((4, 5)), draw((3, 4, 5), 2)
    F = NUFFT(shape, k0, eps=1e-14)

    def ours(x, k, s):
        A = F.bind(trajectory=k) @ CoilSensitivities(s0).bind(maps=s)
        return (abs(A(x)) ** 2).sum()

    def truth(x, k, s, xp):
        return sum((abs(explicit(k, s[c] * x, shape, xp)) ** 2).sum() for c in range(3))

    tensors = [torch.tensor(a, requires_grad=True) for a in (x0, k0, s0)]
    for a, b in zip(
        torch.autograd.grad(ours(*tensors), tensors),
        torch.autograd.grad(truth(*tensors, torch), tensors),
        strict=True,
    ):
        assert difference(a.numpy(), b.numpy()) < 1e-12
    arrays = [jnp.asarray(a) for a in (x0, k0, s0)]
    for a, b in zip(
        jax.grad(ours, argnums=(0, 1, 2))(*arrays),
        jax.grad(lambda *v: truth(*v, jnp), argnums=(0, 1, 2))(*arrays),
        strict=True,
    ):
        assert difference(a, b) < 1e-12


def test_the_field_map_and_the_weights_have_the_gradients_of_the_signal_equation():
    k, f0, w0, x0 = trajectory(14, 2), 0.9 * FIELD_MAP, np.linspace(0.5, 2, 14), draw((4, 5))
    found = time_segments(TIMES, FIELD_MAP, interpolator="uniform", tolerance=1e-9)
    F = NUFFT((4, 5), k, basis=found.basis, eps=1e-14)
    turned = OffResonance(FIELD_MAP, tuple(found.centres))

    def ours(x, f, w):
        A = Diagonal((14,), w0).bind(weights=w) @ F @ turned.bind(field_map=f)
        return (abs(A(x)) ** 2).sum()

    def truth(x, f, w):
        axes = np.meshgrid(np.arange(4) - 2, np.arange(5) - 2, indexing="ij")
        kr = torch.tensor(k @ np.stack(axes).reshape(2, -1))
        phase = kr + 2e-3 * np.pi * torch.tensor(TIMES)[:, None] * f.reshape(-1)
        return ((w * (torch.exp(-1j * phase) @ x.reshape(-1) / np.sqrt(20))).abs() ** 2).sum()

    tensors = [torch.tensor(a, requires_grad=True) for a in (x0, f0, w0)]
    for a, b in zip(
        torch.autograd.grad(ours(*tensors), tensors),
        torch.autograd.grad(truth(*tensors), tensors),
        strict=True,
    ):
        assert difference(a.numpy(), b.numpy()) < 1e-7


def test_a_new_trajectory_of_the_same_structure_compiles_nothing(x64):
    A = nufft((3, 4), 6)
    traces = []

    @jax.jit
    def f(x, k):
        traces.append(1)
        return A(x, trajectory=k)

    x = jnp.asarray(draw((3, 4)))
    for scale in (1.0, 0.5, 0.3):
        k = scale * A.trajectory
        assert difference(f(x, jnp.asarray(k)), NUFFT((3, 4), k, eps=1e-14)(np.asarray(x))) < 1e-12
    assert len(traces) == 1
