"""Weights and trainings on disk: safetensors files, written whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rayfold.recon.errors import UnreadableInput
from rayfold.recon.io.atomic import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

KEY = "rayfold"  # of the JSON text in the file's header


def write(path: str | Path, tensors: Mapping[str, torch.Tensor], about: Mapping[str, Any]) -> None:
    """Write tensors and facts about them, replacing an older file only when the new one is complete.

    Parameters
    ----------
    path : str or Path
        Ends in ``.safetensors``.
    tensors : mapping of str to Tensor
        By name; copied to the host.
    about : mapping
        Whatever JSON can hold.

    Raises
    ------
    ValueError
        If the path has another suffix, or `about` holds what JSON cannot.
    OutputFailure
        If the file cannot be written.

    Examples
    --------
    >>> import torch
    >>> write("weights.safetensors", {"w": torch.ones(2)}, {"step": 3})
    >>> read("weights.safetensors")
    ({'w': tensor([1., 1.])}, {'step': 3})
    """
    from safetensors.torch import save_file

    if Path(path).suffix != ".safetensors":
        raise ValueError(f"the file is {Path(path).name}; its name must end in .safetensors")
    text = json.dumps(dict(about), allow_nan=False)
    # a clone each: names may share memory in a model, but not in the file
    held = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    with atomic_file(path, force=True) as part:
        save_file(held, part, {KEY: text})


def read(path: str | Path) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Tensors of a file of `write`, on the host, and the facts about them.

    Raises
    ------
    UnreadableInput
        If the file is missing, damaged, or was written by something else.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            text = (file.metadata() or {}).get(KEY)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise UnreadableInput(f"cannot read {path}: {error}; give a .safetensors file") from error
    if text is None:
        raise UnreadableInput(
            f"{path} holds tensors but no notes of rayfold; it was written by something else"
        )
    return tensors, json.loads(text)
