"""Fits what tells familiar images from strange ones, sets its threshold, and tests it on families kept out.

    python -m benchmarks.prior_familiarity [--cache FOLDER] [--jobs 2]

Fitted on images of the training families (degraded as denoisers and reconstructions show them) against
pictures of other kinds (`benchmarks.familiarity_images`); the threshold is the 99th percentile of fresh
images of the families; false alarms and detection are then counted on other seeds, and on foam, text and
ellipses, which the fit never saw. Writes ``familiar.safetensors`` and ``familiar.json`` beside the weights
and ``results/prior_familiarity.json``. Half an hour on one core; features are kept in FOLDER.
"""

from __future__ import annotations

import argparse
import json
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save
from scipy import stats

from benchmarks.familiarity_images import degraded, strange
from benchmarks.machine import commit
from rayfold.recon.evidence.familiar import CLIP, HOME, NAME
from rayfold.recon.evidence.looks import looks
from rayfold.recon.foundation.files import digest
from rayfold.recon.phantoms import FAMILIES, draw

RESULT = Path(__file__).parent / "results" / "prior_familiarity.json"
# name: (first seed, images, source), ...; families that alarm most are seen more often than in training
SETS = {
    "fit": (
        (600_000, 4800, "mixture"),
        (610_000, 500, "fractal"),
        (610_000, 500, "resolution"),
        (610_000, 500, "noise_field"),
        (610_000, 300, "mr_body"),
        (610_000, 300, "mr_head"),
    ),
    "strange": ((0, 8800, "strange"),),
    "threshold": ((800_000, 1300, "mixture"), (710_000, 1000, "mixture")),
    "check": ((720_000, 1200, "mixture"),),
    "foam": ((900_000, 200, "foam"), (910_000, 200, "foam")),
    "text": ((900_000, 200, "text"), (910_000, 200, "text")),
    "random_ellipses": ((900_000, 200, "random_ellipses"), (910_000, 200, "random_ellipses")),
}
MEMBERS, HIDDEN, STEPS = 8, 32, 3000
ALARMS = 0.01

Floats = npt.NDArray[np.float64]


def image(seed: int, source: str) -> Any:
    """An image of 96 to 300 pixels a side: of the named family, or of the training mixture."""
    rng = np.random.default_rng([seed, 77])
    ny = nx = int(np.exp(rng.uniform(np.log(96), np.log(300))))
    if rng.uniform() < 0.3:
        nx = int(ny * rng.uniform(0.7, 1.4))
    names = [name for name, family in FAMILIES.items() if family.trained]
    shares = np.array([FAMILIES[name].share for name in names])
    name = names[rng.choice(len(names), p=shares / shares.sum())]
    return draw((ny, nx), seed, family=name if source == "mixture" else source)


def features(seed: int, source: str) -> Floats | None:
    """Of one degraded image."""
    if source != "strange":
        return looks(degraded(image(seed, source), np.random.default_rng([seed, 5])))
    first, n, _ = SETS["fit"][0]
    a = image(first + seed % n, "mixture")
    shape = a.shape if a.shape[0] < 240 else (200, 220)
    return looks(degraded(strange(shape, seed, a)[0], np.random.default_rng([seed, 6])))


def collect(name: str, cache: Path | None, jobs: int) -> Floats:
    """Features of a set, ``(n, features)``."""
    path = None if cache is None else cache / f"{name}.npy"
    if path is not None and path.exists():
        return np.asarray(np.load(path))
    rows = []
    with ProcessPoolExecutor(jobs) as pool:
        for first, n, source in SETS[name]:
            found = pool.map(partial(features, source=source), range(first, first + n), chunksize=20)
            rows += [row for row in found if row is not None]
    if path is not None:
        np.save(path, np.array(rows))
    return np.array(rows)


def fit(familiar: Floats, other: Floats) -> dict[str, npt.NDArray[Any]]:
    """Small networks with one hidden layer, on noisy features and with decay; their mean is the score."""
    both = np.concatenate([familiar, other])
    mean, inverse = both.mean(0), 1 / (both.std(0) + 1e-6)

    def scaled(rows: Floats) -> torch.Tensor:
        return torch.as_tensor(np.clip((rows - mean) * inverse, -CLIP, CLIP), dtype=torch.float32)

    x = torch.cat([scaled(familiar), scaled(other)])
    y = torch.cat([torch.zeros(len(familiar)), torch.ones(len(other))])
    parts: dict[str, list[npt.NDArray[Any]]] = {key: [] for key in "wbvc"}
    for member in range(MEMBERS):
        torch.manual_seed(member)
        net = torch.nn.Sequential(
            torch.nn.Linear(x.shape[1], HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, 1)
        )
        optimiser = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=0.05)
        plan = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        for _ in range(STEPS):
            pick = torch.randint(len(x), (512,))
            noisy = x[pick] + 0.15 * torch.randn(512, x.shape[1])
            keep = (torch.rand_like(noisy) > 0.1).float()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(net(noisy * keep)[:, 0], y[pick])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            plan.step()
        first, last = net[0], net[2]
        for key, value in zip("wbvc", (first.weight, first.bias, last.weight[0], last.bias[0]), strict=True):
            parts[key].append(value.detach().numpy())
    return {"mean": mean, "inverse": inverse} | {key: np.stack(values) for key, values in parts.items()}


def scores(held: dict[str, npt.NDArray[Any]], rows: Floats) -> Floats:
    """As `rayfold.recon.evidence.familiar`, before the threshold."""
    h = np.clip((rows - held["mean"]) * held["inverse"], -CLIP, CLIP)
    hidden = np.maximum(np.einsum("mkf,nf->mnk", held["w"], h) + held["b"][:, None], 0)
    return np.asarray((np.einsum("mnk,mk->mn", hidden, held["v"]) + held["c"][:, None]).mean(0))


def rate(above: npt.NDArray[np.bool_]) -> dict[str, Any]:
    """Share with its 95 % interval."""
    found = stats.binomtest(int(above.sum()), len(above)).proportion_ci(method="exact")
    return {"share": float(above.mean()), "n": len(above), "interval": [float(found.low), float(found.high)]}


def main() -> int:
    """Fit, test, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--jobs", type=int, default=2)
    words = parser.parse_args()
    if words.cache is not None:
        words.cache.mkdir(parents=True, exist_ok=True)
    sets = {name: collect(name, words.cache, words.jobs) for name in SETS}
    held = fit(sets["fit"], sets["strange"])
    held = {key: value.astype(np.float32) for key, value in held.items()}
    held["threshold"] = np.float32(np.quantile(scores(held, sets["threshold"]), 1 - ALARMS)).reshape(1)
    rates = {
        name: rate(scores(held, sets[name]) > held["threshold"])
        for name in ("threshold", "check", "foam", "text", "random_ellipses", "strange")
    }
    for name, found in rates.items():
        print(f"{name:16s} {found['share']:.3f} of {found['n']}")
    path = HOME / f"{NAME}.safetensors"
    path.write_bytes(save(held))
    about = {"sha256": digest(path), "sets": SETS, "alarms": ALARMS, "rates": rates}
    (HOME / f"{NAME}.json").write_text(json.dumps(about, indent=1) + "\n")
    RESULT.write_text(json.dumps({"commit": commit(), "rates": rates}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
