"""SciPy and PyLops for real: their operators in our solvers, ours in theirs, on the same memory."""

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

from rayfold.operators import Diagonal, ParallelBeam, Volume, XRay, conformance, dot_test, gradient_test
from rayfold.operators.adapters import compare_adjoints, from_pylops, from_scipy, to_pylops, to_scipy

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def linalg():
    return load("scipy.sparse.linalg")


@pytest.fixture(scope="module")
def pylops():
    return load("pylops")


def sparse(rows, cols, dtype=float):
    scipy = load("scipy.sparse")
    return scipy.random_array((rows, cols), density=0.3, rng=np.random.default_rng(1), dtype=dtype).tocsr()


@pytest.mark.parametrize("kind", ["sparse", "dense", "complex", "LinearOperator"])
def test_matrices_keep_the_contract(linalg, kind):
    matrix = sparse(20, 12) if kind != "complex" else sparse(20, 12) + 2j * sparse(20, 12).tocsr()[::-1]
    given = {"dense": matrix.toarray(), "LinearOperator": linalg.aslinearoperator(matrix)}.get(kind, matrix)
    op = from_scipy(given, in_shape=(3, 4), out_shape=(4, 5))
    assert op.field == ("complex" if kind == "complex" else "real")
    assert np.allclose(op.dense(complex if kind == "complex" else float), matrix.toarray())
    report = conformance(op)
    assert report.ok, str(report)


def test_the_same_scan_as_a_matrix(linalg):
    """A scan stored by SciPy agrees with the analytic blob, is ours again, and both adjoints are shown."""
    volume, beam = Volume((100, 100)), ParallelBeam.evenly(6, 120, start=0.02)
    ours = XRay(volume, beam)
    there = to_scipy(ours)
    back = from_scipy(there, in_shape=ours.in_shape, out_shape=ours.out_shape)
    x = smooth(volume)
    assert relative((there @ x.ravel()).reshape(beam.shape), smooth_integrals(beam)) < 1e-3
    assert (back(x) == ours(x)).all() and (back.H(ours(x)) == ours.H(ours(x))).all()
    print("\n" + compare_adjoints(ours, from_scipy(sparse(50, 40))))
    assert dot_test(ours).ok


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_our_operator_in_scipys_solvers(linalg, dtype):
    op = native(12, 30)
    x = RNG.standard_normal(op.in_shape).astype(dtype)
    there = to_scipy(op, dtype=dtype)
    assert there.dtype == dtype and there.shape == (30 * 20, 144)
    found = linalg.lsqr(there, op(x).ravel(), atol=1e-9, btol=1e-9, iter_lim=2000)[0]
    assert relative(found.reshape(op.in_shape), x) < (1e-4 if dtype == "float64" else 1e-2)
    assert (there @ x.ravel()).dtype == dtype
    block = RNG.standard_normal((144, 3)).astype(dtype)
    assert np.allclose(there @ block, np.stack([there @ c for c in block.T], axis=1), rtol=1e-5)
    assert np.allclose(there.H @ (there @ block), (op.gram.dense(dtype) @ block), rtol=1e-3, atol=1e-3)


def test_singular_values_agree(linalg):
    op = native(10, 20)
    largest = linalg.svds(to_scipy(op), k=1, return_singular_vectors=False)[0]
    assert abs(largest - np.linalg.norm(op.dense(), 2)) < 1e-6 * largest


def test_complex_operator_both_ways(linalg):
    op = Diagonal((6,), RNG.standard_normal(6) + 1j * RNG.standard_normal(6))
    there = to_scipy(op)
    assert there.dtype == np.complex128
    x = RNG.standard_normal(6) + 1j * RNG.standard_normal(6)
    assert np.allclose(there.H @ x, op.weights.conj() * x)
    assert dot_test(from_scipy(there), dtype="float64").ok


def test_scipys_operator_in_our_solver_and_gradients(linalg):
    op = from_scipy(sparse(60, 20) + 3 * sparse(60, 20).tocsr()[::-1], in_shape=(4, 5))
    cgls_finds(op, RNG.standard_normal((4, 5)), 40, 1e-6)
    gradient_is_adjoint(op)
    assert gradient_test(from_scipy(sparse(6, 4)))


