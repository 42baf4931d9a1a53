"""Fixed points and minimisers of the proximal solvers of the table, by dense linear algebra."""

from __future__ import annotations

from typing import Any

import numpy as np
from tests.recon.solvers.minimisers import Dense, Minimiser, smooth

from rayfold.operators import LinearOperator
from rayfold.operators.differences import Gradient
from rayfold.operators.wavelet import Wavelet

PART = 0.1  # of the second differences that `smoothing` takes away


def smoothing(x: Any, sigma: Any) -> Any:
    """A linear denoiser: symmetric, homogeneous, does not expand."""
    return x - PART * Gradient(tuple(x.shape[-2:])).gram(x)


def largest(d: Dense) -> float:
    """Bound of the largest curvature of the data term, as for operators without negative entries."""
    return float(d.hessian.sum(axis=1).max())


def _laplacian(d: Dense) -> np.ndarray:
    K = Gradient(d.shape).dense()
    return K.T @ K


def regularised(strength: float) -> Minimiser:
    """Of ``strength / 2 |gradient|^2``."""
    return lambda d: np.linalg.solve(d.hessian + strength * _laplacian(d), d.right)


def averaged(part: float) -> Minimiser:
    """Where averaged plug-and-play steps with `smoothing` stay."""

    def solve(d: Dense) -> np.ndarray:
        eye = np.eye(len(d.right))
        M = eye - part * PART * _laplacian(d)
        rate = 1 / largest(d)
        return np.linalg.solve(eye - M @ (eye - rate * d.hessian), rate * (M @ d.right))

    return solve


def enveloped(strength: float, share: float) -> Minimiser:
    """Of the Moreau envelope of total variation with a constant penalty: Huber's total variation."""

    def solve(d: Dense) -> np.ndarray:
        rho = share * largest(d) / Gradient(d.shape).norm_bound() ** 2
        return smooth(strength, strength / rho)(d)

    return solve


def sparse(strength: float, transform: str | None = None) -> Minimiser:
    """Of ``strength * sum |W x|`` (details only), from its dual: a fit within bounds."""

    def solve(d: Dense) -> np.ndarray:
        from scipy.optimize import lsq_linear

        K = np.eye(len(d.right))
        if transform is not None:
            W: LinearOperator = Wavelet(d.shape, transform)
            details = np.ones(W.out_shape)
            details[W.approximation] = 0
            K = W.dense()[details.ravel() > 0]
        # x = H^-1 (right - K.T p), |p| <= strength; p minimises |L^-1 (right - K.T p)|^2 with H = L L.T
        L = np.linalg.cholesky(d.hessian)
        fit = lsq_linear(
            np.linalg.solve(L, K.T),
            np.linalg.solve(L, d.right),
            (-strength, strength),
            method="bvls",
            tol=1e-15,
        )
        return np.linalg.solve(d.hessian, d.right - K.T @ fit.x)

    return solve
