"""The four octaves in which the level of noise is told: their borders, and levels of a spectrum."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import torch
from torch import Tensor

BANDS = 4
EDGES = (
    0.5,
    0.25,
    0.125,
)  # of radial frequency over Nyquist: band 0 is above the first, band 3 below the last


def radial(shape: tuple[int, int], device: torch.device | str | None = None) -> Tensor:
    """Radial frequency of ``torch.fft.fft2``, Nyquist is 1, ``(ny, nx)`` float32.

    Examples
    --------
    >>> radial((4, 4))[0].tolist()
    [0.0, 0.5, 1.0, 0.5]
    """
    fy, fx = (torch.fft.fftfreq(n, device=device) * 2 for n in shape)
    return torch.hypot(fy[:, None], fx[None, :])


@lru_cache(maxsize=16)
def masks(shape: tuple[int, int]) -> Tensor:
    """Which frequencies belong to each band, ``(4, ny, nx)`` of 0 and 1; a partition.

    Examples
    --------
    >>> masks((8, 8)).sum(0).unique().tolist()
    [1.0]
    """
    r = radial(shape)
    edges = (math.inf, *EDGES, -1.0)
    return torch.stack([((r < hi) & (r >= lo)).float() for hi, lo in itertools.pairwise(edges)])


def levels_of(spectrum: Tensor) -> Tensor:
    """Noise levels ``(..., 4)`` of a spectral density ``(..., ny, nx)``: root of its mean over each band.

    The density is that of the orthonormal Fourier transform, so white noise of variance v has density v.

    Examples
    --------
    >>> levels_of(torch.full((8, 8), 4.0)).tolist()
    [2.0, 2.0, 2.0, 2.0]
    """
    parts = masks((spectrum.shape[-2], spectrum.shape[-1])).to(spectrum)
    total, count = sums_of(spectrum, parts), parts.sum((-2, -1))
    levels = list((total / count.clamp(min=1)).clamp(min=0).sqrt().unbind(-1))
    for b in range(1, BANDS):  # images of a few pixels have no frequencies in some bands: as the next finer
        if count[b] == 0:
            levels[b] = levels[b - 1]
    return torch.stack(levels, -1)


def sums_of(spectrum: Tensor, parts: Tensor) -> Tensor:
    """Sums of ``(..., ny, nx)`` over each of the parts ``(b, ny, nx)``, ``(..., b)``.

    Added up in pairs: a product of matrices would lose three digits over so many numbers.

    Examples
    --------
    >>> sums_of(torch.ones(4, 4), masks((4, 4))).tolist()
    [15.0, 0.0, 0.0, 1.0]
    """
    return torch.stack([(spectrum * part).sum((-2, -1)) for part in parts], -1)


def shape_noise(white: Tensor, levels: Tensor) -> Tensor:
    """White noise of unit variance ``(..., ny, nx)`` given the levels ``(..., 4)`` of the four bands.

    Between the middles of the bands the logarithm of the level is linear in that of the frequency, so that
    the spectrum has no steps; each band is then scaled to its level exactly in the mean.

    Examples
    --------
    >>> flat = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    >>> bool((shape_noise(flat, torch.full((4,), 3.0)) - 3 * flat).abs().max() < 1e-5)
    True
    """
    gains = from_levels((white.shape[-2], white.shape[-1]), levels.to(white))
    noise: Tensor = torch.fft.ifft2(torch.fft.fft2(white) * gains).real
    return noise


def from_levels(shape: tuple[int, int], levels: Tensor) -> Tensor:
    """A smooth root of the spectral density, ``(..., ny, nx)``, that has these levels ``(..., 4)``.

    Examples
    --------
    >>> levels_of(from_levels((32, 32), torch.tensor([3.0, 2.0, 1.0, 0.5])) ** 2).numpy().round(4).tolist()
    [3.0, 2.0, 1.0, 0.5]
    """
    octave = -torch.log2(radial(shape).clamp(min=2**-4)) - 0.25  # 0 in the middle of band 0, 1 of band 1 ...
    place = octave.clamp(0, len(EDGES)).to(levels.device)
    low = place.floor().long().clamp(max=len(EDGES) - 1)
    part = place - low
    logs = levels.clamp(min=1e-30).log()
    gains = ((1 - part) * logs[..., low] + part * logs[..., low + 1]).exp()
    parts = masks(shape).to(levels)
    mean = sums_of(gains**2, parts) / parts.sum((-2, -1)).clamp(min=1)
    scale = levels / mean.sqrt().clamp(min=1e-30)
    return gains * torch.einsum("...b,byx->...yx", scale, parts)


def plane(spectrum: Tensor, ndim: int) -> Tensor:
    """The spectrum of the slices of images of `ndim` axes: its mean over the frequencies across them."""
    across = tuple(range(-ndim, -2))
    return spectrum.mean(across) if across else spectrum


def spectrum_of(shape: tuple[int, ...], levels: Tensor) -> Tensor:
    """Spectral density of an error of these levels ``(..., 4)``, the same in all directions across slices.

    Returns
    -------
    Tensor, (..., 1, ny, nx) for a `shape` (nz, ny, nx), (..., ny, nx) for (ny, nx)
    """
    flat = from_levels((shape[-2], shape[-1]), levels) ** 2
    return torch.reshape(flat, (*levels.shape[:-1], *(1,) * (len(shape) - 2), *flat.shape[-2:]))
