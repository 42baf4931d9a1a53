"""Orthonormal wavelet transform of images and volumes as an isometry, in every array library."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from . import dispatch
from .base import Identity, LinearOperator

Array = Any
# published taps are rounded: the families of PyWavelets are orthonormal to 2e-11 or not at all
ORTHONORMAL = 1e-10


@dataclass(frozen=True)
class Wavelet(LinearOperator):
    """Separable discrete wavelet transform with an orthonormal filter pair and periodic ends.

    The image is filled up with zeros to a multiple of ``2^levels`` and transformed by an orthogonal matrix,
    so that ``W.H(W(x)) = x`` for every size. The coefficients are one array in the usual nested layout: the
    approximation first along every axis, the details of each level after it (Mallat, "A theory for
    multiresolution signal decomposition", IEEE Trans. PAMI 11(7), 1989; filters from PyWavelets).

    Parameters
    ----------
    shape : tuple of int
        Shape of one image, any number of axes; axes of one pixel are left alone.
    wavelet : str
        An orthonormal family: "haar", "db4", "sym4", "coif2", ...
    levels : int, optional
        How often the approximation is halved; by default as often as its size exceeds the filter.
    mode : {"periodization"}
        How images go on past their ends; only periodic ends make an orthogonal matrix.

    Raises
    ------
    ValueError
        If the wavelet is unknown or not orthonormal, or `levels` does not suit the shape.

    Examples
    --------
    >>> import numpy as np
    >>> W = Wavelet((6, 7), "haar", levels=2)
    >>> W.out_shape, W.approximation
    ((8, 8), (Ellipsis, slice(0, 2, None), slice(0, 2, None)))
    >>> x = np.arange(42.0).reshape(6, 7)
    >>> bool(np.allclose(W.H(W(x)), x))
    True
    """

    shape: tuple[int, ...]
    wavelet: str = "db4"
    levels: int | None = None
    mode: str = "periodization"

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if not shape or min(shape) < 1:
            raise ValueError(f"Wavelet shape {self.shape} must have one or more axes of positive size")
        if self.mode != "periodization":
            raise ValueError(f"Wavelet mode {self.mode!r} is not orthogonal; use 'periodization'")
        length = len(_taps(self.wavelet)[0])
        sizes = [n for n in shape if n > 1]
        least = min(sizes, default=1)
        most = (least - 1).bit_length()
        levels = self.levels
        if levels is None:
            levels = max(min(1, most), (least // (length - 1)).bit_length() - 1)
        if not min(1, most) <= levels <= most:
            raise ValueError(f"Wavelet levels is {levels}; an image of shape {shape} has 1 to {most}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "levels", levels)

    in_shape = property(lambda self: self.shape)

    @property
    def out_shape(self) -> tuple[int, ...]:
        return tuple(n + extra for n, extra in zip(self.shape, self._extra, strict=True))

    @property
    def approximation(self) -> tuple[Any, ...]:
        """Index of the coarsest approximation in the coefficients, for penalties that leave it out."""
        block = 2**self._levels
        return (..., *(slice(0, n // block if n > 1 else 1) for n in self.out_shape))

    def norm_bound(self) -> float:
        """Exactly 1: the transform is an isometry."""
        return 1.0

    @property
    def gram(self) -> LinearOperator:
        return Identity(self.shape)

    @property
    def _levels(self) -> int:
        return self.levels or 0

    @property
    def _extra(self) -> tuple[int, ...]:
        """Zeros added per axis."""
        return tuple(-n % 2**self._levels if n > 1 else 0 for n in self.shape)

    @cached_property
    def _axes(self) -> tuple[int, ...]:
        """Transformed axes, counted from the last."""
        return tuple(k - len(self.shape) for k, n in enumerate(self.shape) if n > 1)

    @cached_property
    def _filters(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        return _taps(self.wavelet)

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        out[...] = self.evaluate(x, adjoint=adjoint)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        dispatch.check(self, x, adjoint=adjoint)
        xp = dispatch.namespace(x)
        if adjoint:
            for level in reversed(range(self._levels)):
                x = self._coarse(xp, x, level, self._merge)
            return x[(..., *(slice(0, n) for n in self.shape))]
        for axis, extra in zip(range(-len(self.shape), 0), self._extra, strict=True):
            if extra:
                x = xp.concat([x, xp.zeros_like(_along(x, axis, slice(0, extra)))], axis=axis)
        for level in range(self._levels):
            x = self._coarse(xp, x, level, self._split)
        return x

    def _coarse(self, xp: Any, x: Array, level: int, change: Any) -> Array:
        """Transform the approximation of a level, and put it back among the details around it."""
        if not level:  # nothing is around it
            return change(xp, x)
        block, around = x, []
        for axis in self._axes:  # details are peeled off axis by axis, then put around the result
            size = x.shape[axis] >> level
            around.append((axis, _along(block, axis, slice(size, None))))
            block = _along(block, axis, slice(0, size))
        block = change(xp, block)
        for axis, details in reversed(around):
            block = xp.concat([block, details], axis=axis)
        return block

    def _split(self, xp: Any, x: Array) -> Array:
        """One level: along every axis, the low half and then the high half."""
        for axis in self._axes:
            half = x.shape[axis] // 2
            phases = [_along(x, axis, slice(p, None, 2)) for p in (0, 1)]
            bands = [_correlate(xp, phases, _wrapped(taps, 2 * half), axis, half) for taps in self._filters]
            x = xp.concat(bands, axis=axis)
        return x

    def _merge(self, xp: Any, x: Array) -> Array:
        """The inverse of one level, which is its transpose: outputs go back to the samples they came from."""
        for axis in self._axes:
            half = x.shape[axis] // 2
            bands = [_along(x, axis, slice(0, half)), _along(x, axis, slice(half, None))]
            pair = [_wrapped(taps, 2 * half) for taps in self._filters]
            phases = []
            for phase in (0, 1):
                back = [(band - 2 * (t // 2), g) for band in (0, 1) for t, g in pair[band] if t % 2 == phase]
                phases.append(_correlate(xp, bands, back, axis, half))
            woven = (*x.shape[: len(x.shape) + axis], 2 * half, *x.shape[len(x.shape) + axis + 1 :])
            x = xp.reshape(xp.stack(phases, axis=axis), woven)
        return x


@cache
def _taps(wavelet: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Low-pass and high-pass taps, in the order in which they meet the samples."""
    import pywt

    try:
        found = pywt.Wavelet(wavelet)
    except ValueError:
        raise ValueError(
            f"{wavelet!r} is no discrete wavelet; use an orthonormal one, such as 'db4'"
        ) from None
    low, high = (np.asarray(taps) for taps in (found.rec_lo, found.rec_hi))
    # the rows of the transform are both filters moved by every even number of samples
    rows = [
        np.roll(np.pad(taps, (0, len(taps))), m) for taps in (low, high) for m in range(0, 2 * len(low), 2)
    ]
    if np.abs(np.inner(rows, rows) - np.eye(len(rows))).max() > ORTHONORMAL:
        raise ValueError(f"wavelet {wavelet!r} is not orthonormal; use haar, db1-38, sym2-20 or coif1-17")
    return tuple(map(float, low)), tuple(map(float, high))


def _wrapped(taps: tuple[float, ...], n: int) -> list[tuple[int, float]]:
    """Taps with their place against sample 2k of a periodic axis of n samples; long filters wrap around."""
    start = 1 - len(taps) // 2
    placed = [(start + k, g) for k, g in enumerate(taps)]
    if len(taps) // 2 <= n // 2:
        return placed
    wrapped = [0.0] * n
    for t, g in placed:
        wrapped[t % n] += g
    return list(enumerate(wrapped))


def _correlate(xp: Any, parts: list[Array], taps: list[tuple[int, float]], axis: int, half: int) -> Array:
    """``out[k] = sum g * parts[t % 2][k + t // 2]`` over the taps (t, g), periodic in k."""
    shifts = [t // 2 for t, _ in taps]
    before, after = max(0, -min(shifts)), max(0, *shifts)
    if before or after:
        ends = [
            (_along(x, axis, slice(half - before, None)), _along(x, axis, slice(0, after))) for x in parts
        ]
        parts = [xp.concat([left, x, right], axis=axis) for x, (left, right) in zip(parts, ends, strict=True)]
    total = None
    for t, g in taps:
        at = before + t // 2
        term = g * _along(parts[t % 2], axis, slice(at, at + half))
        if total is None:
            total = term
        else:
            total += term
    return total


def _along(x: Array, axis: int, cut: slice) -> Array:
    """Part of one axis, counted from the last."""
    return x[(..., cut, *(slice(None),) * (-axis - 1))]
