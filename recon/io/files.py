"""Shared by the readers: a library's failure becomes one clear line, rows are cut, axes are put in order."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.errors import InconsistentInput, UnreadableInput

Array = npt.NDArray[Any]
Rows = slice | int | None
AXES = ("views", "rows", "cols")


class BadOption(ValueError):
    """An argument of the call is wrong, not the file; passes through `reading` unchanged."""


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a parser raises over a damaged file into one `UnreadableInput`.

    The parsers raise a dozen unrelated types over a damaged file (KeyError, zlib.error, MemoryError, ...) and
    warn on the way; the outcome here is a scan or one exception, so the warnings say nothing new.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (UnreadableInput, InconsistentInput, BadOption):
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")[:160] or type(error).__name__
        raise UnreadableInput(
            f"{path.name} cannot be read as {what}: {reason}; the file is damaged, copy it again"
        ) from error


def parse_rows(rows: str | int | slice | None) -> Rows:
    """Detector rows as given by a user: a number, ``"a:b"`` or a slice; a number drops the row axis."""
    if not isinstance(rows, str):
        return rows
    parts = rows.split(":")
    try:
        numbers = [int(part) if part.strip() else None for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) == 1 and numbers[0] is not None:
        return numbers[0]
    if len(numbers) == 2:
        return slice(*numbers)
    raise BadOption(f'rows is {rows!r}; give one row "12" or a range "10:20"')


def resolve_rows(rows: Rows, n_rows: int) -> Rows:
    """Rows as non-negative numbers within ``n_rows``, which every file library takes."""
    if isinstance(rows, slice):
        start, stop, step = rows.indices(n_rows)
        if step != 1 or stop <= start:
            raise BadOption(f"rows {rows.start}:{rows.stop} select nothing of {n_rows} detector rows")
        return slice(start, stop)
    if rows is None:
        return slice(0, n_rows)
    if not -n_rows <= rows < n_rows:
        raise BadOption(f"row {rows} is not one of {n_rows} detector rows (0 to {n_rows - 1})")
    return int(rows) % n_rows


def parse_axes(text: str) -> tuple[str, ...]:
    """``"rows,views,cols"`` as a tuple; raise InconsistentInput unless it names views and cols once each."""
    axes = tuple(part.strip() for part in text.split(","))
    if sorted(axes) not in (["cols", "views"], ["cols", "rows", "views"]):
        raise InconsistentInput(
            f'axes is {text!r}; it must order views and cols, or views, rows and cols: "views,rows,cols"'
        )
    return axes


def default_axes(ndim: int, name: str) -> tuple[str, ...]:
    """Views first, columns last; raise InconsistentInput for another number of axes."""
    if ndim not in (2, 3):
        raise InconsistentInput(
            f"{name} has {ndim} axes; a scan has 2 (views, cols) or 3 (views, rows, cols)"
        )
    return ("views", "cols") if ndim == 2 else AXES


def arrange(source: Any, axes: tuple[str, ...], rows: Rows, name: str) -> Array:
    """Read `source` (an array or an HDF5 dataset) as ``(views, [rows,] cols)``, only the wanted rows."""
    if len(axes) != len(source.shape):
        raise InconsistentInput(
            f'{name} has {len(source.shape)} axes, but axes = "{",".join(axes)}" names {len(axes)}'
        )
    if rows is not None and "rows" not in axes:
        raise BadOption(f"{name} has a single detector row; leave rows out")
    cut = tuple(
        resolve_rows(rows, length) if axis == "rows" else slice(0, length)
        for axis, length in zip(axes, source.shape, strict=True)
    )
    left = [axis for axis, part in zip(axes, cut, strict=True) if isinstance(part, slice)]
    return native(np.transpose(source[cut], [left.index(axis) for axis in AXES if axis in left]), name)


def native(array: Array, name: str) -> Array:
    """Contiguous array of real numbers in this machine's byte order, half precision widened to single."""
    array = np.asarray(array)
    if array.dtype.kind not in "iuf":
        raise InconsistentInput(f"{name} holds {array.dtype} values; measurements are real numbers")
    if array.size == 0:
        raise InconsistentInput(f"{name} is empty, its shape is {array.shape}")
    dtype = np.dtype(np.float32) if array.dtype == np.float16 else array.dtype.newbyteorder("=")
    return np.ascontiguousarray(array, dtype=dtype)
