"""Operators under torch: derivatives of any order, forward mode, vmap, one graph twice, torch.compile."""

import gc

import numpy as np
import pytest
import torch
from tests.operators.table import FAN, FEW, IMAGE, TABLE, TURN, fan, operator, parallel
from torch.autograd import forward_ad

from rayfold.operators import FanBeam, ParallelBeam, Sum, Volume, XRay
from rayfold.operators.calculus import Diagonal
from rayfold.operators.filters import RampFilter

few = pytest.mark.parametrize("name", FEW)


def tensor(shape, op=None, seed=0, **rest):
    kind = torch.complex128 if op is not None and op.field == "complex" else torch.float64
    return torch.randn(*shape, dtype=kind, generator=torch.Generator().manual_seed(seed), **rest)


@pytest.mark.parametrize("name", TABLE)
def test_gradcheck(name):
    """Reverse and forward derivatives against finite differences, for A and A.H."""
    for A in (operator(name), operator(name).H):
        x = tensor(A.in_shape, A, requires_grad=True)
        torch.autograd.gradcheck(A, x, check_forward_ad=True, fast_mode=True)


@few
def test_gradgradcheck(name):
    for A in (operator(name), operator(name).H):
        x = tensor(A.in_shape, A, requires_grad=True)
        torch.autograd.gradgradcheck(
            lambda v, A=A: (A(v).abs() ** 2).sin(), x, fast_mode=True, check_fwd_over_rev=True
        )


@pytest.mark.parametrize("name", TABLE)
def test_gradient_is_the_adjoint_of_the_residual(name):
    A = operator(name)
    x, y = tensor(A.in_shape, A, requires_grad=True), tensor(A.out_shape, A, seed=1)
    (g,) = torch.autograd.grad(0.5 * (A(x) - y).abs().square().sum(), x)
    assert torch.allclose(g, A.H(A(x.detach()) - y), rtol=1e-12)


@few
def test_gradient_of_real_input_is_real(name):
    A = operator(name)
    x = tensor(A.in_shape, requires_grad=True)
    (g,) = torch.autograd.grad(A(x).abs().square().sum(), x)
    expected = 2 * A.H(A(x.detach()))
    assert g.dtype == torch.float64
    assert torch.allclose(g, expected.real, rtol=1e-12)


def test_complex_input_of_a_real_operator_has_a_complex_gradient():
    A = parallel()
    x = tensor(A.in_shape).to(torch.complex128) * (1 - 2j)
    torch.autograd.gradcheck(A, x.requires_grad_(), check_forward_ad=True, fast_mode=True)


@few
def test_jvp(name):
    A = operator(name)
    x, v = (tensor(A.in_shape, A, seed=s) for s in (1, 2))
    y, dy = torch.func.jvp(A, (x,), (v,))
    assert torch.allclose(y, A(x)) and torch.allclose(dy, A(v))
    assert dy.abs().max() > 0
    with forward_ad.dual_level():
        dual = A(forward_ad.make_dual(x, v))
        assert torch.allclose(forward_ad.unpack_dual(dual).tangent, A(v))


@few
def test_vmap(name):
    A = operator(name)
    x = tensor((3, 4, *A.in_shape), A)
    expected = A(x)
    vmap = torch.func.vmap
    assert torch.allclose(vmap(A)(x), expected)
    assert torch.allclose(vmap(vmap(A))(x), expected)
    assert torch.allclose(vmap(A, in_dims=1, out_dims=1)(x), expected)
    last = x.movedim(0, -1)
    assert torch.allclose(vmap(A, in_dims=-1)(last), expected)


@few
def test_vmap_of_gradients_and_jacobians(name):
    A = operator(name)
    x = tensor((3, *A.in_shape))

    def loss(v):
        return A(v).abs().square().sum()

    each = torch.func.vmap(torch.func.grad(loss))(x)
    assert torch.allclose(each, torch.stack([torch.func.grad(loss)(one) for one in x]))
    jac = torch.func.jacrev(lambda v: A(v).real)(x[0])
    assert torch.allclose(jac, torch.func.jacfwd(lambda v: A(v).real)(x[0]))
    flat = A.dense(complex).real
    assert np.allclose(jac.reshape(flat.shape).numpy(), flat)


