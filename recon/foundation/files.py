"""The prior's weights on disk: half precision, and a digest that is checked for those of the package."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.foundation.change import Change
from rayfold.recon.foundation.network import Network
from rayfold.recon.foundation.steps import Schedule
from rayfold.recon.shipped import SHIPPED
from rayfold.recon.train.files import read, write

FORMAT = "rayfold prior 1"
HOME = Path(__file__).parent / "weights"


class Held(NamedTuple):
    """What a file of weights holds."""

    network: Network
    schedule: Schedule
    card: dict[str, Any]
    change: Change | None


def save_prior(
    path: str | Path,
    network: Network,
    schedule: Schedule,
    card: Mapping[str, Any],
    change: Change | None = None,
) -> None:
    """Write network and schedule, the network in float16.

    Parameters
    ----------
    path : str or Path
        Ends in ``.safetensors``.
    network, schedule : nn.Module
        What `FoundationPrior` holds.
    card : mapping
        What is known of the weights; JSON values.
    change : Change, optional
        Of the network, where there is noise alone.
    """
    held = {f"network.{k}": v.half() for k, v in network.state_dict().items()}
    held |= {f"schedule.{k}": v.float() for k, v in schedule.state_dict().items()}
    if change is not None:
        held |= {f"change.{k}": v.half() for k, v in change.state().items()}
    about = {
        "format": FORMAT,
        "widths": list(network.widths),
        "blocks": network.blocks,
        "steps": schedule.n,
        "card": dict(card),
    }
    write(path, held, about)


def load_prior(name: str | Path) -> Held:
    """Network, schedule, card and change of a size that comes with the package, or of a file.

    Raises
    ------
    UnreadableInput
        If there is no such file, or it is damaged.
    InconsistentInput
        If it holds something else, or weights of the package are not those that were published.
    """
    own, path = str(name) in SHIPPED, file_of(name)
    if own:
        _verify(path)
    elif not path.exists():
        raise UnreadableInput(
            f"there are no weights {name!r}; give one of {', '.join(SHIPPED)}, or a .safetensors file that "
            "rayfold train wrote"
        )
    tensors, about = read(path)
    if about.get("format") != FORMAT:
        raise InconsistentInput(
            f"{path.name} holds no prior; give a file that rayfold train or save_prior wrote"
        )
    network = Network(tuple(about["widths"]), about["blocks"])
    schedule = Schedule(about["steps"])
    found = _part(tensors, "change")
    try:
        network.load_state_dict(_part(tensors, "network"))
        schedule.load_state_dict(_part(tensors, "schedule"))
        change = Change.of(found) if found else None
        if change is not None:
            change.applied(network)
    except (RuntimeError, KeyError, ValueError) as error:
        raise InconsistentInput(
            f"the tensors of {path.name} do not fit its own description; it is damaged"
        ) from error
    return Held(network, schedule, dict(about["card"]), change)


def file_of(name: str | Path) -> Path:
    """Where the weights of a size of the package are, or the file itself."""
    return HOME / f"{name}.safetensors" if str(name) in SHIPPED else Path(name)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _verify(path: Path) -> None:
    try:
        published = json.loads((HOME / "published.json").read_text())[path.name]
        found = digest(path)
    except (OSError, KeyError, ValueError) as error:
        raise UnreadableInput(
            f"the weights {path.name} are missing from this installation; install rayfold again"
        ) from error
    if found != published:
        raise InconsistentInput(
            f"the weights {path.name} are not the published ones (SHA-256 differs); install rayfold again"
        )


def _part(tensors: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    return {
        key.removeprefix(f"{name}."): v.to(torch.float32)
        for key, v in tensors.items()
        if key.startswith(f"{name}.")
    }
