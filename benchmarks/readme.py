"""Write the README's table of measurements from the committed results: ``python -m benchmarks.readme``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.readme_mri import brain, others
from benchmarks.readme_prior import prior

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- benchmark table: python -m benchmarks.readme -->", "<!-- end of benchmark table -->"
RESULTS = ROOT / "benchmarks" / "results"
PUBLISHED = {"fbp_first_1000": 24.18, "tv": 27.96, "learned_primal_dual": 32.27}  # Otero Baguer et al., 2020


def table(results: dict[str, Any]) -> str:
    """The table as Markdown."""
    machine, memory = results["machine"], next(v for k, v in results.items() if k.startswith("peak memory"))
    names = sorted(results["forward"], key=lambda name: (name != "rayfold", name))
    versions = {k: v for k, v in machine["versions"].items() if v}
    rows = [
        f"{results['problem']}, float32, parallel beam, {machine['cores']} cores ({machine['cpu']}), one run",
        f"in turns, best of {results['forward']['rayfold']['runs']} with the median in brackets",
        "(`benchmarks/ct_cpu.py`; " + ", ".join(f"{k} {v}" for k, v in versions.items()) + ").",
        "",
        "| | forward | adjoint | slower than rayfold | peak memory, 362² x 1000 views x 513 bins |",
        "|---|---|---|---|---|",
    ]
    for name in names:
        f, a = results["forward"][name], results["adjoint"][name]
        times = f"{f['times_rayfold']:.1f} x forward, {a['times_rayfold']:.1f} x adjoint"
        used = f"{memory[name] / 1000:.2f} GB" if memory.get(name) else "not measured"
        rows.append(f"| {name} | {_ms(f)} | {_ms(a)} | {'' if name == 'rayfold' else times} | {used} |")
    forward, adjoint = (results["batch of 8, per image"][kind] for kind in ("forward", "adjoint"))
    rows += [
        "",
        "scikit-image's back-projection interpolates and is not the adjoint of its forward step; deepinv",
        "finds its adjoint by back-propagation. In a batch of eight an image takes "
        f"{forward['eight'] * 1e3:.0f} ms forward (alone {forward['one'] * 1e3:.0f})",
        f"and {adjoint['eight'] * 1e3:.0f} ms for the adjoint (alone {adjoint['one'] * 1e3:.0f}).",
    ]
    return "\n".join(rows)


def solvers(results: dict[str, Any]) -> str:
    """Steps and seconds to the tolerance, and what a step costs beside A and A.H."""
    races = (results["to the tolerance"], results["to the tolerance, SCICO's environment"])
    lines = [
        f"Total variation by PDHG to {results['tolerance']:g} of the optimum, one operator for all "
        f"({results['problem']}; `benchmarks/solvers_cpu.py`).",
        "Each race ran in turns in its own environment; the peers were tuned over eighteen pairs of steps.",
        "",
        "| | steps | seconds |",
        "|---|---|---|",
    ]
    for i, race in enumerate(races):
        if not isinstance(race, dict) or "rayfold" not in race:
            continue
        for name, row in race.items():
            steps = row["iterations"] or f"over {results['most steps']}"
            where = " (beside SCICO)" if i and name == "rayfold" else ""
            lines.append(f"| {name}{where} | {steps} | {row['median']:.2f} |")
    extra = ", ".join(
        f"{name} {100 * (row['step over A and A.H, median'] - 1):.0f} %"
        for name, row in results["overhead"].items()
    )
    return "\n".join([*lines, "", f"What a step adds to the A and A.H it makes (median): {extra}."])


def quality(dival: dict[str, Any], htc: dict[str, Any]) -> str:
    """Published anchors, and what comes out here."""
    training = dival["learned_primal_dual"]["training"]
    lines = [
        "Published anchors (`benchmarks/dival_ellipses.py`, `benchmarks/htc_limited_angle.py`):",
        "",
        "| dival ellipses, 128², 30 angles, 2.5 % noise | images | published | rayfold |",
        "|---|---|---|---|",
    ]
    names = {
        "fbp_first_1000": "filtered back-projection (Hann)",
        "tv": "total variation",
        "learned_primal_dual": "learned primal-dual",
    }
    for key, name in names.items():
        row = dival[key]
        lines.append(f"| {name} | {row['images']} | {PUBLISHED[key]:.2f} dB | {row['psnr_mean']:.2f} dB |")
    lines += [
        "",
        f"The learned scheme here is a variant trained on {training['images_seen']} images in "
        f"{training['minutes']:.0f} minutes on one CPU thread; the published one had 50 epochs on a GPU.",
        "",
        "| Helsinki challenge, Matthews correlation | 90° | 60° | 30° |",
        "|---|---|---|---|",
    ]
    for disc in dict.fromkeys(row["disc"] for row in htc["rows"]):
        cells = [row for row in htc["rows"] if row["disc"] == disc]
        text = " | ".join(f"{row['matthews']:.3f} ({max(row['published']):.3f})" for row in cells)
        lines.append(f"| {disc} | {text} |")
    lines += [
        "",
        f"In brackets the better of two published entries; mean {htc['means']['rayfold']:.3f} against "
        f"{max(htc['means']['published']):.3f}. No learning; one recipe for all, chosen on these discs.",
    ]
    return "\n".join(lines)


def mri(results: dict[str, Any]) -> str:
    """MRI operators beside other packages; what a tool has not got, or was not there, is left empty."""
    machine = results["machine"]
    race = results["eps 1e-06"]
    versions = {k: v for k, v in (machine["versions"] | results["peers' versions"]).items() if v}
    columns = ("forward", "adjoint", "gram", "sense gram")
    lines = [
        f"{results['problem']}, eps 1e-6 where it can be chosen, {results['threads']} threads "
        f"({machine['cpu']}), in turns, best run, in ms; in brackets the error",
        "against the exact sum (`benchmarks/mri_cpu.py`; "
        + ", ".join(f"{k} {v}" for k, v in versions.items())
        + ").",
        "",
        "| | forward | adjoint | gram | SENSE gram |",
        "|---|---|---|---|---|",
    ]
    last = race["sense gram"]
    names = {name for column in columns for name in race[column]}
    for name in sorted(
        names, key=lambda name: (name != "rayfold", name in last and last[name]["best"], name)
    ):
        cells = []
        for column in columns:
            row = race[column].get(name)
            cells.append(f"{row['best'] * 1e3:.0f} ({row['error']:.0e})" if row else "")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "SENSE takes one image through the coil maps and back; the other columns take fifteen coil images.",
        "mri-nufft's gram is its adjoint after its forward step; MIRTorch has the maps in its operators.",
    ]
    if "parallel-beam CT" in results:
        part = results["parallel-beam CT"]
        rows = part["seconds"]
        gram = rows["rayfold fourier, gram"]
        others = ", ".join(
            f"{name} {row['best'] * 1e3:.0f} ms ({row['times_gram']:.0f} x)"
            for name, row in rows.items()
            if row is not gram
        )
        lines.append(
            f"Parallel-beam CT, {part['problem']}: Toeplitz gram {gram['best'] * 1e3:.1f} ms; {others}."
        )
    if "3D" in results:
        part = results["3D"]
        lines.append(
            f"Conjugate gradients, {part['problem']}: {part['peak MB'] / 1e3:.1f} GB of memory at the peak."
        )
    return "\n".join(lines)


def _ms(row: dict[str, float]) -> str:
    return f"{row['best'] * 1e3:.0f} ms ({row['median'] * 1e3:.0f})"


def main() -> None:
    results, race, dival, htc = (
        json.loads((RESULTS / f"{name}.json").read_text())
        for name in ("ct_cpu", "solvers_cpu", "dival_ellipses", "htc_limited_angle")
    )
    parts = [table(results), solvers(race), quality(dival, htc)]
    if (RESULTS / "mri_cpu.json").exists():
        parts.insert(1, mri(json.loads((RESULTS / "mri_cpu.json").read_text())))
    if (RESULTS / "mri_brain.json").exists():
        measured = json.loads((RESULTS / "mri_brain.json").read_text())
        parts += [brain(measured), others(measured)]
    if (RESULTS / "prior_quality.json").exists():
        parts.append(prior(json.loads((RESULTS / "prior_quality.json").read_text())))
    text = "\n\n".join(parts)
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(START)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{START}\n{text}\n{END}{after}")


if __name__ == "__main__":
    main()
