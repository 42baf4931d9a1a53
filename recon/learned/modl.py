"""Model-based deep learning: a network's denoised image, made consistent with the data by least squares."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor, nn

from rayfold.recon.arrays import start
from rayfold.recon.checks import positive
from rayfold.recon.learned.inner_solve import conjugate_gradients, solved
from rayfold.recon.learned.networks import on_images
from rayfold.recon.learned.residual import residual_of
from rayfold.recon.problem import Problem


class MoDLState(NamedTuple):
    """Image, ``A.H W y``, and the norm of the weighted residual, which has no gradient."""

    x: Tensor
    back: Tensor
    residual: Tensor


@dataclass(frozen=True, eq=False)
class MoDL:
    """``x <- argmin 1/2 |A x - y|_W^2 + strength/2 |x - d|^2`` with ``d = x - network(x)``.

    The network finds noise and artefacts, least squares brings back what the data say. Without a start the
    first image is the least-squares solution with ``d = 0``.

    Parameters
    ----------
    network : nn.Module
        From the image to what is wrong with it; one channel for real, two for complex images. In `Unrolled`
        an ``nn.ModuleList`` holds one per iteration.
    strength : float
        Weight of the denoised image, in units of ``A.H W A``.
    iterations : int
        Conjugate-gradient steps of one least-squares problem, at most.
    tolerance : float
        Their relative residual at which they stop.
    implicit : bool
        Differentiate the solution instead of the iterations: memory does not grow with them.

    References
    ----------
    H. K. Aggarwal, M. P. Mani and M. Jacob, IEEE Trans. Med. Imaging 38 (2019) 394.

    Examples
    --------
    >>> import torch
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon.learned import SmallCNN, Unrolled
    >>> net = Unrolled(MoDL(SmallCNN(1, 1, width=4), strength=1.0), 3, trainable={"strength"})
    >>> net(Problem(Identity((8, 8)), torch.ones(2, 8, 8))).shape
    torch.Size([2, 8, 8])
    """

    network: nn.Module
    strength: float
    iterations: int = field(default=30, kw_only=True)
    tolerance: float = field(default=1e-6, kw_only=True)
    implicit: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        positive(strength=self.strength, iterations=self.iterations, tolerance=self.tolerance)

    def init(self, problem: Problem, x0: Tensor | None = None) -> MoDLState:
        """State at `x0`, or at the damped least-squares solution."""
        back = problem.A.H(problem.weigh(problem.y))
        x = self._consistent(problem, back) if x0 is None else start(problem, x0)[0]
        return MoDLState(x, back, residual_of(problem, x))

    def step(self, problem: Problem, state: MoDLState) -> MoDLState:
        """One step: the network once, and up to ``iterations + 1`` of A and A.H."""
        denoised = state.x - on_images(self.network, state.x, len(problem.A.in_shape))
        x = self._consistent(problem, state.back + self.strength * denoised)
        return MoDLState(x, state.back, residual_of(problem, x))

    def _consistent(self, problem: Problem, b: Tensor) -> Tensor:
        A = problem.A

        def matrix(v: Tensor) -> Tensor:
            pulled: Tensor = A.H(problem.weigh(A(v)))
            return pulled + self.strength * v

        solve = solved if self.implicit else conjugate_gradients
        return solve(matrix, b, A.in_shape, self.iterations, tolerance=self.tolerance)
