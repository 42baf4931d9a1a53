"""What a simulation scans: ellipses, known exactly, or an image, taken as squares of uniform value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rayfold.operators import FanBeam, ParallelBeam, Volume, XRay
from rayfold.recon.data import Image
from rayfold.recon.ellipses import checked, ellipse_sinogram, rasterise
from rayfold.recon.protocol.facts import unknown

Array = Any
CT_PHANTOMS = ("thorax", "shepp-logan", "disc")
RADIUS = 100.0  # mm, of the head and the disc


@dataclass(frozen=True, eq=False)
class CTObject:
    """Either `table` or `image` (in 1/mm)."""

    table: Array | None = None
    image: Image | None = None

    @classmethod
    def of(cls, given: Any, *, seed: int = 0, mu_water: float | None = None) -> CTObject:
        """The object that a phantom's name, a table of ellipses or an `Image` stands for.

        Raises
        ------
        ValueError
            If it is none of them, or the image is not of attenuation or HU.
        """
        if isinstance(given, cls):
            return given
        if isinstance(given, str):
            return cls(_table(given, seed))
        if not isinstance(given, Image):
            return cls(checked(given))
        if given.array.ndim != 2 or np.iscomplexobj(given.array):
            raise ValueError(f"the image is {given.array.dtype} of shape {given.shape}; give a real slice")
        if given.unit == "HU":
            if mu_water is None:
                raise ValueError("the image is in HU; convert it to 1/mm")
            mu = mu_water * (1 + np.asarray(given.array, np.float64) / 1000)
            return cls(image=replace(given, array=mu, unit="1/mm"))
        if given.unit != "1/mm":
            raise ValueError(f"the image is in {given.unit}; a CT simulation needs 1/mm or HU")
        return cls(image=given)

    @property
    def grid(self) -> Volume | None:
        """Grid of the image; None for ellipses, which have none."""
        return None if self.image is None else grid_of(self.image)

    def line_integrals(self, beam: ParallelBeam | FanBeam) -> Array:
        """Along the rays, (views, cols): exact for ellipses, by a grid three times finer for an image."""
        if self.table is not None:
            return ellipse_sinogram(self.table, beam)
        assert self.image is not None
        grid = grid_of(self.image)
        factor = 3 if max(grid.shape) <= 512 else 2
        fine = Volume(
            tuple(factor * n for n in grid.shape), tuple(s / factor for s in grid.steps), grid.centre
        )
        squares = np.repeat(np.repeat(self.image.array, factor, axis=0), factor, axis=1)
        return np.asarray(XRay(fine, beam)(np.ascontiguousarray(squares, np.float32)), np.float64)

    def pixels(self, volume: Volume) -> Array:
        """Mean over every pixel of a grid, float32; air outside of an image."""
        if self.table is not None:
            return rasterise(self.table, volume).astype(np.float32)
        assert self.image is not None
        grid = grid_of(self.image)
        if grid == volume:
            return np.asarray(self.image.array, np.float32)
        rows, columns = (
            _shares(new, old, b, a)
            for new, old, b, a in zip(
                volume.coordinates(), grid.coordinates(), volume.steps, grid.steps, strict=True
            )
        )
        return np.asarray(rows @ self.image.array @ columns.T, np.float32)


def grid_of(image: Image) -> Volume:
    """The grid on which an image lies."""
    assert image.origin is not None
    middle = tuple(
        o + (n - 1) / 2 * s for o, n, s in zip(image.origin, image.shape, image.spacing, strict=True)
    )
    return Volume(image.shape, image.spacing, middle)


def _shares(new: Array, old: Array, new_step: float, old_step: float) -> Array:
    """Which part of every new pixel each old one covers, along one axis."""
    left = np.maximum(new[:, None] - new_step / 2, old - old_step / 2)
    right = np.minimum(new[:, None] + new_step / 2, old + old_step / 2)
    return np.maximum(right - left, 0) / new_step


def _table(name: str, seed: int) -> Array:
    from rayfold.recon.phantoms import MU_WATER, shepp_logan_table, thorax_table

    if name not in CT_PHANTOMS:
        raise ValueError(f"there is no CT phantom {name!r}; {unknown(name, CT_PHANTOMS)}")
    if name == "thorax":
        return thorax_table(seed)
    if name == "shepp-logan":
        return shepp_logan_table(radius=RADIUS)
    return np.array([[MU_WATER, RADIUS, RADIUS, 0.0, 0.0, 0.0]])


def finer(image: Any, matrix: tuple[int, int], extent: tuple[float, float], *, seed: int = 0) -> Array:
    """An MRI object on a grid finer than the one that is encoded, complex64.

    Parameters
    ----------
    image : str, Image or ndarray, (ny, nx)
        "head"; or an image over the whole field of view: of the matrix, then taken as squares of uniform
        value on a grid three times finer, or itself finer.
    matrix : (int, int)
        Encoded grid.
    extent : (float, float)
        Field of view in mm.
    seed : int
        Of the phantom; "head" is the same for all.

    Raises
    ------
    ValueError
        If the image is coarser than the matrix, or an `Image` has another field of view.
    """
    if isinstance(image, str):
        from rayfold.recon.mri.simulate import head

        if image != "head":
            raise ValueError(f"there is no MRI phantom {image!r}; known is head")
        return head((2 * matrix[0], 2 * matrix[1]))
    if isinstance(image, Image):
        size = tuple(n * s for n, s in zip(image.shape, image.spacing, strict=True))
        if not np.allclose(size, extent, rtol=1e-3):
            raise ValueError(f"the image is {size} mm large, the field of view {extent}; replace one of them")
        image = image.array
    x = np.asarray(image)
    if x.ndim != 2 or not np.isfinite(x).all():
        raise ValueError(f"the image has shape {x.shape}; it must be (ny, nx) of finite numbers")
    if any(n < m for n, m in zip(x.shape, matrix, strict=True)):
        raise ValueError(
            f"the image is {x.shape}, coarser than the matrix {matrix}; give as many pixels or more"
        )
    if all(n > m for n, m in zip(x.shape, matrix, strict=True)):
        return x.astype(np.complex64)
    squares = np.repeat(np.repeat(x, 3, axis=0), 3, axis=1)
    # voxel n // 2 is the origin: of an even axis the middle of its square is one finer pixel behind it
    shift = tuple(-((n + 1) % 2) for n in x.shape)
    return np.roll(squares, shift, axis=(0, 1)).astype(np.complex64)
