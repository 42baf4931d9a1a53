"""What adaptation may change of a network: a gain per block, a change of low rank per convolution, or all."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rayfold.recon.foundation.network import Network
from rayfold.recon.foundation.steps import Schedule

MODES = ("gain", "lora", "full")
RANK = 4


class LowRank(nn.Module):
    """``W + B A`` with B of zeros at first; A is drawn from the generator.

    References
    ----------
    E. J. Hu et al., ICLR 2022, LoRA.
    """

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.flatten(1).shape
        rank = min(rank, rows, columns)
        a = torch.randn(rank, columns, generator=generator) / columns**0.5
        self.a = nn.Parameter(a.to(weight.device))
        self.b = nn.Parameter(torch.zeros(rows, rank, device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight with its change."""
        return weight + (self.b @ self.a).reshape(weight.shape)


class Gain(nn.Module):
    """``exp(g) W`` with g 0 at first."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.zeros((), device=weight.device))

    def forward(self, weight: Tensor) -> Tensor:
        """The weight times its gain."""
        return weight * self.g.exp()


def adaptable(
    network: Network, schedule: Schedule, mode: str, *, seed: int = 0, rank: int = RANK
) -> tuple[Network, Schedule]:
    """A copy of network and schedule with nothing to train but what the mode names; it starts exact.

    Parameters
    ----------
    network, schedule : nn.Module
        Stay as they are.
    mode : {"gain", "lora", "full"}
        One gain for each residual block, on its second convolution; a change of rank `rank` for each
        convolution; or every weight. The numbers of the schedule are trained in all of them. Every layer
        stays a convolution without bias, so the network stays homogeneous.
    seed : int
        Of the changes of low rank.
    rank : int
        Of each change.

    Raises
    ------
    ValueError
        For another mode, or a rank that is not positive.

    Examples
    --------
    >>> parts = adaptable(Network(), Schedule(6), "gain")
    >>> sum(p.numel() for part in parts for p in part.parameters() if p.requires_grad)
    62
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}")
    if rank < 1:
        raise ValueError(f"rank is {rank}; it must be positive")
    network, schedule = copy.deepcopy(network), copy.deepcopy(schedule)
    network.requires_grad_(mode == "full").train()
    schedule.requires_grad_(True).train()
    generator = torch.Generator().manual_seed(seed)
    for name, layer in list(network.named_modules()):
        if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            continue
        if mode == "lora":
            parametrize.register_parametrization(layer, "weight", LowRank(layer.weight, rank, generator))
        elif mode == "gain" and name.endswith(".second"):
            parametrize.register_parametrization(layer, "weight", Gain(layer.weight))
    return network, schedule


def merged(network: Network) -> Network:
    """A copy whose weights hold the changes: of the same form as any other network, frozen."""
    plain = Network(network.widths, network.blocks)
    state = {}
    for name, layer in network.named_modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            state[f"{name}.weight"] = layer.weight.detach().clone()
    plain.load_state_dict(state)
    device = next(network.parameters()).device
    plain.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    plain.eval().requires_grad_(False)
    return plain
