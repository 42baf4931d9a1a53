"""`rayfold recon` of k-space: every image of the scan, with preview, provenance and report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console

COMMON = ("preview.png", "provenance.json", "report.html")
SUFFIX = {"nifti": ".nii.gz", "tiff": ".tif", "h5": ".h5"}
CT_ONLY = {
    "preprocess": ("zingers", "rings"),
    "recon": ("filter", "cutoff", "grid", "spacing"),
    "output": ("hu",),
}
SHOWN = 6  # images in the report
SHOWN = 6  # images in the report
CERTIFIED = 3  # images: the evidence of one costs as much as a short reconstruction
Settings = dict[str, dict[str, Any]]


def command(
    args: argparse.Namespace, scan: Any, settings: Settings, target: Path, source: Path, stages: Any
) -> None:
    """Reconstruct one MRI scan that was loaded."""
    from rayfold.recon.io.results import refuse_existing, require_space, result_folder
    from rayfold.recon.mri.methods import check_method, default_method

    _refuse_ct_settings(settings, args)
    how, out = settings["recon"], settings["output"]
    how["method"] = how["method"] or default_method(scan)
    check_method(scan, how["method"])
    names = _names(scan, out["save"])
    if args.dry_run:
        _show_plan(scan, settings, target, names, as_json=args.json)
        return
    refuse_existing(target, names=names, force=args.force)
    console.say(repr(scan), quiet=args.quiet)
    with result_folder(target, names=names, force=args.force) as part:
        made, evidence = _reconstruct(scan, settings, stages, args)
        require_space(part, made.series.array.nbytes * (1 + len(out["save"])))
        _write(made, evidence, scan, settings, part, source, stages)
    notes = made.series.provenance["notes"]
    for note in notes:
        if note not in scan.notes:
            console.say(f"  note      {note}", quiet=args.quiet)
    for name, certificate in evidence:
        for line in certificate.summary().split("\n"):
            prefix = f"{name}: " if len(evidence) > 1 else ""
            console.say(f"  evidence  {prefix}{line}", quiet=args.quiet)
    if args.json:
        console.as_json(
            {
                "certificates": {name: each.as_dict() for name, each in evidence},
                "output": str(target),
                "files": sorted(names),
                "axes": list(made.series.axes),
                "shape": list(made.series.shape),
                "spacing": list(made.series.spacing),
                "method": made.method,
                "notes": notes,
                "seconds": {k: round(v, 3) for k, v in stages.seconds.items()},
            }
        )
    else:
        console.say(f"{made.series}", quiet=args.quiet)
        console.result(str(target))


def _refuse_ct_settings(settings: Settings, args: argparse.Namespace) -> None:
    from rayfold.recon.cli.settings import DEFAULTS

    for section, keys in CT_ONLY.items():
        for key in keys:
            if settings[section][key] != DEFAULTS[section][key]:
                raise ValueError(f"{key} is for CT, and this scan is k-space; leave --{key} out")


def _labels(scan: Any) -> list[str]:
    """Names of the images a scan gives, as `Series.images` forms them."""
    from rayfold.recon.series import labelled

    sizes = {name: scan.size(name) for name in scan.leading if name != "slice"}
    return [f"image_{label}" if label else "image" for label, _ in labelled(sizes)]


def _names(scan: Any, formats: list[str]) -> tuple[str, ...]:
    """Files and folders that will be written."""
    images = _labels(scan)
    return (*(_named(name, kind) for kind in ("nifti", *formats) for name in images), *COMMON)


def _named(image: str, kind: str) -> str:
    """File of an image in a format; a folder for DICOM."""
    return image.replace("image", "dicom") if kind == "dicom" else f"{image}{SUFFIX[kind]}"


def _show_plan(scan: Any, settings: Settings, target: Path, names: tuple[str, ...], *, as_json: bool) -> None:
    from rayfold.recon.mri.methods import MRI_METHODS

    method = settings["recon"]["method"]
    steps = settings["recon"]["iterations"] or MRI_METHODS[method]
    facts = {
        "method": method,
        "iterations": steps,
        "images": len(_labels(scan)),
        "slices": scan.size("slice"),
        "coils": scan.n_coils,
        "output": str(target),
        "files": list(names),
        "replaces": [name for name in names if (target / name).exists()],
    }
    if as_json:
        console.as_json({**facts, "settings": settings})
        return
    lines = {
        "method": f"{method}, {steps} steps" if steps else method,
        "images": f"{facts['images']} of {facts['slices']} slices from {scan.n_coils} coils",
        "output": f"{target}: {', '.join(names)}",
    }
    if facts["replaces"]:
        lines["exists"] = f"{', '.join(facts['replaces'])} (needs --force)"
    console.result(repr(scan))
    console.result("\n".join(f"  {name:<9} {value}" for name, value in lines.items()))


def _reconstruct(scan: Any, settings: Settings, stages: Any, args: argparse.Namespace) -> tuple[Any, Any]:
    from rayfold.recon.mri.methods import solve_kspace

    how = settings["recon"]
    with stages("reconstruct"), console.progress(how["method"], quiet=args.quiet or args.verbose) as progress:
        made = solve_kspace(
            scan,
            how["method"],
            iterations=how["iterations"],
            strength=how["strength"],
            prior=how["weights"],
            precision=how["precision"],
            thorough=how["thorough"],
            device=how["device"],
            verbose=args.verbose,
            progress=progress,
        )
    evidence = []
    if settings["output"]["certificate"] and made.model is not None:
        from rayfold.recon.evidence import certify

        learned = how["method"] == "prior"
        with stages("certificate"):
            for name, index in _picked(made):
                problem, image = made.problem(index)
                evidence.append((name, certify(problem, image, row="coil", learned=learned)))
    return made, evidence


def _picked(made: Any) -> list[tuple[str, tuple[int, ...]]]:
    """The middle slice of the first few images: name and index along the leading axes of the scan."""
    scan = made.model.scan
    middle = scan.size("slice") // 2
    indices = [i for i in made.model.indices() if _at(scan, i, "slice", middle) == middle]
    names = []
    for index in indices[:CERTIFIED]:
        parts = [
            f"{name} {i + 1}" for name, i in zip(scan.leading, index, strict=True) if scan.size(name) > 1
        ]
        names.append(", ".join(parts) or "image")
    return list(zip(names, indices[:CERTIFIED], strict=True))


def _at(scan: Any, index: tuple[int, ...], axis: str, otherwise: int) -> int:
    return index[scan.leading.index(axis)] if axis in scan.leading else otherwise


def _maps(made: Any, certificate: Any) -> dict[str, Any]:
    """The certificate's maps as figures: magnitudes, of the middle plane of a volume."""
    from rayfold.recon import plot
    from rayfold.recon.data import Image

    drawn = {}
    for caption, values in certificate.figures().items():
        plane = values if values.ndim == 2 else values[len(values) // 2]
        drawn[caption] = plot.image(Image(plane, made.series.spacing[-2:], unit="a.u.", modality="MR"))
    return drawn


def _write(
    made: Any, evidence: Any, scan: Any, settings: Settings, folder: Path, source: Path, stages: Any
) -> None:
    from dataclasses import replace

    from rayfold.recon import plot
    from rayfold.recon.cli.recon import prior_facts
    from rayfold.recon.io import save
    from rayfold.recon.provenance import provenance, write_json
    from rayfold.recon.report import write_report

    given = [Path(p) for key in ("sequence", "reference") if (p := settings["input"][key])]
    record = provenance(configuration=settings, inputs=[source, *given], timings=stages.seconds)
    series = made.series
    record["scan"] = {"format": scan.source, "axes": list(scan.axes), "shape": list(scan.data.shape)}
    record["method"] = made.method
    record["steps"], record["notes"] = series.provenance["steps"], series.provenance["notes"]
    record |= {key: series.provenance[key] for key in ("prior",) if key in series.provenance}
    record["image"] = {
        "axes": list(series.axes),
        "shape": list(series.shape),
        "spacing": list(series.spacing),
    }
    if evidence:
        record["certificates"] = {name: each.as_dict() for name, each in evidence}
    series = replace(series, provenance=record)
    part, images = settings["output"]["part"], dict(series.images("magnitude"))
    first = next(iter(images.values()))
    with stages("write"):
        for (_, image), name in zip(series.images(part), _labels(scan), strict=True):
            for kind in ("nifti", *settings["output"]["save"]):
                save(image, folder / _named(name, kind))
        save(first, folder / "preview.png")
    record["seconds"] = {stage: round(s, 3) for stage, s in stages.seconds.items()}
    write_json(folder / "provenance.json", record)
    certificate = evidence[0][1] if evidence else None
    shown = {
        ("Image" if len(images) == 1 else label): plot.image(image)
        for label, image in list(images.items())[:SHOWN]
    }
    write_report(
        folder / "report.html",
        title=f"Reconstruction of {source.name}",
        images={
            **shown,
            **(_maps(made, certificate) if certificate is not None else {}),
            "Measured data": plot.kspace(scan),
        },
        tables=certificate.tables() if certificate is not None else (),
        facts={
            "Method": made.method,
            "Size": " x ".join(f"{n} {name}" for n, name in zip(series.shape, series.axes, strict=True)),
            "Voxel": " x ".join(f"{s:.4g}" for s in series.spacing) + " mm",
            "Saved": part,
            **prior_facts(record),
            "Preprocessing": ", ".join(record["steps"]) or "none needed",
            **{f"Note {i}": note for i, note in enumerate(record["notes"], 1)},
            **(certificate.facts() if certificate is not None else {}),
        },
        provenance=record,
    )
