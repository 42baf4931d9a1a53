"""What the report of a finer image shows: before and after, a detail, the difference, and the evidence."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Image
from rayfold.recon.finer import FinerGrid
from rayfold.recon.io.derived_dicom import DicomSeries
from rayfold.recon.superresolution import Finer

Array = npt.NDArray[Any]
DETAIL = 4  # the detail is this part of each side


def shown(image: Image) -> Image:
    """The image, or its magnitude where it is complex.

    Examples
    --------
    >>> shown(Image(np.full((4, 4), -3j), (1.0, 1.0))).array.max()
    np.float64(3.0)
    """
    return replace(image, array=np.abs(image.array)) if np.iscomplexobj(image.array) else image


def figures(before: Image, found: Finer) -> dict[str, Any]:
    """Captions and figures of the middle slice, for `rayfold.recon.report.write_report`.

    Parameters
    ----------
    before : Image
        What was given.
    found : Finer
        What `rayfold.recon.superresolution.solve` made of it.

    Examples
    --------
    >>> from rayfold.recon.superresolution import solve
    >>> coarse = Image(np.eye(32), (1.0, 1.0))
    >>> list(figures(coarse, solve(coarse, 2, method="bicubic", certificate=False)))
    ['Before and after', 'A detail', 'What interpolation lacks']
    """
    from rayfold.recon import plot

    made = found.image.provenance
    fy, fx = made["factor"]
    coarse, fine = _middle(before), _middle(found.image)
    grid = FinerGrid((coarse.shape[0], coarse.shape[1]), (fy, fx), made["model"])
    pixels = grid.repeat(coarse)
    kind: Any = "sinc" if grid.model == "kspace" else "bicubic"
    smooth = coarse if (fy, fx) == (1, 1) else grid.interpolate(coarse, kind)
    both = {"Before": pixels, "After": fine}
    three = both if (fy, fx) == (1, 1) else {"Before": pixels, f"{kind.capitalize()}": smooth, "After": fine}
    cut = _liveliest(np.abs(fine))
    placed = Image(
        np.abs(fine) if np.iscomplexobj(fine) else fine,
        found.image.spacing[-2:],
        unit=found.image.unit,
        modality=found.image.modality,
    )

    def image(values: Array) -> Image:
        return replace(placed, array=_real(values), origin=None)

    difference = _real(fine) - _real(smooth)
    edge = float(np.quantile(np.abs(difference), 0.995)) or 1.0
    window = _window(placed)
    drawn = {
        "Before and after": plot.compare({k: image(v) for k, v in both.items()}, window=window),
        "A detail": plot.compare({k: image(v[cut]) for k, v in three.items()}, window=window),
        "What interpolation lacks" if (fy, fx) != (1, 1) else "What was sharpened": plot.image(
            image(difference), window=(-edge, edge)
        ),
    }
    return drawn | _maps(found)


def finer_series(series: DicomSeries, found: Finer) -> DicomSeries:
    """The DICOM series that was read, with finer pixels at the same place.

    Each slice keeps what it was; pixel size and the position of its first pixel follow from the grid.
    """
    made = found.image.provenance
    ny, nx = series.array.shape[-2:]
    grid = FinerGrid((ny, nx), tuple(made["factor"]), made["model"])
    wide = replace(
        series,
        array=grid.repeat(series.array),
        spacing=(series.spacing[0] / grid.factor[0], series.spacing[1] / grid.factor[1]),
        slices=tuple(replace(each, numbers=_moved(each.numbers, grid)) for each in series.slices),
    )
    return wide.with_array(found.image.array)  # padding keeps its value


def _moved(numbers: dict[str, list[str]], grid: FinerGrid) -> dict[str, list[str]]:
    """Numbers of a slice on the finer grid."""
    from pydicom.valuerep import format_number_as_ds

    found = {name: value for name, value in numbers.items() if name != "SliceLocation"}
    steps = np.array([float(v) for v in numbers["PixelSpacing"]])  # down, then across
    across, down = np.array([float(v) for v in numbers["ImageOrientationPatient"]]).reshape(2, 3)
    first = np.array([grid.places(axis)[0] for axis in (0, 1)]) * steps
    place = np.array([float(v) for v in numbers["ImagePositionPatient"]])
    place = place + first[0] * down + first[1] * across
    found["ImagePositionPatient"] = [str(format_number_as_ds(float(v) + 0.0)) for v in place]
    found["PixelSpacing"] = [str(format_number_as_ds(float(v))) for v in steps / grid.factor]
    return found


def facts(found: Finer) -> dict[str, Any]:
    """What to read first, as short names and values."""
    made, image = found.image.provenance, found.image
    return {
        "Method": made["method"],
        "Factor": " x ".join(map(str, made["factor"])),
        "Pixels made by": {"binning": "binning", "kspace": "cut-off k-space"}[made["model"]],
        "Size": " x ".join(map(str, image.shape)),
        "Pixel": " x ".join(f"{s:.4g}" for s in image.spacing) + f" {image.length}",
        "Unit": image.unit,
        "Noise": made["noise"],
        **{f"Note {i}": note for i, note in enumerate(made["notes"], 1)},
        **(found.certificate.facts() if found.certificate is not None else {}),
    }


def _maps(found: Finer) -> dict[str, Any]:
    """The certificate's maps of its middle slice."""
    from rayfold.recon import plot

    if found.certificate is None:
        return {}
    at = len(found.slices) // 2
    where = "" if len(found.slices) == 1 else f", slice {found.slices[at]}"
    scale, unit = (1000.0, "HU") if found.image.unit == "HU" else (1.0, found.image.unit)
    drawn = {}
    for caption, values in found.certificate.figures().items():
        edge = float(np.quantile(np.abs(values[at]), 0.998)) * scale
        plane = Image(values[at] * scale, found.image.spacing[-2:], unit=unit)
        low = 0.0 if values[at].min() >= 0 else -edge
        drawn[f"{caption}{where}"] = plot.image(plane, window=(low, edge or 1.0))
    return drawn


def _middle(image: Image) -> Array:
    array = np.asarray(image.array)
    return array if array.ndim == 2 else array[len(array) // 2]


def _real(values: Array) -> Array:
    return np.abs(values) if np.iscomplexobj(values) else values


def _window(image: Image) -> tuple[float, float]:
    from rayfold.recon.windows import window_of

    return window_of(image.array, image.unit)


def _liveliest(plane: Array) -> tuple[slice, slice]:
    """The part of the image with the most edges, of a `DETAIL`-th of each side."""
    ny, nx = plane.shape
    edges = np.abs(np.diff(plane, axis=0, append=plane[-1:])) + np.abs(np.diff(plane, append=plane[:, -1:]))
    edges = np.minimum(edges, np.quantile(edges, 0.99))  # one bright rim does not decide
    h, w = max(ny // DETAIL, 1), max(nx // DETAIL, 1)
    total = np.pad(edges.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    boxes = total[h:, w:] - total[:-h, w:] - total[h:, :-w] + total[:-h, :-w]
    y, x = np.unravel_index(int(np.argmax(boxes)), boxes.shape)
    return slice(int(y), int(y) + h), slice(int(x), int(x) + w)
