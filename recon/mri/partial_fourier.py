"""Partial Fourier: the part of k-space that was left out, from its mirror image and a smooth phase."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import match, namespace
from rayfold.operators.fourier import fft, ifft

Array = Any
# Part of the band where homodyne weights are 1. A ramp all through it, the other choice of Noll, adds the
# derivative of the phase to the image: on a measured brain the magnitude is 1.8 times as wrong.
FLAT = 0.75
TAPER = 0.4  # outer part of the band where the window of the phase falls to 0
RELAXATION = 1.9  # of the projections onto a phase: below 2; 1 would halve the error per iteration at best


def homodyne(
    kspace: Array, sampled: npt.ArrayLike, *, axis: int = -2, axes: tuple[int, ...] = (-2, -1)
) -> Array:
    """Image from k-space measured on more than one half of an axis, by homodyne detection.

    ``x = p Re(conj(p) F^-1 (w y))`` with ``w(k) + w(-k) = 2``: 1 in the middle of the band measured on both
    sides of the centre, going to 2 on one side and 0 on the other at its edges; p is the phase of the image
    of that band alone. What has another phase than p is lost: where the phase is not smooth use `pocs`.

    Parameters
    ----------
    kspace : array, (..., n, ...)
        Samples, any number of coils in front; values at places not measured are not used.
    sampled : array_like of bool, (n,)
        Which positions of `axis` were measured: one run that holds the centre ``n // 2``.
    axis : int
        The partial axis, from the end.
    axes : tuple of int
        All Fourier axes of the image, from the end.

    Returns
    -------
    array
        Complex image of every coil, its phase p included: coils are combined as usual.

    Raises
    ------
    ValueError
        If `sampled` is not one run around the centre, or `axis` is not one of `axes`.

    References
    ----------
    D. C. Noll, D. G. Nishimura, A. Macovski, IEEE Trans. Med. Imaging 10 (1991) 154.

    Examples
    --------
    >>> image = np.outer(np.hanning(16), np.hanning(8))
    >>> found = homodyne(fft(image), np.arange(16) < 10)
    >>> bool(abs(found - image).max() < 1e-3)
    True
    """
    run, low, high = _band(kspace, sampled, axis, axes)
    n = run.size
    k = np.arange(n) - n // 2
    half = min(n // 2 - low, high - n // 2)
    if low + high == 2 * (n // 2) or run.all():
        weights = run.astype(float)  # as much on both sides: nothing to make up for
    else:
        up = 1.0 if high - n // 2 > half else -1.0
        flat = FLAT * (half + 1)
        rise = np.clip((abs(k) - flat) / (half + 1 - flat), 0, 1)
        weights = run * (1 + up * np.sign(k) * rise)
    if n % 2 == 0 and run[0]:
        weights[0] = 1  # -n/2 is its own mirror image
    kspace = _only(kspace, run, axis)
    phase = _phase(kspace, half, axis, axes)
    return _along(ifft(kspace * _vector(weights, axis, kspace), axes), phase)


def pocs(
    kspace: Array,
    sampled: npt.ArrayLike,
    *,
    axis: int = -2,
    axes: tuple[int, ...] = (-2, -1),
    iterations: int = 15,
) -> Array:
    """k-space with its missing half filled so that the image has a smooth phase: projections in turn.

    The image is projected onto those with the phase of the band measured on both sides, k-space onto those
    that hold the data; the former are over-relaxed, which is faster and converges too.

    Parameters
    ----------
    kspace, sampled, axis, axes
        As for `homodyne`.
    iterations : int
        Projections of each kind.

    Returns
    -------
    array
        k-space of the same shape; what was measured is unchanged.

    Raises
    ------
    ValueError
        If `sampled` is not one run around the centre, or `axis` is not one of `axes`.

    References
    ----------
    E. M. Haacke, E. D. Lindskog, W. Lin, J. Magn. Reson. 92 (1991) 126.

    Examples
    --------
    >>> image = np.outer(np.hanning(16), np.hanning(8))
    >>> full = pocs(fft(image), np.arange(16) < 10)
    >>> bool(abs(ifft(full) - image).max() < 1e-12)
    True
    """
    run, low, high = _band(kspace, sampled, axis, axes)
    if iterations < 1:
        raise ValueError(f"iterations is {iterations}; give 1 or more")
    if run.all():
        return kspace
    n = run.size
    kspace = _only(kspace, run, axis)
    phase = _phase(kspace, min(n // 2 - low, high - n // 2), axis, axes)
    missing = _vector(~run, axis, kspace)
    full = kspace
    for _ in range(iterations):
        image = ifft(full, axes)
        full = kspace + missing * fft(RELAXATION * _along(image, phase) + (1 - RELAXATION) * image, axes)
    return full


def _band(
    kspace: Array, sampled: npt.ArrayLike, axis: int, axes: tuple[int, ...]
) -> tuple[npt.NDArray[np.bool_], int, int]:
    """The measured positions, the first of them and the last."""
    if axis not in axes:
        raise ValueError(f"axis is {axis}, the Fourier axes {axes}; it must be one of them, from the end")
    run, n = np.asarray(sampled).astype(bool), int(kspace.shape[axis])
    if run.shape != (n,):
        raise ValueError(f"sampled has shape {run.shape}; axis {axis} of k-space has {n} positions")
    seen = np.flatnonzero(run)
    low, high = (int(seen[0]), int(seen[-1])) if seen.size else (0, -1)
    if not low < n // 2 < high or seen.size != high - low + 1:
        raise ValueError(
            f"sampled holds {seen.size} of {n} positions, not one run beyond both sides of {n // 2}; "
            "fill gaps first (GRAPPA)"
        )
    return run, low, high


def _phase(kspace: Array, half: int, axis: int, axes: tuple[int, ...]) -> Array:
    """Unit numbers: the phase of the image of the band of this half width, under a Tukey window."""
    n = int(kspace.shape[axis])
    inward = np.clip((1 - abs(np.arange(n) - n // 2) / (half + 1)) / TAPER, 0, 1)
    window = np.sin(0.5 * np.pi * inward) ** 2
    coarse = ifft(kspace * _vector(window, axis, kspace), axes)
    xp = namespace(coarse)
    size = abs(coarse)
    some = size > 0
    return xp.where(some, coarse / xp.where(some, size, xp.ones_like(size)), xp.ones_like(coarse))


def _along(image: Array, phase: Array) -> Array:
    """The part of an image that has a phase: its orthogonal projection."""
    xp = namespace(image)
    return phase * xp.real(xp.conj(phase) * image)


def _only(kspace: Array, run: npt.NDArray[np.bool_], axis: int) -> Array:
    xp = namespace(kspace)
    keep = _vector(run, axis, kspace)
    return xp.where(xp.broadcast_to(xp.real(keep) > 0, tuple(kspace.shape)), kspace, xp.zeros_like(kspace))


def _vector(values: npt.NDArray[Any], axis: int, x: Array) -> Array:
    return match(values.astype(float).reshape(-1, *(1,) * (-axis - 1)), x)
