"""Centred orthonormal Fourier transforms, and the sampling of Cartesian k-space."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import dispatch
from .base import Identity, LinearOperator
from .calculus import Diagonal

Array = Any


def fft(x: Array, axes: tuple[int, ...] | None = None) -> Array:
    """Centred orthonormal discrete Fourier transform ``exp(-i k x)`` in the library of `x`.

    Parameters
    ----------
    x : array
        Real or complex; the origin of every transformed axis is at index ``n // 2``, before and after.
    axes : tuple of int, optional
        Transformed axes; all by default.

    Returns
    -------
    array
        Complex, of the shape and precision of `x`.

    Examples
    --------
    >>> abs(fft(np.ones((4, 4)))).sum(axis=0)  # one frequency, in the middle
    array([0., 0., 4., 0.])
    """
    return _transform(x, axes, inverse=False)


def ifft(y: Array, axes: tuple[int, ...] | None = None) -> Array:
    """Inverse of `fft`, and its adjoint.

    Examples
    --------
    >>> x = np.arange(5.0)
    >>> bool(np.allclose(ifft(fft(x)), x))
    True
    """
    return _transform(y, axes, inverse=True)


def _transform(x: Array, axes: tuple[int, ...] | None, *, inverse: bool) -> Array:
    xp = dispatch.namespace(x)
    axes = tuple(range(x.ndim)) if axes is None else tuple(axes)
    if "complex" not in dispatch.dtype_name(x):
        x = x + xp.zeros_like(x) * 1j
    if not axes or math.prod(x.shape) == 0:
        return x
    x = xp.fft.ifftshift(x, axes=axes)
    if isinstance(x, np.ndarray):
        import scipy.fft

        from rayfold.kernels.cpu.threads import n_threads

        run = scipy.fft.ifftn if inverse else scipy.fft.fftn
        y = run(x, axes=axes, norm="ortho", overwrite_x=True, workers=n_threads())
    else:
        y = (xp.fft.ifftn if inverse else xp.fft.fftn)(x, axes=axes, norm="ortho")
    return xp.fft.fftshift(y, axes=axes)


@dataclass(frozen=True)
class FFT(LinearOperator):
    """Centred orthonormal Fourier transform of an image or of some of its axes: an isometry.

    ``y[k] = n^(-1/2) sum_x x[x] exp(-2 pi i (k - n//2) (x - n//2) / n)`` along every transformed axis.

    Parameters
    ----------
    shape : tuple of int
        Shape of one input and one output.
    axes : tuple of int, optional
        Transformed axes of `shape`; all by default.

    Raises
    ------
    ValueError
        If an axis is not one of `shape`.

    Examples
    --------
    >>> F = FFT((4, 6))
    >>> bool(np.allclose(F.H(F(np.ones((2, 4, 6)))), 1))
    True
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...] | None = None

    field = "complex"
    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: self.shape)

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        n = len(shape)
        axes = tuple(range(-n, 0)) if self.axes is None else tuple(int(a) for a in self.axes)
        if any(not -n <= a < n for a in axes) or len({a % n for a in axes}) < len(axes):
            raise ValueError(
                f"axes {axes} of an array of {n} axes; give each of them once, from {-n} to {n - 1}"
            )
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "axes", tuple(sorted(a % n - n for a in axes)))

    @property
    def gram(self) -> LinearOperator:
        return Identity(self.shape)

    def norm_bound(self) -> float:
        """Exactly 1: the transform is an isometry."""
        return 1.0

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        out[...] = self.evaluate(x, adjoint=adjoint)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        dispatch.check(self, x, adjoint=adjoint)
        return _transform(x, self.axes, inverse=adjoint)


@dataclass(frozen=True, eq=False, repr=False)
class CartesianMask(Diagonal):
    """Which points of Cartesian k-space are measured; data are zero elsewhere.

    ``y = weights * x``: k-space keeps its grid, so that data of any pattern look alike. In a `Problem` give
    the unmeasured points no weight: ``Gaussian.from_weights(mask / sigma**2)``.

    Parameters
    ----------
    shape : tuple of int
        Shape of k-space, ``(ny, nx)`` or ``(nz, ny, nx)``.
    weights : array
        True, or 1, where k-space is measured, or any weight; broadcasts to `shape` from the right. The
        operand ``weights``, which may be learned.

    Raises
    ------
    ValueError
        If the mask does not broadcast to `shape`, or holds values that are not finite.

    Examples
    --------
    >>> lines = np.array([True, False, True, False])
    >>> M = CartesianMask((4, 2), lines[:, None])
    >>> M(np.ones((4, 2))).sum(axis=1)
    array([2., 0., 2., 0.])
    """

    def __post_init__(self) -> None:
        if isinstance(self.weights, np.ndarray):
            mask = self.weights
            last = mask.shape[-len(self.shape) :]  # an operand that is bound may have batch axes in front
            if any(n not in (1, m) for n, m in zip(last[::-1], self.shape[::-1], strict=False)):
                raise ValueError(f"the mask has shape {mask.shape}, k-space {self.shape}; it must broadcast")
            if not bool(np.isfinite(mask).all()):
                raise ValueError("the mask holds values that are not finite; it must be 0, 1 or a weight")
            if mask.dtype.kind not in "fc":
                object.__setattr__(self, "weights", mask.astype(np.float32))
        super().__post_init__()
