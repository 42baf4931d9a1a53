"""Local means along image axes, by one small matrix per axis: in any array library, with derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayfold.operators.dispatch import dtype_name, match, namespace

Array = Any


def smooth(x: Array, fwhm: float, ndim: int) -> Array:
    """Gaussian mean over the last `ndim` axes; at the border, over what is inside.

    Parameters
    ----------
    x : array, (..., *shape)
        Real or complex.
    fwhm : float
        Full width of the Gaussian at half maximum, voxels; 0 changes nothing.
    ndim : int
        Number of smoothed axes.

    Returns
    -------
    array
        Of the shape and type of `x`.

    Examples
    --------
    >>> smooth(np.ones((3, 4)), 2.0, 2).round(12).min()
    np.float64(1.0)
    """
    if fwhm == 0:
        return x
    xp = namespace(x)
    for axis in range(x.ndim - ndim, x.ndim):
        position = np.arange(x.shape[axis])
        kernel = np.exp(-4 * np.log(2) * ((position[:, None] - position) / fwhm) ** 2)
        kernel = kernel / kernel.sum(axis=1, keepdims=True)
        matrix = match(kernel + 0j if "complex" in dtype_name(x) else kernel, x)
        x = xp.moveaxis(xp.tensordot(matrix, x, axes=([1], [axis])), 0, axis)
    return x
