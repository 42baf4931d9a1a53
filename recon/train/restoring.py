"""Stage two of the prior's training: random scans of synthetic objects, reconstructed step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayfold.operators import Blur, Downsample, KSpaceCrop, LinearOperator, Volume
from rayfold.operators.noise import Gaussian
from rayfold.recon.foundation.network import Network
from rayfold.recon.foundation.steps import PhysicsSteps, Schedule
from rayfold.recon.problem import Problem
from rayfold.recon.protocol.random import random_ct, random_mri
from rayfold.recon.protocol.simulate_ct import of_pixels
from rayfold.recon.train.coils import calibrated, random_coils
from rayfold.recon.train.config import Scans
from rayfold.recon.train.pool import Pool
from rayfold.recon.train.sample import Sample, seed_of

PIXEL = 1.0  # mm; no result depends on it
CALIBRATED = 0.6  # share of MRI scans whose coil maps are those of a calibration


class Scanned(NamedTuple):
    """A batch of problems of one operator, the images behind them, and the name of the task."""

    problem: Problem
    truth: Tensor
    task: str


@dataclass(eq=False)
class Restoring:
    """Draws an acquisition and a batch of images, and measures them with noise.

    CT and MRI follow `rayfold.recon.protocol.random`; CT data are made on a grid twice as fine as the image,
    so that the prior meets what discretisation does to data: three in four are the means of two rays in each
    bin, as of a detector, the others of one. Super-resolution cuts k-space of complex images or blurs and
    bins real ones. The coils of MRI lie anywhere (`random_coils`), and their maps are often as wrong as those
    of a calibration (`calibrated`).

    Parameters
    ----------
    pool : Pool
        Where the images come from; its side is at least twice `side`.
    batch, side : int
        Images per step and their size.
    ct, mri, superresolution : float
        How often each is drawn, relative to each other.
    """

    pool: Pool
    batch: int = Scans.batch
    side: int = Scans.side
    ct: float = Scans.ct
    mri: float = Scans.mri
    superresolution: float = Scans.superresolution

    def seek(self, draws: int) -> None:
        """Passed on to the pool."""
        self.pool.seek(draws)

    def __call__(self, generator: torch.Generator) -> Scanned:
        rng = np.random.default_rng(seed_of(generator))
        shares = {"ct": self.ct, "mri": self.mri, "superresolution": self.superresolution}
        task = str(rng.choice(list(shares), p=np.divide(list(shares.values()), sum(shares.values()))))
        fine = self._images(generator, rng, task)
        if task == "ct":
            return Scanned(*self._ct(fine[:, 0], rng, generator), task)
        coarse = torch.complex(fine[:, 0], fine[:, 1])
        if task == "mri":
            return Scanned(*self._mri(coarse, rng, generator), task)
        return Scanned(*self._superresolution(coarse, rng, generator), task)

    def _images(self, generator: torch.Generator, rng: np.random.Generator, task: str) -> Tensor:
        """``(batch, 2, n, n)``: for CT twice as fine as the image, else as it is; whole objects or parts."""
        part = rng.random() < 0.5  # of the object, as fine as it was drawn or finer
        images, _phased = self.pool.draw(self.batch, self.side if part else 2 * self.side, generator)
        if task != "ct":
            if not part and rng.random() < 0.6:
                return _cropped(images)
            return images if part else F.avg_pool2d(images, 2)
        images[:, 0] = images.square().sum(1).sqrt()
        images[:, 1] = 0
        if part and rng.random() < 0.5:
            images = F.interpolate(images, scale_factor=2, mode="bilinear")
        elif part:  # blocks: edges between pixels
            images = images.repeat_interleave(2, -1).repeat_interleave(2, -2)
        return images * _round(2 * self.side, images.device) if rng.random() < 0.5 else images

    def _ct(
        self, fine: Tensor, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Problem, Tensor]:
        truth = F.avg_pool2d(fine[:, None], 2)[:, 0]
        volume = Volume(tuple(truth.shape[1:]), PIXEL)
        protocol = random_ct(rng, volume)
        A = protocol.operator(volume)
        rays = 2 if rng.random() < 0.75 else 1
        clean = of_pixels(protocol, fine, Volume(tuple(fine.shape[1:]), PIXEL / 2), rays)
        # real objects let through between a third and a few thousandths of the photons
        scale = rng.uniform(1, 5.5) / clean.amax((-2, -1), keepdim=True).clamp(min=1e-3)
        clean, truth = clean * scale, truth * scale
        size = protocol.scale(truth, clean).clamp(min=1e-3)
        y = protocol.measure(clean, scale=size, seed=self.pool.source(generator))
        return Problem(A, y, protocol.noise(size)), truth

    def _mri(
        self, truth: Tensor, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Problem, Tensor]:
        volume = Volume(tuple(truth.shape[1:]), PIXEL)
        protocol = random_mri(rng, volume)
        maps = random_coils(rng, volume.shape, protocol.coils)
        told = maps
        if rng.random() < CALIBRATED:
            told, support = calibrated(rng, maps, truth.abs().numpy(force=True))
            truth = truth * torch.as_tensor(support, device=truth.device)
        clean = protocol.operator(volume, maps)(truth)
        size = protocol.scale(truth, clean).clamp(min=1e-3)
        y = protocol.measure(clean, scale=size, seed=self.pool.source(generator))
        return Problem(protocol.operator(volume, told), y, protocol.noise(size)), truth

    def _superresolution(
        self, truth: Tensor, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Problem, Tensor]:
        n = truth.shape[-1]
        A: LinearOperator
        if rng.random() < 0.5:
            A = KSpaceCrop((n, n), int(rng.integers(n // 3, int(0.7 * n))))
        else:
            truth = truth.abs()
            factor = int(rng.choice((1, 2, 2, 3)))
            blur = Blur((n, n), float(rng.uniform(0.4, 0.7) * factor + (0.5 if factor == 1 else 0)))
            n_fit = n - n % factor
            truth = truth[..., :n_fit, :n_fit]
            blur = Blur((n_fit, n_fit), blur.sigma)
            A = Downsample((n_fit, n_fit), factor) @ blur if factor > 1 else blur
        clean = A(truth)
        top = clean.abs().amax((-2, -1), keepdim=True).clamp(min=1e-3)
        noise = Gaussian(top * float(np.exp(rng.uniform(np.log(0.002), np.log(0.05)))))
        return Problem(A, noise.sample(clean, self.pool.source(generator)), noise), truth


class EveryStep(nn.Module):
    """Network and schedule as one module to train; gives the image after every step.

    Parameters
    ----------
    network : Network
        Trained by stage one.
    schedule : Schedule
        Its `steps` are those of the reconstruction.
    precision : str
        Of the convolutions; physics is computed in the precision of the data.
    """

    def __init__(self, network: Network, schedule: Schedule, precision: str = "float32") -> None:
        super().__init__()
        self.network, self.schedule, self.precision = network, schedule, precision

    def forward(self, problem: Problem) -> list[Tensor]:
        """Images after each step."""
        steps = PhysicsSteps(self.network, self.schedule, precision=self.precision)
        with torch.no_grad():
            state: Any = steps.init(problem)
        images = []
        for _ in range(self.schedule.steps):
            state = steps.step(problem, state)
            images.append(state.x)
        return images


@dataclass(frozen=True)
class Restored:
    """Mean decibels of the error, mostly of the last step.

    Parameters
    ----------
    early : float
        Weight of all steps before the last together; each counts more the later it is.
    floor : float
        Errors below this share of the image count no more.
    """

    early: float = 0.4
    floor: float = 1e-3

    def __call__(self, model: nn.Module, sample: Sample | Scanned, generator: torch.Generator) -> Tensor:
        """The loss, in nepers relative to the image."""
        truth = sample.truth
        assert truth is not None
        images = model(sample.problem)
        power = (truth.abs() ** 2).mean((-2, -1))
        shown = power > 1e-8 * power.amax()  # an empty image has no decibels
        share = torch.linspace(0.5, 1.5, max(1, len(images) - 1))
        share = self.early * share / share.sum()
        total = truth.new_zeros((), dtype=power.dtype)
        for k, x in enumerate(images):
            error = ((x - truth).abs() ** 2).mean((-2, -1)) / power.clamp(min=1e-30)
            weight = 1.0 if k == len(images) - 1 else float(share[k])
            total = total + weight * 0.5 * (torch.log(error + self.floor**2) * shown).sum() / shown.sum()
        return total / (1 + (self.early if len(images) > 1 else 0))


def _cropped(images: Tensor) -> Tensor:
    """``(n, 2, s, s)`` to half of s by `KSpaceCrop`: edges ring, as in what a scanner measures."""
    n = images.shape[-1] // 2
    cut = KSpaceCrop((2 * n, 2 * n), n)(torch.complex(images[:, 0], images[:, 1]))
    return torch.stack([cut.real, cut.imag], 1)


def _round(n: int, device: torch.device) -> Tensor:
    """1 inside the largest disc, fading to 0: what a gantry sees."""
    t = torch.linspace(-1, 1, n, device=device)
    return torch.clamp((1 - torch.hypot(t[:, None], t[None, :])) * n / 4, 0, 1)
