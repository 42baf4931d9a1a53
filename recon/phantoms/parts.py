"""Tables of parts for `rayfold.kernels.cpu.paint`: columns by name, turns, and the canvas they go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]
KINDS = ("ellipsoid", "box", "star", "polygon", "capsule", "everywhere")
# columns of a part, as in the kernel: name, first column, how many
COLUMNS = {
    "kind": slice(0, 1),
    "centre": slice(1, 4),
    "turn": slice(4, 13),
    "half": slice(13, 16),
    "form": slice(16, 24),
    "sides": slice(24, 25),
    "value": slice(25, 26),
    "shade": slice(26, 29),
    "field": slice(29, 30),
    "strength": slice(30, 31),
    "place": slice(31, 34),
    "wave": slice(34, 35),
    "frequency": slice(35, 38),
    "phase": slice(38, 39),
    "sharp": slice(39, 40),
    "bend": slice(40, 41),
    "cut": slice(41, 42),
    "low": slice(42, 43),
    "high": slice(43, 44),
}
WIDTH = 44


def table(n: int, **columns: Any) -> Floats:
    """`n` parts; a column that is not given is 0, no cut, axes along z, y, x.

    Examples
    --------
    >>> table(2, value=[1.0, 2.0], half=[3, 4, 5]).shape
    (2, 44)
    """
    parts = np.zeros((n, WIDTH), np.float32)
    parts[:, COLUMNS["turn"]] = np.eye(3).ravel()
    parts[:, COLUMNS["half"]] = 1
    parts[:, COLUMNS["cut"]] = -1
    for name, value in columns.items():
        value = np.asarray(value, np.float32)
        at = COLUMNS[name]
        if value.ndim == 1 and len(value) == n and at.stop - at.start == 1:
            value = value[:, None]
        parts[:, at] = value
    return parts


def turns(angles: npt.ArrayLike) -> Floats:
    """Rotations in the plane by `angles` in rad, ``(n, 9)``: its first axis lies at that angle to x.

    Examples
    --------
    >>> turns([0.0])[0].astype(int).tolist()
    [0, 0, 1, 0, 1, 0, 1, 0, 0]
    """
    angles = np.asarray(angles, np.float64)
    c, s, zero = np.cos(angles), np.sin(angles), np.zeros_like(angles)
    return np.stack([zero, s, c, zero, c, -s, zero + 1, zero, zero], axis=-1)


def any_turns(rng: np.random.Generator, n: int, deep: bool) -> Floats:
    """`n` random rotations, in the plane unless `deep`."""
    if not deep:
        return turns(rng.uniform(0, 2 * np.pi, n))
    q = rng.standard_normal((n, 4))
    w, x, y, z = (q / np.linalg.norm(q, axis=1, keepdims=True)).T
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
        2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
        2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, axis=-1)


def rods(starts: npt.ArrayLike, stops: npt.ArrayLike, radii: npt.ArrayLike, taper: float = 0.0) -> Floats:
    """Capsules between points ``(n, 3)``, in order z, y, x, of radius ``1 + taper`` to ``1 - taper``.

    Examples
    --------
    >>> rods([[0, 0, 0]], [[0, 0, 8]], [2.0])[0, COLUMNS["half"]].tolist()
    [4.0, 2.0, 2.0]
    """
    starts, stops = np.asarray(starts, float), np.asarray(stops, float)
    along = stops - starts
    length = np.linalg.norm(along, axis=1, keepdims=True)
    u = np.where(length > 0, along / np.maximum(length, 1e-9), (0.0, 0.0, 1.0))
    v = np.cross(u, np.eye(3)[np.argmin(np.abs(u), axis=1)])
    v /= np.linalg.norm(v, axis=1, keepdims=True)
    radii = np.broadcast_to(np.asarray(radii, float), len(u))[:, None]
    return table(
        len(u),
        kind=KINDS.index("capsule"),
        centre=(starts + stops) / 2,
        turn=np.concatenate([u, v, np.cross(u, v)], axis=1),
        half=np.concatenate([np.maximum(length / 2, 1e-3), radii, radii], axis=1),
        form=(taper, *(0.0,) * 7),
    )


@dataclass
class Canvas:
    """A grid finer than the image it becomes, textures and cuts to paint with.

    Parameters
    ----------
    shape : tuple
        Of the image, two or three axes.
    fine : int
        Samples per pixel and axis.
    fields, cuts : ndarray
        As `rayfold.kernels.cpu.paint.paint` wants them.
    shift : ndarray
        Displacements in samples of the fine grid, or empty.
    """

    shape: tuple[int, ...]
    fine: int = 2
    fields: Floats = field(default_factory=lambda: np.zeros((1, 1, 1, 1), np.float32))
    cuts: Floats = field(default_factory=lambda: np.zeros((1, 1, 1, 1), np.float32))
    shift: Floats = field(default_factory=lambda: np.zeros((3, 0, 0, 0), np.float32))

    def __post_init__(self) -> None:
        self.array = np.zeros(self.grid, np.float32)
        self.free = np.ones(self.grid, np.uint8)

    @property
    def deep(self) -> bool:
        """Whether the image is a volume."""
        return len(self.shape) == 3

    @property
    def grid(self) -> tuple[int, int, int]:
        """Shape of the fine grid, three axes always."""
        nz, ny, nx = (1,) * (3 - len(self.shape)) + self.shape
        return nz * (self.fine if self.deep else 1), ny * self.fine, nx * self.fine

    @property
    def middle(self) -> Floats:
        """Index of the centre of the fine grid."""
        return (np.array(self.grid) - 1) / 2

    def paint(self, parts: Floats | Sequence[Floats], *, add: bool = False) -> int:
        """Paint a table of parts, the first in front; the number of samples still free."""
        from rayfold.kernels.cpu.paint import paint

        rows = parts if isinstance(parts, np.ndarray) else np.concatenate(list(parts))
        furthest = float(np.abs(self.shift).max()) if self.shift.size else 0.0
        return int(paint(self.array, self.free, rows, self.fields, self.cuts, self.shift, furthest, add))

    def image(self, blur: float) -> Floats:
        """The image: area means of the fine grid under a Gaussian of `blur` pixels, as a scanner sees it."""
        from rayfold.recon.phantoms.fields import smoothed

        deep = smoothed(self.array, blur * self.fine, self.fine, axes=(0, 1, 2) if self.deep else (1, 2))
        return deep.reshape(self.shape)
