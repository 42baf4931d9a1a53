"""Files and folders that appear complete or not at all.

Everything is written under a temporary name next to its destination and renamed at the end, so neither an
error nor an interrupt leaves something half-written; an existing result is replaced only on request.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rayfold.recon.errors import OutputFailure

CURES = {
    errno.ENOSPC: "free some space or write to another disk",
    errno.EDQUOT: "free some of your quota or write to another disk",
    errno.EACCES: "choose a folder you may write to",
    errno.EPERM: "choose a folder you may write to",
    errno.EROFS: "choose a folder on a writable disk",
    errno.ENOTDIR: "choose a path whose parents are folders",
    errno.EEXIST: "choose a path whose parents are folders",
    errno.ENAMETOOLONG: "choose a shorter name",
}


@contextmanager
def atomic_file(path: str | Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary path that becomes `path` when the block ends well.

    Parameters
    ----------
    path : str or Path
        Destination; missing parent folders are created.
    force : bool
        Replace an existing file.

    Yields
    ------
    Path
        Where to write: the same folder and the same suffixes as `path`.

    Raises
    ------
    OutputFailure
        If the file exists and `force` is off, or if it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with atomic_file(Path(folder) / "a" / "note.txt") as part:
    ...         _ = part.write_text("done")
    ...     (Path(folder) / "a" / "note.txt").read_text()
    'done'
    """
    target = Path(path)
    if target.is_dir():
        raise OutputFailure(f"{target} is a folder; give the name of a file")
    _refuse_existing(target, force=force)
    with placed(target) as part:
        yield part
        _refuse_existing(target, force=force)
        part.replace(target)


@contextmanager
def atomic_folder(path: str | Path, *, holds: str, force: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` when the block ends well.

    Parameters
    ----------
    path : str or Path
        Destination; an empty folder may already be there.
    holds : str
        Suffix of the files written, as ".dcm". A folder that holds anything else is never replaced, so that
        `force` cannot delete what this package did not write.
    force : bool
        Replace an existing folder of such files.

    Yields
    ------
    Path
        The folder to write into.

    Raises
    ------
    OutputFailure
        If the folder is not empty and `force` is off, if it holds something else, or if it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     with atomic_folder(Path(parent) / "series", holds=".dcm") as part:
    ...         _ = (part / "1.dcm").write_bytes(b"")
    ...     sorted(p.name for p in (Path(parent) / "series").iterdir())
    ['1.dcm']
    """
    target = Path(path)
    _refuse_existing(target, force=force, holds=holds)
    with placed(target) as part:
        part.mkdir()
        yield part
        _refuse_existing(target, force=force, holds=holds)
        swap(part, target)


def swap(part: Path, target: Path) -> None:
    """Put a folder in the place of another; the old one is deleted only once the new one stands."""
    if not target.exists():
        part.replace(target)
        return
    old = _temporary(target)
    target.replace(old)
    try:
        part.replace(target)
    except BaseException:
        old.replace(target)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextmanager
def placed(target: Path) -> Iterator[Path]:
    """Temporary name beside `target`; on any exception it and the parents made for it are removed."""
    made: list[Path] = []
    part = _temporary(target)
    try:
        made = [p for p in target.parents if not p.exists()]
        target.parent.mkdir(parents=True, exist_ok=True)
        yield part
    except BaseException as error:
        _remove(part)
        with suppress(OSError):  # a parent that meanwhile holds something else stays
            for parent in made:
                parent.rmdir()
        if isinstance(error, OSError) and not isinstance(error, OutputFailure):
            raise _failure(target, error) from error
        raise


def _refuse_existing(target: Path, *, force: bool, holds: str | None = None) -> None:
    if not target.exists():
        return
    if holds is None:
        if not force:
            raise OutputFailure(f"{target} is already there; write elsewhere or replace it with --force")
        return
    if not target.is_dir():
        raise OutputFailure(f"{target} is a file; give the name of a folder for the {holds} files")
    entries = list(target.iterdir())
    foreign = [p.name for p in entries if p.suffix.lower() != holds or p.is_dir()]
    if foreign:
        raise OutputFailure(
            f"{target} holds other things than {holds} files ({foreign[0]}); write to a new folder"
        )
    if entries and not force:
        raise OutputFailure(
            f"{target} already holds {len(entries)} {holds} files; write elsewhere or replace with --force"
        )


def _failure(target: Path, error: OSError) -> OutputFailure:
    # HDF5 reports the errno only inside its message
    code = error.errno or next((n for n in CURES if f"errno = {n}," in str(error)), None)
    reason = os.strerror(code).lower() if code else str(error).splitlines()[0]
    cure = CURES.get(code or 0, "check the path and the disk")
    return OutputFailure(f"cannot write {target}: {reason}; {cure}")


def _temporary(target: Path) -> Path:
    return target.with_name(f".part-{secrets.token_hex(4)}-{target.name}")


def _remove(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        with suppress(OSError):
            part.unlink(missing_ok=True)
