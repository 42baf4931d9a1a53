"""Both stages of the prior's training as one task and one loss, and how a training is asked to end."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rayfold.recon.train.noisy import Denoised, Noising, Noisy
from rayfold.recon.train.restoring import EveryStep, Restored, Restoring, Scanned

DB = 20 / math.log(10)  # of a loss in nepers


class Both(NamedTuple):
    """What a step sees: noisy images, scans, or both."""

    noisy: Noisy | None
    scanned: Scanned | None


@dataclass(eq=False)
class Stages:
    """Noisy images alone for the first steps, then scans beside them.

    Sample k depends on the seed and k only, so that several processes may draw, and a training that goes on
    sees what it would have seen.

    Parameters
    ----------
    noising, restoring : Noising, Restoring, optional
        What draws for each stage.
    alone : int
        Samples without scans at the beginning.
    seed : int
        Of all samples.
    """

    noising: Noising | None
    restoring: Restoring | None
    alone: int
    seed: int = 0

    def sample(self, k: int) -> Both:
        """Sample number k."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + k) * 2_654_435_761 % 2**63)
        noisy: Noisy | None = None
        if self.noising is not None:
            self.noising.seek(k)
            noisy = self.noising(generator)
        if k < self.alone or self.restoring is None:
            return Both(noisy, None)
        self.restoring.seek(k - self.alone)
        return Both(noisy, self.restoring(generator))


class Share:
    """A task for `Trainer`: the samples of `Stages` in order, or every n-th of them.

    Parameters
    ----------
    stages : Stages
        What draws.
    first, every : int
        Number of the first sample, and from one to the next.
    """

    def __init__(self, stages: Stages, first: int = 0, every: int = 1) -> None:
        self.stages, self.first, self.every, self.next = stages, first, every, 0

    def seek(self, draws: int) -> None:
        """Go on as if `draws` samples had been drawn."""
        self.next = draws

    def __call__(self, generator: torch.Generator) -> Both:
        k, self.next = self.next, self.next + 1
        return self.stages.sample(self.first + k * self.every)

    def close(self) -> None:
        """Let the processes that make images end."""
        for part in (self.stages.noising, self.stages.restoring):
            if part is not None:
                part.pool.close()


@dataclass(eq=False)
class Judged:
    """Loss of `Both`: that of reconstruction, and `share` times that of noise removal.

    Parameters
    ----------
    share : float
        Weight of noise removal beside reconstruction.
    precision : str
        Of the convolutions in noise removal.
    floor : float
        See `Denoised`.

    Attributes
    ----------
    parts : dict
        Loss of the last step in decibels by task.
    """

    share: float = 0.5
    precision: str = "float32"
    floor: float = 0.03
    parts: dict[str, float] = field(default_factory=dict)

    def __call__(self, model: EveryStep, sample: Both, generator: torch.Generator) -> Tensor:
        """The loss, in nepers."""
        self.parts = {}
        total: Any = 0
        if sample.noisy is not None:
            denoised = Denoised(self.floor, self.precision)(model.network, sample.noisy, generator)
            self.parts["denoise"] = DB * float(denoised.detach())
            total = denoised if sample.scanned is None else self.share * denoised
        if sample.scanned is not None:
            restored = Restored()(model, sample.scanned, generator)
            self.parts[sample.scanned.task] = DB * float(restored.detach())
            total = total + restored
        return total  # type: ignore[no-any-return]


Watch = Callable[[int, dict[str, float]], None]


class StopRequest:
    """Ctrl-C or SIGTERM as a request to end after the current step; a second one ends at once.

    Examples
    --------
    >>> with StopRequest() as stop:
    ...     stop.asked
    False
    """

    def __enter__(self) -> StopRequest:
        import signal

        self.asked, self._before = False, {}
        if threading.current_thread() is threading.main_thread():
            for name in (signal.SIGINT, signal.SIGTERM):
                self._before[name] = signal.signal(name, self._ask)
        return self

    def _ask(self, *_: object) -> None:
        self.asked = True
        self._restore()

    def _restore(self) -> None:
        import signal

        while self._before:
            signal.signal(*self._before.popitem())

    def __exit__(self, *_: object) -> None:
        self._restore()
