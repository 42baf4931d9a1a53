"""Coil sensitivities from the measured centre of k-space (ESPIRiT): eigenvectors of a pointwise operator."""

from __future__ import annotations

import math
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from rayfold.operators.dispatch import dtype_name, is_traced, match, namespace, to_numpy
from rayfold.recon.mri.calibration_lines import calibration_region
from rayfold.recon.mri.virtual_coil import to_virtual_phase, virtual_coil

Array = Any
SLAB = 2**25  # entries of the largest arrays, patches and pointwise operator, that exist at one time
_KERNELS, _WIDTHS = (6, 4), (32, 24)  # in 2D and 3D


class CoilMaps(NamedTuple):
    """Coil sensitivities, and how well each voxel fits them.

    Attributes
    ----------
    maps : array, (..., coils, *shape) for one set, (..., coils, sets, *shape) for more
        What `CoilSensitivities` takes. Root sum of squares 1 where a set is trusted, 0 where it is not.
    eigenvalues : array, (..., *shape) or (..., sets, *shape)
        1 where the coils explain the calibration data wholly, near 0 where there is no object.
    """

    maps: Array
    eigenvalues: Array


def espirit(
    kspace: Array,
    *,
    sampled: Array | None = None,
    shape: tuple[int, ...] | None = None,
    sets: int = 1,
    kernel: int | tuple[int, ...] | None = None,
    threshold: float = 0.015,
    crop: float = 0.9,
    soft: float = 0.0,
    width: int | tuple[int, ...] | None = None,
    intensity: bool = False,
    ndim: int | None = None,
) -> CoilMaps:
    """Estimate coil sensitivities from fully sampled lines by ESPIRiT.

    Every patch of calibration k-space lies in the span of few vectors. Requiring that of every patch of the
    whole k-space is, in the image, a coils-by-coils matrix ``G(x)`` per voxel with ``G(x) s(x) = s(x)``: the
    sensitivities are its eigenvectors of eigenvalue 1.

    Parameters
    ----------
    kspace : array, (..., coils, ny, nx) or (..., coils, nz, ny, nx)
        Centred, best whitened; NumPy, CuPy, torch or JAX. Also the calibration block alone, with `shape`.
    sampled : array of bool, optional
        Which positions were measured, broadcasting to the axes of k-space; all by default.
    shape : tuple of int, optional
        Shape of the maps; that of `kspace` by default.
    sets : int
        Maps per voxel: 2 where the object is larger than the field of view and folds onto itself.
    kernel : int or tuple of int, optional
        Width of a patch per axis; by default 6 (4 in 3D), less along an axis with few calibration lines: two
        fifths of them.
    threshold : float
        Smallest singular value of the calibration matrix that counts as signal, relative to the largest.
    crop : float
        Maps are 0 where the eigenvalue is below this.
    soft : float
        Half width of a smooth step about `crop` in the eigenvalue; 0 is a sharp mask.
    width : int or tuple of int, optional
        Largest width of the calibration block per axis; 32 by default (24 in 3D).
    intensity : bool
        Multiply the maps by the root sum of squares of the calibration image (at most 1), so that a SENSE
        image is evenly bright. Otherwise it has the brightness of that root sum of squares.
    ndim : int, optional
        Number of image axes; all axes of `kspace` but the first by default.

    Returns
    -------
    CoilMaps
        The phase is that of the first virtual coil (the strongest combination of coils in the calibration
        data), in which the maps are real and positive.

    Raises
    ------
    ValueError
        If there are too few calibration lines for the kernel, they hold NaN, or an option is out of range.

    References
    ----------
    M. Uecker et al., Magn. Reson. Med. 71 (2014) 990.

    Notes
    -----
    Differentiable with respect to `kspace` where the leading eigenvalue is single. Singular values are found
    from the Gram matrix, so a threshold below 1e-3 needs double precision.

    Examples
    --------
    >>> from rayfold.operators.fourier import fft
    >>> y, x = np.mgrid[-16:16, -16:16] / 16
    >>> disc = (x**2 + y**2 < 0.6).astype(complex)
    >>> coils = np.stack([np.exp(-((x - a) ** 2 + (y - b) ** 2)) for a, b in ((1, 0), (-1, 0), (0, 1))])
    >>> found = espirit(fft(coils * disc, (1, 2)), width=16)
    >>> truth = coils / np.sqrt((coils**2).sum(axis=0))
    >>> bool((abs(found.maps - truth)[:, disc > 0].max() < 0.05) and (found.maps[:, 0, 0] == 0).all())
    True
    """
    ndim = kspace.ndim - 1 if ndim is None else ndim
    if not 1 <= ndim < kspace.ndim:
        raise ValueError(f"k-space of shape {tuple(kspace.shape)} has no coil axis before {ndim} image axes")
    full = tuple(kspace.shape[-ndim:])
    coils = int(kspace.shape[-ndim - 1])
    if not 1 <= sets <= coils:
        raise ValueError(f"sets is {sets}; it must be 1 to {coils}, the number of coils")
    if not (0 < threshold < 1 and 0 <= crop < 1 and soft >= 0):
        raise ValueError(f"threshold {threshold}, crop {crop}, soft {soft}: each must be in 0 to 1")
    region = calibration_region(
        np.ones(full, bool) if sampled is None else sampled,
        full,
        width=_WIDTHS[ndim > 2] if width is None else width,
    )
    block = kspace[(..., *region)]
    if not is_traced(block) and not np.isfinite(to_numpy(block)).all():
        raise ValueError("the calibration lines hold NaN or infinite values; mark those as not sampled")
    size = _kernel(kernel, tuple(block.shape[-ndim:]))
    shape = full if shape is None else tuple(shape)
    if len(shape) != ndim:
        raise ValueError(f"shape {shape} must have {ndim} axes, as k-space has")
    xp = namespace(block)
    lead = tuple(block.shape[: -ndim - 1])
    flat = xp.reshape(block, (math.prod(lead), *block.shape[-ndim - 1 :]))
    made = [_maps(flat[i, ...], shape, size, sets, threshold, intensity) for i in range(flat.shape[0])]
    maps = xp.reshape(xp.stack([m for m, _ in made]), (*lead, coils, sets, *shape))
    values = xp.reshape(xp.stack([v for _, v in made]), (*lead, sets, *shape))
    maps = maps * xp.expand_dims(soft_mask(values, crop, soft), axis=-ndim - 2)
    if sets > 1:
        return CoilMaps(maps, values)
    return CoilMaps(xp.squeeze(maps, axis=-ndim - 1), xp.squeeze(values, axis=-ndim - 1))


