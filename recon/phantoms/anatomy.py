"""Bodies and heads as parts: contour, layers, organs, bones, vessels, folds; the look of tissues is given.

Parts are added from the front: what comes first hides what comes later. Coordinates are relative to the body,
-1 to 1 along x (to the left), y (to the back) and, in volumes, z.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.fields import band, enlarged, power_law
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
        self.parts.append(part)

    def tree(
        self, tissue: str, start: Floats, heading: Floats, length: float, radius: float, inside: Inside
    ) -> None:
        """A branching vessel; branches end outside of `inside` or when they are too thin to see."""
        rng = self.rng
        spread = rng.normal(0, 0.45, (160, 2, 3)) * (float(self.deep), 1.0, 1.0)
        chance = rng.uniform(size=(160, 4))
        stack = [(start, heading / np.linalg.norm(heading), length, radius)]
        pieces = []
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
            self.parts.append(parts)

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
        self.canvas.paint(self.parts)
        np.maximum(self.canvas.array, 0, out=self.canvas.array)
        return self.canvas.image(blur)


def torso(body: Body) -> None:
    """A chest or belly: with lungs or with organs, ribs, spine, vessels and lesions."""
    rng = body.rng
    wide = rng.uniform(0.72, 0.97)
    body.frame(wide, wide * rng.uniform(0.58, 0.95), rng.uniform(-0.03, 0.03))
    body.cuts(rng.uniform(8, 20), rng.uniform(2.5, 6))
    lungs = rng.uniform() < 0.5
    fat = rng.uniform(0.02, 0.12)
    wall = fat + rng.uniform(0.05, 0.1)
    if rng.uniform() < 0.4:
        _table(body)
    _spine(body, 1 - wall)
    _ribs(body, 1 - fat - 0.5 * (wall - fat))
    if lungs:
        _lungs(body, 1 - wall)
    else:
        _belly(body, 1 - wall)
    contour = rng.normal(0, 0.02, 8)
    body.blob("fat", 0, 0, 1 - wall, 1 - wall, form=contour, cut=PATCHES, low=rng.uniform(0.2, 1.2))
    body.blob("muscle" if lungs else "organ", 0, 0, 1 - wall, 1 - wall, form=contour)
    streaky = rng.uniform(0.8, 2.0)
    body.blob("fat", 0, 0, 1 - fat, 1 - fat, form=contour, cut=PATCHES, low=streaky)
    body.blob("muscle", 0, 0, 1 - fat, 1 - fat, form=contour)
    body.blob("fat", 0, 0, 0.988, 0.988, form=contour)
    body.blob("skin", 0, 0, 1, 1, form=contour)


def _table(body: Body) -> None:
    look = body.look("table")
    y = body.point(0, 1.06)[1]
    thick = body.rng.uniform(1, 3) * body.canvas.fine
    half = np.array([1.5, 1.0, 1.5]) * (body.half[2], thick, body.half[0])
    centre = (body.centre[0], y + thick, body.centre[2])
    body.parts.append(table(1, kind=BOX, centre=centre, turn=turns(0.0), half=half, value=look.value))


def _spine(body: Body, edge: float) -> None:
    rng = body.rng
    size = rng.uniform(0.1, 0.16)
    y = edge * rng.uniform(0.5, 0.66)
    body.blob("csf", 0, y + 1.35 * size, 0.45 * size, 0.4 * size)
    body.bone(0, y, size, size * rng.uniform(0.9, 1.3), shell=rng.uniform(0.08, 0.2), rz=0.8)
    for side in (-1, 1):
        body.bone(side * 0.55 * size, y + 1.35 * size, 0.16 * size, 0.6 * size, angle=-side * 0.3, shell=0.4)
        body.bone(side * 1.2 * size, y + 1.3 * size, 0.7 * size, 0.25 * size, angle=side * 0.25, shell=0.35)
    body.bone(0, min(y + 2.3 * size, 0.9), 0.2 * size, 0.7 * size, shell=0.35)
    for side in (-1, 1):
        body.blob("muscle", side * 2.0 * size, y + 1.9 * size, 1.4 * size, 0.8 * size, angle=side * 0.2)


def _ribs(body: Body, radius: float) -> None:
    rng = body.rng
    for at in np.linspace(0, 2 * np.pi, int(rng.integers(7, 18)), endpoint=False):
        t = at + rng.uniform(-0.15, 0.15)
        if rng.uniform() < 0.3 or abs(np.sin(t) - 1) < 0.1:
            continue
        x, y = radius * np.cos(t), radius * np.sin(t)
        along = float(np.arctan2(body.half[1] * np.cos(t), -body.half[2] * np.sin(t)))
        thick = rng.uniform(0.02, 0.035)
        body.bone(x, y, rng.uniform(0.04, 0.12), thick, angle=along, shell=0.4, z=rng.uniform(-1, 1), rz=0.12)


def _lungs(body: Body, edge: float) -> None:
    rng = body.rng
    heart = rng.uniform(-0.05, 0.3), rng.uniform(-0.45, -0.1)
    lesions(body, "heart", *heart, 0.2, 0.2)
    body.blob("blood", heart[0] + 0.08, heart[1], rng.uniform(0.05, 0.14), rng.uniform(0.08, 0.16), rz=0.3)
    body.blob("blood", 0.12, 0.3, 0.06, 0.08)
    body.blob("air", rng.uniform(-0.08, 0.08), 0.12, 0.045, 0.05)
    body.blob("heart", *heart, rng.uniform(0.22, 0.34), rng.uniform(0.22, 0.34), angle=0.5, rz=0.7)
    for side in (-1, 1):
        x, y = side * edge * rng.uniform(0.5, 0.58), rng.uniform(-0.05, 0.1)
        rx, ry = edge * rng.uniform(0.32, 0.42), edge * rng.uniform(0.6, 0.8)
        middle = body.point(x, y)
        reach = body.half * (0.9, ry, rx) * 0.93

        inside = _ellipsoid(middle, reach)
        hilum = body.point(x - side * 0.7 * rx, y + 0.1)
        width = rng.uniform(0.012, 0.03) * body.half[2]
        for _ in range(int(rng.integers(3, 7))):
            to = middle - hilum + rng.normal(0, 0.7, 3) * reach * (float(body.deep), 1, 1)
            body.tree("vessel", hilum, to, rng.uniform(0.08, 0.16) * body.half[1], width, inside)
        for _ in range(int(rng.integers(20, 90))):
            r, t = np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
            size = rng.uniform(0.3, 1.2) * rng.uniform(0.4, 1.0) * 0.02
            place = x + 0.9 * r * rx * np.cos(t), y + 0.9 * r * ry * np.sin(t)
            body.blob(
                "vessel", *place, size, size * rng.uniform(0.7, 2), angle=t, z=rng.uniform(-1, 1), rz=0.05
            )
        if rng.uniform() < 0.3:
            body.blob("lesion", x, y + rng.uniform(-0.3, 0.3), 0.06, 0.07, wobble=0.15, rz=0.07)
        if rng.uniform() < 0.3:
            body.blob(
                "organ", x, y, rx, ry, rz=0.95, angle=side * 0.2, cut=PATCHES, low=rng.uniform(1.3, 2.2)
            )
        body.blob("lung", x, y, rx, ry, rz=0.95, angle=side * 0.2, wobble=0.05)


def _belly(body: Body, edge: float) -> None:
    rng = body.rng
    lesions(body, "liver", -0.4, -0.1, 0.3, 0.35)
    body.blob("blood", 0.06, 0.28, 0.05, 0.06)
    body.blob("blood", -0.1, 0.27, 0.06, 0.045)
    if rng.uniform() < 0.8:
        for side in (-1, 1):
            x, y = side * rng.uniform(0.4, 0.5), rng.uniform(0.25, 0.4)
            body.blob("pelvis", x - side * 0.03, y, 0.04, 0.09, angle=side * 0.3, rz=0.2)
            body.blob("kidney", x, y, 0.12, 0.17, angle=side * 0.3, rz=0.4)
            body.blob("fat", x, y, 0.16, 0.22, angle=side * 0.3, rz=0.5)
    # vessels of the liver
    middle, reach = body.point(-0.42, -0.12), body.half * (0.5, 0.4, 0.32)
    inside = _ellipsoid(middle, reach)
    for _ in range(int(rng.integers(0, 4))):
        start = middle + rng.uniform(-0.3, 0.6, 3) * reach * (float(body.deep), 1, 1)
        to = rng.normal(0, 1, 3) * (float(body.deep), 1, 1)
        body.tree("portal", start, to, 0.1 * body.half[1], rng.uniform(0.01, 0.025) * body.half[2], inside)
    for _ in range(int(rng.integers(4, 16))):  # bowel, some with gas
        x, y = rng.uniform(-0.5, 0.7) * edge, rng.uniform(-0.75, 0.35) * edge
        r, turn = rng.uniform(0.05, 0.14), rng.uniform(0, np.pi)
        longer = rng.uniform(1, 2)
        place: dict[str, Any] = {"z": rng.uniform(-1, 1), "rz": r * 1.5, "angle": turn}
        if rng.uniform() < 0.35:
            body.blob("air", x, y - 0.2 * r, 0.7 * r, 0.5 * r * longer, **place)
        body.blob("content", x, y, 0.75 * r, 0.75 * r * longer, wobble=0.1, **place)
        body.blob("bowel", x, y, r, r * longer, wobble=0.1, **place)
    body.blob("spleen", 0.68 * edge, 0.1, 0.14, 0.32, angle=0.2, rz=0.4)
    body.blob("liver", -0.42, -0.12, rng.uniform(0.35, 0.5), rng.uniform(0.4, 0.6), wobble=0.1, rz=0.7)


def _ellipsoid(middle: Floats, reach: Floats) -> Inside:
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


def limb(body: Body) -> None:
    """One to three round cross-sections of muscle about a bone, with fat, vessels and sheets."""
    rng = body.rng
    n = int(rng.integers(1, 4))
    body.zoom = 1.0 if n > 1 else body.zoom**0.5
    body.frame(0.97, 0.97)
    body.cuts(rng.uniform(10, 40), rng.uniform(2.5, 6))
    for k in range(n):
        x = 0.0 if n == 1 else -0.66 + 1.32 * k / (n - 1)
        r = rng.uniform(0.6, 0.95) if n == 1 else rng.uniform(0.55, 0.95) * 0.66 / (n - 1)
        y = rng.uniform(-0.2, 0.2) * (1 - r)
        for _ in range(int(rng.integers(1, 3))):
            bx, by = x + rng.uniform(-0.3, 0.3) * r, y + rng.uniform(-0.3, 0.3) * r
            body.bone(
                bx, by, r * rng.uniform(0.12, 0.3), r * rng.uniform(0.12, 0.3), shell=rng.uniform(0.1, 0.5)
            )
        for _ in range(int(rng.integers(2, 9))):
            a, q = rng.uniform(0, 2 * np.pi), rng.uniform(0.3, 0.75) * r
            s = r * rng.uniform(0.015, 0.06)
            body.blob("blood", x + q * np.cos(a), y + q * np.sin(a), s, s)
        edge = rng.uniform(0.7, 0.95)
        form = rng.normal(0, 0.03, 8)
        body.blob("fat", x, y, edge * r, edge * r, form=form, cut=FOLDS, low=-0.1, high=0.1)
        body.blob("fat", x, y, edge * r, edge * r, form=form, cut=PATCHES, low=rng.uniform(1, 2.5))
        body.blob("muscle", x, y, edge * r, edge * r, form=form)
        body.blob("fat", x, y, 0.97 * r, 0.97 * r, form=form)
        body.blob("skin", x, y, r, r, form=form)


def head(body: Body) -> None:
    """Scalp, skull with a spongy middle, brain with folds, ventricles, nuclei, vessels and air cells."""
    rng = body.rng
    long = rng.uniform(0.75, 0.96)
    body.frame(long * rng.uniform(0.72, 0.92), long, bend=0.018)
    body.cuts(rng.uniform(9, 26) * body.canvas.shape[-1] / 192, rng.uniform(2.0, 5))
    skull = 1 - rng.uniform(0.03, 0.12)
    thick = rng.uniform(0.04, 0.14)
    brain = skull - thick
    form = rng.normal(0, 0.025, 8) / np.repeat([1.0, 1.5, 3.0, 5.0], 2)
    inner = form + rng.normal(0, 0.12 * thick, 8) / np.repeat(
        [1.0, 1.2, 1.5, 2.0], 2
    )  # the skull's thickness varies
    if rng.uniform() < 0.4:
        _face(body, skull)
    if rng.uniform() < 0.3:
        _holder(body)
    lesions(body, "white", 0, 0, 0.5, 0.5)
    if rng.uniform() < 0.9:  # ventricles
        size = rng.uniform(0.05, 0.22)
        for side in (-1, 1):
            for front in (-1, 1):
                x, y = side * rng.uniform(0.06, 0.16), front * rng.uniform(0.12, 0.3)
                body.blob("csf", x, y, 0.5 * size, 1.2 * size, angle=side * front * 0.5, rz=0.4, wobble=0.12)
        if rng.uniform() < 0.5:
            body.blob("vessel", 0.1, 0.2, 0.03, 0.05, rz=0.1)
    for side in (-1, 1):  # deep grey matter
        body.blob(
            "deep", side * 0.2, rng.uniform(-0.1, 0.1), 0.1, 0.17, angle=side * 0.4, rz=0.3, wobble=0.12
        )
        body.blob("grey", side * 0.38, 0.0, 0.06, 0.2, angle=side * 0.2, rz=0.3, wobble=0.15)
    body.blob("csf", 0, 0, rng.uniform(0.004, 0.015), brain * 0.97, wobble=0.02)  # between the halves
    for _ in range(int(rng.integers(0, 8))):
        a, q = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.95) * brain
        s = 0.01 * np.exp(rng.uniform(-0.5, 0.7))
        body.blob("vessel", q * np.cos(a), q * np.sin(a), s, s * rng.uniform(1, 3), angle=a, rz=s)
    deep, cortex = rng.uniform(0.55, 0.8), rng.uniform(0.5, 0.9)
    sulci, edge = rng.uniform(0.04, 0.25), rng.uniform(0.95, 0.985)
    rim = edge - rng.uniform(0.03, 0.07)

    def layer(tissue: str, radius: float, outline: Floats, **cut: Any) -> None:
        body.blob(tissue, 0, 0, radius, radius, form=outline, **cut)

    layer("white", deep * brain, inner, cut=FOLDS, low=-9, high=cortex)
    layer("csf", edge * brain, inner, cut=FOLDS, low=-sulci, high=sulci)
    layer("grey", edge * brain, inner, cut=FOLDS, low=-cortex, high=cortex)
    layer("white", rim * brain, inner)
    layer("grey", edge * brain, inner)
    layer("csf", brain, inner)
    plate = rng.uniform(0.2, 0.4) * thick
    if rng.uniform() < 0.8:
        layer("cortical", brain + plate, inner)
        layer("spongy", skull - plate, form, cut=SPONGE, low=rng.uniform(-0.5, 0.5))
        layer("marrow", skull - plate, form)
    layer("cortical", skull, form)
    body.blob("muscle", 0, 0, 0.985, 0.985, form=form, cut=PATCHES, low=rng.uniform(0, 1.5))
    body.blob("fat", 0, 0, 0.985, 0.985, form=form)
    body.blob("skin", 0, 0, 1, 1, form=form)


def _holder(body: Body) -> None:
    """The cup that a head rests in, open to the front."""
    rng = body.rng
    look = body.look("table")
    wide, thick = rng.uniform(1.03, 1.15), rng.uniform(1.0, 2.5) * body.canvas.fine
    angles = np.linspace(0.05, 0.95, 25) * np.pi
    points = [body.point(wide * np.cos(t), 0.1 + wide * np.sin(t)) for t in angles]
    parts = rods(points[:-1], points[1:], thick)
    parts[:, COLUMNS["value"]] = look.value
    body.parts.append(parts)


def _face(body: Body, edge: float) -> None:
    """Eyes, air cells and the thin bones of the front and the base."""
    rng = body.rng
    for side in (-1, 1):
        x, y = side * rng.uniform(0.35, 0.45), -rng.uniform(0.62, 0.72)
        body.blob("lens", x, y - 0.13, 0.05, 0.025, rz=0.1)
        body.blob("eye", x, y, 0.15, 0.15, rz=0.25, wobble=0.02)
        body.blob("fat", x, y + 0.05, 0.22, 0.24, rz=0.3)
        body.bone(x, y + 0.05, 0.25, 0.27, shell=0.1, rz=0.35)
    for _ in range(int(rng.integers(6, 30))):
        x = rng.normal(0, 0.14) if rng.uniform() < 0.6 else rng.choice([-1, 1]) * rng.uniform(0.5, 0.75)
        y = rng.uniform(-0.85, -0.3) if abs(x) < 0.4 else rng.uniform(0.0, 0.4)
        r = rng.uniform(0.02, 0.08)
        place: dict[str, Any] = {"angle": rng.uniform(0, 3), "z": rng.uniform(-1, 1), "rz": 2 * r}
        body.blob("air", x, y, r, r * rng.uniform(0.7, 1.6), wobble=0.15, **place)
    body.blob("cortical", 0, -0.6 * edge, 0.28, 0.3, cut=FOLDS, low=-0.3, high=0.3)
    for side in (-1, 1):
        body.blob("spongy", side * 0.6, 0.2, 0.22, 0.26, cut=SPONGE, low=-0.5)
