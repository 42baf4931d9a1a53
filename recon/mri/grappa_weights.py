"""Weights of GRAPPA kernels: regularised least squares over a calibration block."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import library, match, namespace

Array = Any
BYTES = 1 << 28  # of calibration samples held at once


def least_squares(block: Array, offsets: npt.NDArray[Any], width: int, regularisation: float) -> Array:
    """Weights of the neighbours of a line, from every place of a calibration block that holds them all.

    ``min_w |w S - t|^2 + (regularisation * s)^2 |w|^2`` with the neighbours S of all these places as columns,
    s its largest singular value, and t the line itself.

    Parameters
    ----------
    block : array, (..., coils, [nz,] ny, nx)
        Fully sampled k-space, the readout last.
    offsets : ndarray of int, (sources, axes)
        Places of the neighbours, relative to the line.
    width : int
        Samples of each neighbour, odd.
    regularisation : float
        Tikhonov's parameter, relative to s.

    Returns
    -------
    array, (..., coils, sources, width, coils)
        In double precision where the library has it.

    Raises
    ------
    ValueError
        If the block is too small.

    Examples
    --------
    >>> line = np.exp(0.5j * np.arange(12))[None, :, None] * np.ones(8)
    >>> weights = least_squares(line, np.array([[-1], [1]]), 1, 1e-4)
    >>> weights.ravel().round(3)  # half of each neighbour, turned to the phase of the line
    array([0.439+0.24j, 0.439-0.24j])
    """
    xp = namespace(block)
    if library(type(block)) != "jax":  # the normal matrix squares what is small, so it is made in double
        block = xp.astype(block, xp.complex128)
    coils, sizes = int(block.shape[-offsets.shape[1] - 2]), block.shape[-offsets.shape[1] - 1 :]
    low, high = np.minimum(offsets.min(axis=0), 0), np.maximum(offsets.max(axis=0), 0)
    counts = [int(n - (b - a)) for n, a, b in zip(sizes[:-1], low, high, strict=True)]
    nx, n = int(sizes[-1]) - width + 1, coils * len(offsets) * width
    if min(*counts, nx) < 1 or math.prod(counts) * nx < n:
        have, need = " x ".join(map(str, sizes)), " x ".join(map(str, [*(high - low + 1), width]))
        raise ValueError(
            f"the calibration block is {have}, a kernel spans {need} and has {n} weights; "
            "measure more calibration lines, or take fewer lines per kernel"
        )
    gram: Array = 0.0
    right: Array = 0.0
    chunk = max(1, BYTES // (16 * n * math.prod(counts)))
    for start in range(0, nx, chunk):
        many = min(chunk, nx - start)

        def shifted(place: npt.NDArray[Any], j: int, start: int = start, many: int = many) -> Array:
            cut = [slice(int(p), int(p) + c) for p, c in zip(place - low, counts, strict=True)]
            part = block[(..., *cut, slice(start + j, start + j + many))]
            return xp.reshape(part, (*part.shape[: -len(sizes)], math.prod(counts) * many))

        sources = xp.concat([shifted(place, j) for place in offsets for j in range(width)], axis=-2)
        target = shifted(np.zeros_like(low), width // 2)
        conjugate = xp.matrix_transpose(xp.conj(sources))
        gram = gram + sources @ conjugate
        right = right + target @ conjugate
    ridge = _largest(gram) * max(regularisation**2, 32 * float(xp.finfo(gram.dtype).eps))
    eye = match(np.eye(n), gram)
    ridge = xp.where(ridge > 0, ridge, xp.ones_like(ridge))  # a block of zeros gives weights of zero
    solved = xp.linalg.solve(gram + ridge[..., None, None] * eye, xp.matrix_transpose(xp.conj(right)))
    weights = xp.conj(xp.matrix_transpose(solved))
    return xp.reshape(weights, (*weights.shape[:-1], len(offsets), width, coils))


def _largest(gram: Array) -> Array:
    """Largest eigenvalue of Hermitian matrices: the norm of order 4 of all of them, a little above it."""
    xp = namespace(gram)
    size = xp.sqrt(xp.sum(abs(gram) ** 2, axis=(-2, -1)))
    scale = xp.where(size > 0, size, xp.ones_like(size))
    unit = gram / scale[..., None, None]
    return scale * xp.sum(abs(unit @ unit) ** 2, axis=(-2, -1)) ** 0.25
