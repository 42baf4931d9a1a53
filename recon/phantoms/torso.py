"""Chests, bellies and limbs as parts of a `Body`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.body import FOLDS, PATCHES, Body, ellipsoid, lesions
from rayfold.recon.phantoms.parts import KINDS, table, turns

Floats = npt.NDArray[Any]
BOX = KINDS.index("box")


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
    body.add("table", table(1, kind=BOX, centre=centre, turn=turns(0.0), half=half, value=look.value))


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

        inside = ellipsoid(middle, reach)
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
    inside = ellipsoid(middle, reach)
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
