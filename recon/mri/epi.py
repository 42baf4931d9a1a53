"""Echo-planar imaging: the ghost of lines measured to and fro, and samples on the ramps of the readout."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import match, namespace, to_numpy
from rayfold.operators.fourier import fft, ifft
from rayfold.recon.io.regrid import regridding

Array = Any


class GhostPhase(NamedTuple):
    """Phase of the reversed lines over that of the others, across the readout: one pair per leading index.

    Attributes
    ----------
    constant : array, (...)
        At the centre of the field of view, in rad.
    slope : array, (...)
        Per pixel, in rad: ``2 pi / n`` times the shift of k-space in samples.
    """

    constant: Array
    slope: Array


def ghost_phase(reference: Array, reversed_lines: npt.ArrayLike) -> GhostPhase:
    """Phase between lines of both directions, from lines measured without phase encoding.

    Every line is compared with the mean of the one before and the one after, in which the phase that grows
    from line to line (off-resonance) cancels. Coils are summed with their natural weight; the slope comes
    from neighbouring pixels (so that it never wraps), then both numbers from a least-squares line.

    Parameters
    ----------
    reference : array, (..., coils, lines, nx)
        k-space of two or more lines on the readout grid, stored along the readout direction, in the order of
        measurement.
    reversed_lines : array_like of bool, (lines,)
        Which were measured against the readout direction; they must alternate. Three or more lines are needed
        where the field is off resonance.

    Raises
    ------
    ValueError
        If there is only one line, or the directions do not alternate.

    References
    ----------
    H. Bruder et al., Magn. Reson. Med. 23 (1992) 311; C. B. Ahn, Z. H. Cho, IEEE Trans. Med. Imaging 6
    (1987) 32, for the slope.

    Examples
    --------
    >>> line = fft(np.hanning(32)) * np.exp(0.3j)
    >>> found = ghost_phase(np.stack([fft(np.hanning(32)), line])[None], [False, True])
    >>> round(float(found.constant), 6), round(abs(float(found.slope)), 6)
    (0.3, 0.0)
    """
    back = np.asarray(reversed_lines).astype(bool)
    n = int(reference.shape[-2]) if reference.ndim >= 3 else 0
    if n < 2 or back.shape != (n,) or not (back[1:] != back[:-1]).all():
        raise ValueError(
            f"reference of shape {tuple(reference.shape)} with {back.tolist()} reversed; give (..., coils, "
            "lines, nx) of two or more lines that alternate"
        )
    xp = namespace(reference)
    profiles = ifft(reference, (-1,))
    if n == 2:
        one, other, back = profiles[..., :1, :], profiles[..., 1:, :], back[1:]
    else:
        one, other, back = (
            (profiles[..., :-2, :] + profiles[..., 2:, :]) / 2,
            profiles[..., 1:-1, :],
            back[1:-1],
        )
    product = other * xp.conj(one)
    flip = match(back.astype(float)[:, None], xp.real(product))
    product = flip * product + (1 - flip) * xp.conj(product)
    product = xp.sum(product, axis=(-3, -2))
    nx = int(product.shape[-1])
    x = match(np.arange(nx) - float(nx // 2), xp.real(product))
    slope = _angle(xp.sum(product[..., 1:] * xp.conj(product[..., :-1]), axis=-1))
    product = product * _turn(-slope[..., None] * x)
    constant = _angle(xp.sum(product, axis=-1))
    rest = _angle(product * _turn(-constant[..., None]))  # small now: no wraps, where there is signal
    w = abs(product)
    w0, w1, w2 = (xp.sum(w * x**p, axis=-1) for p in (0, 1, 2))
    r0, r1 = xp.sum(w * rest, axis=-1), xp.sum(w * x * rest, axis=-1)
    det = w0 * w2 - w1 * w1
    good = det > 0
    det = xp.where(good, det, xp.ones_like(det))
    more = xp.where(good, (w0 * r1 - w1 * r0) / det, xp.zeros_like(det))
    level = xp.where(good, (w2 * r0 - w1 * r1) / det, xp.zeros_like(det))
    return GhostPhase(constant + level, slope + more)


def correct_ghost(kspace: Array, reversed_lines: npt.ArrayLike, phase: GhostPhase) -> Array:
    """Lines of both directions brought together: each gets half of the phase between them.

    Parameters
    ----------
    kspace : array, (..., coils, ny, nx)
        Lines stored along the readout direction.
    reversed_lines : array_like of bool, (ny,)
        Which were measured against it.
    phase : GhostPhase
        One for all, or one for each leading index before the coils.

    Returns
    -------
    array
        k-space of the same shape; linear in `kspace`, and differentiable with respect to both.

    Raises
    ------
    ValueError
        If there is not one flag per line.

    Examples
    --------
    >>> k = np.ones((1, 4, 8), complex)
    >>> back = np.arange(4) % 2 == 1
    >>> wrong = k * np.where(back, np.exp(0.2j), np.exp(-0.2j))[:, None]
    >>> bool(np.allclose(correct_ghost(wrong, back, GhostPhase(np.array(0.4), np.array(0.0))), k))
    True
    """
    back = np.asarray(reversed_lines).astype(bool)
    if kspace.ndim < 3 or back.shape != (kspace.shape[-2],):
        raise ValueError(
            f"{back.shape} flags for k-space of shape {tuple(kspace.shape)}; give (..., coils, ny, nx) and "
            "one flag per line"
        )
    xp, nx = namespace(kspace), int(kspace.shape[-1])
    constant, slope = (match(_as_array(v, kspace), kspace) for v in phase)
    x = match(np.arange(nx) - float(nx // 2), kspace)
    turn = xp.real(constant)[..., None] + xp.real(slope)[..., None] * xp.real(x)
    sign = xp.real(match(np.where(back, -0.5, 0.5)[:, None], kspace))
    turn = _turn(sign * turn[..., None, None, :])
    return fft(ifft(kspace, (-1,)) * turn, (-1,))


def ghost_phase_blind(
    kspace: Array, reversed_lines: npt.ArrayLike, *, largest_shift: float = 2.0
) -> GhostPhase:
    """The phase between lines of both directions without reference lines: the image of least entropy.

    A ghost spreads the signal over more pixels. Half a turn more of the constant moves the image by half the
    field of view with the same entropy: the answer is within a quarter turn.

    Parameters
    ----------
    kspace : array, (coils, ny, nx)
        One image.
    reversed_lines : array_like of bool, (ny,)
        Which lines were measured against the readout direction.
    largest_shift : float
        Largest shift of k-space between the directions, in samples.

    References
    ----------
    S. Clare, Proc. ISMRM 11 (2003) 1041.

    Examples
    --------
    >>> image, back = np.outer(np.hanning(16), np.hanning(16)), np.arange(16) % 2 == 1
    >>> wrong = fft(image)[None] * np.where(back, np.exp(0.4j), 1)[:, None]
    >>> round(float(ghost_phase_blind(wrong, back).constant), 2)
    0.4
    """
    from scipy.optimize import minimize

    k = to_numpy(kspace).astype(np.complex128)
    if k.ndim != 3 or k.shape[-1] < 2:
        raise ValueError(f"k-space has shape {k.shape}; give one image, (coils, ny, nx)")
    back = np.asarray(reversed_lines).astype(bool)
    hybrid = {flag: ifft(k * (back == flag)[:, None], (-2, -1)) for flag in (False, True)}
    x = np.arange(k.shape[-1]) - k.shape[-1] // 2
    step = 2 * math.pi / k.shape[-1]

    def entropy(p: npt.ArrayLike) -> float:
        a, b = np.asarray(p)
        size = np.sqrt(
            (abs(hybrid[False] + hybrid[True] * np.exp(-1j * (a + b * step * x))) ** 2).sum(axis=0)
        )
        size = size / np.linalg.norm(size)
        return float(-(size * np.log(size + 1e-30)).sum())

    shifts = np.arange(-largest_shift, largest_shift + 0.1, 0.25)
    angles = np.arange(-4, 4) * math.pi / 8
    start = min(((a, b) for b in shifts for a in angles), key=entropy)
    best = minimize(entropy, start, method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-10}).x
    constant = (best[0] + math.pi / 2) % math.pi - math.pi / 2
    return GhostPhase(np.asarray(constant), np.asarray(best[1] * step))


def regrid_readout(data: Array, positions: npt.ArrayLike, nx: int) -> Array:
    """Samples at any places of a readout on the Cartesian grid: least squares over `nx` pixels.

    An object of `nx` pixels has the samples ``y_j = nx^(-1/2) sum_x m_x exp(-i k_j x)``; the profile m that
    fits them best is found without interpolation, and transformed. For ramp sampling, and for lines measured
    to and fro: positions that run backwards need no flip.

    Parameters
    ----------
    data : array, (..., lines, samples)
        Lines as measured.
    positions : array_like, (samples,) or (lines, samples)
        Places along the readout in rad/voxel, within [-pi, pi].
    nx : int
        Pixels, and samples returned.

    Returns
    -------
    array, (..., lines, nx)
        k-space on the grid, orthonormal scale; linear in `data`.

    Raises
    ------
    ValueError
        If positions do not fit the data or leave [-pi, pi].

    Examples
    --------
    >>> k = np.pi * np.sin(np.linspace(-1.5, 1.5, 40))
    >>> profile = np.hanning(16)
    >>> y = np.exp(-1j * np.outer(k, np.arange(16) - 8)) @ profile / 4
    >>> bool(np.allclose(ifft(regrid_readout(y[None], k, 16)), profile, atol=1e-6))
    True
    """
    places = np.atleast_2d(np.asarray(positions, np.float64))
    shape = tuple(data.shape)
    if len(shape) < 2 or places.shape not in ((1, shape[-1]), shape[-2:]):
        raise ValueError(
            f"positions have shape {np.shape(positions)}, data {shape}; give (samples,) or (lines, samples)"
        )
    most = float(abs(places).max(initial=0.0))
    if not most <= math.pi * (1 + 1e-2):
        raise ValueError(f"positions reach {most:.4g} rad/voxel; they must lie within [-pi, pi]")
    xp = namespace(data)
    rows, which = np.unique(places, axis=0, return_inverse=True)
    matrices = np.stack([regridding(row * (nx / (2 * math.pi)), nx) for row in rows])
    if len(rows) == 1:
        return data @ match(matrices[0].T, data)
    lines = match(matrices[which.ravel()], data)
    return (lines @ xp.expand_dims(data, axis=-1))[..., 0]


def _turn(angle: Array) -> Array:
    """``exp(i angle)``."""
    xp = namespace(angle)
    return xp.cos(angle) + 1j * xp.sin(angle)


def _angle(z: Array) -> Array:
    xp = namespace(z)
    return xp.atan2(xp.imag(z), xp.real(z))


def _as_array(value: Any, like: Array) -> Array:
    return value if hasattr(value, "dtype") else np.asarray(float(value))
