"""Train the learned primal-dual scheme of the dival `ellipses` test bed on a CPU, within a given time.

The learning rate falls along a cosine over wall-clock time, so that the training ends when it should on any
machine. ``python -m benchmarks.dival_data FOLDER train 32000`` makes the pairs, and may still be at it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from benchmarks import dival_data as dival
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.learned.primal_dual import LearnedPrimalDual
from rayfold.recon.learned.unrolled import Unrolled
from rayfold.recon.problem import Problem

DESIGN = {"n": 8, "channels": 5, "width": 64, "depth": 3, "fold": 2, "filtered": 1}


def model(design: dict[str, int]) -> Unrolled:
    """The scheme of a design: sizes, and whether filtered back-projection takes the adjoint's place."""
    A = dival.operator()
    scheme = LearnedPrimalDual.create(
        design["n"],
        channels=design["channels"],
        width=design["width"],
        depth=design["depth"],
        fold=design["fold"],
        scale=A.norm(),
        back=dival.fbp() if design["filtered"] else None,
    )
    return Unrolled(scheme, design["n"])


def reconstruct(net: Unrolled, data: np.ndarray, *, block: int = 20) -> np.ndarray:
    """Images of the scheme from data ``(n, views, cols)``, started from filtered back-projection."""
    A, first = dival.operator(), dival.fbp()
    found = []
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        for k in range(0, len(data), block):
            y = torch.from_numpy(np.array(data[k : k + block]))
            found.append(net(Problem(A, y), first(y)).float().numpy())
    return np.concatenate(found)


def train(
    folder: Path, out: Path, seconds: float, design: dict[str, int], rate: float, batch: int, look: float
) -> None:
    """Train for `seconds`; validate and write the averaged weights every few minutes."""
    torch.manual_seed(0)
    net = model(design)
    A, first = dival.operator(), dival.fbp()
    print(design, "parameters", sum(p.numel() for p in net.parameters()), flush=True)
    mean = {key: value.clone() for key, value in net.state_dict().items()}
    optimiser = torch.optim.Adam(net.parameters(), lr=rate, betas=(0.9, 0.99))
    data_v, truth_v = (part[:100] for part in dival.prepared(folder, "validation"))
    data, truth = dival.prepared(folder, "train")
    rng, begin, step, next_look, losses = np.random.default_rng(0), time.time(), 0, 0.0, []
    order = np.zeros(0, int)
    while (part := (time.time() - begin) / seconds) < 1:
        if len(order) < batch:
            order = rng.permutation(len(data))
        picked, order = np.sort(order[:batch]), order[batch:]
        y, x = torch.from_numpy(data[picked]), torch.from_numpy(truth[picked])
        for group in optimiser.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 100) * 0.5 * (1 + math.cos(math.pi * part))
        with torch.autocast("cpu", torch.bfloat16):
            found = net(Problem(A, y), first(y))
        loss = ((found.float() - x) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        decay = min(0.998, 1 - 10 / (step + 10))
        with torch.no_grad():
            for key, value in net.state_dict().items():
                mean[key].lerp_(value, 1 - decay)
        losses.append(loss.item())
        if time.time() - begin > next_look or time.time() - begin >= seconds:
            next_look += look
            kept = {key: value.clone() for key, value in net.state_dict().items()}
            net.load_state_dict(mean)
            quality = float(dival.psnr(reconstruct(net, data_v), truth_v).mean())
            net.load_state_dict(kept)
            about = {
                "design": design,
                "steps": step,
                "batch": batch,
                "rate": rate,
                "minutes": round((time.time() - begin) / 60, 2),
                "threads": torch.get_num_threads(),
                "validation_psnr_100": round(quality, 3),
                "train_loss": float(np.mean(losses[-200:])),
            }
            print(json.dumps(about), flush=True)
            with atomic_file(out, force=True) as path:
                save_file({k: v.contiguous() for k, v in mean.items()}, path, {"about": json.dumps(about)})


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("folder", type=Path)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--minutes", type=float, default=90.0)
    options.add_argument("--look", type=float, default=180.0, help="seconds between validations")
    options.add_argument("--rate", type=float, default=1e-3)
    options.add_argument("--batch", type=int, default=5)
    for name, value in DESIGN.items():
        options.add_argument(f"--{name}", type=int, default=value)
    chosen = vars(options.parse_args())
    design = {name: chosen.pop(name) for name in DESIGN}
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    seconds = 60 * chosen.pop("minutes")
    train(seconds=seconds, design=design, **chosen)