def test_memory_is_shared(linalg):
    seen = []

    def watch(v):
        seen.append(address(v))
        return v

    op = from_scipy(linalg.LinearOperator((6, 6), matvec=watch, rmatvec=watch, dtype=np.float32))
    x = np.arange(6, dtype=np.float32)
    op(x), op.H(x)
    assert seen == [address(x)] * 2
    inner = Watched((2, 3))
    y = to_scipy(inner).matvec(x)
    assert inner.seen == [address(x), address(y)]


def test_bad_shapes_are_refused(linalg):
    with pytest.raises(ValueError, match=r"in_shape .* has 10 entries, the operator 12"):
        from_scipy(sparse(20, 12), in_shape=(2, 5))
    with pytest.raises(ValueError, match="out_shape"):
        from_scipy(sparse(20, 12), out_shape=(7,))


@pytest.mark.parametrize("name", ["Gradient", "Laplacian", "Convolve2D", "FFT2D"])
def test_pylops_operators_keep_the_contract(pylops, name):
    make = {
        "Gradient": lambda: pylops.Gradient((6, 7), kind="forward", edge=True),
        "Laplacian": lambda: pylops.Laplacian((6, 7), weights=(1.0, 2.0)),
        "Convolve2D": lambda: pylops.signalprocessing.Convolve2D(
            (6, 7), np.outer([1, 2, 1], [1, 3, 1.0]), (1, 1)
        ),
        "FFT2D": lambda: pylops.signalprocessing.FFT2D((6, 7), dtype=np.complex128),
    }
    peer = make[name]()
    op = from_pylops(peer)
    assert op.in_shape == (6, 7) and op.out_shape == tuple(peer.dimsd)
    assert op.field == ("complex" if name == "FFT2D" else "real")
    x = RNG.standard_normal((6, 7)) + (1j * RNG.standard_normal((6, 7)) if name == "FFT2D" else 0)
    assert np.allclose(op(x), (peer @ x.ravel()).reshape(peer.dimsd))
    print("\n" + compare_adjoints(native(), op, dtype="float64"))
    assert dot_test(op, dtype="float64").ok
    if op.field == "real":
        gradient_is_adjoint(op)


def test_pylops_half_spectrum_is_refused(pylops):
    """The Fourier transform of real input alone is not complex-linear: no operator of ours."""
    with pytest.raises(ValueError, match="not complex-linear"):
        from_pylops(pylops.signalprocessing.FFT(8, real=True))


def test_our_operator_in_pylops(pylops):
    """Shapes, algebra with PyLops' own operators, its dot test, and a regularised solve by it."""
    op = native(12, 20)
    there = to_pylops(op)
    assert there.dims == op.in_shape and there.dimsd == op.out_shape
    assert pylops.utils.dottest(there, rtol=1e-10)
    x = smooth(op.volume, (1.0, 1.0), 2.5)
    assert np.allclose(there @ x, op(x)) and np.allclose(there.H @ op(x), op.H(op(x)))
    stacked = pylops.VStack([there, 0.01 * pylops.Laplacian(op.in_shape)])
    data = np.concatenate([op(x).ravel(), np.zeros(144)])
    found = pylops.optimization.basic.cgls(stacked, data, niter=200, tol=1e-12)[0]
    assert relative(found.reshape(op.in_shape), x) < 1e-3
    again = from_pylops(there)
    assert again.in_shape == op.in_shape and (again(x) == op(x)).all()


def test_pylops_memory_is_shared(pylops):
    inner = Watched((2, 3))
    x = np.arange(6, dtype=np.float64)
    y = to_pylops(inner).matvec(x)
    assert inner.seen == [address(x), address(y)]
    seen = []

    class Peer(pylops.LinearOperator):
        def _matvec(self, v):
            seen.append(address(v))
            return v

        _rmatvec = _matvec

    op = from_pylops(Peer(dtype=np.dtype(float), dims=(2, 3), dimsd=(2, 3)))
    op(x.reshape(2, 3)), op.H(x.reshape(2, 3))
    assert seen == [address(x)] * 2
