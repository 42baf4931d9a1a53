"""Cartesian k-space of whole lines: what several coils mix is on one line of the image, and solved there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rayfold.operators import FFT, Batched, CoilSensitivities, LinearOperator
from rayfold.operators.base import Bound, Composed
from rayfold.operators.calculus import Diagonal
from rayfold.recon.problem import Problem

KEPT = 150_000_000  # entries of factors that are kept; more are computed again for every direction
AT_ONCE = 30_000_000  # entries that are made at once
RIDGE = 1e-6  # of the largest weight: keeps factors of single precision positive


@dataclass(frozen=True, eq=False)
class Lines:
    """The normal operator of SENSE with whole lines of k-space: one small matrix per line of the image.

    With weights w that vary along the phase-encoding axis only, ``A.H W A`` couples pixels of one line:
    ``G[y, y'] = sum_c conj(s_c[y]) s_c[y'] k[y - y']``, k the inverse transform of w. Every alias is in it.

    Parameters
    ----------
    maps : Tensor, (coils, n_lines, n)
        Sensitivities, phase encoding last.
    weights : Tensor, (n_problems, n)
        Inverse variance of the lines of k-space, in the order of ``torch.fft``.
    axis : int
        Phase-encoding axis of the image: -2 or -1.

    References
    ----------
    K. P. Pruessmann et al., Magn. Reson. Med. 42 (1999) 952, with regularisation, for any choice of lines.
    """

    maps: Tensor
    weights: Tensor
    axis: int

    @classmethod
    def of(cls, problem: Problem) -> Lines | None:
        """Of a problem of tensors; None where it is of any other kind than SENSE with lines of 2D k-space."""
        A = problem.A
        parts = A.parts if isinstance(A, Composed) else ()
        if len(A.in_shape) != 2 or len(parts) < 2 or getattr(problem.noise, "sigma", None) is None:
            return None
        coils, transform, *masks = (_bare(part) for part in reversed(parts))
        if not isinstance(coils, CoilSensitivities) or not isinstance(transform, FFT):
            return None
        plain = not (coils.sets or coils.components or coils.lead) and transform.axes == (-2, -1)
        if not plain or coils.maps is None or coils.maps.ndim != 3:
            return None
        weights = _weights(problem, masks)
        if weights is None:
            return None
        maps = coils.own("maps", problem.y).to(problem.y.dtype)
        for axis in (-2, -1):
            other = -3 - axis
            if bool((weights == weights.narrow(other, 0, 1)).all()):
                line = weights.select(other, 0).reshape(-1, A.in_shape[axis])
                return cls(maps.transpose(-1, axis), torch.fft.ifftshift(line, dim=-1), axis)
        return None

    def solver(self, prior: Tensor) -> Callable[[Tensor], Tensor]:
        """Solves ``(G + P) d = g``, P the filter along the lines nearest to the one that is given.

        Parameters
        ----------
        prior : Tensor, (..., ny, nx)
            Positive gain per frequency; along the other axis its geometric mean is taken.

        Returns
        -------
        callable
            From ``g``, ``(..., ny, nx)``, to d.
        """
        prior = prior.detach()
        lead = prior.shape[:-2]
        across = torch.exp(torch.log(prior).mean(-3 - self.axis)).reshape(-1, self.maps.shape[-1])
        n_problems = max(len(self.weights), len(across))
        kernels = [torch.fft.ifft(each.expand(n_problems, -1)) for each in (self.weights, across)]
        n_lines, n = self.maps.shape[1:]
        block = max(1, AT_ONCE // n**2)
        pieces = [slice(k, k + block) for k in range(0, n_lines, block)]
        keep = n_problems * n_lines * n**2 <= KEPT
        kept: dict[tuple[int, int], Tensor] = {}

        def factor(i: int, k: int) -> Tensor:
            if (i, k) not in kept:
                matrix = self._matrix(kernels[0][i], kernels[1][i], pieces[k])
                made: Tensor = torch.linalg.cholesky_ex(matrix)[0]
                if not keep:
                    return made
                kept[i, k] = made
            return kept[i, k]

        def solve(g: Tensor) -> Tensor:
            lines = (g + g.new_zeros((*lead, 1, 1))).transpose(-1, self.axis)
            sides = lines.reshape(-1, n_problems, n_lines, n).permute(
                1, 2, 3, 0
            )  # right sides of one factor last
            out = [
                torch.cat([torch.cholesky_solve(side[p], factor(i, k)) for k, p in enumerate(pieces)])
                for i, side in enumerate(sides)
            ]
            return torch.stack(out).permute(3, 0, 1, 2).reshape(lines.shape).transpose(-1, self.axis)

        return solve

    def _matrix(self, data: Tensor, prior: Tensor, lines: slice) -> Tensor:
        maps = self.maps[:, lines].permute(1, 2, 0)
        coupled = maps.conj() @ maps.transpose(-1, -2)
        n = len(data)
        index = (torch.arange(n, device=data.device)[:, None] - torch.arange(n, device=data.device)) % n
        matrix = coupled * data[index] + prior[index]
        ridge = RIDGE * data[0].real * coupled.diagonal(dim1=-2, dim2=-1).real.amax()
        matrix.diagonal(dim1=-2, dim2=-1).add_(ridge)
        return matrix


def _weights(problem: Problem, masks: list[LinearOperator]) -> Tensor | None:
    """Inverse variance of the points of k-space, the same for all coils: ``(..., ny, nx)``, or None."""
    total = problem.weigh(torch.ones_like(problem.y.real))
    for mask in masks:
        if not isinstance(mask, Diagonal) or mask.weights is None or mask.weights.ndim > 3:
            return None
        total = total * mask.own("weights", total).abs() ** 2
    first = total[..., :1, :, :]
    return first[..., 0, :, :] if bool((total == first).all()) else None


def _bare(part: LinearOperator) -> LinearOperator:
    while isinstance(part, Bound | Batched):
        part = part.base if isinstance(part, Bound) else part.op
    return part
