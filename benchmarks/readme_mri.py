"""The README's table of measurements on the brain, from `benchmarks/results/mri_brain.json`."""

from __future__ import annotations

from typing import Any

MAIN = "measured maps"
TITLES = {"few lines": "maps from the lines kept", "all lines": "maps from all lines"}


def brain(results: dict[str, Any]) -> str:
    """The table as Markdown: PSNR and SSIM of every method, best settings and defaults of both packages."""
    version = results["machine"]["versions"]["sigpy"]
    lines = [
        "Brain in vivo, 16 channels, 128², from raw data (`benchmarks/mri_brain.py`): PSNR in dB and SSIM of",
        "the magnitude against the combination of all lines. The target's coil maps are measured against the",
        f"body coil, by neither package. Settings of both (SigPy {version}) were searched on this scan: best",
        "is what a package can reach, default is what comes out without a choice.",
        "",
        "| | SigPy, best | rayfold, best | rayfold, default |",
        "|---|---|---|---|",
    ]
    for mask, maps in results["results"].items():
        for calibration, sides in maps.items():
            if not {"sigpy", "rayfold"} <= set(sides):
                continue
            kept = f"{mask} lines, R = {results['acceleration'][mask]:.2f}"
            lines.append(f"| *{kept}, {TITLES[calibration]}* | | | |")
            ours, theirs = (sides[name]["methods"] for name in ("rayfold", "sigpy"))
            lines += [
                f"| {name} | {_cell(theirs[name]['best'])} | {_cell(row['best'])} | {_cell(row['default'])} |"
                for name, row in ours.items()
            ]
    return "\n".join(lines)


def others(results: dict[str, Any]) -> str:
    """By how much rayfold's best is above SigPy's against each target, smallest and largest, as a line."""
    gains: dict[str, list[float]] = {}
    for maps in results["results"].values():
        for sides in maps.values():
            if not {"sigpy", "rayfold"} <= set(sides):
                continue
            for method in ("CG-SENSE", "L1-wavelet"):
                ours, theirs = (sides[name]["methods"][method]["best"] for name in ("rayfold", "sigpy"))
                for target in ours:
                    gains.setdefault(target, []).append(ours[target]["psnr"] - theirs[target]["psnr"])
    parts = [f"{min(g):+.1f} to {max(g):+.1f} dB ({target})" for target, g in gains.items()]
    return "CG-SENSE and L1-wavelet, best against best, by target: " + "; ".join(parts) + "."


def _cell(row: dict[str, Any]) -> str:
    one = row[MAIN]
    return "no image" if one["psnr"] is None else f"{one['psnr']:.2f} ({one['ssim']:.3f})"
