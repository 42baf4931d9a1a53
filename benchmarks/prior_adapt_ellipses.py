"""Adapts the prior to dival's ellipses with the first 32 training images, for `prior_quality --adapted`.

    python -m benchmarks.prior_adapt_ellipses ellipses.safetensors [--weights base] [--steps 400]

28 images are turned and mirrored and measured with new noise in every step; by the other four it is decided
which weights are kept. Test images are never seen. 400 steps take 35 minutes on one core of an EPYC.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from benchmarks import dival_data as dival
from rayfold.operators.noise import Gaussian
from rayfold.recon import Problem
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.foundation.adapt import adapt, save
from rayfold.recon.train.sample import Sample

IMAGES, HELD, BATCH = 32, 4, 4


def measured(images: np.ndarray, generator: np.random.Generator) -> Sample:
    """Data of images as the test bed makes them, with noise of a generator."""
    data = dival.projections(images)
    sigma = (dival.NOISE * np.abs(data).mean((-2, -1), keepdims=True)).astype(np.float32)
    y = data + sigma * generator.standard_normal(data.shape, np.float32)
    return Sample(Problem(dival.operator(), y, Gaussian(sigma)), images)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("output", type=Path)
    parser.add_argument("--weights", default="base")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rate", type=float, default=2e-4)
    options = parser.parse_args()
    source = dival.images("train")
    images = np.stack([next(source) for _ in range(IMAGES)])

    def task(generator: torch.Generator) -> Sample:
        rng = np.random.default_rng(int(torch.randint(2**31, (), generator=generator)))
        some = images[rng.choice(IMAGES - HELD, BATCH, replace=False)]
        turned = np.rot90(some, int(rng.integers(4)), (-2, -1))
        return measured(np.ascontiguousarray(turned if rng.random() < 0.5 else turned[..., ::-1]), rng)

    def told(done: int, steps: int, loss: float) -> None:
        if done % 25 == 0:
            print(f"{done} of {steps}: loss {loss:.3f}", flush=True)

    held = measured(images[-HELD:], np.random.default_rng(0))
    better = adapt(
        FoundationPrior.load(options.weights, device="cpu"),
        task,
        mode="full",
        loss="supervised",
        steps=options.steps,
        rate=options.rate,
        held_out=[held],
        progress=told,
    )
    save(options.output, better, force=True)
    print("held-out error by step:", better.card["adapted"]["held_out"])


if __name__ == "__main__":
    main()
