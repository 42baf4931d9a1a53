"""Plans of non-uniform Fourier transforms: which engine makes them, and which were made already."""

from __future__ import annotations

import importlib.util
import math
import os
import threading
import weakref
from collections import OrderedDict
from importlib import import_module
from typing import Any

import numpy as np

Array = Any
KEPT = 256  # plans, one for each frame of a series
KEPT_BYTES = 1 << 30  # of their oversampled grids, as far as can be told from the image
ENGINES = ("auto", "finufft", "cufinufft", "gridding")
MOST_K = np.pi * (1 + 1e-3 / np.pi)  # rad/voxel, with room for rounding

_kept: OrderedDict[tuple[Any, ...], list[Any]] = OrderedDict()
_lock = threading.RLock()


def _forget() -> None:
    """A forked child has the plans but none of their threads."""
    global _lock
    _lock = threading.RLock()
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def check_trajectory(points: Array, ndim: int) -> None:
    """ValueError unless the last axis has `ndim` entries, all finite and within +-pi rad/voxel."""
    if points.ndim < 2 or points.shape[-1] != ndim:
        raise ValueError(
            f"the trajectory has shape {tuple(points.shape)}; for an image of {ndim} axes it must end in "
            f"(samples, {ndim}), in the order of the image axes"
        )
    largest = float(abs(points).max()) if points.size else 0.0
    if not largest <= MOST_K:  # also where it is not a number
        raise ValueError(
            f"the trajectory reaches {largest:.6g} rad/voxel; it must be finite and within +-pi: "
            "multiply cycles per field of view by 2 pi / n, or give a finer grid"
        )


def engine_for(name: str, like: Array) -> str:
    """Module suffix of the engine that serves arrays of the library of `like`."""
    on_host = isinstance(like, np.ndarray)
    if name == "auto":
        if on_host:
            return "finufft"
        return "cufinufft" if importlib.util.find_spec("cufinufft") else "gridding"
    if (name == "finufft") != on_host and name != "gridding":
        where = "NumPy arrays and tensors on the CPU" if name == "finufft" else "arrays on a GPU"
        raise ValueError(f"engine {name} takes {where}; use engine='auto', or move the array")
    return name


def plan(points: Array, shape: tuple[int, ...], eps: float, engine: str, like: Array) -> Any:
    """A plan for these points, made at most once as long as it is in use.

    Parameters
    ----------
    points : ndarray, (..., ndim)
        NumPy or CuPy. An array that cannot be written to is known again at once, any other by its content.
    shape : tuple of int
        Image.
    eps : float
        Relative accuracy.
    engine : str
        One of `ENGINES`.
    like : ndarray
        Gives library, device and complex type of the data.

    Returns
    -------
    object
        With ``forward(x, out)`` and ``adjoint(y, out)``, see `engine_finufft.FinufftPlan`.
    """
    chosen = engine_for(engine, like)
    device = str(getattr(like, "device", "cpu"))
    stream = 0 if isinstance(like, np.ndarray) else _stream()
    key = (chosen, shape, eps, str(like.dtype), device, stream, tuple(points.shape), str(points.dtype))
    with _lock:
        entries = _kept.get(key, [])
        for i, (token, content, found) in enumerate(entries):
            if _is(token, points) or _same(content, points):
                entries.append(entries.pop(i))
                _kept.move_to_end(key)
                return found
        check_trajectory(points, len(shape))
        made = import_module(f".engine_{chosen}", __package__).make(
            points.reshape(-1, len(shape)), shape, eps, like
        )
        # a view that cannot be written to may still change with the memory it shows
        frozen = isinstance(points, np.ndarray) and points.flags.owndata and not points.flags.writeable
        _kept[key] = entries
        _kept.move_to_end(key)
        entries.append((weakref.ref(points) if frozen else None, points.copy(), made))
        _trim()
        return made


def _stream() -> int:
    import cupy

    return int(cupy.cuda.get_current_stream().ptr)


def _is(token: Any, points: Array) -> bool:
    return token is not None and token() is points and not points.flags.writeable


def _same(content: Array, points: Array) -> bool:
    """Whether points are those of a plan; the first few tell most strangers apart."""
    if type(content) is not type(points):
        return False
    return bool((content[:1] == points[:1]).all()) and bool((content == points).all())


def _trim() -> None:
    """Forget the plans that were used least recently."""
    while True:
        n = sum(map(len, _kept.values()))
        size = sum(len(entries) * _bytes(key) for key, entries in _kept.items())
        if n <= 1 or (n <= KEPT and size <= KEPT_BYTES):
            return
        oldest = next(iter(_kept))
        _kept[oldest].pop(0)
        if not _kept[oldest]:
            del _kept[oldest]


def _bytes(key: tuple[Any, ...]) -> int:
    """Memory of a plan's grid, twice as long along every axis, for two transforms at a time."""
    shape, kind = key[1], key[3]
    return 2 * math.prod(2 * int(n) for n in shape) * (16 if kind == "complex128" else 8)
