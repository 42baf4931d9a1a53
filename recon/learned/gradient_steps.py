"""Learned gradient schemes: the gradient of the data term, and a network for the rest."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rayfold.operators import LinearOperator
from rayfold.recon.arrays import along, size, start
from rayfold.recon.checks import positive
from rayfold.recon.learned.networks import SmallCNN, damped, on_images, on_memory
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.steps import lipschitz


class VariationalNetworkState(NamedTuple):
    """Image, its prediction ``A x``, the largest safe step, and the norm of the weighted residual."""

    x: Tensor
    prediction: Tensor
    rate: Tensor
    residual: Tensor


@dataclass(frozen=True, eq=False)
class VariationalNetwork:
    """``x <- x - step_size / L * A.H W (A x - y) - network(x)``: descent with a learned regulariser.

    Parameters
    ----------
    network : nn.Module
        Step of the regulariser, one channel for real, two for complex images. In `Unrolled` an
        ``nn.ModuleList`` holds one per iteration.
    step_size : float
        Part of the safe step 1 / L.
    lipschitz : float, optional
        L, the largest eigenvalue of ``A.H W A``; bounded when not given (20 power iterations each time for
        an operator with negative or complex entries).

    References
    ----------
    K. Hammernik et al., Magn. Reson. Med. 79 (2018) 3055.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon.learned import SmallCNN, Unrolled
    >>> net = Unrolled(VariationalNetwork(SmallCNN(1, 1, width=4)), 3, trainable={"step_size"})
    >>> net(Problem(Identity((8, 8)), torch.ones(2, 8, 8))).shape
    torch.Size([2, 8, 8])
    """

    network: nn.Module
    step_size: float = 1.0
    lipschitz: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        positive(step_size=self.step_size)
        if self.lipschitz is not None:
            positive(lipschitz=self.lipschitz)

    def init(self, problem: Problem, x0: Tensor | None = None) -> VariationalNetworkState:
        """State at `x0`, zero by default."""
        x, prediction = start(problem, x0)
        rate = _safe(problem, self.lipschitz)
        return VariationalNetworkState(x, prediction, rate, size(problem, problem.y - prediction))

    def step(self, problem: Problem, state: VariationalNetworkState) -> VariationalNetworkState:
        """One step: one A, one A.H and the network."""
        A = problem.A
        slope = A.H(problem.weigh(state.prediction - problem.y))
        moved = self.step_size * along(A.in_shape, state.rate) * slope
        x = state.x - moved - on_images(self.network, state.x, len(A.in_shape))
        prediction = A(x)
        return VariationalNetworkState(x, prediction, state.rate, size(problem, problem.y - prediction))


class LearnedGradientState(NamedTuple):
    """Image, memory ``(..., channels, *image)``, prediction ``A x``, largest safe step, residual norm."""

    x: Tensor
    memory: Tensor
    prediction: Tensor
    rate: Tensor
    residual: Tensor


@dataclass(frozen=True, eq=False)
class LearnedGradient:
    """``(x, memory) <- (x, memory) + network([x, memory, gradient])``: descent whose steps are learned.

    Parameters
    ----------
    network : nn.Module
        ``(batch, channels + 2, *image)`` to ``channels + 1``, twice that for complex images; `create` makes
        one per iteration. In `Unrolled` an ``nn.ModuleList`` holds one per iteration.
    channels : int
        Arrays of memory that pass from step to step, 1 or more.
    back : LinearOperator, optional
        From data to image instead of ``A.H / L``, as filtered back-projection.
    lipschitz : float, optional
        As in `VariationalNetwork`.

    References
    ----------
    J. Adler and O. Oktem, Inverse Problems 33 (2017) 124007.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon.learned import Unrolled
    >>> net = Unrolled(LearnedGradient.create(3, width=4), 3)
    >>> net(Problem(Identity((8, 8)), torch.ones(2, 8, 8))).shape
    torch.Size([2, 8, 8])
    """

    network: nn.Module
    channels: int = 4
    back: LinearOperator | None = field(default=None, kw_only=True)
    lipschitz: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        positive(channels=self.channels)
        if self.lipschitz is not None:
            positive(lipschitz=self.lipschitz)

    @classmethod
    def create(
        cls,
        n: int,
        *,
        channels: int = 4,
        width: int = 32,
        depth: int = 3,
        ndim: int = 2,
        fold: int = 1,
        field: str = "real",
        back: LinearOperator | None = None,
        lipschitz: float | None = None,
    ) -> LearnedGradient:
        """Scheme of `n` iterations, each with a fresh network; the other parameters as in `SmallCNN`."""
        parts = 2 if field == "complex" else 1
        made = nn.ModuleList()
        for _ in range(n):
            net = SmallCNN(
                parts * (channels + 2), parts * (channels + 1), width=width, depth=depth, ndim=ndim, fold=fold
            )
            made.append(damped(net))
        return cls(made, channels, back=back, lipschitz=lipschitz)

    def init(self, problem: Problem, x0: Tensor | None = None) -> LearnedGradientState:
        """State at `x0`, zero by default, with an empty memory."""
        x, prediction = start(problem, x0)
        memory = torch.stack([torch.zeros_like(x)] * self.channels, dim=-len(problem.A.in_shape) - 1)
        rate = _safe(problem, self.lipschitz)
        return LearnedGradientState(x, memory, prediction, rate, size(problem, problem.y - prediction))

    def step(self, problem: Problem, state: LearnedGradientState) -> LearnedGradientState:
        """One step: one A, one A.H (or `back`) and the network."""
        A, of_image = problem.A, -len(problem.A.in_shape) - 1
        r = state.prediction - problem.y
        slope = along(A.in_shape, state.rate) * A.H(problem.weigh(r)) if self.back is None else self.back(r)
        kept = torch.cat([state.x.unsqueeze(of_image), state.memory], dim=of_image)
        given = torch.cat([kept, slope.unsqueeze(of_image)], dim=of_image)
        kept = kept + on_memory(self.network, given, len(A.in_shape))
        x, prediction = kept.select(of_image, 0), A(kept.select(of_image, 0))
        memory = kept.narrow(kept.ndim + of_image, 1, self.channels)
        return LearnedGradientState(x, memory, prediction, state.rate, size(problem, problem.y - prediction))


def _safe(problem: Problem, known: float | None) -> Tensor:
    """The step 1 / L, one per problem, outside any graph."""
    with torch.no_grad():
        bound: Tensor = lipschitz(problem) if known is None else problem.y.real.new_tensor(known)
        return 1.0 / bound
