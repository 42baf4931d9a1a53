"""Synthetic images by the thousand: a window of seeds that moves on, and random cut-outs of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfold.recon.checks import positive
from rayfold.recon.foundation.bands import shape_noise

Make = Callable[[tuple[int, int], int], Any]


class Pool:
    """Random patches of images that are made on the way, real and complex.

    Image j is ``make((side, side), seed + j)``. At any time `window` of them are held; every `hold` draws one
    is let go and a new one made, so that no image is seen for long and none has to be stored. The same seed
    and the same number of draws give the same patches.

    Parameters
    ----------
    make : callable
        From shape and seed to an image whose bright parts are about 1, real or complex, as
        `rayfold.recon.phantoms.mixture`.
    side, window, hold, seed : int
        Side of the images in pixels, images held, draws per new image, first seed.
    complex_part : float
        Share of patches that have a phase.
    grain : float
        Share of patches with a fine random texture of their own, 0.2 to 3 % strong, that belongs to the
        image: what people call the truth is itself a scan with some noise, and a prior told of other noise
        only must keep it.

    Examples
    --------
    >>> pool = Pool(lambda shape, seed: np.full(shape, seed, np.float32), side=8, window=2, hold=1)
    >>> patches, is_complex = pool.draw(3, 4, torch.Generator().manual_seed(0))
    >>> patches.shape, is_complex.dtype
    (torch.Size([3, 2, 4, 4]), torch.bool)
    """

    def __init__(
        self,
        make: Make,
        *,
        side: int = 192,
        window: int = 400,
        hold: int = 2,
        seed: int = 0,
        complex_part: float = 0.4,
        grain: float = 0.3,
    ) -> None:
        positive(side=side, window=window, hold=hold)
        self.side, self.window, self.hold, self.seed = side, window, hold, seed
        self.complex_part, self.grain = complex_part, grain
        self.draws = 0

        @lru_cache(maxsize=window + 1)
        def image(j: int) -> Any:
            return np.ascontiguousarray(make((side, side), j))

        self._image = image

    def seek(self, draws: int) -> None:
        """As if `draws` draws had been made: a training that goes on sees what it would have seen."""
        self.draws = draws

    def draw(self, n: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Patches ``(n, 2, side, side)``, real and imaginary part, and which of them have a phase."""
        first = self.seed + self.draws // self.hold
        self.draws += 1
        out = torch.zeros(n, 2, side, side)
        phased = torch.rand(n, generator=generator) < self.complex_part
        for k in range(n):
            pick, turn, y, x = (int(v) for v in torch.randint(2**31, (4,), generator=generator))
            image = self._image(first + pick % self.window)
            strength, *waves = torch.rand(9, generator=generator).tolist()
            room = self.side - side + 1
            patch = image[y % room : y % room + side, x % room : x % room + side]
            patch = np.rot90(patch, turn % 4)[:: 1 if turn % 8 < 4 else -1]
            if phased[k]:
                if not np.iscomplexobj(patch) or turn % 3 == 0:
                    patch = np.abs(patch) * _phase(side, waves, 6 * strength)
                out[k, 0] = torch.from_numpy(np.ascontiguousarray(patch.real))
                out[k, 1] = torch.from_numpy(np.ascontiguousarray(patch.imag))
            else:
                out[k, 0] = torch.from_numpy(np.ascontiguousarray(np.abs(patch)))
        return out + self._grain(n, side, phased, generator), phased

    def _grain(self, n: int, side: int, phased: Tensor, generator: torch.Generator) -> Tensor:
        """The texture of the patches that have one; of a real image it is real."""
        has = torch.rand(n, generator=generator) < self.grain
        strength = 0.002 * torch.exp(math.log(15) * torch.rand(n, generator=generator))
        slope = (2 * torch.rand(n, 1, generator=generator) - 1) * torch.arange(4)
        levels = (strength * has)[:, None] * (slope - slope.amax(1, keepdim=True)).exp()
        texture = shape_noise(torch.randn(n, 2, side, side, generator=generator), levels[:, None])
        texture[:, 1] *= phased[:, None, None]
        return texture


def _phase(side: int, waves: list[float], strength: float) -> Any:
    """A unit factor whose phase is a low-order polynomial in both coordinates, in rad up to `strength`."""
    t = np.linspace(-1, 1, side, dtype=np.float32)
    y, x = t[:, None], t[None, :]
    a = [2 * w - 1 for w in waves]
    form = a[0] * x + a[1] * y + a[2] * x * y + a[3] * x**2 + a[4] * y**2 + a[5] * x**3 + a[6] * y**3
    return np.exp(1j * (2 * np.pi * waves[7] + strength * form)).astype(np.complex64)
