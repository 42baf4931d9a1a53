"""Gram operators of Fourier sampling as convolutions: two transforms of twice the grid, whatever the data."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from .base import LinearOperator

if TYPE_CHECKING:
    from .nufft import NUFFT

Array = Any
BUILD_EPS = 1e-14  # the kernel is made in double precision, once


@dataclass(frozen=True, eq=False, repr=False)
class Toeplitz(LinearOperator):
    """``A.H W A`` of a `NUFFT`: a convolution with the point spread function of its sampling.

    ``(T x)_n = sum_m q(n - m) x_m`` with ``q(d) = 1/n sum_j w_j exp(i k_j . d)``, by Fourier transforms of
    twice the grid. Self-adjoint. With a basis of K components, ``q`` is a K x K matrix of such functions.

    Parameters
    ----------
    shape : tuple of int
        Image.
    kernel : ndarray
        As `rayfold.kernels.toeplitz.prepare` gives it; the operand ``kernel``.
    components : int, optional
        K, where component images are mixed.
    lead : tuple of int
        Leading axes (coils), before the components.

    References
    ----------
    F. T. A. W. Wajer and K. P. Pruessmann, Proc. ISMRM (2001) 767; J. A. Fessler et al., IEEE Trans. Signal
    Process. 53 (2005) 3393; C. A. Baron et al., Magn. Reson. Med. 79 (2018) 1685.

    Examples
    --------
    >>> from rayfold.operators import NUFFT
    >>> k = np.random.default_rng(0).uniform(-np.pi, np.pi, (50, 2))
    >>> A = NUFFT((6, 5), k)
    >>> x = np.ones((6, 5), complex)
    >>> bool(np.allclose(A.gram(x), A.H(A(x)))), type(A.gram).__name__
    (True, 'Toeplitz')
    """

    shape: tuple[int, ...]
    kernel: Array
    components: int | None = None
    lead: tuple[int, ...] = ()
    real: bool = False
    size: tuple[int, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if self.kernel is not None and not self.size:
            object.__setattr__(self, "size", tuple(self.kernel.shape))
        bare = self if self.kernel is None else replace(self, kernel=None)
        object.__setattr__(self, "_bare", bare)

    @property
    def field(self) -> Any:  # type: ignore[override]
        """Real for real images, as in CT; else complex."""
        return "real" if self.real else "complex"

    @classmethod
    def of(cls, A: NUFFT, weights: Array | None = None, *, real: bool = False) -> Self:
        """Gram of a `NUFFT` with real weights that broadcast to its samples.

        Parameters
        ----------
        A : NUFFT
            Its leading axes become those of the gram.
        weights : ndarray, optional
            Real; one or none for all samples, or one per sample.
        real : bool
            For real images only: half the work, where the sampling is symmetric.

        Raises
        ------
        ValueError
            If the weights do not broadcast to the samples, or are complex or not finite.

        Examples
        --------
        >>> from rayfold.operators import NUFFT
        >>> T = Toeplitz.of(NUFFT((4, 4), np.zeros((3, 2))))
        >>> round(float(abs(T(np.ones((4, 4), complex))[0, 0])), 9)  # three samples of the mean
        3.0
        """
        from rayfold.kernels import toeplitz

        samples = (A.points or ())[:-1]
        w = _checked(np.ones(()) if weights is None else np.asarray(weights), samples)
        k = np.asarray(A.trajectory).reshape(-1, len(A.shape))
        if A.basis is None:
            rows = [w.reshape(-1)]
        else:
            b = np.asarray(A.basis).reshape(len(A.basis), -1)
            rows = [w.reshape(-1) * b[i].conj() * b[j] for i, j in _upper(len(b))]
        spectra = [_spectrum(k, row, A.shape) for row in rows]
        if all(
            np.isrealobj(row) for row in rows
        ):  # real weights make a hermitian kernel: its spectrum is real
            spectra = [s.real for s in spectra]
        stacked = np.stack(spectra) if A.basis is not None else spectra[0]
        kernel = toeplitz.prepare(stacked, A.shape, real=real)
        kernel.setflags(write=False)
        return cls(A.shape, kernel, A.components, A.lead, real=real)

    @property
    def _mixed(self) -> tuple[int, ...]:
        return () if self.components is None else (self.components,)

    in_shape = property(lambda self: (*self.lead, *self._mixed, *self.shape))
    out_shape = property(lambda self: self.in_shape)
    H = property(lambda self: self)

    @property
    def operands(self) -> Mapping[str, Array]:
        return {} if self.kernel is None else {"kernel": self.kernel}

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"kernel": self.size}

    @property
    def structure(self) -> LinearOperator:
        return self._bare  # type: ignore[attr-defined, no-any-return]

    def over(self, lead: tuple[int, ...]) -> LinearOperator:
        return replace(self, lead=(*lead, *self.lead)) if lead else self

    def between(self, inner: LinearOperator) -> LinearOperator:
        from .coils import CoilSensitivities
        from .sense_gram import SenseGram

        fused = SenseGram.of(self, inner) if isinstance(inner, CoilSensitivities) else None
        return super().between(inner) if fused is None else fused

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        from rayfold.kernels import toeplitz

        kernel = operands["kernel"]
        if kernel.ndim > len(self.size):
            for i in range(len(x)):
                self.apply(x[i : i + 1], out[i : i + 1], adjoint=adjoint, kernel=kernel[i])
            return
        double = str(x.dtype) in ("float64", "complex128")
        kernel = in_precision(kernel, double, x)
        batch = (-1, self.components or 1, *self.shape)
        toeplitz.apply(x.reshape(batch), kernel, out.reshape(batch))


def _checked(weights: Array, samples: tuple[int, ...]) -> Array:
    """Weights for all samples, in double precision."""
    fits = weights.ndim <= len(samples) and all(
        n in (1, m) for n, m in zip(weights.shape[::-1], samples[::-1], strict=False)
    )
    if not fits or weights.dtype.kind == "c":
        raise ValueError(
            f"the weights are {weights.dtype} {weights.shape}; they must be real and broadcast to {samples}"
        )
    if not bool(np.isfinite(weights).all()):
        raise ValueError("the weights hold values that are not finite; give such samples the weight 0")
    return np.broadcast_to(weights.astype(np.float64), samples)


def in_precision(kernel: Array, double: bool, x: Array) -> Array:
    """A kernel in the library and precision of the images."""
    name = (("complex64", "complex128") if kernel.dtype.kind == "c" else ("float32", "float64"))[double]
    if isinstance(x, np.ndarray) or not isinstance(kernel, np.ndarray):
        return kernel.astype(name, copy=False)
    from .rays import prepared

    like = x if kernel.dtype.kind == "c" else x.real
    return prepared(like, (kernel,), ("toeplitz", name), lambda: (kernel.astype(name),))[0]


def _upper(n: int) -> list[tuple[int, int]]:
    return list(itertools.combinations_with_replacement(range(n), 2))


def _spectrum(k: Array, w: Array, shape: tuple[int, ...]) -> Array:
    """Discrete Fourier transform of the lags ``q(d)``, for d from ``1 - n`` to ``n - 1`` per axis.

    Made of transforms onto grids of n, one for each half of every axis, so that the memory stays that of one.
    With real weights ``q(-d) = conj(q(d))``, and half of them are enough.
    """
    import scipy.fft

    from rayfold.kernels.cpu.threads import n_threads
    from rayfold.kernels.toeplitz import lengths

    from .engine_finufft import make

    grid = tuple(2 * n for n in lengths(shape))
    lags = np.zeros(grid, np.complex128)
    one = np.empty((1, *shape), np.complex128)
    plan = make(k, shape, BUILD_EPS, one)  # not kept: it is needed once, and large
    hermitian = np.isrealobj(w)
    for halves in itertools.product((0,) if hermitian else (0, 1), *[(0, 1)] * (len(shape) - 1)):
        # mode m of the transform is voxel m - n // 2; the half begins at lag 0 or at lag -n
        shift = np.array([n // 2 - half * n for n, half in zip(shape, halves, strict=True)])
        strengths = (w * np.exp(1j * (k @ shift))).astype(np.complex128)
        plan.adjoint(strengths[None], one)
        put = [slice(m - n, m) if half else slice(n) for n, m, half in zip(shape, grid, halves, strict=True)]
        lags[tuple(put)] = one[0]
    for axis, (n, m) in enumerate(zip(shape, grid, strict=True)):
        # lag -n is never used; without it real weights stay hermitian
        lags[(slice(None),) * axis + (m - n,)] = 0
    if hermitian and shape[0] > 1:
        mirror = lags[shape[0] - 1 : 0 : -1].conj()
        for axis in range(1, len(grid)):
            mirror = np.roll(np.flip(mirror, axis), 1, axis)
        lags[grid[0] - shape[0] + 1 :] = mirror
    lags /= math.prod(shape)
    return scipy.fft.fftn(lags, overwrite_x=True, workers=n_threads())
