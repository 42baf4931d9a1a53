"""Objectives of the table solved with dense matrices and other people's algorithms."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import lsq_linear, minimize

from rayfold.operators.differences import Gradient
from rayfold.recon.problem import Problem

Minimiser = Callable[["Dense"], np.ndarray]


@dataclass(frozen=True)
class Dense:
    """A problem as a matrix, flat data and flat weights (inverse variances)."""

    M: np.ndarray
    y: np.ndarray
    w: np.ndarray
    shape: tuple[int, ...]
    noise: Any

    @classmethod
    def of(cls, problem: Problem) -> Dense:
        w = problem.weigh(np.ones_like(problem.y)).ravel()
        return cls(problem.A.dense(), problem.y.ravel(), w, problem.A.in_shape, problem.noise)

    @property
    def hessian(self) -> np.ndarray:
        return (self.M.T * self.w) @ self.M

    @property
    def right(self) -> np.ndarray:
        return self.M.T @ (self.w * self.y)


def least_squares(d: Dense) -> np.ndarray:
    """Weighted least squares."""
    root = np.sqrt(d.w)
    return np.linalg.lstsq(root[:, None] * d.M, root * d.y, rcond=None)[0]


def tikhonov(damping: float) -> Minimiser:
    return lambda d: np.linalg.solve(d.hessian + damping * np.eye(len(d.right)), d.right)


def bounded(lower: float = -np.inf, upper: float = np.inf) -> Minimiser:
    """Weighted least squares within bounds, by an active-set method."""

    def solve(d: Dense) -> np.ndarray:
        root = np.sqrt(d.w)
        found = lsq_linear(root[:, None] * d.M, root * d.y, (lower, upper), method="bvls", tol=1e-14)
        return found.x

    return solve


def sirt(lower: float = -np.inf, upper: float = np.inf) -> Minimiser:
    """What SIRT descends to: least squares with weights over row sums."""

    def solve(d: Dense) -> np.ndarray:
        rows = d.M.sum(axis=1)
        known = rows > 1e-5 * rows.max()
        w = d.w * np.divide(1, rows, out=np.zeros_like(rows), where=known)
        return bounded(lower, upper)(Dense(d.M, d.y, w, d.shape, d.noise))

    return solve


def _shrink(z: np.ndarray, threshold: float) -> np.ndarray:
    length = np.sqrt((z**2).sum(axis=0))
    return z * np.maximum(1 - threshold / np.maximum(length, threshold), 0)


def tv(strength: float, lower: float = -np.inf, rho: float = 30.0) -> Minimiser:
    """Isotropic total variation by the alternating direction method with exact inner solves."""

    def solve(d: Dense) -> np.ndarray:
        K = Gradient(d.shape).dense()
        n = K.shape[1]
        inverse = np.linalg.inv(d.hessian + rho * (K.T @ K + np.eye(n)))
        z, u, v, s = np.zeros(2 * n), np.zeros(2 * n), np.zeros(n), np.zeros(n)
        for _ in range(20000):
            x = inverse @ (d.right + rho * (K.T @ (z - u) + v - s))
            Kx = K @ x
            z_new = _shrink((Kx + u).reshape(2, n), strength / rho).ravel()
            v_new = np.maximum(x + s, lower)
            u, s = u + Kx - z_new, s + x - v_new
            moved = max(
                abs(z_new - z).max(), abs(v_new - v).max(), abs(Kx - z_new).max(), abs(x - v_new).max()
            )
            z, v = z_new, v_new
            if moved < 1e-13 * abs(x).max():
                break
        return v

    return solve


def huber(strength: float, corner: float, x: np.ndarray, K: np.ndarray) -> tuple[float, np.ndarray]:
    """Huber penalty of the lengths of gradients, and its derivative."""
    z = (K @ x).reshape(2, -1)
    length = np.sqrt((z**2).sum(axis=0))
    value = np.where(length < corner, length**2 / (2 * corner), length - corner / 2).sum()
    return strength * value, strength * (K.T @ (z / np.maximum(length, corner)).ravel())


def smooth(
    strength: float = 0.0, corner: float = 1.0, lower: float | None = None, *, likelihood: bool = False
) -> Minimiser:
    """Data term or likelihood plus a Huber penalty; a trust-region or bounded method from SciPy.

    Fails unless the optimality conditions hold at what it returns.
    """

    def solve(d: Dense) -> np.ndarray:
        K = Gradient(d.shape).dense()

        def both(x: np.ndarray) -> tuple[float, np.ndarray]:
            p = d.M @ x
            if likelihood:
                value, slope = -d.noise.log_likelihood(p, d.y).sum(), -d.noise.gradient(p, d.y)
            else:
                value, slope = (d.w * (p - d.y) ** 2).sum() / 2, d.w * (p - d.y)
            penalty, down = huber(strength, corner, x, K)
            return value + penalty, d.M.T @ slope + down

        x = np.maximum(least_squares(d), 0.1 * abs(least_squares(d)).max())
        options = {"ftol": 0, "gtol": 0, "maxiter": 5000, "maxfun": 20000, "maxcor": 40}
        for _ in range(4):
            bounds = None if lower is None else [(lower, None)] * len(x)
            x = minimize(both, x, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x
        g = both(x)[1]
        free = np.ones(len(x), bool) if lower is None else x > lower
        scale = abs(both(np.full_like(x, abs(x).max()))[1]).max()
        assert abs(g[free]).max() < 1e-7 * scale and (g[~free] >= -1e-7 * scale).all()
        return x

    return solve
