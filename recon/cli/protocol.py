"""`rayfold protocol`: begin a protocol file, look at one, compare several at the same dose."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console
from rayfold.recon.cli.options import add_common, seed_number
from rayfold.recon.shipped import DEFAULT

FIRST = {"ct": "clinical-fan", "mri": "brain-sense"}  # presets that a new file begins with
FILES = ("comparison.json", "curves.png", "images.png")


def add_protocol(sub: argparse.ArgumentParser) -> None:
    """Options of `protocol`."""
    actions = sub.add_subparsers(dest="action", metavar="ACTION", required=True)
    new = actions.add_parser("new", help="a commented file to begin with")
    new.add_argument("modality", choices=tuple(FIRST))
    new.add_argument("--preset", metavar="NAME", help=f"by default {FIRST['ct']} or {FIRST['mri']}")
    add_common(new, "TOML file to write; by default ct.toml or mri.toml", seed=False)
    show = actions.add_parser("show", help="what a protocol means: dose, time, grid, and a picture")
    show.add_argument("file", help="TOML file")
    add_common(show, "PNG file for a picture", seed=False)
    compare = actions.add_parser("compare", help="quality against dose or scan time: a table and pictures")
    compare.add_argument("files", nargs="+", metavar="FILE", help="TOML files, all CT or all MRI")
    compare.add_argument("--phantom", help="CT: thorax (default), shepp-logan, disc; MRI: head")
    compare.add_argument("--method", metavar="LIST", help="CT: fbp,tv (default), prior, ...; MRI: sense,...")
    compare.add_argument("--dose", metavar="LIST", help="set CT protocols to these, as 0.1,0.3,1")
    compare.add_argument("--seeds", type=seed_number, default=3, metavar="N", help="how many; default 3")
    compare.add_argument(
        "--grid", type=int, default=128, metavar="N", help="pixels per side, default 128 (CT)"
    )
    compare.add_argument("--iterations", type=int, metavar="N", help="of iterative methods")
    compare.add_argument("--prior", default=DEFAULT, metavar="NAME", help="small, or a .safetensors file")
    compare.add_argument("--tasks", action="store_true", help="CT: also MTF50 and detectability")
    add_common(compare, "folder for the table (JSON) and pictures (PNG)", seed=False)


def command(args: argparse.Namespace) -> None:
    """One of the actions."""
    {"new": _new, "show": _show, "compare": _compare}[args.action](args)


def _new(args: argparse.Namespace) -> None:
    from rayfold.recon.protocol import Protocol

    p = Protocol.preset(args.preset or FIRST[args.modality])
    if p.modality.lower() != args.modality:
        raise ValueError(f"--preset {args.preset} is a protocol of {p.modality}; leave one of them out")
    target = Path(args.output or f"{args.modality}.toml")
    p.to_toml(target, force=args.force)
    if args.json:
        console.as_json({"output": str(target)})
        return
    console.say(f"edit it, then: rayfold protocol show {target}", quiet=args.quiet)
    console.result(str(target))


def _show(args: argparse.Namespace) -> None:
    from rayfold.recon.io.atomic import atomic_file
    from rayfold.recon.protocol import Protocol

    p = Protocol.from_toml(Path(args.file))
    facts = _facts(p)
    if args.output:
        if Path(args.output).suffix.lower() != ".png":
            raise ValueError(f"-o {args.output}: the picture is a PNG; give a name ending in .png")
        from rayfold.recon.panels import png

        with atomic_file(args.output, force=args.force) as part:
            part.write_bytes(png(p.picture()))
    if args.json:
        console.as_json(facts)
        return
    width = max(map(len, facts))
    console.result("\n".join(f"{name:<{width}}  {value}" for name, value in facts.items()))


def _facts(p: Any) -> dict[str, Any]:
    """What follows from a protocol, for a person."""
    facts: dict[str, Any] = {"protocol": repr(p), "scan time": f"{p.scan_time:.6g} ms"}
    if p.modality == "CT":
        beam, volume = p.beam, p.volume()
        facts["dose"] = "not stated (Gaussian noise)" if p.dose is None else f"{p.dose:.4g}"
        facts["field of view"] = f"{2 * beam.half_width:.4g} mm"
        facts["bin at the axis"] = f"{beam.resolution:.4g} mm"
        facts["grid"] = " x ".join(map(str, volume.shape))
        enough = math.pi * beam.half_width / beam.resolution
        turns = 1 if p.geometry == "parallel" else 2
        facts["views for the field"] = f"{turns * enough:.0f} (Nyquist at its rim), {p.views} are taken"
    else:
        k = (
            f"{p.mask.size / p.mask.sum():.3g} times fewer samples"
            if p.cartesian
            else f"{p.trajectory.shape[0]} shots of {p.trajectory.shape[1]} samples"
        )
        facts["sampling"] = k
        facts["excitations"] = p.excitations
        facts["readout"] = "{:.4g} to {:.4g} ms after the excitation".format(*p.readout_ms)
        facts["pixel"] = " x ".join(f"{s:.4g}" for s in p.volume().steps) + " mm"
    return facts


def _compare(args: argparse.Namespace) -> None:
    from rayfold.recon.io.results import refuse_existing, result_folder
    from rayfold.recon.protocol import Protocol, compare

    if args.output:  # before the work, not after
        refuse_existing(Path(args.output), names=FILES, force=args.force)
    named: dict[str, Any] = {}
    for file in args.files:
        p = Protocol.from_toml(Path(file))
        name = p.name or Path(file).stem
        if name in named:
            raise ValueError(f"two protocols are called {name!r}; change the name in {file}")
        named[name] = p
    with console.progress("compare", quiet=args.quiet) as update:
        found = compare(
            named,
            args.phantom,
            args.method.split(",") if args.method else None,
            range(args.seeds),
            doses=_numbers(args.dose),
            n=args.grid,
            tasks=args.tasks,
            prior=args.prior,
            iterations=args.iterations,
            progress=update,
        )
    if args.output:
        from rayfold.recon.panels import png

        with result_folder(args.output, names=FILES, force=args.force) as folder:
            found.save(folder / FILES[0])
            (folder / FILES[1]).write_bytes(png(found.figure()))
            (folder / FILES[2]).write_bytes(png(found.gallery()))
    for note in found.facts["notes"]:
        console.say(f"  note      {note}", quiet=args.quiet)
    if args.json:
        from rayfold.recon.provenance import plain

        console.as_json({"rows": plain(list(found.rows), "rows"), "output": args.output})
    else:
        console.result(console.table(found.table()))


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"--dose {text}: give numbers with commas, as 0.1,0.3,1") from None
