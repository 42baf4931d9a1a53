"""What a training leaves beside its weights: losses as a table and as curves, the machine."""

from __future__ import annotations

import csv
import os
import platform
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.atomic import atomic_file

TASKS = ("denoise", "ct", "mri", "superresolution")
COLUMNS = ("step", *TASKS, "seconds")
NAMES = {"denoise": "noise removal", "ct": "CT", "mri": "MRI", "superresolution": "super-resolution"}
Row = tuple[float, ...]


def write_losses(path: Path, rows: Sequence[Row]) -> None:
    """Losses in decibels by task and step, and seconds since the start, as CSV; empty where not seen."""
    with atomic_file(path, force=True) as part, part.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for step, *losses, seconds in rows:
            texts = ["" if np.isnan(v) else f"{v:.4f}" for v in losses]
            table.writerow([int(step), *texts, f"{seconds:.2f}"])


def read_losses(path: Path, steps: int) -> list[Row]:
    """The first `steps` rows of such a table.

    Raises
    ------
    UnreadableInput
        If it cannot be read.
    InconsistentInput
        If it is no such table, or shorter.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *lines = csv.reader(file)
        rows = [tuple(float(text) if text else float("nan") for text in line) for line in lines]
    except OSError as error:
        raise UnreadableInput(f"{path} cannot be read: {error.strerror}; train without --resume") from error
    except ValueError as error:
        raise InconsistentInput(f"{path} is no table of losses; train without --resume") from error
    if tuple(head) != COLUMNS or len(rows) < steps:
        raise InconsistentInput(f"{path} does not belong to a training of {steps} steps; begin again")
    return rows[:steps]


def means(rows: Sequence[Row], last: int = 200) -> dict[str, float]:
    """Mean loss in decibels by task, over the last of the steps that saw it.

    Examples
    --------
    >>> nan = float("nan")
    >>> means([(1, -3.0, nan, nan, nan, 0.1), (2, -5.0, nan, nan, nan, 0.2)])
    {'denoise': -4.0}
    """
    found = {}
    for k, task in enumerate(TASKS, 1):
        seen = [row[k] for row in rows if not np.isnan(row[k])][-last:]
        if seen:
            found[task] = round(float(np.mean(seen)), 3)
    return found


def curves(rows: Sequence[Row]) -> Any:
    """A figure of the losses by task: each step faint, their running median strong."""
    from scipy.ndimage import median_filter

    from rayfold.recon.panels import blank

    figure = blank(7.0, 3.6)
    axes = figure.add_axes((0.1, 0.14, 0.87, 0.81))
    table = np.array(rows, np.float64).reshape(-1, len(COLUMNS))
    lowest: list[float] = []
    for k, task in enumerate(TASKS, 1):
        seen = ~np.isnan(table[:, k])
        if not seen.any():
            continue
        steps, loss = table[seen, 0], table[seen, k]
        smooth = median_filter(loss, size=2 * (len(loss) // 40) + 1, mode="nearest")
        axes.plot(steps, loss, ".", color=f"C{k - 1}", alpha=0.12, markersize=2, markeredgewidth=0)
        axes.plot(steps, smooth, color=f"C{k - 1}", label=f"{NAMES[task]}, {smooth[-1]:.2f} dB")
        lowest += [float(np.percentile(loss, q)) for q in (1, 99)]
    axes.set_xlabel("step")
    axes.set_ylabel("error in dB")
    if lowest:
        margin = 0.05 * (max(lowest) - min(lowest)) + 0.1
        axes.set_ylim(min(lowest) - margin, max(lowest) + margin)
        axes.legend(frameon=False, fontsize=8)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return figure


def hardware(device: Any) -> str:
    """Processor or GPU, without the name of the machine."""
    import torch

    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{model}, {torch.get_num_threads()} of {os.cpu_count()} threads"
