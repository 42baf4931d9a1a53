"""The README's table on the prior: what it reaches beside what it was to reach, from `prior_quality.json`."""

from __future__ import annotations

from typing import Any


def prior(results: dict[str, Any]) -> str:
    """The table as Markdown, every line of every task that has been run."""
    machine = results["machine"]
    entries = [e for task in results["tasks"].values() for e in task["entries"]]
    weights = ", ".join(
        sorted({str(task["weights"]).rsplit("/", 1)[-1] for task in results["tasks"].values()})
    )
    reached = sum(e["reached"] for e in entries)
    lines = [
        f"The prior ({weights}) on measured scans and on families it never saw",
        f"(`benchmarks/prior_quality.py`, {machine['cpu']}): {reached} of {len(entries)} targets reached.",
        "Total variation, filtered back-projection and conjugate gradients have the setting that scores best",
        "with the truth in view; the prior runs once. In brackets the 95 % confidence interval over images,",
        "where there are several.",
        "",
        "| | target | measured | images | reached |",
        "|---|---|---|---|---|",
    ]
    for e in entries:
        sign = "≤" if e["sense"] == "at most" else "≥"
        target = f"{sign} {e['target']:g} {e['unit']}".strip() + (f" ({e['goal']})" if "goal" in e else "")
        cell = " ".join(filter(None, (_number(e["value"]), e["unit"], _interval(e["interval"]))))
        lines.append(f"| {e['what']} | {target} | {cell} | {e['n']} | {'yes' if e['reached'] else 'no'} |")
    return "\n".join(lines)


def _number(value: float) -> str:
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.0e}"


def _interval(bounds: list[float] | None) -> str:
    return "" if bounds is None else f"({bounds[0]:.2f} to {bounds[1]:.2f})"
