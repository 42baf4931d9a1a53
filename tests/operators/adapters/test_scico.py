"""SCICO for real: JAX on both sides."""

import numpy as np
import pytest
from tests.operators.adapters.peers import (
    Watched,
    address,
    cgls_finds,
    gradient_is_adjoint,
    load,
    native,
    relative,
    smooth,
    smooth_integrals,
)  # fmt: skip

from rayfold.operators import Diagonal, ParallelBeam, VectorBeam, Volume, XRay, dot_test
from rayfold.operators.adapters import compare_adjoints, from_scico, to_scico

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def scico():
    load("scico.linop.xray")
    load("scico.optimize")
    load("scico.solver")
    return load("scico")


def operators(scico):
    linop = scico.linop
    return {
        "Convolve": lambda: linop.Convolve(np.ones((3, 3), np.float32) / 9, (6, 7), mode="same"),
        "FiniteDifference": lambda: linop.FiniteDifference((6, 7), axes=(1,), circular=True),
        "DFT": lambda: linop.DFT((6, 7)),
        "complex Diagonal": lambda: linop.Diagonal(
            scico.numpy.array((RNG.standard_normal((6, 7)) + 1j).astype(np.complex64))
        ),
    }


@pytest.mark.parametrize("name", ["Convolve", "FiniteDifference", "DFT", "complex Diagonal"])
def test_operators_keep_the_contract(scico, name):
    import jax.numpy as jnp

    peer = operators(scico)[name]()
    op = from_scico(peer)
    is_complex = name in ("DFT", "complex Diagonal")
    assert op.field == ("complex" if is_complex else "real")
    x = RNG.standard_normal((6, 7)) + (1j * RNG.standard_normal((6, 7)) if is_complex else 0)
    x = x.astype(np.complex64 if is_complex else np.float32)
    direct = np.asarray(peer(jnp.asarray(x).astype(peer.input_dtype)))
    assert np.allclose(op(x), direct, atol=1e-5) and np.allclose(op(jnp.asarray(x)), direct, atol=1e-5)
    print("\n" + compare_adjoints(native(), op))
    assert dot_test(op).ok
    y = op(jnp.asarray(np.stack([x, 2 * x])[None]))
    assert y.shape == (1, 2, *op.out_shape) and np.allclose(y[0, 1], 2 * direct, atol=1e-5)
    assert np.allclose(op.H(y[0, 0]), op.H(np.asarray(y[0, 0])), atol=1e-5)
    if not is_complex:
        gradient_is_adjoint(op)


def test_complex_input_to_a_real_operator(scico):
    """Part by part, in NumPy and in JAX."""
    import jax.numpy as jnp

    op = from_scico(operators(scico)["Convolve"]())
    x = (RNG.standard_normal((6, 7)) + 1j * RNG.standard_normal((6, 7))).astype(np.complex64)
    both = op(np.ascontiguousarray(x.real)) + 1j * op(np.ascontiguousarray(x.imag))
    assert np.allclose(op(x), both, atol=1e-6) and np.allclose(op(jnp.asarray(x)), both, atol=1e-6)


def test_no_callback_under_jit(scico):
    """On JAX arrays it is SCICO's own code: the compiled program calls nothing back."""
    import jax
    import jax.numpy as jnp

    op = from_scico(operators(scico)["Convolve"]())
    text = str(jax.make_jaxpr(lambda x: op.H(op(x)))(jnp.ones((6, 7))))
    assert "callback" not in text and "rayfold_apply" not in text
    assert "rayfold_apply" in str(jax.make_jaxpr(native())(jnp.ones((16, 16))))


def test_the_same_scan_in_both(scico):
    """SCICO's projector against ours and the analytic blob.

    It indexes images ``[x, y]``, sums pixels per bin, and begins the box that stands for a pixel at the left
    edge of its shadow: ``(w - f) / 4`` to the left of its middle, with w and f the widths of the shadow at
    its foot and at its top.
    """
    n, angles = 96, np.arange(6) * np.pi / 6 + 0.05
    peer = scico.linop.xray.XRayTransform2D((n, n), angles, det_count=n)
    theirs, step = from_scico(peer), peer.dx[0]
    sides = np.abs(step * np.stack([np.cos(angles) + np.sin(angles), np.cos(angles) - np.sin(angles)]))
    vectors = np.array(ParallelBeam(angles, n).vectors)
    vectors[:, 2:4] += (sides.max(0) - sides.min(0))[:, None] / 4 * vectors[:, 4:6]
    volume, beam = Volume((n, n), step), VectorBeam(vectors, n, kind="parallel")
    ours, where = XRay(volume, beam), ((3.0, -4.0), 8.0)
    x = smooth(volume, *where).astype(np.float32)
    y = theirs(x.T) * step**2
    exact = smooth_integrals(beam, *where)
    print(f"\nrayfold against SCICO {relative(ours(x), y):.1e}; against the exact sinogram "
          f"{relative(ours(x), exact):.1e} and {relative(y, exact):.1e}")  # fmt: skip
    print(compare_adjoints(ours, theirs))
    assert relative(ours(x), y) < 1e-3
    assert dot_test(ours).ok


