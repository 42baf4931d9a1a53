"""CT with more resolution than its detector or its kernel gave.

Detector binning: 360 views of the measured slices on bins twice as wide as the pixels of the 256 x 256 image,
at 1e5 photons per bin. The baseline takes the better of two ways: filtered back-projection on the grid of the
bins (128 x 128, Hann cut-off chosen with the truth in view) enlarged by cubic splines, and views enlarged by
cubic splines before the filtered back-projection at 256 x 256.

Kernel: a skull phantom reconstructed with a soft kernel, its blur taken back by the prior. How wide that is
was measured between both kernels on a slice that is not judged. The resolution is that of the edge of a rod
(MTF at one half), the contrast that of the rod against air over the noise within.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prior_cases import OURS, Case, Store, by_image, entry
from benchmarks.prior_images import WATER, halved
from benchmarks.prior_methods import best_fbp, clock, hu_psnr, tv_reconstruction
from benchmarks.prior_tomography import BINS, SIZE, Object, objects
from rayfold.operators import ParallelBeam, Volume, XRay, fbp_operator
from rayfold.operators.noise import PoissonTransmission
from rayfold.operators.resample import Downsample
from rayfold.recon import Image, Problem, read_image
from rayfold.recon.priors import NonNegative
from rayfold.recon.quality.blur import kernel_blur
from rayfold.recon.quality.contrast import cnr
from rayfold.recon.quality.resolution import mtf, mtf50
from rayfold.recon.superresolution import superres

Array = Any
VIEWS, PHOTONS, WIDE = 360, 1e5, (BINS + 1) // 2
BICUBIC, TV = "bicubic, best", "TV, best weight"
SETTING = f"{VIEWS} views, bins x 2, {PHOTONS:g} photons"
SOFT, SHARP = "soft kernel", "sharp kernel"
SKULL = {SOFT: "brainkernel_UB", SHARP: "bonekernel_YA"}
OTHER = 30  # slice on which the width of the blur is measured
RODS = ((25, 185, 203, 24), (25, 240, 248, 22), (15, 314, 300, 24), (35, 185, 203, 26))  # slice, y, x, radius


def enlarged(image: Array, *axes: int) -> Array:
    """Twice as many pixels along axes, by cubic splines between their middles."""
    from scipy.ndimage import zoom

    factors = [2 if axis in (axes or (0, 1)) else 1 for axis in range(image.ndim)]
    return zoom(image, factors, order=3, mode="nearest", grid_mode=True)


def binned(o: Object) -> Problem:
    """The scan on wide bins."""
    fine = ParallelBeam.evenly(VIEWS, 4 * WIDE, pitch=o.spacing / 2)
    clean = halved(halved(XRay(Volume(o.fine.shape, o.spacing / 2), fine)(o.fine), -1), -1)
    beam = ParallelBeam.evenly(VIEWS, 2 * WIDE, pitch=o.spacing)
    A = Downsample(beam.shape, 2, axes=(1,)) @ XRay(Volume((SIZE, SIZE), o.spacing), beam)
    noise = PoissonTransmission(PHOTONS)
    return Problem(A, noise.sample(clean, zlib.crc32(o.name.encode())), noise, "1/mm")


def bicubic(o: Object, y: Array) -> dict[str, Any]:
    """The better of the two ways to enlarge."""
    score = hu_psnr(o.truth, WATER)
    coarse = XRay(
        Volume((SIZE // 2, SIZE // 2), 2 * o.spacing), ParallelBeam.evenly(VIEWS, WIDE, pitch=2 * o.spacing)
    )
    image = best_fbp(coarse, y, lambda x: score(enlarged(x)))
    fine = XRay(Volume((SIZE, SIZE), o.spacing), ParallelBeam.evenly(VIEWS, 2 * WIDE, pitch=o.spacing))
    views = best_fbp(fine, enlarged(y, 1), score)
    return max(({**image, "way": "image"}, {**views, "way": "views"}), key=lambda row: row["score"])


def detector(data: Path, prior: Any, store: Store) -> list[Case]:
    """Wide bins, every other slice."""
    found = []
    for o in list(objects(data))[1::2]:
        problem, score = binned(o), hu_psnr(o.truth, WATER)
        beam = ParallelBeam.evenly(VIEWS, 2 * WIDE, pitch=o.spacing)
        start = fbp_operator(Volume((SIZE, SIZE), o.spacing), beam, window="hann")[0](enlarged(problem.y, 1))
        key, known = f"superres ct/{o.name}", {"setting": SETTING}
        case = Case("superres ct", o.name, SETTING)
        case.scores[BICUBIC] = store.get(
            f"{key}/bicubic", o.truth, known, lambda o=o, y=problem.y: bicubic(o, y)
        )["score"]
        case.scores[TV] = store.get(
            f"{key}/TV",
            o.truth,
            known,
            lambda p=problem, s=score, x=start: tv_reconstruction(p, s, x, steps=60, positive=True),
        )["score"]
        if prior is not None:
            x, case.seconds[OURS] = clock(lambda p=problem: prior.restore(p, bounds=NonNegative()))
            case.scores[OURS] = score(np.asarray(x))
            case.pictures = {"truth": o.truth, "data": start, OURS: np.asarray(x)}
        found.append(case)
    return found


def rod(image: Array, spacing: float, y: int, x: int, radius: int) -> dict[str, float]:
    """MTF at one half of the edge of a rod, 1/mm, and its contrast against air over the noise within it."""
    half = int(1.7 * radius)
    roi = image[y - half : y + half + 1, x - half : x + half + 1]
    away = np.hypot(*np.mgrid[-half : half + 1, -half : half + 1])
    return {
        "mtf50": mtf50(mtf(roi, spacing, edge="disc")),
        "cnr": cnr(roi, (away > 1.3 * radius) & (away < 1.6 * radius), away < 0.7 * radius),
    }


def sharpened(prior: Any, hu: Array, spacing: float, width: float) -> Array:
    """A slice in HU, a blur of full width at half maximum `width` mm taken back on its own grid."""
    image = Image(hu, (spacing, spacing), unit="HU", modality="CT")
    return np.asarray(superres(image, 1, psf=width, prior=prior, certificate=False).array)


def kernels(data: Path, prior: Any) -> list[Case]:
    """Rods of the phantom with both kernels, and the soft one sharpened: MTF50 in 1/mm and CNR."""
    images = {
        name: read_image(data / "ct" / "skull_kernels" / f"skull_phantom_{file}_1mm.nii.gz")
        for name, file in SKULL.items()
    }
    spacing = float(images[SOFT].spacing[-1])
    width = kernel_blur(*(np.asarray(images[name].array[OTHER], float) for name in (SOFT, SHARP)), spacing)
    made: dict[int, tuple[Array, float]] = {}
    found = []
    for z, y, x, radius in RODS:
        case = Case("kernels", f"rod at {z}, {y}, {x}", "soft kernel sharpened")
        slices = {name: np.asarray(image.array[z], np.float32) for name, image in images.items()}
        if prior is not None:
            if z not in made:
                made[z] = clock(lambda s=slices[SOFT]: sharpened(prior, s, spacing, width))
            slices[OURS], case.seconds[OURS] = made[z]
        for name, image in slices.items():
            for what, value in rod(image, spacing, y, x, radius).items():
                case.scores[name if what == "mtf50" else f"{name}, CNR"] = value
        found.append(case)
    return found


def entries(cases: list[Case]) -> list[dict[str, Any]]:
    """The lines of the target."""
    some = [case for case in cases if case.task == "superres ct"]
    lines = []
    if some:
        lines.append(entry("CT, detector x2: above bicubic", 1.5, by_image(some, lambda c: c.gain(BICUBIC))))
    rods = [case.scores for case in cases if case.task == "kernels"]
    if rods:
        sharper = [100 * (s[OURS] / s[SOFT] - 1) for s in rods]
        ratio = [s[f"{OURS}, CNR"] / s[f"{SOFT}, CNR"] for s in rods]
        lines.append(entry("skull phantom, soft kernel: MTF50 gained", 20, sharper, unit="%"))
        lines.append(entry("skull phantom, soft kernel: CNR after / before", 0.95, ratio, unit="x"))
    return lines
