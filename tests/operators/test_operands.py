"""Derivatives with respect to operands, of first and second order: trajectories, positions, weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.test_util import check_grads
from tests.operators.plugins import GaussianSampling, NonuniformDFT
from tests.operators.table import difference

from rayfold.operators import Stack, conformance
from rayfold.operators.calculus import Diagonal

RNG = np.random.default_rng(5)
DFT = NonuniformDFT((3, 4), 5, RNG.uniform(-3, 3, (5, 2)))
GAUSS = GaussianSampling((6,), 4, RNG.uniform(0, 5, 4))
OPERANDS = [(DFT, "trajectory"), (GAUSS, "at")]
both = pytest.mark.parametrize(("A", "name"), OPERANDS, ids=["DFT", "Gauss"])


def draw(shape, A, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    return x + 1j * rng.standard_normal(shape) if A.field == "complex" else x


def explicit(x, k, xp=torch):
    """The DFT in the library's own arithmetic: what derivatives must equal."""
    r = xp.asarray(DFT.positions.reshape(2, -1).copy())
    matrix = xp.exp(-1j * (k @ r))
    return (matrix @ x.reshape(*x.shape[:-2], -1)[..., None])[..., 0]


@both
def test_plug_ins_conform(A, name):
    report = conformance(A)
    assert report, str(report)
    assert hash(A.structure) == hash(A.bind(**{name: A.samples}).structure)
    assert (
        type(A)(A.shape, A.n_samples, A.samples.copy()) == A
        and type(A)(A.shape, A.n_samples, -A.samples) != A
    )


@both
@pytest.mark.parametrize("adjoint", [False, True], ids=["A", "A.H"])
def test_torch_first_and_second_order(A, name, adjoint):
    M = A.H if adjoint else A
    x = torch.tensor(draw(M.in_shape, A), requires_grad=True)
    k = torch.tensor(A.samples, requires_grad=True)

    def f(x, k):
        return M(x, **{name: k})

    assert torch.autograd.gradcheck(f, (x, k), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(f, (x, k), check_fwd_over_rev=True)


@both
def test_torch_per_sample_operands(A, name):
    ks = torch.tensor(np.stack([A.samples, A.samples + 0.3]), requires_grad=True)
    xs = torch.tensor(draw((2, *A.in_shape), A), requires_grad=True)

    def f(x, k):
        return A(x, **{name: k})

    loop = torch.stack([f(x, k) for x, k in zip(xs, ks, strict=True)])
    assert torch.allclose(f(xs, ks), loop)
    assert torch.allclose(torch.func.vmap(f)(xs, ks), loop)
    for x, k in ((xs, ks), (xs[0], ks), (xs, ks[0]), (xs[:, None], ks), (xs[0], ks[:, None])):
        x, k = x.detach().requires_grad_(), k.detach().requires_grad_()
        assert torch.autograd.gradcheck(f, (x, k), check_forward_ad=True, fast_mode=True)
        assert torch.autograd.gradgradcheck(f, (x, k), fast_mode=True)
        assert torch.autograd.gradgradcheck(
            lambda y, k: A.H(y, **{name: k}), (f(x, k).detach().requires_grad_(), k), fast_mode=True
        )


@both
def test_torch_vmap_of_gradients(A, name):
    ks = torch.tensor(np.stack([A.samples, A.samples + 0.3, -A.samples]))
    x = torch.tensor(draw(A.in_shape, A))

    def loss(k, v):
        return A(v, **{name: k}).abs().square().sum()

    for argnum in (0, 1):
        grad = torch.func.grad(loss, argnums=argnum)
        each = torch.func.vmap(grad, in_dims=(0, None))(ks, x)
        assert torch.allclose(each, torch.stack([grad(k, x) for k in ks]))
    both = torch.func.vmap(torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0)), in_dims=(0, None))
    xs = torch.stack([x, 2 * x])
    assert torch.allclose(both(ks, xs)[2, 1], torch.func.grad(loss)(ks[2], xs[1]))
    hessian = torch.func.hessian(lambda k: loss(k, x))(ks[0])
    reverse = torch.func.jacrev(torch.func.grad(lambda k: loss(k, x)))(ks[0])
    assert torch.allclose(hessian, reverse)
    n = A.samples.size
    square = hessian.reshape(n, n)
    assert torch.allclose(square, square.T) and square.abs().max() > 1e-2


