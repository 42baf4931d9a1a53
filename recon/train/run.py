"""A training of the prior from its configuration: a folder that it can be continued from at any time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from rayfold.recon import phantoms
from rayfold.recon.errors import InconsistentInput, OutputFailure, UnreadableInput
from rayfold.recon.foundation.change import MOST, Change
from rayfold.recon.foundation.files import Held, digest, file_of, load_prior, save_prior
from rayfold.recon.foundation.lowrank import adaptable
from rayfold.recon.foundation.network import Network, build
from rayfold.recon.foundation.steps import Schedule
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.shipped import SHIPPED
from rayfold.recon.train.config import Config, read_config
from rayfold.recon.train.loop import Trainer
from rayfold.recon.train.noisy import Noising
from rayfold.recon.train.pool import Pool
from rayfold.recon.train.record import (
    TASKS,
    Row,
    curves,
    hardware,
    means,
    read_losses,
    write_losses,
)
from rayfold.recon.train.restoring import EveryStep, Restoring
from rayfold.recon.train.stages import Judged, Share, Stages, StopRequest
from rayfold.recon.train.together import Group, partners

CONFIG, TRAINING, WEIGHTS = "config.toml", "training.safetensors", "weights.safetensors"
LOSSES, CURVES = "loss.csv", "loss.png"
FILES = (CONFIG, TRAINING, WEIGHTS, LOSSES, CURVES)
Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Trained:
    """How a training ended: steps done of all, losses in decibels, and why it stopped before, if it did."""

    folder: Path
    done: int
    steps: int
    losses: dict[str, float]
    stopped: str | None


def train(
    config: Config | None,
    folder: str | Path,
    *,
    resume: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
) -> Trained:
    """Train, leaving ``weights.safetensors`` (the running mean, for `FoundationPrior.load`) and all else.

    Parameters
    ----------
    config : Config or None
        From `read_config`; None to take that of the folder when resuming.
    folder : str or Path
        Gets the configuration, the state of the training, the weights and the losses (CSV and PNG), each
        file whole or not at all, every ``config.save`` steps and at the end.
    resume : bool
        Go on where the training in the folder was saved: bit for bit on a CPU with as many threads.
    device : str
        A torch device; "auto" is the GPU where there is one.
    progress : callable, optional
        Called with (steps done, steps in all, losses in decibels by task) after each step.

    Raises
    ------
    OutputFailure
        If the folder holds a training and `resume` is off.
    UnreadableInput
        If there is nothing to resume.
    InconsistentInput
        If the training was begun with another configuration, or the weights to start from do not fit.
    """
    folder = Path(folder)
    config = _settled(config, folder, resume=resume)
    where = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device)
    if config.processes == 1:
        return _train(None, config, folder, resume, where, progress)
    with partners(config.processes, _train, config, folder, resume, where) as group:
        return _train(group, config, folder, resume, where, progress)


def _train(
    group: Group | None,
    config: Config,
    folder: Path,
    resume: bool,
    where: torch.device,
    progress: Progress | None = None,
) -> Trained:
    """The training itself, in each of its processes; only the first one writes."""
    rank, size = (0, 1) if group is None else (group.rank, group.size)
    if size > 1:
        torch.set_num_threads(max(1, (os.cpu_count() or 1) // size))
    # when resuming, what is loaded then replaces all
    model = EveryStep(*_start(config, fresh=not resume), config.precision).to(where)
    model.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    task = Share(_stages(config, where), rank, size)
    loss = Judged(config.share, config.precision)
    trainer = Trainer(model, task, loss, config.plan, group=group)  # type: ignore[arg-type]
    rows: list[Row] = []
    if resume:
        trainer.load(folder / TRAINING)
        rows = read_losses(folder / LOSSES, trainer.done)
    before = rows[-1][-1] if rows else 0.0
    began = time.monotonic()

    def save() -> None:  # the state last: what it says is done then stands in all the others
        if rank:
            return
        write_losses(folder / LOSSES, rows)
        _plot(folder / CURVES, rows)
        _weights(folder / WEIGHTS, config, trainer, rows, where)
        trainer.save(folder / TRAINING)

    stopped: str | None = None
    with StopRequest() as stop:

        def after(done: int, _: float) -> bool:
            nonlocal stopped
            asked, seconds = stop.asked, before + time.monotonic() - began
            if group is not None:
                asked, seconds = group.agree(asked, seconds)
            rows.append((done, *(loss.parts.get(name, float("nan")) for name in TASKS), seconds))
            if progress is not None:
                progress(done, config.steps, loss.parts)
            if config.minutes:
                _hurry(trainer, seconds / (60 * config.minutes))
                stopped = "time" if seconds >= 60 * config.minutes else None
            stopped = "interrupt" if asked else stopped
            if done % config.save == 0 and stopped is None and done < config.steps:
                save()
            return stopped is None

        try:
            trainer.run(callback=after)
            if rows:
                save()
        finally:
            task.close()
    if trainer.done == config.steps:
        stopped = None
    return Trained(folder, trainer.done, config.steps, means(rows), stopped)


def _settled(config: Config | None, folder: Path, *, resume: bool) -> Config:
    """The configuration, after a look at the folder."""
    if not resume:
        if config is None:
            raise ValueError("no configuration is given; name one, for example denoiser-small")
        there = [name for name in FILES if (folder / name).exists()]
        if there:
            raise OutputFailure(
                f"{folder} already holds {there[0]}; continue with --resume or train elsewhere"
            )
        _given(config)  # weights that are not there or do not fit are refused before anything is written
        with atomic_file(folder / CONFIG) as part:
            part.write_text(config.to_toml(), encoding="utf-8")
        return config
    for name in (CONFIG, TRAINING):
        if not (folder / name).is_file():
            raise UnreadableInput(f"{folder} holds no {name} to go on from; train without --resume")
    held = read_config(folder / CONFIG)
    if config is not None and config != held:
        raise InconsistentInput(
            f"{folder} was begun with another configuration; leave it out, or train in a new folder"
        )
    return held


def _start(config: Config, *, fresh: bool) -> tuple[Network, Schedule]:
    """Network and schedule to begin with, the network ready for a change if one is to be trained."""
    network, schedule = _given(config) if fresh else _given(replace(config, start="", rank=0))
    if config.rank:
        network, schedule = adaptable(network, schedule, "lora", seed=config.seed, rank=config.rank)
        schedule.requires_grad_(config.stage == "restore")
    return network, schedule


def _given(config: Config) -> tuple[Network, Schedule]:
    """Network and schedule as drawn, or of the weights to start from."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network, schedule = build(config.size), Schedule(config.unrolled)
    if not config.start:
        return network, schedule
    start = load_prior(config.start)
    found, steps = _begun(config, start), start.schedule
    if (found.widths, found.blocks) != (network.widths, network.blocks):
        raise InconsistentInput(
            f"start is {config.start!r} of widths {found.widths}, size {config.size} has {network.widths}; "
            "give weights of the same size"
        )
    return found, steps if steps.n == config.unrolled else schedule