def test_hessian_vector_product():
    A = fan()
    x, v = tensor(A.in_shape, seed=1), tensor(A.in_shape, seed=2)

    def loss(u):
        return (A(u) ** 3).sum() / 6

    hvp = torch.func.jvp(torch.func.grad(loss), (x,), (v,))[1]
    assert torch.allclose(hvp, A.H(A(x) * A(v)))
    assert torch.allclose(torch.func.vjp(torch.func.grad(loss), x)[1](v)[0], A.H(A(x) * A(v)))


@few
def test_two_calls_in_one_graph(name):
    """Each call has its own buffers: a second one must not overwrite what the first left for backward."""
    A = operator(name)
    x = tensor(A.in_shape, A, requires_grad=True)
    first = A(x)
    kept = first.detach().clone()
    second = A(2 * x * x)
    third = A(A.H(second))
    (g,) = torch.autograd.grad((first.abs() ** 2 + second.abs() ** 2 + third.abs() ** 2).sum(), x)
    assert torch.equal(first.detach(), kept)
    z = x.detach()
    expected = 2 * A.H(A(z)) + 2 * A.H(A(2 * z * z)) * (4 * z).conj()
    s = A(2 * z * z)
    expected = expected + 2 * A.H(A(A.H(A(A.H(s))))) * (4 * z).conj()
    assert torch.allclose(g, expected, rtol=1e-10)


def test_backward_after_the_operator_is_gone():
    x = tensor(IMAGE.shape, requires_grad=True)
    loss = sum(parallel()[start::3](x).square().sum() for start in range(3))
    gc.collect()
    (g,) = torch.autograd.grad(loss, x, create_graph=True)
    gc.collect()
    assert torch.allclose(g, 2 * parallel().gram(x.detach()))
    (h,) = torch.autograd.grad(g.sum(), x)
    assert torch.allclose(h, 2 * parallel().gram(torch.ones_like(x)))


@pytest.mark.parametrize(
    "make", [parallel, lambda: Diagonal((3,), np.ones(3)), lambda: RampFilter((2, 3), 1.0)]
)
def test_what_a_first_call_keeps_serves_later_calls(make):
    """Constants are copied once: not into the transform or the inference mode of the first call."""
    for first in (
        lambda f, v: torch.func.grad(f)(v),
        lambda f, v: torch.func.jvp(torch.func.grad(f), (v,), (v,)),
        lambda f, v: torch.func.vmap(f)(v[None]),
        lambda f, v: torch.inference_mode()(f)(v),
        lambda f, v: compiled(f)(v),
        lambda f, v: compiled(torch.func.vmap(f))(v[None]),
    ):
        A = make()
        x = tensor(A.in_shape, requires_grad=True)
        first(lambda v, A=A: A(v).square().sum(), x.detach())
        (g,) = torch.autograd.grad(A(x).square().sum(), x, create_graph=True)
        assert torch.allclose(g, 2 * A.gram(x.detach()))


def test_gradient_in_half_precision():
    x = tensor(IMAGE.shape).half().requires_grad_()
    parallel()(x).float().sum().backward()
    assert x.grad.dtype == torch.float16


def compiled(function):
    torch._dynamo.reset()
    return torch.compile(function, fullgraph=True, backend="aot_eager")


@pytest.mark.parametrize("name", [*FEW, "ramp filter", "views of a projector", "scaled, complex", "pad"])
def test_compiled_in_one_graph(name):
    A = operator(name)
    N = A.gram
    for op in (A, A.H, N):
        x = tensor(op.in_shape, op, requires_grad=True)

        def step(v, op=op):
            return op(torch.sin(v)).abs().square().sum()

        y, expected = compiled(step)(x), step(x)
        assert torch.allclose(y, expected)
        assert torch.allclose(torch.autograd.grad(y, x)[0], torch.autograd.grad(expected, x)[0])


