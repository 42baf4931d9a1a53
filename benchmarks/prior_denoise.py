"""Denoising measured slices, the noise unknown to the prior; BM3D is told it, TV has its best weight.

White noise of 10, 25 and 50 parts of 255 of the range is added: 2000 HU for CT, the maximum for MRI. CT goes
to TV and BM3D as attenuation, air at 0, and to the prior as HU through `rayfold.recon.denoising`. PSNR counts
all pixels, with that range as its peak; images are not clipped from above. Seconds are those of the
processor, all threads together, the measurement of the noise included. The prior computes as with ``rayfold
denoise --precision bfloat16``: faster on processors that have this, and a little worse.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prior_cases import OURS, Case, Store, by_image, entry
from benchmarks.prior_images import RANGE, ct_slices, mr_slices
from benchmarks.prior_methods import bm3d_denoised, clock, tv_denoising
from rayfold.recon.denoising import denoise
from rayfold.recon.metrics import psnr

Array = Any
LEVELS = (10, 25, 50)
TV, BM3D, NOISY, TOLD = "TV, best weight", "BM3D, told sigma", "noisy", "prior, told sigma"


def slices(data: Path) -> list[tuple[str, str, Array]]:
    """Modality, name and image with a range of 1; air is 0."""
    ct = [("CT", s.name, ((s.image + 1000) / RANGE).astype(np.float32)) for s in ct_slices(data)]
    return ct + [("MR", s.name, s.image) for s in mr_slices(data)]


def noisy(truth: Array, name: str, level: int) -> Array:
    """The image with noise drawn for its name and level."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), level])
    return truth + rng.standard_normal(truth.shape, np.float32) * np.float32(level / 255)


def blind(y: Array, prior: Any, modality: str) -> Array:
    """What `rayfold denoise` makes of the image, CT in HU: it measures the noise itself."""
    if modality == "MR":
        return np.asarray(denoise(y, prior=prior, unit="a.u.", modality="MR"))
    return (np.asarray(denoise(y * RANGE - 1000, prior=prior, unit="HU")) + 1000) / RANGE


def baselines(store: Store, peers: str | None, case: Case, truth: Array, y: Array, sigma: float) -> None:
    """Scores of TV and BM3D, from the file or computed; BM3D needs an interpreter that has it."""
    key = f"{case.task}/{case.image}/{case.setting}"

    def score(x: Array) -> float:
        return psnr(x, truth, data_range=1)

    def bm3d() -> dict[str, Any]:
        if peers is None:
            raise SystemExit(f"the file of baselines lacks BM3D for {key}; give --peers PYTHON")
        x, seconds = bm3d_denoised(peers, y, sigma)
        return {"score": score(x), "seconds": seconds}

    rows = {
        TV: store.get(f"{key}/TV", truth, {"sigma": sigma}, lambda: tv_denoising(y, sigma, score)),
        BM3D: store.get(f"{key}/BM3D", truth, {"sigma": sigma}, bm3d),
    }
    case.scores |= {NOISY: score(y)} | {name: row["score"] for name, row in rows.items()}
    case.seconds |= {name: row["seconds"] for name, row in rows.items()}


def cases(
    data: Path, prior: Any, store: Store, peers: str | None, *, told: bool = True, first: int | None = None
) -> list[Case]:
    """Slices (all or the `first`) at every level; the prior finds the noise, and once more is `told` it."""
    found = []
    if prior is not None:
        prior.denoise(np.ones((64, 64), np.float32), 0.1)  # libraries are loaded before, as for BM3D
    for modality, name, truth in slices(data)[:first]:
        for level in LEVELS:
            sigma = level / 255
            y = noisy(truth, name, level)
            case = Case("denoise", f"{modality} {name}", f"sigma {level}")
            baselines(store, peers, case, truth, y, sigma)
            if prior is not None:
                x, seconds = clock(lambda y=y, m=modality: blind(y, prior, m))
                case.scores[OURS], case.seconds[OURS] = psnr(x, truth, data_range=1), seconds
                case.pictures = {"truth": truth, "data": y, OURS: np.asarray(x, np.float16)}
                if told:
                    known = prior.denoise(y, sigma)
                    case.scores[TOLD] = psnr(known, truth, data_range=1)
            found.append(case)
    return found


def entries(cases: list[Case]) -> list[dict[str, Any]]:
    """The lines of the target on denoising."""
    lines = []
    for modality in ("CT and MR", "CT", "MR"):
        some = [case for case in cases if case.image[:2] in modality]
        if not some:
            continue
        lines += [
            entry(f"denoising {modality}: above TV, best weight", 1.5, by_image(some, lambda c: c.gain(TV))),
            entry(f"denoising {modality}: above BM3D", -0.2, by_image(some, lambda c: c.gain(BM3D))),
        ]
    ratios = by_image(cases, lambda c: c.seconds[BM3D] / c.seconds[OURS])
    return [*lines, entry("denoising: BM3D's seconds over the prior's", 10, ratios, unit="x")]
