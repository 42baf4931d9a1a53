"""Write the README's table of measurements from the committed results: ``python -m benchmarks.readme``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
START, END = "<!-- benchmark table: python -m benchmarks.readme -->", "<!-- end of benchmark table -->"


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


def _ms(row: dict[str, float]) -> str:
    return f"{row['best'] * 1e3:.0f} ms ({row['median'] * 1e3:.0f})"


def main() -> None:
    results = json.loads((ROOT / "benchmarks/results/ct_cpu.json").read_text())
    readme = ROOT / "README.md"
    before, _, rest = readme.read_text().partition(START)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{START}\n{table(results)}\n{END}{after}")


if __name__ == "__main__":
    main()
