"""A finer grid for an image: where its pixels lie, how the coarse image follows from it; interpolation."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rayfold.operators import LinearOperator
from rayfold.recon.data import Image

Array = npt.NDArray[Any]
Model = Literal["binning", "kspace"]
MODELS = ("binning", "kspace")
FWHM = 2 * math.sqrt(2 * math.log(2))  # of a Gaussian, over its standard deviation
CUBIC = -0.5  # slope that reproduces quadratics


@dataclass(frozen=True)
class FinerGrid:
    """A grid with `factor` times as many pixels along the two axes of the plane.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` of the image that is there.
    factor : tuple of int
        Fine pixels per pixel, ``(y, x)``.
    model : {"binning", "kspace"}
        "binning": a pixel is the mean over its fine pixels, as on a detector, and both grids cover the same
        field. "kspace": the image is that of the inner part of k-space, and both grids have their origin at
        voxel ``n // 2``.

    Examples
    --------
    >>> FinerGrid((3, 4), (2, 2)).places(1)[:3]
    array([-0.25,  0.25,  0.75])
    >>> FinerGrid((3, 4), (2, 2), "kspace").places(1)[:3]
    array([0. , 0.5, 1. ])
    """

    shape: tuple[int, int]
    factor: tuple[int, int]
    model: Model = "binning"

    @property
    def fine_shape(self) -> tuple[int, int]:
        """``(ny, nx)`` of the fine grid."""
        (ny, nx), (fy, fx) = self.shape, self.factor
        return ny * fy, nx * fx

    def places(self, axis: int) -> Array:
        """Where the fine pixels lie, in index units of the coarse grid, along axis 0 (y) or 1 (x)."""
        n, m, f = self.fine_shape[axis], self.shape[axis], self.factor[axis]
        if self.model == "binning":
            return (np.arange(n) + 0.5) / f - 0.5
        return (np.arange(n) - n // 2) / f + m // 2

    def operator(
        self, psf: Array | tuple[float, float] | None = None, *, real: bool = True
    ) -> LinearOperator:
        """The operator from the fine image to the coarse one.

        Parameters
        ----------
        psf : ndarray or (float, float), optional
            Blur before the loss of resolution: a kernel on the fine grid, or the standard deviations of a
            Gaussian in fine pixels, (y, x).
        real : bool
            Whether images are real.
        """
        from rayfold.operators import Blur, Composed, Downsample, Identity, KSpaceCrop

        fine = self.fine_shape
        if self.factor == (1, 1):
            loss: LinearOperator = Identity(fine)
        elif self.model == "binning":
            loss = Downsample(fine, self.factor)
        else:
            loss = KSpaceCrop(fine, self.shape, field="real" if real else "complex")
        if psf is None:
            return loss
        blur = Blur(fine, kernel=psf) if isinstance(psf, np.ndarray) else Blur(fine, psf)
        return Composed.of(loss, blur)

    def interpolate(self, x: Array, kind: Literal["bicubic", "sinc"]) -> Array:
        """Images ``(..., ny, nx)`` on the fine grid, without any model of noise or blur.

        Parameters
        ----------
        x : ndarray, (..., ny, nx)
            Real or complex.
        kind : {"bicubic", "sinc"}
            Cubic convolution, with edges repeated; or the trigonometric polynomial through the pixels (zero
            filling of k-space), which is periodic.

        References
        ----------
        R. G. Keys, IEEE Trans. Acoust. Speech Signal Process. 29 (1981) 1153, cubic convolution.

        Examples
        --------
        >>> ramp = np.arange(6.0) * np.ones((6, 1))
        >>> FinerGrid((6, 6), (2, 2)).interpolate(ramp, "bicubic")[0, 4:8]
        array([1.75, 2.25, 2.75, 3.25])
        """
        weights = _cubic if kind == "bicubic" else _dirichlet
        down, across = (weights(self.places(a), self.shape[a]).astype(x.real.dtype) for a in (0, 1))
        return np.asarray(down @ x @ across.T)

    def repeat(self, x: Array) -> Array:
        """Images ``(..., ny, nx)`` with every pixel repeated: as they are, on the fine grid."""
        return np.repeat(np.repeat(x, self.factor[0], -2), self.factor[1], -1)

    def image(self, array: Array, coarse: Image, **changes: Any) -> Image:
        """Fine pixels as an image at the place of the coarse one."""
        assert coarse.origin is not None and coarse.direction is not None  # set by Image itself
        step = np.array(coarse.spacing)
        n = len(step)
        origin = np.array(coarse.origin)
        for axis in (0, 1):
            first = self.places(axis)[0]
            origin = origin + first * step[axis - 2] * coarse.direction[::-1, 1 - axis][-n:]
        step[-2:] /= self.factor
        return replace(
            coarse,
            array=array,
            spacing=tuple(map(float, step)),
            origin=tuple(map(float, origin)),
            **changes,
        )


def _cubic(places: Array, m: int) -> Array:
    """Weights ``(n, m)`` of Keys' cubic convolution, pixels beyond the border being those on it."""
    base = np.floor(places).astype(int)
    matrix = np.zeros((len(places), m))
    for k in range(-1, 3):
        t = np.abs(places - (base + k))
        near = (CUBIC + 2) * t**3 - (CUBIC + 3) * t**2 + 1
        far = CUBIC * (t**3 - 5 * t**2 + 8 * t - 4)
        np.add.at(matrix, (np.arange(len(places)), np.clip(base + k, 0, m - 1)), np.where(t <= 1, near, far))
    return matrix


def _dirichlet(places: Array, m: int) -> Array:
    """Weights ``(n, m)`` of trigonometric interpolation; the last frequency of an even number counts half."""
    frequencies = np.arange(-(m // 2), m // 2 + 1)
    share = np.ones(len(frequencies)) / m
    if m % 2 == 0:
        share[[0, -1]] /= 2
    apart = places[:, None] - np.arange(m)
    return np.asarray(
        sum(s * np.cos(2 * np.pi * f / m * apart) for f, s in zip(frequencies, share, strict=True))
    )
