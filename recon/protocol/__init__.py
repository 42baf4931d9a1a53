"""Protocols: describe an acquisition, simulate it, reconstruct it, compare it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparison import Comparison, compare
    from .ct import CTProtocol
    from .mri import MRIProtocol
    from .presets import PRESETS
    from .protocol import Protocol
    from .random import random_ct, random_mri

# loaded when first asked for
_HOME = {
    "PRESETS": "presets",
    "Comparison": "comparison",
    "CTProtocol": "ct",
    "MRIProtocol": "mri",
    "Protocol": "protocol",
    "compare": "comparison",
    "random_ct": "random",
    "random_mri": "random",
}
__all__ = [
    "PRESETS",
    "CTProtocol",
    "Comparison",
    "MRIProtocol",
    "Protocol",
    "compare",
    "random_ct",
    "random_mri",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
