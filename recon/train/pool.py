"""Synthetic images by the thousand: a window of seeds that moves on, and random cut-outs of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rayfold.recon.checks import positive
from rayfold.recon.foundation.bands import shape_noise
from rayfold.recon.train.phases import random_phases, turned
from rayfold.recon.train.sample import seed_of

AHEAD = 8  # images that are made before the window reaches them
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
        `rayfold.recon.phantoms.mixture`; of a module, if there are workers.
    side, window, hold, seed : int
        Side of the images in pixels, images held, draws per new image, first seed.
    complex_part : float
        Share of patches that have a phase.
    grain : float
        Share of patches with a fine random texture of their own, 0.2 to 3 % strong, that belongs to the
        image: what people call the truth is itself a scan with some noise, and a prior told of other noise
        only must keep it.
    sharp : float
        Share of patches of every second pixel, without a mean over those between: their edges are sharper
        than a pixel, as those of images that were sampled or cropped in k-space.
    workers : int
        Processes that make images ahead; without, they are made when they are needed.
    device : device
        Where the images are held and the patches made.

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
        sharp: float = 0.4,
        workers: int = 0,
        device: torch.device | str = "cpu",
    ) -> None:
        positive(side=side, window=window, hold=hold)
        self.make, self.side, self.window, self.hold, self.seed = make, side, window, hold, seed
        self.complex_part, self.grain, self.sharp = complex_part, grain, sharp
        self.device, self.draws = torch.device(device), 0
        self._images = torch.zeros(window, 2, side, side, device=self.device)
        self._complex = torch.zeros(window, dtype=torch.bool)
        self._held = [-1] * window  # the image in each place
        # not forked: threads of the kernels and a device do not survive that
        self._workers = ProcessPoolExecutor(workers, get_context("spawn")) if workers else None
        self._ahead: dict[int, Future[Any]] = {}
        self._asked = -1  # images before this one are held or on the way

    def seek(self, draws: int) -> None:
        """As if `draws` draws had been made: a training that goes on sees what it would have seen."""
        self.draws = draws

    def source(self, generator: torch.Generator) -> torch.Generator:
        """Random numbers on the device of the images, from those of the host."""
        if self.device.type == "cpu":
            return generator
        return torch.Generator(self.device).manual_seed(seed_of(generator))

    def close(self) -> None:
        """Let the workers end; it draws no more."""
        if self._workers is not None:
            self._workers.shutdown(wait=True, cancel_futures=True)

    def draw(self, n: int, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Patches ``(n, 2, side, side)``, real and imaginary part, and which of them have a phase."""
        first = self.seed + self.draws // self.hold
        self.draws += 1
        pick, turn, y, x = torch.randint(2**31, (4, n), generator=generator)
        phased, sharp = torch.rand(2, n, generator=generator) < torch.tensor(
            [[self.complex_part], [self.sharp]]
        )
        place = (first + pick % self.window) % self.window
        self._hold(first, place)
        stride = torch.where(sharp & (2 * side <= self.side), 2, 1)
        room = self.side - (side - 1) * stride
        steps = torch.arange(side)
        rows, columns = (
            start[:, None] % room[:, None]
            + stride[:, None] * torch.where(flip[:, None], steps.flip(0), steps)
            for start, flip in ((y, turn % 2 == 1), (x, turn // 2 % 2 == 1))
        )
        at = (v.to(self.device) for v in (place[:, None, None], rows[:, :, None], columns[:, None, :]))
        where, row, column = at
        out = self._images[where, :, row, column].movedim(-1, 1)
        out = torch.where(self._flags(turn // 4 % 2 == 1), out.transpose(-1, -2), out)
        plain = (
            torch.hypot(out[:, 0], out[:, 1])[:, None]
            * torch.tensor([1.0, 0.0], device=self.device)[:, None, None]
        )
        angle = random_phases(plain[:, 0], generator, self.source(generator))
        own = self._complex[place] & (turn % 3 != 0)  # on top of the phase it has, in half of them
        angle = angle * ~(own & (turn // 8 % 2 == 1)).to(self.device)[:, None, None]
        out = turned(torch.where(self._flags(own), out, plain), angle)
        out = torch.where(self._flags(phased), out, plain)
        return out + self._grain(n, side, phased, generator), phased.to(self.device)

    def _flags(self, which: Tensor) -> Tensor:
        return which.to(self.device)[:, None, None, None]

    def _hold(self, first: int, places: Tensor) -> None:
        """Have the images of these places of the window."""
        if self._workers is not None:
            if not first <= self._asked <= first + self.window + AHEAD:  # the first draw, or a jump
                self._asked = first
            for j in range(self._asked, first + self.window + AHEAD):
                if self._held[j % self.window] != j and j not in self._ahead:
                    self._ahead[j] = self._workers.submit(_made, self.make, self.side, j)
            self._asked = first + self.window + AHEAD
            for j in [j for j in self._ahead if j < first]:  # went by without having been picked
                self._ahead.pop(j).cancel()
        for place in sorted(set(places.tolist())):
            j = first + (place - first) % self.window
            if self._held[place] == j:
                continue
            waiting = self._ahead.pop(j, None)
            image = _made(self.make, self.side, j) if waiting is None else waiting.result()
            self._complex[place] = bool(np.iscomplexobj(image))
            parts = np.stack([image.real, image.imag]) if np.iscomplexobj(image) else image[None]
            self._images[place] = 0
            self._images[place, : len(parts)] = torch.from_numpy(parts).to(self.device)
            self._held[place] = j

    def _grain(self, n: int, side: int, phased: Tensor, generator: torch.Generator) -> Tensor:
        """The texture of the patches that have one; of a real image it is real."""
        has = torch.rand(n, generator=generator) < self.grain
        strength = 0.002 * torch.exp(math.log(15) * torch.rand(n, generator=generator))
        slope = (2 * torch.rand(n, 1, generator=generator) - 1) * torch.arange(4)
        levels = (strength * has)[:, None] * (slope - slope.amax(1, keepdim=True)).exp()
        white = torch.randn(n, 2, side, side, generator=self.source(generator), device=self.device)
        texture = shape_noise(white, levels[:, None].to(self.device))
        texture[:, 1] *= phased.to(self.device)[:, None, None]
        return texture


def _made(make: Make, side: int, j: int) -> Any:
    image = np.ascontiguousarray(make((side, side), j))
    return image.astype(np.complex64 if np.iscomplexobj(image) else np.float32, copy=False)
