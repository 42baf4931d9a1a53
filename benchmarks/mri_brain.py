"""Parallel imaging on a measured brain, beside SigPy, with the settings of both searched alike.

Run from the repository root: ``python -m benchmarks.mri_brain --data FOLDER``, with the folder of the twix
files ``2024-02-06-164128.dat`` (16-channel head array) and ``2024-02-06-164120.dat`` (body coil, the same
slice), from https://github.com/pulseq/MR-Physics-with-Pulseq (MIT).

Protocol: k-space is whitened with the covariance estimated from its periphery (there is no noise scan), the
same for both. Of 128 lines 0, 4, 8, ... and 59 to 68 are kept (R = 3.28), or random ones (R = 4.41). The
target is the MVUE combination of all lines, in magnitude. An image is its magnitude times the factor that
fits the target best; PSNR has the target's maximum as peak, PSNR and SSIM count all pixels.

The maps of the main target come from no package's calibration: they are the leading left singular vectors of
the local cross-covariance between the array's and the body coil's images, where both see the head. The same
without that limit, so with the noise around the head, and targets with each package's own maps from all
lines, at its defaults, are reported beside it.

The best score of a package is over all settings tried, over the iterations of each, and over the image as it
is and restricted to the support of its maps. Settings were searched on these data: the bests are bounds and
no predictions; the scores at the defaults are what a user gets.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".dev"))

import numpy as np  # noqa: E402

from benchmarks.machine import commit, machine  # noqa: E402
from benchmarks.mri_brain_search import Method, Score, Side, Task, Trial, psnr, scaled  # noqa: E402
from rayfold.operators.fourier import ifft  # noqa: E402
from rayfold.recon.metrics import ssim  # noqa: E402
from rayfold.recon.mri.whiten import whitening  # noqa: E402

Array = Any
ARRAY, BODY = "2024-02-06-164128.dat", "2024-02-06-164120.dat"
N, ACS = 128, slice(59, 69)
SMOOTHING = 2.5  # standard deviation, voxels, of the neighbourhoods of the measured maps
HEAD = 10.0  # cross-covariance over its lower quartile (beside the head) that is signal
MAIN, NOISY = "measured maps", "measured maps, with the noise around"
DIRECTED = (
    MAIN,
    NOISY,
    "sigpy maps",
)  # what searches are directed by; they count for every target
RANDOM_LINES, RANDOM_SEED = 29, 0
METHODS = ("zero-filled", "CG-SENSE", "L1-wavelet", "TV")


def read(folder: Path) -> tuple[Array, Array]:
    """Whitened k-space of the array and of the body coil, (coils, ky, kx)."""
    from rayfold.recon.io.read_twix import read_twix

    both = (np.asarray(read_twix(folder / name).data) for name in (ARRAY, BODY))
    return tuple(np.asarray(whitening(y)(y), np.complex64) for y in both)  # type: ignore[return-value]


def masks() -> dict[str, Array]:
    """Lines kept: every fourth or random ones (drawn within), and always the ten in the middle."""
    even, random = np.zeros((2, N), bool)
    even[::4] = even[ACS] = random[ACS] = True
    rest = np.flatnonzero(~random)
    drawn = np.random.default_rng(RANDOM_SEED).choice(rest, RANDOM_LINES - random.sum(), replace=False)
    random[drawn] = True
    return {"every fourth": even, "random": random}


def measured_maps(array: Array, body: Array) -> tuple[Array, Array]:
    """Unit sensitivities of the array relative to the body coil, and where both scans see the head.

    The noise of the two scans is independent: beside the head their cross-covariance is small.
    """
    from scipy.ndimage import gaussian_filter

    product = np.einsum("cyx,byx->yxcb", ifft(array, (1, 2)), ifft(body, (1, 2)).conj())
    width = (SMOOTHING, SMOOTHING, 0, 0)
    local = gaussian_filter(product.real, width) + 1j * gaussian_filter(product.imag, width)
    vectors, values, _ = np.linalg.svd(local, full_matrices=False)
    signal = values[..., 0] > HEAD * np.quantile(values[..., 0], 0.25)
    return np.moveaxis(vectors[..., 0], -1, 0), signal


def mvue(kspace: Array, maps: Array) -> Array:
    """Magnitude of the MVUE combination, normalised by the root sum of squares of the maps."""
    power = (abs(maps) ** 2).sum(axis=0)
    return abs((maps.conj() * ifft(kspace, (1, 2))).sum(axis=0)) / np.sqrt(np.where(power > 0, power, 1))


def sides(chosen: str, *, full: bool) -> list[Side]:
    """The packages to run."""
    from benchmarks import mri_brain_rayfold, mri_brain_sigpy

    both = {"sigpy": mri_brain_sigpy, "rayfold": mri_brain_rayfold}
    return [module.side(full=full) for name, module in both.items() if chosen in (name, "both")]


def targets(kspace: Array, body: Array) -> dict[str, Array]:
    """The main target, and those with each package's own default maps from all lines."""
    maps, head = measured_maps(kspace, body)
    found = {MAIN: mvue(kspace, maps * head), NOISY: mvue(kspace, maps)}
    lines = np.ones(N, bool)
    for side in sides("both", full=True):
        maps = Trial(side, Task(kspace, lines, kspace, lines), {}).cut_maps(side.default)
        found[f"{side.name} maps"] = mvue(kspace, maps)
    return found


