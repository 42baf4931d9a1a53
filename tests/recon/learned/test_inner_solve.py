"""Least squares inside a network: exact solutions, exact gradients, memory that does not grow."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from rayfold.operators.calculus import Diagonal  # noqa: E402
from rayfold.operators.noise import Gaussian  # noqa: E402
from rayfold.recon.learned import MoDL, SmallCNN, Unrolled, solved  # noqa: E402
from rayfold.recon.learned.inner_solve import conjugate_gradients  # noqa: E402


def matrix_of(A, damping):
    return lambda v: A.H(A(v)) + damping * v


def test_solves_the_system(problem, scan):
    dense = torch.from_numpy(scan.dense())
    normal = dense.T @ dense + 0.4 * torch.eye(dense.shape[1], dtype=torch.float64)
    b = scan.H(problem.y)
    expected = torch.linalg.solve(normal, b.reshape(3, -1).T).T.reshape(b.shape)
    for inverse in (solved, conjugate_gradients):
        found = inverse(matrix_of(scan, 0.4), b, scan.in_shape, 200, tolerance=1e-12)
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-10)


def test_a_batch_is_its_problems_and_zero_stays_zero(problem, scan):
    b = scan.H(problem.y)
    b[1] = 0
    found = solved(matrix_of(scan, 0.4), b, scan.in_shape, 100, tolerance=1e-10)
    assert (found[1] == 0).all()
    alone = solved(matrix_of(scan, 0.4), b[2], scan.in_shape, 100, tolerance=1e-10)
    torch.testing.assert_close(found[2], alone, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_first_and_second_order(order):
    generator = torch.Generator().manual_seed(0)
    b = torch.randn(2, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    w = (0.5 + torch.rand(5, generator=generator, dtype=torch.float64)).requires_grad_()
    damping = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)

    def solution(b, w, damping):
        A = Diagonal((5,), w)
        return solved(matrix_of(A, damping), b, (5,), 30, tolerance=1e-14, order=order)

    assert torch.autograd.gradcheck(solution, (b, w, damping))
    if order == 2:
        assert torch.autograd.gradgradcheck(solution, (b, w, damping))
        return
    with pytest.raises(RuntimeError, match="give `solved` order=2"):
        torch.autograd.grad(solution(b, w, damping).sum(), w, create_graph=True)


def test_complex_systems():
    generator = torch.Generator().manual_seed(0)
    d = torch.randn(6, generator=generator, dtype=torch.complex128)
    b = torch.randn(2, 6, generator=generator, dtype=torch.complex128, requires_grad=True)

    def solution(b):
        return solved(matrix_of(Diagonal((6,), d), 0.5), b, (6,), 40, tolerance=1e-14)

    torch.testing.assert_close(solution(b), b / (d.abs() ** 2 + 0.5))
    assert torch.autograd.gradcheck(solution, b)


# --- within MoDL ---


def modl(implicit: bool, iterations: int = 60) -> Unrolled:
    torch.manual_seed(0)
    solver = MoDL(SmallCNN(1, 1, width=4), 2.0, iterations=iterations, tolerance=1e-12, implicit=implicit)
    return Unrolled(solver, 2, trainable={"strength"}).double()


@pytest.mark.parametrize("noise", [None, Gaussian(0.4)])
def test_implicit_and_unrolled_gradients_agree(problem, noise):
    grads = []
    for implicit in (False, True):
        net = modl(implicit)
        one = problem._replace(y=problem.y.clone().requires_grad_(), noise=noise)
        net(one).square().sum().backward()
        grads.append([one.y.grad, *(p.grad for p in net.parameters())])
    assert len(grads[0]) == 8
    for a, b in zip(*grads, strict=True):
        assert torch.linalg.vector_norm(a - b) <= 1e-4 * torch.linalg.vector_norm(a)


def test_memory_does_not_grow_with_conjugate_gradients(problem, held_bytes):
    held = {k: {} for k in (False, True)}
    for implicit in held:
        for n in (3, 12):
            net = modl(implicit, n)
            held[implicit][n] = held_bytes(lambda: net(problem))  # noqa: B023
    assert held[True][3] == held[True][12]
    assert held[False][12] > 2 * held[False][3]


def test_without_a_graph_there_is_none(problem, scan):
    with torch.no_grad():
        assert not solved(matrix_of(scan, 1.0), scan.H(problem.y), scan.in_shape, 5).requires_grad
