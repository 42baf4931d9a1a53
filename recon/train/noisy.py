"""Stage one of the prior's training: images with every kind of noise a scan may have, and its level."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from rayfold.recon.foundation.bands import shape_noise
from rayfold.recon.train.pool import Pool


class Noisy(NamedTuple):
    """Images ``(n, 2, ny, nx)``, the levels of their noise ``(n, 4, ny, nx)``, and the images without."""

    x: Tensor
    levels: Tensor
    truth: Tensor


@dataclass(eq=False)
class Noising:
    """Draws images and their noise: white or coloured, even or uneven, or with the signal.

    Parameters
    ----------
    pool : Pool
        Where the images come from.
    batch, side : int
        Patches per step and their size.
    low, high : float
        Range of the standard deviation, relative to the bright parts of an image; drawn log-uniformly.
    """

    pool: Pool
    batch: int = 16
    side: int = 64
    low: float = 0.0002
    high: float = 0.5

    def seek(self, draws: int) -> None:
        """Passed on to the pool."""
        self.pool.seek(draws)

    def __call__(self, generator: torch.Generator) -> Noisy:
        truth, phased = self.pool.draw(self.batch, self.side, generator)
        n, device, source = len(truth), truth.device, self.pool.source(generator)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(shape, generator=source, device=device)

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=source, device=device)

        sigma = torch.exp(math.log(self.low) + uniform(n) * math.log(self.high / self.low))
        # per octave: nothing, a slope (ramp-filtered or smoothed noise), or anything at all
        kind = uniform(n)
        slope = (2.6 * uniform(n) - 1.3)[:, None] * torch.arange(4, device=device)
        logs = torch.where(
            (kind < 0.45)[:, None], 0 * slope, torch.where((kind < 0.85)[:, None], slope, 1.5 * normal(n, 4))
        )
        logs = logs - logs.amax(1, keepdim=True) * 0.5
        levels = sigma[:, None] * logs.clamp(-4, 1.2).exp()
        noise = shape_noise(normal(*truth.shape), levels[:, None])
        # uneven in space, as behind a shoulder or far from the coils; and growing with the signal
        coarse = (1.2 * normal(n, 1, 3, 3)).clamp(-2, 2)
        uneven = F.interpolate(coarse, size=truth.shape[-2:], mode="bicubic", align_corners=True).exp()
        weight = torch.where((uniform(n) < 0.3)[:, None, None, None], uneven, torch.ones_like(uneven))
        size = truth.square().sum(1, keepdim=True).sqrt()
        photons = (uniform(n) < 0.12)[:, None, None, None]
        weight = torch.where(photons, (0.15 + size).sqrt(), weight)
        noise = noise * weight
        noise[:, 1] *= phased[:, None, None]
        # a user's level is never exact
        told = levels * (0.1 * normal(n, 1)).exp()
        return Noisy(truth + noise, told[:, :, None, None] * weight, truth)


@dataclass(frozen=True)
class Denoised:
    """Mean decibels of what is left: ``log(mse + floor)`` per image, so that all noise levels count alike.

    Parameters
    ----------
    floor : float
        Errors below this share of the noise count no more.
    precision : str
        "bfloat16" runs the network in mixed precision.
    """

    floor: float = 0.03
    precision: str = "float32"

    def __call__(self, model: torch.nn.Module, sample: Noisy, generator: torch.Generator) -> Tensor:
        """The loss, in nepers."""
        with torch.autocast(sample.x.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            out = model(sample.x, sample.levels)
        error = (out.float() - sample.truth).square().mean((1, 2, 3))
        noise = (sample.x - sample.truth).square().mean((1, 2, 3))
        return 0.5 * torch.log(error + self.floor**2 * noise + 1e-14).mean()
