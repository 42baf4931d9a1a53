"""`rayfold denoise`: an image or a DICOM series in, the same without its noise out, and a report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console
from rayfold.recon.cli.pictures import Given, output_name, read_picture, write_picture
from rayfold.recon.cli.view import parse_window
from rayfold.recon.data import Image
from rayfold.recon.shipped import DEFAULT

COMMON = ("preview.png", "provenance.json", "report.html")


def command(args: argparse.Namespace) -> None:
    """Denoise one image or series."""
    _check(args)
    source = Path(args.file)
    target = Path(args.output or f"{source.name.split('.')[0]}-denoised")
    names = (output_name(source, "denoise"), *COMMON)

    from rayfold.recon.denoising import denoise, noise_of
    from rayfold.recon.evidence import warn_unfamiliar
    from rayfold.recon.io.results import refuse_existing, require_space, result_folder
    from rayfold.recon.noise_level import NoiseEstimate
    from rayfold.recon.provenance import Stages

    refuse_existing(target, names=names, force=args.force)
    stages = Stages()
    with stages("load"):
        given = read_picture(source, args, "denoise")
    image = given.image
    console.say(repr(image), quiet=args.quiet)
    with stages("noise"):
        stated = None if args.sigma is None else NoiseEstimate((args.sigma,) * 4, unit=image.unit)
        noise = stated or noise_of(image)
    console.say(f"  noise     {noise}", quiet=args.quiet)
    with stages("prior"):
        prior = _prior(args)
    with result_folder(target, names=names, force=args.force) as part:
        with stages("denoise"), console.progress("denoise", quiet=args.quiet) as progress:
            made = denoise(image, sigma=noise, strength=args.strength, prior=prior, progress=progress)
        with stages("familiarity"):
            warning = warn_unfamiliar(made) if args.strength else None
        if warning is not None:
            console.say(f"  warning   {warning}", quiet=args.quiet)
        require_space(part, 2 * made.array.nbytes)
        after = _write(part, given, made, noise, args, source, stages, prior)
    if args.json:
        console.as_json(
            {
                "output": str(target),
                "files": sorted(names),
                "shape": list(image.shape),
                "unit": image.unit,
                "noise": noise.as_dict(),
                "removed": after,
                "warning": warning,
                "seconds": {k: round(v, 3) for k, v in stages.seconds.items()},
            }
        )
    else:
        console.result(str(target))


def _check(args: argparse.Namespace) -> None:
    parse_window(args.window)
    for name in ("strength", "sigma"):
        value = getattr(args, name)
        if value is not None and not 0 <= value < float("inf"):
            raise ValueError(f"--{name} is {value:g}; it must be 0 or more")


def _prior(args: argparse.Namespace) -> Any:
    if args.strength == 0:
        return DEFAULT  # nothing is done, nothing is loaded
    from rayfold.recon.foundation import FoundationPrior

    return FoundationPrior.load(args.size, device=args.device, precision=args.precision)


def _write(
    folder: Path, given: Given, made: Image, noise: Any, args: argparse.Namespace, source: Path,
    stages: Any, prior: Any,
) -> dict[str, Any]:  # fmt: skip
    """Image, picture, record and report; returns what was removed, in numbers."""
    from rayfold.recon.cli.denoise_report import removed_by, report
    from rayfold.recon.provenance import provenance, write_json

    settings = {
        "strength": args.strength,
        "sigma": args.sigma,
        "size": args.size,
        "precision": args.precision,
        "unit": made.unit,
        "modality": made.modality,
        "noise": noise.as_dict(),
    }
    with stages("write"):
        made = _save(folder, given, made, settings)
    record = provenance(configuration=settings, inputs=[source], timings=stages.seconds)
    record["removed"] = removed_by(given.image, made)
    card = getattr(prior, "card", None) or {}
    record["prior"] = {key: card[key] for key in ("name", "version", "sha256") if key in card}
    write_json(folder / "provenance.json", record)
    report(folder, source.name, given.image, made, noise, record, window=parse_window(args.window))
    return dict(record["removed"])


def _save(folder: Path, given: Given, made: Image, settings: dict[str, Any]) -> Image:
    """Write in the format that was read; returns the image as it was written."""
    noise = settings["noise"]
    done = (
        f"Denoised by rayfold, prior {settings['size']}, strength {settings['strength']:g}, "
        f"noise {noise['sigma']:.4g} {made.unit} ({noise['kind']})"
    )
    series = None if given.series is None else given.series.with_array(made.array)
    return write_picture(folder, given, made, series=series, done=done, description="rayfold denoised")
