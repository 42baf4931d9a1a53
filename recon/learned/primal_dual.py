"""Learned primal-dual reconstruction: a primal-dual scheme whose two proximal maps are small networks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from rayfold.operators import LinearOperator
from rayfold.recon.arrays import size, start
from rayfold.recon.checks import positive
from rayfold.recon.learned.networks import SmallCNN, damped, on_memory
from rayfold.recon.learned.residual import residual_of
from rayfold.recon.problem import Problem


class LearnedPrimalDualState(NamedTuple):
    """Image, primal memory ``(..., channels, *image)``, dual memory ``(..., channels, *data)``.

    `scale` is the size of the operator, by which it is divided; `residual` has no gradient.
    """

    x: Tensor
    primal: Tensor
    dual: Tensor
    scale: Tensor
    residual: Tensor


@dataclass(frozen=True, eq=False)
class LearnedPrimalDual:
    """Primal-dual steps with learned updates instead of proximal operators.

    With ``K = A / scale``, memories f (primal) and h (dual) of several channels each::

        h <- h + dual([h, K f_1, y / scale])
        f <- f + primal([f, K.H h_0])
        x  = f_0

    Parameters
    ----------
    primal, dual : nn.Module
        Networks, ``(batch, channels + 1, *image)`` and ``(batch, channels + 2, *data)`` to `channels`; for
        complex images and data each array counts twice. `create` makes them. In `Unrolled` an
        ``nn.ModuleList`` holds one per iteration.
    channels : int
        Arrays in either memory, at least 2.
    scale : float, optional
        Size of the operator; ``A.norm_bound()`` or, with negative entries, ``A.norm()`` if not given.
    back : LinearOperator, optional
        From data to image instead of the adjoint: filtered back-projection, for example, spares the
        networks a deconvolution.

    References
    ----------
    J. Adler and O. Oktem, IEEE Trans. Med. Imaging 37 (2018) 1322; for filtered back-projection within the
    iterations M. Genzel, I. Guhring, J. Macdonald and M. Marz, ICML (2022) 7368.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon.learned import Unrolled
    >>> net = Unrolled(LearnedPrimalDual.create(2, width=4), 2)
    >>> net(Problem(Identity((8, 8)), torch.ones(3, 8, 8))).shape
    torch.Size([3, 8, 8])
    """

    primal: nn.Module
    dual: nn.Module
    channels: int = 5
    scale: float | None = None
    back: LinearOperator | None = None

    def __post_init__(self) -> None:
        if self.channels < 2:
            raise ValueError(f"channels is {self.channels}; the scheme reads two of them, give 2 or more")
        if self.scale is not None:
            positive(scale=self.scale)

    @classmethod
    def create(
        cls,
        n: int,
        *,
        channels: int = 5,
        width: int = 32,
        depth: int = 3,
        ndim: int = 2,
        fold: int = 1,
        field: str = "real",
        scale: float | None = None,
        back: LinearOperator | None = None,
    ) -> LearnedPrimalDual:
        """Scheme of `n` iterations, each with fresh networks whose updates start small.

        Parameters
        ----------
        n : int
            Iterations.
        channels, scale, back
            As in the class.
        width, depth, fold
            Of the primal networks, see `SmallCNN`; the dual ones are not folded and at most 32 wide.
        ndim : int
            Axes of the image and of the data.
        field : {"real", "complex"}
            Of the image and of the data.
        """
        parts = 2 if field == "complex" else 1

        def networks(inputs: int, wide: int, fold: int) -> nn.ModuleList:
            made = nn.ModuleList()
            for _ in range(n):
                net = SmallCNN(
                    parts * inputs, parts * channels, width=wide, depth=depth, ndim=ndim, fold=fold
                )
                made.append(damped(net))
            return made

        primal, dual = networks(channels + 1, width, fold), networks(channels + 2, min(width, 32), 1)
        return cls(primal, dual, channels=channels, scale=scale, back=back)

    def init(self, problem: Problem, x0: Tensor | None = None) -> LearnedPrimalDualState:
        """State at `x0`, zero by default: every primal channel is the image, every dual one zero."""
        A, y = problem.A, problem.y
        known = self.scale or (A.norm_bound() if A.nonnegative else A.norm())
        x, prediction = start(problem, x0)
        primal = torch.stack([x] * self.channels, dim=-len(A.in_shape) - 1)
        dual = torch.stack([torch.zeros_like(y)] * self.channels, dim=-len(A.out_shape) - 1)
        scale = y.real.new_tensor(known)
        return LearnedPrimalDualState(x, primal, dual, scale, size(problem, y - prediction))

    def step(self, problem: Problem, state: LearnedPrimalDualState) -> LearnedPrimalDualState:
        """One step: one A, one A.H (or `back`), two networks, and one A more for the residual."""
        A, y, primal, dual, scale = problem.A, problem.y, state.primal, state.dual, state.scale
        of_image, of_data = -len(A.in_shape) - 1, -len(A.out_shape) - 1
        prediction = A(primal.select(of_image, 1))
        given = torch.cat([dual, torch.stack([prediction, y], dim=of_data) / scale], dim=of_data)
        dual = dual + on_memory(self.dual, given, -of_data - 1)
        first = dual.select(of_data, 0)
        seen = A.H(first) / scale if self.back is None else self.back(first) * scale
        given = torch.cat([primal, seen.unsqueeze(of_image)], dim=of_image)
        primal = primal + on_memory(self.primal, given, -of_image - 1)
        x = primal.select(of_image, 0)
        return LearnedPrimalDualState(x, primal, dual, scale, residual_of(problem, x))
