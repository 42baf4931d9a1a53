"""MRI operators on the CPU, side by side with finufft by hand, bare FFTs, MIRTorch, MRpro and others.

    python -m benchmarks.mri_cpu [--peers PYTHON] [--out FILE.json]

Run on idle cores from the repository root, with no thread variables set. The packages compared with may live
in an environment of their own: PYTHON is its interpreter; what it lacks is said to be missing. All take turns
and get the same single-precision trajectory and the same eps where they let one choose it; beside each time
stands the error against the exact sum at some places. "times rayfold" is the best time over rayfold's best.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".dev"))

import numpy as np  # noqa: E402

from benchmarks.ct_cpu import astra_cpu  # noqa: E402
from benchmarks.ct_cpu import rayfold as joseph  # noqa: E402
from benchmarks.machine import clocked, commit, cores, machine, turns  # noqa: E402
from benchmarks.mri_peers import EPS, PEERS, Peer, finufft_by_hand, first, scipy_pair  # noqa: E402

Array = Any
N, COILS, SPOKES, SAMPLES = 256, 15, 405, 512
COIL_IMAGES = ("forward", "adjoint", "gram")
SENSE = ("sense forward", "sense adjoint", "sense gram")
OTHER_EPS = 1e-4
CT_N, CT_VIEWS, CT_COLS = 512, 720, 736
VOLUME, VOLUME_COILS, VOLUME_SPOKES, STEPS = 96, 32, 2084, 10
RESULT = ROOT / "benchmarks" / "results" / "mri_cpu.json"


# --- the standard problem ---


def coil_maps(coils: int, shape: tuple[int, ...]) -> Array:
    """Smooth sensitivities around the object, sum of squares one: (coils, *shape)."""
    axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
    maps = np.empty((coils, *shape), np.complex64)
    for c in range(coils):
        angle, height = 2.4 * c, 2 * (c + 0.5) / coils - 1
        centre = (height, 1.2 * np.sin(angle), 1.2 * np.cos(angle))[-len(shape) :]
        distance = sum((x - x0) ** 2 for x, x0 in zip(axes, centre, strict=True))
        maps[c] = np.exp(-distance + 1j * angle * axes[-1])
    maps /= np.sqrt((abs(maps) ** 2).sum(0))
    return maps


def radial(spokes: int, samples: int) -> Array:
    """Golden-angle spokes through the centre: (spokes * samples, 2), rad/pixel, single precision."""
    angle = np.arange(spokes) * (np.pi * (np.sqrt(5) - 1) / 2)
    radius = (np.arange(samples) - samples // 2) * (2 * np.pi / samples)
    k = radius[:, None] * np.stack([np.sin(angle), np.cos(angle)], -1)[:, None]
    return k.reshape(-1, 2).astype(np.float32)


def standard(places: int = 200) -> dict[str, Array]:
    """The case that all tools get, with exact sums at some samples and pixels.

    The exact gram is the exact adjoint of a double-precision transform good to 1e-12.
    """
    import finufft

    from rayfold.operators import Volume
    from rayfold.recon import phantoms

    rng = np.random.default_rng(0)
    trajectory, maps = radial(SPOKES, SAMPLES), coil_maps(COILS, (N, N))
    phase = np.exp(2j * np.linspace(-1, 1, N))
    image = (phantoms.shepp_logan(Volume((N, N))).array * phase).astype(np.complex64)
    images = maps * image
    k = trajectory.astype(float)
    rows = rng.choice(len(k), places, replace=False)
    pixels = rng.choice(np.flatnonzero(abs(image)), places, replace=False)
    there = np.stack(np.divmod(pixels, N), -1) - N // 2
    along = np.arange(N) - N // 2
    y, x = (np.exp(-1j * np.outer(k[rows, axis], along)) for axis in (0, 1))
    exact = np.einsum("ry,cyx,rx->cr", y, images.astype(complex), x, optimize=True) / N
    full = finufft.nufft2d2(*np.ascontiguousarray(k.T), images.astype(complex), eps=1e-13, isign=-1) / N
    data = full.astype(np.complex64)
    adjoint, gram = (np.empty((COILS, places), complex) for _ in range(2))
    for part in np.array_split(np.arange(places), 10):
        waves = np.exp(1j * (k @ there[part].T)) / N
        adjoint[:, part], gram[:, part] = data.astype(complex) @ waves, full @ waves
    weights = maps.reshape(COILS, -1)[:, pixels].conj()
    return {
        "trajectory": trajectory,
        "maps": maps,
        "image": image,
        "images": images,
        "data": data,
        "rows": rows,
        "pixels": pixels,
        "exact forward": exact,
        "exact adjoint": adjoint,
        "exact gram": gram,
        "exact sense forward": exact,
        "exact sense adjoint": (weights * adjoint).sum(0),
        "exact sense gram": (weights * gram).sum(0),
    }


def rayfold(case: dict[str, Array], eps: float) -> Peer:
    from rayfold.operators import NUFFT, CoilSensitivities

    images, image, data = (case[name] for name in ("images", "image", "data"))
    F = NUFFT(image.shape, case["trajectory"], eps=eps)
    A = F @ CoilSensitivities(case["maps"])
    gram, normal = F.gram, A.gram
    return Peer(
        {
            "forward": lambda: F(images),
            "adjoint": lambda: F.H(data),
            "gram": lambda: gram(images),
            "sense forward": lambda: A(image),
            "sense adjoint": lambda: A.H(data),
            "sense gram": lambda: normal(image),
        }
    )


HERE: dict[str, Callable[[dict[str, Array], float], Peer]] = {
    "rayfold": rayfold,
    "finufft by hand": finufft_by_hand,
    "finufft by hand, results in place": lambda case, eps: finufft_by_hand(case, eps, reuse=True),
    "padded scipy FFTs": scipy_pair,
}


# --- turns with another process ---


class Elsewhere:
    """`benchmarks.mri_peers` in another interpreter."""

    def __init__(self, python: str, folder: str) -> None:
        command = [python, "-m", "benchmarks.mri_peers", folder]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the peers' process ended while asked to {request}; its message is above")
        return dict(json.loads(line))

    def __enter__(self) -> Elsewhere:
        return self

    def __exit__(self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None):
        self.process.communicate()


def races(case: dict[str, Array], there: Elsewhere, eps: float, rounds: int, most: float) -> dict[str, Any]:
    """Every operation in turns: seconds, error, best time over rayfold's; and how often it planned anew."""
    from rayfold.operators import engine_finufft

    clocks: dict[str, dict[str, Callable[[], float]]] = {name: {} for name in (*COIL_IMAGES, *SENSE)}
    errors: dict[str, dict[str, float]] = {name: {} for name in clocks}
    starts: dict[str, dict[str, float]] = {}
    missing: dict[str, str] = {}
    for name, make in HERE.items():
        begin = time.perf_counter()
        peer = make(case, eps)
        starts[name] = {"made in": time.perf_counter() - begin}
        for operation, call in peer.calls.items():
            if eps != EPS and "gram" in operation:
                continue  # the work does not depend on eps
            clocks[operation][name] = clocked(call)
            begun = first(case, peer, operation)
            starts[name][operation], errors[operation][name] = begun["seconds"], begun["error"]
    for name in PEERS:
        made = there.ask(do="make", peer=name, eps=eps)
        if "missing" in made:
            missing[name] = made["missing"]
            continue
        starts[name] = {"made in": made["seconds"]}
        for operation in made["operations"]:
            if eps != EPS and "gram" in operation:
                continue
            request = {"peer": name, "operation": operation}
            clocks[operation][name] = lambda r=request: float(there.ask(do="time", **r)["seconds"])
            begun = there.ask(do="first", **request)
            starts[name][operation], errors[operation][name] = begun["seconds"], begun["error"]
    found: dict[str, Any] = {"missing": missing, "made in and first call, seconds": starts}
    plans = engine_finufft.made
    for operation, work in clocks.items():
        if not work:
            continue
        rows = turns(work, dict.fromkeys(work, rounds), most=most)
        for name, row in rows.items():
            row["error"] = errors[operation][name]
            row["times_rayfold"] = row["best"] / rows["rayfold"]["best"]
            row["times_rayfold_median"] = row["median"] / rows["rayfold"]["median"]
            text = f"{row['best'] * 1e3:8.1f} ms {row['times_rayfold']:6.2f} x   error {row['error']:.1e}"
            print(f"eps {eps:g}  {operation:14s} {name:34s} {text}", flush=True)
        found[operation] = rows
    found["plans rayfold made after the first calls"] = engine_finufft.made - plans
    return found


