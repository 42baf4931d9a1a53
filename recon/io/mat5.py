"""Arrays, texts and structures of a MATLAB 5 file, read without trusting a byte of it.

SciPy's reader is compiled and ends the process over a damaged file; a scan needs only a small part of the
format: a file is a row of elements ``(type, length, bytes)``, an array is an element that holds elements, and
each of them may be packed by zlib.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

STORED = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
MATRIX, PACKED = 14, 15
STRUCT, CHAR = 2, 4
IS_COMPLEX = 0x0800
DEEPEST = 8


def read_mat5(path: Path) -> dict[str, Any]:
    """Variables by name: ndarray, str, or dict for a single structure; other classes (cells, ...) are None.

    Parameters
    ----------
    path : Path
        File written by MATLAB 5 to 7.2, or by SciPy.

    Returns
    -------
    dict
        Every variable of the file.

    Raises
    ------
    ValueError, zlib.error, struct.error
        If the file is damaged; call inside `rayfold.recon.io.files.reading`.

    Examples
    --------
    >>> import tempfile
    >>> from scipy.io import savemat
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     savemat(f"{folder}/a.mat", {"x": {"y": [1.0, 2.0], "z": "text"}})
    ...     read_mat5(Path(folder) / "a.mat")
    {'x': {'y': array([[1., 2.]]), 'z': 'text'}}
    """
    content = memoryview(path.read_bytes())
    order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
    if order is None:
        raise ValueError("its header does not state the byte order")
    found: dict[str, Any] = {}
    for kind, raw in _elements(content[128:], order):
        if kind == PACKED:
            (kind, raw), *_ = _elements(memoryview(zlib.decompress(raw)), order)
        if kind == MATRIX:
            name, value = _matrix(raw, order, 0)
            found[name] = value
    return found


def _elements(content: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Types and bytes of consecutive elements."""
    at = 0
    while at < len(content):
        word, size = struct.unpack_from(f"{order}2I", content, at)
        start = at + 8
        if word >> 16:  # up to four bytes are kept inside the tag
            word, size, start = word & 0xFFFF, word >> 16, at + 4
            at += 8
        else:
            # only packed elements are not padded to eight bytes
            at = start + size + (0 if word == PACKED else -size % 8)
        if start + size > len(content):
            raise ValueError(f"an element of {size} bytes reaches beyond the end")
        yield word, content[start : start + size]


def _matrix(content: memoryview, order: str, depth: int) -> tuple[str, Any]:
    """Name and value of one array."""
    if not content:
        return "", np.zeros((0, 0))
    if depth > DEEPEST:
        raise ValueError(f"structures are nested more than {DEEPEST} deep")
    parts = list(_elements(content, order))
    if len(parts) < 3:
        raise ValueError("an array lacks its name or its size")
    flags = struct.unpack_from(f"{order}I", parts[0][1])[0]
    shape = tuple(np.frombuffer(parts[1][1], f"{order}i4").tolist())
    name, kind = bytes(parts[2][1]).decode("latin-1"), flags & 0xFF
    if min(shape, default=-1) < 0:
        raise ValueError(f"array {name} has the size {shape}")
    if kind in CLASSES and flags & IS_COMPLEX:
        if len(parts) < 5:
            raise ValueError(f"array {name} lacks its imaginary part")
        real, imaginary = (_numbers(*part, order, shape, name) for part in parts[3:5])
        return name, (real + 1j * imaginary).astype("c8" if CLASSES[kind] == "f4" else "c16")
    if kind in CLASSES:
        return name, _numbers(*parts[3], order, shape, name).astype(CLASSES[kind])
    if kind == CHAR:
        stored, raw = parts[3] if len(parts) > 3 else (2, memoryview(b""))
        return name, "".join(map(chr, _numbers({16: 2, 17: 4}.get(stored, stored), raw, order, None, name)))
    if kind == STRUCT and math.prod(shape) == 1:
        return name, _fields(parts[3:], order, depth)
    return name, None


def _numbers(stored: int, raw: memoryview, order: str, shape: tuple[int, ...] | None, name: str) -> Any:
    if stored not in STORED:
        raise ValueError(f"array {name} has the unknown number type {stored}")
    values = np.frombuffer(raw, order + STORED[stored])
    if shape is None:
        return values
    if values.size != math.prod(shape):
        raise ValueError(f"array {name} holds {values.size} values, not {shape}")
    return values.reshape(shape, order="F")


def _fields(parts: list[tuple[int, memoryview]], order: str, depth: int) -> dict[str, Any]:
    """Values of a structure by field name."""
    width = struct.unpack_from(f"{order}i", parts[0][1])[0]
    names = bytes(parts[1][1])
    if width < 1 or len(names) // width != len(parts) - 2:
        raise ValueError("a structure has another number of fields than of names")
    return {
        names[k * width : (k + 1) * width].split(b"\0")[0].decode("latin-1"): _matrix(raw, order, depth + 1)[
            1
        ]
        for k, (_, raw) in enumerate(parts[2:])
    }
