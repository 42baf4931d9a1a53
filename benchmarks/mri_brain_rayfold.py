"""rayfold's side of the brain benchmark.

Images come at the brightness of the root sum of squares of the maps, which is 0 outside the head: there the
data say nothing, and a penalty would fill in what it likes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.mri_brain_search import QUICK, Method, Setting, Side, Task, Told
from rayfold.operators import FFT, CartesianMask, CoilSensitivities, Gaussian
from rayfold.recon import Problem, run
from rayfold.recon.kspace import KSpace
from rayfold.recon.mri.combine import root_sum_of_squares
from rayfold.recon.mri.espirit_maps import espirit, soft_mask
from rayfold.recon.mri.methods import reconstruct_kspace
from rayfold.recon.priors import TV, WaveletL1
from rayfold.recon.priors.cycle_spinning import CycleSpinning
from rayfold.recon.solvers.cg import CG
from rayfold.recon.solvers.fista import FISTA
from rayfold.recon.solvers.pdhg import PDHG
from rayfold.recon.strength import noise_force

Array = Any


def maps(task: Task, setting: Setting) -> tuple[Array, Array]:
    """ESPIRiT before cropping."""
    found = espirit(
        task.calibration,
        sampled=task.calibration_lines[:, None],
        width=setting["width"],
        kernel=setting["kernel"],
        threshold=setting["threshold"],
        crop=0,
    )
    return found.maps, found.eigenvalues


def cut(found: Array, values: Array, setting: Setting) -> Array:
    """What its options `crop` and `soft` do."""
    return (found * soft_mask(values, setting["crop"], setting["soft"])).astype(np.complex64)


def _problem(task: Task, sensitivities: Array) -> Problem:
    shape = task.kspace.shape[1:]
    mask = CartesianMask(shape, task.lines[:, None].astype(np.float32))
    return Problem(mask @ FFT(shape) @ CoilSensitivities(sensitivities), task.kspace, Gaussian(1.0))


def _run(solver: Any, problem: Problem, sensitivities: Array, n: int, told: Told) -> None:
    brightness = root_sum_of_squares(sensitivities)
    run(solver, problem, n, callback=lambda status: told(status.iteration, status.x * brightness))


def zero_filled(task: Task, sensitivities: Array, setting: Setting, told: Told) -> None:
    """Adjoint."""
    problem = _problem(task, sensitivities)
    told(0, problem.A.H(problem.y))


def sense(task: Task, sensitivities: Array, setting: Setting, told: Told) -> None:
    """CG-SENSE."""
    problem, n = _problem(task, sensitivities), setting["steps"]
    _run(CG(setting["damping"]), problem, sensitivities, n, told)


def wavelet(task: Task, sensitivities: Array, setting: Setting, told: Told) -> None:
    """L1-wavelet by FISTA, averaged over four shifts; `strength` in units of the force of the noise."""
    problem = _problem(task, sensitivities)
    prior = CycleSpinning(WaveletL1(setting["strength"] * noise_force(problem), setting["wavelet"]))
    _run(FISTA(prior), problem, sensitivities, setting["steps"], told)


def total_variation(task: Task, sensitivities: Array, setting: Setting, told: Told) -> None:
    """Total variation by PDHG; `strength` in units of the force of the noise."""
    problem = _problem(task, sensitivities)
    solver = PDHG(TV(setting["strength"] * noise_force(problem)))
    _run(solver, problem, sensitivities, setting["steps"], told)


def by_name(method: str) -> Callable[[Task], Array]:
    """What `rayfold recon --method` makes of the same data, with every default.

    The data are white already, and a noise scan that says so keeps them as they are.
    """

    def image(task: Task) -> Array:
        coils = len(task.kspace)
        noise = np.sqrt(2 * coils) * np.tile(np.eye(coils, dtype=np.complex64), 2)  # covariance 1
        scan = KSpace(
            task.kspace,
            ("coil", "ky", "kx"),
            sampled=task.lines[:, None],
            noise=noise,
            calibration=task.calibration,
            calibration_sampled=task.calibration_lines[:, None],
        )
        return np.asarray(reconstruct_kspace(scan, method).array)

    return image


STRENGTHS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.2)
WAVELETS = ("db4", "haar", "db2", "sym4", "sym8")
METHODS = {
    QUICK: Method(sense, {}, {"damping": 0.0, "steps": 8}),
    "zero-filled": Method(zero_filled, {}, {}, by_name("mvue")),
    "CG-SENSE": Method(
        sense,
        {"damping": (0.0, 0.003, 0.01, 0.02, 0.05, 0.1)},
        {"damping": 0.01, "steps": 30},
        by_name("sense"),
    ),
    "L1-wavelet": Method(
        wavelet,
        {"strength": STRENGTHS, "wavelet": WAVELETS},
        {"strength": 0.5, "wavelet": "sym4", "steps": 40},
        by_name("wavelet"),
    ),
    "TV": Method(total_variation, {"strength": STRENGTHS}, {"strength": 0.5, "steps": 60}, by_name("tv")),
}


def side(*, full: bool) -> Side:
    """rayfold, with maps from few lines or from all."""
    grid: dict[str, Any] = {
        "width": (24, 40),
        "kernel": (None, 8) if full else (None, (3, 6), (3, 8)),
        "threshold": (0.01, 0.015, 0.02),
    }
    more = {"kernel": (5, None, 8, 10)} if full else {}  # None: 6
    return Side(
        "rayfold",
        maps,
        cut,
        grid,
        {"crop": (0.9, 0.93, 0.95), "soft": (0.0, 0.05)},
        {
            "crop": (0.8, 0.85, 0.88, 0.9, 0.92, 0.93, 0.94, 0.95, 0.97),
            "width": (16, 24, 32, 40, 48, 64),
            "threshold": (0.005, 0.007, 0.01, 0.0125, 0.015, 0.0175, 0.02, 0.025, 0.03),
            **more,
        },
        {"width": 40, "kernel": None, "threshold": 0.015, "crop": 0.9, "soft": 0.0},
        METHODS,
    )
