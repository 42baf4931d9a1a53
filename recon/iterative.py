"""The iterative methods by name: solver, prior, weight and start that suit a scan, chosen from its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfold.operators import FanBeam, LinearOperator, ParallelBeam
from rayfold.operators.dispatch import match, namespace, to_numpy
from rayfold.operators.noise import Noise, PoissonTransmission
from rayfold.recon.data import Scan
from rayfold.recon.problem import Problem, estimate_photons
from rayfold.recon.strength import noise_force

Array = Any
# method: steps when none are given; a step of the subset methods is one pass over all views
ITERATIVE = {
    "cgls": 12,
    "sirt": 100,
    "sart": 8,
    "tv": 200,
    "tgv": 300,
    "wavelet": 200,
    "pwls": 20,
    "os-sqs": 20,
}
REGULARISED = ("tv", "tgv", "wavelet", "pwls", "os-sqs")
# weight of each penalty over the rms pull of the noise on a pixel; benchmarks/automatic_strength.py
FACTOR = {"tv": 0.5, "tgv": 0.5, "wavelet": 0.5, "pwls": 0.5, "os-sqs": 0.5}
CORNER = 0.01  # of the brightest pixels: gradients below it are smoothed, those above are edges


@dataclass(frozen=True)
class Recipe:
    """A solver, the problem it solves, its start, and what the user should know."""

    solver: Any
    problem: Problem
    x0: Array | None
    notes: tuple[str, ...]
    strength: float | None = None


def scan_noise(scan: Scan) -> Noise:
    """Photon noise of a prepared scan: as stated, or estimated from its data."""
    if scan.photons:
        return PoissonTransmission(float(scan.photons))
    return estimate_photons(scan.data)


def dose_note(noise: Noise) -> list[str]:
    """What to say of a dose that was estimated."""
    if not noise.estimated:
        return []
    return [f"the file states no dose; {_photons(noise)} photons per pixel were estimated from the data"]


def recipe(
    method: str,
    A: LinearOperator,
    y: Array,
    scan: Scan,
    *,
    strength: float | None = None,
    nonnegative: bool = True,
) -> Recipe:
    """What `method` does with the data `y` of some slices of a prepared scan.

    Parameters
    ----------
    method : str
        One of `ITERATIVE`.
    A : LinearOperator
        Projector onto the scan's rays.
    y : array, (..., *A.out_shape)
        Line integrals.
    scan : Scan
        Prepared; tells the noise and the geometry.
    strength : float, optional
        Weight of the penalty in units of the data term over those of the image; by default found from the
        noise, with a note of its value.
    nonnegative : bool
        Keep the image at or above 0 where the method can.

    Raises
    ------
    ValueError
        If the method takes no strength and one is given.
    """
    from rayfold.recon import solvers

    low = 0.0 if nonnegative else None
    if method not in REGULARISED and strength is not None:
        raise ValueError(
            f"{method} has no strength; its number of iterations decides how smooth the image is"
        )
    if method == "cgls":
        return Recipe(solvers.CGLS(), Problem(A, y), None, ())
    if method == "sirt":
        return Recipe(solvers.SIRT(lower=low), Problem(A, y), None, ())
    if method == "sart":
        return Recipe(solvers.SART(subsets=_subsets(scan), lower=low), Problem(A, y), None, ())
    noise = scan_noise(scan)
    problem = Problem(A, y, noise).quadratic() if method != "os-sqs" else Problem(A, y, noise)
    notes = dose_note(noise)
    x0 = _start(A, y, scan, low)
    if strength is None:
        strength = FACTOR[method] * noise_force(problem)
        notes.append(f"penalty of strength {strength:.4g}, from the noise")
    return Recipe(_regularised(method, strength, low, x0, scan), problem, x0, tuple(notes), strength)


def _regularised(method: str, strength: float, low: float | None, x0: Array, scan: Scan) -> Any:
    from rayfold.recon import priors, solvers

    bounds = () if low is None else (priors.NonNegative(),)
    if method in ("pwls", "os-sqs"):
        bright = float(np.quantile(np.abs(to_numpy(x0)), 0.99))
        penalty = priors.HuberTV(strength, CORNER * bright if bright > 0 else 1.0)
        return solvers.OSSQS(
            penalty,
            subsets=_subsets(scan),
            likelihood="poisson" if method == "os-sqs" else "wls",
            lower=low,
        )
    made = getattr(priors, {"tv": "TV", "tgv": "TGV", "wavelet": "WaveletL1"}[method])
    return solvers.PDHG((made(strength), *bounds))


def _subsets(scan: Scan) -> int:
    """Subsets of at least eight views: fewer do not see the whole image."""
    return max(1, min(10, scan.n_views // 8))


def _start(A: LinearOperator, y: Array, scan: Scan, low: float | None) -> Array:
    """Filtered back-projection where there is one, some conjugate gradients elsewhere."""
    from rayfold.operators import fbp_operator
    from rayfold.operators.xray import XRay
    from rayfold.recon.solvers import CGLS, run

    if isinstance(scan.beam, ParallelBeam | FanBeam) and isinstance(A, XRay):
        x = fbp_operator(A.volume, scan.beam, window="hann")[0](y)
    else:
        x = run(CGLS(), Problem(A, y), 5).x
    x = match(x, y) if type(x) is not type(y) else x
    return x if low is None else namespace(x).clip(x, low, None)


def _photons(noise: Noise) -> str:
    return f"{noise.photons:.3g}" if isinstance(noise, PoissonTransmission) else "unknown"
