"""`rayfold demo`: from simulated raw data to images, pictures and a report, without any download."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from rayfold.recon.cli import console

VIEWS, COLS, PHOTONS, GRID = 120, 512, 2e4, 384
RUNS = {
    "fbp, ram-lak": {"method": "fbp"},
    "fbp, hann": {"method": "fbp", "window": "hann", "cutoff": 0.8},
    "cgls, 8 steps": {"method": "cgls", "iterations": 8},
    "sirt, 60 steps": {"method": "sirt", "iterations": 60},
}


def command(args: argparse.Namespace) -> None:
    """Simulate a low-dose sparse-view fan-beam scan, reconstruct it in four ways, and compare."""
    target = Path(args.output or "rayfold-demo")
    names = (
        "scan.h5",
        "truth.nii.gz",
        "image.nii.gz",
        "comparison.png",
        "dicom",
        "provenance.json",
        "report.html",
    )
    from rayfold.recon.io.results import result_folder

    started = time.perf_counter()
    with result_folder(target, names=names, force=args.force) as part:
        rows = _run(part, args)
    seconds = time.perf_counter() - started
    if args.json:
        console.as_json(
            {"output": str(target), "files": sorted(names), "results": rows, "seconds": round(seconds, 1)}
        )
        return
    console.say(f"\n{console.table(rows)}\n", quiet=args.quiet)
    console.say(f"done in {seconds:.1f} s; open {target}/report.html", quiet=args.quiet)
    console.result(str(target))


def _run(folder: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    from rayfold.operators import FanBeam, covering
    from rayfold.operators.noise import PoissonTransmission
    from rayfold.recon import phantoms, plot
    from rayfold.recon.io import load, write_scan
    from rayfold.recon.methods import reconstruct
    from rayfold.recon.metrics import psnr, ssim
    from rayfold.recon.provenance import Stages
    from rayfold.recon.simulation import simulate

    stages = Stages()
    console.say(f"simulating {VIEWS} views of a thorax at {PHOTONS:g} photons per pixel", quiet=args.quiet)
    with stages("simulate"):
        beam = FanBeam.evenly(VIEWS, COLS, pitch=1.45, source_to_axis=595.0, source_to_detector=1085.6)
        table = phantoms.thorax_table(args.seed)
        noise = PoissonTransmission(PHOTONS, electronic=5.0)
        scan = simulate(
            table, beam, noise, seed=args.seed, mu_water=phantoms.MU_WATER, name="simulated thorax"
        )
        write_scan(folder / "scan.h5", scan)
    raw: Any = load(folder / "scan.h5")
    spacing = 2 * beam.half_width / GRID
    truth = phantoms.ellipses(covering(beam, n=GRID, spacing=spacing), table).to_hu(phantoms.MU_WATER)
    images = {"truth": truth}
    rows: list[dict[str, Any]] = []
    for name, options in RUNS.items():
        with stages(name), console.progress(name, quiet=args.quiet) as update:
            image = reconstruct(raw, grid=GRID, spacing=spacing, progress=update, **options)  # type: ignore[arg-type]
        image = image.to_hu(phantoms.MU_WATER)
        images[name] = image
        inside = {"data_range": 2000.0}
        rows.append(
            {
                "method": name,
                "PSNR": round(psnr(image.array, truth.array, **inside), 2),
                "SSIM": round(ssim(image.array, truth.array, **inside), 4),
                "seconds": round(stages.seconds[name], 2),
            }
        )
    best = str(max(rows, key=lambda row: row["PSNR"])["method"])
    window = (-1000.0, 500.0)
    figures = {
        "Reconstructions and their errors": plot.compare(
            images, reference="truth", window=window, data_range=2000.0
        ),
        "Raw data": plot.sinogram(raw),
    }
    _write(folder, images, best, rows, figures, stages, args.seed)
    return rows


def _write(
    folder: Path,
    images: dict[str, Any],
    best: str,
    rows: list[dict[str, Any]],
    figures: dict[str, Any],
    stages: Any,
    seed: int,
) -> None:
    from dataclasses import replace

    from rayfold.recon.io import save
    from rayfold.recon.panels import png
    from rayfold.recon.provenance import provenance, write_json
    from rayfold.recon.report import write_report

    configuration = {
        "views": VIEWS,
        "cols": COLS,
        "photons": PHOTONS,
        "grid": GRID,
        "runs": RUNS,
        "saved": best,
    }
    record = provenance(
        configuration=configuration,
        inputs=[folder / "scan.h5"],
        timings=stages.seconds,
        seeds={"noise": seed, "phantom": seed},
    )
    image = replace(images[best], provenance=record)
    save(images["truth"], folder / "truth.nii.gz")
    save(image, folder / "image.nii.gz")
    save(image, folder / "dicom")
    (folder / "comparison.png").write_bytes(png(next(iter(figures.values()))))
    write_json(folder / "provenance.json", record)
    write_report(
        folder / "report.html",
        title="A low-dose, sparse-view scan",
        images=figures,
        tables=[("Quality against the truth (data range 2000 HU)", rows)],
        facts={
            "Views": VIEWS,
            "Photons per pixel": f"{PHOTONS:g}",
            "Beam": "fan, flat detector",
            "Saved as image": best,
        },
        provenance=record,
    )
