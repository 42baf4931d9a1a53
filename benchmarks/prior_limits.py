"""Laws that hold whatever the image: units, scans that need no prior, and models that must score as null.

Units: one scan of 60 views, with lengths in mm, cm and m, and with data and noise times powers of ten over
eight decades; the image in the first unit must stay the same. Images: the same in HU, through the declared
value of water. Deviations are the largest over the largest pixel.

Well-posed: full k-space of measured magnitudes, given a smooth phase and eight smooth coils, beside SENSE by
conjugate gradients stopped where it is best; with the scans of `prior_tomography.WELL_POSED`.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import prior_denoise, prior_mri, prior_tomography
from benchmarks.mri_cpu import coil_maps
from benchmarks.prior_cases import OURS, Case, Store, entry
from benchmarks.prior_images import WATER, Slice, attenuation, halved, mr_slices
from benchmarks.prior_methods import NULLS, best_cgls, clock
from rayfold.operators import FFT, CoilSensitivities, Gaussian, ParallelBeam, Volume, XRay
from rayfold.recon import Problem
from rayfold.recon.denoising import denoise
from rayfold.recon.metrics import psnr

Array = Any
DECADES = range(-4, 5)
LENGTHS = {"1/mm": 1.0, "1/cm": 0.1, "1/m": 0.001}
COILS, FULL_NOISE = 8, (1e-6, 3e-4, 1e-3)
SENSE = "SENSE, best step"
TOLERANCE = 1e-5


# --- units ---


def apart(x: Array, reference: Array) -> float:
    """Largest deviation over the largest pixel."""
    return float(np.max(np.abs(np.asarray(x, np.float64) - reference)) / np.max(np.abs(reference)))


def scan(truth: Array, spacing: float, length: float, scale: float) -> Problem:
    """60 views with pixels of `spacing` mm in another unit of length, data and noise times `scale`."""
    n, h = len(truth), spacing * length
    beam = ParallelBeam.evenly(60, int(1.5 * n), pitch=h)
    A = XRay(Volume(truth.shape, h), beam)
    clean = A(truth / np.float32(length))
    rng = np.random.default_rng(0)
    sigma = 0.01 * float(np.abs(clean).mean())
    noisy = clean + np.float32(sigma) * rng.standard_normal(clean.shape, np.float32)
    return Problem(A, (noisy * np.float32(scale)).astype(np.float32), Gaussian(sigma * scale))


def units(data: Path, prior: Any) -> tuple[list[Case], list[dict[str, Any]]]:
    """Deviations under changes of unit, each the largest over its cases."""
    o = next(prior_tomography.objects(data))
    truth, spacing = halved(o.truth), 2 * o.spacing
    first = np.asarray(prior.restore(scan(truth, spacing, 1.0, 1.0)), np.float64)
    lengths = [
        apart(np.asarray(prior.restore(scan(truth, spacing, s, 1.0))) * s, first) for s in LENGTHS.values()
    ]
    scales = [
        apart(np.asarray(prior.restore(scan(truth, spacing, 1.0, 10.0**k)), np.float64) / 10.0**k, first)
        for k in DECADES
    ]
    hu = (halved(o.fine) / WATER - 1) * 1000
    noisy = prior_denoise.noisy(hu / 2000, "units", 25).astype(np.float32) * 2000
    reference = np.asarray(denoise(attenuation(noisy), prior=prior, unit="1/mm"), np.float64)
    through = attenuation(np.asarray(denoise(noisy, prior=prior, unit="HU")))
    lines = [
        law("units: restore in 1/mm, 1/cm, 1/m", TOLERANCE, lengths),
        law("units: restore over eight decades of raw scale", TOLERANCE, scales),
        law("units: denoise in HU and in 1/mm", TOLERANCE, [apart(through, reference)]),
    ]
    return [], lines


def law(what: str, bound: float, values: list[float], *, most: bool = True) -> dict[str, Any]:
    """A line that every value must obey: the worst is shown, with the number of cases."""
    worst = max(values) if most else min(values)
    unit = "" if most else "dB"
    return {**entry(what, bound, [worst], most=most, unit=unit), "n": len(values)}


# --- scans that need no prior ---


def full_kspace(data: Path) -> Iterator[tuple[Slice, float, Problem, Array]]:
    """Two measured magnitudes at three levels of noise: image, part of noise, problem, complex truth."""
    for s in list(mr_slices(data))[:2]:
        ny, nx = s.image.shape
        phase = np.exp(1j * (np.linspace(-1, 1, ny)[:, None] + np.linspace(0, 0.5, nx)))
        truth = (s.image * phase).astype(np.complex64)
        A = FFT((ny, nx)) @ CoilSensitivities(coil_maps(COILS, (ny, nx)))
        clean = A(truth)
        for part in FULL_NOISE:  # of the brightest pixel: the transform is orthonormal
            rng = np.random.default_rng(zlib.crc32(f"{s.name}/{part}".encode()))
            drawn = rng.standard_normal((2, *clean.shape), np.float32) * np.float32(part)
            yield s, part, Problem(A, clean + drawn[0] + 1j * drawn[1], Gaussian(part)), truth


def well_posed(data: Path, prior: Any, store: Store) -> tuple[list[Case], list[dict[str, Any]]]:
    """Every case, and the worst loss against the best of FBP and conjugate gradients."""
    cases = prior_tomography.well_posed(data, prior, store)
    for s, part, problem, truth in full_kspace(data):

        def score(x: Array, s: Slice = s) -> float:
            return psnr(np.abs(np.asarray(x)), s.image, data_range=1)

        case = Case("well-posed", f"MR {s.name}", f"full k-space, {100 * part:g} % noise")
        case.scores[SENSE] = store.get(
            f"well-posed/{case.image}/{case.setting}/SENSE",
            s.image,
            {"noise": part},
            lambda p=problem, f=score: best_cgls(p, f, 12),
        )["score"]
        if prior is not None:
            x, case.seconds[OURS] = clock(lambda p=problem: prior.restore(p))
            case.scores[OURS] = score(x)
            case.pictures = {"truth": s.image, "data": abs(truth), OURS: abs(np.asarray(x))}
        cases.append(case)
    if prior is None:
        return cases, []
    losses = [case.gain([name for name in case.scores if name != OURS]) for case in cases]
    text = "well-posed: worst against the best of FBP, CGLS, SENSE"
    return cases, [law(text, -0.1, losses, most=False)]


# --- null models ---


def nulls(data: Path, store: Store, peers: str | None) -> tuple[list[Case], list[dict[str, Any]]]:
    """Null models through the same tasks in the place of the prior; none may pass the weakest baseline."""
    cases, lines = [], []
    for name, model in NULLS.items():
        found = prior_tomography.sparse(data, model, store, 2)
        found += prior_mri.undersampled(data, model, store)[:1]
        found += prior_denoise.cases(data, model, store, peers, told=False, first=1)
        above = [
            c.scores[OURS] - min(v for k, v in c.scores.items() if not k.startswith(OURS)) for c in found
        ]
        lines.append({**law(f"{name}: above the weakest baseline", 0.01, above), "unit": "dB"})
        for case in found:
            case.setting, case.pictures = f"{name}: {case.task}, {case.setting}", {}
        cases += found
    return cases, lines
