"""The network on images of any number, size and field: phases, tiles and precision."""

from __future__ import annotations

import torch
from torch import Tensor

from rayfold.recon.foundation.bands import masks
from rayfold.recon.foundation.network import Network

MOST = 1.1  # what is removed over the noise: some room, as levels are estimates
APART = {"real": (0.45, 0.65), "complex": (0.25, 0.45)}  # of poses, see `apply_network`
POSES: tuple[tuple[int, ...], ...] = ((), (-2, -1), (-2,), (-1,))  # axes that are reversed
SMOOTH = 3.0  # pixels, standard deviation: over which the phase that is taken out is averaged
TILE = 640  # side of a tile in pixels, borders not counted: bounds the memory of large images


def apply_network(
    network: Network,
    x: Tensor,
    levels: Tensor,
    change: Tensor | None = None,
    *,
    strength: float = 1.0,
    precision: str = "float32",
    poses: int = 1,
    apart: tuple[float, float] | None = None,
    tile: int = TILE,
) -> Tensor:
    """The network's answer to images ``(..., ny, nx)``, real or complex.

    The phase of the image, smoothed over `SMOOTH` pixels (for real images: one sign), is taken out before and
    put back after, so the answer turns with the image: ``f(x exp(i t)) = exp(i t) f(x)``, nearly so where t
    varies slowly. What scanners and coils do to the phase is then not for the network to know.

    The best estimate of an image removes no more energy than the noise has: ``E|x - f|^2 = s^2 - E|f - t|^2``
    with t the truth. An answer that would remove more than `MOST` times what it was told is drawn back to
    that, and to ever less where it is beyond the noise itself: there the network knows nothing.

    Parameters
    ----------
    network : Network
        With `reach` and `multiple`.
    x : Tensor, (..., ny, nx)
        Images; all leading axes are separate images.
    levels : Tensor
        ``(..., 4)``, or ``(..., 4, ny, nx)`` where they vary in space; leading axes broadcast to those of x.
    change : Tensor, (..., ny, nx), optional
        What the data have just changed.
    strength : float
        `levels` over those of the noise.
    precision : str
        "bfloat16" for convolutions in that precision.
    poses : int
        1, 2 or 4: the mean of the answers to the image as it is, turned by half, and mirrored either way.
        Where they differ they are wrong; each costs as much as the first.
    apart : tuple of float, optional
        Variance between poses over the energy of what they remove: up to the first all of it is removed, from
        the second on nothing. By default those of `APART`: in scans of all of k-space with very little noise
        the network is wrong more consistently.
    tile : int
        Larger images are computed in overlapping parts whose borders are as wide as the network sees, so that
        no seam can show.

    References
    ----------
    M. Terris et al., CVPR 2024, on answers averaged over poses; `Equivariant` does it for any denoiser.
    """
    ny, nx = x.shape[-2:]
    lead = x.shape[:-2]
    spatial = levels.ndim >= 3 and levels.shape[-2:] == (ny, nx)
    flat = levels if spatial else levels[..., None, None]
    flat = flat.expand(*lead, *flat.shape[-3:]).reshape(-1, *flat.shape[-3:]).to(x.real.dtype)
    images = x.reshape(-1, ny, nx)
    turn = _phase(images)
    parts = _parts(images * turn.conj())
    changes = None if change is None else _parts(change.reshape(-1, ny, nx) * turn.conj())
    with torch.autocast(x.device.type, torch.bfloat16, enabled=precision == "bfloat16"):
        answers = [_pose(network, parts, flat, changes, tile, axes) for axes in POSES[:poses]]
    out = torch.stack([answer.to(parts.dtype) for answer in answers])
    removed = parts - out.mean(0)
    limits = APART["complex" if x.is_complex() else "real"] if apart is None else apart
    agreed = _agreed(out, removed, limits)
    if not x.is_complex():  # what the network sees there is dropped
        removed = removed * removed.new_tensor([1.0, 0.0])[:, None, None]
    removed = agreed * _believed(removed, flat, strength) * removed
    less = torch.complex(removed[:, 0], removed[:, 1]) if x.is_complex() else removed[:, 0]
    return x - (less * turn).reshape(x.shape)  # the image itself is not turned: that would round it


