"""Model cards of the packaged weights, from the weights and the results of the benchmarks.

    python -m benchmarks.prior_card [small base] [--float32 FILE]

Writes ``recon/foundation/weights/SIZE.json`` and the digests of the weights in ``published.json``.
What float16 costs is measured against weights in float32 where a file of them is given; else against weights
drawn uniformly from those that float16 rounds to the packaged ones, which is where the originals lie.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rayfold.recon.foundation import FoundationPrior, files, load_prior
from rayfold.recon.foundation.card import check, describe, metrics_of
from rayfold.recon.phantoms import draw
from rayfold.recon.shipped import SHIPPED

RESULTS = Path(__file__).parent / "results" / "prior_quality.json"
MOST = 16e6  # bytes of all packaged weights
IMAGES = [("ct_body", 950001), ("mr_head", 950002), ("dead_leaves", 950003), ("fractal", 950004)]
LEVELS = (0.02, 0.05, 0.1)


def half_precision_loss(name: str, float32: Path | None = None, *, seed: int = 0) -> float:
    """Decibels that float16 weights lose against those they were rounded from; below 0 where they gain."""
    packaged = FoundationPrior.load(name, device="cpu")
    if float32 is not None:
        original = FoundationPrior.load(float32, device="cpu")
    else:
        network, schedule, card, change = load_prior(name)
        generator = torch.Generator().manual_seed(seed)
        parts = [] if change is None else list(change.state().values())
        with torch.no_grad():
            for p in [*network.parameters(), *parts]:
                p += (torch.rand(p.shape, generator=generator) - 0.5) * spacing(p)
        original = FoundationPrior(network.eval().requires_grad_(False), schedule, card, change=change)
    losses = []
    for family, image_seed in IMAGES:
        truth = np.abs(draw((128, 128), image_seed, family=family))
        for sigma in LEVELS:
            noise = np.random.default_rng(seed).normal(0, sigma, truth.shape)
            x = (truth + noise).astype(np.float32)
            errors = [np.square(p.denoise(x, sigma) - truth).mean() for p in (packaged, original)]
            losses.append(10 * np.log10(errors[0] / errors[1]))
    return float(np.mean(losses))


def spacing(values: torch.Tensor) -> torch.Tensor:
    """Distance of neighbouring float16 numbers at these values."""
    half = np.abs(values.detach().numpy().astype(np.float16))
    return torch.from_numpy(np.spacing(half).astype(np.float32))


def build_card(name: str, float32: Path | None = None) -> dict[str, Any]:
    """The card of packaged weights as they are now."""
    card = describe(files.HOME / f"{name}.safetensors")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    card["metrics"] = metrics_of(results, name)
    card["half_precision_loss_db"] = round(half_precision_loss(name, float32), 6)
    check(card)
    return card


def publish() -> dict[str, str]:
    """Digests of the packaged weights, written to ``published.json``."""
    held = [files.HOME / f"{size}.safetensors" for size in SHIPPED]
    total = sum(path.stat().st_size for path in held)
    if total > MOST:
        raise SystemExit(
            f"the weights take {total / 1e6:.1f} MB together; at most {MOST / 1e6:.0f} are allowed"
        )
    digests = {path.name: files.digest(path) for path in held}
    (files.HOME / "published.json").write_text(json.dumps(digests, indent=1) + "\n")
    return digests


def main() -> int:
    """Write the cards and the digests."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("sizes", nargs="*", default=SHIPPED, help="by default all")
    parser.add_argument("--float32", type=Path, help="weights of one size before they were rounded")
    words = parser.parse_args()
    publish()
    for size in words.sizes:
        card = build_card(size, words.float32)
        (files.HOME / f"{size}.json").write_text(json.dumps(card, indent=1) + "\n")
        loss = card["half_precision_loss_db"]
        print(
            f"{size}: {card['parameters']} parameters, {len(card['metrics'])} results, float16 {loss:+.5f} dB"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
