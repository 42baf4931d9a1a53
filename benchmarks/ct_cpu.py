"""2D CT projectors on the CPU, side by side with ASTRA, scikit-image and deepinv, as ratios.

Run on idle cores from the repository root: ``python -m benchmarks.ct_cpu --out FILE.json``. Peers that are
not installed are left out. The tools take turns, so that a change of the machine's speed hits all of them.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".dev"))

import numpy as np  # noqa: E402

from benchmarks.machine import clocked, machine, turns  # noqa: E402

N, VIEWS, COLS = 512, 720, 736
Pair = tuple[Callable[[], Any], Callable[[], Any]]


def rayfold(n: int, views: int, cols: int, batch: int = 1, beam: str = "parallel") -> Pair:
    from rayfold.operators import FanBeam, ParallelBeam, Volume, XRay

    if beam == "parallel":
        A = XRay(Volume((n, n)), ParallelBeam.evenly(views, cols))
    else:
        geometry = {"pitch": 2.0, "source_to_axis": 2.0 * n, "source_to_detector": 4.0 * n}
        A = XRay(Volume((n, n)), FanBeam.evenly(views, cols, curved=beam == "curved fan", **geometry))
    rng = np.random.default_rng(0)
    x = rng.random((batch, n, n), dtype=np.float32)
    y = A(x)
    return lambda: A(x), lambda: A.H(y)


def astra_cpu(n: int, views: int, cols: int, beam: str = "parallel") -> Pair:
    import astra

    angles = np.arange(views) * ((math.pi if beam == "parallel" else 2 * math.pi) / views)
    volume = astra.create_vol_geom(n, n)
    if beam == "parallel":
        rays, model = astra.create_proj_geom("parallel", 1.0, cols, angles), "linear"
    else:
        rays, model = astra.create_proj_geom("fanflat", 2.0, cols, angles, 2.0 * n, 2.0 * n), "line_fanflat"
    projector = astra.create_projector(model, rays, volume)
    image = astra.data2d.create("-vol", volume, np.random.default_rng(0).random((n, n), dtype=np.float32))
    data = astra.data2d.create("-sino", rays, np.ones((views, cols), np.float32))
    work = []
    for kind, names in (
        ("FP", {"VolumeDataId": image, "ProjectionDataId": data}),
        ("BP", {"ReconstructionDataId": image, "ProjectionDataId": data}),
    ):
        algorithm = astra.algorithm.create({**astra.astra_dict(kind), "ProjectorId": projector, **names})
        work.append(lambda algorithm=algorithm: astra.algorithm.run(algorithm))
    return work[0], work[1]


def skimage(n: int, views: int, cols: int) -> Pair:
    from skimage.transform import iradon, radon

    angles = np.arange(views) * (180 / views)
    image = np.random.default_rng(0).random((n, n), dtype=np.float32)
    image[np.hypot(*np.meshgrid(*[np.arange(n) - n / 2] * 2)) > n / 2 - 1] = 0
    data = radon(image, angles, circle=True)
    return (
        lambda: radon(image, angles, circle=True),
        lambda: iradon(data, angles, filter_name=None, circle=True, output_size=n),
    )


def deepinv(n: int, views: int, cols: int) -> Pair:
    import torch

    # torchvision from the registry wants these two names to exist beside a CPU build of torch; never called
    library = torch.library.Library("torchvision", "DEF")
    for name in ("nms", "qnms"):
        if not hasattr(torch.ops.torchvision, name):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import deepinv as dinv

    angles = torch.arange(views) * (180 / views)
    physics = dinv.physics.Tomography(angles=angles, img_width=n, circle=False, normalize=False)
    x = torch.rand(1, 1, n, n)
    with torch.no_grad():
        y = physics.A(x)

    def run(function: Callable[[Any], Any], value: Any) -> Callable[[], Any]:
        def call() -> Any:
            with torch.no_grad():
                return function(value)

        return call

    return run(physics.A, x), run(physics.A_adjoint, y)


TOOLS: dict[str, Callable[..., Pair]] = {
    "rayfold": rayfold,
    "astra linear": astra_cpu,
    "scikit-image": skimage,
    "deepinv": deepinv,
}


def timed(work: dict[str, Callable[[], Any]], rounds: dict[str, int]) -> dict[str, dict[str, float]]:
    """Seconds of each tool, in turns after one call each that does not count: best and median."""
    for call in work.values():
        call()
    return turns({name: clocked(call) for name, call in work.items()}, rounds)


def peak_memory(tool: str) -> float | None:
    """Peak resident memory in MB of one forward and one adjoint of 362 x 362, 1000 views, 513 bins."""
    code = (
        "import sys\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from benchmarks.ct_cpu import TOOLS\n"
        f"forward, adjoint = TOOLS[{tool!r}](362, 1000, 513)\n"
        "forward(); adjoint()\n"
        "status = open('/proc/self/status').read()\n"  # unlike getrusage it starts afresh with the process
        "print(int(status.split('VmHWM:')[1].split()[0]) / 1024)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return float(done.stdout.split()[-1]) if done.returncode == 0 else None


def installed() -> list[str]:
    found = []
    for name in TOOLS:
        try:
            TOOLS[name](32, 8, 48)
            found.append(name)
        except ImportError:
            pass
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    results: dict[str, Any] = {
        "machine": machine(),
        "problem": f"{N} x {N} image, {VIEWS} views, {COLS} bins",
    }
    tools = installed()
    rounds = {name: args.rounds if name in ("rayfold", "astra linear") else 3 for name in tools}
    pairs = {name: TOOLS[name](N, VIEWS, COLS) for name in tools}
    for i, kind in enumerate(("forward", "adjoint")):
        found = timed({name: pair[i] for name, pair in pairs.items()}, rounds)
        for name, row in found.items():
            row["times_rayfold"] = row["best"] / found["rayfold"]["best"]
            row["times_rayfold_median"] = row["median"] / found["rayfold"]["median"]
            print(f"{kind:8s} {name:14s} {row['best'] * 1e3:8.1f} ms  {row['times_rayfold']:6.1f} x")
        results[kind] = found
    for beam in ("fan", "curved fan"):
        work = {"rayfold": rayfold(N, VIEWS, COLS, beam=beam)}
        if "astra linear" in tools and beam == "fan":
            work["astra line_fanflat"] = astra_cpu(N, VIEWS, COLS, beam="fan")
        few = dict.fromkeys(work, 5)
        results[beam] = {
            kind: timed({name: pair[i] for name, pair in work.items()}, few)
            for i, kind in enumerate(("forward", "adjoint"))
        }
        for kind, row in results[beam].items():
            print(beam, kind, {name: round(seconds["best"], 4) for name, seconds in row.items()})
    batch = rayfold(N, VIEWS, COLS, batch=8)
    results["batch of 8, per image"] = {}
    for i, kind in enumerate(("forward", "adjoint")):
        rows = timed({"one": pairs["rayfold"][i], "eight": batch[i]}, {"one": 12, "eight": 12})
        results["batch of 8, per image"][kind] = {
            "one": rows["one"]["best"],
            "eight": rows["eight"]["best"] / 8,
        }
    print("batch of 8, seconds per image", results["batch of 8, per image"])
    results["peak memory in MB, 362 x 362, 1000 views, 513 bins"] = {
        name: peak_memory(name) for name in tools
    }
    print(results["peak memory in MB, 362 x 362, 1000 views, 513 bins"])
    if args.out:
        args.out.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
