"""How much GRAPPA amplifies noise, pixel by pixel: the g-factor from the kernels themselves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rayfold.operators.dispatch import match, namespace
from rayfold.recon.mri.grappa_kernels import Grappa

Array = Any


def g_factor(kernels: Grappa, maps: Array) -> Array:
    """Noise of the combined image over that of a fully sampled scan and the square root of R.

    The kernels are one convolution of k-space, that is, a matrix ``W(r)`` for the folded coil images at every
    pixel: ``g = |p W| / (R |p|)`` with p the weights that combine the coils. It holds for whitened coils and
    the regular lattice; calibration lines in the image, which only lower the noise, are left out.

    Parameters
    ----------
    kernels : Grappa
        Of a regular pattern, sheared or not.
    maps : array, (coils, [nz,] ny, nx)
        Sensitivities (or coil images, for a root sum of squares): ``p = conj(maps)``.

    Returns
    -------
    array, ([nz,] ny, nx)
        g-factor; 1 where no noise is added, 0 where all maps are 0.

    Raises
    ------
    ValueError
        If the pattern is irregular, or the maps do not fit.

    References
    ----------
    F. A. Breuer et al., Magn. Reson. Med. 62 (2009) 739.

    Examples
    --------
    >>> block = np.ones((1, 8, 8), complex)
    >>> kernels = Grappa.calibrate(block, (np.arange(8) % 2 == 0)[:, None], (8, 8), width=1, lines=2)
    >>> g_factor(kernels, np.ones((1, 8, 8))).shape
    (8, 8)
    """
    xp, ndim = namespace(maps), kernels.lines.ndim + 1
    shape = (*kernels.lines.shape, kernels.columns.size)
    moved = xp.moveaxis(maps, kernels.readout, -1) if maps.ndim == ndim + 1 else maps
    if tuple(moved.shape[1:]) != shape:
        raise ValueError(f"maps have shape {tuple(maps.shape)}; give (coils, {', '.join(map(str, shape))})")
    if any(w.ndim != 4 or w.shape[0] != moved.shape[0] for w in kernels.weights):
        raise ValueError(f"the kernels are not those of one scan with {moved.shape[0]} coils; give its maps")
    offsets = [tuple(o) for pattern in kernels.patterns for o in pattern.offsets.tolist()]
    if len(set(offsets)) < len(offsets):
        raise ValueError(
            "the pattern is irregular, and its noise not that of one kernel; simulate it instead"
        )
    acceleration = len(kernels.patterns) + 1
    p = xp.conj(moved)
    total = p + 0j  # the measured lines themselves
    places = [np.arange(n) - n // 2 for n in shape]
    for pattern, weights in zip(kernels.patterns, kernels.weights, strict=True):
        half = weights.shape[-2] // 2
        for s, offset in enumerate(pattern.offsets.tolist()):
            for j in range(weights.shape[-2]):
                turn: Any = 0.0
                for axis, (step, x) in enumerate(zip((*offset, j - half), places, strict=True)):
                    angle = -2 * math.pi * step * x / len(x)
                    turn = turn + angle.reshape(-1, *(1,) * (len(shape) - 1 - axis))
                mixed = xp.tensordot(match(weights[:, s, j], p), p + 0j, axes=((0,), (0,)))
                total = total + match(np.exp(1j * turn), total) * mixed
    above = xp.sqrt(xp.sum(abs(total) ** 2, axis=0))
    below = acceleration * xp.sqrt(xp.sum(abs(p) ** 2, axis=0))
    g = xp.where(below > 0, above / xp.where(below > 0, below, xp.ones_like(below)), xp.zeros_like(below))
    return xp.moveaxis(g, -1, kernels.readout)
