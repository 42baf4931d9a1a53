"""`rayfold superres`: an image in, a finer or a sharper one out, with evidence and a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayfold.recon.cli import console
from rayfold.recon.shipped import DEFAULT, SHIPPED

if TYPE_CHECKING:
    from rayfold.recon.cli.pictures import Given
    from rayfold.recon.data import Image
    from rayfold.recon.superresolution import Finer

METHODS = ("prior", "tv", "bicubic", "sinc")
COMMON = ("preview.png", "provenance.json", "report.html")
WORK = 24  # fine images alive at once, per slice that is solved


def add_superres(sub: argparse.ArgumentParser) -> None:
    """Options of `superres`; builds without loading anything that computes."""
    sub.add_argument("file", help="DICOM folder or slice, NIfTI, TIFF, HDF5 image, .npy")
    sub.add_argument("--factor", type=int, default=2, metavar="N", help="finer by, 1 to 8; default 2")
    sub.add_argument("--method", choices=METHODS, default=METHODS[0], help=f"default {METHODS[0]}")
    sub.add_argument(
        "--strength", type=float, default=1.0, metavar="S", help="of the prior; 0 is plain interpolation"
    )
    sub.add_argument(
        "--psf", type=float, metavar="MM", help="blur to be undone too: its full width at half maximum"
    )
    sub.add_argument(
        "--sigma", type=float, metavar="X", help="noise in units of the image; default: measured on it"
    )
    sub.add_argument("--size", choices=SHIPPED, default=DEFAULT, help=f"of the prior; default {DEFAULT}")
    sub.add_argument("--device", default="auto", metavar="NAME", help="auto (default), cpu, cuda or cuda:N")
    sub.add_argument("--no-certificate", dest="certificate", action="store_false", help="leave it out")
    group = sub.add_argument_group("what the file does not say")
    group.add_argument(
        "--model", choices=("binning", "kspace"), help="what made the pixels; default: MR kspace, CT binning"
    )
    group.add_argument("--unit", choices=("HU", "1/mm", "a.u."), help="of the values")
    group.add_argument("--modality", choices=("CT", "MR"), help="what made the image")


def command(args: argparse.Namespace) -> None:
    """Read, solve, write."""
    from rayfold.recon.cli.pictures import output_name, read_picture

    source = Path(args.file)
    target = Path(args.output or f"{source.name.split('.')[0]}-superres")
    names = (output_name(source, "superres"), *COMMON)

    from rayfold.recon.io.results import refuse_existing, require_space, result_folder
    from rayfold.recon.provenance import Stages
    from rayfold.recon.superresolution import solve

    stages = Stages()
    refuse_existing(target, names=names, force=args.force)
    with stages("load"):
        given = read_picture(source, args, "superres")
    image = given.image
    n = _fine_bytes(image, args.factor)
    _check_memory(image, n)
    console.say(repr(image), quiet=args.quiet)
    with stages("prior"):
        prior = _prior(args)
    with result_folder(target, names=names, force=args.force) as part:
        with stages("superres"), console.progress(args.method, quiet=args.quiet) as progress:
            found = solve(
                image,
                args.factor,
                method=args.method,
                psf=args.psf,
                noise=args.sigma,
                strength=args.strength,
                model=args.model,
                prior=prior,
                certificate=args.certificate,
                progress=progress,
            )
        require_space(part, 2 * n)
        _write(given, found, args, part, source, stages, prior)
    notes = found.image.provenance["notes"]
    for note in notes:
        console.say(f"  note      {note}", quiet=args.quiet)
    for line in found.certificate.summary().split("\n") if found.certificate else ():
        console.say(f"  evidence  {line}", quiet=args.quiet)
    if args.json:
        made = found.image
        console.as_json(
            {
                "certificate": None if found.certificate is None else found.certificate.as_dict(),
                "output": str(target),
                "files": sorted(names),
                "shape": list(made.shape),
                "spacing": list(made.spacing),
                "unit": made.unit,
                "noise": made.provenance["noise"],
                "notes": notes,
                "seconds": {k: round(v, 3) for k, v in stages.seconds.items()},
            }
        )
    else:
        console.say(f"{found.image}", quiet=args.quiet)
        console.result(str(target))


def _prior(args: argparse.Namespace) -> Any:
    if args.method != "prior" or args.strength == 0:
        return args.size
    from rayfold.recon.foundation import FoundationPrior

    return FoundationPrior.load(args.size, device=args.device)


def _fine_bytes(image: Image, factor: int) -> int:
    size = 8 if image.array.dtype.kind == "c" else 4
    return int(image.array.size) * min(max(factor, 1), 8) ** 2 * size


def _check_memory(image: Image, n: int) -> None:
    from rayfold.recon.cli.memory import available

    n_slices = 1 if image.array.ndim == 2 else image.shape[0]
    need, free = n * 3 + n // n_slices * WORK * min(n_slices, 4), available()
    if free is not None and need > free:
        raise MemoryError(f"this needs about {need / 1e9:.1f} GB and {free / 1e9:.1f} GB are free")


def _write(
    given: Given, found: Finer, args: argparse.Namespace, folder: Path, source: Path, stages: Any, prior: Any
) -> None:
    """Image, picture, record and report."""
    from dataclasses import replace

    from rayfold.recon.cli.pictures import write_picture
    from rayfold.recon.io import save
    from rayfold.recon.provenance import provenance, write_json
    from rayfold.recon.report import write_report
    from rayfold.recon.superres_report import facts, figures, finer_series, shown

    names = ("factor", "method", "strength", "psf", "sigma", "size", "model", "unit", "modality")
    record = provenance(
        configuration={name: getattr(args, name) for name in names}, inputs=[source], timings=stages.seconds
    )
    record |= found.image.provenance
    record["image"] = {k: getattr(found.image, k) for k in ("shape", "spacing", "unit")}
    card = getattr(prior, "card", None) or {}
    record["prior"] = {key: card[key] for key in ("name", "version", "sha256") if key in card}
    done = f"rayfold superres x{args.factor}, method {args.method}, strength {args.strength:g}" + (
        f", blur of {args.psf:g} mm undone" if args.psf else ""
    )
    with stages("write"):
        series = None if given.series is None else finer_series(given.series, found)
        made = replace(found.image, provenance=record)
        made = write_picture(folder, given, made, series=series, done=done, description="rayfold superres")
        save(shown(made), folder / "preview.png")
    record["seconds"] = {stage: round(s, 3) for stage, s in stages.seconds.items()}
    write_json(folder / "provenance.json", record)
    write_report(
        folder / "report.html",
        title=f"{'Sharper' if args.factor == 1 else 'Finer'}: {source.name}",
        images=figures(given.image, found),
        tables=found.certificate.tables() if found.certificate else (),
        facts=facts(found),
        provenance=record,
    )
