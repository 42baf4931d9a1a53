"""The 16-channel brain by the protocol of `mri_brain`: undersampled, and cropped in k-space.

The maps are those with which rayfold's own L1-wavelet came out best in the committed search (its settings are
read from ``results/mri_brain.json`` and run again); the prior gets the same. Images are magnitudes times the
factor that fits the target best, as they are or within the support of the maps, whichever is better, as in
`mri_brain`. The data are white, of noise 1, and the prior is told so. It takes its thorough way, with its
five short steps beside it. The crop keeps the middle 64 x 64 of 128 x 128 samples; its maps come
from those samples.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import mri_brain, mri_brain_rayfold
from benchmarks.mri_brain_search import Setting, Task, psnr, scaled
from benchmarks.prior_cases import OURS, SHORT, Case, Store, entry
from benchmarks.prior_methods import clock, tv_reconstruction
from rayfold.operators import FFT, CartesianMask, CoilSensitivities, Gaussian
from rayfold.recon import Problem
from rayfold.recon.mri.combine import root_sum_of_squares
from rayfold.recon.mri.espirit_maps import espirit, soft_mask

Array = Any
COMMITTED = Path(__file__).parent / "results" / "mri_brain.json"
WAVELET, TV, SENSE, ZERO = "L1-wavelet, best", "TV, best weight", "CG-SENSE, best", "zero-filled"
SINC = "sinc interpolation"
ABOVE = {"every fourth": 1.5, "random": 2.0}
CROP = 64
CROP_WIDTH, CROP_MASK = 40, (0.9, 0.05)  # of the maps: calibration block; crop and its softness


def best_setting(mask: str, calibration: str, method: str) -> Setting | None:
    """The committed search's best setting of a method of rayfold against the main target."""
    found = json.loads(COMMITTED.read_text())["results"][mask].get(calibration, {}).get("rayfold")
    if found is None:
        return None
    setting = found["methods"][method]["best"][mri_brain.MAIN]["setting"]
    return {k: tuple(v) if isinstance(v, list) else v for k, v in setting.items()}


def best_of(x: Array, maps: Array, target: Array) -> float:
    """PSNR of an image as it is or within the support of the maps, the better of both."""
    support = (abs(maps) > 0).any(axis=0)
    return max(psnr(x, target), psnr(x * support, target))


def best_run(method: str, task: Task, setting: Setting, maps: Array, target: Array) -> dict[str, Any]:
    """Best iteration of a method of `mri_brain` at a setting."""
    found: list[float] = []

    def told(_: int, x: Array) -> None:
        found.append(best_of(x, maps, target))

    _, seconds = clock(lambda: mri_brain_rayfold.METHODS[method].run(task, maps, setting, told))
    return {"score": max(found), "iteration": int(np.argmax(found)), "seconds": seconds}


def maps_of(task: Task, setting: Setting) -> Array:
    """Coil maps at a setting."""
    return mri_brain_rayfold.cut(*mri_brain_rayfold.maps(task, setting), setting)


def posed(task: Task, mask: Array, maps: Array) -> Problem:
    """Whitened data, the samples of a mask (broadcast to the image)."""
    shape = maps.shape[1:]
    A = CartesianMask(shape, np.broadcast_to(mask, shape).astype(np.float32)) @ FFT(shape)
    return Problem(A @ CoilSensitivities(maps), task.kspace, Gaussian(1.0))


def restored(
    case: Case,
    restore: Callable[[Problem], Array],
    problem: Problem,
    maps: Array,
    target: Array,
    name: str = OURS,
) -> None:
    """A score of the prior on a case, at the brightness of the maps' root sum of squares."""
    x, case.seconds[name] = clock(lambda: restore(problem))
    x = np.asarray(x) * root_sum_of_squares(maps)
    case.scores[name] = best_of(x, maps, target)
    data = np.asarray(problem.A.H(problem.y)) * root_sum_of_squares(maps)
    case.pictures = {"truth": target, "data": scaled(data, target), OURS: scaled(x, target)}


