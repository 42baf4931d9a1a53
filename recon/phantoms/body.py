"""A body as parts: blobs, bones, branching vessels and lesions; the look of its tissues is given.

Parts are added from the front: what comes first hides what comes later. Coordinates are relative to the body,
-1 to 1 along x (to the left), y (to the back) and, in volumes, z.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.fields import band, enlarged, in_focus, power_law
from rayfold.recon.phantoms.leaves import bends, textures
from rayfold.recon.phantoms.parts import COLUMNS, Canvas, rods, table, turns

Floats = npt.NDArray[Any]
ELLIPSOID, BOX, STAR, _, CAPSULE = range(5)
FOLDS, SPONGE, PATCHES = range(3)  # cuts


Inside = Callable[[Floats], bool]


class Look(NamedTuple):
    """Grey value of a tissue, standard deviation of its texture, and which texture."""

    value: float
    strength: float
    field: int


class Body:
    """Collects parts on a canvas.

    Parameters
    ----------
    shape : tuple
        Of the image.
    rng : Generator
        Source of all variation.
    look : callable
        From the name of a tissue to its `Look`.
    """

    def __init__(self, shape: tuple[int, ...], rng: np.random.Generator, look: Callable[[str], Look]) -> None:
        self.rng, self.look = rng, look
        self.canvas = Canvas(shape, fine=2 if len(shape) == 2 else 1, fields=textures(len(shape)))
        self.deep = self.canvas.deep
        self.parts: list[Floats] = []
        self.tissues: list[str] = []  # of each of the parts
        self.half = np.array(self.canvas.grid) / 2
        self.centre = self.canvas.middle
        # often a part of the body in larger scale: details of all sizes relative to the pixel
        self.zoom = 1.0 if rng.uniform() < 0.5 else float(rng.uniform(1.1, 3.0))

    def frame(self, x: float, y: float, lift: float = 0.0, bend: float = 0.03) -> None:
        """The body fills these shares of the image along x and y, lifted along y, bent and zoomed."""
        grid = np.array(self.canvas.grid)
        self.half = grid / 2 * (1.0, y, x) * self.zoom
        aside = self.rng.uniform(-0.5, 0.5, 3) * (self.zoom - 1) * (float(self.deep), y, x)
        self.centre = self.canvas.middle + (aside + np.array([0.0, lift, 0.0])) * grid
        self.half[0] = max(self.half[0], 1.0)
        self.canvas.shift = bends(
            self.rng, self.canvas, self.rng.uniform(0.2, 1) * bend * max(self.canvas.shape)
        )

    def cuts(self, folds: float, sponge: float) -> None:
        """Fields for folds, spongy bone and patches; wavelengths in pixels of an image that is not zoomed."""
        folds, sponge = folds * self.zoom, sponge * self.zoom**0.5
        coarse = tuple(max(n // self.canvas.fine, 1) for n in self.canvas.grid)
        flat = coarse if self.deep else coarse[1:]
        made = [
            band(flat, folds, 0.25, self.rng),
            band(flat, sponge, 0.4, self.rng),
            power_law(flat, 1.8, self.rng),
        ]
        self.canvas.cuts = np.stack([enlarged(f.reshape(coarse), self.canvas.grid) for f in made])

    def add(self, tissue: str, part: Floats) -> None:
        """Rows of the table of parts that are one tissue, behind what was added before."""
        self.parts.append(part)
        self.tissues.append(tissue)

    def point(self, x: float, y: float, z: float = 0.0) -> Floats:
        """Relative coordinates as indices ``(z, y, x)``."""
        return np.asarray(self.centre + self.half * (z if self.deep else 0.0, y, x))

    def blob(
        self,
        tissue: str,
        x: float,
        y: float,
        rx: float,
        ry: float,
        *,
        z: float = 0.0,
        rz: float = 2.0,
        angle: float = 0.0,
        wobble: float = 0.06,
        cut: int = -1,
        low: float = -9.0,
        high: float = 9.0,
        form: Floats | None = None,
    ) -> None:
        """A roundish part; radii relative to the body, `wobble` the deviation from an ellipse."""
        look = self.look(tissue)
        if form is None:
            form = self.rng.normal(0, wobble, 8) / np.repeat([1.0, 1.5, 2.0, 2.5], 2)
        half = np.maximum(np.array([rx * self.half[2], ry * self.half[1], rz * self.half[0]]), 0.3)
        part = table(
            1,
            kind=STAR,
            centre=self.point(x, y, z),
            turn=turns(angle),
            half=half,
            form=form,
            value=look.value,
            field=look.field,
            strength=look.strength,
            place=self.rng.integers(0, 256, 3),
            cut=cut,
            low=low,
            high=high,
        )
        self.add(tissue, part)

    def tree(
        self, tissue: str, start: Floats, heading: Floats, length: float, radius: float, inside: Inside
    ) -> None:
        """A branching vessel; branches end outside of `inside` or when they are too thin to see."""
        rng = self.rng
        spread = rng.normal(0, 0.45, (160, 2, 3)) * (float(self.deep), 1.0, 1.0)
        chance = rng.uniform(size=(160, 4))
        stack = [(start, heading / np.linalg.norm(heading), length, radius)]
        pieces: list[tuple[Floats, Floats, float]] = []
        while stack and len(pieces) < 160:
            at, to, step, r = stack.pop()
            end = at + step * to
            if not inside(end):
                continue
            n = len(pieces)
            pieces.append((at, end, r))
            if r < 0.35:
                continue
            for k in range(2 if chance[n, 2] < 0.75 else 1):
                turn = to + spread[n, k]
                turn /= math.sqrt(turn @ turn)
                stack.append(
                    (end, turn, step * (0.7 + 0.3 * chance[n, k]), r * (0.65 + 0.25 * chance[n, 3 - k]))
                )
        if pieces:
            starts, stops, radii = zip(*pieces, strict=True)
            parts = rods(starts, stops, radii, 0.12)
            parts[:, COLUMNS["value"]] = self.look(tissue).value
            self.add(tissue, parts)

    def bone(self, x: float, y: float, rx: float, ry: float, *, shell: float = 0.25, **place: Any) -> None:
        """A bone: marrow with a sponge in it inside a shell, which is `shell` of the lesser radius thick."""
        form = self.rng.normal(0, 0.08, 8) / np.repeat([1.0, 1.5, 2.0, 2.5], 2)
        thick = shell * min(rx * self.half[2], ry * self.half[1])
        inner = max(rx - thick / self.half[2], 0.0), max(ry - thick / self.half[1], 0.0)
        if min(inner[0] * self.half[2], inner[1] * self.half[1]) > 0.6:
            self.blob("spongy", x, y, *inner, form=form, cut=SPONGE, low=self.rng.uniform(-0.2, 0.6), **place)
            self.blob("marrow", x, y, *inner, form=form, **place)
        self.blob("cortical", x, y, rx, ry, form=form, **place)

    def finish(self, blur: float) -> Floats:
        """Paint everything, non-negative."""
        return in_focus(self._painted(self.parts).image(blur), self.rng)

    def finish_apart(
        self, blur: float, tissues: Collection[str], move: tuple[int, int]
    ) -> tuple[Floats, Floats]:
        """All but some tissues, and these alone, moved: two images of the canvas' shape whose sum is whole.

        Parameters
        ----------
        blur : float
            As in `finish`, pixels.
        tissues : collection of str
            Names given to `blob` and `add`; where another part lies in front of them they are hidden.
        move : (int, int)
            Along y and x, in samples of the fine grid (`Canvas.fine` to the pixel); wraps around.
        """
        every = self._painted(self.parts)
        flags = [part.copy() for part in self.parts]
        for part, tissue in zip(flags, self.tissues, strict=True):
            part[:, COLUMNS["value"]] = tissue in tissues
            part[:, COLUMNS["strength"]] = 0
        own = self._painted(flags)
        own.array *= every.array
        every.array -= own.array
        own.array = np.roll(own.array, move, (1, 2))
        return every.image(blur), own.image(blur)

    def _painted(self, parts: list[Floats]) -> Canvas:
        canvas = replace(self.canvas)
        canvas.paint(parts)
        np.maximum(canvas.array, 0, out=canvas.array)
        return canvas


def ellipsoid(middle: Floats, reach: Floats) -> Inside:
    """Whether points are within an ellipsoid that is not turned."""

    def inside(point: Floats) -> bool:
        q = (point - middle) / reach
        return float(q @ q) < 1

    return inside


def lesions(body: Body, name: str, x: float, y: float, rx: float, ry: float) -> None:
    """Roundish spots of low contrast against the tissue `name`, of all sizes."""
    rng = body.rng
    base = body.look(name)
    for _ in range(int(rng.integers(0, 7))):
        size = 0.01 * np.exp(rng.uniform(0, 2))
        at = x + rng.uniform(-1, 1) * rx * 0.8, y + rng.uniform(-1, 1) * ry * 0.8
        body.blob(
            name, *at, size, size * rng.uniform(0.7, 1.4), wobble=0.1, rz=size, z=rng.uniform(-0.3, 0.3)
        )
        body.parts[-1][:, COLUMNS["value"]] = base.value * (
            1 + rng.choice([-1, 1]) * rng.uniform(0.005, 0.08)
        )
