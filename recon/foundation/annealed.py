"""The thorough way: data and network in turn at a level that falls slowly, each solved nearly to the end."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from rayfold.recon.foundation.apply import apply_network
from rayfold.recon.foundation.bands import BANDS
from rayfold.recon.foundation.steps import PhysicsSteps, State
from rayfold.recon.priors.bounds import Box
from rayfold.recon.priors.equivariant import turn, turn_back
from rayfold.recon.problem import Problem
from rayfold.recon.shipped import THOROUGH_STEPS
from rayfold.recon.solvers.splitting import data_step

LAST = 0.2  # of the noise in what is measured best: the level in the end, below all that is left to do
FIRST = {"real": 1.0, "complex": 1.4}  # of the error of the first image: the level at first
PLACE = {"real": 0.5, "complex": 0.0}  # power of the map of that error in what the network is told
COUPLING = 0.7  # of image and network at first: at least u (1 - u), u level over noise
COLOUR = 0.3  # power of the shares that the octaves have in the error of the first image
APART = 0.45, 0.65  # of `apply_network`: more is believed, as what was wrong can still be undone
MOST = 0.3  # of the first level, that of the last
WAYS = 4  # as it is, transposed, mirrored, both
AT_THE_IMAGE = (Box(-math.inf, math.inf),)  # where network and data are split


class Annealing(NamedTuple):
    """Image, step, and the first state of `PhysicsSteps`.

    In its unit: what the data step made, the residual of the data there, the first and last level ``(...)``;
    and the coupling in the end ``(...)``.
    """

    x: Tensor
    k: int
    start: State
    z: Tensor
    r: Tensor
    first: Tensor
    last: Tensor
    coupling: Tensor


@dataclass(frozen=True)
class AnnealedSteps:
    """Half-quadratic splitting with the network as prior: for data that see little, and that well.

    From step to step the level s falls in equal ratios, from the error of the first image to below the noise.
    The data step is ``argmin 1/2 |A z - y|^2_W + c / (2 s^2) |z - x|^2`` by conjugate gradients, the network
    sees z at level s, and what the data changed; in every step it looks at the image in another way.
    About 240 pairs of A and its adjoint, where `PhysicsSteps` takes 16: a step trusts the network less, so
    that what it took for the object by mistake can still be undone. Of noise n in the data z keeps
    ``n s^2 / (s^2 + c n^2)``, which is no more than the level s that the network is told while
    ``c >= u (1 - u)`` with ``u = s / n``. As s falls c does, by the noise of what is measured best over that
    of what is measured on average: where most is measured worse than the best, u is smaller for it. The
    network is told a little of how the error is spread over the octaves at first (`COLOUR`), and for real
    images over the places (`PLACE`).

    Parameters
    ----------
    steps : PhysicsSteps
        Whose network and first image are taken.
    n : int
        Steps.
    inner : int
        Conjugate gradients of each data step.

    References
    ----------
    K. Zhang et al., IEEE Trans. PAMI 44 (2022) 6360, a deep denoiser at falling levels; M. Terris et al.,
    CVPR 2024, another way of looking in every step.
    """

    steps: PhysicsSteps
    n: int = THOROUGH_STEPS
    inner: int = 10

    def init(self, problem: Problem, x0: Tensor | None = None) -> Annealing:
        """The first image of `PhysicsSteps`, ``(..., *A.in_shape)``, and the levels in its unit."""
        start = self.steps.init(problem, x0)
        axes = tuple(range(-len(start.task.problem.A.in_shape), 0))
        known, tiny = start.task.known, torch.finfo(start.levels.dtype).tiny
        best = known.amax(axes).clamp(min=tiny)
        noise = best.rsqrt()
        first = FIRST[_field(start.x)] * start.levels.amax(-1)
        z, own = start.x / start.scale, start.task.problem
        last = torch.minimum(LAST * noise, MOST * first)
        coupling = COUPLING * (known.mean(axes) / best).clamp(min=tiny).sqrt()
        return Annealing(start.x, 0, start, z, own.y - own.A(z), first, last, coupling)

    def step(self, problem: Problem, state: Annealing) -> Annealing:
        """Data step from the last image (the first has it from `init`), then the network."""
        steps, own = self.steps, state.start.task.problem
        shape = own.A.in_shape
        part = min(state.k / max(self.n - 1, 1), 1.0)
        level = state.first * (state.last / state.first.clamp(min=1e-30)) ** part
        coupling = COUPLING * (state.coupling / COUPLING) ** part
        z, r, change = state.z, state.r, None
        if state.k:
            before = state.x / state.start.scale
            rho = coupling / level.clamp(min=1e-30) ** 2
            z, r = data_step(own, AT_THE_IMAGE, z, r, [before], (rho,), self.inner)
            change = z - before
        colour = (state.start.levels / state.start.levels.amax(-1, keepdim=True).clamp(min=1e-30)) ** COLOUR
        told = steps.strength * level[..., None] * colour
        told = told.reshape(*level.shape, *(1,) * len(shape[:-2]), BANDS).expand(*z.shape[:-2], BANDS)
        way = state.k % WAYS
        if place := PLACE[_field(z)]:
            told = told[..., None, None] * turn(state.start.errors.map**place, way).unsqueeze(-3)
        made = apply_network(
            steps.network,
            turn(z, way),
            told,
            None if change is None else turn(change, way),
            strength=steps.strength,
            precision=steps.precision,
            poses=steps.poses,
            apart=APART,
        )
        x = turn_back(made, way) * state.start.scale
        if steps.bounds is not None:
            x = steps.bounds.prox(x, 1.0)
        return state._replace(x=x, k=state.k + 1, z=z, r=r)


def _field(x: Tensor) -> str:
    return "complex" if x.is_complex() else "real"
