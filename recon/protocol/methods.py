"""Reconstructions by name for a comparison: the methods that users have, on simulated raw data."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from rayfold.operators import Volume
from rayfold.operators.dispatch import to_numpy
from rayfold.recon.problem import Problem
from rayfold.recon.protocol.ct import CTProtocol
from rayfold.recon.protocol.facts import unknown
from rayfold.recon.protocol.mri import MRIProtocol
from rayfold.recon.shipped import DEFAULT

Array = Any
CT_METHODS = ("fbp", "cgls", "sirt", "sart", "tv", "tgv", "wavelet", "pwls", "os-sqs", "prior")
MRI_STEPS = {"cgls": 12, "sense": 30, "wavelet": 40, "tv": 100, "prior": 0}
MRI_METHODS = tuple(MRI_STEPS)


def check_methods(modality: str, methods: tuple[str, ...]) -> None:
    """ValueError unless all of them are known, with the nearest."""
    known = CT_METHODS if modality == "CT" else MRI_METHODS
    for name in methods:
        if name not in known:
            raise ValueError(f"there is no {modality} method {name!r}; {unknown(name, known)}")
    if not methods:
        raise ValueError(f"no method is given; choose of {', '.join(known)}")


def reconstructed(
    p: CTProtocol | MRIProtocol,
    thing: Any,
    method: str,
    *,
    seed: int,
    volume: Volume,
    prior: str = DEFAULT,
    iterations: int | None = None,
) -> Array:
    """Simulate an object and reconstruct it.

    Parameters
    ----------
    p : CTProtocol or MRIProtocol
        How it is measured.
    thing
        As `Protocol.simulate` takes it.
    method : str
        CT: a method of `rayfold.recon.methods`, on the raw scan; MRI: "cgls", "sense", "wavelet" or "tv" with
        the coil maps known; "prior" for both: `FoundationPrior.restore`.
    seed : int
        Of the noise.
    volume : Volume
        Grid of the image; of CT square and centred.
    prior : str
        Size of the prior, or a file of weights.
    iterations : int, optional
        Of an iterative method.

    Returns
    -------
    ndarray, volume.shape
        1/mm for CT, complex for MRI.
    """
    if method == "prior":
        return _restored(p.problem(thing, seed, volume=volume), prior)
    if isinstance(p, CTProtocol):
        from rayfold.recon.methods import reconstruct_ct

        steps = None if method == "fbp" else iterations
        scan = p.simulate(thing, seed)
        made = reconstruct_ct(
            scan,
            method,  # type: ignore[arg-type]
            grid=volume.shape[0],
            spacing=volume.steps[0],
            iterations=steps,
        )
        return made.array
    return _solved(p, p.problem(thing, seed), method, iterations)


def _restored(problem: Problem, name: str) -> Array:
    return to_numpy(_loaded(name).restore(problem))


@lru_cache(maxsize=1)
def _loaded(name: str) -> Any:
    """Weights are read once for a comparison."""
    from rayfold.recon.foundation import FoundationPrior

    return FoundationPrior.load(name)


def _solved(p: MRIProtocol, problem: Problem, method: str, iterations: int | None) -> Array:
    """With the weights and steps that `rayfold.recon.mri` takes, and maps that are as bright everywhere.

    Loops are many times as bright at the rim as in the middle, and the brightest pixel sets the size of a
    step: the middle would take hundreds of them.
    """
    from rayfold.recon import priors, solvers
    from rayfold.recon.mri.combine import root_sum_of_squares
    from rayfold.recon.mri.methods import DAMPING, FACTOR, WAVELET
    from rayfold.recon.strength import noise_force

    maps = p.maps()
    light = root_sum_of_squares(maps)
    problem = problem._replace(A=p.operator(maps=maps / light))
    solver: Any
    if method == "cgls":
        solver = solvers.CGLS()
    elif method == "sense":
        # data in units of their noise, as a scan has them after whitening: the damping is of the operator
        solver, problem = solvers.CG(damping=DAMPING), problem._replace(noise=_unit(problem))
    else:
        strength = FACTOR[method] * noise_force(problem)
        solver = (
            solvers.FISTA(priors.CycleSpinning(priors.WaveletL1(strength, WAVELET, iterations=3)))
            if method == "wavelet"
            else solvers.PDHG(priors.TV(strength))
        )
    return np.asarray(solvers.run(solver, problem, iterations or MRI_STEPS[method]).x) / light


def _unit(problem: Problem) -> Any:
    """The noise with a standard deviation of 1 where something is measured."""
    from rayfold.operators.noise import Gaussian

    sigma: Any = problem.noise.sigma  # type: ignore[union-attr]
    return Gaussian(np.where(np.isfinite(sigma), np.float32(1), np.float32(np.inf)))
