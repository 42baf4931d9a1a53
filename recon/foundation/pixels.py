"""Rays through an image whose pixels are means: what the projector's interpolation takes away, put back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from rayfold.operators import LinearOperator
from rayfold.operators.base import Composed
from rayfold.operators.xray import XRay
from rayfold.recon.foundation.frequencies import Frequencies, first

BORDER = 8  # pixels on which an image is continued; the filter is shorter


@dataclass(frozen=True)
class Deinterpolation(LinearOperator):
    """A filter of images, ``3 sinc(f / 2)^2 / (2 + cos(pi f))`` with f the larger of ``|f_x|`` and ``|f_y|``.

    Joseph's rays interpolate linearly between the pixels of a row (of a column, if they are flat), which
    weakens an image by ``sinc^2`` along the row and adds its aliases. A detector bin takes the mean over its
    width as a pixel does over its own: what rays of bins measure of the means over pixels is not weakened.
    Behind this filter, f in units of the Nyquist frequency, the interpolated image is the one nearest to
    that in the mean square: the orthogonal projection on linear splines. What Joseph's projections of pixel
    means miss of the bins of a grid twice as fine is then less, by 3 to 35 % for eight synthetic families
    of 64 to 256 pixels, and by 40 % for CT slices. Images are continued by their mirror image at the border.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)``.

    References
    ----------
    M. Unser, IEEE Signal Process. Mag. 16(6) (1999) 22, least-squares approximation by splines: the prefilter
    is the transform of the spline over the sum of its squares at all aliases, here ``(2 + cos(pi f)) / 3``.

    Examples
    --------
    >>> sharper = Deinterpolation((64, 64))
    >>> round(sharper(torch.ones(64, 64))[20:44, 20:44].mean().item(), 4)
    1.0
    """

    shape: tuple[int, ...]

    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: self.shape)

    @property
    def grid(self) -> Frequencies:
        """Where the gain lives."""
        return Frequencies(self.shape, tuple(min(BORDER, n - 1) for n in self.shape))

    def apply(self, x: Any, out: Any, *, adjoint: bool, **operands: Any) -> None:
        out[...] = self.evaluate(x, adjoint=adjoint)

    def evaluate(self, x: Tensor, *, adjoint: bool) -> Tensor:
        grid = self.grid
        gain = _gain(grid.full, x.real.dtype, x.device)
        if not adjoint:
            return grid.filter(x, gain, cut=True)
        my, mx = grid.margin
        wide = torch.nn.functional.pad(x, (mx, mx, my, my))
        filtered = torch.fft.ifft2(torch.fft.fft2(wide) * gain)
        return grid.fold(filtered if x.is_complex() else filtered.real)


@lru_cache(maxsize=16)
def _gain(shape: tuple[int, ...], kind: torch.dtype, device: torch.device) -> Tensor:
    fy, fx = (torch.fft.fftfreq(n, dtype=kind, device=device).abs() for n in shape)
    half = torch.maximum(fy[:, None], fx[None, :])
    return 3 * torch.sinc(half) ** 2 / (2 + torch.cos(2 * torch.pi * half))


def of_means(A: LinearOperator) -> LinearOperator:
    """The operator for images whose pixels are means: ``A @ Deinterpolation`` for Joseph's rays, else A.

    Examples
    --------
    >>> from rayfold.operators import Identity, ParallelBeam, Volume
    >>> of_means(XRay(Volume((8, 8)), ParallelBeam.evenly(6, 12))).parts[1]
    Deinterpolation(shape=(8, 8))
    >>> of_means(Identity((8, 8)))
    Identity(shape=(8, 8))
    """
    part = first(A, XRay)
    if part is None or part.model != "joseph" or part.in_shape != A.in_shape:
        return A
    return Composed.of(A, Deinterpolation(A.in_shape))
