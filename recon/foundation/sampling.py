"""Samples of the images that the data allow: a few steps from strong to weak noise, each led by the data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rayfold.operators.dispatch import namespace
from rayfold.recon.checks import nonnegative
from rayfold.recon.foundation.bands import spectrum_of
from rayfold.recon.foundation.convert import like, single, tensors
from rayfold.recon.foundation.frequencies import Frequencies
from rayfold.recon.foundation.prior import FoundationPrior
from rayfold.recon.foundation.steps import PhysicsSteps, State
from rayfold.recon.problem import Problem, estimate_noise

Array = Any
FIRST = 0.9  # noise at first, over the error of the first image: enough to move what the data do not see
LAST = 0.3  # noise at last, over the error that is left in the end
FRESH = 0.3  # part of the noise's power that is drawn anew between steps
INNER = 2  # conjugate gradient steps towards the data, in every step
DOUBT = 1.5  # what the network is expected to leave, over that of a reconstruction: it sees no change of data
AT_ONCE = 2**19  # pixels of the samples that are drawn together: bounds the memory
FLOOR = 1e-3  # of the largest spread: no pixel is certain


class Spread(NamedTuple):
    """Mean of posterior samples, and how far they scatter: the pair that `calibrate` takes.

    Attributes
    ----------
    mean : array, (..., *A.in_shape)
        Of the samples.
    spread : array, (..., *A.in_shape)
        Standard deviation of the samples, for complex ones root of the mean squared modulus of the deviation;
        real and positive, in the unit of the image.
    """

    mean: Array
    spread: Array


def sample(
    prior: FoundationPrior,
    problem: Problem,
    n: int = 8,
    *,
    steps: int = 16,
    seed: int = 0,
    strength: float = 1.0,
) -> Array:
    """Images that agree with the data and with the prior: samples of the posterior.

    From the prior's reconstruction with strong noise added, by alternation: the network's estimate d of the
    image at the level of the noise, ``z = argmin 1/2 |A z - y|^2_W + 1/2 (z - d)^H T^-1 (z - d)`` with T the
    error that the network leaves, and z with the weaker noise of the next step, a part of it drawn anew. The
    noise of every octave starts from the error of a linear reconstruction there, so that octaves which the
    data see well are hardly touched. Samples agree where the data decide, and differ where the prior does.

    Parameters
    ----------
    prior : FoundationPrior
        Network, told the noise by octave.
    problem : Problem
        As for `FoundationPrior.restore`.
    n : int
        Samples.
    steps : int
        From strong noise to weak; each costs three A, two back-projections and the network, per sample.
    seed : int
        Sample i depends on the seed and on i alone, and not on `n`.
    strength : float
        Factor of the levels that the network is told.

    Returns
    -------
    array, (n, ..., *A.in_shape)
        In the library, on the device and in the precision of the data.

    Raises
    ------
    ValueError
        If `n` or `steps` is less than 1, or as `FoundationPrior.restore`.

    References
    ----------
    Y. Zhu et al., "Denoising diffusion models for plug-and-play image restoration", CVPRW 2023 (DiffPIR).

    Examples
    --------
    >>> from rayfold.operators import Gaussian, Identity
    >>> y = np.random.default_rng(0).normal(5.0, 1.0, (32, 32)).astype(np.float32)
    >>> problem = Problem(Identity((32, 32)), y, Gaussian(1.0))
    >>> sample(FoundationPrior.load("small"), problem, 3, steps=4).shape
    (3, 32, 32)
    """
    nonnegative(strength=strength)
    for name, value in (("n", n), ("steps", steps)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be 1 or more")
    problem.check()
    if problem.noise is None:
        problem = problem._replace(noise=estimate_noise(problem))
    own = single(tensors(problem, prior.device))
    solver = prior.steps(strength)
    alone = replace(solver, network=prior.alone)  # what is drawn and added is noise and nothing else
    with torch.no_grad():
        state = first = solver.init(own)
        for _ in range(prior.schedule.steps):
            state = solver.step(own, state)
        levels = _annealed(FIRST * first.levels, LAST * state.levels, steps)
        few = max(1, AT_ONCE // max(1, state.x.numel()))
        parts = []
        for begin in range(0, n, few):
            which = range(begin, min(begin + few, n))
            parts.append(_chain(alone, state, levels, [np.random.default_rng((seed, i)) for i in which]))
        drawn = torch.cat(parts)
    return like(drawn, problem.y)


def spread_of(samples: Array) -> Spread:
    """Mean and spread of samples ``(n, ...)`` along their first axis.

    Nothing is certain: the spread is at least a thousandth of its largest value.

    Raises
    ------
    ValueError
        For fewer than two samples.

    Examples
    --------
    >>> found = spread_of(np.array([[1.0, 0.0], [3.0, 0.0]]))
    >>> found.mean, found.spread
    (array([2., 0.]), array([1.41421356, 0.00141421]))
    """
    n = samples.shape[0]
    if n < 2:
        raise ValueError(f"{n} sample has no spread; draw two or more")
    xp = namespace(samples)
    mean = samples.mean(axis=0) if not hasattr(xp, "mean") else xp.mean(samples, axis=0)
    spread = xp.sqrt(xp.sum(abs(samples - mean) ** 2, axis=0) / (n - 1))
    top = xp.max(spread)
    least = FLOOR * top
    return Spread(mean, xp.where(spread > least, spread, least + xp.zeros_like(spread)))


def _annealed(first: Tensor, last: Tensor, steps: int) -> list[Tensor]:
    """Levels ``(..., 4)`` for every step, in equal ratios, and never rising."""
    last = torch.minimum(last, first)
    ratio = (last / first.clamp(min=1e-30)).clamp(min=1e-6)
    return [first * ratio ** (t / max(steps - 1, 1)) for t in range(steps)]


def _chain(solver: PhysicsSteps, state: State, levels: list[Tensor], streams: list[Any]) -> Tensor:
    """Samples, one for each stream of random numbers."""
    task, shape = state.task, state.x.shape
    A, y = task.problem.A, task.problem.y
    last = solver.schedule.n - 1
    z = (state.x / state.scale).expand(len(streams), *shape)  # as the task and its levels: in its own unit
    x = z + _noise(solver, state, levels[0], streams)
    for t, now in enumerate(levels):
        told = (solver.strength * now)[..., None, None] * state.errors.map.unsqueeze(-3)
        z = solver.denoised(x, told)
        k = round(t / max(len(levels) - 1, 1) * last)
        left = DOUBT * solver.schedule.left(k, now, now, state.signal)
        power, wide = (spectrum_of(size, left) for size in (A.in_shape, task.grid.full))
        z = task.solve(z, y - A(z), power, wide, INNER)
        if t + 1 < len(levels):
            then = levels[t + 1]
            kept = _shaped(x - z, A.in_shape, then / now.clamp(min=1e-30))
            x = z + (1 - FRESH) ** 0.5 * kept + FRESH**0.5 * _noise(solver, state, then, streams)
    return z * state.scale


def _noise(solver: PhysicsSteps, state: State, levels: Tensor, streams: list[Any]) -> Tensor:
    """Noise of these levels, where the errors are, ``(streams, ..., *in_shape)``."""
    x = state.x
    parts = (2, *x.shape) if x.is_complex() else x.shape
    drawn = torch.from_numpy(np.stack([each.standard_normal(parts, np.float32) for each in streams])).to(
        x.device
    )
    white = torch.complex(drawn[:, 0], drawn[:, 1]) if x.is_complex() else drawn
    shape = state.task.problem.A.in_shape
    return _shaped(white.to(x.dtype), shape, levels) * state.errors.map


def _shaped(x: Tensor, shape: tuple[int, ...], gains: Tensor) -> Tensor:
    """Images ``(..., *shape)`` with a gain ``(..., 4)`` for every octave."""
    return Frequencies(shape, (0,) * len(shape)).filter(x, spectrum_of(shape, gains).sqrt())
