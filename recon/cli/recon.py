"""`rayfold recon`: a raw scan in, a folder with image, preview, provenance and report out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console
from rayfold.recon.cli.info import is_image
from rayfold.recon.cli.settings import check_method, load_options, resolve
from rayfold.recon.errors import UnreadableInput

RESULTS = ("image.nii.gz", "preview.png", "provenance.json", "report.html")
EXTRA = {"dicom": "dicom", "tiff": "image.tif", "h5": "image.h5"}
Settings = dict[str, dict[str, Any]]


def command(args: argparse.Namespace) -> None:
    """Reconstruct one scan."""
    settings = resolve(args)
    source = Path(args.file)
    target = Path(args.output or f"{source.name.split('.')[0]}-rayfold")
    names = (*RESULTS, *(EXTRA[kind] for kind in settings["output"]["save"]))

    from rayfold.recon.io.results import refuse_existing, require_space, result_folder
    from rayfold.recon.kspace import KSpace
    from rayfold.recon.methods import plan
    from rayfold.recon.provenance import Stages

    if not args.dry_run:  # before anything is read, not after an hour
        refuse_existing(target, names=names, force=args.force)
    stages = Stages()
    with stages("load"):
        scan = _load(source, settings)
    if isinstance(scan, KSpace):
        from rayfold.recon.cli.recon_mri import command as mri

        mri(args, scan, settings, target, source, stages)
        return
    _refuse_mri_settings(settings)
    settings["recon"]["method"] = settings["recon"]["method"] or "fbp"
    check_method(settings["recon"], args)
    keys = ("method", "grid", "spacing", "iterations", "device")
    chosen = plan(scan, **{key: settings["recon"][key] for key in keys})
    _check_hu(scan, settings)
    if args.dry_run:
        _show_plan(scan, chosen, settings, target, names, as_json=args.json)
        return
    _check_memory(chosen)
    console.say(repr(scan), quiet=args.quiet)
    with result_folder(target, names=names, force=args.force) as part:
        image, evidence = _reconstruct(scan, settings, stages, args)
        require_space(part, image.array.nbytes * (1 + len(settings["output"]["save"])))
        _write(image, evidence, scan, settings, part, source, stages)
    for note in image.provenance["notes"]:
        if note not in scan.notes:  # those were said with the scan
            console.say(f"  note      {note}", quiet=args.quiet)
    if evidence is not None:
        for line in evidence[0].summary().split("\n"):
            console.say(f"  evidence  {line}", quiet=args.quiet)
    if args.json:
        console.as_json(
            {
                "certificate": None if evidence is None else evidence[0].as_dict(),
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


def _load(source: Path, settings: Settings) -> Any:
    from rayfold.recon.io import load
    from rayfold.recon.kspace import KSpace

    stated = settings["input"]["geometry"] is not None
    if source.exists() and not stated and source.suffix.lower() not in (".tif", ".tiff") and is_image(source):
        raise UnreadableInput(
            f"{source.name} is a finished image, not raw data; look at it with rayfold view"
        )
    scan = load(source, **load_options(settings["input"]))
    if isinstance(scan, KSpace):
        return scan
    column = settings["input"]["center"]
    if column not in (None, "auto") and not 0 <= float(column) <= scan.n_cols - 1:
        raise ValueError(f"--center {column} is off the detector; give a column from 0 to {scan.n_cols - 1}")
    return scan


def _refuse_mri_settings(settings: Settings) -> None:
    if settings["output"]["part"] != "magnitude":
        raise ValueError("--part is for MRI; this is a CT scan, whose images are real")


def _check_hu(scan: Any, settings: Settings) -> None:
    if not settings["output"]["hu"]:
        return
    missing = {
        "no pixel size (add --pixel-size MM)": scan.unit == "px",
        "no attenuation of water (add --mu-water PER_MM, about 0.02)": not scan.mu_water,
    }
    lacks = [text for text, is_missing in missing.items() if is_missing]
    if lacks:
        raise ValueError(
            f"--hu needs attenuation in 1/mm and that of water; the scan states {' and '.join(lacks)}"
        )


def _check_memory(chosen: Any) -> None:
    """Refuse what cannot fit: a process that swaps or is killed helps nobody."""
    from rayfold.recon.cli.memory import available

    free = available()
    if free is not None and chosen.bytes > free:
        raise MemoryError(f"this needs about {chosen.bytes / 1e9:.1f} GB and {free / 1e9:.1f} GB are free")


def _show_plan(
    scan: Any, chosen: Any, settings: Settings, target: Path, names: tuple[str, ...], *, as_json: bool
) -> None:
    facts = {
        "method": chosen.method,
        "iterations": chosen.iterations,
        "grid": list(chosen.volume.shape),
        "spacing": list(chosen.volume.steps),
        "slices": chosen.slices,
        "device": chosen.device,
        "memory_mb": round(chosen.bytes / 1e6),
        "output": str(target),
        "replaces": [name for name in names if (target / name).exists()],
    }
    if as_json:
        console.as_json({**facts, "settings": settings})
        return
    unit = scan.unit
    console.result(repr(scan))
    lines = {
        "method": f"{chosen.method}, {chosen.iterations} steps" if chosen.iterations else chosen.method,
        "grid": f"{' x '.join(map(str, chosen.volume.shape))} pixels of {chosen.volume.steps[0]:.6g} {unit}",
        "slices": chosen.slices,
        "device": chosen.device,
        "memory": f"about {max(1, facts['memory_mb'])} MB",
        "output": f"{target}: {', '.join(names)}",
    }
    if facts["replaces"]:
        lines["exists"] = f"{', '.join(facts['replaces'])} (needs --force)"
    console.result("\n".join(f"  {name:<9} {value}" for name, value in lines.items()))


def _reconstruct(scan: Any, settings: Settings, stages: Any, args: argparse.Namespace) -> tuple[Any, Any]:
    from rayfold.recon.methods import reconstruct
    from rayfold.recon.preprocess import prepare

    how, before = settings["recon"], settings["preprocess"]
    with stages("preprocess"):
        find = settings["input"]["center"] == "auto"
        scan = prepare(
            scan, zingers=before["zingers"], rings=before["rings"], center="auto" if find else None
        )
    with stages("reconstruct"), console.progress(how["method"], quiet=args.quiet or args.verbose) as progress:
        image = reconstruct(
            scan,
            how["method"],
            grid=how["grid"],
            spacing=how["spacing"],
            iterations=how["iterations"],
            window=how["filter"],
            cutoff=how["cutoff"],
            nonnegative=how["nonnegative"],
            strength=how["strength"],
            prior=how["weights"],
            precision=how["precision"],
            thorough=how["thorough"],
            device=how["device"],
            verbose=args.verbose,
            progress=progress,
        )
    evidence = None
    if settings["output"]["certificate"]:
        from rayfold.recon.evidence import certify_scan

        with stages("certificate"):
            evidence = certify_scan(scan, image, learned=how["method"] == "prior")
    if settings["output"]["hu"]:
        image = image.to_hu(scan.mu_water)
    return image, evidence


def _inputs(source: Path, settings: Settings) -> list[Path]:
    """The scan and the geometry beside it: both decide what the image is."""
    stated = settings["input"]["geometry"]
    if stated is None:
        beside = (source.with_suffix(".toml"), source.with_name(f"{source.name}.toml"))
        return [source, *[path for path in beside if path.is_file()][:1]]
    return [source] if isinstance(stated, dict) else [source, Path(stated)]


def _maps(image: Any, evidence: Any) -> dict[str, Any]:
    """The certificate's maps as figures, of the middle slice that was certified."""
    from rayfold.recon import plot
    from rayfold.recon.data import Image

    certificate, slices = evidence
    drawn = {}
    for caption, values in certificate.figures().items():
        plane = values if values.ndim == 2 else values[len(slices) // 2]
        where = "" if values.ndim == 2 else f", slice {slices[len(slices) // 2]}"
        unit = "1/px" if image.unit == "1/px" else "1/mm"
        drawn[f"{caption}{where}"] = plot.image(Image(plane, image.spacing[-2:], unit=unit))
    return drawn


def prior_facts(record: dict[str, Any]) -> dict[str, str]:
    """Which weights made the image, for the report."""
    used = record.get("prior")
    if used is None:
        return {}
    digest = f", SHA-256 {used['sha256'][:12]}..." if used.get("sha256") else ""
    return {"Prior": f"{used['weights']}{digest}", "Strength": f"{used['strength']:g}"}


def _write(
    image: Any, evidence: Any, scan: Any, settings: Settings, folder: Path, source: Path, stages: Any
) -> None:
    from dataclasses import replace

    from rayfold.recon import plot
    from rayfold.recon.io import save
    from rayfold.recon.provenance import provenance, write_json
    from rayfold.recon.report import write_report

    record = provenance(configuration=settings, inputs=_inputs(source, settings), timings=stages.seconds)
    record["scan"] = {"format": scan.source, "beam": repr(scan.beam), "kind": scan.kind, "unit": scan.unit}
    record["steps"], record["notes"] = image.provenance["steps"], image.provenance["notes"]
    record |= {key: image.provenance[key] for key in ("prior",) if key in image.provenance}
    record["image"] = {"shape": image.shape, "spacing": image.spacing, "unit": image.unit}
    if evidence is not None:
        record["certificate"] = {**evidence[0].as_dict(), "slices": list(evidence[1])}
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
        images={
            "Image": plot.image(image),
            **(_maps(image, evidence) if evidence is not None else {}),
            "Measured data": plot.sinogram(scan),
        },
        tables=evidence[0].tables() if evidence is not None else (),
        facts={
            "Method": settings["recon"]["method"],
            "Size": " x ".join(map(str, image.shape)),
            "Pixel": " x ".join(f"{s:.4g}" for s in image.spacing)
            + (" px" if image.unit == "1/px" else " mm"),
            "Unit": image.unit,
            **prior_facts(record),
            "Preprocessing": ", ".join(record["steps"]) or "none needed",
            **{f"Note {i}": note for i, note in enumerate(record["notes"], 1)},
            **(evidence[0].facts() if evidence is not None else {}),
        },
        provenance=record,
    )
