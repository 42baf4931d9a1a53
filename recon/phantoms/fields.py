"""Random fields and what is done to whole images: power-law noise, smooth maps, blur, fields of view."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[Any]


def generator(shape: tuple[int, ...], seed: int, stream: int) -> np.random.Generator:
    """Random numbers of one image of a family, `stream`, after a look at what was asked for.

    Raises
    ------
    ValueError
        If `shape` is not two or three axes of at least 16 pixels, or `seed` is negative.

    Examples
    --------
    >>> float(generator((64, 64), 0, 1).uniform()) != float(generator((64, 64), 0, 2).uniform())
    True
    """
    if len(shape) not in (2, 3) or min(shape) < 16:
        raise ValueError(f"shape is {tuple(shape)}; it must have two or three axes of at least 16 pixels")
    if seed < 0:
        raise ValueError(f"seed is {seed}; it must be 0 or more")
    return np.random.default_rng([seed, stream])


@lru_cache(maxsize=16)
def _frequency(shape: tuple[int, ...]) -> Floats:
    """Radial frequency in cycles per sample on the half grid of a real transform; infinite at zero."""
    axes = [np.fft.fftfreq(n) for n in shape[:-1]] + [np.fft.rfftfreq(shape[-1])]
    squares = sum(g**2 for g in np.meshgrid(*axes, indexing="ij"))
    radius: Floats = np.sqrt(squares).astype(np.float32)
    radius[(0,) * len(shape)] = np.inf
    return radius


def power_law(shape: tuple[int, ...], slope: float, rng: np.random.Generator) -> Floats:
    """Periodic Gaussian noise with amplitude ``1 / f**slope``, mean 0 and variance 1, float32.

    Examples
    --------
    >>> field = power_law((64, 64), 1.0, np.random.default_rng(0))
    >>> round(float(field.std()), 3), field.dtype
    (1.0, dtype('float32'))
    """
    spectrum = np.fft.rfftn(rng.standard_normal(shape, np.float32))
    return _unit(spectrum * _frequency(shape) ** np.float32(-slope), shape)


def band(shape: tuple[int, ...], wavelength: float, width: float, rng: np.random.Generator) -> Floats:
    """Periodic noise about one wavelength in samples, relative bandwidth `width`; its level sets fold."""
    spectrum = np.fft.rfftn(rng.standard_normal(shape, np.float32))
    ratio = _frequency(shape) * np.float32(wavelength)
    ratio[(0,) * len(shape)] = 0
    return _unit(spectrum * np.exp(-0.5 * ((ratio - 1) / np.float32(width)) ** 2), shape)


def _unit(spectrum: Floats, shape: tuple[int, ...]) -> Floats:
    spectrum[(0,) * len(shape)] = 0
    out = np.fft.irfftn(spectrum, s=shape, axes=tuple(range(len(shape))))
    return np.asarray(out / max(float(out.std()), 1e-20), np.float32)


def enlarged(coarse: Floats, grid: tuple[int, int, int]) -> Floats:
    """A coarse array with three axes, linearly interpolated onto `grid`."""
    from rayfold.kernels.cpu.paint import enlarge

    out = np.empty(grid, np.float32)
    enlarge(np.ascontiguousarray(coarse, np.float32), out)
    return out


def smooth_map(grid: tuple[int, int, int], knots: int, rng: np.random.Generator) -> Floats:
    """A smooth random field on `grid`, about -1 to 1: cubic between about `knots` values along each axis."""
    sizes = tuple(1 if n == 1 else 16 for n in grid)
    coarse = np.zeros(sizes)
    axes = [np.linspace(-1, 1, n) if n > 1 else np.zeros(1) for n in sizes]
    for _ in range(knots):
        k = rng.normal(0, 0.45 * knots, 3)
        phase = sum(f * g for f, g in zip(k, np.meshgrid(*axes, indexing="ij"), strict=True))
        coarse += np.cos(phase + rng.uniform(0, 2 * np.pi))
    return enlarged(coarse / np.sqrt(knots / 2) / 1.6, grid)


def smoothed(a: Floats, sigma: float, step: int, axes: tuple[int, ...]) -> Floats:
    """Means over `step` samples along `axes`, after a Gaussian of `sigma` samples; edges repeated."""
    from rayfold.kernels.cpu.paint import filter_axis

    reach = int(np.ceil(3 * sigma))
    at = np.arange(-reach, reach + 1)
    taps = np.exp(-0.5 * (at / max(sigma, 1e-6)) ** 2)
    taps = np.convolve(taps, np.ones(step))
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in axes:
        shape = a.shape
        lines = np.ascontiguousarray(a, np.float32).reshape(
            int(np.prod(shape[:axis])), shape[axis], int(np.prod(shape[axis + 1 :]))
        )
        out = np.empty((lines.shape[0], shape[axis] // step, lines.shape[2]), np.float32)
        filter_axis(lines, taps, step, out)
        a = out.reshape(*shape[:axis], shape[axis] // step, *shape[axis + 1 :])
    return a


def in_focus(image: Floats, rng: np.random.Generator, chance: float = 0.2) -> Floats:
    """At times the image is softer in places, as where an edge crosses a thick slice aslant."""
    if rng.uniform() >= chance:
        return image
    nz, ny, nx = (1,) * (3 - image.ndim) + image.shape
    soft = smoothed(image, float(rng.uniform(1.0, 3.5)), 1, tuple(range(image.ndim)))
    share = np.clip(0.5 + smooth_map((nz, ny, nx), 2, rng), 0, 1).reshape(image.shape)
    return np.asarray(image + share * (soft - image), np.float32)


def normalised(image: Floats) -> Floats:
    """Non-negative, with the 99.5th percentile of what is not background at 1; float32 or complex64."""
    size = np.abs(image)
    top = float(size.max()) if size.size else 0.0
    if not top > 0:
        return np.ascontiguousarray(image)
    seen = size[size > 0.02 * top]
    k = int(0.995 * (len(seen) - 1))
    level = float(np.partition(seen, k)[k])
    if np.iscomplexobj(image):
        return np.asarray(image / level, np.complex64)
    return np.asarray(np.maximum(image, 0) / np.float32(level), np.float32)
