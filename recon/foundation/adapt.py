"""Adaptation: the prior made better for one scanner or kind of object, from its own scans."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from rayfold.recon.errors import OutputFailure
from rayfold.recon.foundation import files
from rayfold.recon.foundation.convert import single, tensors, to_tensor
from rayfold.recon.foundation.lowrank import MODES, RANK, adaptable, merged
from rayfold.recon.foundation.measured import Predicted, Unbiased, missed
from rayfold.recon.foundation.prior import FoundationPrior
from rayfold.recon.foundation.steps import PhysicsSteps
from rayfold.recon.problem import Problem, estimate_noise
from rayfold.recon.train.loop import Plan, Trainer
from rayfold.recon.train.losses import Equivariance, Splitting
from rayfold.recon.train.sample import Sample, Task
from rayfold.recon.train.transforms import Transform

Array = Any
LOSSES = ("sure", "splitting", "equivariance", "supervised")
RATES = {"gain": 1e-2, "lora": 1e-3, "full": 1e-4}
PATIENCE = 3  # looks at the held-out data without a better one, until it ends
Progress = Callable[[int, int, float], None]


class Restoration(nn.Module):
    """`FoundationPrior.restore` as a module to train: from a problem of tensors to its image.

    Parameters
    ----------
    network, schedule : nn.Module
        Those of a prior.
    precision : str
        Of the convolutions.
    """

    def __init__(self, network: nn.Module, schedule: Any, precision: str = "float32") -> None:
        super().__init__()
        self.network, self.schedule, self.precision = network, schedule, precision

    def forward(self, problem: Problem) -> Tensor:
        """The image."""
        steps = PhysicsSteps(self.network, self.schedule, precision=self.precision)  # type: ignore[arg-type]
        # the first image depends on nothing that is trained, but it may on data that were made by the network
        with torch.set_grad_enabled(problem.y.requires_grad and torch.is_grad_enabled()):
            state: Any = steps.init(problem)
        for _ in range(self.schedule.steps):
            state = steps.step(problem, state)
        x: Tensor = state.x
        return x


@dataclass(frozen=True)
class Relative:
    """Mean logarithm of the error of the image, relative to the image: with true images, in any unit."""

    def __call__(self, model: Any, sample: Sample, generator: torch.Generator) -> Tensor:
        """The loss, in nepers."""
        return 0.5 * torch.log(relative_error(model(sample.problem), sample.truth)).mean()


def relative_error(x: Tensor, truth: Any) -> Tensor:
    """Mean square of the error over that of the image, one for each image."""
    power = (truth.abs() ** 2).mean((-2, -1))
    error: Tensor = ((x - truth).abs() ** 2).mean((-2, -1)) / power.clamp(min=1e-30)
    return error.clamp(min=1e-8)


class Adapted(NamedTuple):
    """What `adapt` kept on record: how far held-out data were missed by step, and the best step."""

    steps: list[int]
    held_out: list[float]
    best: int


def adapt(
    prior: FoundationPrior,
    problems: Sequence[Problem | Sample] | Problem | Sample | Task,
    *,
    mode: str = "lora",
    loss: str = "sure",
    steps: int = 200,
    rate: float | None = None,
    held_out: float | Sequence[Problem | Sample] = 0.1,
    split: float = 0.15,
    axis: int = -2,
    batch: int = 4,
    every: int | None = None,
    rank: int = RANK,
    seed: int = 0,
    progress: Progress | None = None,
) -> FoundationPrior:
    """A prior trained further on given scans; the one that was given stays as it is.

    Without true images it learns from the measurements alone: Stein's estimate of the error ("sure"), data
    that are left out and predicted ("splitting"), or that the answer moves with the object ("equivariance").
    Now and then it is asked to predict data that it never sees; the weights that did so best are kept, those
    at the start among them, and it ends when nothing gets better.

    Parameters
    ----------
    prior : FoundationPrior
        To begin with.
    problems : sequence of Problem or Sample, or callable
        Scans with their noise, arrays of any library, leading axes for several of one kind; a `Sample` has
        the true image beside it. Or ``task(generator) -> Sample`` that makes new ones.
    mode : {"gain", "lora", "full"}
        What is trained, see `adaptable`: below 100 numbers, about a tenth of all, or all.
    loss : {"sure", "splitting", "equivariance", "supervised"}
        What it is trained by; "supervised" needs true images, "sure" a level of the noise that is right.
        "splitting" learns for scans from which data are missing: where views are few, that is another task,
        and the image of all data may gain less than held-out data do (``benchmarks/prior_adapt.py``).
    steps : int
        At most.
    rate : float, optional
        Learning rate; by default 1e-2, 1e-3 or 1e-4 for the three modes.
    held_out : float or sequence
        Part of the positions along `axis` of every scan's data that is never trained on, or with
        "supervised" part of the scans where there are several; or scans that are not trained on, judged by
        the image where the true one is given.
    split : float
        Part of the positions that "splitting" leaves out in each step. Small, because the network learns for
        scans of what is left: with many fewer views than are measured it would learn another task.
    axis : int
        Views of a sinogram, lines or spokes of k-space: counted from the end of the data.
    batch : int
        Scans per step, of those of one kind.
    every : int, optional
        Steps between two looks at what is held out; by default a tenth of all.
    rank : int
        Of "lora".
    seed : int
        Of all that is drawn.
    progress : callable, optional
        Called with (steps done, steps in all, loss).

    Returns
    -------
    FoundationPrior
        With the weights merged, of the same size and speed as before; ``card["adapted"]`` is the record.

    Raises
    ------
    ValueError
        For unknown names, no scans, true images that are missing, or scans made on the way without any that
        are held out.

    References
    ----------
    M. Z. Darestani, J. Liu and R. Heckel, ICML 2022, adaptation by data that are held out;
    E. J. Hu et al., ICLR 2022, LoRA; see also the losses.
    """
    _check(mode, loss, steps)
    device, generator = prior.device, torch.Generator().manual_seed(seed)
    network, schedule = adaptable(prior.network, prior.schedule, mode, seed=seed, rank=rank)
    model = Restoration(network, schedule, prior.precision)
    splitting, own = Splitting(split, axis), None
    if callable(problems):
        task: Task = _Moved(problems, device)
        if isinstance(held_out, float):
            raise ValueError("scans are made on the way; give some that are not trained on as held_out")
    else:
        own = [_settled(each, device) for each in _listed(problems)]
        if not own:
            raise ValueError("no scans are given; give at least one")
        if loss == "supervised" and any(sample.truth is None for sample in own):
            raise ValueError("supervised needs a true image with every scan; choose splitting or sure")
        if isinstance(held_out, float) and loss == "supervised":
            own, held_out = _some_held(own, held_out)
        if isinstance(held_out, float):
            own, looks = _parted(own, Splitting(held_out, axis), generator)
    if not isinstance(held_out, float):
        kept = [_settled(each, device) for each in held_out]
        looks = _looks(kept, splitting, generator)
    if own is not None:
        task = Drawn(own, batch)
    judge = _loss(loss, splitting, prior, own)
    plan = Plan(steps, RATES[mode] if rate is None else rate, min(10, steps // 10), 1.0, 0.0, seed)
    trainer = Trainer(model, task, judge, plan)
    pause = max(1, steps // 10) if every is None else every
    seen = Adapted([0], [_look(model, looks)], 0)
    best = copy.deepcopy(model.state_dict())

    def after(done: int, value: float) -> bool:
        nonlocal seen, best
        if progress is not None:
            progress(done, steps, value)
        if done % pause and done < steps:
            return True
        missed = _look(model, looks)
        if missed < min(seen.held_out):
            seen, best = seen._replace(best=done), copy.deepcopy(model.state_dict())
        seen.steps.append(done)
        seen.held_out.append(missed)
        return len(seen.steps) - 1 - seen.steps.index(seen.best) < PATIENCE

    trainer.run(callback=after)
    model.load_state_dict(best)
    schedule = schedule.eval().requires_grad_(False)
    record = {"mode": mode, "loss": loss, "seed": seed, "rate": plan.rate, **seen._asdict()}
    record["done"] = trainer.done
    return replace(prior, network=merged(network), schedule=schedule, card={**prior.card, "adapted": record})


def save(path: str | Path, prior: FoundationPrior, *, force: bool = False) -> None:
    """Write a prior for `FoundationPrior.load`; never over the weights of the package.

    Raises
    ------
    OutputFailure
        If the file is there and `force` is off, or it is one of the package.
    """
    path = Path(path)
    if path.resolve().parent == files.HOME.resolve():
        raise OutputFailure(f"{path.name} would replace weights of the package; write to a folder of yours")
    if path.exists() and not force:
        raise OutputFailure(f"{path} is already there; write elsewhere or replace it with --force")
    files.save_prior(path, prior.network, prior.schedule, prior.card, prior.change)


def _check(mode: str, loss: str, steps: int) -> None:
    for name, value, allowed in (("mode", mode, MODES), ("loss", loss, LOSSES)):
        if value not in allowed:
            raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    if steps < 1:
        raise ValueError(f"steps is {steps}; it must be 1 or more")


def _listed(problems: Any) -> list[Any]:
    return [problems] if isinstance(problems, Problem | Sample) else list(problems)


def _settled(given: Problem | Sample, device: torch.device) -> Sample:
    """As tensors on the device in 32 bits, with Gaussian noise: what every loss can use."""
    problem, truth = (given, None) if isinstance(given, Problem) else given
    problem.check()
    if problem.noise is None:
        problem = problem._replace(noise=estimate_noise(problem))
    problem = single(tensors(problem, device).quadratic())
    return Sample(problem, None if truth is None else to_tensor(truth, device).to(problem.y.device))


@dataclass(eq=False)
class _Moved:
    """A task whose samples are settled."""

    task: Task
    device: torch.device

    def __call__(self, generator: torch.Generator) -> Sample:
        sample = self.task(generator)
        return _settled(Sample(sample.problem, sample.truth), self.device)


@dataclass(eq=False)
class Drawn:
    """Draws one of several problems, and of one with many scans along its first axis some of them.

    Parameters
    ----------
    samples : list of Sample
        Problems of tensors.
    batch : int
        Most scans of a sample.
    """

    samples: list[Sample]
    batch: int

    def __call__(self, generator: torch.Generator) -> Sample:
        problem, truth = self.samples[int(torch.randint(len(self.samples), (), generator=generator))]
        if problem.y.ndim <= len(problem.A.out_shape) or len(problem.y) <= self.batch:
            return Sample(problem, truth)
        k = torch.randperm(len(problem.y), generator=generator)[: self.batch].to(problem.y.device)
        return some(Sample(problem, truth), k)


def some(sample: Sample, which: Any) -> Sample:
    """Those scans of a batch, by an index or slice of their first axis."""
    problem, truth = sample
    noise: Any = problem.noise
    sigma: Any = getattr(noise, "sigma", None)
    if getattr(sigma, "ndim", 0) == problem.y.ndim and len(sigma) == len(problem.y):
        noise = replace(noise, sigma=sigma[which])
    kept = None if truth is None else truth[which]
    return Sample(problem._replace(y=problem.y[which], noise=noise), kept)


def _some_held(samples: list[Sample], part: float) -> tuple[list[Sample], Any]:
    """Scans apart from the last ones of every sample with several, or from the last samples.

    With a single scan the share is of its data.
    """
    many = [s.problem.y.ndim > len(s.problem.A.out_shape) and len(s.problem.y) > 1 for s in samples]
    if not any(many):
        if len(samples) == 1:
            return samples, part
        n = min(max(1, round(part * len(samples))), len(samples) - 1)
        return samples[:-n], samples[-n:]
    seen, held = [], []
    for sample, several in zip(samples, many, strict=True):
        if several:
            n = len(sample.problem.y)
            n = min(max(1, round(part * n)), n - 1)
            held.append(some(sample, slice(-n, None)))
            sample = some(sample, slice(None, -n))
        seen.append(sample)
    return seen, held


Look = Callable[[nn.Module], Tensor]


def _parted(
    samples: list[Sample], splitting: Splitting, generator: torch.Generator
) -> tuple[list[Sample], list[Look]]:
    """Scans without the data that are held out, and what looks at those."""
    seen, looks = [], []
    for problem, truth in samples:
        part, held = splitting.split(problem, generator)
        seen.append(Sample(part, truth))
        looks.append(_predicts(part, problem, held))
    return seen, looks


def _looks(samples: list[Sample], splitting: Splitting, generator: torch.Generator) -> list[Look]:
    """Scans that are held out: the error of the image, or of data predicted from the others."""
    looks: list[Look] = []
    for problem, truth in samples:
        if truth is None:
            part, held = splitting.split(problem, generator)
            looks.append(_predicts(part, problem, held))
        else:
            looks.append(lambda model, p=problem, t=truth: relative_error(model(p), t))  # type: ignore[misc]
    if not looks:
        raise ValueError("held_out holds no scans; give some, or the part of the data to hold out")
    return looks


def _predicts(part: Problem, whole: Problem, held: Tensor) -> Look:
    return lambda model: missed(model, part, whole, held)


def _look(model: nn.Module, looks: list[Look]) -> float:
    """Geometric mean over all scans."""
    with torch.no_grad():
        found = torch.cat([look(model).reshape(-1) for look in looks])
    return float(found.clamp(min=1e-12).log().mean().exp())


def _loss(name: str, splitting: Splitting, prior: FoundationPrior, own: list[Sample] | None) -> Any:
    if name == "supervised":
        return Relative()
    if name == "sure":
        return Unbiased()
    if name == "splitting":
        return Predicted(splitting)
    if own is None:
        raise ValueError("equivariance needs scans that are given; choose another loss")
    # the second part counts in units of the image, which may be any
    power = [prior.restore(problem).abs().square().mean() for problem, _ in own]
    weight = 1 / max(float(torch.stack(power).mean()), 1e-30)
    return Equivariance(Transform(), weight=100 * weight)
