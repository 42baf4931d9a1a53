"""CT slices from simulated rays: sparse views, low dose, a coarse detector, and scans that need no prior.

Rays are those of the measured slice at 512 x 512 pixels, two per bin and averaged over it; images have
256 x 256 pixels of twice the size, and are compared with the means of 2 x 2 pixels. Views are parallel; 367
bins of the pixel's size cover the diagonal. Attenuation is that of HU with water at 0.0193 1/mm; PSNR has
2000 HU as its range.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.prior_cases import OURS, Case, Store, by_image, entry
from benchmarks.prior_images import WATER, attenuation, ct_slices, halved
from benchmarks.prior_methods import best_cgls, best_fbp, clock, hu_psnr, tv_reconstruction
from rayfold.operators import ParallelBeam, Volume, XRay, fbp_operator
from rayfold.operators.noise import Gaussian, Noise, PoissonTransmission
from rayfold.recon import Problem
from rayfold.recon.priors import NonNegative

Array = Any
SIZE, BINS = 256, 367
FBP, CGLS, TV = "FBP", "CGLS, best step", "TV, best weight"


class Object(NamedTuple):
    """A slice on the fine grid and on that of the reconstruction, in 1/mm; coarse pixel size in mm."""

    name: str
    fine: Array
    truth: Array
    spacing: float


class Setting(NamedTuple):
    """A scan: views, and the noise of its clean projections."""

    name: str
    views: int
    noise: Callable[[Array], Noise]


def relative(part: float) -> Callable[[Array], Noise]:
    """White noise with a standard deviation of a part of the mean projection."""
    return lambda p: Gaussian(max(part, 1e-6) * float(np.abs(p).mean()))


SPARSE = Setting("60 views, 1 % noise", 60, relative(0.01))
LOW_DOSE = Setting("1000 views, 4096 photons", 1000, lambda p: PoissonTransmission(4096.0))
WELL_POSED = tuple(
    Setting(f"{views} views, {100 * part:g} % noise", views, relative(part))
    for views in (360, 720, 1000)
    for part in (0.0, 0.0003, 0.001)
)


def objects(data: Path) -> Iterator[Object]:
    """The slices, prepared."""
    for s in ct_slices(data):
        fine = attenuation(s.image)
        yield Object(f"CT {s.name}", fine, halved(fine), 2 * s.spacing)


@lru_cache(maxsize=4)
def projector(views: int, spacing: float) -> XRay:
    """What reconstructs."""
    return XRay(Volume((SIZE, SIZE), spacing), ParallelBeam.evenly(views, BINS, pitch=spacing))


def projections(o: Object, views: int) -> Array:
    """Clean rays of the fine image, averaged over each bin."""
    beam = ParallelBeam.evenly(views, 2 * BINS, pitch=o.spacing / 2)
    return halved(XRay(Volume(o.fine.shape, o.spacing / 2), beam)(o.fine), -1)


def problem(o: Object, setting: Setting) -> Problem:
    """The scan; its noise is drawn for the name of the image and of the setting."""
    clean = projections(o, setting.views)
    noise = setting.noise(clean)
    seed = zlib.crc32(f"{o.name}/{setting.name}".encode())
    return Problem(projector(setting.views, o.spacing), noise.sample(clean, seed), noise, "1/mm")


def judged(task: str, o: Object, setting: Setting, prior: Any, store: Store, *, tv_steps: int = 0) -> Case:
    """Scores of the baselines (TV only where it gets steps) and of the prior."""
    made = problem(o, setting)
    score, known = hu_psnr(o.truth, WATER), {"setting": setting.name}
    start = fbp_operator(made.A.volume, made.A.beam, window="hann")[0](made.y)
    key = f"{task}/{o.name}/{setting.name}"
    rows = {
        FBP: store.get(f"{key}/FBP", o.truth, known, lambda: best_fbp(made.A, made.y, score)),
        CGLS: store.get(f"{key}/CGLS", o.truth, known, lambda: best_cgls(made, score)),
    }
    if tv_steps:
        rows[TV] = store.get(
            f"{key}/TV",
            o.truth,
            {**known, "steps": tv_steps},
            lambda: tv_reconstruction(made, score, start, steps=tv_steps, positive=True),
        )
    case = Case(task, o.name, setting.name, {name: row["score"] for name, row in rows.items()})
    case.seconds |= {name: row["seconds"] for name, row in rows.items() if "seconds" in row}
    if prior is not None:
        x, case.seconds[OURS] = clock(lambda: prior.restore(made, bounds=NonNegative()))
        x = np.asarray(x)
        case.scores[OURS] = score(x)
        case.pictures = {"truth": o.truth, "data": start, OURS: x}
    return case


def sparse(data: Path, prior: Any, store: Store, first: int | None = None) -> list[Case]:
    """60 views of every slice, or of the `first`."""
    return [judged("sparse", o, SPARSE, prior, store, tv_steps=120) for o in islice(objects(data), first)]


def low_dose(data: Path, prior: Any, store: Store) -> list[Case]:
    """1000 views at 4096 photons, of every other slice."""
    return [judged("low dose", o, LOW_DOSE, prior, store, tv_steps=40) for o in list(objects(data))[1::2]]


def well_posed(data: Path, prior: Any, store: Store) -> list[Case]:
    """Many views, hardly any noise: three slices in nine settings."""
    some = list(objects(data))[1::2]
    return [judged("well-posed", o, setting, prior, store) for setting in WELL_POSED for o in some]


def entries(cases: list[Case]) -> list[dict[str, Any]]:
    """The lines of the target on sparse views and low dose."""
    lines = []
    for task, what, above in (
        ("sparse", "60 views, 1 % noise: above TV, best weight", 1.5),
        ("low dose", "low dose: above TV, best weight", 2.0),
    ):
        some = [case for case in cases if case.task == task]
        if some:
            lines.append(entry(what, above, by_image(some, lambda c: c.gain(TV))))
    return lines
