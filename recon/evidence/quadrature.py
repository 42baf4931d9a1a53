"""Strict bounds on what conjugate gradients have not found yet, from their own coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def moments(alphas: Sequence[Floats], betas: Sequence[Floats], last: Floats) -> Floats:
    """``<b, M^-j b> / <b, b>`` for j = 1, 2, 3, 4, by Gauss or Gauss-Radau quadrature.

    The tridiagonal matrix of the steps has the factors ``L D L^T`` with D the inverse step lengths and the
    square roots of `betas` in L. With the sign that makes all entries of its inverse positive nothing
    cancels, however large the condition number.

    Parameters
    ----------
    alphas, betas : sequence of ndarray
        Step lengths, and ratios of the squared residuals after and before each step, of conjugate gradients
        for M from zero with right-hand side b; an array holds independent problems.
    last : ndarray
        Length of the Gauss-Radau step that would come next, for a matrix ``M >= 1``: upper bounds. Zero for
        the Gauss rule: lower bounds.

    Returns
    -------
    ndarray, (4, ...)
        The bounds.

    References
    ----------
    G. H. Golub and G. Meurant, Matrices, Moments and Quadrature (2010), chapters 6 and 7;
    G. Meurant and P. Tichy, Numer. Algorithms 62 (2013) 163, for the step.

    Examples
    --------
    >>> M, b = np.diag([1.0, 2.0]), np.array([1.0, 1.0])
    >>> alpha = (b @ b) / (b @ M @ b)
    >>> r = b - alpha * M @ b
    >>> beta = (r @ r) / (b @ b)
    >>> moments([alpha], [beta], (1 - alpha) / (1 - alpha + beta)).round(6)  # (1 + 2^-j) / 2
    array([0.75   , 0.625  , 0.5625 , 0.53125])
    """
    zero = np.zeros_like(last)
    lengths = [*alphas, last]
    couplings = [np.sqrt(beta) for beta in betas]
    first = [np.ones_like(last), *(zero for _ in betas)]
    once = _inverse(lengths, couplings, first)
    twice = _inverse(lengths, couplings, once)
    pairs = (first, once), (once, once), (once, twice), (twice, twice)
    return np.stack([np.asarray(sum(a * b for a, b in zip(*each, strict=True))) for each in pairs])


def _inverse(lengths: list[Floats], couplings: list[Floats], values: list[Floats]) -> list[Floats]:
    values = list(values)
    for j, coupling in enumerate(couplings):
        values[j + 1] = values[j + 1] + coupling * values[j]
    values = [length * value for length, value in zip(lengths, values, strict=True)]
    for j, coupling in reversed(list(enumerate(couplings))):
        values[j] = values[j] + coupling * values[j + 1]
    return values
