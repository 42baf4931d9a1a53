"""The prior unrolled with the physics: a step towards the data on the user's operator, then the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rayfold.operators.noise import Gaussian
from rayfold.recon.foundation.apply import apply_network
from rayfold.recon.foundation.bands import BANDS, levels_of, plane, spectrum_of
from rayfold.recon.foundation.bins import merged_bins
from rayfold.recon.foundation.counts import with_gaussian_noise
from rayfold.recon.foundation.directions import (
    DataStep,
    approximate_inverse,
    brightness,
    heard,
    local_weights,
    shading,
)
from rayfold.recon.foundation.errors import Errors, drawn_noise, probe, seen
from rayfold.recon.foundation.frequencies import Frequencies
from rayfold.recon.foundation.information import information
from rayfold.recon.foundation.lines import Lines
from rayfold.recon.foundation.network import Network
from rayfold.recon.foundation.pixels import of_means
from rayfold.recon.foundation.spectrum import expected_spectrum, relative_levels, with_pixels
from rayfold.recon.priors.bounds import Box
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.normal import gram_of

MOST = 1.2  # factor by which a change is enlarged: levels are not known so well
TINY = 1e-30  # in units of the squared data
WIDER = 1.5  # factor of the expected level of aliasing at first: it is not known so well as that of noise
SLOWEST = 0.7  # share of the level of aliasing that a step leaves at least
LEAST = 1e-3  # share of an error that counts as added: the derivative of a root ends at 0


class Schedule(nn.Module):
    """The few numbers that steer the steps: how far the network is told to go, and how far it is believed.

    Parameters
    ----------
    n : int
        Steps that it has numbers for; further ones use those of the last.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.told = nn.Parameter(torch.zeros(n, BANDS))
        self.kept = nn.Parameter(torch.tensor([-0.4]).expand(n, BANDS).clone())
        self.slope = nn.Parameter(torch.full((BANDS,), 0.5))

    @property
    def steps(self) -> int:
        """Of a reconstruction: one more than it has numbers for, in place of a last data step."""
        return self.n + 1

    def level(self, k: int, levels: Tensor) -> Tensor:
        """Levels ``(..., 4)`` to tell the network in step k, of those ``(..., 4)`` that are expected."""
        return levels * self.told[min(k, self.n - 1)].exp()

    def left(self, k: int, levels: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
        """Levels ``(..., 4)`` of the error that the network leaves: a smaller share the stronger the noise.

        `noise` is the part of the error that the network can remove (`added`), `signal` are the levels of the
        image, in the same units.
        """
        against = torch.log(noise.clamp(min=1e-30) / signal.clamp(min=1e-30))
        share = torch.sigmoid(self.kept[min(k, self.n - 1)] - self.slope * against.clamp(-20, 20))
        share = share.clamp(min=0.1)  # no step is trusted with more than 20 dB
        return (levels**2 - (1 - share**2) * noise**2).clamp(min=TINY).sqrt()


def added(levels: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """The part of an error that the data have added, and what makes their change unbiased.

    The best linear estimate leaves an error of level s that is not correlated with it: of the error before,
    of level t, the share ``s^2 / t^2`` is still missing, and the rest, ``s (1 - s^2 / t^2)^(1/2)``, is noise
    that was added. A network can remove what was added. What is missing it would only take for smoothness of
    the image: the change that the data made is therefore enlarged by ``1 / (1 - s^2 / t^2)``, up to `MOST`,
    and its noise with it.

    Parameters
    ----------
    levels, before : Tensor, (..., 4)
        s and t, in the units of the image.

    Returns
    -------
    noise : Tensor, (..., 4)
        What was added, in the same units: of the change as it is, before it is enlarged.
    gain : Tensor, (..., 4)
        1 to `MOST`.

    References
    ----------
    S. Rangan, P. Schniter and A. K. Fletcher, IEEE Trans. Inf. Theory 65 (2019) 6664, vector approximate
    message passing, where both sides pass on unbiased estimates.
    """
    new = 1 - (levels / before.clamp(min=1e-30)).clamp(max=1) ** 2
    new = new.clamp(min=LEAST)
    return levels * new.sqrt(), 1 / new.clamp(min=1 / MOST)


class State(NamedTuple):
    """State of `PhysicsSteps`: the image ``(..., *A.in_shape)``, and what is known of the errors in it.

    `levels` ``(..., 4)`` are those of the error of x by octave, `signal` those of the image itself,
    `prior` those that were expected of it, `change`
    ``(..., *A.in_shape)`` is what the last data step did, `task` solves data steps, `errors` says what they
    leave. All but x are in units of `scale`, in which the data are about 1: no unit is too small or too
    large for the arithmetic.
    """

    x: Tensor
    k: int
    scale: Tensor
    task: DataStep
    errors: Errors
    levels: Tensor
    signal: Tensor
    prior: Tensor
    change: Tensor | None


@dataclass(frozen=True)
class PhysicsSteps:
    """A solver whose step is data, then network: to be run for a few steps, by `Unrolled`.

    The data step is ``argmin 1/2 |A z - y|^2_W + 1/2 (z - x)^H T^-1 (z - x)`` by conjugate
    directions (`DataStep`); T is the spectrum of the error that the network is expected to leave.
    What then remains is about ``1 / (information + 1 / T)`` per frequency, and its mean over each octave is
    the level that the network is told next. Both follow from the operator and the noise alone, in the units
    of the image. Noise is taken out at once; aliasing is believed to go slowly (`WIDER`, `SLOWEST`),
    because what a network takes for the object too early stays.

    Parameters
    ----------
    network : nn.Module
        `Network`.
    schedule : nn.Module
        `Schedule`.
    start : int
        Conjugate directions for the first image.
    inner : int
        Conjugate directions of each data step.
    precision : str
        Of the convolutions.
    strength : float
        Factor of the levels that the network is told.
    poses : int
        Of `apply_network`.
    bounds : Box, optional
        What the image is known to lie between: every step ends there, but where views cover all directions.

    References
    ----------
    H. K. Aggarwal et al., IEEE Trans. Med. Imaging 38 (2019) 394, unrolled with conjugate gradients;
    J. Ma and L. Ping, IEEE Access 5 (2017) 2020, the exchange of errors between data and denoiser;
    K. Zhang et al., CVPR 2020, a network told the level of each step; K. Zhang et al., IEEE Trans. PAMI 44
    (2022) 6360, levels that fall slowly.
    """

    network: Network
    schedule: Any
    start: int = 2
    inner: int = 2
    precision: str = "float32"
    strength: float = 1.0
    poses: int = 1
    bounds: Box | None = None

    def init(self, problem: Problem, x0: Tensor | None = None) -> State:
        """Wiener estimate for images of the spectrum that the data show (`relative_levels`), or `x0`."""
        problem = merged_bins(with_gaussian_noise(problem))
        problem = problem._replace(A=of_means(problem.A), y=heard(problem, problem.y))
        problem, scale = _normalised(problem)
        A = problem.A
        grid, back = Frequencies.of(A), approximate_inverse(A)
        known = information(problem, gram_of(problem), grid)
        light = brightness(A, problem.y)
        task = DataStep(problem, grid, known, back, shading(light), Lines.of(problem))
        found = None if back is None else task.inverse(torch.stack([problem.y, drawn_noise(problem)]))
        relative = relative_levels(task, light, found)
        task = with_pixels(task, relative)
        problem = task.problem
        power, wide = (expected_spectrum(shape, relative) for shape in (A.in_shape, grid.full))
        known_image, data = probe(task, power, light)
        both = torch.stack([problem.y + torch.zeros_like(data), data])
        zero = known_image.new_zeros((2, *known_image.shape))
        first = None if found is None else torch.stack([found[0] + 0 * known_image, task.inverse(data)])
        x, again = task.solve(zero, both, power, wide, self.start, first)
        n, promised = len(A.in_shape), task.promised(wide)
        missed = (again - known_image) * seen(light)
        errors = Errors.measured(missed, promised, levels_of(plane(wide, n)))
        if x0 is not None:
            x = x0.to(x.dtype) / scale + torch.zeros_like(x)
        found_power = torch.fft.fft2(x, norm="ortho").abs() ** 2 / (2 if x.is_complex() else 1)
        signal_levels = torch.maximum(levels_of(plane(found_power, n)), 1e-2 * levels_of(plane(wide, n)))
        levels = errors.expected(promised, signal_levels)
        task = task._replace(local=local_weights(problem))  # the first image is better without, at few views
        if task.local is None:  # the gradient would draw single rays that do not fit
            levels = levels * (1 + (WIDER - 1) * errors.aliased * (1 - errors.unseen))
        prior = levels_of(plane(wide, n))
        return State(x * scale, 0, scale, task, errors, levels, signal_levels, prior, None)

    def step(self, problem: Problem, state: State) -> State:
        """Data step from the last image (the first has it from `init`), then the network."""
        levels, change, shape = state.levels, None, state.task.problem.A.in_shape
        x = before = state.x / state.scale
        if state.k:
            power, wide = (spectrum_of(size, levels) for size in (shape, state.task.grid.full))
            task = state.task
            # after weighted directions there is little left to do in the end
            inner = self.inner if task.local is None or state.k < self.schedule.n else 1
            x = task.solve(x, task.problem.y - task.problem.A(x), power, wide, inner)
            promised = task.promised(wide)
            change = x - before
            levels = state.errors.expected(promised, levels)
        noise, gain = added(levels, state.levels if state.k else state.prior)
        more = spectrum_of(shape, (gain - 1).clamp(min=1e-6)).sqrt()
        x = x + Frequencies(shape, (0,) * len(shape)).filter(x if change is None else change, more)
        told = self.schedule.level(state.k, noise * gain) * self.strength
        told = told[..., None, None] * state.errors.map.unsqueeze(-3)
        x = self.denoised(x, told, change)
        if self.bounds is not None and state.task.local is None:  # else what is cut off unbalances rays
            x = self.bounds.prox(x * state.scale, 1.0) / state.scale
        left = self.schedule.left(state.k, levels, noise, state.signal)
        levels = torch.maximum(left, SLOWEST * state.errors.aliased * levels)
        return state._replace(x=x * state.scale, k=state.k + 1, levels=levels, change=change)

    def denoised(self, x: Tensor, told: Tensor, change: Tensor | None = None) -> Tensor:
        """The network's answer to an image ``(..., ny, nx)`` and levels ``(..., 4, ny, nx)``."""
        return apply_network(
            self.network,
            x,
            told,
            change,
            strength=self.strength,
            precision=self.precision,
            poses=self.poses,
        )


def _normalised(problem: Problem) -> tuple[Problem, Tensor]:
    """The problem in units in which its largest datum is about 1, and the unit as a power of 2.

    One unit for each problem of a batch, or one for all if they share a covariance.
    """
    y, noise = problem.y, problem.noise
    sigma: Any = getattr(noise, "sigma", None)
    covariance: Any = getattr(noise, "covariance", None)
    n_data, n_image = len(problem.A.out_shape), len(problem.A.in_shape)
    own = covariance is None
    axes = tuple(range(-n_data, 0)) if own else tuple(range(-y.ndim, 0))
    top = y.detach().abs().amax(axes) if noise is not None else y.new_ones(y.shape[: y.ndim - n_data]).real
    unit = torch.exp2(torch.floor(torch.log2(torch.where(top > 0, top, torch.ones_like(top)))))
    unit_of_data = unit.reshape(*unit.shape, *(1,) * n_data) if own else unit
    if isinstance(noise, Gaussian):
        if own:
            noise = replace(noise, sigma=sigma / unit_of_data)
        else:
            noise = replace(noise, covariance=covariance / unit**2)
    scaled = problem._replace(y=y / unit_of_data, noise=noise)
    return scaled, unit.reshape(*unit.shape, *(1,) * n_image) if own else unit
