"""Seconds and memory of one 512 x 512 restore: ``python -m benchmarks.prior_speed WEIGHTS VIEWS [DEVICE]``.

Runs in a process of its own, so that its peak memory is that of the restore and of what it needs to run. A
small restore before it keeps the loading of compiled kernels out of the time.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".dev"))

from benchmarks.prior_cases import Case, entry  # noqa: E402

VIEWS, THREADS = (60, 180, 360), 2
SECONDS, GPU_SECONDS, GIGABYTES = 20.0, 0.1, 2.0


def problem(n: int, views: int) -> Any:
    """A noisy scan of a thorax, parallel beam."""
    import numpy as np

    from rayfold.operators import Gaussian, ParallelBeam, Volume, XRay
    from rayfold.recon import Problem, phantoms

    volume = Volume((n, n), 400 / n)
    truth = np.asarray(phantoms.ellipses(volume, phantoms.thorax_table(5)).array, np.float32)
    A = XRay(volume, ParallelBeam.evenly(views, int(1.45 * n), pitch=400 / n))
    y = A(truth)
    sigma = 0.01 * float(y.mean())
    drawn = np.random.default_rng(0).standard_normal(y.shape, np.float32)
    return Problem(A, y + np.float32(sigma) * drawn, Gaussian(sigma))


def measure(weights: str, views: int, device: str) -> dict[str, float]:
    """Seconds (best of two) and peak memory in GB of this process."""
    import torch

    from rayfold.recon.foundation import FoundationPrior

    torch.set_num_threads(THREADS)
    prior = FoundationPrior.load(weights, device=device)
    prior.restore(problem(64, 20))
    given, times = problem(512, views), []
    for _ in range(2):
        start = time.perf_counter()
        prior.restore(given)
        times.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)
    return {"seconds": min(times), "gigabytes": peak}


def speed(weights: str) -> tuple[list[Case], list[dict[str, Any]]]:
    """All numbers of views, on the processor and on a GPU where there is one."""
    import torch

    devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYFOLD_NUM_THREADS")
    threads = {**os.environ, **dict.fromkeys(names, str(THREADS))}
    cases, lines = [], []
    for device in devices:
        rows = []
        for views in VIEWS:
            words = [sys.executable, "-m", "benchmarks.prior_speed", weights, str(views), device]
            done = subprocess.run(words, env=threads, cwd=ROOT, capture_output=True, text=True, check=True)
            rows.append(json.loads(done.stdout))
            cases.append(Case("speed", "512 x 512", f"{views} views, {device}", {}, rows[-1]))
        slowest, largest = (max(row[key] for row in rows) for key in ("seconds", "gigabytes"))
        where = f"{THREADS} cores" if device == "cpu" else torch.cuda.get_device_name()
        bound = SECONDS if device == "cpu" else GPU_SECONDS
        lines.append(entry(f"512 x 512 restore, {where}", bound, [slowest], most=True, unit="s"))
        lines.append(entry(f"512 x 512 restore, memory, {where}", GIGABYTES, [largest], most=True, unit="GB"))
    return cases, lines


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "cpu")))
