"""What is judged: the prior, methods that must fail, and the baselines that do not need weights."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.prior_cases import golden
from rayfold.operators import XRay, fbp_operator
from rayfold.recon import Problem, run
from rayfold.recon.metrics import psnr
from rayfold.recon.priors import TV, NonNegative
from rayfold.recon.solvers import CGLS
from rayfold.recon.solvers.pdhg import PDHG
from rayfold.recon.strength import noise_force

Array = Any
Score = Callable[[Array], float]


class Constant:
    """Null model: an image without structure, at the brightness that the data tell."""

    def denoise(self, x: Array, sigma: Any) -> Array:
        return np.full_like(x, x.mean())

    def restore(self, problem: Problem, bounds: Any = None, thorough: bool = False) -> Array:
        A = problem.A
        flat = np.ones(A.in_shape, problem.y.dtype)
        seen = A(flat)
        return flat * (np.vdot(seen, problem.y) / np.vdot(seen, seen))


class BackProjection:
    """Null model: the adjoint of the operator, at the brightness that the data tell; noise stays as it is."""

    def denoise(self, x: Array, sigma: Any) -> Array:
        return x.copy()

    def restore(self, problem: Problem, bounds: Any = None, thorough: bool = False) -> Array:
        x = problem.A.H(problem.y)
        seen = problem.A(x)
        return x * (np.vdot(seen, problem.y) / np.vdot(seen, seen))


NULLS = {"constant image": Constant(), "unfiltered back-projection": BackProjection()}


def load(weights: str) -> Any:
    """The prior: "small", "base" or a file."""
    from rayfold.recon.foundation import FoundationPrior

    return FoundationPrior.load(weights)


def clock(call: Callable[[], Array], runs: int = 1) -> tuple[Array, float]:
    """Result and the fewest seconds of some runs, those of the processor (all threads together)."""
    times = []
    for _ in range(runs):
        start = time.process_time()
        x = call()
        times.append(time.process_time() - start)
    return x, min(times)


# --- denoising ---


def tv_denoised(noisy: Array, weight: float) -> Array:
    """Total variation at a weight."""
    return TV(weight, iterations=120).prox(noisy, 1.0)


def tv_denoising(noisy: Array, sigma: float, score: Score) -> dict[str, Any]:
    """Total variation with the weight that scores best."""
    best, value = golden(lambda w: score(tv_denoised(noisy, w)), 0.2 * sigma, 4 * sigma)
    _, seconds = clock(lambda: tv_denoised(noisy, best))
    return {"score": value, "weight": best, "seconds": seconds}


def bm3d_denoised(peers: str, noisy: Array, sigma: float) -> tuple[Array, float]:
    """BM3D in another interpreter: image and seconds of the call alone."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder) / "given.npz", Path(folder) / "made.npz"
        np.savez(given, image=noisy, sigma=sigma)
        script = Path(__file__).with_name("prior_bm3d.py")
        subprocess.run([peers, str(script), str(given), str(made)], check=True)
        content = np.load(made)
        return content["image"].astype(np.float32), float(content["seconds"])


# --- reconstruction ---


def total_variation(problem: Problem, weight: float, x0: Array, n: int, *, positive: bool) -> Array:
    """Total variation at a weight, `n` steps from a start; CT images are kept at or above 0."""
    return run(PDHG((TV(weight), NonNegative()) if positive else TV(weight)), problem, n, x0=x0).x


def tv_reconstruction(
    problem: Problem,
    score: Score,
    x0: Array,
    *,
    steps: int,
    positive: bool,
    low: float = 0.03,
    high: float = 3.0,
) -> dict[str, Any]:
    """Total variation with the weight that scores best; every weight starts from the image of the last."""
    problem = problem.quadratic()
    force = noise_force(problem)
    last = x0

    def value(weight: float) -> float:
        nonlocal last
        last = total_variation(problem, weight * force, last, steps, positive=positive)
        return score(last)

    best, _ = golden(value, low, high)
    x, seconds = clock(lambda: total_variation(problem, best * force, last, 2 * steps, positive=positive))
    return {"score": score(x), "weight": best, "force": force, "seconds": seconds}


def best_fbp(A: XRay, y: Array, score: Score) -> dict[str, Any]:
    """Filtered back-projection with the Hann cut-off that scores best, or the plain ramp."""

    def made(cutoff: float) -> Array:
        return fbp_operator(A.volume, A.beam, window="hann", cutoff=cutoff)[0](y)  # type: ignore[arg-type]

    best, value = golden(lambda cutoff: score(made(cutoff)), 0.15, 1.0, 7)
    plain = score(fbp_operator(A.volume, A.beam)[0](y))  # type: ignore[arg-type]
    return {"score": max(value, plain), "cutoff": best if value > plain else None}


def best_cgls(problem: Problem, score: Score, n: int = 40) -> dict[str, Any]:
    """Conjugate gradients, stopped where they score best; with the weights of the noise, if any."""
    found: list[float] = []
    plain = problem._replace(noise=None)
    run(CGLS(), plain, n, callback=lambda status: found.append(score(status.x)) or None)  # type: ignore[func-returns-value]
    best = int(np.argmax(found))
    return {"score": found[best], "iteration": best + 1}


def hu_psnr(truth: Array, water: float) -> Score:
    """PSNR in dB with a range of 2000 HU, of images in attenuation."""
    return lambda x: psnr(np.asarray(x).real, truth, data_range=2 * water)
