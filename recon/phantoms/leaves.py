"""Textured dead leaves: opaque shapes of all sizes, whose statistics natural and medical images share.

References: A. B. Lee, D. Mumford and J. Huang, Occlusion models for natural images, Int. J. Comput. Vis. 41
(2001) 35, for the power law; R. Achddou, Y. Gousseau and S. Ladjal, Synthetic images as a regularity prior
for image restoration neural networks, SSVM 2021, for training on them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.fields import generator, in_focus, normalised, power_law, smooth_map
from rayfold.recon.phantoms.parts import KINDS, Canvas, any_turns, table, turns

Floats = npt.NDArray[Any]
TILE = {2: 256, 3: 64}  # samples per side of the periodic textures
BATCH = 1500  # leaves painted at a time
BANK = 16  # textures
ROUNDS = 6  # at most; what is then still bare becomes background
ELLIPSOID, BOX, STAR, POLYGON, CAPSULE, EVERYWHERE = range(len(KINDS))


def dead_leaves(shape: tuple[int, ...], seed: int) -> Floats:
    """Overlapping textured shapes with power-law sizes, over the whole image or in a field of view.

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
    >>> dead_leaves((64, 64), 3).shape
    (64, 64)
    """
    rng = generator(shape, seed, 101)
    canvas = Canvas(shape, fine=2 if len(shape) == 2 else 1, fields=textures(len(shape)))
    style = _Style(rng, canvas)
    if rng.uniform() < 0.25:
        canvas.shift = bends(rng, canvas, rng.uniform(1, 4))
    _window(rng, canvas)
    for _ in range(ROUNDS):
        if canvas.paint(leaves(rng, BATCH, style)) < 0.003 * canvas.array.size:
            break
    canvas.paint(background(rng, style))
    np.maximum(canvas.array, 0, out=canvas.array)
    return normalised(in_focus(canvas.image(sharpness(rng, len(shape))), rng))


def sharpness(rng: np.random.Generator, ndim: int) -> float:
    """Standard deviation in pixels of a scanner's point spread: mostly 0.3 to 0.85, at times to 1.25."""
    if rng.uniform() < 0.2:
        return float(rng.uniform(0.85, 1.25))
    return float(rng.uniform(0.3 if ndim == 2 else 0.5, 0.85))


@lru_cache(maxsize=2)
def textures(ndim: int) -> Floats:
    """Periodic fields from nearly white to smooth, ``(BANK, z, y, x)``; leaves start at random places."""
    shape = (TILE[ndim],) * ndim
    rng = np.random.default_rng([ndim, 100])
    fields = np.stack([power_law(shape, float(a), rng) for a in np.linspace(0.4, 2.5, BANK)])
    return fields.reshape(BANK, *(1,) * (3 - ndim), *shape)


def bends(rng: np.random.Generator, canvas: Canvas, reach: float) -> Floats:
    """Displacements of at most about `reach` pixels that bend straight shapes."""
    out = np.zeros((3, *canvas.grid), np.float32)
    for axis in range(0 if canvas.deep else 1, 3):
        out[axis] = smooth_map(canvas.grid, int(rng.integers(4, 9)), rng)
    out *= np.float32(reach * canvas.fine)
    return out


class _Style:
    """What the leaves of one image share: sizes, kinds, greys, how rough they are."""

    def __init__(self, rng: np.random.Generator, canvas: Canvas) -> None:
        self.grid, self.deep = canvas.grid, canvas.deep
        self.fields = rng.integers(0, BANK, 4)
        side = max(self.grid)
        self.least = canvas.fine * float(
            np.exp(rng.uniform(np.log(0.8), np.log(10.0 if not self.deep else 5.0)))
        )
        self.most = side * rng.uniform(0.25, 0.6)
        self.exponent = rng.uniform(2.6, 3.2)
        self.kinds = rng.dirichlet([1.5, 0.6, 1.5, 1.0, 0.5])
        self.rough = float(np.exp(rng.uniform(np.log(0.004), np.log(0.16))))
        self.bare = rng.uniform(0.0, 0.6)  # share of leaves without texture
        self.palette = _palette(rng)

    def greys(self, rng: np.random.Generator, n: int) -> Floats:
        levels, spread = self.palette
        if levels is None:
            return np.asarray(rng.uniform(0, 1, n) ** spread)
        return np.abs(rng.choice(levels, n) + spread * rng.standard_normal(n))


