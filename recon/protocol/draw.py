"""A comparison for the eye: rounded rows, and curves of quality against dose or scan time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rayfold.recon.panels import FAINT, INK, blank

if TYPE_CHECKING:
    from rayfold.recon.protocol.comparison import Comparison

COLOURS = ("#3060a8", "#b0413e", "#2f8f5b", "#8a5fb0", "#c58a2a", "#4aa3b8", "#6e6e73")
LINES = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
MARKS = ("o", "s", "^", "D", "v", "P")
TITLES = {"PSNR": "PSNR in dB", "SSIM": "SSIM", "MTF50": "MTF50 in 1/mm", "d'": "detectability d'"}
WIDTH, HEIGHT, LEFT, GAP, BELOW, ABOVE, LEGEND = 3.0, 2.7, 0.55, 0.55, 0.55, 0.4, 2.3  # inches


def rounded(found: Comparison) -> list[dict[str, Any]]:
    """See `Comparison.table`."""
    digits = {"PSNR": 2, "SSIM": 4}
    rows = []
    for row in found.rows:
        dose = row[found.axis]
        out = {"protocol": row["protocol"], "method": row["method"]}
        out[found.axis] = "" if dose is None else f"{dose:.4g}"
        for name, places in digits.items():
            half = row[f"{name} +-"]
            more = "" if math.isnan(half) else f" ± {half:.{places}f}"
            out[name] = f"{row[name]:.{places}f}{more}"
        if "d'" in row:
            out["MTF50"] = f"{row['MTF50']:.3f}"
            seen, low, high = (row[name] for name in ("d'", "d' low", "d' high"))
            out["d'"] = f"{seen:.2f} ({low:.2f} to {high:.2f})"
        out["seconds"] = f"{row['seconds']:.2f}"
        rows.append(out)
    return rows


def curves(found: Comparison) -> Any:
    """See `Comparison.figure`."""
    names = [name for name in TITLES if name in found.rows[0]]
    width = LEFT + len(names) * (WIDTH + GAP) + LEGEND - GAP / 2
    height = BELOW + HEIGHT + ABOVE
    figure = blank(width, height)
    protocols = list(dict.fromkeys(row["protocol"] for row in found.rows))
    methods = list(dict.fromkeys(row["method"] for row in found.rows))
    for i, name in enumerate(names):
        left = LEFT + i * (WIDTH + GAP)
        axes = figure.add_axes((left / width, BELOW / height, WIDTH / width, HEIGHT / height))
        for a, protocol in enumerate(protocols):
            for b, method in enumerate(methods):
                rows = [r for r in found.rows if (r["protocol"], r["method"]) == (protocol, method)]
                _line(axes, name, found.axis, rows, a, b, f"{protocol}, {method}")
        axes.set_title(TITLES[name], size=9, color=INK, loc="left")
        axes.set_xlabel("relative dose" if found.axis == "dose" else "scan time in s", size=8, color=FAINT)
        axes.tick_params(length=0, labelsize=7, labelcolor=FAINT, which="both")
        axes.grid(color="#e4e4e8", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[:].set_visible(False)
        _scale(axes, [row[found.axis] for row in found.rows])
    handles, labels = axes.get_legend_handles_labels()
    right = (LEFT + len(names) * (WIDTH + GAP) - GAP / 2) / width
    figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(right, 1 - 0.8 * ABOVE / height), frameon=False,
        fontsize=7.5, labelcolor=INK,
    )  # fmt: skip
    return figure


def _line(axes: Any, name: str, axis: str, rows: list[dict[str, Any]], a: int, b: int, label: str) -> None:
    rows = sorted(rows, key=lambda row: row[axis] or 0)
    x = [row[axis] if row[axis] is not None else 1.0 for row in rows]
    y = [row[name] for row in rows]
    if f"{name} +-" in rows[0]:
        half = [row[f"{name} +-"] for row in rows]
        bars: Any = None if any(map(math.isnan, half)) else half
    elif name == "d'":
        bars = [
            [max(row[name] - row["d' low"], 0) for row in rows],
            [max(row["d' high"] - row[name], 0) for row in rows],
        ]
    else:
        bars = None
    axes.errorbar(
        x, y, yerr=bars, label=label, color=COLOURS[b % len(COLOURS)], linestyle=LINES[a % len(LINES)],
        marker=MARKS[a % len(MARKS)], markersize=4, linewidth=1.2, elinewidth=0.8, capsize=2,
    )  # fmt: skip


def _scale(axes: Any, values: list[float | None]) -> None:
    """Logarithmic, with the values themselves as ticks where they are few."""
    known = sorted({float(f"{v:.3g}") for v in values if v is not None})
    if not known:
        axes.set_xticks([])
        return
    axes.set_xscale("log")
    if len(known) <= 6:
        axes.set_xticks(known, [f"{v:g}" for v in known])
        axes.minorticks_off()
    axes.set_xlim(known[0] / 1.3, known[-1] * 1.3)
