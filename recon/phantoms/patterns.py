"""Resolution patterns: line pairs, stars, points below a pixel, slanted edges, grids and wedges."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.fields import generator, normalised
from rayfold.recon.phantoms.leaves import sharpness, textures
from rayfold.recon.phantoms.parts import KINDS, Canvas, any_turns, table, turns

Floats = npt.NDArray[Any]
ELLIPSOID, BOX, EVERYWHERE = KINDS.index("ellipsoid"), KINDS.index("box"), KINDS.index("everywhere")


def resolution(shape: tuple[int, ...], seed: int) -> Floats:
    """A plate with line pairs of 1 to 12 pixels, a star, points, edges, a grid and a step wedge.

    Parameters
    ----------
    shape : tuple of int
        Two or three axes; in a volume patterns are rods and balls.
    seed : int
        Everything varies with it and only with it.

    Returns
    -------
    ndarray, shape
        float32, 0 to about 1.

    Examples
    --------
    >>> resolution((64, 64), 3).shape
    (64, 64)
    """
    rng = generator(shape, seed, 107)
    canvas = Canvas(shape, fine=2 if len(shape) == 2 else 1, fields=textures(len(shape)))
    z, y, x = np.meshgrid(*(np.arange(n) for n in canvas.grid), indexing="ij", sparse=True)
    low, high = np.sort(rng.uniform(0, 1, 2))
    if rng.uniform() < 0.5:
        low, high = high, low
    rough = float(rng.choice([0.0, np.exp(rng.uniform(np.log(0.003), np.log(0.03)))]))
    side = max(canvas.grid)
    parts = [_bars(rng, canvas, high) for _ in range(int(rng.integers(2, 9)))]
    parts += [_grid(rng, canvas, high) for _ in range(int(rng.integers(0, 4)))]
    n = int(rng.integers(5, 120))
    size = np.exp(rng.uniform(np.log(0.15), np.log(3.0), (n, 1))) * canvas.fine
    parts.append(
        table(
            n,
            kind=ELLIPSOID,
            centre=rng.uniform(0, 1, (n, 3)) * np.subtract(canvas.grid, 1),
            half=np.maximum(size, 0.5) * np.ones(3),
            value=low + (high - low) * np.minimum((size[:, 0] / 0.5) ** 2, 1) * rng.uniform(0.2, 1, n),
        )
    )
    # a star and the half-planes of slanted edges are where these fields are positive
    y0, x0 = rng.uniform(0.2, 0.8, 2) * canvas.grid[1:]
    star = np.cos(int(rng.integers(8, 40)) * np.arctan2(y - y0, x - x0) + 0 * z)
    t = rng.uniform(0, 2 * np.pi)
    y1, x1 = rng.uniform(0.2, 0.8, 2) * canvas.grid[1:]
    edge = (y - y1) * np.sin(t) + (x - x1) * np.cos(t)
    canvas.cuts = np.stack([star, edge + 0 * star]).astype(np.float32)
    if rng.uniform() < 0.5:
        disc = {"kind": ELLIPSOID, "centre": (canvas.middle[0], y0, x0)}
        disc["half"] = np.full(3, rng.uniform(0.1, 0.3) * side)
        parts += [table(1, **disc, value=high, cut=0, high=9), table(1, **disc, value=low)]
    steps = np.linspace(low, high, int(rng.integers(3, 9)))
    wide = rng.uniform(0.03, 0.08) * side
    place = rng.uniform(0.1, 0.6, 3) * canvas.grid
    wedge = place + np.arange(len(steps))[:, None] * np.array([0, 0, 2 * wide])
    parts.append(table(len(steps), kind=BOX, centre=wedge, half=np.full(3, wide), value=steps))
    plate = {"field": int(rng.integers(0, 12)), "strength": rough}
    if rng.uniform() < 0.4:
        parts.append(table(1, kind=EVERYWHERE, value=0.5 * (low + high), cut=1, high=1e9, **plate))
    if rng.uniform() < 0.5:
        half = np.array(canvas.grid)[::-1] * rng.uniform(0.35, 0.49)
        kind = ELLIPSOID if rng.uniform() < 0.5 else BOX
        half[2] = max(half[2], 1.0) * 1.5
        parts.append(
            table(1, kind=kind, centre=canvas.middle, turn=turns(0.0), half=half, value=low, **plate)
        )
    else:
        parts.append(table(1, kind=EVERYWHERE, value=low, **plate))
    canvas.paint(parts)
    return normalised(np.maximum(canvas.image(sharpness(rng, len(shape))), 0))


def _bars(rng: np.random.Generator, canvas: Canvas, value: float) -> Floats:
    """Three to seven bars and as many gaps, as wide as each other."""
    n = int(rng.integers(3, 8))
    width = float(np.exp(rng.uniform(np.log(0.5), np.log(6.0)))) * canvas.fine
    turn = any_turns(rng, 1, canvas.deep) if rng.uniform() < 0.5 else turns([rng.choice([0.0, np.pi / 2])])
    across = turn[0, 3:6]
    place = rng.uniform(0.05, 0.95, 3) * canvas.grid
    if not canvas.deep:
        place[0] = 0
    centre = place + np.arange(n)[:, None] * 2 * width * across
    half = (
        rng.uniform(2, 8) * max(width, canvas.fine),
        width / 2,
        rng.uniform(2, 8) * max(width, canvas.fine),
    )
    return table(n, kind=BOX, centre=centre, turn=turn, half=half, value=value)


def _grid(rng: np.random.Generator, canvas: Canvas, value: float) -> Floats:
    """A square array of holes or rods."""
    n = int(rng.integers(3, 9))
    pitch, fill = np.exp(rng.uniform(np.log(2.0), np.log(12.0))) * canvas.fine, rng.uniform(0.15, 0.4)
    turn = turns(rng.uniform(0, np.pi / 2))
    i, j = (g.ravel()[:, None] for g in np.meshgrid(np.arange(n), np.arange(n)))
    place = rng.uniform(0, 0.8, 3) * canvas.grid
    if not canvas.deep:
        place[0] = 0
    centre = place + pitch * (i * turn[:3] + j * turn[3:6])
    kind = ELLIPSOID if rng.uniform() < 0.7 else BOX
    return table(n * n, kind=kind, centre=centre, turn=turn, half=np.full(3, fill * pitch), value=value)
