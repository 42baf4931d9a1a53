"""Files in, files out: `load` finds a reader by suffix and content, `save` a writer by suffix."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "load": "load",
    "save": "writers",
    "write_scan": "rayfold_h5",
    "read_scan": "rayfold_h5",
}


def __getattr__(name: str) -> Any:
    # Lazily, so that reading a scan never pays for the image formats and the other way round.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # also replaces the submodule of the same name that the import bound here
    return value


def __dir__() -> list[str]:
    return sorted(_HOME)
