"""The prior where bins are finer or wider than pixels: both its ways beside total variation, one row a scan.

    python -m benchmarks.prior_bins [--weights base]

The thorax of `rayfold protocol compare` on 128 x 128 pixels of 2.74 mm, a curved fan of 493 mm at the axis
with 900 bins (5 in a pixel) to 90 (half a one), full turns, photons per mm of the detector, 5 photons of
electronic noise per bin. Data are analytic. Total variation has the strength that `reconstruct_ct` finds.
PSNR for a range of 2000 HU.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import commit, machine
from rayfold.operators import Volume
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.metrics import psnr
from rayfold.recon.phantoms import MU_WATER
from rayfold.recon.protocol import PRESETS
from rayfold.recon.protocol.methods import reconstructed

N, SIDE, DETECTOR = 128, 350.2, 900.0  # pixels; mm
BINS, VIEWS, PHOTONS = (900, 450, 327, 180, 90), (60, 1000), (2e3, 5.48e4, 1e6)


def row(prior: FoundationPrior, bins: int, views: int, photons: float) -> dict[str, Any]:
    """One scan."""
    pitch = DETECTOR / bins
    p = PRESETS["clinical-fan"]().replace(views=views, cols=bins, pitch_mm=pitch, photons=photons * pitch)
    volume = Volume((N, N), SIDE / N)
    truth, problem = p.truth("thorax", volume), p.problem("thorax", 0, volume=volume)
    images = {
        "five steps": prior.restore(problem),
        "thorough": prior.restore(problem, thorough=True),
        "tv": reconstructed(p, "thorax", "tv", seed=0, volume=volume),
    }
    scores = {
        name: round(float(psnr(np.asarray(x), truth, data_range=2 * MU_WATER)), 3)
        for name, x in images.items()
    }
    apart = round(p.beam.resolution / volume.steps[0], 3)
    return {"pixels per bin": apart, "views": views, "photons per mm": photons, **scores}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", default="base")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "prior_bins.json")
    given = parser.parse_args()
    prior = FoundationPrior.load(given.weights, device="cpu")
    rows = []
    for bins, views, photons in product(BINS, VIEWS, PHOTONS):
        rows.append(row(prior, bins, views, photons))
        print(rows[-1], flush=True)
    results = {"machine": machine(), "commit": commit(), "weights": given.weights, "rows": rows}
    given.out.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
