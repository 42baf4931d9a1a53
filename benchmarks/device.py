"""The card under a benchmark: what it is, how long a call takes on it, and how fast it could be."""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("numpy", "numba", "scipy", "torch", "jax", "astra-toolbox", "cupy-cuda12x", "cupy-cuda13x")


def missing() -> str | None:
    """Why nothing can be measured here, or None."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed: pip install 'rayfold[cuda12]' (or cuda13)"
    try:
        return None if cupy.cuda.runtime.getDeviceCount() else "no CUDA device"
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no CUDA device: {error}"


def environment() -> dict[str, Any]:
    """Card, driver, CUDA, packages, commit and date."""
    import cupy

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else "unknown"

    def version(package: str) -> str | None:
        try:
            return importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            return None

    card = cupy.cuda.runtime.getDeviceProperties(0)
    return {
        "card": card["name"].decode(),
        "compute_capability": f"{card['major']}.{card['minor']}",
        "multiprocessors": card["multiProcessorCount"],
        "memory_bytes": card["totalGlobalMem"],
        "driver_cuda": cupy.cuda.runtime.driverGetVersion(),
        "driver": _driver(),
        "runtime_cuda": cupy.cuda.runtime.runtimeGetVersion(),
        "cpu_cores": os.cpu_count(),
        "python": sys.version.split()[0],
        "packages": {name: found for name in PACKAGES if (found := version(name))},
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": git("status", "--porcelain") not in ("", "unknown"),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def _driver() -> str:
    try:
        query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True, check=True).stdout.split("\n")[0].strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def measure(call: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Median seconds of a call by CUDA events on the current stream, and by the clock to completion."""
    import cupy

    device = cupy.cuda.Device()
    for _ in range(5):
        call()
    device.synchronize()
    events, walls = [], []
    for _ in range(repeats):
        start, stop = cupy.cuda.Event(), cupy.cuda.Event()
        began = time.perf_counter()
        start.record()
        call()
        stop.record()
        device.synchronize()
        walls.append(time.perf_counter() - began)
        events.append(cupy.cuda.get_elapsed_time(start, stop) * 1e-3)
    return {
        "event_s": statistics.median(events),
        "wall_s": statistics.median(walls),
        "fastest_s": min(events),
    }


def ceilings(repeats: int, *, quick: bool) -> dict[str, Any]:
    """Copy bandwidth and FP32 rate of the card, through torch where it sees the device, else through CuPy."""
    import cupy

    library = "cupy"
    n, side = (2**26 if quick else 2**29), (2048 if quick else 8192)
    a, b = cupy.zeros(n, "f4"), cupy.empty(n, "f4")
    m = cupy.random.default_rng(0).random((side, side), dtype="f4")
    copy, product = (lambda: cupy.copyto(b, a)), (lambda: m @ m)
    if importlib.util.find_spec("torch"):
        import torch

        if torch.cuda.is_available():
            library = "torch"
            torch.backends.cuda.matmul.allow_tf32 = False
            ta, tb, tm = (torch.as_tensor(v, device="cuda") for v in (a, b, m))
            copy, product = (lambda: tb.copy_(ta)), (lambda: tm @ tm)
    moved = measure(copy, repeats)["wall_s"]
    done = measure(product, repeats)["wall_s"]
    return {"library": library, "copy_bytes_per_s": 8 * n / moved, "fp32_flop_per_s": 2 * side**3 / done}
