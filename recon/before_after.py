"""Pictures of an image before and after something was done to it, and of what was taken away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from rayfold.recon.data import Image
from rayfold.recon.panels import Panel, number, page
from rayfold.recon.plot import length_of
from rayfold.recon.windows import Window, window_of


def before_after(
    before: Image, after: Image, *, window: Window = None, index: int | None = None, zoom: int = 1
) -> Any:
    """Show a slice before and after, and below what was taken away.

    A method that smooths only noise leaves noise alone in the difference: outlines of the object in it are
    resolution that was lost.

    Parameters
    ----------
    before, after : Image
        Of one shape; complex ones are shown as magnitudes.
    window : str or (low, high), optional
        As in `rayfold.recon.plot.image`; the same for both.
    index : int, optional
        Slice of volumes; the middle one by default.
    zoom : int
        Show only the middle, so many times enlarged.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> image = Image(np.eye(48), (1.0, 1.0))
    >>> len(before_after(image, image).axes)  # three panels, a scale of images and one of differences
    5
    """
    if before.shape != after.shape:
        raise ValueError(f"the images have shapes {before.shape} and {after.shape}; they must have one")
    first, second = (_plane(image, index)[_middle(image.shape[-2:], zoom)] for image in (before, after))
    low, high = window_of(first, before.unit, window)
    unit = "" if before.unit == "a.u." else before.unit
    length = length_of(before)
    removed = first - second
    edge = float(np.percentile(np.abs(removed), 99.5)) or float(np.abs(removed).max()) or 1.0
    steps = (before.spacing[-2], before.spacing[-1])
    shown = Panel(first, steps, low, high, title="before", unit=unit, length=length)
    after_it = replace(shown, array=second, title="after")
    less = replace(shown, array=removed, low=-edge, high=edge, cmap="RdBu_r", title="")
    foot = f"below: before \N{MINUS SIGN} after, within \N{PLUS-MINUS SIGN}{number(edge)} {unit}".rstrip()
    return page([[shown, after_it], [None, less]], size=4.4, foot=foot)


def _plane(image: Image, index: int | None) -> Any:
    array = image.array
    if array.ndim == 3:
        array = array[len(array) // 2 if index is None else index]
    return np.abs(array) if np.iscomplexobj(array) else array.astype(np.float64)


def _middle(shape: tuple[int, ...], zoom: int) -> tuple[slice, ...]:
    sides = [max(n // zoom, min(n, 16)) for n in shape]
    return tuple(slice((n - side) // 2, (n - side) // 2 + side) for n, side in zip(shape, sides, strict=True))
