"""Toeplitz grams ``A.H W A`` by Fourier transforms of twice the grid, on NumPy and CuPy arrays.

``gram = crop(ifft(K * fft(pad(x))))``, with coil maps ``sum_c conj(S_c) crop(ifft(K * fft(pad(S_c x))))``
(Wajer and Pruessmann, ISMRM 2001; Fessler et al., IEEE TSP 53, 2005). Nothing is ever padded: of the transform
of twice the length the even frequencies are the transform of x, the odd ones that of ``x exp(-i pi n / L)``.
Axis after axis is taken so, the last one first, and each only where the ones before it are not zero; the
first axis, forward, times K and back, goes through one small buffer, block after block.

Memory traffic per coil in three dimensions, in units of the image: 3 | 2 + 4 | 4 + 2 (a real K) + 4 | 4 + 2 |
3, with each bar a transform in cache; padding first costs 126.
"""

from __future__ import annotations

import functools
import itertools
import math
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from . import launch
from .joseph import library_of

THREADS, TILE = 256, 32
COMPLEX = {"float32": "complex64", "float64": "complex128", "complex64": "complex64", "complex128": "complex128"}
BLOCK = {"numpy": 1 << 18, "cupy": 1 << 26}  # bytes of a transform that stays in cache
GROUP = 1 << 28  # bytes of the coils a GPU transforms together
ALONE = 1 << 22  # bytes of a coil one CPU thread transforms by itself


def lengths(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Half the length of the transform along every axis: the next good size from the axis on.

    Examples
    --------
    >>> lengths((256, 101))
    (256, 105)
    """
    from scipy.fft import next_fast_len

    return tuple(int(next_fast_len(n)) for n in shape)


def prepare(spectrum: Any, shape: tuple[int, ...], *, real: bool = False) -> Any:
    """A Toeplitz spectrum in the order `apply` reads it.

    Parameters
    ----------
    spectrum : ndarray, (\\*grid) or (pairs, \\*grid)
        Unnormalised discrete Fourier transform (``fftn``) of the lags, lag d at index ``d mod 2 L``, on the
        grid of ``2 L`` points per axis, L from `lengths`. Real or complex. With K components mixed, the
        pairs ``(0, 0), (0, 1), ..., (1, 1), ...`` of the upper triangle: row k of the result takes
        ``spectrum[k, l]`` times component l, below the diagonal the conjugate.
    shape : tuple of int
        Shape of an image, one to three axes.
    real : bool
        For real images: half of the last axis is kept.

    Returns
    -------
    ndarray, (pairs, \\*reversed axes)
        Scaled, even frequencies before odd ones, the last axis in front; of the type of `spectrum`.
    """
    given, grid, pairs = tuple(spectrum.shape), tuple(2 * n for n in lengths(shape)), 1
    if len(given) == len(grid) + 1:
        pairs = given[0]
    if given[-len(grid) :] != grid or len(given) > len(grid) + 1:
        raise ValueError(
            f"the spectrum is {given}; for images {tuple(shape)} it must be {grid} or (pairs, *{grid})"
        )
    k = spectrum.reshape(pairs, *grid) / math.prod(grid)
    if len(grid) == 1:  # one axis is two, the first of length 1
        k = np.stack([k, k], axis=1) if isinstance(k, np.ndarray) else sys.modules["cupy"].stack([k, k], axis=1)
    for axis in range(1, k.ndim):
        if real and axis == k.ndim - 1:
            k = k[..., : k.shape[-1] // 2 + 1]
            continue
        n = k.shape[axis]
        k = k.reshape(*k.shape[:axis], n // 2, 2, *k.shape[axis + 1 :]).swapaxes(axis, axis + 1)
        k = k.reshape(*k.shape[:axis], n, *k.shape[axis + 2 :])
    k = k.transpose(0, *range(k.ndim - 1, 0, -1)).astype(spectrum.dtype)
    return k if k.flags.c_contiguous else k.copy()


def apply(x: Any, kernel: Any, out: Any, *, maps: Any = None) -> None:
    """Write the Toeplitz gram of `x` into `out`.

    Parameters
    ----------
    x : ndarray, (batch, components, \\*shape)
        Images with one to three axes, complex64 or complex128, or float32 or float64 with a `kernel` made
        by ``prepare(..., real=True)``. `components` is the K that the kernel mixes, else 1.
    kernel : ndarray
        From `prepare`, real or complex, of the precision of `x`.
    out : ndarray
        Overwritten; of the shape and type of `x`, not `x` itself.
    maps : ndarray, (coils, \\*shape), optional
        Coil sensitivities of the type of `x` (complex): every component of every image of the batch is
        multiplied by each, and the results are combined with the conjugates.

    Raises
    ------
    TypeError, ValueError
        If arrays do not match in library, type or shape.

    Notes
    -----
    All arrays are C-contiguous and of one library. Beside `out`, a call takes as memory the transform of one
    coil (``2**(d - 1)`` images) for small images per thread, for large ones once; on a GPU up to a quarter of
    a gigabyte, or one coil. Results do not depend on timing; with `maps`, the order of the sum over coils
    depends on the number of CPU threads.

    Examples
    --------
    >>> x = np.array([1, 2j, 3]).reshape(1, 1, 3).astype("c16")
    >>> spectrum = np.fft.fftn([2.0, 1, 0, 0, 0, 1])  # lag 0 weighs 2, lags -1 and 1 weigh 1
    >>> out = np.empty_like(x)
    >>> apply(x, prepare(spectrum, (3,)), out)
    >>> out[0, 0].round(9).tolist()
    [(2+2j), (4+4j), (6+2j)]
    """
    raise NotImplementedError
