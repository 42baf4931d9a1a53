"""Image panels on a page: sizes in true proportion, one grey scale per row, restrained type.

Figures are built without pyplot, so drawing changes no global state and needs no display.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import numpy.typing as npt

INK, FAINT = "#1c1c1e", "#6e6e73"
# inches
MARGIN, GAP, TITLE, NOTE, BAR, BAR_ROOM, FOOT = 0.28, 0.16, 0.24, 0.19, 0.075, 0.84, 0.26


@dataclass(frozen=True)
class Panel:
    """One picture: values, pixel size (y, x), the values shown first and last, and what is written above."""

    array: npt.NDArray[Any]
    steps: tuple[float, float]
    low: float
    high: float
    title: str = ""
    note: str = ""
    cmap: str = "gray"
    unit: str = ""
    length: str = "mm"

    @property
    def extent(self) -> tuple[float, float]:
        """Height and width."""
        return self.array.shape[0] * self.steps[0], self.array.shape[1] * self.steps[1]

    @property
    def scale(self) -> tuple[float, float, str]:
        """What makes two panels comparable: first and last value and the colours between."""
        return self.low, self.high, self.cmap


def page(rows: Sequence[Sequence[Panel | None]], *, size: float, foot: str = "") -> Any:
    """Figure with rows of panels, all to one scale.

    Parameters
    ----------
    rows : sequence of sequence of Panel or None
        Every row shares its window; its scale is drawn at the end, once where rows share it too. None leaves
        a place empty.
    size : float
        Inches of the longest side of the largest panel.
    foot : str
        A line below everything.

    Returns
    -------
    matplotlib.figure.Figure
    """
    present = [[panel for panel in row if panel] for row in rows]
    scale = size / max(max(panel.extent) for row in present for panel in row)
    columns = [[panel for panel in column if panel] for column in zip_longest(*rows)]
    widths = [scale * max(panel.extent[1] for panel in column) for column in columns]
    heights = [scale * max(panel.extent[0] for panel in row) for row in present]
    heads = [TITLE * any(p.title for p in row) + NOTE * any(p.note for p in row) for row in present]
    width = 2 * MARGIN + sum(widths) + GAP * (len(columns) - 1) + BAR_ROOM
    height = 2 * MARGIN + sum(heights) + sum(heads) + GAP * (len(rows) - 1) + (FOOT if foot else 0)
    figure = blank(width, height)
    top, scale_above = height - MARGIN, None
    for row, row_height, head in zip(rows, heights, heads, strict=True):
        top -= head
        left = MARGIN
        for panel, column in zip(row, widths, strict=False):
            if panel:
                h, w = (scale * side for side in panel.extent)
                axes = figure.add_axes((left / width, (top - h) / height, w / width, h / height))
                draw(axes, panel)
                _write(figure, left / width, top / height, height, panel, any(p.note for p in row if p))
            left += column + GAP
        end = MARGIN + sum(widths[: len(row)]) + GAP * (len(row) - 1)
        last = [panel for panel in row if panel][-1]
        if last.scale != scale_above:  # rows of one scale need it once
            tall = min(row_height, 1.9)
            box = ((end + 0.12) / width, (top - tall) / height, BAR / width, tall / height)
            _bar(figure.add_axes(box), last)
            scale_above = last.scale
        top -= row_height + GAP
    if foot:
        figure.text(MARGIN / width, (MARGIN * 0.8) / height, foot, size=7, color=FAINT, va="bottom")
    return figure


def blank(width: float, height: float) -> Any:
    """White figure of this many inches that notebooks show by itself."""
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width, height), facecolor="white")

    # Jupyter draws figures of pyplot only; this tells it how to draw any other
    def as_png() -> bytes:
        return png(figure)

    figure._repr_png_ = as_png
    return figure


def png(figure: Any, *, dpi: float = 160) -> bytes:
    """A figure as PNG; the same figure gives the same bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": "rayfold"})
    return stream.getvalue()


def draw(axes: Any, panel: Panel) -> None:
    """One panel into `axes`: true proportions, no ticks, a scale bar."""
    height, width = panel.extent
    axes.imshow(
        panel.array,
        cmap=panel.cmap,
        vmin=panel.low,
        vmax=panel.high,
        extent=(0, width, height, 0),
        aspect="equal",
    )
    axes.set_axis_off()
    _scale_bar(axes, height, width, panel)


def _write(figure: Any, x: float, y: float, height: float, panel: Panel, noted: bool) -> None:
    at = y + 0.06 / height
    if panel.note:
        figure.text(x, at, panel.note, size=7.5, color=FAINT, va="bottom")
    if noted:  # titles of a row stand on one line
        at += NOTE / height
    figure.text(x, at, panel.title, size=9.5, color=INK, va="bottom")


def _scale_bar(axes: Any, height: float, width: float, panel: Panel) -> None:
    """A round length of about a fifth of the width, lower left, readable on black and on white."""
    from matplotlib.patheffects import Normal, Stroke

    if height < 0.15 * width:
        return  # a thin slab leaves no room
    length = round_length(width / 5)
    dark = panel.cmap == "gray"
    colour, halo = ("white", "black") if dark else (INK, "white")
    effects = [Stroke(linewidth=2.6, foreground=halo, alpha=0.45), Normal()]
    x, y = 0.04 * width, height - 0.045 * min(width, height)
    axes.plot([x, x + length], [y, y], color=colour, lw=1.4, path_effects=effects, solid_capstyle="butt")
    text = f"{length:g} {panel.length}"
    gap = 0.015 * min(width, height)
    effects = [Stroke(linewidth=1.6, foreground=halo, alpha=0.45), Normal()]
    axes.text(x, y - gap, text, size=6.5, color=colour, va="bottom", path_effects=effects)


def round_length(length: float) -> float:
    """Largest of 1, 2, 5, 10, 20, ... not above `length`."""
    power = 10.0 ** math.floor(math.log10(length))
    return float(max(step * power for step in (1, 2, 5) if step * power <= length * (1 + 1e-9)))


def _bar(axes: Any, panel: Panel) -> None:
    ramp = np.linspace(1, 0, 256)[:, None]
    axes.imshow(ramp, cmap=panel.cmap, aspect="auto", extent=(0, 1, panel.low, panel.high))
    ends = [panel.low, panel.high]
    ticks = [ends[0], 0.0, ends[1]] if panel.cmap != "gray" and ends[0] < 0 < ends[1] else ends
    axes.set_xticks([])
    unit = panel.unit.removeprefix("1") if panel.unit.startswith("1/") else panel.unit
    axes.set_yticks(ticks, [*map(number, ticks[:-1]), f"{number(ticks[-1])} {unit}".rstrip()])
    axes.yaxis.tick_right()
    axes.tick_params(length=0, labelsize=7, labelcolor=FAINT, pad=3)
    axes.spines[:].set_visible(False)


def number(value: float) -> str:
    """Three significant digits and a true minus sign."""
    text = f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return text.replace("-", "\N{MINUS SIGN}")
