"""The weight of a penalty, found from the noise: nobody should have to guess it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rayfold.operators.dispatch import match, namespace, to_numpy
from rayfold.recon.problem import Problem, estimate_noise

Array = Any


def noise_force(problem: Problem) -> float:
    """How strongly noise alone pulls at a pixel: the rms of ``A.H W n`` for noise n of the problem's model.

    A penalty must outweigh it to suppress noise, and hardly more than that: the natural unit of `strength`.
    One A.H. Without a noise model the noise is estimated and W is the identity, as in the data term.

    Examples
    --------
    >>> from rayfold.operators import Gaussian, Identity
    >>> y = np.zeros((64, 64))
    >>> round(noise_force(Problem(Identity((64, 64)), y, Gaussian(0.5))), 1)
    2.0
    """
    A, y = problem.A, problem.y
    lead = y.ndim - len(A.out_shape)
    noise = estimate_noise(problem) if problem.noise is None else problem.noise
    drawn = np.random.default_rng(0).standard_normal(tuple(y.shape))
    if "complex" in str(y.dtype):
        drawn = drawn + 1j * np.random.default_rng(1).standard_normal(tuple(y.shape))
    unit = match(drawn, y)
    if getattr(noise, "covariance", None) is None:
        w = noise.weights(y)
        root = math.sqrt(w) if isinstance(w, float) else namespace(y).sqrt(w)
        pull = A.H(unit * root if problem.noise is not None else unit / root)
    else:
        pull = A.H(noise.weigh(noise.sample(namespace(y).zeros_like(y), 0), y))
    force = abs(to_numpy(pull).astype(complex if "complex" in str(pull.dtype) else float)) ** 2
    axes = tuple(range(lead, force.ndim))
    seen = force > 0
    return float(np.median(np.sqrt(force.sum(axis=axes) / np.maximum(seen.sum(axis=axes), 1))))