def entry(score: Score, target: Array) -> dict[str, Any]:
    """A score for the file."""
    if score.image is None:
        return {"psnr": None, "setting": score.setting}
    return {
        "psnr": score.psnr,
        "ssim": ssim(scaled(score.image, target), target, data_range=float(target.max())),
        "setting": score.setting,
        "iteration": score.iteration,
        "within support": score.support,
    }


def at_defaults(trial: Trial, name: str, against: dict[str, Array]) -> dict[str, Any]:
    """Scores of the default setting's last iteration, as it is."""
    method: Method = trial.side.methods[name]
    if method.by_name is not None:
        x = method.by_name(trial.task)
        return {target: entry(Score(psnr(x, t), {}, 0, False, x), t) for target, t in against.items()}
    setting = {**trial.side.default, **method.default}
    maps = trial.cut_maps(setting)
    last: dict[str, Any] = {}
    if np.isfinite(maps).all() and maps.any():
        method.run(trial.task, maps, setting, lambda i, x: last.update(iteration=i, x=np.array(x)))
    if not last or not np.isfinite(last["x"]).all():
        return {target: {"psnr": None, "setting": setting} for target in against}
    return {
        target: entry(Score(psnr(last["x"], t), setting, last["iteration"], False, last["x"]), t)
        for target, t in against.items()
    }


def compare(
    side: Side, task: Task, against: dict[str, Array], images: Path | None, before: dict[str, Any] | None
) -> dict[str, Any]:
    """Search one side on one task, or go on from the settings found before; best and default scores."""
    trial = Trial(side, task, against)
    start = time.perf_counter()
    if before is None:
        trial.search(DIRECTED)
    rows = {}
    for name in METHODS:
        old = {} if before is None else before["methods"][name]["best"]
        for target, row in old.items():
            setting = {k: tuple(v) if isinstance(v, list) else v for k, v in row["setting"].items()}
            trial.evaluate(name, setting)
            if target in DIRECTED:
                trial.descend(name, target, setting)
        best = {target: trial.best(name, target) for target in against}
        rows[name] = {
            "best": {target: entry(score, against[target]) for target, score in best.items()},
            "default": at_defaults(trial, name, against),
        }
        if images:
            np.save(images / f"{side.name}_{name}.npy", best[MAIN].image)
        said = [
            f"{t}: best {r['psnr']:.2f}, default {rows[name]['default'][t]['psnr'] or 0:.2f}"
            for t, r in rows[name]["best"].items()
        ]
        print(f"  {side.name:8s}{name:12s}", "; ".join(said), best[MAIN].setting, flush=True)
    tried, seconds = len(trial.tried), time.perf_counter() - start
    if before is not None:
        tried, seconds = tried + before["settings tried"], seconds + before["seconds"]
    return {"methods": rows, "settings tried": tried, "seconds": seconds}


def main() -> int:
    """Reconstruct, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the two twix files")
    default = Path(__file__).parent / "results" / "mri_brain.json"
    parser.add_argument("--out", type=Path, default=default, help="JSON to write; other sides in it are kept")
    parser.add_argument("--side", choices=("both", "sigpy", "rayfold"), default="both")
    parser.add_argument("--refine", action="store_true", help="go on from the settings in --out")
    parser.add_argument("--masks", nargs="+", choices=tuple(masks()), default=tuple(masks()))
    parser.add_argument(
        "--maps", nargs="+", choices=("few lines", "all lines"), default=("few lines", "all lines")
    )
    parser.add_argument("--images", type=Path, help="folder for the best images as .npy")
    given = parser.parse_args()
    kspace, body = read(given.data)
    against = targets(kspace, body)
    result = json.loads(given.out.read_text()) if given.out.exists() else {}
    result |= {
        "task": "16-channel brain in vivo, 128 x 128, magnitude against the MVUE combination of all lines",
        "acceleration": {name: N / int(lines.sum()) for name, lines in masks().items()},
        "main target": MAIN,
        "machine": machine(("numpy", "scipy", "sigpy", "PyWavelets")),
        "commit": commit(),
    }
    result.setdefault("results", {})
    for mask in given.masks:
        lines = masks()[mask]
        few = (kspace * lines[:, None]).astype(np.complex64)
        for calibration in given.maps:
            full = calibration == "all lines"
            task = Task(few, lines, kspace if full else few, lines | full)
            print(f"{mask} lines (R = {N / lines.sum():.2f}), maps from {calibration}", flush=True)
            for side in sides(given.side, full=full):
                folder = None
                if given.images:
                    folder = given.images / f"{mask} {calibration}"
                    folder.mkdir(parents=True, exist_ok=True)
                place = result["results"].setdefault(mask, {}).setdefault(calibration, {})
                before = place.get(side.name) if given.refine else None
                place[side.name] = compare(side, task, against, folder, before)
                given.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