def _begun(config: Config, start: Held) -> Network:
    """The network that a training changes: where noise alone is removed by a change, the one with it."""
    alone = config.stage == "denoise" and config.rank > 0
    return start.network if start.change is None or not alone else start.change.applied(start.network)


def _stages(config: Config, device: torch.device) -> Stages:
    images, alone = config.images, config.alone_until

    def pool(side: int) -> Pool:
        settings = {**vars(images), "side": side, "workers": config.workers, "device": device}
        return Pool(phantoms.mixture, **settings)

    noising = Noising(pool(images.side), **vars(config.denoise)) if config.share or alone else None
    if alone >= config.steps:
        return Stages(noising, None, alone, config.seed)
    wide = max(images.side, 2 * config.restore.side)
    shared = noising is not None and wide == images.side and not alone
    both = noising.pool if noising is not None and shared else pool(wide)
    restoring = Restoring(both, **vars(config.restore))
    return Stages(noising, restoring, alone * config.processes, config.seed)


def _hurry(trainer: Trainer, share: float) -> None:
    """Learning rate as if as much of the steps were done as of the time, where time is shorter."""
    plan = trainer.plan
    now, then = trainer.done, round(min(share, 1.0) * plan.steps)
    for group in trainer.optimiser.param_groups:
        group["factor"] = plan.rate_at(then) / plan.rate_at(now) if then > now and plan.rate_at(now) else 1.0


def _plot(path: Path, rows: list[Row]) -> None:
    from rayfold.recon.panels import png

    with atomic_file(path, force=True) as part:
        part.write_bytes(png(curves(rows)))


def _weights(path: Path, config: Config, trainer: Trainer, rows: list[Row], device: torch.device) -> None:
    """The running mean as a prior, with the record of its training."""
    from rayfold.recon.provenance import provenance

    held = trainer.mean or trainer.model.state_dict()
    network, schedule = build(config.size), Schedule(config.unrolled)
    parts = {
        name: {k.removeprefix(f"{name}."): v.cpu() for k, v in held.items() if k.startswith(f"{name}.")}
        for name in ("network", "schedule")
    }
    plain, change = Change.parted(parts["network"])
    network.load_state_dict(plain)
    schedule.load_state_dict(parts["schedule"])
    if change is not None:
        start = load_prior(config.start)
        if any(not torch.equal(plain[k], v) for k, v in _begun(config, start).state_dict().items()):
            raise InconsistentInput(
                f"start, {config.start!r}, no longer holds the weights that the training began with; "
                "put them back, or train in a new folder"
            )
        kept = start.change or Change({})
        if config.stage == "restore":  # what removes noise alone stays as it was
            network, change = change.applied(network), kept + -change
        else:
            network, change = start.network, kept + change
        change = change.of_rank(MOST)
    # a path says nothing to others and may name a person: the digest does
    named = config.start in SHIPPED or not config.start
    settings = {k: v for k, v in asdict(config).items() if k != "start" or named}
    about = provenance(configuration=settings, seeds={"samples": config.seed, "images": config.images.seed})
    card: dict[str, Any] = {
        "stage": config.stage,
        "steps": trainer.done,
        "of": config.steps,
        "losses_db": means(rows),
        "seconds": round(rows[-1][-1], 1),
        "hardware": hardware(device),
        "start": digest(file_of(config.start)) if config.start else None,
        **{key: about[key] for key in ("rayfold", "python", "packages", "configuration", "seeds")},
    }
    save_prior(path, network, schedule, card, change)