def _pose(
    network: Network, x: Tensor, levels: Tensor, change: Tensor | None, tile: int, axes: tuple[int, ...]
) -> Tensor:
    """The answer to the image with these axes reversed, reversed back."""
    x, levels = x.flip(axes), levels.flip(axes)
    change = None if change is None else change.flip(axes)
    if max(x.shape[-2:]) <= tile + 2 * network.reach:
        out: Tensor = network(x, levels, change)
    else:
        out = _tiled(network, x, levels, change, tile)
    return out.flip(axes)


def _agreed(answers: Tensor, removed: Tensor, limits: tuple[float, float]) -> Tensor:
    """How much of what is removed may be: 0 where it depends on how the image lies, ``(n, 1, 1, 1)``.

    Where the noise is far below anything the network was trained on, it removes little, and that wrongly.
    """
    energy = removed.square().mean((1, 2, 3), keepdim=True)
    spread = answers.var(0, correction=1) if len(answers) > 1 else torch.zeros_like(removed)
    share = spread.mean((1, 2, 3), keepdim=True) / energy.clamp(min=torch.finfo(energy.dtype).tiny)
    all_, none = limits
    return ((none - share) / (none - all_)).clamp(0, 1)


def _believed(removed: Tensor, levels: Tensor, strength: float) -> Tensor:
    """How much of what is removed is removed, ``(n, 1, 1, 1)``: 1 unless it is more than the noise.

    Of complex images the part counts of which more is removed.
    """
    share = masks((removed.shape[-2], removed.shape[-1])).mean((-2, -1)).to(levels)
    told = (share[:, None, None] * levels**2).sum(1).mean((-2, -1))
    found = removed.square().mean((-2, -1)).amax(1)
    over = (found / torch.where(told > 0, told, torch.ones_like(told))).sqrt()
    over = over.clamp(min=torch.finfo(over.dtype).tiny)
    beyond = (MOST / (strength * over)).clamp(max=1)
    return ((MOST / over).clamp(max=1) * beyond**3)[:, None, None, None]


def _phase(images: Tensor) -> Tensor:
    """A unit factor for each pixel that turns with the image: the smooth part of its phase, or one sign."""
    if images.is_complex():
        fy, fx = (torch.fft.fftfreq(n, device=images.device) for n in images.shape[-2:])
        window = torch.exp(-2 * (torch.pi * SMOOTH) ** 2 * (fy[:, None] ** 2 + fx**2)).to(images.real.dtype)
        total = torch.fft.ifft2(window * torch.fft.fft2(images))
    else:
        total = (images * images.abs()).sum((-2, -1), keepdim=True)
    size = total.abs()
    one = torch.ones_like(total)
    return torch.where(size > 0, total / torch.where(size > 0, size, torch.ones_like(size)), one).detach()


def _parts(images: Tensor) -> Tensor:
    if images.is_complex():
        return torch.stack([images.real, images.imag], 1)
    return torch.stack([images, torch.zeros_like(images)], 1)


def _tiled(network: Network, x: Tensor, levels: Tensor, change: Tensor | None, tile: int) -> Tensor:
    ny, nx = x.shape[-2:]
    step, edge = tile // network.multiple * network.multiple, network.reach
    out = torch.empty_like(x)
    for top in range(0, ny, step):
        for left in range(0, nx, step):
            y0, x0 = max(0, top - edge), max(0, left - edge)
            cut = (..., slice(y0, min(ny, top + step + edge)), slice(x0, min(nx, left + step + edge)))
            whole = levels[cut] if levels.shape[-2:] == (ny, nx) else levels
            part: Tensor = network(x[cut], whole, None if change is None else change[cut])
            y1, x1 = min(ny, top + step), min(nx, left + step)
            inside = (..., slice(top - y0, y1 - y0), slice(left - x0, x1 - x0))
            out[..., top:y1, left:x1] = part[inside]
    return out