def calibration_matrix(block: Array, kernel: tuple[int, ...]) -> Array:
    """All patches of a block of k-space, one per column.

    Parameters
    ----------
    block : array, (coils, *widths)
        Calibration lines.
    kernel : tuple of int
        Shape of a patch.

    Returns
    -------
    array, (coils * prod(kernel), patches)
        Rows run over coils, then over the positions in a patch.

    Examples
    --------
    >>> calibration_matrix(np.arange(8.0).reshape(2, 4), (3,))
    array([[0., 1.],
           [1., 2.],
           [2., 3.],
           [4., 5.],
           [5., 6.],
           [6., 7.]])
    """
    xp = namespace(block)
    count = [n - w + 1 for n, w in zip(block.shape[1:], kernel, strict=True)]
    shifted = [
        block[(slice(None), *(slice(i, i + n) for i, n in zip(offset, count, strict=True)))]
        for offset in product(*(range(w) for w in kernel))
    ]
    return xp.reshape(xp.stack(shifted, axis=1), (block.shape[0] * math.prod(kernel), math.prod(count)))


def _kernel(kernel: int | tuple[int, ...] | None, widths: tuple[int, ...]) -> tuple[int, ...]:
    """Width of a patch per axis; ValueError if the calibration lines do not hold a few of them."""
    if kernel is None:
        size = tuple(min(_KERNELS[len(widths) > 2], max(2, 2 * n // 5)) for n in widths)
    else:
        size = (kernel,) * len(widths) if isinstance(kernel, int) else tuple(kernel)
    if len(size) != len(widths) or min(size) < 1:
        raise ValueError(f"kernel is {kernel}; give one width of 1 or more, or one for each axis")
    if any(n < w + 1 or n < 4 for n, w in zip(widths, size, strict=True)):
        raise ValueError(
            f"{widths} calibration lines are too few for a kernel of {size}; "
            "measure more, or pass a smaller kernel (at least 4 lines, one more than the kernel)"
        )
    return size


def _maps(
    block: Array,
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    sets: int,
    threshold: float,
    intensity: bool,
) -> tuple[Array, Array]:
    """Unit maps (coils, sets, *shape) and eigenvalues (sets, *shape) of one problem."""
    xp = namespace(block)
    coils = int(block.shape[0])
    if not is_traced(block) and not bool(xp.any(block != 0)):
        raise ValueError("the calibration lines are all 0; there is nothing to calibrate from")
    lags = _lags(_kernels(block, kernel, threshold), kernel)
    reference = virtual_coil(block)
    step = max(1, SLAB // (coils * coils * math.prod(shape[1:])))
    found = []
    for first in range(0, shape[0], step):
        rows = range(first, min(first + step, shape[0]))
        operator = _evaluate(lags, kernel, shape, rows)
        values, vectors = xp.linalg.eigh(operator)
        vectors = xp.moveaxis(xp.flip(vectors, axis=-1)[..., :sets], (-2, -1), (0, 1))
        values = xp.moveaxis(xp.flip(values, axis=-1)[..., :sets], -1, 0)
        # both are new arrays: views would keep all eigenvectors of the slab
        found.append((to_virtual_phase(vectors, reference), values * 1.0))
    maps = xp.concat([m for m, _ in found], axis=2)
    if intensity:
        maps = maps * _brightness(block, shape)
    return maps, xp.concat([v for _, v in found], axis=1)


def _kernels(block: Array, kernel: tuple[int, ...], threshold: float) -> Array:
    """Orthonormal basis (coils, *kernel, n) of the patches, from the large singular values."""
    xp = namespace(block)
    block = block / xp.max(xp.abs(block))  # the squares of small numbers would vanish
    size = int(block.shape[0]) * math.prod(kernel)
    count = [n - w + 1 for n, w in zip(block.shape[1:], kernel, strict=True)]
    step = max(1, SLAB // (size * math.prod(count[1:])))
    gram = 0
    for first in range(0, count[0], step):
        last = min(first + step, count[0]) + kernel[0] - 1
        matrix = calibration_matrix(block[:, first:last, ...], kernel)
        gram = gram + matrix @ xp.conj(xp.matrix_transpose(matrix))
    power, basis = xp.linalg.eigh(gram)
    good = power > threshold**2 * power[-1]
    if is_traced(block):  # the number of kernels must not depend on the data
        basis = basis * xp.astype(good, basis.dtype)
    else:
        basis = basis[:, basis.shape[1] - int(xp.sum(xp.astype(good, xp.int32))) :]
    return xp.reshape(basis, (int(block.shape[0]), *kernel, basis.shape[1]))


def _wave(like: Array, positions: Any, frequencies: Any, n: int, sign: int) -> Array:
    """Matrix of ``exp(sign 2 pi i position frequency / n)`` in the library and precision of `like`."""
    phase = np.outer(np.asarray(positions), np.asarray(frequencies)) * (2 * np.pi / n)
    return match(np.exp(sign * 1j * phase), like)


def _along(matrix: Array, x: Array, axis: int) -> Array:
    """A matrix applied along one axis."""
    xp = namespace(x)
    return xp.moveaxis(xp.tensordot(matrix, x, axes=([1], [axis])), 0, axis)


def _lags(basis: Array, kernel: tuple[int, ...]) -> Array:
    """Coefficients (*(2 w - 1), coils, coils) of the operator, a trigonometric polynomial of the position.

    The correlation of all kernels with each other is found on the smallest grid that holds it.
    """
    xp = namespace(basis)
    for axis, w in enumerate(kernel):
        n = 2 * w - 1
        basis = _along(_wave(basis, np.arange(n) - n // 2, np.arange(w), n, 1), basis, axis + 1)
    basis = xp.moveaxis(basis, 0, -2)
    lags = basis @ xp.conj(xp.matrix_transpose(basis)) / math.prod(kernel)
    for axis, w in enumerate(kernel):
        n = 2 * w - 1
        lag = np.arange(n) - n // 2
        lags = _along(_wave(basis, lag, lag, n, 1) / n, lags, axis)
    return lags


def _evaluate(lags: Array, kernel: tuple[int, ...], shape: tuple[int, ...], rows: range) -> Array:
    """The operator (rows, *shape[1:], coils, coils) at some rows of the image."""
    for axis, (w, n) in enumerate(zip(kernel, shape, strict=True)):
        positions = (np.asarray(rows) if axis == 0 else np.arange(n)) - n // 2
        lag = np.arange(2 * w - 1) - (w - 1)
        lags = _along(_wave(lags, positions, lag, n, -1), lags, axis)
    return lags


def _brightness(block: Array, shape: tuple[int, ...]) -> Array:
    """Root sum of squares of the windowed calibration image, at most 1."""
    xp = namespace(block)
    padded = block
    for axis, n in enumerate(shape):
        m = int(block.shape[axis + 1])
        window = match(np.hanning(m + 2)[1:-1] + 0j, block)
        grid = _wave(block, np.arange(n) - n // 2, np.arange(m) - m // 2, n, 1) * window
        padded = _along(grid, padded, axis + 1)
    power = xp.sum(xp.abs(padded) ** 2, axis=0)
    return xp.astype(xp.sqrt(power / xp.max(power)), block.dtype)


def soft_mask(values: Array, crop: float, soft: float) -> Array:
    """Smooth or sharp step of the eigenvalues at `crop`, in the complex type of the maps."""
    xp = namespace(values)
    if soft:
        t = xp.clip((values - crop + soft) / (2 * soft), 0.0, 1.0)
        weight = t * t * (3 - 2 * t)
    else:
        weight = xp.astype(values > crop, values.dtype)
    wide = "complex128" if dtype_name(values) == "float64" else "complex64"
    return xp.astype(weight, getattr(xp, wide))
