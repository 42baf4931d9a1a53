"""Limited angle on measured discs (Helsinki Tomography Challenge 2022), scored as in `htc_limited_angle`.

Zero-shot the weights are those of the prior as it is, and they work within the recipe of that benchmark: what
pulls each pixel towards acrylic or air is not the image itself but the prior's opinion of it, ``x + w (D(x) -
x)`` with the noise level that D is told falling as the pull grows, and w with the area of a pixel (the force
of regularisation by denoising: Y. Romano, M. Elad and P. Milanfar, SIAM J. Imaging Sci. 10 (2017) 1804). The
weight and the levels were chosen with these four discs in view, as the numbers of the recipe were. `ALONE` is
`FoundationPrior.restore` by itself, on the same data on a grid of 256 x 256 (two bins and two views merged,
as its middle grid does), kept after each step within what is known of the disc and brought to the official
grid by linear interpolation; so are weights that were adapted, in the end. These come from synthetic discs
with holes alone, 3.7 hours on one core of an EPYC:

    P=benchmarks/protocols; PROTOCOLS="$P/htc_90.toml $P/htc_60.toml $P/htc_30.toml"
    HOLES="--phantom holes --mode full --loss supervised --n 100"
    rayfold train --adapt --protocol $PROTOCOLS $HOLES --rate 2e-4 --steps 450 -o first.safetensors
    rayfold train --adapt --protocol $PROTOCOLS $HOLES --rate 2e-4 --steps 340 --seed 1 \\
        --weights first.safetensors -o second.safetensors
    rayfold train --adapt --protocol $P/htc_30.toml $P/htc_60.toml $P/htc_30.toml $HOLES --rate 6e-5 \\
        --steps 400 --seed 3 --weights second.safetensors -o third.safetensors
    rayfold train --adapt --protocol $P/htc_30.toml $P/htc_60.toml $P/htc_30.toml $HOLES --n 400 \\
        --held-out 0.05 --rate 1.2e-4 --steps 600 --every 200 --seed 11 \\
        --weights third.safetensors -o holes.safetensors

The committed row: the first run was begun before, the second after two changes of what the prior is told,
and all of them before the steps became five.
"""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import htc_limited_angle as htc
from benchmarks.prior_cases import OURS, Case, entry
from benchmarks.prior_methods import clock
from rayfold.recon.preprocess.hardening import unveil
from rayfold.recon.priors import Box
from rayfold.recon.segment import matthews

Array = Any
GRID = 256
PLAIN, ALONE = "no learning", f"{OURS}, alone"
WEIGHT, FIRST, LAST = 24.0, 0.55, 0.4  # of the opinion, on the coarsest grid; levels that D is told
ADAPTED = {90: (0.97, 0.985), 60: (0.95, 0.98), 30: (0.90, 0.96)}
COMMITTED = Path(__file__).parent / "results" / "htc_limited_angle.json"


def posed(folder: Path, name: str, span: int, calibration: Any, n: int = GRID) -> htc.Level:
    """A disc's problem on n x n pixels, as the recipe without learning sets out."""
    radius, hardening = calibration
    recipe = htc.Recipe()
    disc = htc.read(folder / f"htc2022_{name}_full.mat", slice(0, 2 * span + 1))
    disc = disc._replace(circle=disc.circle._replace(radius=radius))
    off = disc.circle.radius - np.abs(htc.distances(disc.beam, disc.circle.x, disc.circle.y))
    rays = (off > recipe.ring[0]) & (off < recipe.ring[1])
    veil = hardening.veil(disc.attenuation[rays], htc.chords(disc.beam, disc.circle)[rays])
    return htc.pose(disc._replace(attenuation=unveil(disc.attenuation, veil)), hardening, n, recipe)


def labels(x: Array, level: htc.Level, official: Array) -> Array:
    """Acrylic or air on the official grid."""
    x, upper = np.clip(x, level.lower, level.upper), level.upper
    while x.shape[-1] < official.shape[-1]:
        x, upper = htc.twice(x), htc.twice(upper)
    return htc.parted(x, upper > 0.999)


def directed(folder: Path, name: str, span: int, calibration: Any, prior: Any) -> tuple[Array, Array]:
    """Image and labels of a disc by the recipe with the prior's opinion."""
    radius, hardening = calibration
    recipe = htc.Recipe()
    first, last, coarsest = recipe.pulls[0], recipe.pulls[-1], recipe.grids[0]

    def opinion(x: Array, pull: float) -> Array:
        done = math.log(pull / first) / math.log(last / first)
        clean = prior.for_iterations.denoise(x.astype(np.float32), FIRST * (LAST / FIRST) ** done)
        return x + np.float32(WEIGHT * (coarsest / x.shape[-1]) ** 2) * (clean - x)

    disc = htc.read(folder / f"htc2022_{name}_full.mat", slice(0, 2 * span + 1))
    disc = disc._replace(circle=disc.circle._replace(radius=radius))
    x, within = htc.reconstruct(disc, hardening, recipe, opinion=opinion)
    return x, htc.parted(x, within)


def limited(data: Path, prior: Any) -> list[Case]:
    """All discs and ranges."""
    folder = data / "ct" / "htc2022_training"
    plain = {(r["disc"], r["degrees"]): r["matthews"] for r in json.loads(COMMITTED.read_text())["rows"]}
    calibration = htc.calibrate(htc.read(folder / "htc2022_solid_disc_full.mat", slice(0, 720)))
    found = []
    for span in htc.RANGES:
        for name in htc.DISCS:
            case = Case("limited", f"disc {name}", f"{span} degrees", {PLAIN: plain[name, span]})
            if prior is not None:
                truth = htc.official(folder, name)
                level = posed(folder, name, span, calibration)
                adapted = "adapted" in prior.card
                known = None if adapted else Box(level.lower, level.upper)
                way = OURS if adapted else ALONE
                x, case.seconds[way] = clock(lambda p=level.problem, b=known: prior.restore(p, bounds=b))
                made = labels(np.asarray(x), level, truth)
                case.scores[way] = matthews(made, truth)
                if not adapted:
                    with_it = partial(directed, folder, name, span, calibration, prior)
                    (x, made), case.seconds[OURS] = clock(with_it)
                    case.scores[OURS] = matthews(made, truth)
                case.pictures = {"truth": truth, "data": np.asarray(x), OURS: made}
            found.append(case)
    return found


def entries(cases: list[Case], *, adapted: bool) -> list[dict[str, Any]]:
    """The lines of the target on limited angles, of one set of weights."""
    lines = []
    for span, (least, goal) in ADAPTED.items():
        scores = [c.scores[OURS] for c in cases if c.setting == f"{span} degrees"]
        if adapted:
            text = f"limited angle, {span} degrees, adapted: Matthews"
            lines.append(entry(text, least, scores, unit="", goal=f"goal {goal}"))
        else:
            above = [c.gain(PLAIN) for c in cases if c.setting == f"{span} degrees"]
            lines.append(
                entry(
                    f"limited angle, {span} degrees: the recipe with the prior above without",
                    0,
                    above,
                    unit="",
                )
            )
    return lines
