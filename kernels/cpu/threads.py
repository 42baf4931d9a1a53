"""Spread independent pieces of a kernel over the cores.

Kernels release the interpreter lock, so plain threads do. Unlike numba's default thread layers this is safe
when two Python threads project at once and after `fork`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

_lock = threading.Lock()
_pool: ThreadPoolExecutor | None = None


def n_threads() -> int:
    """Cores this process may use; the environment variable RAYFOLD_NUM_THREADS overrides it."""
    wanted = os.environ.get("RAYFOLD_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _executor() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(n_threads(), thread_name_prefix="rayfold")
        return _pool


def _forget() -> None:
    """A forked child has the pool object but none of its threads: start afresh there."""
    global _pool, _lock
    _lock, _pool = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def split(n: int, *, least: int = 1, per_thread: int = 4) -> list[tuple[int, int]]:
    """Cut ``range(n)`` into ``(start, stop)`` pieces of at least `least`, a few per thread for balance."""
    pieces = max(1, min(n // max(least, 1), n_threads() * per_thread))
    edges = [n * i // pieces for i in range(pieces + 1)]
    return [(a, b) for a, b in pairwise(edges) if b > a]


def each(work: Callable[[int, int], None], pieces: list[tuple[int, int]]) -> None:
    """Call ``work(start, stop)`` for every piece on the pool and wait; the first error is raised."""
    if len(pieces) <= 1 or n_threads() == 1:
        for start, stop in pieces:
            work(start, stop)
        return
    for done in [_executor().submit(work, start, stop) for start, stop in pieces]:
        done.result()
