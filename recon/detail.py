"""Detail that was blurred or binned away, filled in by a denoiser at falling noise levels."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import to_numpy
from rayfold.recon.problem import Problem
from rayfold.recon.solvers import CGLS, run

Array = npt.NDArray[Any]
STEPS = 8
INNER = 6  # conjugate gradients of a data step; two are exact for binning and for cut-off k-space
COLOUR = (1.0, 0.5, 0.25, 0.12)  # error of interpolation by octave: what is missing is fine
FALL = 0.1  # last level over the first
FIRST = 2.0  # first level over the rms of what is missing: edges miss more than the mean


def fill_in(problem: Problem, prior: Any, start: Array, missing: float, *, strength: float = 1.0) -> Array:
    """Images whose detail the data have lost, with detail that a denoiser takes for likely.

    Plug-and-play half-quadratic splitting: ``v = denoise(z, s_k)``, then
    ``z = argmin |A z - y|^2 / sigma^2 + |z - v|^2 / s_k^2`` while s_k falls from what is missing to the noise
    of the data. The data step is by conjugate gradients without a preconditioner: the operators of resolution
    have very few different singular values.

    Parameters
    ----------
    problem : Problem
        With Gaussian noise of one standard deviation; leading axes of the data are separate images.
    prior : object
        With ``denoise(x, sigma, bands=...)``, as `FoundationPrior`.
    start : ndarray, (..., *A.in_shape)
        An interpolated image.
    missing : float
        Root mean square of the detail that `start` lacks.
    strength : float
        Factor of the levels that the prior is told.

    Returns
    -------
    ndarray, (..., *A.in_shape)

    References
    ----------
    K. Zhang et al., IEEE Trans. Pattern Anal. Mach. Intell. 44 (2022) 6360, a denoiser at falling levels.

    Examples
    --------
    >>> from rayfold.operators import Downsample, Gaussian
    >>> class Flat:
    ...     def denoise(self, x, sigma, *, bands):
    ...         return x - 0.5 * (x - x.mean((-2, -1), keepdims=True))
    >>> y = np.array([[[1.0, 3.0]]])
    >>> fill_in(Problem(Downsample((2, 4), 2), y, Gaussian(1e-3)), Flat(), np.zeros((1, 2, 4)), 1.0).round(2)
    array([[[1., 1., 3., 3.],
            [1., 1., 3., 3.]]])
    """
    A, noise = problem.A, problem.noise
    sigma = float(noise.sigma)  # type: ignore[union-attr]
    wide = sigma * math.sqrt(
        math.prod(A.in_shape) / math.prod(A.out_shape)
    )  # the same density on fine pixels
    first = max(FIRST * missing, wide)
    last = max(FALL * first, wide)
    z = start
    for k in range(STEPS):
        level = first * (last / first) ** (k / (STEPS - 1))
        bands = np.array([max(level * c, wide) for c in COLOUR])
        v = to_numpy(prior.denoise(z, float(strength * level), bands=bands / level)).astype(start.dtype)
        rest = problem._replace(y=problem.y - A(v))
        z = v + run(CGLS(damping=1 / level**2), rest, INNER).x
    return z
