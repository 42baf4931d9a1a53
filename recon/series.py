"""What an MRI reconstruction gives: complex images under named axes, each as an `Image` with its place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Image
from rayfold.recon.kspace import KSpace

Array = npt.NDArray[Any]
Part = Literal["magnitude", "phase", "complex"]
PARTS = ("magnitude", "phase", "complex")


@dataclass(frozen=True, eq=False, repr=False)
class Series:
    """Images of one scan: slices, echoes, averages, repetitions, each axis by its name.

    Parameters
    ----------
    array : ndarray, (..., ny, nx) or (..., nz, ny, nx)
        Complex images, or magnitudes where the method gives no phase (rss).
    axes : tuple of str
        One name per axis of `array`; the last are "y", "x", or "z", "y", "x".
    spacing : tuple of float
        Voxel size per image axis in mm; 1 where the scan does not say.
    slice_spacing : float, optional
        Distance of the slices in mm.
    direction : ndarray, (3, 3), optional
        As in `Image`.
    origin : tuple of float, optional
        Place in mm (x, y, z) of voxel ``n // 2`` of the first slice; centred on zero by default.
    echo_times : tuple of float, optional
        In ms.
    provenance : dict
        How it was made.

    Examples
    --------
    >>> made = Series(np.ones((2, 3, 4, 6), complex), ("echo", "slice", "y", "x"), (1.0, 1.0))
    >>> [(name, image.shape) for name, image in made.images()]
    [('echo1', (3, 4, 6)), ('echo2', (3, 4, 6))]
    """

    array: Array
    axes: tuple[str, ...]
    spacing: tuple[float, ...]
    slice_spacing: float | None = None
    direction: Array | None = None
    origin: tuple[float, float, float] | None = None
    echo_times: tuple[float, ...] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.axes) != self.array.ndim or self.axes[-2:] != ("y", "x"):
            raise ValueError(
                f"axes {self.axes} do not name the {self.array.ndim} axes of the images, y, x come last"
            )

    @classmethod
    def of(cls, array: Array, scan: KSpace, **about: Any) -> Series:
        """Images of a scan: `array` has its leading axes, then those of the image."""
        ndim = len(scan.grid)
        shape = array.shape[-ndim:]
        if "spacing" not in about:
            about["spacing"] = scan.spacing or (1.0,) * ndim
        gap = scan.slice_spacing or scan.slice_thickness
        names = (*scan.leading, *("z", "y", "x")[-ndim:])
        if len(shape) != ndim or len(names) != array.ndim:
            raise ValueError(f"images {array.shape} do not belong to a scan of axes {', '.join(scan.axes)}")
        return cls(
            array, names, slice_spacing=gap, direction=scan.direction, origin=scan.origin,
            echo_times=scan.echo_times, **about,
        )  # fmt: skip

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the array."""
        return tuple(self.array.shape)

    @property
    def labels(self) -> tuple[str, ...]:
        """Axes along which there are separate images: all but slices and the image's own."""
        return tuple(name for name in self.axes[: -len(self.spacing)] if name != "slice")

    def image(self, part: Part = "magnitude", **at: int) -> Image:
        """One image, or one volume of all slices.

        A slice whose place or thickness is known is a volume ``(1, ny, nx)``.

        Parameters
        ----------
        part : {"magnitude", "phase", "complex"}
            Phase in rad. Complex images can be saved as NIfTI and HDF5.
        **at : int
            Index (from 0) along each of `labels`; "slice" too, for a single slice.

        Raises
        ------
        ValueError
            If an index is missing or wrong.
        """
        if part not in PARTS:
            raise ValueError(f"part is {part!r}; it must be one of {', '.join(PARTS)}")
        names = self.axes[: -len(self.spacing)]
        wrong = [name for name in at if name not in names]
        size = dict(zip(self.axes, self.array.shape, strict=True))
        missing = [name for name in self.labels if name not in at and size[name] > 1]
        if wrong or missing:
            need = ", ".join(f"{name} (0 to {size[name] - 1})" for name in self.labels)
            raise ValueError(f"give an index for {need or 'nothing'}; got {', '.join(at) or 'none'}")
        for name in names:
            n = size[name]
            if not -n <= at.get(name, 0) < n:
                raise ValueError(f"{name} {at[name]} is not there; this series has {n} (0 to {n - 1})")
        cut = tuple(slice(None) if name == "slice" and name not in at else at.get(name, 0) for name in names)
        array = self.array[cut]
        if part == "phase":
            array = np.angle(array)
        elif part == "magnitude":
            array = np.abs(array)
        if array.ndim == 2 and (self.slice_spacing or self.origin is not None):
            array = array[None]  # a slice with a place in space
        space, origin = self._place(array, at.get("slice", 0))
        unit = "rad" if part == "phase" else "a.u."
        return Image(array, space, origin, self.direction, unit, "MR", {**self.provenance, "part": part})

    def _place(self, array: Array, first: int) -> tuple[tuple[float, ...], tuple[float, ...] | None]:
        """Spacing and origin of an image cut from the series, `first` being its first slice."""
        step = self.spacing
        if array.ndim == 3 and len(step) == 2:
            step = (self.slice_spacing or max(step), *step)
        if self.origin is None or self.direction is None:
            return step, None
        place = np.asarray(self.origin, float)
        n = self.array.shape[-len(self.spacing) :]
        for axis, (length, mm) in enumerate(zip(n[::-1], self.spacing[::-1], strict=True)):
            place = place - self.direction[:, axis] * mm * (length // 2)
        if len(self.spacing) == 2:
            place = place + self.direction[:, 2] * (self.slice_spacing or 0.0) * first
        return step, tuple(float(v) for v in place[::-1][-array.ndim :])

    def images(self, part: Part = "magnitude") -> Iterator[tuple[str, Image]]:
        """Every image with its name ("echo1_repetition2", counted from 1; "image" if there is one alone)."""
        sizes = {name: self.array.shape[self.axes.index(name)] for name in self.labels}
        for label, index in labelled(sizes):
            yield label or "image", self.image(part, **index)

    def save(self, path: str | Path, *, part: Part = "magnitude", force: bool = False) -> list[Path]:
        """Write every image; with more than one, its name goes before the suffix (``brain_echo1.nii.gz``)."""
        from rayfold.recon.io.writers import save, suffix_of

        target = Path(path)
        suffix = suffix_of(target)
        stem = target.name[: len(target.name) - len(suffix)]
        made = list(self.images(part))
        if len(made) == 1:
            return [save(made[0][1], target, force=force)]
        return [save(image, target.with_name(f"{stem}_{name}{suffix}"), force=force) for name, image in made]

    def __repr__(self) -> str:
        sizes = " x ".join(f"{n} {name}" for n, name in zip(self.array.shape, self.axes, strict=True))
        step = " x ".join(f"{s:.4g}" for s in self.spacing)
        kind = "complex" if np.iscomplexobj(self.array) else "magnitude"
        return f"Series({sizes}, {step} mm, {kind})"


def labelled(sizes: Mapping[str, int]) -> Iterator[tuple[str, dict[str, int]]]:
    """Name and index of every image along axes of these lengths; axes of length 1 have no part in the name.

    Examples
    --------
    >>> list(labelled({"echo": 2, "average": 1}))
    [('echo1', {'echo': 0, 'average': 0}), ('echo2', {'echo': 1, 'average': 0})]
    """
    for index in itertools.product(*map(range, sizes.values())):
        at = dict(zip(sizes, index, strict=True))
        yield "_".join(f"{name}{i + 1}" for name, i in at.items() if sizes[name] > 1), at
