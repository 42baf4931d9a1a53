"""The prior unrolled with the physics: a step towards the data on the user's operator, then the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rayfold.operators.noise import Gaussian
from rayfold.operators.xray import XRay
from rayfold.recon.arrays import along
from rayfold.recon.foundation.apply import apply_network
from rayfold.recon.foundation.bands import BANDS, levels_of, plane, spectrum_of
from rayfold.recon.foundation.directions import DataStep, approximate_inverse, brightness, heard, shading
from rayfold.recon.foundation.errors import Errors, probe, seen
from rayfold.recon.foundation.frequencies import Frequencies, first
from rayfold.recon.foundation.information import image_spectrum, information
from rayfold.recon.foundation.lines import Lines
from rayfold.recon.foundation.network import Network
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.normal import gram_of

PIXELS = 0.1  # of the second octave of the image: what is finer than a pixel, seen by a ray through one pixel


class Schedule(nn.Module):
    """The few numbers that steer the steps: how far the network is told to go, and how far it is believed.

    Parameters
    ----------
    n : int
        Steps; further ones use the numbers of the last.
    """

    def __init__(self, n: int) -> None:
        super().__init__()
        self.n = n
        self.told = nn.Parameter(torch.zeros(n, BANDS))
        self.kept = nn.Parameter(torch.tensor([-0.4]).expand(n, BANDS).clone())
        self.slope = nn.Parameter(torch.full((BANDS,), 0.5))

    def level(self, k: int, levels: Tensor) -> Tensor:
        """Levels ``(..., 4)`` to tell the network in step k, of those ``(..., 4)`` that are expected."""
        return levels * self.told[min(k, self.n - 1)].exp()

    def left(self, k: int, levels: Tensor, signal: Tensor, fresh: Tensor) -> Tensor:
        """Levels ``(..., 4)`` of the error that the network leaves: a smaller share the stronger the noise.

        `signal` are those of the image, in the same units; `fresh` is by which part the data step before has
        lowered the levels. Where it has brought nothing, the network has seen this error before.
        """
        against = torch.log(levels.clamp(min=1e-30) / signal.clamp(min=1e-30))
        share = torch.sigmoid(self.kept[min(k, self.n - 1)] - self.slope * against.clamp(-20, 20))
        share = share.clamp(min=0.1)  # no step is trusted with more than 20 dB
        return levels * (1 - (1 - share) * fresh.clamp(0, 1))


class State(NamedTuple):
    """State of `PhysicsSteps`: the image ``(..., *A.in_shape)``, and what is known of the errors in it.

    `levels` ``(..., 4)`` are those of the error of x by octave, `signal` those of the image itself, `change`
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
    change: Tensor | None


