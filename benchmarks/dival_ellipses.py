"""The dival `ellipses` anchor: filtered back-projection, total variation and a learned primal-dual scheme.

    python -m benchmarks.dival_data FOLDER train 32000      (and validation 400, test 3200)
    python -m benchmarks.dival_train FOLDER --out WEIGHTS.safetensors --minutes 98
    python -m benchmarks.dival_ellipses FOLDER --weights WEIGHTS.safetensors --out FILE.json

Quality is the PSNR of each image for its own range, averaged, as in dival. Parameters are chosen on
validation images alone. dival's reference training of the learned scheme saw 32000 images 50 times.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import dival_data as dival
from benchmarks.machine import commit, cpu, versions

STRENGTHS = tuple(float(s) for s in np.geomspace(0.5, 8.0, 9))
TV_STEPS, TV_TEST, TV_VALIDATION = 300, 200, 20
Array = Any


def summary(
    reconstruct: Callable[[Array], Array], data: Array, truth: Array, block: int = 20
) -> dict[str, Any]:
    """Mean, scatter and extremes of the PSNR, and seconds per image."""
    begin, starts = time.perf_counter(), range(0, len(data), block)
    found = np.concatenate(
        [dival.psnr(reconstruct(np.array(data[k : k + block])), truth[k : k + block]) for k in starts]
    )
    return {
        "images": len(found),
        "psnr_mean": round(float(found.mean()), 3),
        "psnr_standard_error": round(float(found.std() / np.sqrt(len(found))), 3),
        "psnr_min": round(float(found.min()), 3),
        "psnr_max": round(float(found.max()), 3),
        "seconds_per_image": round((time.perf_counter() - begin) / len(found), 4),
    }


def total_variation(strength: float) -> Callable[[Array], Array]:
    from rayfold.recon import Problem, run
    from rayfold.recon.priors import TV
    from rayfold.recon.solvers import PDHG

    A = dival.operator()
    return lambda y: run(PDHG(TV(strength)), Problem(A, y), TV_STEPS).x


def learned(weights: Path) -> tuple[Callable[[Array], Array], dict[str, Any]]:
    """The trained scheme, and how it was trained."""
    from safetensors import safe_open

    from benchmarks.dival_train import model, reconstruct

    with safe_open(weights, "pt") as file:
        about = json.loads(file.metadata()["about"])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    net = model(about["design"])
    net.load_state_dict(tensors)
    about["parameters"] = sum(p.numel() for p in net.parameters())
    about["images_seen"] = about["steps"] * about["batch"]
    return lambda y: reconstruct(net, y), about


def environment() -> dict[str, Any]:
    """Processor, threads, versions, commit and date."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "packages": versions(("numpy", "scipy", "numba", "torch")),
        "commit": commit(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("folder", type=Path)
    options.add_argument("--weights", type=Path)
    options.add_argument("--images", type=int, default=3200, help="test images for all but total variation")
    options.add_argument("--out", type=Path, required=True)
    chosen = options.parse_args()
    data, truth = dival.prepared(chosen.folder, "test")
    seen, known = dival.prepared(chosen.folder, "validation")
    result: dict[str, Any] = json.loads(chosen.out.read_text()) if chosen.out.exists() else {}
    result["environment"] = environment()

    def keep(name: str, found: dict[str, Any]) -> None:
        result[name] = found
        print(name, found, flush=True)
        chosen.out.write_text(json.dumps(result, indent=2) + "\n")

    n = min(chosen.images, len(data))
    fbp = dival.fbp()
    keep("fbp_first_1000", summary(fbp, data[:1000], truth[:1000]))
    keep("fbp", summary(fbp, data[:n], truth[:n]))
    if chosen.weights is not None:
        import torch

        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        scheme, about = learned(chosen.weights)
        keep("learned_primal_dual", {**summary(scheme, data[:n], truth[:n]), "training": about})
        keep("learned_primal_dual_first_1000", summary(scheme, data[:1000], truth[:1000]))
        return
    shown, right = seen[:TV_VALIDATION], known[:TV_VALIDATION]
    scores = {s: summary(total_variation(s), shown, right)["psnr_mean"] for s in STRENGTHS}
    best = max(scores, key=lambda s: scores[s])
    found = summary(total_variation(best), data[:TV_TEST], truth[:TV_TEST])
    keep("tv", {**found, "strength": best, "steps": TV_STEPS, "psnr_on_validation": scores})


if __name__ == "__main__":
    main()
