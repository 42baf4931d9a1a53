"""Dynamic images as a background of low rank plus what changes sparsely."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from rayfold.operators import LinearOperator
from rayfold.operators.base import Composed
from rayfold.operators.dispatch import check, namespace
from rayfold.recon.checks import positive
from rayfold.recon.priors.low_rank import LowRank
from rayfold.recon.priors.prior import Prior
from rayfold.recon.priors.sparsity import shrunk
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.fista import FISTA
from rayfold.recon.solvers.run import Status, run

Array = Any


class LowRankSparse(NamedTuple):
    """Result of `low_rank_sparse`: series ``(..., frames, ny, nx)``.

    Attributes
    ----------
    low_rank : array
        What the frames share, or change together.
    sparse : array
        What else changes.
    """

    low_rank: Array
    sparse: Array

    @property
    def image(self) -> Array:
        """The series itself, the sum of both."""
        return self.low_rank + self.sparse


@dataclass(frozen=True)
class Total(LinearOperator):
    """The sum of two components, ``(2, *shape) -> shape``.

    Parameters
    ----------
    shape : tuple of int
        Shape of one component.

    Examples
    --------
    >>> import numpy as np
    >>> Total((3,))(np.array([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]))
    array([2., 3., 4.])
    """

    shape: tuple[int, ...]
    nonnegative = True

    in_shape = property(lambda self: (2, *self.shape))
    out_shape = property(lambda self: self.shape)

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        out[...] = self.evaluate(x, adjoint=adjoint)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        check(self, x, adjoint=adjoint)
        if adjoint:
            return namespace(x).stack([x, x], axis=-len(self.in_shape))
        low, sparse = _components(x, len(self.shape))
        return low + sparse


@dataclass(frozen=True)
class LowRankSparsePrior(Prior):
    """``low_rank * |L|_* + sparse * |T S|_1`` of two stacked series ``x = (L, S)``.

    Parameters
    ----------
    low_rank : float or array
        Weight of the sum of singular values of L, frames against pixels; one number per problem if an array.
    sparse : float or array
        Weight of the absolute values of S, after the transform.
    transform : {"fourier", "none"}
        T: the orthonormal Fourier transform along the frames, or none.
    ndim : int
        Axes of one series.
    """

    low_rank: Any
    sparse: Any
    transform: Literal["fourier", "none"] = "fourier"
    ndim: int = 3

    def value(self, x: Array) -> Array:
        low, sparse = _components(x, self.ndim)
        xp, axes = namespace(x), tuple(range(-self.ndim, 0))
        rank = LowRank(1.0, self.ndim).value(low)
        return self.low_rank * rank + self.sparse * xp.sum(abs(self._forward(sparse)), axis=axes)

    def prox(self, x: Array, step: Array | float) -> Array:
        low, sparse = _components(x, self.ndim)
        if not isinstance(step, int | float):  # one per problem, with the axes of both components
            step = step[..., 0, *(slice(None),) * self.ndim] if len(step.shape) > self.ndim else step
        low = LowRank(1.0, self.ndim).prox(low, step * _wide(self.low_rank, self.ndim))
        sparse = self._back(shrunk(self._forward(sparse), step * _wide(self.sparse, self.ndim)))
        return namespace(x).stack([low, sparse], axis=-self.ndim - 1)

    def _forward(self, series: Array) -> Array:
        if self.transform == "none":
            return series
        return namespace(series).fft.fft(series, axis=-self.ndim, norm="ortho")

    def _back(self, series: Array) -> Array:
        if self.transform == "none":
            return series
        return namespace(series).fft.ifft(series, axis=-self.ndim, norm="ortho")


def low_rank_sparse(
    A: LinearOperator,
    y: Array,
    *,
    low_rank: float = 0.01,
    sparse: float = 0.02,
    transform: Literal["fourier", "none"] = "fourier",
    iterations: int = 100,
    callback: Callable[[Status], bool | None] | None = None,
) -> LowRankSparse:
    """Series of images from undersampled data: ``min 1/2 |A(L + S) - y|^2 + a |L|_* + b |T S|_1``.

    Parameters
    ----------
    A : LinearOperator
        From a series ``(frames, ny, nx)`` or ``(frames, nz, ny, nx)`` to data.
    y : array, (..., *A.out_shape)
        Data, noise of equal size in all samples (whitened); unmeasured places are 0.
    low_rank : float
        a over the largest singular value of ``A.H y``, frames against pixels.
    sparse : float
        b over the largest absolute value of ``T A.H y``; above `low_rank`, or a background that stands still
        costs less as a part of S.
    transform : {"fourier", "none"}
        T: the Fourier transform along the frames, for what repeats; none for what comes and goes.
    iterations : int
        Steps of FISTA.
    callback : callable, optional
        As for `run`; ``status.x`` holds both components, ``(..., 2, frames, ny, nx)``.

    Returns
    -------
    LowRankSparse
        `low_rank`, `sparse` and their sum `image`.

    Raises
    ------
    ValueError
        If A does not act on a series, the data do not fit, or a weight is not positive.

    References
    ----------
    R. Otazo, E. Candes, D. K. Sodickson, Magn. Reson. Med. 73 (2015) 1125.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Identity
    >>> series = np.ones((8, 4, 4))
    >>> series[3, 2, 2] = 5.0
    >>> found = low_rank_sparse(Identity((8, 4, 4)), series, transform="none")
    >>> float(found.low_rank[3, 2, 2].round(1)), int((abs(found.sparse) > 0.1).sum())
    (1.0, 1)
    """
    positive(low_rank=low_rank, sparse=sparse, iterations=iterations)
    if transform not in ("fourier", "none"):
        raise ValueError(f"transform is {transform!r}; it must be 'fourier' or 'none'")
    shape = tuple(A.in_shape)
    if len(shape) not in (3, 4):
        raise ValueError(f"the operator acts on shape {shape}; it must be a series, (frames, [nz,] ny, nx)")
    ndim = len(shape)
    problem = Problem(Composed.of(A, Total(shape)), y)
    problem.check()
    xp, back = namespace(y), A.H(y)
    if transform == "fourier" and "complex" not in str(back.dtype):
        back = back + 0j
        problem = problem._replace(y=y + 0j)
    flat = xp.reshape(back, (*back.shape[: back.ndim - ndim], shape[0], math.prod(shape[1:])))
    unit = LowRankSparsePrior(1.0, 1.0, transform, ndim)
    rank = xp.max(xp.linalg.svd(flat, full_matrices=False)[1], axis=-1)
    size = xp.max(abs(unit._forward(back)), axis=tuple(range(-ndim, 0)))
    prior = LowRankSparsePrior(low_rank * rank, sparse * size, transform, ndim)
    x = run(FISTA(prior), problem, iterations, callback=callback).x
    return LowRankSparse(*_components(x, ndim))


def _components(x: Array, ndim: int) -> tuple[Array, Array]:
    rest = (slice(None),) * ndim
    return x[(..., 0, *rest)], x[(..., 1, *rest)]


def _wide(value: Any, ndim: int) -> Any:
    """A weight, ready to multiply series."""
    return value if isinstance(value, int | float) else value.reshape((*value.shape, *(1,) * ndim))
