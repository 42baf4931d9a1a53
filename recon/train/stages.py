"""Both stages of the prior's training as one task and one loss, with samples drawn ahead on other threads."""

from __future__ import annotations

import copy
import math
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rayfold.recon.foundation.convert import tensors
from rayfold.recon.train.noisy import Denoised, Noising, Noisy
from rayfold.recon.train.restoring import EveryStep, Restored, Restoring, Scanned

DB = 20 / math.log(10)  # of a loss in nepers


class Both(NamedTuple):
    """What a step sees: noisy images, scans, or both."""

    noisy: Noisy | None
    scanned: Scanned | None

    def to(self, device: torch.device) -> Both:
        """The same on a device."""
        noisy = None if self.noisy is None else Noisy(*(t.to(device) for t in self.noisy))
        if self.scanned is None:
            return Both(noisy, None)
        problem, truth, task = self.scanned
        return Both(noisy, Scanned(tensors(problem, device), truth.to(device), task))


@dataclass(eq=False)
class Stages:
    """Noisy images alone for the first steps, then scans beside them.

    Sample k depends on the seed and k only, so that several threads may draw, and a training that goes on
    sees what it would have seen.

    Parameters
    ----------
    noising, restoring : Noising, Restoring
        What draws for each stage.
    alone : int
        Samples without scans at the beginning.
    seed : int
        Of all samples.
    """

    noising: Noising
    restoring: Restoring | None
    alone: int
    seed: int = 0

    def sample(self, k: int) -> Both:
        """Sample number k."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + k) * 2_654_435_761 % 2**63)
        self.noising.seek(k)
        noisy = self.noising(generator)
        if k < self.alone or self.restoring is None:
            return Both(noisy, None)
        self.restoring.seek(k - self.alone)
        return Both(noisy, self.restoring(generator))


class Ahead:
    """A task for `Trainer`: the samples of `Stages` in order, drawn ahead by threads if there are any.

    Parameters
    ----------
    stages : Stages
        What draws.
    workers : int
        Threads; each holds a few samples ready. 0 draws in the caller's.
    device : device
        Where samples go.
    """

    def __init__(self, stages: Stages, workers: int = 0, device: torch.device | None = None) -> None:
        self.stages, self.device, self.next = stages, device or torch.device("cpu"), 0
        self.pool = ThreadPoolExecutor(workers) if workers else None
        self.depth = 2 * workers
        self._pending: dict[int, Future[Both]] = {}
        # copies have a place of their own in the images, which they share
        self._idle: queue.SimpleQueue[Stages] = queue.SimpleQueue()
        for _ in range(workers):
            self._idle.put(copy.deepcopy(stages))

    def seek(self, draws: int) -> None:
        """Go on with sample number `draws`."""
        self.next = draws
        for future in self._pending.values():
            future.cancel()
        self._pending.clear()

    def __call__(self, generator: torch.Generator) -> Both:
        k, self.next = self.next, self.next + 1
        if self.pool is None:
            return self.stages.sample(k).to(self.device)
        for j in range(k, k + self.depth):
            if j not in self._pending:
                self._pending[j] = self.pool.submit(self._draw, j)
        return self._pending.pop(k).result().to(self.device)

    def _draw(self, k: int) -> Both:
        stages = self._idle.get()
        try:
            return stages.sample(k)
        finally:
            self._idle.put(stages)

    def close(self) -> None:
        """Let the threads end."""
        if self.pool is not None:
            self.pool.shutdown(wait=True, cancel_futures=True)


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
