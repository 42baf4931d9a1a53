"""What a data step leaves of the error: measured on an image that is known, with noise that is drawn."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from rayfold.recon.foundation.bands import levels_of
from rayfold.recon.foundation.directions import DataStep
from rayfold.recon.foundation.frequencies import Frequencies
from rayfold.recon.problem import Problem

ALIASED = (0.3, 0.7)  # share of the error beyond what noise explains: up to here it is none, from here all
JUDGED = slice(1, 3)  # octaves: the finest lack power where a detector or k-space ends
SPREAD = 16  # the map of the error is smoothed over this part of a side
SEED = 20261126
DARK = 0.5  # of the brightness at the centre: below, images from coils fade


class Errors(NamedTuple):
    """How far a data step falls short of what the spectrum alone promises.

    A random image with the spectrum of the unknown one is sent through the operator, noise is added, and the
    first image is made of it as of the data: its error is known exactly. So aliases that no spectrum shows,
    a detector that is short, weights that vary: all are in what is told to the network.

    Parameters
    ----------
    levels : Tensor, (..., 4)
        Of the error that was measured, by octave.
    unseen : Tensor, (..., 4)
        Share of the power that no data step can find.
    better : Tensor, (..., 4)
        Up to 1: the measured level over the promised one, where coils see more than the centre does.
    map : Tensor, (..., ny, nx)
        Where the error is large: a factor of mean square 1.
    aliased : Tensor, (..., 1)
        Between 0 for an error that noise and smoothing explain, and 1 for the aliasing of views or lines that
        were not measured: streaks, folded images.

    References
    ----------
    P. M. Robson et al., Magn. Reson. Med. 60 (2008) 895, noise maps from drawn noise.
    """

    levels: Tensor
    unseen: Tensor
    better: Tensor
    map: Tensor
    aliased: Tensor

    @classmethod
    def measured(cls, error: Tensor, promised: Tensor, before: Tensor) -> Errors:
        """From an error ``(..., [nz,] ny, nx)``, the levels that were promised, and those before the data."""
        parts = 2 if error.is_complex() else 1
        n = (error.shape[-2], error.shape[-1])
        power = torch.fft.fft2(error, norm="ortho").abs() ** 2 / parts
        slices = tuple(range(promised.ndim - 1, error.ndim - 2))
        levels = levels_of(power.mean(slices) if slices else power)
        gap = (before**2 - promised**2).clamp(min=torch.finfo(levels.dtype).tiny)
        unseen = ((levels**2 - promised**2) / gap).clamp(0, 1)
        local = Frequencies(n, (n[0] // 4, n[1] // 4))
        fy, fx = (
            torch.fft.fftfreq(side, device=error.device) * max(1.0, one / SPREAD)
            for side, one in zip(local.full, n, strict=True)
        )
        gain = torch.exp(-2 * torch.pi**2 * (fy[:, None] ** 2 + fx[None, :] ** 2))
        size = local.filter(error.abs() ** 2, gain.to(levels.dtype), cut=True)
        mean = size.mean((-2, -1), keepdim=True).clamp(min=torch.finfo(levels.dtype).tiny)
        better = (levels / promised.clamp(min=torch.finfo(levels.dtype).tiny)).clamp(max=1)
        beyond = 1 - (promised / levels.clamp(min=torch.finfo(levels.dtype).tiny)) ** 2
        none, all_ = ALIASED
        aliased = ((beyond[..., JUDGED].amax(-1, keepdim=True) - none) / (all_ - none)).clamp(0, 1)
        return cls(levels, unseen, better, (size / mean).clamp(0.05, 20).sqrt(), aliased)

    def expected(self, promised: Tensor, before: Tensor) -> Tensor:
        """Levels after a data step that promises some, from those before it."""
        return ((1 - self.unseen) * (self.better * promised) ** 2 + self.unseen * before**2).sqrt()


def drawn(shape: tuple[int, ...], like: Tensor, seed: int, *, complex_: bool) -> Tensor:
    """White noise of unit variance in each part, always the same for a seed, where `like` is."""
    parts = torch.randn((2, *shape), generator=torch.Generator().manual_seed(seed))
    white = torch.complex(parts[0], parts[1]) if complex_ else parts[0]
    return white.to(like.device).to(like.dtype if complex_ == like.is_complex() else _other(like))


def drawn_noise(problem: Problem, seed: int = SEED) -> Tensor:
    """Noise of a problem, ``(..., *A.out_shape)``: 0 for data without weight; always the same for a seed."""
    y = problem.y
    if getattr(problem.noise, "covariance", None) is not None:
        assert problem.noise is not None
        found: Tensor = problem.noise.sample(torch.zeros_like(y), seed)
        return found
    noise = drawn(tuple(y.shape[y.ndim - len(problem.A.out_shape) :]), y, seed, complex_=y.is_complex())
    strength = problem.whiten(torch.ones_like(y.real if y.is_complex() else y))
    return torch.where(strength > 0, noise / torch.where(strength > 0, strength, 1), 0)


def probe(task: DataStep, power: Tensor, light: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """A random image of the spectrum `power`, and noisy data of it; always the same random numbers.

    With the `brightness` of coils it ends where they hardly see: maps of coils are 0 beside the object, and
    what is there can neither be found nor be missed.

    Parameters
    ----------
    task : DataStep
        Of the problem.
    power : Tensor, (..., *A.in_shape)
        Spectral density, in units of the image squared.
    light : Tensor, (ny, nx), optional
        Of `brightness`.

    Returns
    -------
    image : Tensor, (..., *A.in_shape)
    data : Tensor, (..., *A.out_shape)
    """
    problem, shape = task.problem, task.problem.A.in_shape
    complex_ = problem.A.field == "complex" or problem.y.is_complex()
    white = drawn(shape, problem.y, SEED + 1, complex_=complex_)
    plain = Frequencies(shape, (0,) * len(shape))
    image = plain.filter(white, power.sqrt()) * _inside(shape, problem.y.device) * seen(light)
    return image, problem.A(image) + drawn_noise(problem)


def seen(light: Tensor | None) -> Tensor | float:
    """How far a pixel counts whose coils have this `brightness`: less below `DARK`."""
    return 1.0 if light is None else torch.clamp(light / DARK, max=1)


def _other(like: Tensor) -> torch.dtype:
    """The real type of a complex one, and the other way round."""
    return like.real.dtype if like.is_complex() else (1j * like.new_zeros(())).dtype


def _inside(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """1 where objects are in a field of view, fading to 0 before its border: an ellipse in each slice."""
    y, x = (torch.linspace(-1, 1, n, device=device) if n > 1 else torch.zeros(1) for n in shape[-2:])
    r = torch.hypot(y[:, None], x[None, :])
    return torch.clamp((0.95 - r) / 0.2, 0, 1)