def test_compiled_with_operators_that_come_and_go():
    x = tensor(IMAGE.shape, requires_grad=True)
    for turn in range(3):
        A = XRay(IMAGE, ParallelBeam(TURN + 0.1 * turn, 14))
        f = compiled(lambda v, A=A: A.H(A(v)))
        assert torch.allclose(f(x), A.gram(x))
        gc.collect()


@pytest.mark.parametrize("name", ["parallel", "FBP fan", "composed, complex"])
def test_compiled_vmap(name):
    A = operator(name)
    x = tensor((3, *A.in_shape), A, requires_grad=True)
    f = compiled(torch.func.vmap(lambda v: A(v).abs().square().sum()))
    assert torch.allclose(f(x), A(x).abs().square().sum((-1, -2)))


def test_a_new_geometry_compiles_nothing():
    A = fan()
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    torch._dynamo.reset()

    def project(x, k):
        return A(x, vectors=k).sin()

    f = torch.compile(project, fullgraph=True, backend=counter)
    for turn in range(12):
        beam = FanBeam(TURN + 0.05 * turn, 15, 1.7, **FAN)
        x, k = tensor(A.in_shape, seed=turn), torch.tensor(beam.vectors)
        assert torch.allclose(f(x, k), XRay(IMAGE, beam)(x).sin())
    assert counter.frame_count == 1


def test_vectors_have_no_derivative_yet_and_say_so():
    A = parallel()
    x, k = tensor(A.in_shape), torch.tensor(A.beam.vectors)
    message = "XRay has no derivative with respect to vectors; detach that operand"
    with pytest.raises(NotImplementedError, match=message):
        A(x, vectors=k.clone().requires_grad_()).sum().backward()
    with pytest.raises(NotImplementedError, match=message):
        torch.func.jvp(lambda v: A(x, vectors=v), (k,), (k,))
    with pytest.raises(NotImplementedError, match=message):
        A.H(A(x), vectors=k.clone().requires_grad_()).sum().backward()
    x.requires_grad_()
    (g,) = torch.autograd.grad(A(x, vectors=k).sum(), x)  # x alone is fine
    assert torch.allclose(g, A.H(torch.ones(A.out_shape, dtype=torch.float64)))


def test_geometry_per_sample_in_a_batch_and_under_vmap():
    beams = [ParallelBeam(TURN + 0.2 * i, 14) for i in range(3)]
    A = XRay(IMAGE, beams[0])
    k = torch.stack([torch.tensor(beam.vectors) for beam in beams])
    x = tensor((3, *A.in_shape), requires_grad=True)
    loop = torch.stack([XRay(IMAGE, b)(one) for b, one in zip(beams, x, strict=True)])
    assert torch.allclose(A(x, vectors=k), loop)
    assert torch.allclose(torch.func.vmap(lambda v, w: A(v, vectors=w))(x, k), loop)
    one = torch.func.vmap(lambda w: A(x[0], vectors=w))(k)  # one image, three geometries
    assert torch.allclose(one, torch.stack([XRay(IMAGE, b)(x[0]) for b in beams]))
    each = A(x[:, None], vectors=k)  # all pairs
    assert each.shape == (3, 3, *A.out_shape)
    assert torch.allclose(each[1, 2], XRay(IMAGE, beams[2])(x[1]))
    (g,) = torch.autograd.grad(A(x[0], vectors=k).sum(), x)
    expected = sum(XRay(IMAGE, b).H(torch.ones(A.out_shape, dtype=torch.float64)) for b in beams)
    assert torch.allclose(g[0], expected) and not g[1:].any()


def test_parameters_modules_and_no_grad():
    A = parallel()
    x = torch.nn.Parameter(tensor(A.in_shape))
    assert A(x).requires_grad
    with torch.no_grad():
        assert not A(x).requires_grad
    with torch.inference_mode():
        assert A(x.detach()).shape == A.out_shape
    assert isinstance(Sum.of(A, A)(x), torch.Tensor)


def test_wide_images_in_single_precision_agree_with_double():
    A = XRay(Volume((128, 128), 0.4), ParallelBeam.evenly(60, 180, pitch=0.4))
    x = tensor(A.in_shape)
    assert (A(x.float()).double() - A(x)).norm() < 1e-5 * A(x).norm()
