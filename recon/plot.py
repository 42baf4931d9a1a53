"""Pictures of images and scans: grey, in true proportion, one window for everything that is compared.

Every function returns a matplotlib Figure, or the axes it was given; nothing is ever shown or kept globally.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Image, Scan
from rayfold.recon.kspace import KSpace
from rayfold.recon.metrics import psnr, ssim
from rayfold.recon.panels import FAINT, INK, Panel, blank, draw, number, page
from rayfold.recon.windows import Window, window_of

Picture = Image | npt.NDArray[Any]
PER_ROW = 5
DECADES = 4  # of k-space: below lies noise


def image(image: Picture, *, window: Window = None, ax: Any = None) -> Any:
    """Show an image; a volume as its three orthogonal middle slices.

    Parameters
    ----------
    image : Image or ndarray, (ny, nx) or (nz, ny, nx)
        What to show.
    window : str or (low, high), optional
        "lung", "bone", "soft" or "brain" for HU, or the values shown black and white. By default "soft" for
        HU and robust percentiles for everything else.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a volume then shows its middle slice.

    Returns
    -------
    matplotlib.figure.Figure or matplotlib.axes.Axes
        The axes where `ax` was given.

    Raises
    ------
    ValueError
        If the window does not fit the unit, or the array is no image.

    Examples
    --------
    >>> figure = image(Image(np.eye(16), (1.0, 1.0)))
    >>> len(figure.axes)  # the image and its grey scale
    2
    """
    picture = _image(image)
    low, high = window_of(picture.array, picture.unit, window)
    if ax is not None:
        draw(ax, _axial(picture, low, high))
        return ax
    panels = _orthogonal(picture, low, high)
    if len(panels) == 1:
        return page([panels], size=4.6)
    flat = (
        panels[1].extent[0] < 0.5 * panels[0].extent[0]
    )  # thin stacks leave less paper empty below each other
    return page([[panel] for panel in panels] if flat else [panels], size=4.0 if flat else 3.4)


def compare(
    images: Mapping[str, Picture],
    reference: str | Picture | None = None,
    *,
    window: Window = None,
    data_range: float | None = None,
    difference: float | None = None,
) -> Any:
    """Show images side by side in one window, with metrics and difference maps against a reference.

    The window, the range of the metrics and the window of the differences are the same for all images; the
    last two are stated below the figure.

    Parameters
    ----------
    images : mapping of str to Image or ndarray, (ny, nx) or (nz, ny, nx)
        Names and images of one shape; volumes show their middle slice, metrics take all of them. Arrays
        take the pixel size and the unit of the images they are shown with.
    reference : str or Image or ndarray, optional
        The truth, or its name among `images`. It is shown first; the others get PSNR and SSIM in the title
        and their difference from it below.
    window : str or (low, high), optional
        As in `image`; by default that of the reference or of the first image.
    data_range : float, optional
        Range of values for the metrics; by default max - min of the reference.
    difference : float, optional
        The differences shown deepest blue and red, minus and plus this value; by default what 99.5 % of all
        pixels of all differences stay within.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If there is no image, if shapes or units differ, if the reference's name is unknown, or if a range is
        not positive.

    Examples
    --------
    >>> truth = np.eye(16)
    >>> figure = compare({"half": truth / 2}, reference=truth)
    >>> len(figure.axes)  # two images, one difference, two scales
    5
    """
    for what, value in (("data_range", data_range), ("difference", difference)):
        if value is not None and not 0 < value < np.inf:
            raise ValueError(f"{what} is {value}; give a positive number in the unit of the images")
    placed = [v for v in (*images.values(), reference) if isinstance(v, Image)]
    pictures = {name: _beside(value, placed) for name, value in images.items()}
    truth, name = _reference(pictures, reference, placed)
    if truth is not None:
        pictures = {name: truth, **{k: v for k, v in pictures.items() if k != name}}
    _check_alike(pictures)
    first = next(iter(pictures.values()))
    low, high = window_of(first.array, first.unit, window)
    shown = [replace(_axial(p, low, high), title=k) for k, p in pictures.items()]
    if truth is None or len(shown) == 1:
        return page(_wrapped(shown), size=3.0)
    span = float(np.ptp(truth.array)) if data_range is None else data_range
    others = list(pictures.values())[1:]
    notes = [_metrics(p.array, truth.array, span) for p in others]
    shown = [
        replace(shown[0], note="" if name == "reference" else "reference"),
        *(replace(p, note=n) for p, n in zip(shown[1:], notes, strict=True)),
    ]
    differences = _differences(shown[0], shown[1:], difference)
    unit = "" if truth.unit in ("", "a.u.") else f" {truth.unit}"
    metrics = f"PSNR and SSIM with a data range of {number(span)}{unit}; " if span > 0 else ""
    edge = f"\N{PLUS-MINUS SIGN}{number(differences[0].high)}{unit}"
    foot = f"{metrics}difference is image \N{MINUS SIGN} {name}, shown within {edge}"
    rows: list[list[Panel | None]] = []
    for start in range(0, len(others), PER_ROW - 1):
        part = slice(start, start + PER_ROW - 1)
        # the reference leads every row of images; below it, its place stays empty
        rows += [[shown[0], *shown[1:][part]], [None, *differences[part]]]
    return page(rows, size=3.0, foot=foot)


def sinogram(scan: Scan, *, row: int | None = None) -> Any:
    """Show one detector row of a scan, views downwards.

    Parameters
    ----------
    scan : Scan
        What was measured.
    row : int, optional
        Detector row; the middle one by default.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the scan has no such row.

    Examples
    --------
    >>> from rayfold.operators.geometry import ParallelBeam
    >>> figure = sinogram(Scan(np.ones((8, 16)), ParallelBeam.evenly(8, 16), "attenuation"))
    >>> figure.axes[0].get_xlabel()
    'detector bin'
    """
    at = scan.n_rows // 2 if row is None else row
    if not 0 <= at < scan.n_rows:
        raise ValueError(f"row {row} is not one of the {scan.n_rows} detector rows, 0 to {scan.n_rows - 1}")
    data = scan.data if scan.data.ndim == 2 else scan.data[:, at]
    finite = data[np.isfinite(data)]
    low, high = np.percentile(finite, (0.1, 99.9)) if finite.size else (0.0, 1.0)
    figure = blank(5.4, 4.4)
    axes = figure.add_axes((0.115, 0.13, 0.74, 0.765))
    picture = axes.imshow(data, cmap="gray", vmin=low, vmax=high, aspect="auto", interpolation="antialiased")
    bar = figure.colorbar(picture, cax=figure.add_axes((0.88, 0.13, 0.016, 0.4)))
    bar.outline.set_visible(False)
    ends = [float(low), float(high)]
    bar.set_ticks(ends, labels=[number(v) for v in ends])
    axes.set_xlabel("detector bin", size=8, color=FAINT)
    axes.set_ylabel("view", size=8, color=FAINT)
    for part in (axes, bar.ax):
        part.tick_params(length=0, labelsize=7, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    axes.set_title(scan.kind, loc="left", size=9.5, color=INK)
    return figure


def kspace(scan: KSpace) -> Any:
    """Show the samples of a scan: their magnitude over all coils, on a scale of decades.

    The first image of the scan, the middle slice and partition; samples off the grid are shown in the order
    in which they were read, shots downwards.

    Parameters
    ----------
    scan : KSpace
        What was measured.

    Returns
    -------
    matplotlib.figure.Figure

    Examples
    --------
    >>> figure = kspace(KSpace(np.ones((2, 8, 16), np.complex64), ("coil", "ky", "kx")))
    >>> figure.axes[0].get_xlabel(), figure.axes[0].get_ylabel()
    ('kx', 'ky')
    """
    at = tuple(scan.size(name) // 2 if name == "slice" else 0 for name in scan.leading)
    data = np.sqrt((np.abs(scan.data[at]) ** 2).sum(axis=0))
    if data.ndim == 3:
        data = data[len(data) // 2]
    data = np.atleast_2d(data)
    some = data[data > 0]
    top = float(np.log10(some.max())) if some.size else 0.0
    values = np.log10(np.maximum(data, 10.0 ** (top - DECADES)))
    figure = blank(5.4, 4.4)
    axes = figure.add_axes((0.115, 0.13, 0.74, 0.765))
    axes.imshow(values, cmap="gray", vmin=top - DECADES, vmax=top, aspect="auto", interpolation="antialiased")
    axes.set_xlabel(scan.k_axes[-1], size=8, color=FAINT)
    axes.set_ylabel(scan.k_axes[-2] if len(scan.k_axes) > 1 else "", size=8, color=FAINT)
    axes.tick_params(length=0, labelsize=7, labelcolor=FAINT)
    axes.spines[:].set_visible(False)
    axes.set_title(f"k-space, {DECADES} decades", loc="left", size=9.5, color=INK)
    return figure


def _image(value: Picture) -> Image:
    """Arrays without a place have pixels of length 1 and no unit."""
    if isinstance(value, Image):
        return value
    array = np.asarray(value)
    if np.iscomplexobj(array):
        raise ValueError("the array is complex; show its magnitude, abs(x)")
    return Image(array, (1.0,) * array.ndim, unit="a.u.")


def _beside(value: Picture, placed: list[Image]) -> Image:
    """As `_image`, but an array shown next to images with a place lies where they do."""
    alone = _image(value)
    if isinstance(value, Image) or not placed or alone.shape != placed[0].shape:
        return alone
    return replace(placed[0], array=alone.array)


def length_of(picture: Image) -> str:
    """Unit of lengths in a picture: as `Image.length`, and pixels where an array came without a place."""
    return "px" if picture.unit == "a.u." and set(picture.spacing) == {1.0} else picture.length


def _axial(picture: Image, low: float, high: float) -> Panel:
    array = picture.array if picture.array.ndim == 2 else picture.array[len(picture.array) // 2]
    steps = (picture.spacing[-2], picture.spacing[-1])
    unit = "" if picture.unit == "a.u." else picture.unit
    return Panel(array, steps, low, high, unit=unit, length=length_of(picture))


def _orthogonal(picture: Image, low: float, high: float) -> list[Panel]:
    axial = _axial(picture, low, high)
    if picture.array.ndim == 2 or len(picture.array) == 1:
        return [axial]
    _, ny, nx = picture.array.shape
    dz, dy, dx = picture.spacing
    upright = picture.array[::-1]  # z points up, rows go down
    return [
        replace(axial, title="axial"),
        replace(axial, title="coronal", array=upright[:, ny // 2], steps=(dz, dx)),
        replace(axial, title="sagittal", array=upright[:, :, nx // 2], steps=(dz, dy)),
    ]


def _reference(
    pictures: Mapping[str, Image], reference: str | Picture | None, placed: list[Image]
) -> tuple[Image | None, str]:
    if not isinstance(reference, str):
        return (None if reference is None else _beside(reference, placed)), "reference"
    if reference not in pictures:
        raise ValueError(f"reference {reference!r} is not one of the images: {', '.join(pictures)}")
    return pictures[reference], reference


def _check_alike(pictures: Mapping[str, Image]) -> None:
    if not pictures:
        raise ValueError("there is no image to compare; give at least one, as {'fbp': image}")
    shapes = {p.shape for p in pictures.values()}
    units = {p.unit for p in pictures.values()} - {"a.u."}
    if len(shapes) > 1:
        raise ValueError(f"the images have shapes {sorted(shapes)}; reconstruct them on one grid")
    steps = np.array([p.spacing for p in pictures.values()])
    if not np.allclose(steps, steps[0], rtol=1e-4, atol=0):
        raise ValueError(
            f"the images have pixels of {sorted(map(tuple, steps.tolist()))}; resample to one grid"
        )
    if len(units) > 1:
        raise ValueError(f"the images are in {', '.join(sorted(units))}; convert them to one unit")


def _metrics(array: npt.NDArray[Any], truth: npt.NDArray[Any], span: float) -> str:
    if not span > 0:
        return ""
    similar = f"   SSIM {ssim(array, truth, data_range=span):.3f}" if min(array.shape[-2:]) >= 11 else ""
    return f"PSNR {psnr(array, truth, data_range=span):.1f} dB{similar}"


def _differences(truth: Panel, others: list[Panel], edge: float | None) -> list[Panel]:
    """Image minus reference, blue below and red above, one symmetric window for all."""
    maps = [panel.array.astype(np.float64) - truth.array for panel in others]
    if edge is None:
        edge = float(np.percentile(np.abs(np.stack(maps)), 99.5)) or 1.0
    return [
        replace(panel, array=m, low=-edge, high=edge, cmap="RdBu_r", title="", note="")
        for panel, m in zip(others, maps, strict=True)
    ]


def _wrapped(panels: list[Panel]) -> list[list[Panel]]:
    return [panels[k : k + PER_ROW] for k in range(0, len(panels), PER_ROW)]
