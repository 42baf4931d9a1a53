"""`rayfold recon`: a raw scan in, a folder with image, preview, provenance and report out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console
from rayfold.recon.cli.options import load_options, resolve

RESULTS = ("image.nii.gz", "preview.png", "provenance.json", "report.html")
EXTRA = {"dicom": "dicom", "tiff": "image.tif", "h5": "image.h5"}


def command(args: argparse.Namespace) -> None:
    """Reconstruct one scan."""
    settings = resolve(args)
    source = Path(args.file)
    target = Path(args.output or f"{source.name.split('.')[0]}-rayfold")
    names = (*RESULTS, *(EXTRA[kind] for kind in settings["output"]["save"]))

    from rayfold.recon.io import load
    from rayfold.recon.io.results import result_folder
    from rayfold.recon.methods import plan
    from rayfold.recon.provenance import Stages

    stages = Stages()
    with stages("load"):
        scan = load(source, **load_options(settings["input"]))
    how = settings["recon"]
    keys = ("method", "grid", "spacing", "iterations", "device")
    chosen = plan(scan, **{key: how[key] for key in keys})
    _check_hu(scan, settings)
    if args.dry_run:
        _show_plan(scan, chosen, settings, target, as_json=args.json)
        return
    console.say(repr(scan), quiet=args.quiet)
    with result_folder(target, names=names, force=args.force) as part:
        image = _reconstruct(scan, settings, stages, quiet=args.quiet)
        _write(image, scan, settings, part, source, stages)
    for note in image.provenance["notes"]:
        console.say(f"note: {note}", quiet=args.quiet)
    if args.json:
        console.as_json(
            {
                "output": str(target),
                "files": sorted(names),
                "shape": list(image.shape),
                "spacing": list(image.spacing),
                "unit": image.unit,
                "notes": image.provenance["notes"],
                "seconds": {k: round(v, 3) for k, v in stages.seconds.items()},
            }
        )
    else:
        console.say(f"{image}", quiet=args.quiet)
        console.result(str(target))


def _check_hu(scan: Any, settings: dict[str, dict[str, Any]]) -> None:
    if not settings["output"]["hu"]:
        return
    if scan.unit == "px":
        raise ValueError(
            "--hu needs attenuation in 1/mm, but the scan states no pixel size; add --pixel-size MM"
        )
    if not scan.mu_water:
        raise ValueError("--hu needs the attenuation of water; add --mu-water (about 0.02 per mm)")


def _show_plan(scan: Any, chosen: Any, settings: dict[str, Any], target: Path, *, as_json: bool) -> None:
    facts = {
        "method": chosen.method,
        "iterations": chosen.iterations,
        "grid": list(chosen.volume.shape),
        "spacing": list(chosen.volume.steps),
        "slices": chosen.slices,
        "device": chosen.device,
        "memory_mb": round(chosen.bytes / 1e6),
        "output": str(target),
    }
    if as_json:
        console.as_json({**facts, "settings": settings})
        return
    console.result(repr(scan))
    console.result("\n".join(f"{name:<11}{value}" for name, value in facts.items()))


def _reconstruct(scan: Any, settings: dict[str, dict[str, Any]], stages: Any, *, quiet: bool) -> Any:
    from rayfold.recon.methods import reconstruct
    from rayfold.recon.preprocess import prepare

    how, before = settings["recon"], settings["preprocess"]
    with stages("preprocess"):
        find = settings["input"]["center"] == "auto"
        scan = prepare(
            scan, zingers=before["zingers"], rings=before["rings"], center="auto" if find else None
        )
    with stages("reconstruct"):
        image = reconstruct(
            scan,
            how["method"],
            grid=how["grid"],
            spacing=how["spacing"],
            iterations=how["iterations"],
            window=how["filter"],
            cutoff=how["cutoff"],
            nonnegative=how["nonnegative"],
            device=how["device"],
            progress=console.progress(how["method"], quiet=quiet),
        )
    if settings["output"]["hu"]:
        image = image.to_hu(scan.mu_water)
    return image


def _write(image: Any, scan: Any, settings: dict[str, Any], folder: Path, source: Path, stages: Any) -> None:
    from dataclasses import replace

    from rayfold.recon import plot
    from rayfold.recon.io import save
    from rayfold.recon.provenance import provenance, write_json
    from rayfold.recon.report import write_report

    record = provenance(configuration=settings, inputs=[source], timings=stages.seconds)
    record["scan"] = {"format": scan.source, "beam": repr(scan.beam), "kind": scan.kind, "unit": scan.unit}
    record["steps"], record["notes"] = image.provenance["steps"], image.provenance["notes"]
    image = replace(image, provenance=record)
    with stages("write"):
        save(image, folder / "image.nii.gz")
        for kind in settings["output"]["save"]:
            save(image, folder / EXTRA[kind])
        save(image, folder / "preview.png")
    record["seconds"] = {stage: round(s, 3) for stage, s in stages.seconds.items()}
    write_json(folder / "provenance.json", record)
    write_report(
        folder / "report.html",
        title=f"Reconstruction of {source.name}",
        images={"Image": plot.image(image), "Measured data": plot.sinogram(scan)},
        facts={
            "Method": settings["recon"]["method"],
            "Size": " x ".join(map(str, image.shape)),
            "Pixel": " x ".join(f"{s:.4g}" for s in image.spacing)
            + (" px" if image.unit == "1/px" else " mm"),
            "Unit": image.unit,
            "Preprocessing": ", ".join(record["steps"]) or "none needed",
            **{f"Note {i}": note for i, note in enumerate(record["notes"], 1)},
        },
        provenance=record,
    )
