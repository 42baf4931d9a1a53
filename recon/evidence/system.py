"""The linear system among the data behind every question of what they see, and its preconditioner."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.operators.base import LinearOperator
from rayfold.operators.dispatch import dtype_name, match, namespace, to_numpy
from rayfold.recon.arrays import expand
from rayfold.recon.problem import Problem

Array = Any
Floats = npt.NDArray[np.float64]


def response(A: LinearOperator, g: Array) -> Floats:
    """Effective eigenvalues of ``A A.H`` per frequency of the last data axis; one operator pair.

    The data of a random image show where in frequency the range of A lies, ``A A.H`` of them how much it is
    amplified there: for a CT scan the inverse of the ramp filter, for samples of a Fourier transform a
    constant. Numerator and denominator are pooled over a window that grows with the frequency.

    Parameters
    ----------
    A : LinearOperator
        Operator.
    g : array, (..., *A.out_shape)
        A of random images.

    Returns
    -------
    ndarray, (A.out_shape[-1] + 1,)
        From frequency 0 to the highest, 0 or more, for data padded with zeros to twice their length.

    Examples
    --------
    >>> from rayfold.operators.calculus import Diagonal
    >>> response(Diagonal((3,), np.full(3, 2.0)), np.array([1.0, -3.0, 2.0])).round(6)
    array([4., 4., 4., 4.])
    """
    m = A.out_shape[-1]
    before, after = (_transform(to_numpy(v), m) for v in (g, A(A.H(g))))
    axes = tuple(range(before.ndim - 1))
    parts = np.real(np.conj(before) * after).sum(axes), (np.abs(before) ** 2).sum(axes)
    index = np.arange(before.shape[-1])
    index = np.minimum(index, 2 * m - index)
    near = np.arange(m + 1)
    low, high = np.maximum(near - near // 4 - 1, 0), np.minimum(near + near // 4 + 1, m) + 1
    sums = [np.concatenate([[0.0], np.cumsum(np.bincount(index, part, m + 1))]) for part in parts]
    top, under = (total[high] - total[low] for total in sums)
    return np.asarray(np.maximum(_quotient(top, under), 0.0))


@dataclass(frozen=True, eq=False)
class System:
    """``H = V + A A.H`` for data in units of the image's scale, with V the covariance in these units.

    Data of no weight are left out exactly: H acts on the others alone. The preconditioner is
    ``c F c`` with F the Fourier multiplier ``1 / (response + median of V)`` along the last axis, and
    ``c^2 = (m + median of V) / (m + V)`` where m is the median response: 1 where A dominates, the inverse of
    V where the noise does.

    Parameters
    ----------
    problem : Problem
        With quadratic noise.
    scale : ndarray
        Size of the image, one number per problem.
    response : ndarray, (A.out_shape[-1] + 1,)
        As `response` returns it; all zero where nothing is known.
    """

    problem: Problem
    scale: Floats
    response: Floats

    @cached_property
    def unit(self) -> Floats:
        """The scale, and 1 where it is 0."""
        return np.asarray(np.where(self.scale > 0, self.scale, 1.0))

    def on(self, values: Floats) -> Array:
        """One number per problem, ready to multiply data."""
        return expand(match(np.asarray(values), self.problem.y), len(self.problem.A.out_shape))

    @cached_property
    def variance(self) -> Array:
        """Of each datum, infinite where it says nothing; of correlated noise None."""
        noise: Any = self.problem.noise
        if getattr(noise, "covariance", None) is not None:
            return None
        sigma = 1.0 if noise is None else noise.sigma
        root = self.on(1 / self.unit) * (
            sigma if isinstance(sigma, int | float) else match(sigma, self.problem.y)
        )
        return root * root

    @cached_property
    def measured(self) -> Array:
        """1 for data that say something and 0 for the others; None where all do."""
        if self.variance is None:
            return None
        xp = namespace(self.variance)
        some = xp.isfinite(self.variance)
        return None if bool(xp.all(some)) else xp.astype(some, self.variance.dtype)

    @cached_property
    def _spread(self) -> tuple[Floats, Floats]:
        """Least and median variance of each problem."""
        lead = self.scale.shape
        if self.variance is None:
            values = np.linalg.eigvalsh(to_numpy(self.problem.noise.covariance))  # type: ignore[union-attr]
            return tuple(np.asarray(v / self.unit**2) for v in (values[0], np.median(values)))  # type: ignore[return-value]
        variance = to_numpy(self.variance).astype(np.float64)
        rows = np.broadcast_to(variance, (*lead, *self.problem.A.out_shape)).reshape(*lead, -1)
        found = np.ones((2, *lead))
        for i in np.ndindex(lead):
            some = rows[i][np.isfinite(rows[i])]
            if some.size:
                found[(slice(None), *i)] = some.min(), np.median(some)
        return found[0], found[1]

    @cached_property
    def _typical(self) -> float:
        return float(np.median(self.response))

    @cached_property
    def _multiplier(self) -> Array:
        both = np.concatenate([self.response, self.response[-2:0:-1]])
        values = both if _is_complex(self.problem.y) else self.response
        lam = self._spread[1].reshape(*self.scale.shape, *(1 for _ in self.problem.A.out_shape))
        return match(np.asarray(1 / (values + lam)), self.problem.y)

    @cached_property
    def _factor(self) -> Array:
        """c, 0 for data that say nothing; None where it is 1."""
        if self.variance is None:
            return None
        xp = namespace(self.variance)
        top = self.on(self._typical + self._spread[1])
        c = xp.sqrt(top / (self._typical + self.variance))
        return xp.astype(c, self.problem.y.dtype)

    @cached_property
    def least(self) -> Floats:
        """Lower bound of the eigenvalues of the preconditioned system."""
        least, lam = self._spread
        c2 = 1.0 if self.variance is None else (self._typical + lam) / (self._typical + least)
        return np.asarray(c2 * least / (self.response.max() + lam))

    def only(self, p: Array) -> Array:
        """Data with nothing where nothing was measured."""
        return p if self.measured is None else self.measured * p

    def spread(self, p: Array) -> Array:
        """``V p``, for data that were measured."""
        if self.variance is None:
            noise: Any = self.problem.noise
            xp = namespace(p)
            mixed = xp.tensordot(match(noise.covariance, p), p, axes=([1], [p.ndim + noise.axis]))
            return self.on(1 / self.unit**2) * xp.moveaxis(mixed, 0, noise.axis)
        if self.measured is None:
            return self.variance * p
        xp = namespace(p)
        return xp.where(self.measured > 0, self.variance, xp.zeros_like(self.variance)) * p

    def precondition(self, r: Array) -> Array:
        """An approximation of ``H^-1 r``, positive and self-adjoint."""
        m = self.problem.A.out_shape[-1]
        fft = namespace(r).fft
        f = r if self._factor is None else self._factor * r
        if _is_complex(r):
            f = fft.ifft(self._multiplier * fft.fft(f, n=2 * m, axis=-1), axis=-1)[..., :m]
        else:
            f = fft.irfft(self._multiplier * fft.rfft(f, n=2 * m, axis=-1), n=2 * m, axis=-1)[..., :m]
        return f if self._factor is None else self._factor * f


def _is_complex(x: Array) -> bool:
    return "complex" in dtype_name(x)


def _transform(values: npt.NDArray[Any], m: int) -> npt.NDArray[Any]:
    """Along the last axis, padded with zeros to twice its length, in double precision."""
    if np.iscomplexobj(values):
        return np.fft.fft(values.astype(np.complex128), 2 * m, axis=-1)
    return np.fft.rfft(values.astype(np.float64), 2 * m, axis=-1)


def _quotient(a: Floats, b: Floats) -> Floats:
    """``a / b``, and 0 where there is nothing."""
    return np.asarray(np.where(b > 0, a / np.where(b > 0, b, 1.0), 0.0))
