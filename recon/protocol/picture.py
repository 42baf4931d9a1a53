"""Pictures of protocols: rays or samples, and what happens when."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rayfold.recon.panels import FAINT, INK, blank
from rayfold.recon.protocol.ct import CTProtocol

if TYPE_CHECKING:
    from rayfold.recon.protocol.mri import MRIProtocol

BLUE, RED = "#3060a8", "#b0413e"
RAYS = 9  # drawn of a view
SIZE, ROOM, HEAD, LINE = 3.6, 0.6, 0.55, 3.4  # inches


def picture(protocol: Any) -> Any:
    """See `Protocol.picture`."""
    width, height = ROOM + SIZE + ROOM + LINE + 0.35, HEAD + SIZE + ROOM
    figure = blank(width, height)

    def place(x: float, y: float, w: float, h: float) -> Any:
        axes = figure.add_axes((x / width, y / height, w / width, h / height))
        axes.tick_params(length=0, labelsize=7, labelcolor=FAINT)
        axes.spines[:].set_visible(False)
        return axes

    left, right = place(ROOM, ROOM, SIZE, SIZE), ROOM + SIZE + ROOM
    if isinstance(protocol, CTProtocol):
        note = _geometry(left, protocol)
        _turn(place(right, ROOM, LINE, SIZE - 0.15), protocol)
    else:
        note = _sampling(left, protocol)
        _order(place(right, ROOM, LINE, 1.35), protocol)
        _sequence(place(right, ROOM + 2.1, LINE, 1.35), protocol)
    title = protocol.name or f"{protocol.modality} protocol"
    figure.text(ROOM / width, 1 - 0.3 / height, title, size=10.5, color=INK)
    figure.text(1 - 0.35 / width, 1 - 0.3 / height, note, size=8, color=FAINT, ha="right")
    return figure


def _geometry(axes: Any, p: CTProtocol) -> str:
    """Field of view, where the source (or the beam's direction) goes, one view's rays and detector."""
    from matplotlib.patches import Circle

    beam = p.beam
    radius = beam.half_width
    axes.add_patch(Circle((0, 0), radius, facecolor="#e9e9ec", edgecolor=FAINT, linewidth=0.6))
    v = beam.vectors
    bins = (np.linspace(0, 1, RAYS) - 0.5) * (p.cols - 1)
    if p.geometry == "parallel":
        away = 1.5 * radius
        ends = v[0, 2:4] + bins[:, None] * v[0, 4:6] + away * v[0, :2]
        starts = ends - 2 * away * v[0, :2]
        places = -away * v[:, :2]
        detector = ends
    else:
        starts = np.broadcast_to(v[0, :2], (RAYS, 2))
        ends = v[0, 2:4] + bins[:, None] * v[0, 4:6]
        if beam.fan_step:
            along = v[0, 2:4] - v[0, :2]
            distance = float(np.hypot(*along))
            turn = bins * beam.fan_step
            across = v[0, 4:6] / np.hypot(*v[0, 4:6]) * distance
            ends = v[0, :2] + np.cos(turn)[:, None] * along + np.sin(turn)[:, None] * across
        places, detector = v[:, :2], ends
    for a, b in zip(starts, ends, strict=True):
        axes.plot([a[0], b[0]], [a[1], b[1]], color=BLUE, linewidth=0.5, alpha=0.7)
    axes.plot(*detector.T, color=BLUE, linewidth=2.2, solid_capstyle="butt")
    shade = np.linspace(0, 1, len(places))
    axes.scatter(*places.T, c=shade, cmap="viridis", s=float(np.clip(900 / len(places), 1.5, 14)), zorder=3)
    reach = 1.06 * max(np.abs(places).max(), np.abs(detector).max(), radius)
    axes.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect="equal")  # rows of images go down
    axes.set_xlabel("x in mm", size=8, color=FAINT, labelpad=1)
    axes.set_ylabel("y in mm", size=8, color=FAINT, labelpad=0)
    axes.locator_params(nbins=5)
    noise = f"{p.photons:.3g} photons" if p.photons is not None else f"{p.noise_percent:g} % noise"
    dose = "" if p.dose is None else f", dose {p.dose:.3g}"
    return f"{p.views} views, {p.cols} bins of {p.pitch_mm:g} mm, {noise}{dose}"


def _turn(axes: Any, p: CTProtocol) -> None:
    """Angle against time, a point per view, and the angles that every line needs."""
    assert p.span_deg is not None
    unit, name = _unit(p.scan_time)
    end = p.scan_time / unit
    time = end * np.arange(p.views) / p.views
    angle = p.start_deg + p.span_deg * np.arange(p.views) / p.views
    size = float(np.clip(900 / p.views, 1.5, 14))
    axes.plot([0, end], [p.start_deg, p.start_deg + p.span_deg], color=FAINT, linewidth=0.4)
    axes.scatter(time, angle, c=np.linspace(0, 1, p.views), cmap="viridis", s=size, zorder=3)
    needed = 180 + math.degrees(getattr(p.beam, "fan_angle", 0.0))
    low, high = p.start_deg, p.start_deg + max(p.span_deg, needed)
    room = 0.06 * (high - low)
    axes.axhline(p.start_deg + needed, color=RED, linewidth=0.7, linestyle=(0, (4, 3)))
    words = f"{needed:.0f}° see every line"
    axes.text(0.02 * end, p.start_deg + needed + 0.15 * room, words, size=7, color=RED)
    axes.set(xlim=(0, 1.02 * end), ylim=(low - 0.4 * room, high + 1.2 * room))
    axes.set_xlabel(f"time in {name}", size=8, color=FAINT, labelpad=1)
    axes.set_title("angle of the views in degrees", size=8, color=FAINT, loc="left", pad=4)


def _unit(time: float) -> tuple[float, str]:
    """In what to show a time in ms."""
    return (1000.0, "s") if time >= 1e4 else (1.0, "ms")


def _sampling(axes: Any, p: MRIProtocol) -> str:
    """The mask in black, or the shots coloured by time."""
    ny, nx = p.matrix
    if p.cartesian:
        half = (-(nx // 2) - 0.5, nx - nx // 2 - 0.5, ny - ny // 2 - 0.5, -(ny // 2) - 0.5)
        shown = np.broadcast_to(p.mask, p.matrix)
        axes.imshow(shown, extent=half, cmap="gray_r", vmin=0, vmax=1, interpolation="antialiased")
        axes.set_xticks([-(nx // 2), 0, nx - nx // 2 - 1])
        axes.set_yticks([-(ny // 2), 0, ny - ny // 2 - 1])
        what = f"R = {p.mask.size / p.mask.sum():.2f}"
    else:
        from matplotlib.collections import LineCollection

        k = p.trajectory
        segments: Any = np.stack([k[:, :-1, ::-1], k[:, 1:, ::-1]], axis=2).reshape(-1, 2, 2)
        thin = float(np.clip(12 / np.sqrt(len(k)), 0.25, 1.1))
        lines = LineCollection(segments, cmap="viridis", linewidths=thin, rasterized=True)
        lines.set_array(np.repeat(np.linspace(0, 1, len(k)), k.shape[1] - 1))
        axes.add_collection(lines)
        edge = 1.04 * np.pi
        axes.set(xlim=(-edge, edge), ylim=(edge, -edge), aspect="equal")
        names = ["\N{MINUS SIGN}π", "0", "π"]
        axes.set_xticks([-np.pi, 0, np.pi], names)
        axes.set_yticks([-np.pi, 0, np.pi], names)
        what = f"{len(k)} shots of {k.shape[1]} samples"
    axes.set_xlabel("kx", size=8, color=FAINT, labelpad=1)
    axes.set_ylabel("ky", size=8, color=FAINT, labelpad=0)
    plural = "s" if p.coils > 1 else ""
    return f"{p.pattern}, {what}, {p.coils} coil{plural}, {p.scan_time / 1000:.4g} s"


def _sequence(axes: Any, p: MRIProtocol) -> None:
    """One repetition time on a true scale."""
    start, end = p.readout_ms
    axes.plot([0, p.tr_ms], [0, 0], color=FAINT, linewidth=0.6)
    axes.plot([0, 0], [0, 1], color=RED, linewidth=2)
    axes.fill_between([start, end], 0, 0.5, color=BLUE, alpha=0.35, linewidth=0)
    axes.plot([p.te_ms, p.te_ms], [0, 0.7], color=INK, linewidth=0.7, linestyle=(0, (4, 3)))
    axes.text(0, 1.06, "excitation", size=7, color=RED)
    behind = 0.65 * p.tr_ms < p.te_ms
    axes.text(p.te_ms, 0.74, f" echo, {p.te_ms:g} ms ", size=7, color=INK, ha="right" if behind else "left")
    words = f"readout, {end - start:.3g} ms"
    if end < 0.65 * p.tr_ms:
        axes.text(end + 0.015 * p.tr_ms, 0.2, words, size=7, color=BLUE)
    else:  # no room behind it
        axes.text((start + end) / 2, 0.06, words, size=7, color=BLUE, ha="center")
    axes.set(xlim=(-0.01 * p.tr_ms, 1.02 * p.tr_ms), ylim=(-0.1, 1.3))
    axes.set_yticks([])
    axes.set_xlabel("time in ms", size=8, color=FAINT, labelpad=1)
    axes.set_title("one repetition", size=8, color=FAINT, loc="left", pad=4)


def _order(axes: Any, p: MRIProtocol) -> None:
    """What every excitation measures, one after the other."""
    unit, name = _unit(p.scan_time)
    if p.cartesian:
        places = np.argwhere(np.broadcast_to(p.mask, (p.matrix[0], p.mask.shape[1])))[:, 0] - p.matrix[0] // 2
        what = "ky" if p.mask.shape[1] == 1 else "ky of the points"
    else:
        last = p.trajectory[:, -1]
        places = np.degrees(np.arctan2(last[:, 0], last[:, 1])).round(6) % 360
        what = "direction of the shots in degrees"
    places = np.tile(places, p.averages)
    time = p.tr_ms * np.arange(len(places)) / unit
    size = float(np.clip(700 / len(places), 0.6, 10))
    axes.scatter(time, places, c=np.linspace(0, 1, len(places)), cmap="viridis", s=size)
    axes.set_xlim(0, 1.02 * p.scan_time / unit)
    axes.set_xlabel(f"time in {name}", size=8, color=FAINT, labelpad=1)
    axes.set_title(f"{p.excitations} repetitions: {what}", size=8, color=FAINT, loc="left", pad=4)
    axes.locator_params(axis="y", nbins=5)
