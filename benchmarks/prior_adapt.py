"""What adaptation gains without true images on families that training never saw.

    python -m benchmarks.prior_adapt [--weights small] [--out benchmarks/results/prior_adapt.json]

Images of 48 x 48 in parallel views, dense and noisy or sparse. The prior adapts to 24 scans without their
images and is judged by the mean error of those in decibels, and of eight that it never met. Rates are the
defaults.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import machine
from rayfold.operators import ParallelBeam, Volume, XRay
from rayfold.operators.noise import Gaussian
from rayfold.recon import Problem
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.foundation.adapt import adapt
from rayfold.recon.phantoms import FAMILIES

SIDE, OWN, OTHERS = 48, 24, 8
SETTINGS = {"dense": (120, 0.1), "sparse": (24, 0.02)}  # views, noise over the mean of the data
WAYS = [(mode, loss) for loss in ("sure", "splitting") for mode in ("gain", "lora", "full")]
SHOWN = ("family", "setting", "mode", "loss", "best", "gain_own_db", "gain_others_db")


def decibels(x: Any, truth: Any) -> float:
    """Mean error relative to the image."""
    error = ((x - truth) ** 2).mean((-2, -1)) / (truth**2).mean((-2, -1))
    return float(10 * np.log10(error).mean())


def rows(prior: FoundationPrior, family: str, setting: str, steps: int) -> list[dict[str, Any]]:
    """One line for each way to adapt."""
    views, level = SETTINGS[setting]
    A = XRay(Volume((SIDE, SIDE)), ParallelBeam.evenly(views, SIDE + 20))
    truth = np.stack([FAMILIES[family].draw((SIDE, SIDE), k) for k in range(OWN + OTHERS)])
    clean = A(truth)
    noise = Gaussian(float(level * clean.mean()))
    y = noise.sample(clean, 1).astype(np.float32)
    parts = {"own": slice(None, OWN), "others": slice(OWN, None)}
    scans = {name: Problem(A, y[part], noise) for name, part in parts.items()}
    before = {name: decibels(prior.restore(scans[name]), truth[part]) for name, part in parts.items()}
    found = []
    for mode, loss in WAYS:
        began = time.process_time()
        made = adapt(prior, scans["own"], mode=mode, loss=loss, steps=steps)
        row: dict[str, Any] = {"family": family, "setting": setting, "mode": mode, "loss": loss}
        row |= {"cpu_s": round(time.process_time() - began, 1), **made.card["adapted"]}
        for name, part in parts.items():
            gain = before[name] - decibels(made.restore(scans[name]), truth[part])
            row[f"gain_{name}_db"] = round(gain, 3)
        print({k: row[k] for k in SHOWN}, flush=True)
        found.append(row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.prior_adapt", description=__doc__.splitlines()[0])
    parser.add_argument("--weights", default="small")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--family", nargs="+", default=["foam", "random_ellipses"])
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "prior_adapt.json")
    given = parser.parse_args()
    prior = FoundationPrior.load(given.weights, device="cpu")
    lines = [
        row
        for setting in SETTINGS
        for family in given.family
        for row in rows(prior, family, setting, given.steps)
    ]
    settings = {name: {"views": views, "noise": noise} for name, (views, noise) in SETTINGS.items()}
    results = {"machine": machine(), "weights": given.weights, "settings": settings, "rows": lines}
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
