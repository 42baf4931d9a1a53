"""What a CT protocol resolves and detects: an edge for the MTF, faint discs for a model observer."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from rayfold.operators import Volume
from rayfold.recon.quality import laguerre_gauss, low_contrast_detectability, mtf, mtf50

Array = Any
WATER = 0.0195  # 1/mm
INSERT = 0.5  # contrast of the disc in the middle relative to water: 500 HU
OFF = (0.31, 0.17)  # of its middle from a corner of four pixels, in pixels: distances of all sizes occur
REACH = 6.0  # of the edge profile, in pixels
LESION = 0.01  # contrast of the lesions: 10 HU
PLACES = 8  # of lesions, on a circle: one distance from the axis, so that they have the same noise
CHANNELS = 4


class TaskPhantom(NamedTuple):
    """A cylinder of water with a dense disc in the middle, with faint discs around it and without them.

    Attributes
    ----------
    present, absent : ndarray, (n, 6)
        Ellipses.
    insert : float
        Radius of the dense disc in mm.
    lesion : float
        Radius of the faint ones in mm.
    places : list of (int, int)
        Pixels (y, x) of their middles.
    """

    present: Array
    absent: Array
    insert: float
    lesion: float
    places: list[tuple[int, int]]


def task_grid(resolution: float, n: int) -> Volume:
    """A grid that shows what bins of this width (at the axis, in mm) resolve.

    Examples
    --------
    >>> task_grid(0.6, 128).steps
    (0.4, 0.4)
    """
    return Volume((n, n), float(f"{resolution * 2 / 3:.6g}"))


def task_phantom(volume: Volume) -> TaskPhantom:
    """The phantom that fits a grid.

    Examples
    --------
    >>> phantom = task_phantom(Volume((128, 128), 2.0))
    >>> len(phantom.present) - len(phantom.absent), round(phantom.lesion, 1)
    (8, 5.8)
    """
    step = max(volume.steps)
    radius = 0.45 * min(volume.extent)
    insert, lesion = max(0.12 * radius, 10 * step), max(0.05 * radius, 2.65 * step)
    ys, xs = volume.coordinates()
    turns = 2 * np.pi * (np.arange(PLACES) + 0.5) / PLACES
    places = [
        (
            int(np.abs(ys - 0.6 * radius * np.sin(turn)).argmin()),
            int(np.abs(xs - 0.6 * radius * np.cos(turn)).argmin()),
        )
        for turn in turns
    ]
    absent = np.array(
        [[WATER, radius, radius, 0, 0, 0], [INSERT * WATER, insert, insert, *(o * step for o in OFF), 0]]
    )
    lesions = [[LESION * WATER, lesion, lesion, xs[x], ys[y], 0] for y, x in places]
    return TaskPhantom(np.concatenate([absent, lesions]), absent, insert, lesion, places)


def measured(phantom: TaskPhantom, volume: Volume, present: Array, absent: Array) -> dict[str, float]:
    """MTF50 and d' from images with the lesions and without, ``(n, ny, nx)`` each.

    Returns
    -------
    dict
        "MTF50" in cycles per mm, nan where no edge was found; "d'" with "d' low" and "d' high", the ends of
        its 95 % interval.
    """
    ny, nx = volume.shape
    reach = int(np.ceil(phantom.insert / min(volume.steps) + REACH + 2))
    middle = (..., slice(ny // 2 - reach, ny // 2 + reach), slice(nx // 2 - reach, nx // 2 + reach))
    steps = (volume.steps[-2], volume.steps[-1])
    try:
        resolved = mtf50(mtf(absent[middle], steps, edge="disc", reach=REACH * max(steps), oversampling=3))
    except ValueError:  # noise or blur hides the edge: there is no number
        resolved = float("nan")
    half = int(np.ceil(2.2 * phantom.lesion / min(volume.steps)))
    one, none = (
        np.concatenate(
            [images[:, y - half : y + half + 1, x - half : x + half + 1] for y, x in phantom.places]
        )
        for images in (present, absent)
    )
    width = 2 * phantom.lesion / min(volume.steps)
    channels = laguerre_gauss((2 * half + 1, 2 * half + 1), CHANNELS, width)
    found = low_contrast_detectability(one, none, channels)
    return {"MTF50": resolved, "d'": found.dprime, "d' low": found.low, "d' high": found.high}
