"""GRAPPA: missing k-space lines as sums of measured neighbours in all coils."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import is_traced, match, namespace
from rayfold.recon.mri.calibration_lines import calibration_region
from rayfold.recon.mri.grappa_weights import least_squares
from rayfold.recon.mri.sampling_patterns import (
    Pattern,
    accelerations,
    lines_and_columns,
    neighbours,
    patterns,
)

Array = Any


@dataclass(frozen=True, eq=False)
class Grappa:
    """Kernels that fill the missing lines of k-space; made by `calibrate`.

    ``y[c, k] = sum_{c', d} w[c, c', d] y[c', k + d]`` over the measured neighbours ``k + d``, with one set of
    weights for each arrangement of neighbours: on a regular grid one per place between its lines.

    Attributes
    ----------
    lines : ndarray of bool, ([nz,] ny)
        Measured lines.
    columns : ndarray of bool, (nx,)
        Measured samples of each of them.
    patterns : tuple of Pattern
        Arrangements of neighbours.
    weights : tuple of array, (..., coils, sources, width, coils)
        One for each pattern; of the library of the calibration data.
    readout : int
        Axis of k-space that was sampled in time, from the end.

    References
    ----------
    M. A. Griswold et al., Magn. Reson. Med. 47 (2002) 1202.
    """

    lines: npt.NDArray[np.bool_]
    columns: npt.NDArray[np.bool_]
    patterns: tuple[Pattern, ...]
    weights: tuple[Array, ...]
    readout: int = -1

    @classmethod
    def calibrate(
        cls,
        calibration: Array,
        sampled: npt.ArrayLike,
        shape: tuple[int, ...],
        *,
        lines: int | None = None,
        width: int = 5,
        regularisation: float = 0.003,
        readout: int = -1,
    ) -> Self:
        """Kernels from fully sampled calibration lines.

        Parameters
        ----------
        calibration : array, (..., coils, [nz,] ny, nx)
            A block of k-space without gaps, at the line spacing of the full grid; of any size.
        sampled : array_like of bool
            What is measured of the k-space to fill; broadcasts to `shape`.
        shape : tuple of int, ([nz,] ny, nx)
            k-space of one coil.
        lines : int, optional
            How many measured lines around a missing one a kernel uses, per axis; by default 4 where the block
            is at least twice as long as such a kernel, else 2.
        width : int
            How many samples along the readout, odd.
        regularisation : float
            Tikhonov's parameter over the largest singular value of the calibration matrix.
        readout : int
            Axis of k-space that was sampled in time, from the end.

        Raises
        ------
        ValueError
            If the calibration block is too small for the kernels, or the arguments do not fit each other.

        Examples
        --------
        >>> block = np.random.default_rng(0).normal(size=(2, 12, 12)) + 0j
        >>> kernels = Grappa.calibrate(block, (np.arange(16) % 2 == 0)[:, None], (16, 12), lines=2, width=3)
        >>> [w.shape for w in kernels.weights]
        [(2, 2, 3, 2)]
        """
        ndim = len(shape)
        _check(lines, width, regularisation, readout, ndim)
        if calibration.ndim < ndim + 1:
            raise ValueError(
                f"calibration has shape {tuple(calibration.shape)}; it must be (..., coils, {ndim} axes)"
            )
        mask = np.moveaxis(np.broadcast_to(_mask(sampled, shape), shape), readout, -1)
        measured, columns = lines_and_columns(mask, mask.shape)
        steps = accelerations(measured)
        block = namespace(calibration).moveaxis(calibration, readout, -1)
        reach = _reach(lines, steps, tuple(block.shape[-ndim:-1]))
        found = patterns(measured, reach, steps)
        weights = tuple(least_squares(block, p.offsets, width, regularisation) for p in found)
        return cls(measured, columns, found, weights, readout)

    @property
    def filled(self) -> npt.NDArray[np.bool_]:
        """What is measured or filled, ``([nz,] ny, nx)`` with the readout where it was."""
        lines = self.lines.copy()
        for pattern in self.patterns:
            lines.flat[pattern.targets] = True
        return np.moveaxis(lines[..., None] & self.columns, -1, self.readout)

    def __call__(self, kspace: Array) -> Array:
        """k-space with its missing lines filled; what is measured stays as it is, to the last bit.

        Parameters
        ----------
        kspace : array, (..., coils, [nz,] ny, nx)
            Of the library of the calibration data. The result is linear in it, and differentiable with
            respect to it and to the calibration.

        Raises
        ------
        ValueError
            If coils or shape differ from those of the calibration.
        """
        xp, n, nx = namespace(kspace), self.lines.size, self.columns.size
        ndim = self.lines.ndim + 1
        moved = xp.moveaxis(kspace, self.readout, -1) if kspace.ndim > ndim else kspace
        full = (*self.lines.shape, nx)
        if kspace.ndim <= ndim or tuple(moved.shape[-ndim:]) != full:
            raise ValueError(
                f"k-space has shape {tuple(kspace.shape)}; these kernels fill (..., coils, "
                f"{', '.join(map(str, np.moveaxis(np.empty(full), -1, self.readout).shape))})"
            )
        if not self.patterns:
            return kspace
        coils = self.weights[0].shape[-1]
        if moved.shape[-ndim - 1] != coils:
            raise ValueError(
                f"k-space has {moved.shape[-ndim - 1]} coils, the calibration {coils}; use the same receiver"
            )
        rows = xp.reshape(moved, (*moved.shape[:-ndim], n, nx))
        rows = xp.concat([rows, xp.zeros_like(rows[..., :1, :])], axis=-2)  # a line of zeros: outside
        half = self.weights[0].shape[-2] // 2
        edge = xp.zeros_like(rows[..., :half])
        padded = xp.concat([edge, rows, edge], axis=-1) if half else rows
        parts, place = [rows], np.full(n, n)
        measured = np.flatnonzero(self.lines.ravel())
        place[measured] = measured
        done = n + 1
        for pattern, weights in zip(self.patterns, self.weights, strict=True):
            parts.append(self._fill(padded, pattern, match(weights, kspace)))
            place[pattern.targets] = done + np.arange(pattern.targets.size)
            done += pattern.targets.size
        whole = xp.take(xp.concat(parts, axis=-2), _index(place, rows), axis=-2)
        return xp.moveaxis(xp.reshape(whole, tuple(moved.shape)), -1, self.readout)

    def _fill(self, padded: Array, pattern: Pattern, weights: Array) -> Array:
        """Missing lines of one pattern, ``(..., coils, targets, nx)``."""
        xp, nx = namespace(padded), self.columns.size
        near = neighbours(pattern, self.lines.shape)
        lead, coils = tuple(padded.shape[:-3]), padded.shape[-3]
        total: Array = 0.0
        for s in range(near.shape[1]):
            source = xp.take(padded, _index(near[:, s], padded), axis=-2)
            for j in range(weights.shape[-2]):
                flat = xp.reshape(source[..., j : j + nx], (*lead, coils, near.shape[0] * nx))
                total = total + weights[..., s, j, :] @ flat
        total = xp.reshape(total, (*total.shape[:-1], near.shape[0], nx))
        return total if self.columns.all() else total * match(self.columns.astype(np.float32), padded)


def grappa(
    kspace: Array,
    sampled: npt.ArrayLike,
    calibration: Array | None = None,
    *,
    calibration_sampled: npt.ArrayLike | None = None,
    lines: int | None = None,
    width: int = 5,
    regularisation: float = 0.003,
    readout: int = -1,
) -> Array:
    """Fill the missing lines of undersampled multi-coil k-space, 2D or 3D with one or two accelerated axes.

    Parameters
    ----------
    kspace : array, (..., coils, [nz,] ny, nx)
        Samples, of any library; values at places not measured are not used. Leading axes are independent
        scans with the same pattern. Whiten the coils first.
    sampled : array_like of bool
        What is measured; broadcasts to one coil's k-space. Regular or not, but in whole readout lines.
    calibration : array, (..., coils, [nz,] ny, nx), optional
        Lines measured for calibration, at the spacing of the full grid; by default the fully sampled block
        around the centre of k-space.
    calibration_sampled : array_like of bool, optional
        Where `calibration` was measured; everywhere by default.
    lines : int, optional
        How many measured lines around a missing one a kernel uses, per axis; by default 4 where the block
        is at least twice as long as such a kernel, else 2.
    width : int
        How many samples along the readout, odd.
    regularisation : float
        Tikhonov's parameter over the largest singular value of the calibration matrix.
    readout : int
        Axis of k-space that was sampled in time, from the end.

    Returns
    -------
    array
        k-space of the same shape; measured samples are unchanged. Lines farther from all measured ones than
        their spacing stay 0 (partial Fourier).

    Raises
    ------
    ValueError
        If there is no fully sampled block, it is too small for the kernels, or shapes and coils do not fit.

    Notes
    -----
    A regular pattern needs one kernel for each place between its lines. An irregular one needs a kernel for
    each arrangement of neighbours that occurs, which for random points in two accelerated axes are thousands:
    iterative methods suit those better.

    References
    ----------
    M. A. Griswold et al., Magn. Reson. Med. 47 (2002) 1202.

    Examples
    --------
    >>> coils = np.exp(1j * np.outer([-0.3, 0.3], np.arange(32)))[:, :, None]
    >>> kspace = coils * np.ones(16)
    >>> sampled = ((np.arange(32) % 2 == 0) | (abs(np.arange(32) - 16) < 6))[:, None]
    >>> full = grappa(kspace * sampled, sampled, lines=2)
    >>> bool(abs(full - kspace)[:, 2:-2, 2:-2].max() < 0.01)
    True
    """
    ndim = max(np.ndim(sampled), 2)
    if kspace.ndim < ndim + 1:
        raise ValueError(f"k-space has shape {tuple(kspace.shape)}; it must be (..., coils, {ndim} axes)")
    shape = tuple(kspace.shape[-ndim:])
    _check(lines, width, regularisation, readout, ndim)
    source, mask = (kspace, sampled) if calibration is None else (calibration, calibration_sampled)
    if calibration is not None:
        coils = [int(x.shape[-ndim - 1]) if x.ndim > ndim else 0 for x in (calibration, kspace)]
        if coils[0] != coils[1]:
            raise ValueError(
                f"calibration has {coils[0]} coils, k-space {coils[1]}; use a scan of the same receiver"
            )
    region = () if mask is None else calibration_region(np.asarray(mask), tuple(source.shape[-ndim:]))
    block = source[(..., *region)]
    kernels = Grappa.calibrate(
        block, sampled, shape, lines=lines, width=width, regularisation=regularisation, readout=readout
    )
    return kernels(kspace)


def _mask(sampled: npt.ArrayLike, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    mask = np.asarray(sampled).astype(bool)
    try:
        return np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(
            f"sampled has shape {mask.shape}, k-space {shape}; it must broadcast to k-space"
        ) from None


def _index(index: npt.NDArray[Any], x: Array) -> Array:
    xp = namespace(x)
    return xp.asarray(index) if is_traced(x) else xp.asarray(index, device=x.device)


def _reach(lines: int | None, steps: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """How far the neighbours are, so that there are `lines` of them on a regular axis."""
    fits = [2 * (3 * step + 1) <= n for step, n in zip(steps, sizes, strict=True)]
    counts = [(4 if long else 2) if lines is None else lines for long in fits]
    return tuple(max(n * step // 2 - 1, 0) for n, step in zip(counts, steps, strict=True))


def _check(lines: int | None, width: int, regularisation: float, readout: int, ndim: int) -> None:
    if lines is not None and lines < 1:
        raise ValueError(f"lines is {lines}; a kernel needs 1 or more, 4 is usual")
    if width < 1 or width % 2 == 0:
        raise ValueError(f"width is {width}; it must be odd: 3, 5 or 7 samples")
    if not (regularisation >= 0 and math.isfinite(regularisation)):
        raise ValueError(f"regularisation is {regularisation}; it must be 0 or more, 0.003 is usual")
    if not -ndim <= readout <= -1:
        raise ValueError(f"readout is {readout}; count the axis from the end, -{ndim} to -1")
