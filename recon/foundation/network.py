"""The network of the prior: a bias-free residual U-Net that is told the noise, octave by octave."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayfold.recon.foundation.bands import BANDS

SIZES: dict[str, dict[str, Any]] = {
    "small": {"widths": (32, 64, 128), "blocks": 2},
    "base": {"widths": (64, 128, 256), "blocks": 2},
}
REACH = 8.0  # the largest change of a pixel, in standard deviations of the noisiest octave


class Network(nn.Module):
    """From an image and its noise to the image without it, exactly homogeneous: ``f(a x, a s) = a f(x, s)``.

    Every layer is a convolution without bias or a rectifier, so scaling the image and the levels together
    scales the output, whatever the unit (Mohan et al. 2020). The image enters as real and imaginary part (0
    for a real one); convolutions begin at half the resolution, on the four pixels of a 2 x 2 block
    (Zhang et al. 2018), which makes the network four times cheaper. What it removes is limited to `REACH`
    standard deviations, so that without noise nothing is changed.

    Parameters
    ----------
    widths : tuple of int
        Channels at 1/2, 1/4, 1/8 ... of the resolution.
    blocks : int
        Residual blocks per level, on the way down and on the way up.

    References
    ----------
    S. Mohan et al., ICLR 2020, bias-free denoising; K. Zhang et al., IEEE Trans. Image Process. 27 (2018)
    4608, FFDNet; K. Zhang et al., IEEE Trans. PAMI 44 (2022) 6360, the residual U-Net as a prior.

    Examples
    --------
    >>> net = Network((8, 16), 1)
    >>> x, levels = torch.rand(1, 2, 30, 21), torch.full((1, 4, 1, 1), 0.1)
    >>> net(x, levels).shape
    torch.Size([1, 2, 30, 21])
    >>> bool((net(x, 0 * levels) == x).all())
    True
    """

    def __init__(self, widths: tuple[int, ...] = (64, 128, 256), blocks: int = 2) -> None:
        super().__init__()
        self.widths, self.blocks = tuple(widths), blocks
        deeper = list(itertools.pairwise(widths))
        self.head = _conv(4 * 2 + 4 * 2 + BANDS, widths[0])
        self.down_blocks = nn.ModuleList(_blocks(a, blocks) for a, _ in deeper)
        self.down = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2, bias=False) for a, b in deeper)
        self.middle = _blocks(widths[-1], blocks)
        self.up = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2, bias=False) for a, b in deeper)
        self.up_blocks = nn.ModuleList(_blocks(a, blocks) for a, _ in deeper)
        self.tail = _conv(widths[0], 4 * 2)
        nn.init.normal_(self.tail.weight, std=1e-4)

    @property
    def multiple(self) -> int:
        """Sides of the image are filled up to a multiple of this."""
        return int(2 ** len(self.widths))

    @property
    def reach(self) -> int:
        """Pixels by which a pixel's answer can depend on others, rounded up to `multiple`."""
        fine = 2 + 3  # head and tail at half resolution, and what the first block of pixels holds
        reach = float(2 * fine)
        for level in range(len(self.widths)):
            convolutions = 2 * self.blocks * (1 if level == len(self.widths) - 1 else 2)
            reach += 2 ** (level + 1) * (convolutions + 1)
        return -(-int(reach) // self.multiple) * self.multiple

    def forward(self, x: Tensor, levels: Tensor, change: Tensor | None = None) -> Tensor:
        """The image without its noise.

        Parameters
        ----------
        x : Tensor, (batch, 2, ny, nx)
            Real and imaginary part.
        levels : Tensor, (batch, 4, ny, nx) or what broadcasts to it
            Standard deviation of the noise in each part, by octave: see `rayfold.recon.foundation.bands`.
        change : Tensor, (batch, 2, ny, nx), optional
            What the data have just changed in the image; nothing by default.
        """
        ny, nx = x.shape[-2:]
        levels = levels.expand(len(x), BANDS, ny, nx)
        inputs = [x, levels] if change is None else [x, levels, change]
        fill = (0, -nx % self.multiple, 0, -ny % self.multiple)
        if any(fill):
            mode = "reflect" if fill[1] < nx and fill[3] < ny else "replicate"
            inputs = [F.pad(each, fill, mode=mode) for each in inputs]
        folded = F.pixel_unshuffle(inputs[0], 2)
        extra = F.pixel_unshuffle(inputs[2], 2) if change is not None else torch.zeros_like(folded)
        h = torch.cat([folded, extra, F.avg_pool2d(inputs[1], 2)], 1)
        h = self.head(h.contiguous(memory_format=torch.channels_last))
        kept = []
        for blocks, down in zip(self.down_blocks, self.down, strict=True):
            h = blocks(h)
            kept.append(h)
            h = down(h)
        h = self.middle(h)
        for blocks, up in zip(reversed(self.up_blocks), reversed(self.up), strict=True):
            h = blocks(up(h) + kept.pop())
        noise = F.pixel_shuffle(self.tail(h), 2)[..., :ny, :nx].to(x.dtype)
        most = REACH * levels.amax(1, keepdim=True)
        return x - torch.clamp(noise, -most, most)


class _Block(nn.Module):
    """Two convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _conv(width, width), _conv(width, width)
        with torch.no_grad():
            self.second.weight.mul_(0.3)  # near the identity at first: deeper nets then start as easily

    def forward(self, h: Tensor) -> Tensor:
        out: Tensor = h + self.second(F.relu(self.first(h)))
        return out


def _blocks(width: int, n: int) -> nn.Sequential:
    return nn.Sequential(*(_Block(width) for _ in range(n)))


def _conv(a: int, b: int) -> nn.Conv2d:
    return nn.Conv2d(a, b, 3, padding=1, bias=False)


def build(size: str) -> Network:
    """The network of a named size, untrained.

    Raises
    ------
    ValueError
        For another name than those of `SIZES`.

    Examples
    --------
    >>> round(sum(p.numel() for p in build("small").parameters()) / 1e6, 1)
    1.0
    """
    if size not in SIZES:
        raise ValueError(f"size is {size!r}; there are: {', '.join(SIZES)}")
    return Network(**SIZES[size])
