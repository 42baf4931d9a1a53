"""What the network does otherwise where there is noise and nothing else: a change of low rank."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from rayfold.recon.foundation.lowrank import merged
from rayfold.recon.foundation.network import Network

MOST = 96  # rank of a change that is kept: weights of the package must stay small


@dataclass(frozen=True, eq=False)
class Change:
    """A change of low rank ``B A`` of every convolution, for images whose only error is noise.

    Within a reconstruction the network meets streaks and folded images that are no noise, and learns to
    mistrust what it sees; where there is noise alone that costs detail. The weights are shared; what the two
    differ by takes few numbers.

    Parameters
    ----------
    factors : mapping
        ``(B, A)`` by the name of a convolution.

    References
    ----------
    E. J. Hu et al., ICLR 2022, LoRA.

    Examples
    --------
    >>> net = Network((4, 8), 1)
    >>> change = Change({"tail": (torch.ones(8, 1), torch.ones(1, 36))})
    >>> difference = change.applied(net).tail.weight - net.tail.weight
    >>> round(float(difference.detach().mean()), 3)
    1.0
    """

    factors: Mapping[str, tuple[Tensor, Tensor]]

    @classmethod
    def of(cls, state: Mapping[str, Tensor]) -> Change:
        """From tensors by name, ``LAYER.b`` and ``LAYER.a``, as `state` names them."""
        layers = sorted(key.removesuffix(".a") for key in state if key.endswith(".a"))
        return cls({layer: (state[f"{layer}.b"], state[f"{layer}.a"]) for layer in layers})

    @classmethod
    def parted(cls, state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], Change | None]:
        """State of a network and its change, from that of one that ``adaptable(..., "lora")`` made.

        The state of any other network stays as it is and has no change.
        """
        plain, found = {}, {}
        for key, value in state.items():
            layer, _, rest = key.partition(".parametrizations.weight.")
            if rest in ("0.a", "0.b"):
                found[f"{layer}.{rest[2:]}"] = value
            else:
                plain[f"{layer}.weight" if rest else key] = value
        return plain, cls.of(found) if found else None

    def state(self) -> dict[str, Tensor]:
        """Tensors by name."""
        named = ((layer, zip("ba", pair, strict=True)) for layer, pair in self.factors.items())
        return {f"{layer}.{name}": part for layer, parts in named for name, part in parts}

    def applied(self, network: Network) -> Network:
        """A network with the change, frozen.

        Raises
        ------
        ValueError
            If the change is of a network of another form.
        """
        changed = merged(network)
        layers = dict(changed.named_modules())
        with torch.no_grad():
            for layer, (b, a) in self.factors.items():
                weight = getattr(layers.get(layer), "weight", None)
                if weight is None or weight.flatten(1).shape != (len(b), a.shape[-1]):
                    raise ValueError(f"the change of {layer or 'a layer'} does not fit the network")
                weight += (b @ a).reshape(weight.shape).to(weight.device)
        return changed

    def __neg__(self) -> Change:
        """What takes this change back.

        Examples
        --------
        >>> change = Change({"tail": (torch.ones(8, 1), torch.ones(1, 36))})
        >>> b, a = (change + -change).factors["tail"]
        >>> b.shape, float((b @ a).abs().max())
        (torch.Size([8, 2]), 0.0)
        """
        return Change({layer: (-b, a) for layer, (b, a) in self.factors.items()})

    def __add__(self, other: Change) -> Change:
        """Both, one after the other: the rank is the sum of theirs."""
        found = dict(self.factors)
        for layer, (b, a) in other.factors.items():
            own = found.get(layer, (b[:, :0], a[:0]))
            found[layer] = torch.cat([own[0].to(b), b], 1), torch.cat([own[1].to(a), a], 0)
        return Change(found)

    def of_rank(self, rank: int) -> Change:
        """The nearest change of at most this rank, layer by layer.

        References
        ----------
        C. Eckart and G. Young, Psychometrika 1 (1936) 211.

        Examples
        --------
        >>> change = Change({"tail": (torch.eye(2), torch.diag(torch.tensor([2.0, 1.0])))})
        >>> b, a = change.of_rank(1).factors["tail"]
        >>> torch.allclose(b @ a, torch.diag(torch.tensor([2.0, 0.0])))
        True
        """
        found = {}
        for layer, (b, a) in self.factors.items():
            if a.shape[0] > rank:
                u, size, v = torch.linalg.svd((b @ a).double(), full_matrices=False)
                root = size[:rank].sqrt()
                b, a = (u[:, :rank] * root).to(b), (root[:, None] * v[:rank]).to(a)
            found[layer] = b, a
        return Change(found)