@dataclass(frozen=True)
class PhysicsSteps:
    """A solver whose step is data, then network: to be run for a few steps, by `Unrolled`.

    The data step is ``argmin 1/2 |A z - y|^2_W + 1/2 (z - x)^H T^-1 (z - x)`` by conjugate
    directions (`DataStep`); T is the spectrum of the error that the network is expected to leave.
    What then remains is about ``1 / (information + 1 / T)`` per frequency, and its mean over each octave is
    the level that the network is told next. Both follow from the operator and the noise alone, in the units
    of the image.

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
    last : int
        The step after whose network the data have their say once more; 0 for none.
    precision : str
        Of the convolutions.
    strength : float
        Factor of the levels that the network is told.

    References
    ----------
    H. K. Aggarwal et al., IEEE Trans. Med. Imaging 38 (2019) 394, unrolled with conjugate gradients;
    J. Ma and L. Ping, IEEE Access 5 (2017) 2020, the exchange of errors between data and denoiser;
    K. Zhang et al., CVPR 2020, a network told the level of each step.
    """

    network: Network
    schedule: Any
    start: int = 2
    inner: int = 2
    last: int = 0
    precision: str = "float32"
    strength: float = 1.0

    def init(self, problem: Problem, x0: Tensor | None = None) -> State:
        """Wiener estimate for images of typical spectrum, or the data step from `x0`."""
        problem = problem.quadratic()
        problem = problem._replace(y=heard(problem, problem.y))
        problem, scale = _normalised(problem)
        A = problem.A
        grid, back = Frequencies.of(A), approximate_inverse(A)
        known = information(problem, gram_of(problem), grid)
        light = brightness(A, problem.y)
        task = DataStep(problem, grid, known, back, shading(light), Lines.of(problem))
        signal, found = self._signal(task)
        own = image_spectrum(A.in_shape, known.device), image_spectrum(grid.full, known.device)
        task = _with_pixels(task, signal, found, own[0])
        problem, known = task.problem, task.known
        power, wide = (along(A.in_shape, signal**2) * each for each in own)
        known_image, data = probe(task, power, light)
        both = torch.stack([problem.y + torch.zeros_like(data), data])
        zero = known_image.new_zeros((2, *known_image.shape))
        x, found = task.solve(zero, both, power, wide, self.start)
        n, promised = len(A.in_shape), task.promised(wide)
        missed = (found - known_image) * seen(light)
        errors = Errors.measured(missed, promised, levels_of(plane(wide, n)))
        if x0 is not None:
            x = x0.to(x.dtype) / scale + torch.zeros_like(x)
        found_power = torch.fft.fft2(x, norm="ortho").abs() ** 2 / (2 if x.is_complex() else 1)
        signal_levels = torch.maximum(levels_of(plane(found_power, n)), 1e-2 * levels_of(plane(wide, n)))
        levels = errors.expected(promised, signal_levels)
        return State(x * scale, 0, scale, task, errors, levels, signal_levels, None)

    def step(self, problem: Problem, state: State) -> State:
        """Data step from the last image (the first has it from `init`), then the network."""
        levels, change = state.levels, None
        x = before = state.x / state.scale
        if state.k:
            x, promised = self._towards_data(state.task, x, levels)
            change = x - before
            levels = state.errors.expected(promised, levels)
        told = self.schedule.level(state.k, levels) * self.strength
        told = told[..., None, None] * state.errors.map.unsqueeze(-3)
        x = apply_network(self.network, x, told, change, strength=self.strength, precision=self.precision)
        fresh = 1 - levels / state.levels if state.k else torch.ones_like(levels)
        levels = self.schedule.left(state.k, levels, state.signal, fresh)
        if state.k + 1 == self.last:
            x, _ = self._towards_data(state.task, x, levels)
        return state._replace(x=x * state.scale, k=state.k + 1, levels=levels, change=change)

    def _towards_data(self, task: DataStep, x: Tensor, levels: Tensor) -> tuple[Tensor, Tensor]:
        """The data step from an image with errors of these levels, and the levels that it promises."""
        power, wide = (spectrum_of(size, levels) for size in (task.problem.A.in_shape, task.grid.full))
        x = task.solve(x, task.problem.y - task.problem.A(x), power, wide, self.inner)
        return x, task.promised(wide)

    @staticmethod
    def _signal(task: DataStep) -> tuple[Tensor, Tensor]:
        """Root mean square of the image (of each part of a complex one) without its noise; a first image.

        From filtered back-projection where there is one; else from the energy of ``b = A.H W y``, which
        is ``H^2 S + H`` per frequency for images of spectrum S.
        """
        problem, axes, known = task.problem, task.grid.axes, task.known
        if task.back is None:
            found = task.lit(problem.A.H(problem.weigh(problem.y)))
            shape = image_spectrum(task.grid.full, known.device).to(known.dtype)
            noise, scale = known.mean(axes), (known**2 * shape).mean(axes)
        else:
            found = task.back(problem.y)
            floor = 1e-3 * known.amax(axes, keepdim=True)
            noise, scale = (known / (known + floor) ** 2).mean(axes), torch.ones_like(known[..., 0, 0])
        tiny = torch.finfo(known.dtype).tiny
        power = (found * found.conj()).real.mean(axes) / (2 if found.is_complex() else 1)
        power = torch.maximum(power - noise, 0.05 * power) / scale.clamp(min=tiny)
        least = 1e-2 / known.amax(axes).clamp(min=tiny)  # an empty image is far below its noise, not at 0
        return torch.maximum(power, least).sqrt(), found


def _with_pixels(task: DataStep, signal: Tensor, found: Tensor, typical: Tensor) -> DataStep:
    """With noise for what no image of pixels explains, where data are projections.

    Rays meet detail within pixels. Projections of synthetic objects and CT slices that were drawn on a grid
    twice as fine differ from those of their pixels by 0.05 to 0.1 of the level of the second octave of the
    image, times the root of the pixels on a ray and the side of a pixel (more if rays are not a pixel apart):
    measured for 64 to 256 pixels and seven kinds of objects. Data that are told to be more exact than that
    would be fitted to errors.
    """
    problem, known = task.problem, task.known
    noise, shape, part = problem.noise, problem.A.in_shape, first(problem.A, XRay)
    if part is None or len(shape) != 2 or not isinstance(noise, Gaussian) or noise.sigma is None:
        return task
    power = torch.fft.fft2(found, norm="ortho").abs() ** 2
    floor = 1e-3 * known.amax(task.grid.axes, keepdim=True)
    own, drawn = levels_of(power)[..., 1] ** 2, levels_of(known / (known + floor) ** 2)[..., 1] ** 2
    usual = (
        signal * levels_of(typical)[..., 1]
    )  # streaks of few views look like detail: no more than is usual
    octave = torch.minimum((own - drawn).clamp(min=0).sqrt(), usual)
    side = min(part.volume.steps) * max(shape) ** 0.5
    least = along(problem.A.out_shape, PIXELS * side * octave)
    sigma = torch.as_tensor(noise.sigma, dtype=least.dtype, device=least.device)
    more = problem._replace(noise=replace(noise, sigma=torch.hypot(sigma, least)))
    axes, ones = tuple(range(-len(problem.A.out_shape), 0)), torch.ones_like(problem.y)
    share = more.weigh(ones).mean(axes) / problem.weigh(ones).mean(axes)
    return task._replace(problem=more, known=known * along(task.grid.full, share))


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
