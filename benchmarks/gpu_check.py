"""One command for a GPU machine: the device tests, then timings beside peers and beside the card's ceilings.

    python -m benchmarks.gpu_check --out results.json [--quick]

Runs from the root of the repository without installation. Exit status: 0 all passed, 1 a test failed (timings
are written all the same), 2 nothing could be run and nothing was written.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import math
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / ".dev"), str(ROOT)]

import numpy as np  # noqa: E402

from rayfold.kernels import joseph, launch  # noqa: E402
from rayfold.operators import FanBeam, ParallelBeam, Volume  # noqa: E402
from rayfold.operators.checks import dot_test  # noqa: E402
from rayfold.operators.xray import XRay, bin_coordinates, ray_coefficients  # noqa: E402

N, VIEWS, COLS = 512, 720, 736
VOLUME = Volume((N, N), 1.0)
BEAMS = {
    "parallel": ParallelBeam.evenly(VIEWS, COLS, pitch=1.0),
    "fan": FanBeam.evenly(VIEWS, COLS, pitch=2.0, source_to_axis=1000.0, source_to_detector=2000.0),
}
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


def run_tests() -> dict[str, Any]:
    """``tests/gpu`` with pytest; without pytest, dot tests and the twins against each other."""
    if importlib.util.find_spec("pytest"):
        # warnings of other people's packages must not decide here
        words = ["-m", "pytest", "tests/gpu", "-q", "-o", "filterwarnings=default", "-p", "no:cacheprovider"]
        done = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).strip().splitlines()
        failures = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
        tail = [] if done.returncode == 0 else lines[-60:]
        return {
            "runner": "pytest",
            "passed": done.returncode == 0,
            "summary": lines[-1],
            "failures": failures,
            "log": tail,
        }
    failures = [f"{kind}: {message}" for kind in BEAMS for message in _minimal(kind)]
    return {"runner": "built in", "passed": not failures, "failures": failures}


def _minimal(kind: str) -> list[str]:
    import cupy

    A, wrong = XRay(VOLUME, BEAMS[kind][::8]), []
    x = np.random.default_rng(0).random((2, N, N), np.float32)
    y = A(x)
    for name, ours, twin in (("forward", A(cupy.asarray(x)), y), ("adjoint", A.H(cupy.asarray(y)), A.H(y))):
        error = float(np.linalg.norm(ours.get() - twin) / np.linalg.norm(twin))
        if not error < 1e-5:
            wrong.append(f"{name} differs from the numba twin by {error:.1e}")
    device = cupy.asarray(y)
    left, right = (
        float((A(cupy.asarray(x)).astype("f8") * device).sum()),
        float((A.H(device).get() * x).sum(dtype="f8")),
    )
    if not abs(left - right) < 1e-5 * abs(left):
        wrong.append(f"dot test: {left} and {right}")
    host = dot_test(A)
    return wrong if host.ok else [*wrong, str(host)]


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


def ceilings(repeats: int, *, quick: bool) -> dict[str, float]:
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
    return {"library": library, "copy_bytes_per_s": 8 * n / moved, "fp32_flop_per_s": 2 * side**3 / done}  # type: ignore[dict-item]


def rays(kind: str) -> tuple[Any, Any, Any, float]:
    """Host arrays of a beam in float32: coefficients, bin coordinates, pixel size, fan step."""
    structure = BEAMS[kind].structure
    coef = ray_coefficients(BEAMS[kind].vectors, structure, VOLUME)
    steps = np.array(VOLUME.steps)
    return *(a.astype(np.float32) for a in (coef, bin_coordinates(structure), steps)), structure.fan_step


def astra_calls(kind: str, x: Any, y: Any) -> dict[str, Callable[[], Any]] | None:
    """ASTRA's fastest documented calls on device arrays, slice by slice: it has no batch."""
    if not importlib.util.find_spec("astra"):
        return None
    import astra

    if not astra.use_cuda():
        return None
    beam = BEAMS[kind]
    grid = astra.create_vol_geom(N, N)
    if kind == "fan":
        back = beam.source_to_detector - beam.source_to_axis
        fan = astra.create_proj_geom("fanflat", beam.pitch, COLS, beam.angles, beam.source_to_axis, back)
        projector = astra.create_projector("cuda", fan, grid)
    else:
        projector = astra.create_projector(
            "cuda", astra.create_proj_geom("parallel", beam.pitch, COLS, beam.angles), grid
        )
    return {
        "forward": lambda: [
            astra.projector.direct_FP(projector, a, out=b) for a, b in zip(x, y, strict=True)
        ],
        "adjoint": lambda: [
            astra.projector.direct_BP(projector, b, out=a) for a, b in zip(x, y, strict=True)
        ],
    }