def both_ways(case: Case, prior: Any, problem: Problem, maps: Array, target: Array) -> None:
    """The score of the prior in its thorough way, with five steps beside it."""
    restored(case, prior.restore, problem, maps, target, SHORT)
    restored(case, partial(prior.restore, thorough=True), problem, maps, target)


def measured(data: Path) -> tuple[Array, Array]:
    """Whitened k-space of the array, and the main target."""
    kspace, body = mri_brain.read(data / "mri" / "brain_16ch_twix")
    maps, head = mri_brain.measured_maps(kspace, body)
    return kspace, mri_brain.mvue(kspace, maps * head)


def undersampled(data: Path, prior: Any, store: Store) -> list[Case]:
    """Every fourth line and random lines, with maps from few or all lines where the search has been there."""
    kspace, target = measured(data)
    found = []
    for name, lines in mri_brain.masks().items():
        for calibration in ("few lines", "all lines"):
            setting = best_setting(name, calibration, "L1-wavelet")
            if setting is None:
                continue
            full = calibration == "all lines"
            few = (kspace * lines[:, None]).astype(np.complex64)
            task = Task(few, lines, kspace if full else few, lines | full)
            maps = maps_of(task, setting)
            case = Case("mri", "brain", f"{name}, maps from {calibration}")
            for label, method in ((WAVELET, "L1-wavelet"), (TV, "TV"), (SENSE, "CG-SENSE")):
                own = best_setting(name, calibration, method) or setting
                case.scores[label] = store.get(
                    f"mri/{name}/{calibration}/{label}",
                    target,
                    own,
                    lambda m=method, s=own, t=task: best_run(m, t, s, maps_of(t, s), target),
                )["score"]
            problem = posed(task, lines[:, None], maps)
            case.scores[ZERO] = best_of(problem.A.H(problem.y), maps, target)
            if prior is not None:
                both_ways(case, prior, problem, maps, target)
            found.append(case)
    return found


def cropped(data: Path, prior: Any, store: Store) -> list[Case]:
    """The middle of k-space alone."""
    kspace, target = measured(data)
    n = kspace.shape[-1]
    middle = abs(np.arange(n) - n // 2 + 0.5) < CROP / 2
    mask = middle[:, None] & middle
    few = (kspace * mask).astype(np.complex64)
    found = espirit(few, sampled=mask, width=CROP_WIDTH)
    maps = (found.maps * soft_mask(found.eigenvalues, *CROP_MASK)).astype(np.complex64)
    A = CartesianMask((n, n), mask.astype(np.float32)) @ FFT((n, n)) @ CoilSensitivities(maps)
    problem = Problem(A, few, Gaussian(1.0))
    bright, case = root_sum_of_squares(maps), Case("superres mri", "brain", "middle 64 x 64 of k-space")
    case.scores[SINC] = best_of(mri_brain.mvue(few, maps), maps, target)

    def tv() -> dict[str, Any]:
        def score(x: Array) -> float:
            return best_of(x * bright, maps, target)

        return tv_reconstruction(problem, score, A.H(few), steps=80, positive=False)

    setting = {"crop": CROP, "width": CROP_WIDTH, "mask": CROP_MASK}
    case.scores[TV] = store.get("superres mri/brain/TV", target, setting, tv)["score"]
    if prior is not None:
        both_ways(case, prior, problem, maps, target)
    return [case]


def entries(cases: list[Case]) -> list[dict[str, Any]]:
    """The lines of the target on MRI."""
    lines = []
    for case in cases:
        if case.task == "mri":
            mask = case.setting.partition(",")[0]
            text = f"brain, {case.setting}, thorough: above L1-wavelet, best"
            lines.append(entry(text, ABOVE[mask], [case.gain(WAVELET)]))
        elif case.task == "superres mri":
            lines.append(entry("brain, k-space x2, thorough: above sinc", 1.5, [case.gain(SINC)]))
            lines.append(entry("brain, k-space x2, thorough: above TV, best weight", 0.5, [case.gain(TV)]))
    return lines
