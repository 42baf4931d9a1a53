"""Image and coil sensitivities estimated together from all measured lines (JSENSE, regularised inversion)."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from rayfold.operators.dispatch import is_traced, match, namespace, to_numpy
from rayfold.operators.fourier import fft, ifft

Array = Any
Pair = tuple[Array, Array]
NEGLIGIBLE = 1e-6  # smallest weight of a frequency of the maps that is kept


class JointEstimate(NamedTuple):
    """An image and the sensitivities found with it.

    Attributes
    ----------
    image : array, (*shape)
        With the brightness of a root sum of squares.
    maps : array, (coils, *shape)
        Of root sum of squares 1.
    """

    image: Array
    maps: Array


def jsense(
    kspace: Array,
    sampled: Array,
    *,
    n_newton: int = 8,
    n_cg: int = 30,
    smoothness: tuple[float, float] = (0.015, 16.0),
    reduction: float = 0.5,
) -> JointEstimate:
    """Estimate image and sensitivities together by an iteratively regularised Gauss-Newton method.

    ``y_c = M F (x s_c)`` is bilinear. The sensitivities are written in few low frequencies with weights
    ``(1 + a |k|^2)^-b``, k in cycles per field of view, so that a penalty on the coefficients asks for
    smooth maps. Each Newton step solves the linearised problem by conjugate gradients with a penalty that
    falls by `reduction` per step.

    Parameters
    ----------
    kspace : array, (coils, *shape)
        Whitened, 0 where it was not measured.
    sampled : array of bool
        Measured positions, broadcasting to `shape`.
    n_newton : int
        Newton steps; more fit the noise.
    n_cg : int
        Most steps of conjugate gradients in each.
    smoothness : (float, float)
        a and b above.
    reduction : float
        Factor of the penalty from one Newton step to the next, between 0 and 1.

    Returns
    -------
    JointEstimate

    Raises
    ------
    ValueError
        If the mask does not fit, the data hold NaN or nothing but 0, or an option is out of range.

    References
    ----------
    L. Ying and J. Sheng, Magn. Reson. Med. 57 (2007) 1196; M. Uecker et al., Magn. Reson. Med. 60 (2008) 674.

    Examples
    --------
    >>> y, x = np.mgrid[-12:12, -12:12] / 12
    >>> disc = (x**2 + y**2 < 0.6).astype(complex)
    >>> coils = np.stack([np.exp(-((x - a) ** 2 + (y - b) ** 2)) for a, b in ((1, 0), (-1, 0), (0, 1))])
    >>> lines = (np.arange(24) % 2 == 0) | (abs(np.arange(24) - 12) < 4)
    >>> found = jsense(fft(coils * disc, (1, 2)) * lines[:, None], lines[:, None])
    >>> truth = disc * np.sqrt((coils**2).sum(axis=0))
    >>> bool(np.linalg.norm(abs(found.image) - truth) < 0.05 * np.linalg.norm(truth))
    True
    """
    xp = namespace(kspace)
    shape = tuple(kspace.shape[1:])
    if n_newton < 1 or n_cg < 1 or not 0 < reduction < 1:
        raise ValueError(
            f"n_newton {n_newton}, n_cg {n_cg} must be 1 or more, reduction {reduction} in 0 to 1"
        )
    mask = to_numpy(sampled).astype(bool)
    try:
        mask = np.broadcast_to(mask, shape)
    except ValueError:
        raise ValueError(f"the mask has shape {mask.shape}; it must broadcast to {shape}") from None
    if not is_traced(kspace):
        values = to_numpy(kspace)
        if not np.isfinite(values).all() or not values.any():
            raise ValueError("k-space holds NaN, infinite values or nothing but 0; check what was read")
    model = _Model(match(mask + 0j, kspace), _weights(shape, smoothness, kspace))
    data = kspace * model.mask
    # the penalty of 1 at the start is for images of about this size per voxel
    scale = math.sqrt(math.prod(shape)) / xp.sqrt(xp.sum(xp.abs(data) ** 2))
    data = data * scale
    image = xp.ones_like(data[0, ...])
    coefficients = xp.zeros_like(data[:, *model.block])
    alpha = 1.0
    for _ in range(n_newton):
        maps = model.maps(coefficients)
        residual = data - model.mask * fft(image * maps, model.axes)
        gradient = model.adjoint(image, maps, residual)
        # the image is drawn to the constant it started from, the coefficients to 0
        right = (gradient[0] + alpha * (1 - image), gradient[1] - alpha * coefficients)
        step = _conjugate_gradients(model, image, maps, right, alpha, n_cg)
        image, coefficients = image + step[0], coefficients + step[1]
        alpha = alpha * reduction
    maps = model.maps(coefficients)
    size = xp.sqrt(xp.sum(xp.abs(maps) ** 2, axis=0))
    safe = xp.where(size > 0, size, xp.ones_like(size))
    return JointEstimate(image * size / scale, maps / safe)


class _Model:
    """The bilinear model around one point."""

    def __init__(self, mask: Array, weights: tuple[Array, tuple[slice, ...]]) -> None:
        self.mask = mask
        self.weight, self.block = weights
        self.axes = tuple(range(1, mask.ndim + 1))

    def maps(self, coefficients: Array) -> Array:
        xp = namespace(coefficients)
        full = xp.zeros((coefficients.shape[0], *self.mask.shape), dtype=coefficients.dtype)
        full = _placed(full, coefficients * self.weight, self.block)
        return ifft(full, self.axes)

    def forward(self, image: Array, maps: Array, step: Pair) -> Array:
        return self.mask * fft(step[0] * maps + image * self.maps(step[1]), self.axes)

    def adjoint(self, image: Array, maps: Array, residual: Array) -> Pair:
        xp = namespace(residual)
        back = ifft(self.mask * residual, self.axes)
        found = fft(xp.conj(image) * back, self.axes)
        return xp.sum(xp.conj(maps) * back, axis=0), self.weight * found[(slice(None), *self.block)]


def _placed(full: Array, part: Array, block: tuple[slice, ...]) -> Array:
    """`part` in a block of zeros, also for arrays that cannot be written to."""
    if hasattr(full, "at") and not isinstance(full, np.ndarray):
        return full.at[(slice(None), *block)].set(part)
    full[(slice(None), *block)] = part
    return full


def _weights(shape: tuple[int, ...], smoothness: tuple[float, float], like: Array) -> Any:
    """Weights of the low frequencies of the maps, and the block of k-space that they fill."""
    a, b = smoothness
    if not (a > 0 and b > 0):
        raise ValueError(f"smoothness is {smoothness}; both numbers must be positive")
    reach = math.sqrt((NEGLIGIBLE ** (-1 / b) - 1) / a)  # cycles per field of view
    block, square = [], np.zeros(())
    for n in shape:
        half = min(max(1, math.ceil(reach)), n // 2)
        low, high = n // 2 - half, min(n // 2 + half + 1, n)
        block.append(slice(low, high))
        square = square[..., None] + (np.arange(low, high) - n // 2) ** 2
    return match((1 + a * square) ** -b + 0j, like), tuple(block)


def _conjugate_gradients(model: _Model, image: Array, maps: Array, right: Pair, alpha: float, n: int) -> Pair:
    """Solve ``(D^H D + alpha) step = right`` to a tenth of a per mille."""

    def inner(a: Pair, b: Pair) -> Array:
        xp = namespace(a[0])
        return sum(xp.sum(xp.real(xp.conj(u) * v)) for u, v in zip(a, b, strict=True))

    r = right
    x: Pair = (0 * r[0], 0 * r[1])
    p, power = r, inner(r, r)
    start = power
    for _ in range(n):
        if not is_traced(power) and not bool(power > 1e-8 * start):
            break
        q = model.adjoint(image, maps, model.forward(image, maps, p))
        q = (q[0] + alpha * p[0], q[1] + alpha * p[1])
        a = power / inner(p, q)
        x = (x[0] + a * p[0], x[1] + a * p[1])
        r = (r[0] - a * q[0], r[1] - a * q[1])
        power, before = inner(r, r), power
        p = (r[0] + power / before * p[0], r[1] + power / before * p[1])
    return x
