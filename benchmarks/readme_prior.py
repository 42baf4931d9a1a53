"""The README's table on the prior: what it reaches beside what it was to reach, from `prior_quality.json`."""

from __future__ import annotations

from typing import Any

from benchmarks.prior_cases import OURS

WORST, PER_MATTHEWS = 10, 50.0


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
        cell = " ".join(filter(None, (_number(e["value"], e["unit"]), e["unit"], _interval(e["interval"]))))
        earlier = f" (measured at {e['commit'][:7]})" if e.get("commit") else ""
        lines.append(
            f"| {e['what']}{earlier} | {target} | {cell} | {e['n']} | {'yes' if e['reached'] else 'no'} |"
        )
    return "\n".join([*lines, "", *worst(results)])


def worst(results: dict[str, Any], n: int = WORST) -> list[str]:
    """The cases in which the prior is furthest behind the best other method, one per task and image.

    Pictures of them: ``python -m benchmarks.prior_quality --worst FILE.png``.
    """
    found: dict[tuple[str, str], tuple[float, str, str, dict[str, float]]] = {}
    for task, held in results["tasks"].items():
        for case in held["cases"] if task != "nulls" else ():
            scores = case["scores"]
            others = {k: v for k, v in scores.items() if not k.startswith(OURS)}
            if OURS not in scores or not others or case["setting"].startswith("soft kernel"):
                continue  # no score that others have as well
            loss = max(others.values()) - scores[OURS]
            loss = loss * PER_MATTHEWS if task == "limited" else loss
            key = task, case["image"]
            if key not in found or loss > found[key][0]:
                found[key] = loss, max(others, key=lambda k: others[k]), case["setting"], scores
    lines = [
        f"Where it fails: the {n} cases furthest behind the best other method, one for each image and task",
        "(PSNR in dB; limited angle: Matthews correlation, of which 0.01 counts as 0.5 dB here).",
        "",
        "| image | setting | prior | best other |",
        "|---|---|---|---|",
    ]
    order = sorted(found.items(), key=lambda item: -item[1][0])[:n]
    for (_, image), (_, other, setting, scores) in order:
        lines.append(f"| {image} | {setting} | {scores[OURS]:.2f} | {scores[other]:.2f} ({other}) |")
    return lines


def _number(value: float, unit: str) -> str:
    if not unit and abs(value) >= 0.01:  # correlations: two decimals would hide a miss of 0.9
        return f"{value:.3f}"
    return f"{value:.2f}" if value == 0 or abs(value) >= 0.01 else f"{value:.0e}"


def _interval(bounds: list[float] | None) -> str:
    return "" if bounds is None else f"({bounds[0]:.2f} to {bounds[1]:.2f})"
