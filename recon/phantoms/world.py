"""The families of random images, which of them are trained on, and a draw from their mixture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.ct import ct_body
from rayfold.recon.phantoms.fields import generator
from rayfold.recon.phantoms.fractals import fractal, noise_field
from rayfold.recon.phantoms.holes import holes
from rayfold.recon.phantoms.leaves import dead_leaves
from rayfold.recon.phantoms.mr import mr_body, mr_head
from rayfold.recon.phantoms.patterns import resolution
from rayfold.recon.phantoms.unseen import foam, random_ellipses, text

Array = npt.NDArray[Any]


class Family(NamedTuple):
    """How to draw an image, its share of the training mixture, and whether training may see it at all."""

    draw: Callable[[tuple[int, ...], int], Array]
    share: float
    trained: bool


FAMILIES = {
    "dead_leaves": Family(dead_leaves, 0.36, True),
    "ct_body": Family(ct_body, 0.22, True),
    "mr_head": Family(mr_head, 0.15, True),
    "mr_body": Family(mr_body, 0.07, True),
    "fractal": Family(fractal, 0.08, True),
    "noise_field": Family(noise_field, 0.06, True),
    "resolution": Family(resolution, 0.06, True),
    "foam": Family(foam, 0.0, False),
    "text": Family(text, 0.0, False),
    "random_ellipses": Family(random_ellipses, 0.0, False),
    "holes": Family(holes, 0.0, False),
}


def draw(shape: tuple[int, ...], seed: int, *, family: str) -> Array:
    """An image of the named family.

    Parameters
    ----------
    shape : tuple of int
        Two or three axes, each of at least 16 pixels.
    seed : int
        Not negative.
    family : str
        A key of `FAMILIES`.

    Returns
    -------
    ndarray, shape
        float32, or complex64 for MR; bright parts at about 1.

    Raises
    ------
    ValueError
        If there is no such family, or shape or seed are out of range.

    Examples
    --------
    >>> draw((32, 32), 0, family="ct_body").dtype
    dtype('float32')
    """
    if family not in FAMILIES:
        raise ValueError(f"family is {family!r}; it must be one of {', '.join(FAMILIES)}")
    return FAMILIES[family].draw(tuple(int(n) for n in shape), int(seed))


def mixture(shape: tuple[int, ...], seed: int) -> Array:
    """An image of a trained family, drawn with the shares of `FAMILIES`; as `draw`.

    Examples
    --------
    >>> mixture((32, 32), 7).shape
    (32, 32)
    """
    names = [name for name, family in FAMILIES.items() if family.trained]
    shares = np.cumsum([FAMILIES[name].share for name in names])
    at = generator(shape, seed, 100).uniform(0, shares[-1])
    return draw(shape, seed, family=names[int(np.searchsorted(shares, at))])
