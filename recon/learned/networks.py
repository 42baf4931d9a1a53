"""Small convolutional networks: what the learned solvers of this package are made of.

They take ``(batch, channels, *image)`` with one, two or three image axes and keep the image's size.
Rectifiers without bias keep a network's answer proportional to the scale of what it is given.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_MEANS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
_ZOOMS = {1: "linear", 2: "bilinear", 3: "trilinear"}


def convolution(ndim: int, inputs: int, outputs: int, size: int = 3, *, bias: bool = True) -> nn.Module:
    """Convolution over `ndim` axes that keeps the size of the image.

    Raises
    ------
    ValueError
        If `ndim` is not 1, 2 or 3.
    """
    if ndim not in _CONVOLUTIONS:
        raise ValueError(f"ndim is {ndim}; a network takes images of 1, 2 or 3 axes")
    return _CONVOLUTIONS[ndim](inputs, outputs, size, padding=size // 2, bias=bias)


class SmallCNN(nn.Module):
    """A few 3 x 3 convolutions with rectifiers, no more: an update for an unrolled scheme.

    Parameters
    ----------
    inputs, outputs : int
        Channels in and out.
    width : int
        Channels of the inner layers.
    depth : int
        Convolutions, at least 2.
    ndim : int
        Image axes.
    fold : int
        With 2, the network works on the image folded 2 x 2 into channels: the same cost, a field of view
        twice as wide, nothing lost. Odd sizes are padded by their border. Two image axes only.
    bias : bool
        Without, the answer scales with the input.
    slope : float
        Slope of the rectifier for negative values.

    Raises
    ------
    ValueError
        If `depth` is less than 2 or `fold` is used with other than two image axes.

    References
    ----------
    J. Adler and O. Oktem, IEEE Trans. Med. Imaging 37 (2018) 1322; W. Shi et al., CVPR (2016) 1874 (folding).

    Examples
    --------
    >>> net = SmallCNN(2, 1, width=8, bias=False)
    >>> x = torch.ones(3, 2, 5, 7)
    >>> net(x).shape, bool(torch.allclose(net(4 * x), 4 * net(x)))
    (torch.Size([3, 1, 5, 7]), True)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 32,
        depth: int = 3,
        ndim: int = 2,
        fold: int = 1,
        bias: bool = True,
        slope: float = 0.1,
    ) -> None:
        super().__init__()
        if depth < 2:
            raise ValueError(f"depth is {depth}; a network needs at least 2 convolutions")
        if fold < 1 or (fold > 1 and ndim != 2):
            raise ValueError(f"fold is {fold} for {ndim} image axes; it must be 1, or more with two axes")
        self.fold, self.ndim, self.slope = fold, ndim, slope
        sides = [inputs * fold**2, *[width] * (depth - 1), outputs * fold**2]
        self.layers = nn.ModuleList(convolution(ndim, a, b, bias=bias) for a, b in pairwise(sides))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-2:]
        if self.fold > 1:
            extra = [-n % self.fold for n in size]
            x = F.pad(x, (0, extra[1], 0, extra[0]), mode="replicate") if any(extra) else x
            x = F.pixel_unshuffle(x, self.fold)
        x = _channels_last(x)
        for layer in self.layers[:-1]:
            x = F.leaky_relu(layer(x), self.slope)
        x = self.layers[-1](x)
        return F.pixel_shuffle(x, self.fold)[..., : size[0], : size[1]] if self.fold > 1 else x


