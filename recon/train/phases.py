"""Phases of synthetic MR images: of coils and flow, of tissues, and of the field around air."""

from __future__ import annotations

import math

import torch
from torch import Tensor

OFTEN = 0.6  # share of the images that have each part
MOST = 8.0, 4.0  # rad, of the smooth part and of the field around air
WIDTHS = 3.0, 30.0  # pixels, of the smooth part
STEEP = 0.4  # rad per pixel, of the smooth part, about
DARK = 0.08  # of the brightest: air, and bone that gives no signal


def random_phases(magnitude: Tensor, generator: torch.Generator, source: torch.Generator) -> Tensor:
    """Phases for images, the sum of parts that each image has or has not.

    A polynomial of low order and a smooth random field (receivers, flow, shims); a smooth function of the
    magnitude (tissues: fat has another frequency than water); and the field that dark parts make, as air in
    sinuses does: their mask through the dipole kernel ``(k . b)^2 / k^2`` of a cylinder in a field along b.

    Parameters
    ----------
    magnitude : Tensor, (n, ny, nx)
        Not negative.
    generator, source : torch.Generator
        Of the few numbers, on the host; of the random fields, on the device of the images.

    Returns
    -------
    Tensor, (n, ny, nx)
        In radians, not wrapped.

    References
    ----------
    R. Salomir et al., Concepts Magn. Reson. 19B (2003) 26, the field of a susceptibility by its kernel.

    Examples
    --------
    >>> g = torch.Generator().manual_seed(0)
    >>> random_phases(torch.rand(2, 32, 24, generator=g), g, g).shape
    torch.Size([2, 32, 24])
    """
    n, ny, nx = magnitude.shape
    device = magnitude.device
    has = torch.rand(n, 4, generator=generator) < OFTEN
    size = torch.rand(n, 4, generator=generator)
    numbers = torch.rand(n, 12, generator=generator)
    smooth = torch.minimum(_log(size[:, 1], 0.2, MOST[0]), STEEP * _log(numbers[:, 7], *WIDTHS))
    size = torch.stack([6 * size[:, 0], smooth, math.pi * size[:, 2], _log(size[:, 3], 0.3, MOST[1])], 1)
    size, numbers = (has * size).to(device)[..., None, None], numbers.to(device)[..., None, None]
    form = _polynomial(numbers[:, :7], ny, nx)
    fy, fx = (torch.fft.fftfreq(side, device=device) for side in (ny, nx))
    square = fy[:, None] ** 2 + fx**2
    width = _log(numbers[:, 7], *WIDTHS)
    white = torch.randn(n, ny, nx, generator=source, device=device)
    smooth = _unit(_filtered(white, torch.exp(-2 * (math.pi * width) ** 2 * square)))
    top = magnitude.amax((-2, -1), keepdim=True).clamp(min=1e-12)
    tissue = torch.cos(2 * math.pi * ((0.3 + 1.7 * numbers[:, 8]) * magnitude / top + numbers[:, 9]))
    along = 2 * math.pi * numbers[:, 10]
    kernel = (torch.cos(along) * fy[:, None] + torch.sin(along) * fx) ** 2 / square.clamp(min=1e-12)
    dark = (magnitude < DARK * top).to(magnitude.dtype)
    air = _unit(_filtered(dark, kernel * torch.exp(-2 * math.pi**2 * square)))
    parts = torch.stack([form, smooth, tissue, air], 1)
    angle: Tensor = (size * parts).sum(1) + 2 * math.pi * numbers[:, 11]
    return angle


def turned(images: Tensor, angle: Tensor) -> Tensor:
    """Real and imaginary parts ``(n, 2, ny, nx)`` turned by angles ``(n, ny, nx)``."""
    (real, imaginary), cos, sin = images.unbind(1), angle.cos(), angle.sin()
    return torch.stack([real * cos - imaginary * sin, real * sin + imaginary * cos], 1)


def _polynomial(numbers: Tensor, ny: int, nx: int) -> Tensor:
    """Polynomials of order 1 to 3 on -1 to 1, ``(n, ny, nx)``, of seven numbers 0 to 1."""
    y = torch.linspace(-1, 1, ny, device=numbers.device)[:, None].expand(ny, nx)
    x = torch.linspace(-1, 1, nx, device=numbers.device)[None, :].expand(ny, nx)
    return ((2 * numbers - 1) * torch.stack([x, y, x * y, x**2, y**2, x**3, y**3])).sum(1)


def _filtered(images: Tensor, gain: Tensor) -> Tensor:
    out: Tensor = torch.fft.ifft2(gain * torch.fft.fft2(images))
    return out.real


def _unit(fields: Tensor) -> Tensor:
    """With a standard deviation of 1, or 0 where there is none."""
    fields = fields - fields.mean((-2, -1), keepdim=True)
    size = fields.square().mean((-2, -1), keepdim=True).sqrt()
    return fields / size.clamp(min=1e-6)


def _log(share: Tensor, low: float, high: float) -> Tensor:
    """Between two values, evenly in the logarithm."""
    return low * torch.exp(math.log(high / low) * share)
