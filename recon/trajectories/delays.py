"""Delays between the gradient axes and the receiver, found where the spokes of a radial scan cross."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.trajectories.spokes import check_counts

Array = npt.NDArray[np.float64]
Data = npt.NDArray[np.complexfloating[Any, Any]]
LEAST_ANGLE = math.radians(30)  # flatter crossings say little
PAIRS = 400
REFINEMENTS = 12
NOISE = 1e-3  # energy, of the strongest in the search, below which likeness proves nothing


def estimate_delays(kspace: Data, trajectory: Array, *, search: float = 4.0) -> Array:
    """Gradient delays of a radial scan from where its spokes cross (RING).

    After Rosenzweig, Holme and Uecker (Magn Reson Med 81:1898, 2019). A spoke in the direction n is measured
    at ``k + S n`` in steps of its samples, with a symmetric matrix S: the ellipse of delays of axes that are
    slow by different times, in any oblique plane. Two spokes measure the same value where they cross. The
    crossing is sought as the offsets (p, q) along both at which all coils agree, ``min sum_c |y_c(p) -
    z_c(q)|^2``; each pair then gives two equations ``p a + S a = q b + S b``, solved for the three entries of
    S by least squares, pairs that contradict the others counting less.

    Parameters
    ----------
    kspace : ndarray of complex, (coils, spokes, samples)
        Neighbouring spokes in time, of one slice; a few are enough. Readouts oversampled twice are the most
        exact.
    trajectory : ndarray, (spokes, samples, 2)
        As planned: straight, through the centre, in rad/voxel, (ky, kx).
    search : float
        Largest offset that is looked for, in samples.

    Returns
    -------
    ndarray, (2, 2)
        S in samples, rows and columns (ky, kx); times the dwell it is the delay in ms.

    Raises
    ------
    ValueError
        If shapes do not fit, spokes do not pass the centre, or none cross at 30 degrees or more.

    Examples
    --------
    >>> from rayfold.recon.trajectories import correct_trajectory, radial
    >>> k = radial(13, 64, golden=1)
    >>> true = correct_trajectory(k, np.array([[0.4, 0.1], [0.1, -0.2]]))
    >>> blobs = [(6.0, 3.0, -5.0), (4.0, -6.0, 2.0), (5.0, 1.0, 8.0), (7.0, -3.0, -3.0)]
    >>> coils = [np.exp(-(w**2) * (true**2).sum(-1) / 2 - 1j * true @ np.array([y, x])) for w, y, x in blobs]
    >>> estimate_delays(np.stack(coils), k).round(2)
    array([[ 0.4,  0.1],
           [ 0.1, -0.2]])
    """
    k, y = np.asarray(trajectory, np.float64), np.asarray(kspace)
    if k.ndim != 3 or k.shape[-1] != 2 or y.ndim != 3 or y.shape[1:] != k.shape[:2]:
        raise ValueError(
            f"k-space of {y.shape} and trajectory of {k.shape}; "
            "give (coils, spokes, samples) and (spokes, samples, 2)"
        )
    if not np.isfinite(y).all() or not np.any(y):
        raise ValueError("k-space holds NaN or infinity or nothing but zeros; give the measured spokes only")
    check_counts(spokes=len(k), samples=k.shape[1])
    direction, zero = _spokes(k)
    pairs = _pairs(direction)
    lines = _Lines(y, zero, search)
    found = [lines.crossing(a, b) for a, b in pairs]
    use = [i for i, hit in enumerate(found) if hit is not None]
    if not use:
        raise ValueError(f"no crossing lies within {search:g} samples; raise search or check the trajectory")
    a, b = direction[[pairs[i][0] for i in use]], direction[[pairs[i][1] for i in use]]
    offsets = np.array([found[i] for i in use], np.float64)
    return _solve(a, b, offsets)


def correct_trajectory(trajectory: Array, delays: Array) -> Array:
    """The trajectory that was measured: every sample moved by ``S n`` steps, n the direction of its spoke.

    Parameters
    ----------
    trajectory : ndarray, (spokes, samples, 2)
        As planned, in rad/voxel, (ky, kx).
    delays : ndarray, (2, 2)
        S in samples, from `estimate_delays`.

    Returns
    -------
    ndarray, (spokes, samples, 2)
        In rad/voxel.

    Raises
    ------
    ValueError
        If shapes do not fit.

    Examples
    --------
    >>> k = np.stack([np.zeros(4), np.arange(-2, 2) * np.pi / 2], axis=-1)[None]
    >>> (correct_trajectory(k, np.diag([0.0, 0.5])) / np.pi)[0, :, 1]
    array([-0.75, -0.25,  0.25,  0.75])
    """
    k, s = np.asarray(trajectory, np.float64), np.asarray(delays, np.float64)
    if k.ndim != 3 or k.shape[-1] != 2 or s.shape != (2, 2):
        raise ValueError(
            f"trajectory of {k.shape} and delays of {s.shape}; give (spokes, samples, 2) and (2, 2)"
        )
    step = (k[:, -1:] - k[:, :1]) / max(k.shape[1] - 1, 1)
    return np.asarray(k + step @ s.T, np.float64)


def _spokes(k: Array) -> tuple[Array, Array]:
    """Direction of every spoke and the sample number at which it passes the centre."""
    step = (k[:, -1] - k[:, 0]) / (k.shape[1] - 1)
    d = np.linalg.norm(step, axis=1)
    direction = step / d[:, None]
    zero = -np.einsum("sd,sd->s", k[:, 0], direction) / d
    ideal = k[:, :1] + step[:, None] * np.arange(k.shape[1])[:, None]
    aside = np.abs(k[:, 0] + zero[:, None] * step).max()
    if max(float(np.abs(k - ideal).max()), float(aside)) > 0.05 * d.min():
        raise ValueError(
            "the spokes are bent or miss the centre; give the planned trajectory, before any correction"
        )
    return direction, zero


def _pairs(direction: Array) -> list[tuple[int, int]]:
    first, second = np.triu_indices(len(direction), 1)
    cross = np.abs(direction[first, 0] * direction[second, 1] - direction[first, 1] * direction[second, 0])
    good = np.flatnonzero(cross >= math.sin(LEAST_ANGLE))
    if not good.size:
        raise ValueError("no two spokes cross at 30 degrees or more; give spokes of more directions")
    some = good[:: math.ceil(good.size / PAIRS)]
    return list(zip(first[some].tolist(), second[some].tolist(), strict=True))


class _Lines:
    """Spokes that can be read between their samples, by the Fourier series of each."""

    def __init__(self, y: Data, zero: Array, search: float) -> None:
        n = y.shape[-1]
        self.zero, self.search = zero, search
        self.frequency = 2 * np.pi * np.fft.fftfreq(n)
        self.projection = np.fft.fft(y.astype(np.complex128), axis=-1) / n
        self.grid = np.arange(-math.ceil(search * 4), math.ceil(search * 4) + 1) / 4
        self.coarse = [self.at(s, self.grid) for s in range(y.shape[1])]

    def at(self, spoke: int, offset: Array, order: int = 0) -> npt.NDArray[np.complex128]:
        """Values, (coils, offsets), or a derivative, at offsets from the centre in samples."""
        turn = np.exp(1j * self.frequency[:, None] * (self.zero[spoke] + offset))
        return np.asarray((self.projection[:, spoke] * (1j * self.frequency) ** order) @ turn, np.complex128)

    def crossing(self, a: int, b: int) -> tuple[float, float] | None:
        """Offsets along both spokes where all coils agree, None if that is outside of the search."""
        one, two = self.coarse[a], self.coarse[b]
        square = np.sum(np.abs(one) ** 2, 0)[:, None] + np.sum(np.abs(two) ** 2, 0)
        distance = square - 2 * np.real(one.conj().T @ two)
        # relative to the signal: far from the centre all lines agree that there is little
        unlike = distance / (square + NOISE * float(square.max()))
        i, j = np.unravel_index(int(np.argmin(unlike)), unlike.shape)
        x = np.array([self.grid[i], self.grid[j]])
        for _ in range(REFINEMENTS):  # Gauss and Newton
            gap = (self.at(a, x[:1]) - self.at(b, x[1:]))[:, 0]
            slope = np.concatenate([self.at(a, x[:1], 1), -self.at(b, x[1:], 1)], axis=1)
            step = np.linalg.lstsq(
                np.concatenate([slope.real, slope.imag]), -np.concatenate([gap.real, gap.imag]), rcond=1e-9
            )[0]
            x = x + np.clip(step, -0.5, 0.5)
            if np.abs(step).max() < 1e-6:
                break
        return (float(x[0]), float(x[1])) if np.abs(x).max() <= self.search + 0.5 else None


def _solve(a: Array, b: Array, offsets: Array) -> Array:
    """Least squares for the three entries of S, repeated with less weight for what does not fit."""
    change = a - b  # S (a - b) = q b - p a
    right = offsets[:, 1:] * b - offsets[:, :1] * a
    zero = np.zeros(len(a))
    rows = np.stack(
        [np.stack([change[:, 0], change[:, 1], zero], -1), np.stack([zero, change[:, 0], change[:, 1]], -1)],
        axis=1,
    )
    weight = np.ones(len(a))
    for _ in range(10):
        root = np.sqrt(weight)[:, None]
        yy, yx, xx = np.linalg.lstsq(
            (rows * root[..., None]).reshape(-1, 3), (right * root).ravel(), rcond=None
        )[0]
        miss = np.linalg.norm(rows @ np.array([yy, yx, xx]) - right, axis=1)
        spread = max(1.5 * float(np.median(miss)), 1e-9)
        weight = 1 / (1 + (miss / spread) ** 2) ** 2
    return np.array([[yy, yx], [yx, xx]], np.float64)
