"""`rayfold doctor`: what this machine has, and whether the kernels compute the right numbers on it."""

from __future__ import annotations

import argparse
import platform
import time
from collections.abc import Callable
from importlib import metadata
from importlib.util import find_spec
from typing import Any

from rayfold.recon.cli import console

# module, distribution, extra that installs it, what it is for
OPTIONAL = (
    ("torch", "torch", "", "tensors, networks"),
    ("jax", "jax", "jax", "JAX arrays"),
    ("cupy", "cupy-cuda12x", "cuda12", "NVIDIA GPUs"),
    ("astra", "astra-toolbox", "astra", "comparison, other projectors"),
    ("odl", "odl", "odl", "comparison, other solvers"),
    ("algotom", "algotom", "preprocess", "rings, zingers, rotation centre"),
    ("ismrmrd", "ismrmrd", "mri", "raw MRI"),
    ("twixtools", "twixtools", "mri", "raw MRI of Siemens"),
    ("pypulseq", "pypulseq", "mri", "trajectories of Pulseq sequences"),
    ("cufinufft", "cufinufft", "cuda12", "non-uniform Fourier transforms on NVIDIA GPUs"),
    ("finufft", "finufft", "", "non-uniform Fourier transforms"),
)


def command(args: argparse.Namespace) -> None:
    """Print the table; missing extras are no failure."""
    rows = [*_machine(), *_packages(), *_kernels(), *_gpu()]
    if args.json:
        console.as_json({"checks": rows, "ok": all(row["state"] != "FAIL" for row in rows)})
    else:
        console.result(console.table(rows))


def _row(check: str, state: str, detail: str) -> dict[str, str]:
    return {"check": check, "state": state, "detail": detail}


def _machine() -> list[dict[str, str]]:
    from rayfold.kernels.cpu.threads import n_threads
    from rayfold.recon.provenance import version

    return [
        _row("rayfold", "ok", version()),
        _row("python", "ok", f"{platform.python_version()} on {platform.system()} {platform.machine()}"),
        _row("processor", "ok", f"{n_threads()} threads (RAYFOLD_NUM_THREADS sets another number)"),
    ]


def _packages() -> list[dict[str, str]]:
    rows = []
    for module, name, extra, use in OPTIONAL:
        if find_spec(module) is None:
            rows.append(_row(module, "-", f"not installed; for {use}: pip install 'rayfold[{extra}]'"))
            continue
        try:
            found = metadata.version(name)
        except metadata.PackageNotFoundError:
            found = "installed"
        rows.append(_row(module, "ok", f"{found}; {use}"))
    return rows


def _attempt(check: str, work: Callable[[], str]) -> dict[str, str]:
    try:
        return _row(check, "ok", work())
    except Exception as error:  # the point of the doctor is to report whatever happens
        text = " ".join(str(error).split())
        return _row(check, "FAIL", f"{type(error).__name__}: {text[:120]}")


def _operators() -> dict[str, Any]:
    import numpy as np

    from rayfold.operators import NUFFT, FanBeam, ParallelBeam, Volume
    from rayfold.operators.xray import XRay

    fan: dict[str, Any] = {"pitch": 1.4, "source_to_axis": 150.0, "source_to_detector": 220.0}
    volume = Volume((48, 52), (1.0, 0.9))
    beams: dict[str, Any] = {
        "parallel": ParallelBeam.evenly(40, 80),
        "fan": FanBeam.evenly(40, 80, **fan),
        "curved fan": FanBeam.evenly(40, 80, curved=True, **fan),
    }
    k = np.random.default_rng(0).uniform(-np.pi, np.pi, (600, 2))
    return {
        **{name: XRay(volume, beam) for name, beam in beams.items()},
        "NUFFT": NUFFT((24, 20), k),
        "NUFFT by gridding": NUFFT((24, 20), k, engine="gridding"),
        "Toeplitz gram": NUFFT((24, 20), k).gram,
    }


def _kernels() -> list[dict[str, str]]:
    def test(op: Any) -> str:
        from rayfold.operators.checks import dot_test

        start = time.perf_counter()
        found = [dot_test(op, dtype=dtype) for dtype in ("float32", "float64")]
        if not all(found):
            raise ArithmeticError("; ".join(str(one) for one in found if not one))
        errors = ", ".join(f"{one.error:.0e} {one.dtype}" for one in found)
        return f"adjoint error {errors}; compiled and run in {time.perf_counter() - start:.1f} s"

    return [_attempt(f"kernel, {name}", lambda op=op: test(op)) for name, op in _operators().items()]  # type: ignore[misc]


def _gpu() -> list[dict[str, str]]:
    if find_spec("cupy") is None:
        return [_row("GPU", "-", "CuPy is not installed; the CPU is used")]
    import cupy

    try:
        n = int(cupy.cuda.runtime.getDeviceCount())
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return [_row("GPU", "-", f"no usable device ({error}); the CPU is used")]

    def test(number: int) -> str:
        import numpy as np

        name = cupy.cuda.runtime.getDeviceProperties(number)["name"].decode()
        op = _operators()["fan"]
        x = np.random.default_rng(0).random(op.in_shape).astype(np.float32)
        with cupy.cuda.Device(number):
            there = op(cupy.asarray(x)).get()
        here = op(x)
        error = float(np.abs(there - here).max() / np.abs(here).max())
        if error > 1e-5:
            raise ArithmeticError(f"{name}: differs from the CPU by {error:.0e}")
        return f"{name}; kernels compiled, {error:.0e} from the CPU"

    return [_attempt(f"GPU {i}", lambda i=i: test(i)) for i in range(n)]  # type: ignore[misc]