# --- parallel-beam CT ---


def tomography(rounds: int, most: float) -> dict[str, Any]:
    """The gram of the Fourier-slice model beside forward and back projection along rays."""
    from rayfold.operators import ParallelBeam, Volume, XRay

    volume, beam = Volume((CT_N, CT_N)), ParallelBeam.evenly(CT_VIEWS, CT_COLS)
    begin = time.perf_counter()
    A = XRay(volume, beam, model="fourier")
    gram = A.gram
    axis = np.arange(CT_N) - (CT_N - 1) / 2
    disc = (np.hypot(*np.meshgrid(axis, axis)) < 0.4 * CT_N).astype(np.float32)
    once = gram(disc)
    made = time.perf_counter() - begin
    sinogram, twice = A(disc), A.H(A(disc))
    rays = XRay(volume, beam)(disc)
    forward, adjoint = joseph(CT_N, CT_VIEWS, CT_COLS)
    work: dict[str, Callable[[], Any]] = {
        "rayfold fourier, gram": lambda: gram(disc),
        "rayfold fourier, A.H A": lambda: A.H(A(disc)),
        "rayfold joseph, A.H A": lambda: (forward(), adjoint()),
    }
    try:
        there, back = astra_cpu(CT_N, CT_VIEWS, CT_COLS)
        work["ASTRA linear, FP and BP"] = lambda: (there(), back())
    except ImportError:
        pass
    for call in work.values():
        call()
    rows = turns({name: clocked(call) for name, call in work.items()}, dict.fromkeys(work, rounds), most=most)
    for name, row in rows.items():
        row["times_gram"] = row["best"] / rows["rayfold fourier, gram"]["best"]
        print(f"CT  {name:28s} {row['best'] * 1e3:8.1f} ms {row['times_gram']:6.1f} x", flush=True)
    return {
        "problem": f"{CT_N} x {CT_N} image, {CT_VIEWS} views, {CT_COLS} bins",
        "seconds": rows,
        "gram made and first applied in": made,
        "gram against A.H A, relative": _distance(once, twice),
        "forward against Joseph on a disc, relative": _distance(sinogram, rays),
    }