def timings(batches: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    """Every kernel, geometry and batch; peers in the same process on the same arrays."""
    import cupy

    rows = []
    for kind in BEAMS:
        host = rays(kind)
        plan = (*map(cupy.asarray, host[:3]), host[3])
        for batch in batches:
            x = cupy.random.default_rng(1).random((batch, N, N), dtype="f4")
            y = cupy.empty((batch, VIEWS, COLS), "f4")
            out = cupy.empty_like(x)
            ours = {
                "forward": lambda x=x, y=y, plan=plan: joseph.forward(x, y, *plan),
                "adjoint": lambda y=y, out=out, plan=plan: joseph.adjoint(y, out, *plan),
            }
            peer = astra_calls(kind, cupy.empty_like(x), cupy.ones_like(y))
            for name, call in ours.items():
                samples = batch * (VIEWS * COLS * N if name == "forward" else VIEWS * N * N)
                row = {"kernel": name, "beam": kind, "batch": batch, "rayfold": measure(call, repeats)}
                row["rayfold"]["samples_per_s"] = samples / row["rayfold"]["event_s"]
                row["astra"] = measure(peer[name], repeats) if peer else None
                if batch == 1:
                    row["numba"] = {"wall_s": _numba(name, x.get(), y.get(), host), "cores": os.cpu_count()}
                rows.append(row)
                print(_line(row), file=sys.stderr)
    return rows


def _numba(name: str, x: Any, y: Any, host: Any) -> float:
    a, b = (x, y) if name == "forward" else (y, x)
    out, seconds = np.empty_like(b), []
    for _ in range(4):  # the first one compiles
        began = time.perf_counter()
        getattr(joseph, name)(a, out, *host)
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _line(row: dict[str, Any]) -> str:
    texts = [f"{row['beam']:8} {row['kernel']:8} batch {row['batch']:3}"]
    for name in ("rayfold", "astra", "numba"):
        seconds = (row.get(name) or {}).get("wall_s", math.nan)
        texts.append(f"{name} {1e3 * seconds:9.3f} ms")
    return "  ".join(texts)


def resources() -> dict[str, Any]:
    """Registers, local and shared memory of the float32 kernels as built for this card."""
    found = {}
    for images in joseph.FACTORS:
        for name in ("forward", "adjoint"):
            kernel = launch.kernel("joseph", name, launch.preamble("float32", images))
            sizes = {
                "registers": kernel.num_regs,
                "local": kernel.local_size_bytes,
                "shared": kernel.shared_size_bytes,
            }
            found[f"{name}, {images} images"] = sizes
    return found


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.gpu_check", description="Check and time the kernels on a GPU."
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--quick", action="store_true", help="smaller batches and ceilings")
    parser.add_argument("--train", action="store_true", help="reserved")
    given = parser.parse_args(argv)
    if given.train:
        print("--train: training comes with a later version", file=sys.stderr)
        return 2
    if given.out is None:
        parser.error("--out is needed: the JSON file for the results")
    if reason := missing():
        print(f"nothing to measure: {reason}", file=sys.stderr)
        return 2
    results: dict[str, Any] = {"environment": environment(), "quick": given.quick, "tests": run_tests()}
    print(results["tests"].get("summary", results["tests"]["failures"]), file=sys.stderr)
    repeats, batches = (20, (1, 8)) if given.quick else (50, (1, 8, 32))
    results["kernels"] = resources()
    results["ceilings"] = ceilings(20, quick=given.quick)
    results["problem"] = {
        "image": [N, N],
        "views": VIEWS,
        "cols": COLS,
        "dtype": "float32",
        "repeats": repeats,
    }
    results["timings"] = timings(batches, repeats)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0 if results["tests"]["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