def test_scicos_projector_in_our_solver(scico):
    import jax.numpy as jnp

    theirs = from_scico(scico.linop.xray.XRayTransform2D((16, 16), np.arange(40) * np.pi / 40, det_count=24))
    cgls_finds(theirs, jnp.asarray(smooth(Volume((16, 16)), (1.0, 1.0), 3.0).astype(np.float32)), 30, 0.02)


@pytest.mark.parametrize("field", ["real", "complex"])
def test_our_operator_as_scicos(scico, field):
    import jax
    import jax.numpy as jnp

    op = native(12, 16) if field == "real" else Diagonal((6, 7), RNG.standard_normal((6, 7)) + 1j)
    there = to_scico(op)
    kind = jnp.complex64 if field == "complex" else jnp.float32
    x = jnp.asarray(RNG.standard_normal(op.in_shape), kind)
    y = jnp.asarray(RNG.standard_normal(op.out_shape), kind)
    assert there.input_dtype == kind and there.shape == (op.out_shape, op.in_shape)
    assert relative(abs(there(x) - op(x)) + 1, np.ones(op.out_shape)) < 1e-6
    left, right = jnp.vdot(there(x), y), jnp.vdot(x, there.adj(y))
    assert abs(left - right) < 1e-5 * jnp.linalg.norm(there(x)) * jnp.linalg.norm(y)
    assert jnp.allclose(there.gram_op(x), op.gram(x), rtol=1e-4, atol=1e-4)
    again = from_scico(there)
    assert dot_test(again).ok and again.field == field
    gradient = jax.grad(lambda v: jnp.sum(abs(there(v)) ** 2))(x)
    assert jnp.allclose(jnp.conj(gradient), 2 * op.gram(x), rtol=1e-3, atol=1e-3)


def test_our_operator_in_scicos_solvers(scico):
    """Conjugate gradients, and ADMM with total variation; the data are the analytic blob's integrals."""
    import jax.numpy as jnp

    volume, beam = Volume((32, 32)), ParallelBeam.evenly(40, 44, start=0.01)
    op = XRay(volume, beam)
    A = to_scico(op)
    x = smooth(volume, (2.0, 1.0), 5.0).astype(np.float32)
    assert relative(A(jnp.asarray(x)), smooth_integrals(beam, (2.0, 1.0), 5.0)) < 1e-2
    y = A(jnp.asarray(x))
    found, _ = scico.solver.cg(A.gram_op, A.adj(y), jnp.zeros((32, 32), jnp.float32), maxiter=100)
    assert relative(found, x) < 0.02
    C = scico.linop.FiniteDifference((32, 32), append=0)
    method = scico.optimize.admm.ADMM(
        f=scico.loss.SquaredL2Loss(y=y, A=A), g_list=[0.01 * scico.functional.L21Norm()], C_list=[C],
        rho_list=[5.0], x0=jnp.zeros((32, 32), jnp.float32), maxiter=20,
        subproblem_solver=scico.optimize.admm.LinearSubproblemSolver(cg_kwargs={"maxiter": 20}),
    )  # fmt: skip
    assert relative(method.solve(), x) < 0.02


def test_memory_is_shared(scico):
    """JAX's buffer reaches our kernel through SCICO; other libraries' arrays reach SCICO as JAX allows."""
    import jax.numpy as jnp

    inner = Watched((64, 3))
    x = jnp.ones((64, 3), jnp.float32)
    y = to_scico(inner, jit=False)(x)
    assert inner.seen == [address(x), address(y)]


def test_an_operator_that_is_complex_on_one_side_only_is_refused(scico):
    import jax.numpy as jnp

    half = scico.linop.LinearOperator(
        (4,), (4,), eval_fn=lambda x: 1j * x, adj_fn=lambda y: jnp.imag(y),
        input_dtype=np.float32, output_dtype=np.complex64,
    )  # fmt: skip
    with pytest.raises(ValueError, match="real on one side only"):
        from_scico(half)


def test_block_arrays_are_refused(scico):
    C = scico.linop.FiniteDifference((3, 4))
    assert isinstance(C.output_shape[0], tuple)
    with pytest.raises(ValueError, match=r"output_shape .* is a block shape"):
        from_scico(C)
