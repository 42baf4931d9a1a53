"""One command for a GPU machine: the device tests, then timings beside peers and beside the card's ceilings.

    python -m benchmarks.gpu_check --out results.json [--quick]
    python -m benchmarks.gpu_check --train [FOLDER]

Runs from the root of the repository without installation. Exit status: 0 all passed, 1 a test failed (timings
are written all the same), 2 nothing could be run and nothing was written.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import gpu_mri
from .device import ROOT, ceilings, environment, measure, missing

sys.path[:0] = [str(ROOT / ".dev"), str(ROOT)]

import numpy as np  # noqa: E402

from rayfold.kernels import joseph, launch  # noqa: E402
from rayfold.operators import FanBeam, ParallelBeam, Volume  # noqa: E402
from rayfold.operators.fbp import fbp_operator  # noqa: E402
from rayfold.operators.rays import bin_coordinates, ray_coefficients  # noqa: E402

N, VIEWS, COLS = 512, 720, 736
STAGES = ("gpu-denoiser-base", "gpu-base")  # of the training, one after the other
VOLUME = Volume((N, N), 1.0)
BEAMS = {
    "parallel": ParallelBeam.evenly(VIEWS, COLS, pitch=1.0),
    "fan": FanBeam.evenly(VIEWS, COLS, pitch=2.0, source_to_axis=1000.0, source_to_detector=2000.0),
}
KERNELS = (("joseph", "forward"), ("joseph", "adjoint"), ("backproject", "gather"), ("backproject", "splat"))


def run_tests() -> dict[str, Any]:
    """``tests/gpu`` with pytest; without pytest, dot tests and the twins against each other."""
    if importlib.util.find_spec("pytest"):
        # warnings of other people's packages must not decide here
        words = ["-m", "pytest", "tests/gpu", "-q", "-o", "filterwarnings=default", "-p", "no:cacheprovider"]
        words += ["-o", "addopts=--import-mode=importlib"]
        if importlib.util.find_spec("xdist"):  # most of the time goes into compiling, on the host
            words += ["-n", "6"]
        shared = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # JAX would take the whole card
        done = subprocess.run(
            [sys.executable, *words], cwd=ROOT, env=shared, capture_output=True, text=True, check=False
        )
        lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()
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
    """Kernels only: needs neither pytest nor the operators' array libraries."""
    import cupy

    host, wrong = rays(kind), []
    plan = (*map(cupy.asarray, host[:3]), host[3])
    x = np.random.default_rng(0).random((2, N, N), np.float32)
    y, back = np.empty((2, VIEWS, COLS), np.float32), np.empty_like(x)
    joseph.forward(x, y, *host)
    joseph.adjoint(y, back, *host)
    ours_y, ours_back = cupy.empty(y.shape, "f4"), cupy.empty(x.shape, "f4")
    joseph.forward(cupy.asarray(x), ours_y, *plan)
    joseph.adjoint(cupy.asarray(y), ours_back, *plan)
    for name, ours, twin in (("forward", ours_y.get(), y), ("adjoint", ours_back.get(), back)):
        error = float(np.linalg.norm((ours - twin).ravel()) / np.linalg.norm(twin.ravel()))
        if not error < 1e-5:
            wrong.append(f"{name} differs from the numba twin by {error:.1e}")
    left, right = (float(np.vdot(a.astype("f8"), b)) for a, b in ((ours_y.get(), y), (x, ours_back.get())))
    if not abs(left - right) < 1e-5 * abs(left):
        wrong.append(f"dot test: {left} and {right}")
    return wrong


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


