"""Operators under JAX: jit, grad, jvp, transpose (A^T, not A^H), nested vmap, Hessians, scan."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from tests.operators.table import FAN, FEW, IMAGE, TABLE, TURN, difference, fan, operator, parallel, random

from rayfold.operators import FanBeam, ParallelBeam, XRay

few = pytest.mark.parametrize("name", FEW)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def draw(shape, op=None, seed=0):
    return jnp.asarray(random(shape, parallel() if op is None else op, seed=seed))


@pytest.mark.parametrize("name", TABLE)
def test_jit_gives_the_numbers_of_numpy(name):
    for A in (operator(name), operator(name).H):
        x = random(A.in_shape, A)
        assert difference(jax.jit(A)(jnp.asarray(x)), A(x)) < 1e-13


@pytest.mark.parametrize("name", TABLE)
def test_grad_is_the_conjugate_of_the_adjoint_of_the_residual(name):
    """JAX's gradient of a real function of a complex array is the conjugate of torch's."""
    A = operator(name)
    x, y = draw(A.in_shape, A), draw(A.out_shape, A, seed=1)
    g = jax.jit(jax.grad(lambda v: 0.5 * jnp.sum(jnp.abs(A(v) - y) ** 2)))(x)
    assert difference(g, np.conj(A.H(A(x) - y))) < 1e-11


@few
def test_gradient_of_real_input_is_real(name):
    A = operator(name)
    x = draw(A.in_shape)
    g = jax.grad(lambda v: jnp.sum(jnp.abs(A(v)) ** 2))(x)
    assert g.dtype == "float64"
    assert difference(g, 2 * np.real(A.H(A(x)))) < 1e-12


@few
def test_check_grads_to_second_order(name):
    A = operator(name)
    for op in (A, A.H):
        x, size = draw(op.in_shape, op), np.abs(op.dense(complex)).sum()
        check_grads(lambda v, op=op, size=size: jnp.sin(jnp.abs(op(v / size) + 1) ** 2), (x,), order=2)


@few
def test_jvp(name):
    A = operator(name)
    x, v = draw(A.in_shape, A, 1), draw(A.in_shape, A, 2)
    y, dy = jax.jit(lambda a, b: jax.jvp(A, (a,), (b,)))(x, v)
    assert difference(y, A(x)) < 1e-12 and difference(dy, A(v)) < 1e-12


@few
def test_linear_transpose_is_the_transpose_without_conjugation(name):
    A = operator(name)
    x, y = draw(A.in_shape, A), draw(A.out_shape, A, seed=1)
    for op, at, ct in ((A, x, y), (A.H, y, x)):
        (back,) = jax.linear_transpose(op, at)(ct)
        matrix = op.dense(complex)
        assert difference(back, (matrix.T @ np.ravel(ct)).reshape(at.shape)) < 1e-12
        (again,) = jax.linear_transpose(lambda v, op=op, at=at: jax.linear_transpose(op, at)(v)[0], ct)(at)
        assert difference(again, op(at)) < 1e-12


@few
def test_vmap(name):
    A = operator(name)
    x = draw((3, 4, *A.in_shape), A)
    expected = A(x)
    assert difference(jax.vmap(A)(x), expected) == 0
    assert difference(jax.jit(jax.vmap(jax.vmap(A)))(x), expected) < 1e-13
    assert difference(jax.vmap(A, in_axes=1, out_axes=1)(x), expected) < 1e-13
    assert difference(jax.vmap(A, in_axes=-1)(jnp.moveaxis(x, 0, -1)), expected) < 1e-13


@few
def test_jacobians_both_ways(name):
    A = operator(name)
    x, matrix = draw(A.in_shape, A), A.dense(complex)
    for jacobian in (jax.jacfwd, jax.jacrev):
        got = jacobian(A, holomorphic=A.field == "complex")(x)
        assert difference(np.reshape(got, matrix.shape), matrix) < 1e-12


def test_hessian_vector_product():
    A = fan()
    x, v = draw(A.in_shape, seed=1), draw(A.in_shape, seed=2)
    grad = jax.grad(lambda u: jnp.sum(A(u) ** 3) / 6)
    expected = A.H(A(x) * A(v))
    assert difference(jax.jit(lambda a, b: jax.jvp(grad, (a,), (b,))[1])(x, v), expected) < 1e-12
    assert difference(jax.vjp(grad, x)[1](v)[0], expected) < 1e-12


def test_scan_and_two_calls_in_one_graph():
    A = fan()
    y = draw(A.out_shape)
    step = 1 / float(A.norm_bound()) ** 2

    def descend(x, _):
        return x - step * A.H(A(x) - y), jnp.sum((A(x) - y) ** 2)

    x0 = jnp.zeros(A.in_shape)
    final, losses = jax.jit(lambda v: jax.lax.scan(descend, v, length=20))(x0)
    loop = np.zeros(A.in_shape)
    for _ in range(20):
        loop = loop - step * A.H(A(loop) - np.asarray(y))
    assert difference(final, loop) < 1e-12
    assert (np.diff(losses) < 0).all()
    g = jax.grad(lambda v: jax.lax.scan(descend, v, length=3)[1].sum())(x0)
    matrix = A.dense()
    n = np.eye(matrix.shape[1]) - step * matrix.T @ matrix
    residual, expected = -np.ravel(y), 0
    decay = np.eye(len(n))
    for _ in range(3):  # x_k = n^k x_0 + ..., so the residual falls by 1 - step A A^T
        expected = expected + 2 * decay.T @ matrix.T @ residual
        residual = residual - step * matrix @ (matrix.T @ residual)
        decay = n @ decay
    assert difference(np.ravel(g), expected) < 1e-10


def test_a_new_geometry_compiles_nothing():
    A = fan()
    traces = []

    @jax.jit
    def project(x, k):
        traces.append(1)
        return A(x, vectors=k)

    for turn in range(12):
        beam = FanBeam(TURN + 0.05 * turn, 15, 1.7, **FAN)
        x = draw(A.in_shape, seed=turn)
        assert difference(project(x, jnp.asarray(beam.vectors)), XRay(IMAGE, beam)(x)) < 1e-12
    assert len(traces) == 1


def test_vectors_have_no_derivative_yet_and_say_so():
    A = parallel()
    x, k = draw(A.in_shape), jnp.asarray(A.beam.vectors)
    message = "XRay has no derivative with respect to vectors; detach that operand"
    for use in (jax.grad, jax.jacfwd):
        with pytest.raises(NotImplementedError, match=message):
            use(lambda v: A(x, vectors=v).sum())(k)
    with pytest.raises(NotImplementedError, match=message):
        jax.grad(lambda v: A.H(A(x), vectors=v).sum())(k)
    g = jax.grad(lambda v: A(v, vectors=k).sum())(x)  # x alone is fine
    assert difference(g, A.H(np.ones(A.out_shape))) < 1e-12


def test_geometry_per_sample_in_a_batch_and_under_vmap():
    beams = [ParallelBeam(TURN + 0.2 * i, 14) for i in range(3)]
    A = XRay(IMAGE, beams[0])
    k = jnp.stack([jnp.asarray(beam.vectors) for beam in beams])
    x = draw((3, *A.in_shape))
    loop = np.stack([XRay(IMAGE, b)(one) for b, one in zip(beams, x, strict=True)])
    assert difference(A(x, vectors=k), loop) < 1e-13
    assert difference(jax.vmap(lambda v, w: A(v, vectors=w))(x, k), loop) < 1e-13
    one = jax.vmap(lambda w: A(x[0], vectors=w))(k)
    assert difference(one, np.stack([XRay(IMAGE, b)(x[0]) for b in beams])) < 1e-13
    pairs = jax.vmap(lambda v: jax.vmap(lambda w: A(v, vectors=w))(k))(x)
    assert difference(pairs[1, 2], XRay(IMAGE, beams[2])(x[1])) < 1e-13
    g = jax.grad(lambda v: A(v, vectors=k).sum())(x[0])
    assert difference(g, sum(XRay(IMAGE, b).H(np.ones(A.out_shape)) for b in beams)) < 1e-12
    g = jax.grad(lambda v: A(v[:, None], vectors=k).sum())(x)
    assert difference(g[1], sum(XRay(IMAGE, b).H(np.ones(A.out_shape)) for b in beams)) < 1e-12


def test_single_precision_keeps_the_geometry_in_double():
    """A detector far away: its vectors have no room for their small step in 32 bits."""
    beam = FanBeam(TURN, 15, 1e-3, source_to_axis=1e4, source_to_detector=2e4, detector_offset=3.7e-3)
    A = XRay(IMAGE, beam)
    x = random(A.in_shape, A, "float32")
    rounded = A(x, vectors=beam.vectors.astype("float32").astype("float64"))
    with jax.enable_x64(False):
        got = np.asarray(jax.jit(A)(jnp.asarray(x)))
        bound = np.asarray(A(jnp.asarray(x), vectors=beam.vectors))
    assert got.dtype == np.float32
    assert difference(got, A(x)) < 1e-6 and (bound == got).all()
    assert difference(rounded, A(x)) > 1e-5


def test_gradients_in_single_precision():
    A = fan()
    with jax.enable_x64(False):
        x = jnp.asarray(random(A.in_shape, A, "float32"))
        g = jax.jit(jax.grad(lambda v: jnp.sum(A(v) ** 2)))(x)
        assert g.dtype == "float32"
        assert difference(g, 2 * A.gram(np.asarray(x))) < 1e-5
        hvp = jax.jvp(jax.grad(lambda v: jnp.sum(A(v) ** 3)), (x,), (x,))[1]
        assert difference(hvp, 6 * A.H(A(np.asarray(x)) ** 2)) < 1e-5