@pytest.mark.parametrize("kind", [torch.complex64, torch.complex128])
def test_torch_agrees_with_its_own_arithmetic(kind):
    x0 = torch.tensor(draw(DFT.in_shape, DFT)).to(kind)
    k0 = torch.tensor(DFT.samples).to(torch.zeros(0, dtype=kind).real.dtype)
    y = torch.tensor(draw(DFT.out_shape, DFT, 1)).to(kind)

    def gradients(f):
        x, k = x0.clone().requires_grad_(), k0.clone().requires_grad_()
        first = torch.autograd.grad((f(x, k) - y).abs().square().sum(), (x, k), create_graph=True)
        second = torch.autograd.grad(sum(g.abs().square().sum() for g in first), (x, k))
        return *first, *second

    ours = gradients(lambda x, k: DFT(x, trajectory=k))
    truth = gradients(lambda x, k: explicit(x.to(torch.complex128), k.double()).to(kind))
    for a, b in zip(ours, truth, strict=True):
        assert a.dtype == b.dtype
        assert (a - b).norm() < {torch.complex64: 1e-5, torch.complex128: 1e-13}[kind] * b.norm()


def test_torch_mixed_precision_of_input_and_operand():
    x = torch.tensor(draw(DFT.in_shape, DFT)).to(torch.complex64).requires_grad_()
    k = torch.tensor(DFT.samples, requires_grad=True)
    y = DFT(x, trajectory=k)
    gx, gk = torch.autograd.grad(y.abs().square().sum(), (x, k))
    assert y.dtype == gx.dtype == torch.complex64 and gk.dtype == torch.float64
    dy = torch.func.jvp(lambda v: DFT(x.detach(), trajectory=v), (k.detach(),), (torch.ones_like(k),))[1]
    assert dy.dtype == torch.complex64


def test_real_input_of_a_complex_operator_and_complex_input_of_a_real_one():
    x, k = torch.randn(DFT.in_shape, dtype=torch.float64), torch.tensor(DFT.samples)
    x, k = x.requires_grad_(), k.requires_grad_()
    assert torch.autograd.gradcheck(lambda v, w: DFT(v, trajectory=w), (x, k), check_forward_ad=True)
    z, t = torch.randn(GAUSS.in_shape, dtype=torch.complex128), torch.tensor(GAUSS.samples)
    z, t = z.requires_grad_(), t.requires_grad_()
    assert torch.autograd.gradcheck(lambda v, w: GAUSS(v, at=w), (z, t), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda v, w: GAUSS(v, at=w), (z, t))


