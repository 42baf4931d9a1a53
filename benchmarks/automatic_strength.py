"""Is the automatic weight of a penalty a good one? Against the best of a grid of weights.

``python -m benchmarks.automatic_strength`` simulates scans of two phantoms over views and doses, reconstructs
each with weights around the automatic one, and writes what the automatic one loses in PSNR against the best.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from rayfold.operators import FanBeam, PoissonTransmission, Volume, XRay
from rayfold.recon import phantoms, prepare, simulate
from rayfold.recon.iterative import FACTOR, ITERATIVE, recipe
from rayfold.recon.metrics import psnr
from rayfold.recon.solvers import run

RESULT = Path(__file__).parent / "results" / "automatic_strength.json"
GRID = (0.25, 0.5, 1.0, 2.0, 4.0)  # of the automatic weight
N, WIDTH = 128, 400.0
RANGE = 0.04  # 1/mm


def cases() -> list[dict[str, Any]]:
    """Phantom, views and photons of every scan."""
    every = []
    for views in (40, 160):
        for photons in (3e3, 1e5):
            every += [
                {"phantom": name, "views": views, "photons": photons} for name in ("thorax", "shepp-logan")
            ]
    return every


def one(case: dict[str, Any], method: str) -> dict[str, Any]:
    """PSNR over the grid of weights for one scan."""
    volume = Volume((N, N), WIDTH / N)
    beam = FanBeam.evenly(case["views"], 180, pitch=5.0, source_to_axis=595.0, source_to_detector=1085.6)
    table = (
        phantoms.thorax_table(5) if case["phantom"] == "thorax" else phantoms.shepp_logan_table(radius=180.0)
    )
    truth = phantoms.ellipses(volume, table).array
    scan = prepare(simulate(table, beam, PoissonTransmission(case["photons"]), seed=7))
    A, y = XRay(volume, beam), np.asarray(scan.sinograms, np.float32)
    automatic = recipe(method, A, y, scan).strength
    assert automatic is not None
    found = {}
    for factor in GRID:
        made = recipe(method, A, y, scan, strength=factor * automatic)
        x = run(made.solver, made.problem, ITERATIVE[method], x0=made.x0).x
        found[factor] = psnr(x, truth, data_range=RANGE)
    best = max(found, key=lambda factor: found[factor])
    return {
        **case,
        "psnr": {str(factor): round(value, 3) for factor, value in found.items()},
        "automatic": round(found[1.0], 3),
        "best": round(found[best], 3),
        "best_factor": best,
        "loss": round(found[best] - found[1.0], 3),
    }


def main() -> None:
    """Run and write the JSON."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--methods", nargs="+", default=list(FACTOR))
    words.add_argument("--out", type=Path, default=RESULT)
    args = words.parse_args()
    begin = time.perf_counter()
    results: dict[str, Any] = {"machine": machine(), "factors": FACTOR, "psnr range": RANGE, "methods": {}}
    for method in args.methods:
        rows = [one(case, method) for case in cases()]
        losses = np.array([row["loss"] for row in rows])
        results["methods"][method] = {
            "mean loss": round(float(losses.mean()), 3),
            "worst loss": round(float(losses.max()), 3),
            "scans": rows,
        }
        print(
            method,
            results["methods"][method]["mean loss"],
            results["methods"][method]["worst loss"],
            flush=True,
        )
    results["seconds"] = round(time.perf_counter() - begin, 1)
    args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
