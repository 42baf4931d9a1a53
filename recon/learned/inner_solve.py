"""Linear systems inside a network, differentiated through their solution and not through their iterations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rayfold.recon.arrays import along, inner, ratio

Matrix = Callable[[Tensor], Tensor]


def solved(
    matrix: Matrix, b: Tensor, shape: tuple[int, ...], n: int, *, tolerance: float = 0.0, order: int = 1
) -> Tensor:
    """``matrix^-1 b`` by conjugate gradients, with exact derivatives at the price of another solve.

    The iterations run outside the graph. One more application of `matrix`, on the graph, lets gradients reach
    `b` and whatever `matrix` depends on: ``dz = matrix^-1 (db - dmatrix z)``. Memory does not grow with `n`.

    Parameters
    ----------
    matrix : callable
        Hermitian and positive definite on arrays that end in `shape`, differentiable.
    b : Tensor, (..., *shape)
        Right-hand side; leading axes are independent systems.
    shape : tuple of int
        Trailing shape of one system.
    n : int
        Steps at most, forward and backward; the derivatives are those of the solution, so take enough.
    tolerance : float
        Stop when every residual is below this part of its right-hand side.
    order : int
        Derivatives that will be asked for. A second one costs two more solves; without it, it is refused.

    References
    ----------
    H. K. Aggarwal, M. P. Mani and M. Jacob, IEEE Trans. Med. Imaging 38 (2019) 394.

    Examples
    --------
    >>> weight = torch.tensor([2.0, 4.0], requires_grad=True)
    >>> z = solved(lambda v: weight * v, torch.ones(2), (2,), 5)
    >>> z.sum().backward()
    >>> z.tolist(), weight.grad.tolist()
    ([0.5, 0.25], [-0.25, -0.0625])
    """
    with torch.no_grad():
        z = conjugate_gradients(matrix, b, shape, n, tolerance=tolerance)
    if not torch.is_grad_enabled():
        return z

    def inverse(g: Tensor) -> Tensor:
        return solved(matrix, g, shape, n, tolerance=tolerance, order=max(order - 1, 1))

    correction = _Correction if order > 1 else _LastCorrection
    for _ in range(
        order
    ):  # each of Newton's steps makes one more derivative right; the value is exact already
        z = z + correction.apply(b - matrix(z), inverse)  # type: ignore[no-untyped-call]
    return z


class _Correction(torch.autograd.Function):
    """Zero going forward, the inverse matrix going back."""

    @staticmethod
    def forward(ctx: Any, residual: Tensor, inverse: Matrix) -> Tensor:
        ctx.inverse = inverse
        return torch.zeros_like(residual)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        return ctx.inverse(g), None


class _LastCorrection(_Correction):
    """The same, to be differentiated once."""

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a second derivative of an inner solution is asked for, and it was made for one; "
                "give `solved` order=2, or MoDL implicit=False"
            )
        return ctx.inverse(g), None


def conjugate_gradients(
    matrix: Matrix, b: Tensor, shape: tuple[int, ...], n: int, *, tolerance: float = 0.0
) -> Tensor:
    """Plain conjugate gradients from zero, one system per leading index."""
    x, r, p = torch.zeros_like(b), b, b
    gamma = inner(shape, r, r)
    enough = tolerance**2 * gamma
    for _ in range(n):
        if bool((gamma <= enough).all()):
            break
        q = matrix(p)
        step = along(shape, ratio(gamma, inner(shape, p, q)))
        x = x + step * p
        r = r - step * q
        new = inner(shape, r, r)
        p = r + along(shape, ratio(new, gamma)) * p
        gamma = new
    return x