def test_bound_operators_compose():
    k = torch.tensor(DFT.samples, requires_grad=True)
    w = torch.tensor(draw((5,), DFT), requires_grad=True)
    s = torch.tensor(draw((3, 4), DFT, 1), requires_grad=True)
    x = torch.tensor(draw((3, 4), DFT, 2), requires_grad=True)

    def forward(k, w, s, x):
        B = DFT.bind(trajectory=k)
        W, S = Diagonal((5,), w), Diagonal((3, 4), np.ones((3, 4))).bind(weights=s)
        chain = W @ B @ S
        return Stack((chain.gram, 0.5j * (B.H @ B)))(x)

    assert torch.autograd.gradcheck(forward, (k, w, s, x), fast_mode=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(forward, (k, w, s, x), fast_mode=True)


@both
def test_compiled_code_refuses_the_gradient_of_an_operand_and_gives_that_of_the_input(A, name):
    def loss(x, k):
        return A(x, **{name: k}).abs().square().sum()

    torch._dynamo.reset()
    f = torch.compile(loss, fullgraph=True, backend="aot_eager")
    x, k = torch.tensor(draw(A.in_shape, A), requires_grad=True), torch.tensor(A.samples)
    (g,) = torch.autograd.grad(f(x, k), x)
    assert torch.allclose(g, 2 * A.gram(x.detach()))
    with pytest.raises(torch._dynamo.exc.BackendCompilerFailed, match="call without compile for that"):
        f(x, k.requires_grad_())


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@both
@pytest.mark.parametrize("adjoint", [False, True], ids=["A", "A.H"])
def test_jax_first_and_second_order(A, name, adjoint, x64):
    M = A.H if adjoint else A
    x, k = jnp.asarray(draw(M.in_shape, A)), jnp.asarray(A.samples)
    check_grads(lambda x, k: M(x, **{name: k}), (x, k), order=2, rtol=1e-5)


@both
def test_jax_per_sample_operands_vmap_and_hessian(A, name, x64):
    ks = jnp.stack([jnp.asarray(A.samples), jnp.asarray(A.samples) + 0.3])
    xs = jnp.asarray(draw((2, *A.in_shape), A))

    def f(x, k):
        return A(x, **{name: k})

    def loss(k, x):
        return jnp.sum(jnp.abs(f(x, k)) ** 2)

    loop = np.stack([f(x, k) for x, k in zip(xs, ks, strict=True)])
    assert difference(f(xs, ks), loop) < 1e-13
    assert difference(jax.vmap(f)(xs, ks), loop) < 1e-13
    check_grads(f, (xs[:, None], ks), order=2, rtol=1e-5)
    for x, k in ((xs, ks), (xs[0], ks), (xs, ks[0]), (xs[0], ks[:, None])):
        check_grads(f, (x, k), order=1, rtol=1e-5)
    grad = jax.grad(loss)
    each = jax.jit(jax.vmap(grad))(ks, xs)
    assert difference(each, np.stack([grad(k, x) for k, x in zip(ks, xs, strict=True)])) < 1e-12
    n = A.samples.size
    hessian = np.reshape(jax.jit(jax.hessian(loss))(ks[0], xs[0]), (n, n))
    assert difference(hessian, hessian.T) < 1e-12 and np.abs(hessian).max() > 1e-2
    reverse = np.reshape(jax.jacrev(grad)(ks[0], xs[0]), (n, n))
    assert difference(reverse, hessian) < 1e-12


@pytest.mark.parametrize("double", [False, True])
def test_jax_agrees_with_its_own_arithmetic(double):
    with jax.enable_x64(double):
        x, k = jnp.asarray(draw(DFT.in_shape, DFT)), jnp.asarray(DFT.samples)
        y = jnp.asarray(draw(DFT.out_shape, DFT, 1))

        def gradients(f):
            def loss(x, k):
                return jnp.sum(jnp.abs(f(x, k) - y) ** 2)

            def steepness(x, k):
                return sum(jnp.sum(jnp.abs(g) ** 2) for g in jax.grad(loss, argnums=(0, 1))(x, k))

            return *jax.grad(loss, argnums=(0, 1))(x, k), *jax.grad(steepness, argnums=(0, 1))(x, k)

        ours = gradients(lambda x, k: DFT(x, trajectory=k))
        truth = gradients(lambda x, k: explicit(x, k, jnp))
        for a, b in zip(ours, truth, strict=True):
            assert a.dtype == b.dtype
            assert difference(a, b) < (1e-12 if double else 1e-5)


def test_jax_real_input_of_a_complex_operator_and_complex_input_of_a_real_one(x64):
    x, k = jnp.asarray(draw(DFT.in_shape, GAUSS)), jnp.asarray(DFT.samples)
    check_grads(lambda x, k: DFT(x, trajectory=k), (x, k), order=2, rtol=1e-5)
    z, t = jnp.asarray(draw(GAUSS.in_shape, DFT)), jnp.asarray(GAUSS.samples)
    check_grads(lambda z, t: GAUSS(z, at=t), (z, t), order=2, rtol=1e-5)


def test_an_operand_that_broadcasts_wrongly_is_refused():
    ks = np.stack([DFT.samples] * 3)
    with pytest.raises(ValueError, match=r"batch axes \(2,\) of the input and \(3,\) of an operand"):
        DFT(np.zeros((2, 3, 4)), trajectory=ks)
