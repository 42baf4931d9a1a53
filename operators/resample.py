"""Loss of resolution as physics: blur by a point spread function, binning of pixels, cut-off k-space.

All three run, and differentiate, in the arithmetic of the caller's own library.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from typing import Any, Literal

import numpy as np

from . import dispatch
from .base import Composed, LinearOperator
from .calculus import Diagonal
from .fourier import FFT

Array = Any
Boundary = Literal["reflect", "zero"]
TAIL = 4.0  # standard deviations at which a Gaussian is cut off
FIELDS = ("real", "complex")


@dataclass(frozen=True, repr=False)
class Blur(LinearOperator):
    """Convolution with a point spread function: a Gaussian, or any small kernel.

    ``y[i] = sum_k w[k] x[i - k]`` along the blurred axes, the kernel's origin in its middle. The adjoint is
    exact at the borders too, whichever way the image goes on there.

    Parameters
    ----------
    shape : tuple of int
        Shape of one image.
    sigma : float or tuple of float, optional
        Standard deviation of a Gaussian in pixels, one number or one per blurred axis; sampled at the pixels,
        cut off after 4 standard deviations, of sum 1. An axis of 0 is left as it is.
    kernel : array, optional
        The point spread function itself, one axis per blurred axis, of odd size; it is not normalised.
    axes : tuple of int, optional
        Blurred axes of `shape`; all by default.
    boundary : {"reflect", "zero"}
        Beyond its border the image is its mirror image (a b c | c b a: what is uniform stays uniform), or 0.

    Raises
    ------
    ValueError
        If not exactly one of `sigma` and `kernel` is given, if they do not fit the axes, or if a kernel
        reaches further than the mirror image does.

    Examples
    --------
    >>> Blur((5,), kernel=[1.0, 2.0, 0.0])(np.array([0.0, 0.0, 1.0, 0.0, 0.0]))
    array([0., 1., 2., 0., 0.])
    >>> Blur((3, 8, 8), 1.5, axes=(-2, -1))(np.ones((3, 8, 8))).std() < 1e-15
    np.True_
    """

    shape: tuple[int, ...]
    sigma: float | tuple[float, ...] | None = None
    kernel: Any = None
    axes: tuple[int, ...] | None = None
    boundary: Boundary = "reflect"

    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: self.shape)

    def __post_init__(self) -> None:
        axes = _settled(self)
        if (self.sigma is None) == (self.kernel is None):
            raise ValueError("Blur takes either sigma or kernel")
        if self.boundary not in ("reflect", "zero"):
            raise ValueError(f"boundary is {self.boundary!r}; it must be reflect or zero")
        if self.sigma is not None:
            widths = _per_axis("sigma", self.sigma, axes)
            if not all(0 <= s < math.inf for s in widths):
                raise ValueError(f"sigma is {self.sigma}; give widths of 0 or more pixels")
            object.__setattr__(self, "sigma", tuple(widths))
        else:
            object.__setattr__(self, "kernel", _checked_kernel(self.kernel, axes))
        for axis, reach in _reaches(self._factors):
            if self.boundary == "reflect" and reach > self.shape[axis]:
                raise ValueError(
                    f"the kernel reaches {reach} pixels along axis {axis}, which has {self.shape[axis]}; "
                    "use boundary='zero', or a narrower kernel"
                )

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]
        return all(weight >= 0 for factor in self._factors for _, weight in factor)

    @cached_property
    def _factors(self) -> tuple[tuple[tuple[tuple[tuple[int, int], ...], float], ...], ...]:
        """Kernels applied one after the other, each as shifts ((axis, pixels), ...) and their weight."""
        assert isinstance(self.axes, tuple)
        if self.sigma is not None:
            assert isinstance(self.sigma, tuple)
            pairs = [(axis, s) for axis, s in zip(self.axes, self.sigma, strict=True) if s > 0]
            return tuple(tuple((((axis, k),), w) for k, w in _gaussian(s)) for axis, s in pairs)
        weights = np.asarray(self.kernel)
        taps = []
        for at in product(*map(range, weights.shape)):
            if weights[at] != 0:
                shift = tuple((a, i - n // 2) for a, i, n in zip(self.axes, at, weights.shape, strict=True))
                taps.append((shift, float(weights[at])))
        return (tuple(taps),)

    def norm_bound(self) -> float:
        """Bound of the same blur with the sizes of its weights."""
        if self.nonnegative:
            return super().norm_bound()
        return replace(self, kernel=np.abs(np.asarray(self.kernel))).norm_bound()

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        out[...] = self.evaluate(x, adjoint=adjoint)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        dispatch.check(self, x, adjoint=adjoint)
        for factor in self._factors[::-1] if adjoint else self._factors:
            x = self._convolve(x, factor, adjoint=adjoint)
        return x

    def _convolve(self, x: Array, taps: Any, *, adjoint: bool) -> Array:
        """One factor: every tap is a cut of the continued image; the adjoint puts the cuts back."""
        xp = dispatch.namespace(x)
        if not taps:
            return xp.zeros_like(x)
        margins = dict(_reaches((taps,)))
        for axis, reach in margins.items():
            x = _zeros_around(xp, x, axis, 2 * reach) if adjoint else self._continued(xp, x, axis, reach)
        total = None
        for shift, weight in taps:
            cut = x
            for axis, k in shift:
                start, n = margins[axis] + (k if adjoint else -k), self.shape[axis]
                cut = _cut(cut, axis, start, start + n + (2 * margins[axis] if adjoint else 0))
            term = cut if weight == 1 else weight * cut
            total = term if total is None else total + term
        for axis, reach in margins.items() if adjoint else ():
            total = self._folded(xp, total, axis, reach)
        return total

    def _continued(self, xp: Any, x: Array, axis: int, reach: int) -> Array:
        if self.boundary == "zero" or reach == 0:
            return _zeros_around(xp, x, axis, reach)
        n = self.shape[axis]
        ends = (_cut(x, axis, 0, reach), _cut(x, axis, n - reach, n))
        before, after = (xp.flip(end, axis=axis) for end in ends)
        return xp.concat([before, x, after], axis=axis)

    def _folded(self, xp: Any, x: Array, axis: int, reach: int) -> Array:
        """Adjoint of `_continued`."""
        n = self.shape[axis]
        inside = _cut(x, axis, reach, reach + n)
        if self.boundary == "zero" or reach == 0:
            return inside
        ends = (_cut(x, axis, 0, reach), _cut(x, axis, reach + n, n + 2 * reach))
        before, after = (xp.flip(end, axis=axis) for end in ends)
        empty = xp.zeros_like(_cut(inside, axis, 0, n - reach))
        return inside + xp.concat([before, empty], axis=axis) + xp.concat([empty, after], axis=axis)


@dataclass(frozen=True, repr=False)
class Downsample(LinearOperator):
    """The mean over boxes of pixels: what larger pixels, or binned detector elements, would have measured.

    Intensities stay the same; the adjoint spreads each mean evenly over its box. On a sinogram the mean of
    neighbouring bins is their binning as far as the line integrals change little within a bin: counts add up
    before the logarithm.

    Parameters
    ----------
    shape : tuple of int
        Shape of one image or sinogram.
    factor : int or tuple of int
        Pixels per box, one number or one per binned axis.
    axes : tuple of int, optional
        Binned axes of `shape`; all by default.

    Raises
    ------
    ValueError
        If a factor is not a positive whole number, or does not divide its axis.

    Examples
    --------
    >>> Downsample((2, 6), 3, axes=(-1,))(np.arange(12.0).reshape(2, 6))
    array([[ 1.,  4.],
           [ 7., 10.]])
    """

    shape: tuple[int, ...]
    factor: int | tuple[int, ...]
    axes: tuple[int, ...] | None = None
    nonnegative = True

    in_shape = property(lambda self: self.shape)

    def __post_init__(self) -> None:
        axes = _settled(self)
        factors = _per_axis("factor", self.factor, axes)
        if not all(f >= 1 and f == int(f) for f in factors):
            raise ValueError(f"factor is {self.factor}; give whole numbers of 1 or more, such as 2")
        for axis, f in zip(axes, factors, strict=True):
            n = self.shape[axis]
            if n % f:
                raise ValueError(
                    f"axis {axis} has {n} pixels, which boxes of {int(f)} do not fill; "
                    f"crop it to {n - n % int(f)} or pad it to {n + int(f) - n % int(f)}"
                )
        object.__setattr__(self, "factor", tuple(int(f) for f in factors))

    @property
    def out_shape(self) -> tuple[int, ...]:
        return tuple(n // f for n, f in zip(self.shape, self._boxes, strict=True))

    @cached_property
    def _boxes(self) -> tuple[int, ...]:
        """Size of a box along every axis of the shape."""
        assert isinstance(self.factor, tuple) and isinstance(self.axes, tuple)
        found = dict(zip(self.axes, self.factor, strict=True))
        return tuple(found.get(axis, 1) for axis in range(-len(self.shape), 0))

    def norm_bound(self) -> float:
        """Exactly one over the square root of the pixels in a box."""
        return 1 / math.sqrt(math.prod(self._boxes))

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        out[...] = self.evaluate(x, adjoint=adjoint)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        lead = dispatch.check(self, x, adjoint=adjoint)
        xp, d = dispatch.namespace(x), len(self.shape)
        sizes = [size for pair in zip(self.out_shape, self._boxes, strict=True) for size in pair]
        inner = tuple(range(len(lead) + 1, len(lead) + 2 * d, 2))
        weight = 1 / math.prod(self._boxes)
        if not adjoint:
            return xp.sum(xp.reshape(x, (*lead, *sizes)), axis=inner, dtype=x.dtype) * weight
        single = [size for n in self.out_shape for size in (n, 1)]
        spread = xp.broadcast_to(xp.reshape(x * weight, (*lead, *single)), (*lead, *sizes))
        return xp.reshape(spread, (*lead, *self.shape))


@dataclass(frozen=True, repr=False)
class KSpaceCrop(LinearOperator):
    """The image that a scan of less k-space would have given, on its own coarser grid.

    ``y = g F_m^H C F_n x`` with centred orthonormal transforms of n and of m points and the cut C to the
    frequencies ``-(m // 2) ... (m - 1) // 2``. The gain ``g = sqrt(m / n)`` along every axis keeps
    intensities as they are: of an image without higher frequencies it takes the samples
    ``y[j] = x[n // 2 + (j - m // 2) n / m]``. Both grids have their origin at voxel ``n // 2`` (``m // 2``),
    as everywhere in k-space here, so that for even sizes the first voxels of both lie in one place.

    Parameters
    ----------
    shape : tuple of int
        Shape of one image.
    crop : int or tuple of int
        Frequencies that are kept, one number or one per axis of `axes`.
    axes : tuple of int, optional
        Axes of `shape`; all by default.
    field : {"complex", "real"}
        Complex: the operator of MRI, which turns real images into complex ones where an even crop keeps a
        frequency without its mirror image. Real: the real part of that for a real image, which splits such a
        frequency evenly over both; complex images are mapped part by part.

    Raises
    ------
    ValueError
        If a crop is not between 1 and the size of its axis.

    Examples
    --------
    >>> wave = np.cos(2 * np.pi * (np.arange(8) - 4) / 8)
    >>> KSpaceCrop((8,), 4, field="real")(wave).round(12) + 0.0
    array([-1.,  0.,  1.,  0.])
    """

    shape: tuple[int, ...]
    crop: int | tuple[int, ...]
    axes: tuple[int, ...] | None = None
    field: Literal["real", "complex"] = "complex"

    in_shape = property(lambda self: self.shape)

    def __post_init__(self) -> None:
        axes = _settled(self)
        sizes = _per_axis("crop", self.crop, axes)
        for axis, m in zip(axes, sizes, strict=True):
            if not (m == int(m) and 1 <= m <= self.shape[axis]):
                raise ValueError(
                    f"crop is {self.crop}; keep from 1 to {self.shape[axis]} frequencies along axis {axis}"
                )
        if self.field not in FIELDS:
            raise ValueError(f"field is {self.field!r}; it must be real or complex")
        object.__setattr__(self, "crop", tuple(int(m) for m in sizes))

    @property
    def out_shape(self) -> tuple[int, ...]:
        kept = self._kept
        return tuple(
            kept.get(axis, n) for axis, n in zip(range(-len(self.shape), 0), self.shape, strict=True)
        )

    @cached_property
    def _kept(self) -> dict[int, int]:
        assert isinstance(self.crop, tuple) and isinstance(self.axes, tuple)
        return dict(zip(self.axes, self.crop, strict=True))

    @property
    def _gain(self) -> float:
        return math.sqrt(math.prod(m / self.shape[axis] for axis, m in self._kept.items()))

    @property
    def gram(self) -> LinearOperator:
        """Complex: a low-pass filter, with two transforms instead of four."""
        if self.field == "real":
            return super().gram
        F = FFT(self.shape, self.axes)
        return Composed.of(F.H, Diagonal(self.shape, self._passed), F)

    @cached_property
    def _passed(self) -> Array:
        """Squared gain of every frequency, broadcasting to the shape."""
        gain = np.full((1,) * len(self.shape), self._gain**2)
        for axis, m in self._kept.items():
            inside = np.zeros(self.shape[axis])
            start = self.shape[axis] // 2 - m // 2
            inside[start : start + m] = 1
            gain = gain * inside.reshape(-1, *(1,) * (-axis - 1))
        return gain

    def norm_bound(self) -> float:
        """The gain: everything else is an isometry or leaves something out."""
        return self._gain

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        out[...] = self.evaluate(x, adjoint=adjoint)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        dispatch.check(self, x, adjoint=adjoint)
        xp = dispatch.namespace(x)
        if self.field == "complex":
            return self._resample(xp, x, adjoint=adjoint)
        if "complex" not in dispatch.dtype_name(x):
            return xp.real(self._resample(xp, x, adjoint=adjoint))
        re, im = (xp.real(self._resample(xp, part, adjoint=adjoint)) for part in (xp.real(x), xp.imag(x)))
        return re + 1j * im

    def _resample(self, xp: Any, x: Array, *, adjoint: bool) -> Array:
        fine, coarse = FFT(self.shape, self.axes), FFT(self.out_shape, self.axes)
        spectrum = (coarse if adjoint else fine).evaluate(x, adjoint=False)
        for axis, m in self._kept.items():
            n = self.shape[axis]
            before = n // 2 - m // 2
            if adjoint:
                spectrum = _zeros_around(xp, spectrum, axis, before, n - m - before)
            else:
                spectrum = _cut(spectrum, axis, before, before + m)
        return (fine if adjoint else coarse).evaluate(spectrum, adjoint=True) * self._gain


def _settled(op: Any) -> tuple[int, ...]:
    """Write shape and axes of an operator in their plain form: axes in order, counted from the end."""
    shape = tuple(int(n) for n in op.shape)
    n = len(shape)
    axes = tuple(range(-n, 0)) if op.axes is None else tuple(int(a) for a in op.axes)
    if not n or min(shape) < 1:
        raise ValueError(f"{op.label} shape {op.shape} must have one or more axes of positive size")
    if any(not -n <= a < n for a in axes) or len({a % n for a in axes}) < len(axes) or not axes:
        raise ValueError(f"axes {axes} of an array of {n} axes; give each of them once, from {-n} to {n - 1}")
    counted = tuple(a % n - n for a in axes)
    if counted != tuple(sorted(counted)):
        raise ValueError(f"axes {axes} are out of order; give them as they stand in the shape")
    object.__setattr__(op, "shape", shape)
    object.__setattr__(op, "axes", counted)
    return counted


def _per_axis(name: str, value: Any, axes: tuple[int, ...]) -> list[float]:
    values = list(value) if isinstance(value, Sequence | np.ndarray) else [value] * len(axes)
    if len(values) != len(axes):
        raise ValueError(f"{name} {value} has {len(values)} numbers for {len(axes)} axes")
    return values


def _checked_kernel(kernel: Any, axes: tuple[int, ...]) -> Any:
    """The kernel as nested tuples: hashable, and written out by repr."""
    weights = np.asarray(dispatch.to_numpy(kernel), np.float64)
    if weights.ndim != len(axes):
        raise ValueError(
            f"the kernel has {weights.ndim} axes for {len(axes)} blurred axes; give it one for each"
        )
    if not all(n % 2 for n in weights.shape):
        raise ValueError(
            f"the kernel has shape {weights.shape}; pad it to odd sizes: its origin is the middle"
        )
    if not np.isfinite(weights).all():
        raise ValueError("the kernel holds values that are not finite; give finite weights")

    def nested(value: Any) -> Any:
        return tuple(map(nested, value)) if isinstance(value, list) else float(value)

    return nested(weights.tolist())


def _gaussian(sigma: float) -> list[tuple[int, float]]:
    """Offsets and weights of a sampled Gaussian of sum 1."""
    reach = int(TAIL * sigma + 0.5)
    values = [math.exp(-0.5 * (k / sigma) ** 2) for k in range(-reach, reach + 1)]
    total = sum(values)
    return [(k, value / total) for k, value in zip(range(-reach, reach + 1), values, strict=True)]


def _reaches(factors: Any) -> list[tuple[int, int]]:
    """Axis and largest shift of every axis that some factor shifts."""
    found: dict[int, int] = {}
    for factor in factors:
        for shift, _ in factor:
            for axis, k in shift:
                found[axis] = max(found.get(axis, 0), abs(k))
    return list(found.items())


def _cut(x: Array, axis: int, start: int, stop: int) -> Array:
    """Part of one axis, which is counted from the end."""
    return x[(..., slice(start, stop), *(slice(None),) * (-axis - 1))]


def _zeros_around(xp: Any, x: Array, axis: int, before: int, after: int | None = None) -> Array:
    """Zeros at both ends of an axis."""

    def zeros(n: int) -> Array:
        shape = list(x.shape)
        shape[axis] = n
        like = _cut(x, axis, 0, 1)
        return xp.broadcast_to(xp.zeros_like(like), tuple(shape))

    parts = [zeros(before)] if before else []
    parts.append(x)
    if after or (after is None and before):
        parts.append(zeros(before if after is None else after))
    return xp.concat(parts, axis=axis) if len(parts) > 1 else x
