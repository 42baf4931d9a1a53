"""The machine under a benchmark: processor, cores, load, versions and commit, and clocks that take turns."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
USUAL = ("numpy", "numba", "torch", "astra-toolbox", "scikit-image", "deepinv")


def machine(names: Iterable[str] = USUAL) -> dict[str, Any]:
    """Processor, cores of this process, load, Python, and versions of packages (None where missing)."""
    return {
        "cpu": cpu(),
        "cores": cores(),
        "load_average": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": versions(names),
    }


def cpu() -> str:
    """Name of the processor."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text().splitlines() if table.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or "unknown")


def cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def versions(names: Iterable[str]) -> dict[str, str | None]:
    """Versions of installed packages, None where one is missing."""
    found: dict[str, str | None] = {}
    for name in names:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def commit() -> str:
    """Commit of this repository, or "unknown"."""
    words = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


def clocked(call: Callable[[], Any]) -> Callable[[], float]:
    """A function that calls once and returns the seconds it took."""

    def clock() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return clock


def turns(
    clocks: Mapping[str, Callable[[], float]], rounds: Mapping[str, int], *, most: float = float("inf")
) -> dict[str, dict[str, float]]:
    """Seconds by each clock, in turns: best, median, runs.

    A clock that has spent `most` seconds drops out after its third run. The pause before a turn lets the
    threads of the one before go to sleep.
    """
    seconds: dict[str, list[float]] = {name: [] for name in clocks}
    for i in range(max(rounds.values())):
        for name, clock in clocks.items():
            if i < rounds[name] and (i < 3 or sum(seconds[name]) < most):
                time.sleep(0.01)
                seconds[name].append(clock())
    return {
        name: {"best": min(s), "median": statistics.median(s), "runs": len(s)} for name, s in seconds.items()
    }
