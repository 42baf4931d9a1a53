"""Families that training never sees, for honest tests: foam and walnuts, written text, ellipses."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.fields import generator, normalised, smooth_map
from rayfold.recon.phantoms.parts import COLUMNS, KINDS, Canvas, any_turns, rods, table, turns

Floats = npt.NDArray[Any]
ELLIPSOID, EVERYWHERE = KINDS.index("ellipsoid"), KINDS.index("everywhere")
# strokes of letters on a grid 2 wide and 4 high, y down; blanks lift the pen
STROKES = {
    "A": "04 10 24 . 12 02 22",
    "B": "00 04 14 23 12 02 . 00 10 21 12",
    "C": "20 10 01 03 14 24",
    "D": "00 04 14 23 21 10 00",
    "E": "20 00 04 24 . 02 12",
    "F": "20 00 04 . 02 12",
    "G": "20 10 01 03 14 24 22 12",
    "H": "00 04 . 20 24 . 02 22",
    "I": "00 20 . 10 14 . 04 24",
    "K": "00 04 . 20 02 24",
    "L": "00 04 24",
    "M": "04 00 12 20 24",
    "N": "04 00 24 20",
    "O": "10 01 03 14 23 21 10",
    "P": "04 00 10 21 12 02",
    "R": "04 00 10 21 12 02 . 12 24",
    "S": "20 10 01 12 23 14 04",
    "T": "00 20 . 10 14",
    "U": "00 03 14 23 20",
    "V": "00 14 20",
    "W": "00 04 12 24 20",
    "X": "00 24 . 20 04",
    "Y": "00 12 20 . 12 14",
    "Z": "00 20 04 24",
    "1": "01 10 14",
    "2": "01 10 21 04 24",
    "4": "14 10 03 23",
    "7": "00 20 14",
    "8": "12 01 10 21 12 03 14 23 12",
}


def foam(shape: tuple[int, ...], seed: int) -> Floats:
    """Cells with walls, or voids in a solid; at times as the kernel of a walnut in its shell.

    Parameters
    ----------
    shape : tuple of int
        Two or three axes.
    seed : int
        Everything varies with it and only with it.

    Returns
    -------
    ndarray, shape
        float32, 0 to about 1.

    Examples
    --------
    >>> foam((64, 64), 3).shape
    (64, 64)
    """
    from rayfold.kernels.cpu.fractals import cells

    rng = generator(shape, seed, 108)
    view = Canvas(shape, fine=2 if len(shape) == 2 else 1)
    grid = view.grid
    size = np.full(3, np.exp(rng.uniform(np.log(6.0), np.log(28.0)))) * view.fine
    n = np.array(grid) // size.astype(int) + 2
    if not view.deep:
        size[0], n[0] = 1.0, 1
    jitter = rng.uniform(0.05, 0.95, (*n, 3))
    points = (np.stack(np.meshgrid(*(np.arange(k) for k in n), indexing="ij"), axis=-1) + jitter) * size
    if not view.deep:
        points[..., 0] = 0
    near, second = np.empty(grid, np.float32), np.empty(grid, np.float32)
    which = np.empty(grid, np.int32)
    cells(points, size, near, second, which)
    if rng.uniform() < 0.5:
        solid = second - near < rng.uniform(0.08, 0.3) * size[2]
    else:
        radius = rng.uniform(0.2, 0.55, int(np.prod(n))).astype(np.float32) * np.float32(size[2])
        solid = near > radius[which]
    picture = solid * np.float32(1) + ~solid * np.float32(rng.choice([0.0, rng.uniform(0, 0.5)]))
    axes = [np.linspace(-1, 1, g) if g > 1 else np.zeros(1) for g in grid]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    wobble = 0.08 * smooth_map(grid, 5, rng)
    r = np.sqrt(z * z + (y / rng.uniform(0.75, 0.95)) ** 2 + (x / rng.uniform(0.75, 0.95)) ** 2) + wobble
    kind = rng.uniform()
    if kind < 0.4:
        picture = picture * (r < 1)
    elif kind < 0.75:
        lobes = smooth_map(grid, 12, rng)
        kernel = (np.abs(lobes) > rng.uniform(0.08, 0.2)) & (r < 0.75)
        shell = (r > 0.85) & (r < 0.85 + rng.uniform(0.05, 0.12))
        picture = np.where(shell, rng.uniform(0.8, 1.2), picture * kernel * rng.uniform(0.4, 0.8))
    view.array[...] = picture
    return normalised(view.image(rng.uniform(0.4, 0.8)))


def text(shape: tuple[int, ...], seed: int) -> Floats:
    """Words in several sizes and greys, drawn with strokes.

    Parameters
    ----------
    shape : tuple of int
        Two or three axes; letters are tubes in a volume.
    seed : int
        Everything varies with it and only with it.

    Returns
    -------
    ndarray, shape
        float32, 0 to about 1.

    Examples
    --------
    >>> text((64, 64), 3).shape
    (64, 64)
    """
    rng = generator(shape, seed, 109)
    canvas = Canvas(shape, fine=2 if len(shape) == 2 else 1)
    letters = list(STROKES)
    parts = []
    dark = rng.uniform() < 0.3
    top = 0.0
    while top < canvas.grid[1]:
        height = float(np.exp(rng.uniform(np.log(7.0), np.log(40.0)))) * canvas.fine
        left = rng.uniform(-0.1, 0.2) * canvas.grid[2]
        pen = height * rng.uniform(0.04, 0.12)
        slant, grey = rng.normal(0, 0.15), rng.uniform(0.3, 1)
        depth = rng.uniform(0, canvas.grid[0] - 1)
        while left < canvas.grid[2]:
            word = rng.choice(letters, int(rng.integers(1, 9)))
            for letter in word:
                starts, stops = _strokes(STROKES[str(letter)])
                at = np.array([depth, top, left])
                unit = np.array([[0, 0, 0], [0, 1, -slant], [0, 0, 0.8]]) * height / 4
                glyph = rods(at + starts @ unit, at + stops @ unit, pen)
                glyph[:, COLUMNS["value"]] = 0.05 if dark else grey
                parts.append(glyph)
                left += 0.62 * height
            left += 0.4 * height
        top += height * rng.uniform(1.2, 1.8)
    parts.append(table(1, kind=EVERYWHERE, value=1.0 if dark else rng.choice([0.0, rng.uniform(0, 0.3)])))
    canvas.paint(parts)
    return normalised(canvas.image(rng.uniform(0.3, 0.7)))


def _strokes(letter: str) -> tuple[Floats, Floats]:
    """Ends ``(z, y, x)`` of the strokes of a letter."""
    starts, stops = [], []
    for line in letter.split("."):
        points = [(0.0, float(p[1]), float(p[0])) for p in line.split()]
        starts += points[:-1]
        stops += points[1:]
    return np.array(starts), np.array(stops)


def random_ellipses(shape: tuple[int, ...], seed: int) -> Floats:
    """Ellipses: every other image a sum of many, as in the DIVal benchmark, the others opaque in a disc.

    Parameters
    ----------
    shape : tuple of int
        Two or three axes.
    seed : int
        Everything varies with it and only with it; an even one adds values.

    Returns
    -------
    ndarray, shape
        float32, 0 to about 1.

    References
    ----------
    J. Leuschner, M. Schmidt and D. Otero Baguer, DIVal, 2019: numbers, sizes and values of the sums.

    Examples
    --------
    >>> random_ellipses((64, 64), 3).shape
    (64, 64)
    """
    rng = generator(shape, seed, 110)
    canvas = Canvas(shape, fine=2 if len(shape) == 2 else 1)
    scale = np.array(canvas.grid) / 2
    added = seed % 2 == 0
    n = min(max(int(rng.poisson(40)), 1), 70) if added else int(rng.integers(5, 60))
    half = 0.2 * rng.exponential(1.0, (n, 3)) if added else 0.6 * rng.beta(1, 4, (n, 3)) + 0.01
    centre = canvas.middle + rng.uniform(-0.9, 0.9, (n, 3)) * scale * (float(canvas.deep), 1, 1)
    value = rng.uniform(-0.4, 1.0, n) if added else rng.uniform(0, 1, n)
    half = np.maximum(half * scale[2], 0.5)
    parts = table(
        n, kind=ELLIPSOID, centre=centre, turn=any_turns(rng, n, canvas.deep), half=half, value=value
    )  # fmt: skip
    if added:
        canvas.paint(parts, add=True)
        seen = canvas.array != 0
        canvas.array[seen] -= min(float(canvas.array.min()), 0.0)
    else:
        disc = table(
            1, kind=ELLIPSOID, centre=canvas.middle, turn=turns(0.0), half=np.maximum(0.98 * scale[::-1], 2)
        )
        canvas.paint(disc)
        np.subtract(1, canvas.free, out=canvas.free)
        canvas.paint([parts, table(1, kind=EVERYWHERE, value=rng.uniform(0, 1))])
    return normalised(canvas.image(0.3))
