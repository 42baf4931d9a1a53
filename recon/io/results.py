"""A folder of results that appears whole: everything is written beside it first and moved in at the end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rayfold.recon.errors import OutputFailure
from rayfold.recon.io.atomic import placed, swap


@contextmanager
def result_folder(path: str | Path, *, names: tuple[str, ...], force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder whose content moves to `path` when the block ends well.

    Parameters
    ----------
    path : str or Path
        Destination, made with its parents; other files in it are left alone.
    names : tuple of str
        Files and folders that may be written; one that exists is an error before the work starts.
    force : bool
        Replace results of those names.

    Yields
    ------
    Path
        Where to write.

    Raises
    ------
    OutputFailure
        If a result exists and `force` is off, or if writing fails.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with result_folder(f"{parent}/out", names=("a.txt",)) as part:
    ...         _ = (part / "a.txt").write_text("done")
    ...     Path(f"{parent}/out/a.txt").read_text()
    'done'
    """
    target = Path(path)
    refuse_existing(target, names=names, force=force)
    with placed(target) as part:
        part.mkdir()
        yield part
        if not target.exists():
            part.replace(target)
            return
        for item in sorted(part.iterdir()):
            if item.is_dir():
                swap(item, target / item.name)
            else:
                item.replace(target / item.name)
        part.rmdir()


def refuse_existing(target: Path, *, names: tuple[str, ...], force: bool = False) -> None:
    """Raise OutputFailure if `target` cannot be a folder or holds results that may not be replaced."""
    if target.exists() and not target.is_dir():
        raise OutputFailure(f"{target} is a file; give a folder with -o")
    there = [name for name in names if (target / name).exists()]
    if there and not force:
        raise OutputFailure(f"{target} already holds {', '.join(there)}; choose another -o or add --force")


def require_space(target: Path, n_bytes: int) -> None:
    """Raise OutputFailure if the disk of `target` has not `n_bytes` left; HDF5 crashes on full ones."""
    parent = next((p for p in (target, *target.absolute().parents) if p.is_dir()), None)
    if parent is None:
        return
    free = shutil.disk_usage(parent).free
    if free < n_bytes:
        raise OutputFailure(
            f"cannot write {target}: it needs {n_bytes / 1e6:.3g} MB and {free / 1e6:.3g} MB are left; "
            "free some space or write to another disk"
        )
