"""Finite differences as operators: the gradient of an image and the symmetrised gradient of a vector field.

NumPy and CuPy write into one buffer, which is what a primal-dual solver spends its time on; torch and JAX use
their own arithmetic, so that the differences fuse, run on any device and differentiate to any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from . import dispatch
from .base import LinearOperator

Array = Any


@dataclass(frozen=True)
class Differences(LinearOperator):
    """What both gradients share: the grid, the steps, and the bound of the norm."""

    shape: tuple[int, ...]
    spacing: tuple[float, ...] | float = 1.0

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if not shape or min(shape) < 1:
            raise ValueError(f"{self.label} shape {self.shape} must have one or more axes of positive size")
        spacing = self.spacing
        steps = tuple(map(float, spacing)) if isinstance(spacing, tuple | list) else (spacing,) * len(shape)
        if len(steps) != len(shape):
            raise ValueError(f"{self.label} spacing {steps} has {len(steps)} numbers for {len(shape)} axes")
        if not all(step > 0 and math.isfinite(step) for step in steps):
            raise ValueError(f"{self.label} spacing is {spacing}; give positive lengths, such as 0.5")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "spacing", tuple(map(float, steps)))

    @property
    def scales(self) -> tuple[float, ...]:
        """One over the spacing, per axis."""
        steps = self.spacing if isinstance(self.spacing, tuple) else (self.spacing,) * len(self.shape)
        return tuple(1 / step for step in steps)

    def norm_bound(self) -> float:
        """Upper bound of the norm, ``sqrt(sum 4 / h^2)``, reached by an endless chequerboard.

        An axis of one pixel has no differences and does not count.
        """
        return 2 * math.hypot(*(s for s, n in zip(self.scales, self.shape, strict=True) if n > 1))

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        lead = dispatch.check(self, x, adjoint=adjoint)
        if dispatch.library(type(x)) in ("torch", "jax"):
            return self._adjoint(x) if adjoint else self._forward(x)
        out = dispatch.namespace(x).empty(
            (*lead, *(self.in_shape if adjoint else self.out_shape)), dtype=x.dtype
        )
        self.apply(x, out, adjoint=adjoint)
        return out

    def _forward(self, x: Array) -> Array:
        """The map in the library's own arithmetic."""
        raise NotImplementedError

    def _adjoint(self, y: Array) -> Array:
        """Its adjoint in the library's own arithmetic."""
        raise NotImplementedError


@dataclass(frozen=True)
class Gradient(Differences):
    """Forward differences along every axis; the last difference of an axis is 0 (Neumann).

    ``(G x)_a = (x[i + 1] - x[i]) / h_a`` along axis a. The adjoint is minus the divergence of backward
    differences (Chambolle, "An algorithm for total variation minimization and applications", 2004).

    Parameters
    ----------
    shape : tuple of int
        Shape of one image, any number of axes.
    spacing : float or tuple of float
        Pixel size, one number or one per axis; the result has the unit of the image over this length.

    Raises
    ------
    ValueError
        If a size or a spacing is not positive, or their numbers differ.

    Examples
    --------
    >>> import numpy as np
    >>> Gradient((3,), 0.5)(np.array([1.0, 2.0, 4.0]))
    array([[2., 4., 0.]])
    >>> Gradient((256, 256)).out_shape
    (2, 256, 256)
    """

    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: (len(self.shape), *self.shape))

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        d = len(self.shape)
        for axis, scale in enumerate(self.scales):
            part = (out, x)[adjoint][_part(axis, d)]
            inner = _cut(axis, d, stop=-1)
            if adjoint:
                flow = part[inner] if scale == 1 else part[inner] * scale
                _pour(flow, out, axis, d, first=axis == 0)
            else:
                dispatch.namespace(x).subtract(x[_cut(axis, d, start=1)], x[inner], out=part[inner])
                part[_cut(axis, d, start=-1)] = 0
                if scale != 1:
                    part *= scale

    def _forward(self, x: Array) -> Array:
        xp, d = dispatch.namespace(x), len(self.shape)
        parts = [scale * _forward_difference(xp, x, axis, d) for axis, scale in enumerate(self.scales)]
        return xp.stack(parts, axis=-d - 1)

    def _adjoint(self, y: Array) -> Array:
        xp, d = dispatch.namespace(y), len(self.shape)
        total = None
        for axis, scale in enumerate(self.scales):
            term = scale * _forward_adjoint(xp, y[_part(axis, d)], axis, d)
            total = term if total is None else total + term
        return total


