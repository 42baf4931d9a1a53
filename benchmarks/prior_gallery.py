"""The cases in which the prior does worst: truth, what the data alone give, the prior, its error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prior_cases import OURS, Case

Array = Any
ROWS, SIDE = 10, 192
COLUMNS = ("truth", "data", OURS, "error")


def worst(cases: list[Case], n: int = ROWS) -> list[Case]:
    """Cases with pictures, by their score above the best other method, the lowest first."""
    shown = [case for case in cases if case.pictures and OURS in case.scores and len(case.scores) > 1]

    def margin(case: Case) -> float:
        return case.gain([name for name in case.scores if not name.startswith(OURS)])

    return sorted(shown, key=margin)[:n]


def small(image: Array) -> Array:
    """Means of boxes, so that no side is above `SIDE` by much."""
    factor = max(1, max(image.shape) // SIDE)
    ny, nx = (n // factor * factor for n in image.shape)
    boxes = np.abs(image)[:ny, :nx].astype(np.float32)
    return boxes.reshape(ny // factor, factor, nx // factor, factor).mean((1, 3))


def gallery(cases: list[Case], path: Path) -> None:
    """Write the PNG; errors are shown ten times as strong."""
    import matplotlib.figure

    chosen = worst(cases)
    if not chosen:
        return
    figure = matplotlib.figure.Figure(figsize=(6.4, 1.75 * len(chosen)), dpi=80)
    axes = figure.subplots(len(chosen), len(COLUMNS), squeeze=False)
    for row, case in zip(axes, chosen, strict=True):
        truth, made = (np.abs(np.asarray(case.pictures[k], np.float32)) for k in ("truth", OURS))
        top = float(np.quantile(truth, 0.998)) or 1.0
        error = 10 * np.abs(made - truth)
        for axis, name in zip(row, COLUMNS, strict=True):
            image = error if name == "error" else case.pictures[name]
            axis.imshow(small(np.asarray(image)), cmap="gray", vmin=0, vmax=top, interpolation="nearest")
            axis.set_axis_off()
        best = max((k for k in case.scores if not k.startswith(OURS)), key=lambda k: case.scores[k])
        row[0].set_title(f"{case.image}, {case.setting}", fontsize=6, loc="left")
        row[2].set_title(f"{case.scores[OURS]:.2f} ({best} {case.scores[best]:.2f})", fontsize=6, loc="left")
        row[3].set_title("error x 10", fontsize=6, loc="left")
    figure.tight_layout(pad=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
