"""Pictures of k-space: which lines or points a mask measures, or a trajectory coloured by time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.panels import FAINT, INK, blank

SHOTS = 400  # more lines than that are ink, not information
SIZE, ROOM, HEAD = 3.1, 0.62, 0.42  # inches


def sampling(sampled: npt.NDArray[Any], *, title: str = "") -> Any:
    """Show where k-space is measured.

    Parameters
    ----------
    sampled : ndarray
        A mask, Boolean or of 0 and 1: (n,) lines along kx, or (ny, nx) with 1 for an axis that is measured
        throughout; or a trajectory (shots, samples, 2 or 3) in rad/voxel. Of a trajectory at most 400 shots
        are drawn; of one in 3D the two planes that hold kz, beside (ky, kx).
    title : str
        Written above.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the array is neither.

    Examples
    --------
    >>> from rayfold.recon.trajectories import radial
    >>> figure = sampling(radial(12, 64), title="12 spokes")
    >>> len(figure.axes)  # k-space and the scale of time
    2
    """
    array = np.asarray(sampled)
    if array.ndim == 3 and array.shape[-1] in (2, 3) and array.dtype.kind == "f":
        return _trajectory(array, title)
    if array.ndim in (1, 2) and array.size and np.isin(array, (0, 1)).all():
        return _mask(array.astype(bool), title)
    raise ValueError(
        f"{array.dtype} of shape {array.shape} is no mask (n,) or (ny, nx) of 0 and 1 and no trajectory "
        "(shots, samples, 2 or 3)"
    )


def _mask(mask: npt.NDArray[np.bool_], title: str) -> Any:
    lines = np.atleast_2d(mask)
    longest = max(lines.shape)
    # an axis of length 1 is measured throughout
    grid = np.broadcast_to(lines, [longest if n == 1 else n for n in lines.shape])
    ny, nx = grid.shape
    scale = 4.2 / max(ny, nx)
    height, width = scale * ny, scale * nx
    wide, high = width + ROOM + 0.3, height + HEAD + ROOM
    figure = blank(wide, high)
    axes = figure.add_axes((ROOM / wide, ROOM / high, width / wide, height / high))
    extent = (-(nx // 2) - 0.5, nx - nx // 2 - 0.5, ny - ny // 2 - 0.5, -(ny // 2) - 0.5)
    shown = {"cmap": "gray_r", "vmin": 0, "vmax": 1, "aspect": "equal", "interpolation": "antialiased"}
    axes.imshow(grid, extent=extent, **shown)
    axes.set_xticks([-(nx // 2), 0, nx - nx // 2 - 1])
    axes.set_yticks([-(ny // 2), 0, ny - ny // 2 - 1])
    _dress(axes, "kx", "ky")
    measured = f"R = {mask.size / max(int(mask.sum()), 1):.2f}"
    _head(figure, axes, title or measured, measured if title else "")
    return figure


def _trajectory(k: npt.NDArray[np.floating[Any]], title: str) -> Any:
    from matplotlib.collections import LineCollection

    shots, samples, ndim = k.shape
    some = k[:: -(-shots // SHOTS)]
    planes = (
        [(1, 0, "kx", "ky")] if ndim == 2 else [(2, 1, "kx", "ky"), (2, 0, "kx", "kz"), (1, 0, "ky", "kz")]
    )
    time = np.linspace(0, 1, samples)
    width, height = ROOM + len(planes) * (SIZE + ROOM) + 0.35, SIZE + ROOM + HEAD
    figure = blank(width, height)
    for i, (across, down, x, y) in enumerate(planes):
        left = (ROOM + i * (SIZE + ROOM)) / width
        axes = figure.add_axes((left, ROOM / height, SIZE / width, SIZE / height))
        points = some[..., [across, down]]
        segments: Any = np.stack([points[:, :-1], points[:, 1:]], axis=2).reshape(-1, 2, 2)
        colours = np.tile((time[1:] + time[:-1]) / 2, len(some))
        thin = float(np.clip(24 / np.sqrt(len(some) * 4), 0.25, 1.1))
        lines = LineCollection(segments, cmap="viridis", linewidths=thin, rasterized=True)
        lines.set_array(colours)
        lines.set_clim(0, 1)
        axes.add_collection(lines)
        edge = max(float(np.abs(k).max()), np.pi) * 1.04
        axes.set(xlim=(-edge, edge), ylim=(edge, -edge), aspect="equal")  # rows of images go down
        ticks = [-np.pi, 0, np.pi]
        names = ["\N{MINUS SIGN}π", "0", "π"]
        axes.set_xticks(ticks, names)
        axes.set_yticks(ticks, names)
        _dress(axes, x, y)
        if i == 0:
            count = f"{shots} shots of {samples} samples"
            _head(figure, axes, title or count, count if title else "")
    bar = figure.colorbar(
        lines, cax=figure.add_axes((1 - 0.62 / width, ROOM / height, 0.08 / width, 1.3 / height))
    )
    bar.outline.set_visible(False)
    bar.set_ticks([0, 1], labels=["start", "end"])
    bar.ax.tick_params(length=0, labelsize=7, labelcolor=FAINT)
    return figure


def _dress(axes: Any, x: str, y: str) -> None:
    axes.set_xlabel(x, size=8, color=FAINT, labelpad=1)
    axes.set_ylabel(y, size=8, color=FAINT, labelpad=1)
    axes.tick_params(length=0, labelsize=7, labelcolor=FAINT)
    axes.spines[:].set_visible(False)


def _head(figure: Any, axes: Any, title: str, note: str) -> None:
    box = axes.get_position()
    figure.text(box.x0, box.y1 + 0.015, title, size=9.5, color=INK, va="bottom")
    if note:
        figure.text(box.x1, box.y1 + 0.017, note, size=7.5, color=FAINT, va="bottom", ha="right")