def fbp_timings(batches: tuple[int, ...], repeats: int) -> list[dict[str, Any]]:
    """Weights, filter and back-projection in one call, as users make it, and the transpose."""
    import cupy

    if not all(map(importlib.util.find_spec, ("array_api_compat", "scipy"))):
        return []
    rows = []
    for kind, beam in BEAMS.items():
        fbp, _ = fbp_operator(VOLUME, beam)
        for batch in batches:
            y = cupy.random.default_rng(1).random((batch, VIEWS, COLS), dtype="f4")
            image = cupy.random.default_rng(1).random((batch, N, N), dtype="f4")
            for name, call in (
                ("fbp", lambda fbp=fbp, y=y: fbp(y)),
                ("fbp.H", lambda fbp=fbp, x=image: fbp.H(x)),
            ):
                row = {"kernel": name, "beam": kind, "batch": batch, "rayfold": measure(call, repeats)}
                if batch == 1:
                    host = (y if name == "fbp" else image).get()
                    seconds = _median(lambda A=fbp if name == "fbp" else fbp.H, a=host: A(a))
                    row["numba"] = {"wall_s": seconds, "cores": os.cpu_count()}
                rows.append(row)
                print(_line(row), file=sys.stderr)
    return rows


def _numba(name: str, x: Any, y: Any, host: Any) -> float:
    a, b = (x, y) if name == "forward" else (y, x)
    out = np.empty_like(b)
    return _median(lambda: getattr(joseph, name)(a, out, *host))


def _median(call: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(4):  # the first one compiles
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def _line(row: dict[str, Any]) -> str:
    texts = [f"{row['beam']:8} {row['kernel']:8} batch {row['batch']:3}"]
    for name in ("rayfold", "astra", "numba"):
        seconds = (row.get(name) or {}).get("wall_s")
        texts.append(f"{name} " + ("        -   " if seconds is None else f"{1e3 * seconds:9.3f} ms"))
    return "  ".join(texts)


def resources() -> dict[str, Any]:
    """Registers, local and shared memory of the float32 kernels as built for this card."""
    found = {}
    for images in joseph.FACTORS:
        for file, name in KERNELS:
            kernel = launch.kernel(file, name, launch.preamble("float32", images))
            sizes = {
                "registers": kernel.num_regs,
                "local": kernel.local_size_bytes,
                "shared": kernel.shared_size_bytes,
            }
            found[f"{name}, {images} images"] = sizes
    return found


def run_training(folder: Path, minutes: float | None = None) -> int:
    """Both stages of the base network on the GPU; weights, losses and log stay in the folder."""
    from rayfold.recon.train.config import read_config
    from rayfold.recon.train.run import TRAINING, WEIGHTS, train

    if reason := missing():
        print(f"nothing to train on: {reason}", file=sys.stderr)
        return 2
    log: list[dict[str, Any]] = []
    began = time.monotonic()

    def note(done: int, total: int, parts: dict[str, float]) -> None:
        if done % 100 == 0 or done == 1:
            line = {"step": done, "seconds": round(time.monotonic() - began, 2)} | parts
            log.append(line)
            print(f"{done} of {total}, {line['seconds']:.0f} s: {parts}", file=sys.stderr, flush=True)

    results: dict[str, Any] = {"environment": environment()}
    changes: dict[str, Any] = {}
    for name in STAGES:
        here = folder / name
        config = read_config(name, **changes)
        if minutes is not None:
            config = replace(config, minutes=minutes * config.minutes / 20)
        resume = (here / TRAINING).exists()
        done = train(None if resume else config, here, resume=resume, progress=note)
        results[name] = {"steps": done.done, "losses_db": done.losses, "log": log.copy()}
        log.clear()
        (folder / "log.json").write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
        changes = {"start": str(here / WEIGHTS)}
    return 0


def main(argv: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="benchmarks.gpu_check", description="Check and time the kernels on a GPU."
    )
    parser.add_argument("--out", type=Path, help="JSON file for the results")
    parser.add_argument("--quick", action="store_true", help="smaller batches and ceilings")
    parser.add_argument(
        "--train", type=Path, metavar="FOLDER", nargs="?", const=Path("gpu-base"),
        help="instead: the trainings gpu-denoiser-base and gpu-base, 20 minutes at most, into a folder",
    )  # fmt: skip
    parser.add_argument("--minutes", type=float, help="of both trainings together, instead of 20")
    given = parser.parse_args(argv)
    if given.train:
        return run_training(given.train, given.minutes)
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
    results["timings"] = timings(batches, repeats) + fbp_timings(batches, repeats)
    results["mri"] = gpu_mri.timings(repeats, quick=given.quick)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    return 0 if results["tests"]["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
