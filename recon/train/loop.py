"""The training loop: the same numbers for the same seed, and after any interruption."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayfold.recon.checks import nonnegative, positive
from rayfold.recon.errors import InconsistentInput
from rayfold.recon.train.files import read, write
from rayfold.recon.train.sample import Model, Sample, Task
from rayfold.recon.train.together import Group

if TYPE_CHECKING:
    import torch

FORMAT = "rayfold training 1"
SKIPS = 5
Loss = Callable[[Model, Sample, "torch.Generator"], Any]


@dataclass(frozen=True)
class Plan:
    """How long and how fast.

    Parameters
    ----------
    steps : int
        Steps in all; the learning rate falls to 0 along a cosine by then.
    rate : float
        Learning rate at its highest.
    warmup : int
        Steps over which it rises from 0.
    clip : float
        Largest norm of a gradient; longer ones are shortened.
    average : float
        Memory of the running mean of the weights, 0 .. 1 (0.999 for about a thousand steps); 0 for none.
    seed : int
        Of everything that is drawn.

    Examples
    --------
    >>> plan = Plan(steps=100, rate=0.5, warmup=10)
    >>> [round(plan.rate_at(k), 3) for k in (0, 9, 50, 100)]
    [0.05, 0.49, 0.25, 0.0]
    """

    steps: int
    rate: float = 1e-3
    warmup: int = 0
    clip: float = 1.0
    average: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        positive(steps=self.steps, rate=self.rate, clip=self.clip)
        nonnegative(warmup=self.warmup, average=self.average, seed=self.seed)
        if not self.average < 1:
            raise ValueError(f"average is {self.average}; it must be below 1")

    def rate_at(self, step: int) -> float:
        """Learning rate of a step, 0 for the first."""
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.rate * rising * 0.5 * (1 + math.cos(math.pi * min(step / self.steps, 1.0)))


class Trainer:
    """Trains a module by a loss on samples of a task, repeatable and resumable bit for bit.

    Parameters
    ----------
    model : nn.Module
        Maps a `Problem` to an image; changed in place.
    task : callable
        ``task(generator) -> Sample``: draws the next sample from the generator and from nothing else but the
        number of samples before, which ``task.seek(n)`` sets if there is such a method.
    loss : callable
        ``loss(model, sample, generator)``, one of `rayfold.recon.train.losses`.
    plan : Plan
        Steps, learning rate, seed.
    optimiser : callable, optional
        From parameters to a ``torch.optim`` optimiser; Adam by default. Its learning rate is set by the plan,
        times the "factor" of a group of parameters that has one.
    group : Group, optional
        Processes that train the same model at once; a step then follows the mean of their gradients.

    Examples
    --------
    >>> import torch
    >>> from rayfold.operators import Identity
    >>> from rayfold.recon.learned import Unrolled
    >>> from rayfold.recon.problem import Problem
    >>> from rayfold.recon.solvers import CGLS
    >>> from rayfold.recon.train.losses import Supervised
    >>> def task(generator):
    ...     x = torch.randn(4, 8, generator=generator)
    ...     return Sample(Problem(Identity((8,)), x), x / 2)
    >>> net = Unrolled(CGLS(damping=0.2), 1, trainable={"damping"})
    >>> losses = Trainer(net, task, Supervised(), Plan(100, rate=0.3)).run()
    >>> losses[-1] < 0.01 * losses[0], round(net.at(0).damping.item(), 1)
    (True, 1.0)
    """

    def __init__(
        self,
        model: torch.nn.Module,
        task: Task,
        loss: Loss,
        plan: Plan,
        *,
        optimiser: Callable[[Iterable[torch.nn.Parameter]], torch.optim.Optimizer] | None = None,
        group: Group | None = None,
    ) -> None:
        import torch

        self.model, self.task, self.loss, self.plan, self.group = model, task, loss, plan, group
        trained = [p for p in model.parameters() if p.requires_grad]
        if not trained:
            raise ValueError("the model has nothing to train; name a field in `trainable`, or give a network")
        self.optimiser = torch.optim.Adam(trained) if optimiser is None else optimiser(trained)
        self.generator = torch.Generator().manual_seed(plan.seed)
        self.mean = {k: v.detach().clone() for k, v in model.state_dict().items()} if plan.average else {}
        self.done = self.skipped = self._lost = 0
        with _own_numbers(None) as states:
            torch.manual_seed(plan.seed)
        self._states = states

    def step(self) -> float:
        """One step; its loss.

        Raises
        ------
        ArithmeticError
            If as many steps in a row as `SKIPS` had no finite loss or gradient. Single ones are skipped: the
            weights stay as they were, and `skipped` counts them.
        """
        import torch

        for group in self.optimiser.param_groups:
            group["lr"] = self.plan.rate_at(self.done) * group.get("factor", 1.0)
        with _own_numbers(self._states) as states:
            loss = self.loss(self.model, self.task(self.generator), self.generator)
            self.optimiser.zero_grad()
            loss.backward()
            loss = loss.detach()
            trained = [p for group in self.optimiser.param_groups for p in group["params"]]
            if self.group is not None:
                for p in trained:  # what this process has not used, others may have
                    p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                self.group.mean([loss, *(p.grad for p in trained)])
            size = torch.nn.utils.clip_grad_norm_(trained, self.plan.clip)
            if bool(loss.isfinite() & size.isfinite()):
                self.optimiser.step()
                self._lost = 0
            else:  # the weights stay as they are
                self._lost += 1
                self.skipped += 1
            if self._lost == SKIPS:
                raise ArithmeticError(
                    f"the last {SKIPS} of {self.done + 1} steps had no finite loss or gradient; lower the "
                    "learning rate or the clip"
                )
        self._states = states
        self.done += 1
        # the mean forgets its start: the memory grows with the steps up to the one that is asked for
        memory = min(self.plan.average, self.done / (self.done + 10))
        for key, value in self.model.state_dict().items() if self.mean else ():
            if value.is_floating_point() or value.is_complex():
                self.mean[key].lerp_(value, 1 - memory)
            else:
                self.mean[key].copy_(value)
        return float(loss)

    def run(
        self,
        n: int | None = None,
        *,
        path: str | Path | None = None,
        every: int = 1000,
        callback: Callable[[int, float], bool | None] | None = None,
    ) -> list[float]:
        """Train for `n` steps, or to the end of the plan.

        Parameters
        ----------
        n : int, optional
            Steps; never more than the plan has left.
        path : str or Path, optional
            Where to save after every `every` steps and at the end.
        every : int
            Steps between saves.
        callback : callable, optional
            Called with the number of steps done and the loss; returning False stops.

        Returns
        -------
        list of float
            Loss of each step.
        """
        left = self.plan.steps - self.done
        losses: list[float] = []
        for _ in range(left if n is None else min(n, left)):
            losses.append(self.step())
            last = callback is not None and callback(self.done, losses[-1]) is False
            if path is not None and (last or self.done % every == 0):
                self.save(path)
            if last:
                return losses
        if path is not None and losses and self.done % every:
            self.save(path)
        return losses

    def use_mean(self) -> None:
        """Give the model the running mean of its weights: for the end of a training."""
        if not self.mean:
            raise ValueError("no mean was kept; give the plan an `average`, for example 0.999")
        self.model.load_state_dict(self.mean)

    def save(self, path: str | Path) -> None:
        """Write weights, their mean, the optimiser and all random states to a ``.safetensors`` file."""
        state = self.optimiser.state_dict()
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"mean.{k}": v for k, v in self.mean.items()}
        tensors |= {f"random.{k}": v for k, v in self._states.items()}
        tensors["random.generator"] = self.generator.get_state()
        numbers: dict[str, dict[str, Any]] = {}
        for index, values in state["state"].items():
            for name, value in values.items():
                if hasattr(value, "detach"):
                    tensors[f"optimiser.{index}.{name}"] = value
                else:
                    numbers.setdefault(str(index), {})[name] = value
        about = {
            "format": FORMAT,
            "done": self.done,
            "plan": asdict(self.plan),
            "optimiser": type(self.optimiser).__name__,
            "groups": state["param_groups"],
            "numbers": numbers,
        }
        write(path, tensors, about)

    def load(self, path: str | Path) -> None:
        """Go on where `save` was called, bit for bit.

        Raises
        ------
        UnreadableInput
            If the file is missing or damaged.
        InconsistentInput
            If it is no training, or one of another plan, optimiser or model.
        """
        tensors, about = read(path)
        if about.get("format") != FORMAT:
            raise InconsistentInput(f"{path} holds no training; give a file that Trainer.save wrote")
        for name, own in (("plan", asdict(self.plan)), ("optimiser", type(self.optimiser).__name__)):
            if about[name] != own:
                raise InconsistentInput(
                    f"{path} was trained with {name} {about[name]}, not {own}; use the same"
                )
        for name, held in (("model", self.model.state_dict()), ("mean", self.mean)):
            _fit(path, held, _part(tensors, name))
        self.model.load_state_dict(_part(tensors, "model"))
        for key, value in _part(tensors, "mean").items():
            self.mean[key].copy_(value)
        state: dict[int, dict[str, Any]] = {int(k): dict(v) for k, v in about["numbers"].items()}
        for key, value in _part(tensors, "optimiser").items():
            index, name = key.split(".", 1)
            state.setdefault(int(index), {})[name] = value
        self.optimiser.load_state_dict({"state": state, "param_groups": about["groups"]})
        states = _part(tensors, "random")
        self.generator.set_state(states.pop("generator"))
        self._states, self.done = states, about["done"]
        if hasattr(self.task, "seek"):  # a task that counts its samples itself
            self.task.seek(self.done)


def _part(tensors: Mapping[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key.removeprefix(f"{name}."): v for key, v in tensors.items() if key.startswith(f"{name}.")}


def _fit(path: str | Path, held: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> None:
    shapes = {k: tuple(v.shape) for k, v in held.items()}, {k: tuple(v.shape) for k, v in found.items()}
    if shapes[0] != shapes[1]:
        odd = sorted(k for k in {*shapes[0], *shapes[1]} if shapes[0].get(k) != shapes[1].get(k))
        raise InconsistentInput(f"{path} is of another model: {odd[0]} differs; build the same model")


@contextmanager
def _own_numbers(states: Mapping[str, torch.Tensor] | None) -> Iterator[dict[str, torch.Tensor]]:
    """Torch's global random numbers, kept apart from everybody else's; yields their states at the end."""
    import torch

    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    after: dict[str, torch.Tensor] = {}
    with torch.random.fork_rng(devices=devices):
        if states:
            torch.set_rng_state(states["cpu"])
        for k in devices:
            if states and f"cuda{k}" in states:
                torch.cuda.set_rng_state(states[f"cuda{k}"], k)
        yield after
        after["cpu"] = torch.get_rng_state()
        for k in devices:
            after[f"cuda{k}"] = torch.cuda.get_rng_state(k)
