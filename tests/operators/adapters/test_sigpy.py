"""SigPy for real: its linear operators in our solvers, ours in its algebra and apps."""

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

from rayfold.operators import ParallelBeam, Volume, XRay, conformance, dot_test
from rayfold.operators.adapters import compare_adjoints, from_sigpy, to_sigpy

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def sigpy():
    return load("sigpy")


def operators(sigpy):
    maps = RNG.standard_normal((3, 6, 8)) + 1j * RNG.standard_normal((3, 6, 8))
    linop = sigpy.linop
    return {
        "FFT": linop.FFT((6, 8)),
        "FiniteDifference": linop.FiniteDifference((6, 8)),
        "coils": linop.FFT((3, 6, 8), axes=(-2, -1)) * linop.Multiply((6, 8), maps),
        "Downsample": linop.Downsample((6, 8), (2, 2)),
    }


@pytest.mark.parametrize("name", ["FFT", "FiniteDifference", "coils", "Downsample"])
def test_operators_keep_the_contract(sigpy, name):
    peer = operators(sigpy)[name]
    op = from_sigpy(peer)
    assert op.field == ("complex" if name in ("FFT", "coils") else "real")
    x = RNG.standard_normal((6, 8)).astype("complex128" if op.field == "complex" else "float64")
    assert (op(x) == peer(x)).all() and (op.H(op(x)) == peer.H(peer(x))).all()
    report = conformance(op)
    assert report.ok, str(report)
    print("\n" + compare_adjoints(native(), op))
    if op.field == "real":
        gradient_is_adjoint(op)


def test_sigpy_in_our_solver(sigpy):
    op = from_sigpy(operators(sigpy)["coils"])
    x = RNG.standard_normal((6, 8)) + 1j * RNG.standard_normal((6, 8))
    from rayfold.recon import Problem, run
    from rayfold.recon.solvers import CGLS

    found = run(CGLS(), Problem(op, op(x)), 60).x
    assert np.linalg.norm(found - x) < 1e-8 * np.linalg.norm(x)
    cgls_finds(from_sigpy(sigpy.linop.Multiply((6, 8), np.arange(1, 9.0))), x.real.copy(), 20, 1e-8)


def test_our_operator_in_sigpy(sigpy):
    """Agrees with the analytic blob, and its least-squares app finds the image."""
    volume, beam = Volume((100, 100)), ParallelBeam.evenly(6, 120, start=0.02)
    assert relative(to_sigpy(XRay(volume, beam))(smooth(volume)), smooth_integrals(beam)) < 1e-3
    op = native(12, 30)
    there = to_sigpy(op)
    x = smooth(op.volume, (1.0, 1.0), 2.5)
    found = sigpy.app.LinearLeastSquares(there, op(x), max_iter=200, show_pbar=False).run()
    assert relative(found, x) < 1e-3
    assert (there.N(x) == op.gram(x)).all() and (there.H.H(x) == op(x)).all()
    both = 2 * there * sigpy.linop.Multiply((12, 12), 3.0)
    assert np.allclose(both(x), 6 * op(x))
    again = from_sigpy(there)
    assert (again(x) == op(x)).all() and dot_test(again, dtype="float64").ok


def test_memory_is_shared(sigpy):
    inner = Watched((2, 3))
    x = np.ones((2, 3), np.float32)
    y = to_sigpy(inner)(x)
    assert inner.seen == [address(x), address(y)]
    seen = []

    class Peer(sigpy.linop.Linop):
        def _apply(self, x):
            seen.append(address(x))
            return x

        def _adjoint_linop(self):
            return self

    op = from_sigpy(Peer((2, 3), (2, 3)), field="real")
    op(x), op.H(x)
    assert seen == [address(x)] * 2
