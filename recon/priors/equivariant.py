"""A denoiser that does not know up from down: turned and mirrored at random before, and back after."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfold.operators.dispatch import is_traced, namespace, to_numpy
from rayfold.recon.priors.denoiser import Denoise

Array = Any
VIEWS = 8  # four rotations, each mirrored or not


@dataclass(frozen=True)
class Equivariant:
    """A denoiser on a turned and mirrored image, turned back: ``R^-1 denoise(R x, sigma)``.

    An image is as likely as its mirror image, but no network treats both alike, and what it does wrong in one
    way of looking is added up by the iterations of plug-and-play until they fall apart. A new way at every
    call averages it out. With `averaging` (`ProximalGradient`) and a stop by `Discrepancy` these are the
    defaults for plug-and-play here.

    Parameters
    ----------
    denoise : callable
        ``denoise(x, sigma)`` for images ``(..., ny, nx)``, as for `PlugAndPlay`.
    seed : int
        Of the draw. One of the eight ways is drawn from the seed and the values of the image: it changes as
        the iterations go on, and the same call gives the same answer.
    every : bool
        All eight ways, averaged: eight times the cost, exactly equivariant, and the only choice under
        ``jax.jit``, where there are no values to draw from.

    Raises
    ------
    TypeError
        If `denoise` cannot be called, or the image is traced and `every` is off.

    References
    ----------
    M. Terris, T. Moreau, N. Pustelnik, J. Tachella, "Equivariant plug-and-play image reconstruction",
    CVPR 2024.

    Examples
    --------
    >>> shift = lambda x, sigma: np.roll(x, 1, -1)  # plainly not a denoiser of all directions alike
    >>> Equivariant(shift, every=True)(np.array([[8.0, 0.0], [0.0, 0.0]]), 0.1)
    array([[0., 4.],
           [4., 0.]])
    """

    denoise: Denoise
    seed: int = 0
    every: bool = False

    def __post_init__(self) -> None:
        if not callable(self.denoise):
            raise TypeError(f"denoise is {type(self.denoise).__name__}; it must be a function of (x, sigma)")

    def __call__(self, x: Array, sigma: Any) -> Array:
        """The image without its noise; `sigma` is a number or broadcasts to the image."""
        if not self.every:
            return self._seen(self._drawn(x), x, sigma)
        total = self._seen(0, x, sigma)
        for way in range(1, VIEWS):
            total = total + self._seen(way, x, sigma)
        return total / VIEWS

    def _drawn(self, x: Array) -> int:
        if is_traced(x):
            raise TypeError("under jit there are no values to draw a rotation from; take every=True")
        bits = zlib.crc32(np.ascontiguousarray(to_numpy(x)).tobytes())
        return int(np.random.default_rng((self.seed, bits)).integers(VIEWS))

    def _seen(self, way: int, x: Array, sigma: Any) -> Array:
        turned = self.denoise(turn(x, way), _turned_level(sigma, way))
        return turn_back(turned, way)


def _steps(way: int) -> Iterator[str]:
    """Which of transposition and the two reflections make up one of the eight symmetries of a square."""
    for bit, name in enumerate(("transpose", "rows", "columns")):
        if way >> bit & 1:
            yield name


def _apply(x: Array, step: str) -> Array:
    xp = namespace(x)
    if step == "transpose":
        return xp.moveaxis(x, -1, -2)
    return xp.flip(x, axis=-2 if step == "rows" else -1)


def turn(x: Array, way: int) -> Array:
    """An image in one of the eight ways to look at it, 0 to 7; 0 is as it is."""
    for step in _steps(way):
        x = _apply(x, step)
    return np.ascontiguousarray(x) if isinstance(x, np.ndarray) else x  # not every denoiser takes views


def turn_back(x: Array, way: int) -> Array:
    """What `turn` made, as it was."""
    for step in reversed(list(_steps(way))):
        x = _apply(x, step)
    return x


def _turned_level(sigma: Any, way: int) -> Any:
    """A map of the noise turns with its image; numbers stay."""
    return turn(sigma, way) if getattr(sigma, "ndim", 0) >= 2 else sigma
