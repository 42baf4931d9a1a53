"""Coil compression: fewer virtual coils that hold nearly all of the signal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfold.operators.dispatch import is_traced, match, namespace, to_numpy
from rayfold.operators.fourier import fft, ifft
from rayfold.recon.mri.whiten import apply_matrix

Array = Any


@dataclass(frozen=True, eq=False)
class Compression:
    """From coils to virtual coils, by orthonormal rows: white noise stays white.

    Attributes
    ----------
    matrix : array, (n, coils), or (nx, n, coils) where it varies along the readout
        Rows are virtual coils, the strongest first.
    readout : int or None
        Axis of the data, counted from the end, along which the matrix varies.
    """

    matrix: Array
    readout: int | None = None

    def __call__(self, kspace: Array, axis: int = 0) -> Array:
        """Compress k-space along its coil axis.

        Parameters
        ----------
        kspace : array, (..., coils, ...)
            Of the same coils, and as long a readout, as the matrix was made from.
        axis : int
            The coil axis.

        Raises
        ------
        ValueError
            If coils or readout differ.
        """
        if self.readout is None:
            return apply_matrix(self.matrix, kspace, axis)
        xp = namespace(kspace)
        if kspace.shape[self.readout] != self.matrix.shape[0] or kspace.shape[axis] != self.matrix.shape[2]:
            raise ValueError(
                f"data of shape {tuple(kspace.shape)} do not fit a compression of {self.matrix.shape[2]} "
                f"coils along a readout of {self.matrix.shape[0]}; both need the same axes"
            )
        along = self.readout % kspace.ndim
        hybrid = xp.moveaxis(ifft(kspace, (along,)), (along, axis % kspace.ndim), (0, 1))
        rest = tuple(hybrid.shape[2:])
        mixed = match(self.matrix, kspace) @ xp.reshape(hybrid, (*hybrid.shape[:2], -1))
        mixed = xp.reshape(mixed, (*mixed.shape[:2], *rest))
        return fft(xp.moveaxis(mixed, (0, 1), (along, axis % kspace.ndim)), (along,))


def compress_svd(kspace: Array, n: int | None = None, *, energy: float = 0.99, axis: int = 0) -> Compression:
    """Find the virtual coils of largest energy, the same for all of k-space.

    Parameters
    ----------
    kspace : array, (..., coils, ...)
        Calibration lines or all data, best whitened.
    n : int, optional
        Number of virtual coils; by default as few as hold `energy`.
    energy : float
        Share of the energy to keep.
    axis : int
        The coil axis.

    Returns
    -------
    Compression

    Raises
    ------
    ValueError
        If `n` is not 1 to the number of coils, `energy` not in 0 to 1, or the data hold NaN.

    References
    ----------
    M. Buehrer et al., Magn. Reson. Med. 57 (2007) 1131; F. Huang et al., Magn. Reson. Imaging 26 (2008) 133.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> two = rng.standard_normal((2, 8, 8)) + 0j
    >>> eight = np.tensordot(rng.standard_normal((8, 2)), two, 1)
    >>> compress_svd(eight, energy=0.9999)(eight).shape
    (2, 8, 8)
    """
    xp = namespace(kspace)
    _check(kspace)
    flat = xp.reshape(xp.moveaxis(kspace, axis, 0), (kspace.shape[axis], -1))
    vectors, values = _principal(flat)
    n = _count(n, values, energy)
    return Compression(xp.conj(xp.matrix_transpose(vectors[:, :n])))


def compress_geometric(
    kspace: Array,
    n: int | None = None,
    *,
    energy: float = 0.99,
    axis: int = 0,
    readout: int = -1,
    window: int = 5,
) -> Compression:
    """Find virtual coils for every position along the readout, aligned from one position to the next.

    Fewer virtual coils hold the same energy, because at one readout position only some coils see the object.
    The bases of neighbours are rotated onto each other, so that virtual coils are smooth along the readout.

    Parameters
    ----------
    kspace : array, (..., coils, ...)
        Calibration lines with the whole readout, or all data; best whitened.
    n : int, optional
        Number of virtual coils; by default as few as hold `energy` in total.
    energy : float
        Share of the energy to keep.
    axis : int
        The coil axis.
    readout : int
        The readout axis, counted from the end.
    window : int
        Readout positions that share one basis, odd.

    Returns
    -------
    Compression
        Applied through an inverse transform along the readout.

    Raises
    ------
    ValueError
        If an option is out of range or the data hold NaN.

    References
    ----------
    T. Zhang et al., Magn. Reson. Med. 69 (2013) 571.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.standard_normal((4, 6, 8)) + 0j
    >>> compress_geometric(y, 3)(y).shape
    (3, 6, 8)
    """
    xp = namespace(kspace)
    _check(kspace)
    if readout >= 0 or readout % kspace.ndim == axis % kspace.ndim:
        raise ValueError(f"readout is {readout}; count it from the end, and it cannot be the coil axis")
    if window < 1 or window % 2 == 0:
        raise ValueError(f"window is {window}; it must be odd and positive")
    along = readout % kspace.ndim
    hybrid = xp.moveaxis(ifft(kspace, (along,)), (along, axis % kspace.ndim), (0, 1))
    hybrid = xp.reshape(hybrid, (*hybrid.shape[:2], -1))
    gram = hybrid @ xp.conj(xp.matrix_transpose(hybrid))
    positions = int(gram.shape[0])
    half = min(window // 2, positions - 1)
    near = xp.stack(
        [xp.sum(gram[max(0, i - half) : i + half + 1, ...], axis=0) for i in range(positions)], axis=0
    )
    vectors = xp.flip(xp.linalg.eigh(near)[1], axis=-1)
    basis = xp.conj(xp.matrix_transpose(vectors))  # (positions, coils, coils), rows by energy
    kept = xp.real(xp.linalg.diagonal(basis @ gram @ vectors))
    n = _count(n, xp.sum(kept, axis=0), energy)
    # The alignment starts where the signal is; from there both ways.
    first = int(np.argmax(to_numpy(xp.sum(kept, axis=1)))) if not is_traced(kspace) else positions // 2
    aligned: dict[int, Array] = {first: basis[first, :n, :]}
    for order in (range(first + 1, positions), range(first - 1, -1, -1)):
        before = aligned[first]
        for i in order:
            here = basis[i, :n, :]
            u, _, vh = xp.linalg.svd(here @ xp.conj(xp.matrix_transpose(before)), full_matrices=False)
            before = aligned[i] = xp.conj(xp.matrix_transpose(u @ vh)) @ here
    return Compression(xp.stack([aligned[i] for i in range(positions)], axis=0), readout)


def _check(kspace: Array) -> None:
    if not is_traced(kspace) and not np.isfinite(to_numpy(kspace)).all():
        raise ValueError("k-space holds NaN or infinite values; set what was not measured to 0")


def _principal(flat: Array) -> tuple[Array, Array]:
    """Eigenvectors and eigenvalues of the coil covariance, the largest first."""
    xp = namespace(flat)
    if not is_traced(flat):
        top = xp.max(xp.abs(flat))
        flat = flat / top if bool(top > 0) else flat
    values, vectors = xp.linalg.eigh(flat @ xp.conj(xp.matrix_transpose(flat)))
    return xp.flip(vectors, axis=1), xp.flip(values, axis=0)


def _count(n: int | None, values: Array, energy: float) -> int:
    """Number of virtual coils: as given, or the fewest that hold a share of the energy."""
    coils = int(values.shape[0])
    if n is not None:
        if not 1 <= n <= coils:
            raise ValueError(f"{n} virtual coils were asked for; {coils} coils give 1 to {coils}")
        return n
    if not 0 < energy <= 1:
        raise ValueError(f"energy is {energy}; the share to keep must be in 0 to 1")
    if is_traced(values):
        raise ValueError("the number of virtual coils must be given inside a traced program; pass n")
    share = np.cumsum(np.maximum(to_numpy(values).astype(float), 0))
    return min(coils, int(np.searchsorted(share, energy * share[-1])) + 1)
