"""Strict bounds on what conjugate gradients have not found yet, from their own coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def upper_bound(alphas: Sequence[Floats], betas: Sequence[Floats], last: Floats, power: int) -> Floats:
    """Upper bound of ``|M^-power b|^2 / |b|^2`` for a matrix ``M >= 1``, by Gauss-Radau quadrature.

    The tridiagonal matrix of the steps, with one more node at 1, has the factors ``L D L^T`` with D the
    inverse step lengths and the square roots of `betas` in L. With the sign that makes all entries of its
    inverse positive nothing cancels, however large the condition number.

    Parameters
    ----------
    alphas, betas : sequence of ndarray
        Step lengths, and ratios of the squared residuals after and before each step, of conjugate gradients
        for M from zero with right-hand side b; an array holds independent problems.
    last : ndarray
        Length of the Gauss-Radau step that would come next.
    power : int
        Above 0.

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
    >>> last = (1 - alpha) / (1 - alpha + beta)
    >>> round(float(upper_bound([alpha], [beta], last, 1)), 12)  # exact: (1 + 1/4) / 2
    0.625
    """
    lengths = [*alphas, last]
    couplings = [np.sqrt(beta) for beta in betas]
    values: list[Floats] = [np.ones_like(last), *(np.zeros_like(last) for _ in betas)]
    for _ in range(power):
        for j, coupling in enumerate(couplings):
            values[j + 1] = values[j + 1] + coupling * values[j]
        values = [length * value for length, value in zip(lengths, values, strict=True)]
        for j, coupling in reversed(list(enumerate(couplings))):
            values[j] = values[j] + coupling * values[j + 1]
    return np.asarray(sum(value**2 for value in values))