class UNet(nn.Module):
    """An image at several resolutions, each enriched by what the next coarser one sees.

    Parameters
    ----------
    inputs, outputs : int
        Channels in and out.
    width : int
        Channels at the finest resolution; they double from level to level.
    levels : int
        Resolutions, each half the one before; 1 is a plain network. Sizes that do not halve are padded by
        their border and cut again.
    ndim : int
        Image axes.
    bias : bool
        Without, the answer scales with the input.
    slope : float
        Slope of the rectifier for negative values.

    Raises
    ------
    ValueError
        If `levels` is less than 1.

    References
    ----------
    O. Ronneberger, P. Fischer and T. Brox, MICCAI (2015) 234; for networks without bias S. Mohan,
    Z. Kadkhodaie, E. P. Simoncelli and C. Fernandez-Granda, ICLR (2020).

    Examples
    --------
    >>> UNet(1, 1, width=4, levels=3)(torch.ones(2, 1, 13, 10)).shape
    torch.Size([2, 1, 13, 10])
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        width: int = 16,
        levels: int = 3,
        ndim: int = 2,
        bias: bool = True,
        slope: float = 0.1,
    ) -> None:
        super().__init__()
        if levels < 1:
            raise ValueError(f"levels is {levels}; a network needs at least 1 resolution")
        self.ndim, self.levels, self.slope = ndim, levels, slope
        wide = [width * 2**k for k in range(levels)]

        def block(a: int, b: int) -> nn.ModuleList:
            return nn.ModuleList([convolution(ndim, a, b, bias=bias), convolution(ndim, b, b, bias=bias)])

        self.down = nn.ModuleList(block(a, b) for a, b in zip([inputs, *wide[:-1]], wide, strict=True))
        self.up = nn.ModuleList(block(a + b, b) for a, b in zip(wide[:0:-1], wide[-2::-1], strict=True))
        self.last = convolution(ndim, width, outputs, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[-self.ndim :]
        extra = [-n % 2 ** (self.levels - 1) for n in size]
        if any(extra):
            x = F.pad(x, [side for n in reversed(extra) for side in (0, n)], mode="replicate")
        x = _channels_last(x)
        fine: list[Tensor] = []
        for k, block in enumerate(self.down):
            x = self._through(block, x if k == 0 else _MEANS[self.ndim](x, 2))
            fine.append(x)
        for block in self.up:
            same = fine[-2]
            del fine[-1]
            x = F.interpolate(x, size=same.shape[-self.ndim :], mode=_ZOOMS[self.ndim], align_corners=False)
            x = self._through(block, torch.cat([same, x], dim=1))
        x = self.last(x)
        for axis, n in enumerate(size, start=-self.ndim):
            x = x.narrow(axis, 0, n)
        return x

    def _through(self, block: nn.Module, x: Tensor) -> Tensor:
        for layer in block:  # type: ignore[attr-defined]
            x = F.leaky_relu(layer(x), self.slope)
        return x


def damped(network: SmallCNN, factor: float = 0.1) -> SmallCNN:
    """The network with its last layer made small and centred: an update that starts as nearly none."""
    last = network.layers[-1]
    with torch.no_grad():
        for parameter in last.parameters():
            parameter.mul_(factor if parameter.ndim > 1 else 0.0)
    return network


def channels_of(x: Tensor, ndim: int) -> Tensor:
    """Images ``(..., *image)`` as ``(..., channels, *image)``: one channel if real, two if complex."""
    at = -ndim - 1
    return torch.stack([x.real, x.imag], dim=at) if x.is_complex() else x.unsqueeze(at)


def image_of(channels: Tensor, ndim: int, *, like: Tensor) -> Tensor:
    """The inverse of `channels_of`, in the type of `like`."""
    at = -ndim - 1
    if like.is_complex():
        return torch.complex(channels.select(at, 0), channels.select(at, 1))
    return channels.squeeze(at)


def applied(network: nn.Module, x: Tensor, ndim: int) -> Tensor:
    """A network on ``(..., channels, *image)`` with any leading axes; the precision of `x` is kept.

    Examples
    --------
    >>> applied(SmallCNN(1, 2, width=4), torch.ones(3, 2, 1, 8, 8), 2).shape
    torch.Size([3, 2, 2, 8, 8])
    """
    lead = x.shape[: -ndim - 1]
    out: Tensor = network(x.reshape(-1, *x.shape[-ndim - 1 :])).to(x.dtype)
    return out.reshape(*lead, *out.shape[1:])


def on_images(network: nn.Module, x: Tensor, ndim: int) -> Tensor:
    """A network of one channel (real images) or two (complex ones) on images ``(..., *image)``."""
    return image_of(applied(network, channels_of(x, ndim), ndim), ndim, like=x)


def on_memory(network: nn.Module, x: Tensor, ndim: int) -> Tensor:
    """A network on several images ``(..., n, *image)``: n channels if real, 2 n if complex."""
    if not x.is_complex():
        return applied(network, x, ndim)
    parts = channels_of(x, ndim).flatten(-ndim - 2, -ndim - 1)
    out = applied(network, parts, ndim)
    at = out.ndim - ndim - 1
    return image_of(out.reshape(*out.shape[:at], -1, 2, *out.shape[at + 1 :]), ndim, like=x)


def _channels_last(x: Tensor) -> Tensor:
    """The same numbers with channels innermost: the layout in which convolutions are fast."""
    layout = _CHANNELS_LAST.get(x.ndim)
    return x if layout is None else x.contiguous(memory_format=layout)
