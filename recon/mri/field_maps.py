"""Field map in Hz from the phase between two echoes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rayfold.operators.dispatch import is_traced, namespace, to_numpy

Array = Any
N_OUTER = 8
N_CG = 60


def field_map(
    first: Array, second: Array, echo_spacing: float, *, coils: bool = False, regularisation: float = 0.03
) -> Array:
    """Estimate the off-resonance from two echoes.

    Where the field is f higher the signal turns by ``-2 pi f t``, as in `OffResonance` (the sense of
    ``exp(-i k r)``): the phase of ``p = sum_c first_c conj(second_c)`` is ``2 pi f echo_spacing`` in every
    coil. Images from a transform of the other sign give ``-f``. It is found by minimising, over all voxels,

        ``sum w (1 - cos(2 pi f T - arg p)) + r / 2 sum |difference of 2 pi f T|^2``

    with weights w as the inverse variance of the phase: voxels without signal follow their neighbours. As the
    cosine does not know turns, the result is not bound to one period where the smooth map leaves it.

    Parameters
    ----------
    first, second : array, (*shape), or (coils, *shape) with `coils`
        Complex images of the earlier and the later echo.
    echo_spacing : float
        T, the time from the first echo to the second, ms.
    coils : bool
        The leading axis is coils, best whitened.
    regularisation : float
        r; 0 is the phase itself, 0 Hz where there is no signal.

    Returns
    -------
    array, (*shape)
        Hz, real; within ``+-500 / echo_spacing`` where not carried over that border by smoothness.

    Raises
    ------
    ValueError
        If the shapes differ, `echo_spacing` is not positive, or the images hold NaN.

    References
    ----------
    A. K. Funai et al., IEEE Trans. Med. Imaging 27 (2008) 1484.

    Notes
    -----
    With `regularisation` 0 the map is differentiable with respect to the images where there is signal.

    Examples
    --------
    >>> ramp = np.linspace(-20, 20, 16) * np.ones((16, 1))  # Hz
    >>> later = np.exp(-2j * np.pi * ramp * 2e-3)
    >>> bool(abs(field_map(np.ones_like(later), later, 2.0, regularisation=0) - ramp).max() < 1e-9)
    True
    """
    if tuple(first.shape) != tuple(second.shape):
        raise ValueError(
            f"the echoes have shapes {tuple(first.shape)} and {tuple(second.shape)}; both need the same"
        )
    if not (echo_spacing > 0 and math.isfinite(echo_spacing)):
        raise ValueError(f"echo_spacing is {echo_spacing}; it must be a positive time in ms")
    if not regularisation >= 0:
        raise ValueError(f"regularisation is {regularisation}; it must be 0 or more")
    xp = namespace(first)
    for name, image in (("first", first), ("second", second)):
        if "complex" not in str(image.dtype):
            raise ValueError(f"the {name} echo is real; the field is in the phase of complex images")
        if not is_traced(image) and not np.isfinite(to_numpy(image)).all():
            raise ValueError(f"the {name} echo holds NaN or infinite values; set those voxels to 0")
    product = first * xp.conj(second)
    early, late = xp.abs(first) ** 2, xp.abs(second) ** 2
    if coils:
        product, early, late = (xp.sum(v, axis=0) for v in (product, early, late))
    to_hertz = 1e3 / (2 * math.pi * echo_spacing)
    some = xp.abs(product) > 0
    raw = _angle(xp.where(some, product, xp.ones_like(product)))
    if regularisation == 0:
        return raw * to_hertz
    # variance of the phase of a product: noise of both factors relative to their size
    total = early + late
    weight = early * late / xp.where(total > 0, total, xp.ones_like(total))
    weight = weight / xp.max(weight)
    phase = _initial(raw, weight, regularisation)
    for _ in range(N_OUTER):
        miss = _wrap(raw - phase)
        # Huber's curvature sin(t) / t majorises 1 - cos(t): the cost never rises
        curvature = weight * _sinc(miss)
        phase = phase + _solve(
            curvature, regularisation, curvature * miss - regularisation * _roughness(phase)
        )
    return phase * to_hertz


def _angle(z: Array) -> Array:
    xp = namespace(z)
    return xp.atan2(xp.imag(z), xp.real(z))


def _wrap(t: Array) -> Array:
    xp = namespace(t)
    return t - 2 * math.pi * xp.round(t / (2 * math.pi))


def _sinc(t: Array) -> Array:
    xp = namespace(t)
    small = xp.abs(t) < 1e-3
    safe = xp.where(small, xp.ones_like(t), t)
    return xp.where(small, xp.ones_like(t), xp.sin(safe) / safe)


def _initial(raw: Array, weight: Array, regularisation: float) -> Array:
    """Phase of the weighted, smoothed phasor: right where the field turns little between neighbours."""
    real, imaginary = (
        _solve(weight, regularisation, weight * part) for part in (_cos(raw), namespace(raw).sin(raw))
    )
    return namespace(raw).atan2(imaginary, real)


def _cos(t: Array) -> Array:
    return namespace(t).cos(t)


def _roughness(x: Array) -> Array:
    """``D^T D x`` of first differences on all axes, without a border."""
    xp = namespace(x)
    total = xp.zeros_like(x)
    for axis in range(x.ndim):
        ahead = (slice(None),) * axis
        step = x[(*ahead, slice(1, None))] - x[(*ahead, slice(None, -1))]
        edge = xp.zeros_like(x[(*ahead, slice(0, 1))])
        total = total + xp.concat([edge, step], axis=axis) - xp.concat([step, edge], axis=axis)
    return total


def _solve(weight: Array, r: float, right: Array) -> Array:
    """Solve ``(weight + r D^T D) x = right`` by conjugate gradients with a diagonal preconditioner."""
    xp = namespace(right)
    diagonal = weight + 2 * r * right.ndim
    x = xp.zeros_like(right)
    residual = right
    z = residual / diagonal
    p, power = z, xp.sum(residual * z)
    start = power
    for _ in range(N_CG):
        if not is_traced(power) and not bool(power > 1e-12 * start):
            break
        q = weight * p + r * _roughness(p)
        a = power / xp.sum(p * q)
        x, residual = x + a * p, residual - a * q
        z = residual / diagonal
        power, before = xp.sum(residual * z), power
        p = z + power / before * p
    return x
