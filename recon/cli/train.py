"""`rayfold train`: the prior from nothing but a configuration, or made better for the scans of one user."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console
from rayfold.recon.cli.options import seed_number
from rayfold.recon.errors import InconsistentInput, OutputFailure, UnreadableInput
from rayfold.recon.shipped import DEFAULT

OF_ADAPT = ("truth", "protocol", "phantom", "mode", "loss", "weights", "rate", "n", "held_out", "every")
OF_TRAINING = ("resume", "start", "minutes")
DEFAULTS = {"mode": "lora", "loss": "sure", "weights": DEFAULT, "n": 32, "held_out": 0.1}
ADAPT_STEPS = 200


def add_train(sub: argparse.ArgumentParser) -> None:
    """Options of `train`."""
    sub.add_argument("files", nargs="*", metavar="CONFIG|SCAN", help="name or TOML file; with --adapt, scans")
    sub.add_argument("--steps", type=int, metavar="N", help="instead of those of the configuration")
    sub.add_argument("--threads", type=int, metavar="N", help="of the processor")
    sub.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda or cuda:N")
    sub.add_argument("--seed", type=seed_number, metavar="N", help="of all that is drawn")
    train = sub.add_argument_group("training")
    train.add_argument("--resume", action="store_true", default=None, help="go on with the folder -o names")
    train.add_argument("--start", metavar="NAME|FILE", help="weights to begin with")
    train.add_argument("--minutes", type=float, metavar="M", help="most wall time")
    adapt = sub.add_argument_group("adaptation")
    adapt.add_argument("--adapt", action="store_true", help="train the prior further on your own scans")
    adapt.add_argument("--truth", nargs="+", metavar="IMAGE", help="true images, one for each scan")
    adapt.add_argument(
        "--protocol", nargs="+", metavar="TOML", help="simulate scans by these protocols instead"
    )
    adapt.add_argument("--phantom", metavar="FAMILY", help="synthetic images to simulate scans of")
    adapt.add_argument("--n", type=int, help=f"how many; default {DEFAULTS['n']}")
    adapt.add_argument("--mode", help="gain (below 100 numbers), lora (default) or full")
    adapt.add_argument("--loss", help="sure (default), splitting, equivariance or supervised")
    adapt.add_argument("--weights", metavar="NAME|FILE", help="to begin with: a size or a file")
    adapt.add_argument("--rate", type=float, metavar="R", help="learning rate; default: what suits the mode")
    adapt.add_argument("--held-out", type=float, metavar="F", help="part of the data to stop by; default 0.1")
    adapt.add_argument(
        "--every", type=int, metavar="N", help="steps between looks at it, 3 in vain end it; default a tenth"
    )


def command(args: argparse.Namespace) -> None:
    """Train or adapt."""
    wrong = OF_TRAINING if args.adapt else OF_ADAPT
    for name in wrong:
        if getattr(args, name) is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ValueError(
                f"{flag} {'is not for' if args.adapt else 'needs'} --adapt; leave one of them out"
            )
    if not args.output:
        kind = "a file, as adapted.safetensors" if args.adapt else "a folder"
        raise ValueError(f"no output is given; name {kind}, with -o")
    for name in ("steps", "threads", "n", "rate", "minutes", "every"):
        value = getattr(args, name)
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"--{name} is {value:g}; it must be positive")
    if args.threads:
        import torch

        torch.set_num_threads(args.threads)
    (_adapt if args.adapt else _train)(args)


def _train(args: argparse.Namespace) -> None:
    from rayfold.recon.train.config import names, read_config
    from rayfold.recon.train.run import train

    changes = {
        name: value
        for name in ("steps", "seed", "start", "minutes")
        if (value := getattr(args, name)) is not None
    }
    if len(args.files) > 1 or not (args.files or args.resume):
        raise ValueError(f"give one configuration: {', '.join(names())}, or a .toml file")
    if args.resume and changes:
        raise ValueError(f"--{next(iter(changes))} cannot change a training that goes on; leave it out")
    config = read_config(args.files[0], **changes) if args.files else None
    with console.progress("train", quiet=args.quiet) as bar:

        def tick(done: int, total: int, parts: dict[str, float]) -> None:
            bar(done, total, ", ".join(f"{name} {value:.1f} dB" for name, value in parts.items()))

        try:
            done = train(config, args.output, resume=bool(args.resume), device=args.device, progress=tick)
        except ArithmeticError as error:  # the loss is no number: the rate is at fault
            raise InconsistentInput(str(error)) from error
    losses = ", ".join(f"{name} {value:.2f} dB" for name, value in done.losses.items())
    console.say(f"{done.done} of {done.steps} steps: {losses}", quiet=args.quiet)
    if done.stopped:
        console.say(
            f"stopped by {done.stopped}; go on with: rayfold train -o {args.output} --resume",
            quiet=args.quiet,
        )
    if done.stopped == "interrupt":
        raise KeyboardInterrupt
    if args.json:
        console.as_json({"output": str(done.folder), "steps": done.done, "losses_db": done.losses})
    else:
        console.result(str(done.folder / "weights.safetensors"))


def _adapt(args: argparse.Namespace) -> None:
    from rayfold.recon.foundation import FoundationPrior
    from rayfold.recon.foundation.adapt import adapt, save

    chosen: dict[str, Any] = {
        k: v if getattr(args, k) is None else getattr(args, k) for k, v in DEFAULTS.items()
    }
    target = Path(args.output)
    if target.suffix != ".safetensors":
        raise ValueError(f"-o {target.name}: the name must end in .safetensors")
    if target.exists() and not args.force:
        raise OutputFailure(f"{target} is already there; write elsewhere or replace it with --force")
    if not 0 < chosen["held_out"] < 1:
        raise ValueError(f"--held-out is {chosen['held_out']:g}; it must lie between 0 and 1")
    seed = args.seed or 0
    problems: Any = _given(args, chosen["n"], seed)
    loss = "supervised" if args.loss is None and (args.truth or args.protocol) else chosen["loss"]
    prior = FoundationPrior.load(chosen["weights"], device=args.device)
    with console.progress("adapt", quiet=args.quiet) as bar:
        made = adapt(
            prior,
            problems,
            mode=chosen["mode"],
            loss=loss,
            steps=args.steps or ADAPT_STEPS,
            rate=args.rate,
            held_out=chosen["held_out"],
            every=args.every,
            seed=seed,
            progress=lambda done, total, _: bar(done, total),
        )
    save(target, made, force=args.force)
    record = made.card["adapted"]
    first, best = record["held_out"][0], min(record["held_out"])
    text = f"misses held-out data by {first:.4g} before, {best:.4g} after {record['best']} steps"
    console.say(text, quiet=args.quiet)
    if record["best"] == 0:
        console.say("no step made it better: the weights are those it began with", quiet=args.quiet)
    if args.json:
        console.as_json({"output": str(target), "adapted": record})
    else:
        console.result(str(target))


def _given(args: argparse.Namespace, n: int, seed: int) -> list[Any]:
    """Samples of the scans, or of simulated ones."""
    if args.protocol or args.phantom:
        if args.files or args.truth or not (args.protocol and args.phantom):
            raise ValueError("give scans, or both --protocol and --phantom")
        if n < 2:
            raise ValueError(f"--n is {n}; at least 2 are needed, one of them to stop by")
        from rayfold.recon.foundation.simulated import simulated
        from rayfold.recon.protocol import Protocol

        protocols = [Protocol.from_toml(Path(each)) for each in args.protocol]
        return [simulated(each, args.phantom, n, seed + k) for k, each in enumerate(protocols)]
    if not args.files:
        raise ValueError("give scans to adapt to, or --protocol and --phantom")
    if args.truth and len(args.truth) != len(args.files):
        raise ValueError(f"there are {len(args.truth)} images for {len(args.files)} scans; give one for each")
    found = []
    for k, file in enumerate(args.files):
        found += _of_scan(Path(file), args.truth[k] if args.truth else None)
    return found


def _of_scan(path: Path, truth: str | None) -> list[Any]:
    from rayfold.recon.foundation.simulated import samples_of
    from rayfold.recon.io import load

    if not path.exists():
        raise UnreadableInput(f"{path} does not exist; check the path")
    image = None
    if truth is not None:
        from rayfold.recon.io.read_image import read_image

        image = read_image(truth)
    return samples_of(load(path), image)