def _palette(rng: np.random.Generator) -> tuple[Floats | None, float]:
    """Levels and spread: any grey, a few levels, a crowd about one level (soft tissue), dark with lights."""
    kind = rng.uniform()
    if kind < 0.35:
        return None, float(rng.choice([0.5, 1.0, 1.0, 2.0, 3.0]))
    if kind < 0.6:
        return rng.uniform(0, 1, int(rng.integers(2, 8))), float(rng.uniform(0.002, 0.05))
    if kind < 0.9:
        crowd = rng.normal(rng.uniform(0.3, 0.7), rng.uniform(0.01, 0.06), 12)
        return np.concatenate([crowd, rng.uniform(0, 1, int(rng.integers(1, 5)))]), 0.004
    return np.concatenate([rng.uniform(0, 0.15, 8), rng.uniform(0.3, 1, 3)]), 0.01


def leaves(rng: np.random.Generator, n: int, style: _Style) -> Floats:
    """A table of `n` random leaves."""
    grid = np.array(style.grid)
    power = 1 - style.exponent
    low, high = style.least**power, style.most**power
    size = (low + rng.uniform(size=n) * (high - low)) ** (1 / power)
    kind = rng.choice(5, n, p=style.kinds)
    half = size[:, None] * np.exp(rng.uniform(-0.6, 0.6, (n, 3)))
    thin = rng.uniform(size=n) < 0.12
    half[:, 1] *= np.where(thin | (kind == CAPSULE), rng.uniform(0.06, 0.4, n), 1.0)
    star = kind == STAR
    form = rng.uniform(-1, 1, (n, 8))
    wobble = np.repeat(rng.uniform(0.1, 0.5) / np.arange(2, 6), 2)
    form = np.where(star[:, None], form * wobble, form)
    form[kind == CAPSULE, 0] = np.abs(form[kind == CAPSULE, 0]) * 0.8
    greys = style.greys(rng, n)
    textured = rng.uniform(size=n) > style.bare
    rough = style.rough * np.exp(rng.normal(0, 0.6, n)) * (0.3 + greys) * textured
    waved = textured & (rng.uniform(size=n) < 0.17)
    mixed = waved & (rng.uniform(size=n) < 0.5)
    pitch = np.exp(rng.uniform(np.log(4.0), np.log(40.0), n))
    towards = (
        rng.standard_normal((n, 3)) * (1.0, 1.0, 1.0)
        if style.deep
        else rng.standard_normal((n, 3)) * (0, 1, 1)
    )
    towards *= (2 * np.pi / pitch / np.maximum(np.linalg.norm(towards, axis=1), 1e-9))[:, None]
    shaded = rng.uniform(size=n) < 0.3
    shade = rng.normal(0, 0.12, (n, 3)) * (shaded * (0.2 + greys))[:, None]
    shade[kind == CAPSULE] = 0  # its axes are not scaled
    return table(
        n,
        kind=kind,
        centre=rng.uniform(-0.1, 1.1, (n, 3)) * grid
        if style.deep
        else rng.uniform(-0.1, 1.1, (n, 3)) * (0, *grid[1:]),
        turn=any_turns(rng, n, style.deep),
        half=half,
        form=form,
        sides=rng.integers(3, 9, n),
        value=greys,
        shade=shade,
        field=rng.choice(style.fields, n),
        strength=np.where(waved & ~mixed, 0, rough),
        place=rng.integers(0, 256, (n, 3)),
        wave=np.where(waved, 1.4 * rough, 0),
        frequency=towards,
        phase=rng.uniform(0, 2 * np.pi, n),
        sharp=np.where(rng.uniform(size=n) < 0.3, 0.9, 0.0),
        bend=np.where(rng.uniform(size=n) < 0.5, rng.uniform(0, 2, n), 0),
    )


def background(rng: np.random.Generator, style: _Style) -> Floats:
    """One part that covers what is left."""
    return table(
        1,
        kind=EVERYWHERE,
        value=style.greys(rng, 1),
        field=style.fields[0],
        strength=style.rough * rng.uniform(0, 1.5),
    )


def _window(rng: np.random.Generator, canvas: Canvas) -> None:
    """Often nothing is painted outside a round or body-like field of view."""
    if rng.uniform() < 0.5:
        return
    canvas.paint(_view(rng, canvas))
    np.subtract(1, canvas.free, out=canvas.free)


def disc_window(shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """1 in a round or body-like field of view, 0 outside."""
    canvas = Canvas(shape, fine=1)
    canvas.paint(_view(rng, canvas))
    return (1 - canvas.free).astype(np.float32).reshape(shape)


def _view(rng: np.random.Generator, canvas: Canvas) -> Floats:
    kind = rng.uniform()
    form = rng.normal(0, 0.05, 8) if kind > 0.4 else np.zeros(8)
    scale = rng.uniform(0.6, 0.97, 3) if kind > 0.2 else np.full(3, 0.98)
    half = np.array(canvas.grid)[[2, 1, 0]] / 2 * scale
    half[2] *= 1.3 if canvas.deep else 1.0
    return table(1, kind=STAR, centre=canvas.middle, turn=turns(0.0), half=half, form=form)
