"""Receiver noise: its covariance between coils, and data in which it is white."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfold.operators.dispatch import is_traced, match, namespace, to_numpy
from rayfold.operators.noise import Gaussian

Array = Any
OUTER = 0.2  # share of the measured positions that is farthest from the centre of k-space


@dataclass(frozen=True, eq=False)
class Whitening:
    """What makes the noise of the coils independent and of unit variance.

    Attributes
    ----------
    covariance : array, (coils, coils)
        Of the noise, per real and imaginary part: half of ``E[n n^H]``.
    matrix : array, (coils, coils)
        Whitening matrix W with ``W covariance W^H = 1``, lower triangular.
    estimated : bool
        The covariance was found from the data themselves, not from a noise scan.
    """

    covariance: Array
    matrix: Array
    estimated: bool

    @property
    def noise(self) -> Gaussian:
        """The noise model of whitened data: standard deviation 1 per real and imaginary part."""
        return Gaussian(1.0, estimated=self.estimated)

    def __call__(self, data: Array, axis: int = 0) -> Array:
        """Whiten data along their coil axis.

        Parameters
        ----------
        data : array, (..., coils, ...)
            K-space or images of any library.
        axis : int
            The coil axis.

        Raises
        ------
        ValueError
            If the data have another number of coils.
        """
        return apply_matrix(self.matrix, data, axis)


def apply_matrix(matrix: Array, data: Array, axis: int) -> Array:
    """A matrix (out, coils) applied to the coil axis of data, in their library and precision."""
    xp = namespace(data)
    if data.shape[axis] != matrix.shape[1]:
        raise ValueError(
            f"axis {axis} of data of shape {tuple(data.shape)} has {data.shape[axis]} coils, "
            f"the matrix is for {matrix.shape[1]}; check which axis holds the coils"
        )
    mixed = xp.tensordot(match(matrix, data), data, axes=([1], [axis % data.ndim]))
    return xp.moveaxis(mixed, 0, axis)


def noise_covariance(noise: Array) -> Array:
    """Covariance between coils of a noise scan, per real and imaginary part.

    Parameters
    ----------
    noise : array, (coils, ...)
        Samples without signal; at least twice as many per coil as there are coils.

    Returns
    -------
    array, (coils, coils)
        ``sum_i n_i n_i^H / (2 N)``, Hermitian.

    Raises
    ------
    ValueError
        If there are too few samples, or they hold NaN.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> n = rng.standard_normal((2, 9999)) + 1j * rng.standard_normal((2, 9999))
    >>> abs(noise_covariance(n)).round(1)
    array([[1., 0.],
           [0., 1.]])
    """
    xp = namespace(noise)
    coils = int(noise.shape[0])
    flat = xp.reshape(noise, (coils, -1))
    if flat.shape[1] < 2 * coils:
        raise ValueError(
            f"{flat.shape[1]} noise samples are too few for {coils} coils; at least {2 * coils} are needed"
        )
    if not is_traced(noise) and not np.isfinite(to_numpy(noise)).all():
        raise ValueError("the noise samples hold NaN or infinite values; remove those first")
    top = xp.max(xp.abs(flat))
    if is_traced(noise) or bool(top > 0):
        flat = flat / top  # the squares of receivers' small numbers would lose digits
    return (flat @ xp.conj(xp.matrix_transpose(flat))) * (top**2 / (2 * flat.shape[1]))


def whitening(
    kspace: Array | None = None,
    noise: Array | None = None,
    *,
    sampled: Array | None = None,
    ndim: int | None = None,
    measured: bool = False,
) -> Whitening:
    """Find what whitens the coils: from a noise scan, or from the periphery of k-space without one.

    Parameters
    ----------
    kspace : array, (coils, ..., ny, nx), optional
        Needed without a noise scan; signal in its periphery is recognised by its strength and left out.
    noise : array, (coils, ...), optional
        Noise scan of the same receiver.
    sampled : array of bool, optional
        Which positions of k-space were measured, broadcasting to its last axes; by default those that are
        not 0 in every coil.
    ndim : int, optional
        Number of axes of k-space; all but the first by default.
    measured : bool
        Only a noise scan will do.

    Returns
    -------
    Whitening
        `estimated` if there was no noise scan.

    Raises
    ------
    ValueError
        If a noise scan was asked for and there is none, coils differ, samples are too few, or the covariance
        is singular.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> n = rng.standard_normal((2, 64, 64)) + 1j * rng.standard_normal((2, 64, 64))
    >>> n[1] += n[0]
    >>> white = whitening(n)
    >>> white.estimated, bool(abs(noise_covariance(white(n)) - np.eye(2)).max() < 0.1)
    (True, True)
    """
    if noise is None:
        if measured:
            raise ValueError("a noise scan was asked for and there is none; allow an estimate from k-space")
        if kspace is None:
            raise ValueError("whitening needs a noise scan or k-space, and got neither")
        covariance = _peripheral(kspace, sampled, kspace.ndim - 1 if ndim is None else ndim)
    else:
        if kspace is not None and kspace.shape[0] != noise.shape[0]:
            raise ValueError(
                f"the noise scan has {noise.shape[0]} coils, k-space {kspace.shape[0]}; both need the same"
            )
        covariance = noise_covariance(noise)
    return Whitening(covariance, _inverse_root(covariance), noise is None)


def _inverse_root(covariance: Array) -> Array:
    """Lower triangular W with ``W C W^H = 1``, from the correlations so that units do not matter."""
    xp = namespace(covariance)
    spread = xp.sqrt(xp.real(xp.linalg.diagonal(covariance)))
    if not is_traced(covariance):
        dead = np.flatnonzero(~(to_numpy(spread) > 0))
        if len(dead):
            raise ValueError(f"coil {dead[0]} has no noise at all; leave coils that were off out of the data")
        scaled = to_numpy(covariance) / np.multiply.outer(to_numpy(spread), to_numpy(spread))
        if np.linalg.eigvalsh(scaled)[0] < 1e-6:
            raise ValueError("two coils hold the same noise; compress the coils first")
    scale = xp.astype(spread, covariance.dtype)
    correlation = covariance / (scale[:, None] * scale[None, :])
    return xp.linalg.inv(xp.linalg.cholesky(correlation)) / scale[None, :]


def _peripheral(kspace: Array, sampled: Array | None, ndim: int) -> Array:
    """Covariance of the outermost measured positions, in the library and precision of k-space."""
    y = to_numpy(kspace)
    coils, shape = y.shape[0], y.shape[y.ndim - ndim :]
    radius = np.zeros(shape)
    for axis, n in enumerate(shape):
        position = (np.arange(n) - n // 2) / max(n / 2, 1)
        radius = radius + (position**2).reshape((-1,) + (1,) * (ndim - 1 - axis))
    radius = np.broadcast_to(radius, y.shape[1:])
    there = (y != 0).any(axis=0) & np.isfinite(y).all(axis=0)
    if sampled is not None:
        there &= np.broadcast_to(to_numpy(sampled).astype(bool), y.shape[1:])
    if there.sum() < 20 * coils:
        raise ValueError(
            f"{there.sum()} measured positions are too few to estimate the noise of {coils} coils; "
            "pass a noise scan"
        )
    share = max(OUTER, 20 * coils / there.sum())
    outer = y[:, there & (radius >= np.quantile(radius[there], 1 - share))].astype(np.complex128)
    return match(_robust(outer), kspace)


def _robust(samples: Array) -> Array:
    """Covariance per part of the samples that are noise: signal is far from the centre of the others.

    Concentration steps on the half of lowest Mahalanobis distance, then all within the 97.5 % quantile; the
    loss of the tails is undone by the ratio of chi-squared distributions (Croux and Haesbroeck, J. Multivar.
    Anal. 71 (1999) 161).
    """
    from scipy.stats import chi2

    freedom = 2 * samples.shape[0]

    def of(chosen: Array, share: float) -> Array:
        cut = chi2.ppf(share, freedom)
        kept = samples[:, chosen]
        return kept @ kept.conj().T / (2 * kept.shape[1]) * (share / chi2.cdf(cut, freedom + 2))

    def distance(covariance: Array) -> Array:
        inverse = np.linalg.pinv(covariance, hermitian=True)
        return np.einsum("ci,ci->i", samples.conj(), inverse @ samples).real

    power = abs(samples) ** 2
    energy = (power / np.maximum(np.median(power, axis=1, keepdims=True), 1e-300)).sum(axis=0)
    for _ in range(10):
        covariance = of(energy <= np.median(energy), 0.5)
        energy = distance(covariance)
    for _ in range(2):
        covariance = of(energy <= chi2.ppf(0.975, freedom), 0.975)
        energy = distance(covariance)
    return covariance