def _distance(x: Array, exact: Array) -> float:
    return float(np.linalg.norm(x - exact) / np.linalg.norm(exact))


# --- peak memory in 3D ---


def kooshball(spokes: int, samples: int) -> Array:
    """Spokes through the centre along a spiral on the sphere: (spokes * samples, 3), rad/voxel."""
    z = 1 - (2 * np.arange(spokes) + 1) / spokes
    angle = np.arange(spokes) * (np.pi * (3 - np.sqrt(5)))
    s = np.sqrt(1 - z**2)
    radius = (np.arange(samples) - samples // 2) * (2 * np.pi / samples)
    k = radius[:, None] * np.stack([z, s * np.sin(angle), s * np.cos(angle)], -1)[:, None]
    return k.reshape(-1, 3).astype(np.float32)


def volume() -> dict[str, Any]:
    """Ten steps of conjugate gradients in this process: peak resident memory and seconds."""
    from rayfold.operators import NUFFT, CoilSensitivities
    from rayfold.recon import Problem, run
    from rayfold.recon.solvers import CG

    shape = (VOLUME,) * 3
    maps = coil_maps(VOLUME_COILS, shape)
    F = NUFFT(shape, kooshball(VOLUME_SPOKES, VOLUME))
    A = F @ CoilSensitivities(maps)
    axes = np.meshgrid(*[np.linspace(-1, 1, VOLUME)] * 3, indexing="ij")
    ball = (sum(x**2 for x in axes) < 0.6).astype(np.complex64)
    data = A(ball)
    before = _peak()
    begin = time.perf_counter()
    x = run(CG(), Problem(A, data), STEPS).x
    seconds = time.perf_counter() - begin
    gram = min(clocked(lambda: A.gram(ball))() for _ in range(3))
    return {
        "problem": f"{VOLUME_COILS} coils, {VOLUME}^3, {data.shape[-1]} samples, {STEPS} steps, complex64",
        "peak MB": _peak(),
        "peak MB before the solver": before,
        "maps MB": maps.nbytes / 1e6,
        "data MB": data.nbytes / 1e6,
        "seconds": seconds,
        "seconds of one gram": gram,
        "error of the image, relative": _distance(x, ball),
    }


def _peak() -> float:
    """Peak resident memory of this process in MB, as /proc gives it: getrusage counts the parent's too."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6


# --- what was asked for ---


def targets(results: dict[str, Any]) -> dict[str, Any]:
    """Ratios beside the bounds they must keep."""
    found: dict[str, dict[str, Any]] = {}

    def say(name: str, value: float, bound: float, *, least: bool) -> None:
        found[name] = {"ratio": value, "at least" if least else "at most": bound}
        found[name]["met"] = value >= bound if least else value <= bound

    main = results.get(f"eps {EPS:g}", {})
    for operation in ("gram", "sense gram"):
        rows = main.get(operation, {})
        for name, bound, least in (
            ("padded scipy FFTs", 1.3, False),
            ("MIRTorch", 1.4, True),
            ("MRpro", 2.3, True),
        ):
            if name in rows:
                ratio = rows[name]["times_rayfold"]
                what = f"{operation}: {name} over rayfold" if least else f"{operation}: rayfold over {name}"
                say(what, ratio if least else 1 / ratio, bound, least=least)
    for eps in (EPS, OTHER_EPS):
        for operation in ("forward", "adjoint"):
            rows = results.get(f"eps {eps:g}", {}).get(operation)
            if rows:
                ratio = 1 / rows["finufft by hand"]["times_rayfold"]
                say(f"{operation}, eps {eps:g}: rayfold over finufft by hand", ratio, 1.05, least=False)
    rows = results.get("parallel-beam CT", {}).get("seconds", {})
    if "ASTRA linear, FP and BP" in rows:
        ratio = rows["ASTRA linear, FP and BP"]["times_gram"]
        say("CT: ASTRA forward and back over gram", ratio, 50, least=True)
    if "3D" in results:
        say("3D: peak GB", results["3D"]["peak MB"] / 1e3, 4.0, least=False)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--peers", default=sys.executable, help="interpreter with the other packages")
    parser.add_argument("--out", type=Path, help=f"JSON to write, such as {RESULT.relative_to(ROOT)}")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--most", type=float, default=8.0, help="seconds after which a tool leaves a race")
    parser.add_argument("--parts", nargs="+", choices=("mri", "ct", "3d"), default=("mri", "ct", "3d"))
    parser.add_argument("--volume", action="store_true", help="only the 3D problem, in this process")
    args = parser.parse_args()
    if args.volume:
        print(json.dumps(volume()))
        return
    results: dict[str, Any] = {
        "machine": machine(("numpy", "scipy", "numba", "finufft", "astra-toolbox")),
        "commit": commit(),
        "threads": cores(),
    }
    if "mri" in args.parts:
        case = standard()
        results["problem"] = f"{N} x {N}, {COILS} coils, {SPOKES * SAMPLES} radial samples, complex64"
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder) / "case.npz", **case)
            with Elsewhere(args.peers, folder) as there:
                results["peers' versions"] = there.ask(do="versions")
                for eps in (EPS, OTHER_EPS):
                    results[f"eps {eps:g}"] = races(case, there, eps, args.rounds, args.most)
    if "ct" in args.parts:
        results["parallel-beam CT"] = tomography(args.rounds, args.most)
    if "3d" in args.parts:
        command = [sys.executable, "-m", "benchmarks.mri_cpu", "--volume"]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        results["3D"] = json.loads(done.stdout.splitlines()[-1])
        print(results["3D"])
    results["machine"]["load_average_after"] = os.getloadavg()[0]
    results["targets"] = targets(results)
    for name, row in results["targets"].items():
        bound = f"at least {row['at least']}" if "at least" in row else f"at most {row['at most']}"
        print(f"{'met    ' if row['met'] else 'MISSED '} {name}: {row['ratio']:.2f} ({bound})")
    if args.out:
        args.out.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
