"""How an image was made, as plain JSON: versions, configuration, hashes, seeds and times.

It travels with results, so it names no person, no host and no folder: files appear by name, size and SHA-256.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import platform
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

import numpy as np

from rayfold.recon.errors import UnreadableInput

# what can change a number in a result; only those installed are listed
PACKAGES = (
    "numpy",
    "scipy",
    "numba",
    "torch",
    "jax",
    "jaxlib",
    "cupy-cuda12x",
    "cupy-cuda13x",
    "finufft",
    "cufinufft",
    "safetensors",
    "h5py",
    "pydicom",
    "nibabel",
    "tifffile",
    "astra-toolbox",
    "odl",
    "ismrmrd",
    "twixtools",
    "pypulseq",
    "algotom",
)


def version() -> str:
    """Version of this package, "source" when it runs without being installed."""
    return _installed("rayfold") or "source"


def provenance(
    *,
    configuration: Mapping[str, Any],
    inputs: Iterable[str | Path] = (),
    weights: Iterable[str | Path] = (),
    timings: Mapping[str, float] | None = None,
    seeds: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """Everything needed to make the same image again, as values that JSON holds.

    Parameters
    ----------
    configuration : mapping
        The resolved settings; dataclasses, arrays and paths may be in it, paths are cut to file names.
    inputs, weights : iterable of path
        Files to describe by name, size and SHA-256.
    timings : mapping of str to float, optional
        Seconds per stage, as `Stages.seconds`.
    seeds : mapping of str to int, optional
        Seed of every random stream.

    Returns
    -------
    dict
        Keys "rayfold", "python", "platform", "packages", "configuration", "inputs", "weights", "seconds" and
        "seeds".

    Raises
    ------
    UnreadableInput
        If a file cannot be read.
    TypeError
        If the configuration holds something that is no plain value, with its place.

    Examples
    --------
    >>> provenance(configuration={"method": "fbp"}, seeds={"noise": 1})["configuration"]
    {'method': 'fbp'}
    """
    return {
        "rayfold": version(),
        "python": platform.python_version(),
        "platform": {"system": platform.system(), "machine": platform.machine()},
        "packages": {name: v for name in PACKAGES if (v := _installed(name))},
        "configuration": plain(configuration, "configuration"),
        "inputs": [file_facts(path) for path in inputs],
        "weights": [file_facts(path) for path in weights],
        "seconds": {stage: round(float(s), 3) for stage, s in (timings or {}).items()},
        "seeds": plain(seeds or {}, "seeds"),
    }


def file_facts(path: str | Path) -> dict[str, Any]:
    """Name, size in bytes and SHA-256 of a file; of a folder, the same for every file in it.

    Parameters
    ----------
    path : str or Path
        File or folder.

    Returns
    -------
    dict
        "name", "bytes", "sha256"; for a folder also "files", the number of files, and the hash is that of the
        sorted list of their names and hashes.

    Raises
    ------
    UnreadableInput
        If it cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     file_facts(file.name)["sha256"][:12]
    'e3b0c44298fc'
    """
    source = Path(path)
    try:
        if source.is_dir():
            parts = [file_facts(p) for p in sorted(source.iterdir()) if p.is_file()]
            listing = "".join(f"{part['sha256']}  {part['name']}\n" for part in parts)
            digest = hashlib.sha256(listing.encode()).hexdigest()
            size = sum(part["bytes"] for part in parts)
            return {"name": source.name, "files": len(parts), "bytes": size, "sha256": digest}
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"name": source.name, "bytes": source.stat().st_size, "sha256": digest}
    except OSError as error:
        reason = (error.strerror or "unreadable").lower()
        raise UnreadableInput(f"{source} cannot be read: {reason}; check the path") from error


def write_json(path: str | Path, content: Mapping[str, Any], *, force: bool = False) -> Path:
    """Write `content` as JSON with sorted keys, complete or not at all.

    Parameters
    ----------
    path : str or Path
        File to write.
    content : mapping
        As `provenance` returns it.
    force : bool
        Replace an existing file.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OutputFailure
        If the file exists and `force` is off, or if writing fails.
    TypeError
        If something in it is no plain value.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_json(f"{folder}/run.json", {"b": 1, "a": 2}).read_text().split()
    ['{', '"a":', '2,', '"b":', '1', '}']
    """
    from rayfold.recon.io.atomic import atomic_file

    text = json.dumps(plain(content, "content"), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    with atomic_file(path, force=force) as part:
        part.write_text(text, encoding="utf-8")
    return Path(path)


class Stages:
    """Wall-clock seconds per named stage; a stage entered twice adds up.

    Examples
    --------
    >>> stages = Stages()
    >>> with stages("filter"):
    ...     pass
    >>> list(stages.seconds)
    ['filter']
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time the block as `stage`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


def plain(value: Any, place: str) -> Any:
    """Turn `value` into what JSON holds; `place` is where it stands, for the message when it cannot be."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _without_folders(value)
    if isinstance(value, PurePath):
        return value.name
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist(), place)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return plain(fields, place)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{place}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return [plain(item, f"{place}[{k}]") for k, item in enumerate(items)]
    raise TypeError(f"{place} is a {type(value).__name__}; give numbers, strings, lists or dicts")


def _without_folders(text: str) -> str:
    """File name of an absolute path; other text, a dataset name such as /entry/data included, as it is."""
    if PureWindowsPath(text).drive and PureWindowsPath(text).is_absolute():
        return PureWindowsPath(text).name
    if text.startswith("~"):
        return PurePath(text).name
    path = Path(text)
    on_disk = path.is_absolute() and len(path.parts) > 2 and Path(*path.parts[:2]).exists()
    return path.name if on_disk else text


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
