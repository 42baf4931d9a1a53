"""Files in, files out: `load` finds a reader by suffix and content, `save` a writer by suffix."""

from __future__ import annotations

from importlib import import_module
from typing import Any

# Not lazy: a later import of the submodule would otherwise put the module in the place of the function.
from rayfold.recon.io.load import load

__all__ = ["load", "read_scan", "save", "write_kspace", "write_scan"]

_HOME = {
    "save": "writers",
    "write_kspace": "kspace_writers",
    "write_scan": "rayfold_h5",
    "read_scan": "rayfold_h5",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value
