"""Heads as parts of a `Body`: scalp, skull, brain with folds, and what a face is made of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.body import FOLDS, PATCHES, SPONGE, Body, lesions
from rayfold.recon.phantoms.parts import COLUMNS, rods

Floats = npt.NDArray[Any]


def head(body: Body) -> None:
    """Scalp, skull with a spongy middle, brain with folds, ventricles, nuclei, vessels and air cells."""
    rng = body.rng
    long = rng.uniform(0.75, 0.96) if rng.uniform() < 0.7 else rng.uniform(0.5, 0.75)
    body.frame(long * rng.uniform(0.72, 0.92), long, bend=0.018)
    fold = 5 * (26 / 5) ** rng.uniform()  # pixels of an image of 192 from one sulcus to the next
    body.cuts(fold * body.canvas.shape[-1] / 192, rng.uniform(2.0, 5))
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
    for _ in range(round(40 ** rng.uniform(0, 1)) - 1):
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
    body.add("table", parts)


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