@dataclass(frozen=True)
class SymmetricGradient(Differences):
    """Symmetrised backward differences of a vector field; the first difference of an axis is 0.

    The strain ``(D v)_ab = (d_a v_b + d_b v_a) / 2``, stored as its diagonal and, times ``sqrt(2)``, what
    lies above it (row by row), so that the Euclidean norm of the components is the Frobenius norm of the
    tensor. With `Gradient` it makes the second-order total generalised variation of Bredies, Kunisch and
    Pock, "Total generalized variation", SIAM J. Imaging Sciences 3(3), 2010.

    Parameters
    ----------
    shape : tuple of int
        Shape of one component of the field; the input has as many components as axes.
    spacing : float or tuple of float
        Pixel size, one number or one per axis.

    Raises
    ------
    ValueError
        If a size or a spacing is not positive, or their numbers differ.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.add.outer(np.arange(5.0), 2 * np.arange(4.0))  # affine: no second derivative inside
    >>> bend = SymmetricGradient((5, 4))(Gradient((5, 4))(ramp))
    >>> bend.shape, float(abs(bend[:, :-1, :-1]).max())
    ((3, 5, 4), 0.0)
    """

    in_shape = property(lambda self: (len(self.shape), *self.shape))

    @property
    def out_shape(self) -> tuple[int, ...]:
        d = len(self.shape)
        return (d * (d + 1) // 2, *self.shape)

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        d = len(self.shape)
        for at, terms in enumerate(self._terms):
            tensor = (out, x)[adjoint][_part(at, d)]
            for place, (component, axis, scale) in enumerate(terms):
                vector = (x, out)[adjoint][_part(component, d)]
                before, after = _cut(axis, d, stop=-1), _cut(axis, d, start=1)
                if adjoint:
                    flow = tensor[after] if scale == 1 else tensor[after] * scale
                    _pour(flow, vector, axis, d, first=at < d)
                elif place == 0:
                    dispatch.namespace(x).subtract(vector[after], vector[before], out=tensor[after])
                    tensor[_cut(axis, d, stop=1)] = 0
                    if scale != 1:
                        tensor *= scale
                else:
                    slope = vector[after] - vector[before]
                    if scale != 1:
                        slope *= scale
                    tensor[after] += slope

    @property
    def _terms(self) -> tuple[tuple[tuple[int, int, float], ...], ...]:
        """Per entry of the tensor: which component is differentiated along which axis, times what."""
        scales, half = self.scales, math.sqrt(0.5)
        diagonal = [((a, a, s),) for a, s in enumerate(scales)]
        pairs = combinations(range(len(scales)), 2)
        return (*diagonal, *(((b, a, half * scales[a]), (a, b, half * scales[b])) for a, b in pairs))

    def _forward(self, x: Array) -> Array:
        xp, d = dispatch.namespace(x), len(self.shape)
        entries = []
        for terms in self._terms:
            slopes = [s * _backward_difference(xp, x[_part(c, d)], axis, d) for c, axis, s in terms]
            entries.append(sum(slopes[1:], slopes[0]))
        return xp.stack(entries, axis=-d - 1)

    def _adjoint(self, y: Array) -> Array:
        xp, d = dispatch.namespace(y), len(self.shape)
        components: list[Array] = [None] * d
        for at, terms in enumerate(self._terms):
            for c, axis, scale in terms:
                term = scale * _backward_adjoint(xp, y[_part(at, d)], axis, d)
                components[c] = term if components[c] is None else components[c] + term
        return xp.stack(components, axis=-d - 1)


def _cut(axis: int, d: int, start: int | None = None, stop: int | None = None) -> tuple[Any, ...]:
    """Index of part of one of the `d` last axes."""
    return (..., *(slice(start, stop) if k == axis else slice(None) for k in range(d)))


def _part(at: int, d: int) -> tuple[Any, ...]:
    """Index of one component of a field on `d` axes."""
    return (..., at, *(slice(None),) * d)


def _pour(flow: Array, out: Array, axis: int, d: int, *, first: bool) -> None:
    """Add the adjoint of the inner differences in place, or write it where nothing has been written yet."""
    after = _cut(axis, d, start=1)
    if first:
        out[_cut(axis, d, stop=1)] = 0
        out[after] = flow
    else:
        out[after] += flow
    out[_cut(axis, d, stop=-1)] -= flow


def _zero(xp: Any, x: Array, axis: int, d: int) -> Array:
    return xp.zeros_like(x[_cut(axis, d, stop=1)])


def _slope(x: Array, axis: int, d: int) -> Array:
    return x[_cut(axis, d, start=1)] - x[_cut(axis, d, stop=-1)]


def _forward_difference(xp: Any, x: Array, axis: int, d: int) -> Array:
    return xp.concat([_slope(x, axis, d), _zero(xp, x, axis, d)], axis=axis - d)


def _backward_difference(xp: Any, x: Array, axis: int, d: int) -> Array:
    return xp.concat([_zero(xp, x, axis, d), _slope(x, axis, d)], axis=axis - d)


def _forward_adjoint(xp: Any, y: Array, axis: int, d: int) -> Array:
    return _spread(xp, y[_cut(axis, d, stop=-1)], _zero(xp, y, axis, d), axis - d)


def _backward_adjoint(xp: Any, y: Array, axis: int, d: int) -> Array:
    return _spread(xp, y[_cut(axis, d, start=1)], _zero(xp, y, axis, d), axis - d)


def _spread(xp: Any, flow: Array, zero: Array, axis: int) -> Array:
    """Adjoint of the inner differences: what flows into each pixel minus what flows out."""
    return xp.concat([zero, flow], axis=axis) - xp.concat([flow, zero], axis=axis)
