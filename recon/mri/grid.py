"""From one k-space grid to another: readout oversampling cut off, images interpolated by zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rayfold.operators.dispatch import namespace
from rayfold.operators.fourier import fft, ifft

Array = Any


def cut_oversampling(kspace: Array, n: int, *, axis: int = -1) -> Array:
    """k-space of the central `n` pixels of an axis, which hold the object when the readout was oversampled.

    The image is cut, so that nothing is interpolated: its values stay as they are, in the orthonormal scale
    of the transforms, and white noise stays white.

    Parameters
    ----------
    kspace : array, (..., N, ...)
        Samples, with the origin at ``N // 2``.
    n : int
        Pixels to keep.
    axis : int
        Which axis.

    Returns
    -------
    array
        k-space with `n` samples along `axis`.

    Raises
    ------
    ValueError
        If `n` is not between 1 and the length of the axis.

    Examples
    --------
    >>> import numpy as np
    >>> image = np.arange(8.0)
    >>> abs(ifft(cut_oversampling(fft(image), 4))).round(6)
    array([2., 3., 4., 5.])
    """
    return fft(crop(ifft(kspace, (axis,)), (n,), (axis,)), (axis,))


def crop(x: Array, shape: Sequence[int], axes: Sequence[int]) -> Array:
    """Central part of some axes: index ``N // 2`` becomes ``n // 2``.

    Examples
    --------
    >>> import numpy as np
    >>> crop(np.arange(7), (4,), (0,))
    array([1, 2, 3, 4])
    """
    cut = [slice(None)] * x.ndim
    for n, axis in zip(shape, axes, strict=True):
        have = int(x.shape[axis])
        if not 1 <= n <= have:
            raise ValueError(f"cannot cut axis {axis} of {have} to {n}; give 1 to {have}")
        cut[axis] = slice(have // 2 - n // 2, have // 2 - n // 2 + n)
    return x[tuple(cut)]


def zero_fill(kspace: Array, shape: Sequence[int], axes: Sequence[int]) -> Array:
    """k-space with zeros around it: index ``n // 2`` becomes ``N // 2``; its samples stay as they are.

    Parameters
    ----------
    kspace : array
        Samples.
    shape : sequence of int
        New lengths, not below the old ones.
    axes : sequence of int
        Which axes.

    Raises
    ------
    ValueError
        If a new length is below the old one.

    Examples
    --------
    >>> import numpy as np
    >>> zero_fill(np.ones(3), (6,), (0,))
    array([0., 0., 1., 1., 1., 0.])
    """
    xp = namespace(kspace)
    for n, axis in zip(shape, axes, strict=True):
        have = int(kspace.shape[axis])
        if n < have:
            raise ValueError(f"cannot fill axis {axis} of {have} up to {n}; give {have} or more")
        before = n // 2 - have // 2
        parts = [kspace]
        for place, many in ((0, before), (1, n - have - before)):
            if many:
                size = list(kspace.shape)
                size[axis] = many
                zeros = xp.broadcast_to(xp.zeros_like(kspace[(*(slice(0, 1),) * kspace.ndim,)]), tuple(size))
                parts.insert(len(parts) * place, zeros)
        kspace = xp.concat(parts, axis=axis)
    return kspace


def interpolate(image: Array, shape: Sequence[int], axes: Sequence[int]) -> Array:
    """Image on a finer grid of the same field of view, by zeros around its k-space.

    Every pixel of the old grid that lies on the new one keeps its value.

    Parameters
    ----------
    image : array
        Real or complex; the result is complex.
    shape : sequence of int
        New lengths, not below the old ones.
    axes : sequence of int
        Which axes.

    Examples
    --------
    >>> import numpy as np
    >>> interpolate(np.array([1.0, 2.0, 4.0]), (6,), (0,)).real.round(6)[1::2]
    array([1., 2., 4.])
    """
    larger = 1.0
    for n, axis in zip(shape, axes, strict=True):
        larger *= n / image.shape[axis]
    axes = tuple(axes)
    return ifft(zero_fill(fft(image, axes), shape, axes), axes) * larger**0.5
