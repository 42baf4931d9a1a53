"""The limit of a solver as a network: gradients through the fixed point, not through the iterations."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor, nn

from rayfold.recon.learned.unrolled import Unrolled
from rayfold.recon.problem import Problem

Map = Callable[[Tensor], Tensor]


class NoFixedPoint(ArithmeticError):
    """The map of the solver does not come to rest."""


class Implicit(nn.Module):
    """Fixed point of a solver's map from one image to the next, as an ``nn.Module``.

    The map is ``x -> solver.step(problem, solver.init(problem, x)).x``, so what a state keeps besides the
    image (momentum, dual variables) starts afresh each time. The fixed point ``x = f(x)`` is found by
    Anderson's method outside the graph; going back, ``v = g + J.T v`` with the Jacobian J of f there gives
    exact first derivatives. Memory does not depend on the number of iterations.

    Parameters
    ----------
    solver : Solver
        One whose map is contractive: gradient descent, a proximal gradient step, `VariationalNetwork`.
    trainable : collection of str
        Numeric fields to be trained, as in `Unrolled`.
    tolerance : float
        Relative change ``|f(x) - x| / |f(x)|`` at which an image has come to rest, forward and backward.
    iterations : int
        Steps at most.
    memory : int
        Past images that Anderson's method combines; 0 repeats the plain map.

    Raises
    ------
    NoFixedPoint
        If the tolerance is not reached.

    References
    ----------
    S. Bai, J. Z. Kolter and V. Koltun, NeurIPS (2019); D. Gilton, G. Ongie and R. Willett, IEEE Trans.
    Comput. Imaging 7 (2021) 1123; D. G. Anderson, J. ACM 12 (1965) 547.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon.learned import SmallCNN, VariationalNetwork
    >>> nothing = SmallCNN(1, 1, width=2)
    >>> for p in nothing.parameters():
    ...     _ = p.requires_grad_(False).zero_()
    >>> net = Implicit(VariationalNetwork(nothing, 0.5))
    >>> net(Problem(Identity((1, 2)), torch.tensor([[1.0, 2.0]]))).round(decimals=3).tolist()
    [[1.0, 2.0]]
    """

    def __init__(
        self,
        solver: Any,
        *,
        trainable: Collection[str] = frozenset(),
        tolerance: float = 1e-5,
        iterations: int = 500,
        memory: int = 5,
    ) -> None:
        super().__init__()
        if not 0 < tolerance < 1:
            raise ValueError(f"tolerance is {tolerance}; it must lie between 0 and 1")
        if iterations < 1 or memory < 0:
            raise ValueError(f"iterations is {iterations}, memory {memory}; give at least 1 and at least 0")
        self.one = Unrolled(solver, 1, trainable=trainable)
        self.tolerance, self.iterations, self.memory = tolerance, iterations, memory

    def forward(self, problem: Problem, x0: Tensor | None = None) -> Tensor:
        """The fixed point reached from `x0` (the solver's own start by default)."""
        with torch.no_grad():
            x = self.one.at(0).init(problem, x0).x
            x = self._at_rest(lambda x: self.one(problem, x), x, problem)
        if not torch.is_grad_enabled():
            return x
        z = x.detach().requires_grad_()
        with torch.enable_grad():
            f = self.one(problem, z)  # the graph of one step: to the parameters, and to its Jacobian

        def backward(g: Tensor) -> Tensor:
            def pulled(v: Tensor) -> Tensor:
                (back,) = torch.autograd.grad(f, z, v, retain_graph=True)
                return g + back

            return self._at_rest(pulled, g, problem)

        found: Tensor = _FixedPoint.apply(f, backward)  # type: ignore[no-untyped-call]
        return found

    def _at_rest(self, f: Map, x: Tensor, problem: Problem) -> Tensor:
        return at_rest(
            f, x, problem.A.in_shape, tolerance=self.tolerance, n=self.iterations, memory=self.memory
        )


class _FixedPoint(torch.autograd.Function):
    """The identity going forward, the solution of the adjoint equation going back."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, backward: Map) -> Tensor:
        ctx.adjoint = backward
        return f.clone()

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "a fixed point can be differentiated once; use Unrolled for second derivatives"
            )
        return ctx.adjoint(g), None


def at_rest(
    f: Map, x: Tensor, shape: tuple[int, ...], *, tolerance: float, n: int, memory: int = 5
) -> Tensor:
    """Fixed point of `f` by Anderson's method, one per leading index.

    Parameters
    ----------
    f : callable
        Contractive map of arrays that end in `shape`.
    x : Tensor, (..., *shape)
        Start.
    tolerance : float
        Of ``|f(x) - x|`` over ``|f(x)|``.
    n : int
        Evaluations of `f` at most.
    memory : int
        Earlier points combined with the newest; 0 for plain repetition.

    Raises
    ------
    NoFixedPoint
        If `n` evaluations do not reach the tolerance.

    Examples
    --------
    >>> cosine = at_rest(torch.cos, torch.ones(1), (1,), tolerance=1e-6, n=20)
    >>> round(float(cosine), 5)
    0.73909
    """
    flat = x.reshape(*x.shape[: x.ndim - len(shape)], -1)
    points: list[Tensor] = []
    values: list[Tensor] = []
    change = float("nan")
    for _ in range(n):
        value = f(flat.reshape(x.shape)).reshape(flat.shape)
        moved = torch.linalg.vector_norm(value - flat, dim=-1)
        size = torch.linalg.vector_norm(value, dim=-1)
        change = float((moved / torch.where(size > 0, size, torch.ones_like(size))).max())
        if change <= tolerance:
            return value.reshape(x.shape)
        points, values = [*points, flat][-memory - 1 :], [*values, value][-memory - 1 :]
        flat = _combined(points, values)
    raise NoFixedPoint(
        f"after {n} steps the image still changes by {change:.1e} of its size, {tolerance:.1e} is asked; "
        "the map may not be contractive: take a smaller step_size, or allow more iterations"
    )


def _combined(points: list[Tensor], values: list[Tensor]) -> Tensor:
    """The combination of values, weights summing to 1, whose residuals nearly cancel."""
    if len(points) == 1:
        return values[-1]
    newest = values[-1] - points[-1]
    turns = torch.stack([(v - p) - newest for v, p in zip(values[:-1], points[:-1], strict=True)], dim=-1)
    steps = torch.stack([v - values[-1] for v in values[:-1]], dim=-1)
    gram = turns.mH @ turns
    # directions that differ by rounding only are left out of the fit: the ridge is relative to the largest
    ridge = torch.finfo(gram.dtype).eps * gram.diagonal(dim1=-2, dim2=-1).real.amax(-1)
    gram = gram + torch.diag_embed(ridge[..., None].expand(gram.shape[:-1]).to(gram.dtype))
    wanted = turns.mH @ newest[..., None]
    fitted, failed = torch.linalg.solve_ex(gram, wanted)
    share = torch.where((failed == 0)[..., None, None] & fitted.isfinite(), fitted, torch.zeros_like(fitted))
    return values[-1] - (steps @ share)[..., 0]
