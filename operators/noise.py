"""Noise of measurements: how data scatter around what the physics predicts, and how much each counts.

Every model speaks of data in the range of an operator: for CT, line integrals, even of counted photons.
"""

from __future__ import annotations

import abc
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Self

import numpy as np

from . import dispatch

Array = Any
Seed = Any  # int or torch.Generator
CONFIGURATION = {"static": True}  # fields that are structure, not numbers, for JAX


class Noise(abc.ABC):
    """How data `y` scatter around predictions `p`, both ``(..., *A.out_shape)``.

    Attributes
    ----------
    estimated : bool
        The model was found from the data themselves, not measured.
    """

    estimated: bool

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        bridge = sys.modules.get(f"{__package__}.bridge_jax")
        if bridge is not None:
            bridge.register_data(cls)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        if "jax" in sys.modules:  # where JAX is in use, a noise model is a pytree
            import_module(".bridge_jax", __package__)
        return super().__new__(cls)

    @abc.abstractmethod
    def sample(self, p: Array, seed: Seed) -> Array:
        """Data for predictions `p`, in their library and precision, the same for the same seed.

        The numbers of a seed are drawn on the host and are the same for every library and device; those of a
        ``torch.Generator``, for tensors only, are drawn where it is, which is fast.
        """

    @abc.abstractmethod
    def log_likelihood(self, p: Array, y: Array) -> Array:
        """Log-likelihood of each datum, less its value at ``p == y``: 0 at best."""

    @abc.abstractmethod
    def gradient(self, p: Array, y: Array) -> Array:
        """Derivative of `log_likelihood` with respect to `p`."""

    @abc.abstractmethod
    def weights(self, y: Array) -> Array:
        """Inverse variance of each datum: what a quadratic approximation needs."""

    def weigh(self, r: Array, y: Array) -> Array:
        """Inverse covariance times a residual."""
        return self.weights(y) * r

    def whiten(self, r: Array, y: Array) -> Array:
        """A residual of unit variance: ``|whiten(r)|^2 = <r, weigh(r)>``."""
        w = self.weights(y)
        return (math.sqrt(w) if isinstance(w, float) else dispatch.namespace(r).sqrt(w)) * r


@dataclass(frozen=True, eq=False)
class Gaussian(Noise):
    """Normal noise: one standard deviation, one per datum, or a covariance along one axis.

    Parameters
    ----------
    sigma : float or array, optional
        Standard deviation, of the real and of the imaginary part each for complex data; broadcast against
        the data; infinite for a datum that says nothing.
    covariance : array, (n, n), optional
        Covariance between the n entries along `axis` instead (coils), Hermitian and positive definite.
    axis : int
        Axis of the data the covariance is for, counted from the end: -1 is the last.

    Raises
    ------
    ValueError
        If a standard deviation is not positive, or the covariance not positive definite.

    Examples
    --------
    >>> Gaussian(0.5).weigh(np.array([1.0, 2.0]), None)
    array([4., 8.])
    """

    sigma: float | Array | None = None
    covariance: Array | None = None
    axis: int = field(default=-1, metadata=CONFIGURATION)
    estimated: bool = field(default=False, kw_only=True, metadata=CONFIGURATION)

    def __post_init__(self) -> None:
        if (self.sigma is None) == (self.covariance is None):
            raise ValueError("Gaussian noise takes either sigma or covariance")
        if self.axis >= 0:
            raise ValueError(f"axis is {self.axis}; count it from the end, -1 for the last")
        if self.sigma is not None and not dispatch.is_traced(self.sigma):
            good = self.sigma > 0
            if not (bool(good) if isinstance(good, bool | np.bool_) else bool(good.all())):
                raise ValueError("sigma holds values that are not positive; a standard deviation is above 0")
        if self.covariance is not None and not dispatch.is_traced(self.covariance):
            c = self.covariance
            if c.ndim != 2 or c.shape[0] != c.shape[1]:
                raise ValueError(f"the covariance has shape {tuple(c.shape)}; it must be (n, n)")
            xp = dispatch.namespace(c)
            if not bool(xp.all(xp.linalg.eigvalsh(c) > 0)):
                raise ValueError("the covariance has negative variances; it must be positive definite")

    @classmethod
    def from_weights(cls, weights: Array) -> Self:
        """Noise of inverse variances `weights`, 0 for data that say nothing.

        Examples
        --------
        >>> Gaussian.from_weights(np.array([4.0, 0.0])).sigma
        array([0.5, inf])
        """
        xp = dispatch.namespace(weights)
        if not dispatch.is_traced(weights) and bool(xp.any(weights < 0)):
            raise ValueError("weights hold negative values; an inverse variance is 0 or more")
        some = weights > 0
        sigma = 1 / xp.sqrt(xp.where(some, weights, xp.ones_like(weights)))
        return cls(xp.where(some, sigma, xp.full_like(sigma, math.inf)))

    @property
    def _inverse(self) -> Array:
        return self._kept("_weights", lambda: 1 / (self.sigma * self.sigma))  # type: ignore[operator]

    @property
    def _matrices(self) -> tuple[Array, Array]:
        """Inverse covariance, and a whitening matrix."""

        def made() -> tuple[Array, Array]:
            xp = dispatch.namespace(self.covariance)
            root = xp.linalg.inv(xp.linalg.cholesky(self.covariance))
            return xp.conj(root).T @ root, root

        found: tuple[Array, Array] = self._kept("_whitening", made)
        return found

    def _kept(self, name: str, make: Callable[[], Any]) -> Any:
        """Computed once, unless inside a program that is being traced."""
        if name not in vars(self):
            value = make()
            if any(dispatch.is_traced(v) for v in (value if isinstance(value, tuple) else (value,))):
                return value
            object.__setattr__(self, name, value)
        return vars(self)[name]

    def weights(self, y: Array) -> Array:
        if self.sigma is None:
            raise ValueError("correlated noise has no weight per datum; whiten the data first")
        w = self._inverse
        return w if isinstance(w, float) or y is None else dispatch.match(w, y)

    def weigh(self, r: Array, y: Array) -> Array:
        return self._mix(0, r) if self.sigma is None else self.weights(r) * r

    def whiten(self, r: Array, y: Array) -> Array:
        return self._mix(1, r) if self.sigma is None else super().whiten(r, r)

    def _mix(self, which: int, r: Array) -> Array:
        xp = dispatch.namespace(r)
        matrix = dispatch.match(self._matrices[which], r)
        return xp.moveaxis(xp.tensordot(matrix, r, axes=([1], [r.ndim + self.axis])), 0, self.axis)

    def log_likelihood(self, p: Array, y: Array) -> Array:
        return -0.5 * abs(self.whiten(y - p, y)) ** 2

    def gradient(self, p: Array, y: Array) -> Array:
        return self.weigh(y - p, y)

    def sample(self, p: Array, seed: Seed) -> Array:
        draw = _normal(p, seed)
        if self.sigma is not None:
            return p + (self.sigma if isinstance(self.sigma, float) else dispatch.match(self.sigma, p)) * draw
        xp = dispatch.namespace(p)
        root = dispatch.match(dispatch.namespace(self.covariance).linalg.cholesky(self.covariance), p)
        return p + xp.moveaxis(xp.tensordot(root, draw, axes=([1], [p.ndim + self.axis])), 0, self.axis)


@dataclass(frozen=True, eq=False)
class PoissonTransmission(Noise):
    """Photon counting behind an object: ``counts ~ Poisson(photons * exp(-p)) + Normal(0, electronic)``.

    Data are the line integrals ``y = -log(counts / photons)``. Electronic noise enters the likelihood as in
    the shifted-Poisson model: counts plus the electronic variance are taken as Poisson.

    Parameters
    ----------
    photons : float
        Photons per detector pixel in the open beam.
    electronic : float
        Standard deviation of the electronic noise, in photons.

    References
    ----------
    M. Yavuz and J. A. Fessler, Phys. Med. Biol. 42 (1997) 2299, for the shifted-Poisson model.

    Examples
    --------
    >>> PoissonTransmission(1e4).expected(np.log([2.0, 4.0])).round()
    array([5000., 2500.])
    >>> PoissonTransmission(1e4).weights(np.log([2.0, 4.0])).round()
    array([5000., 2500.])
    """

    photons: float
    electronic: float = 0.0
    estimated: bool = field(default=False, kw_only=True, metadata=CONFIGURATION)

    def __post_init__(self) -> None:
        if dispatch.is_traced(self.photons) or dispatch.is_traced(self.electronic):
            return
        if not (self.photons > 0 and math.isfinite(self.photons)):
            raise ValueError(f"photons is {self.photons}; it must be a positive number per detector pixel")
        if not self.electronic >= 0:
            raise ValueError(f"electronic is {self.electronic}; it must be 0 or more photons")

    @property
    def _quiet(self) -> bool:
        """No electronic noise, as far as can be known."""
        return isinstance(self.electronic, int | float) and self.electronic == 0

    def expected(self, p: Array) -> Array:
        """Mean counts behind line integrals `p` (no unit), of the same shape."""
        return self.photons * dispatch.namespace(p).exp(-p)

    def line_integrals(self, counts: Array) -> Array:
        """Line integrals ``-log(counts / photons)``; less than half a count is taken as half a count."""
        xp = dispatch.namespace(counts)
        return -xp.log(xp.maximum(counts, xp.full_like(counts, 0.5)) / self.photons)

    def counts(self, p: Array, seed: Seed) -> Array:
        """Counts behind line integrals `p` of the same shape, the same for the same seed.

        float32 NumPy; of a generator a tensor on its device.
        """
        if not isinstance(seed, int | np.integer):
            drawn = _poisson(self.expected(p), seed)
            return drawn + self.electronic * _normal(drawn, seed) if self.electronic else drawn
        rng = np.random.default_rng(seed)
        drawn = np.asarray(rng.poisson(self.photons * np.exp(-dispatch.to_numpy(p))), np.float64)
        if self.electronic:
            drawn = drawn + rng.normal(0, self.electronic, drawn.shape)
        return drawn.astype(np.float32)

    def sample(self, p: Array, seed: Seed) -> Array:
        return dispatch.match(self.line_integrals(self.counts(p, seed)), p)

    def log_likelihood(self, p: Array, y: Array) -> Array:
        xp, shift = dispatch.namespace(p), self.electronic**2
        n = self.expected(y) + shift
        d = y - p if self._quiet else xp.log((self.expected(p) + shift) / n)
        return n * (d - xp.expm1(d))  # small differences of large counts are not taken

    def gradient(self, p: Array, y: Array) -> Array:
        shift = self.electronic**2
        mean = self.expected(p)
        return mean * (1 - (self.expected(y) + shift) / (mean + shift))

    def weights(self, y: Array) -> Array:
        mean = self.expected(y)
        return mean if self._quiet else mean * (mean / (mean + self.electronic**2))


@dataclass(frozen=True, eq=False)
class Poisson(Noise):
    """Counts of emission: ``y ~ Poisson(p + background)``.

    Parameters
    ----------
    background : float or array
        Mean counts that do not come from the object (scatter, randoms); 0 or more.

    Examples
    --------
    >>> Poisson().log_likelihood(np.array([2.0, 3.0]), np.array([2.0, 0.0]))
    array([ 0., -3.])
    """

    background: float | Array = 0.0
    estimated: bool = field(default=False, kw_only=True, metadata=CONFIGURATION)

    def __post_init__(self) -> None:
        if not dispatch.is_traced(self.background) and not bool(
            np.all(dispatch.to_numpy(self.background) >= 0)
        ):
            raise ValueError("the background holds negative counts; it must be 0 or more")

    def mean(self, p: Array) -> Array:
        """Expected counts."""
        b = self.background
        return p + (b if isinstance(b, int | float) else dispatch.match(b, p))

    def sample(self, p: Array, seed: Seed) -> Array:
        if not isinstance(seed, int | np.integer):
            return _poisson(self.mean(p), seed)
        mean = dispatch.to_numpy(self.mean(p))
        if (mean < 0).any():
            raise ValueError("predicted counts are negative; Poisson noise needs an image of 0 or more")
        return dispatch.match(np.random.default_rng(seed).poisson(mean).astype(np.float64), p)

    def log_likelihood(self, p: Array, y: Array) -> Array:
        xp = dispatch.namespace(p)
        m, some = self.mean(p), y > 0
        n = xp.where(some, y, xp.ones_like(y))
        return xp.where(some, n * xp.log(xp.where(some, m, n) / n), xp.zeros_like(y)) + (y - m)

    def gradient(self, p: Array, y: Array) -> Array:
        return y / self.mean(p) - 1

    def weights(self, y: Array) -> Array:
        return 1 / dispatch.namespace(y).clip(
            y, 1.0, None
        )  # one count at least: Neyman's variance of no count is 0


def _poisson(mean: Array, generator: Any) -> Array:
    """Counts of a tensor of means."""
    import torch

    if bool((mean < 0).any()):
        raise ValueError("predicted counts are negative; Poisson noise needs an image of 0 or more")
    return torch.poisson(mean, generator=generator)


def _normal(p: Array, seed: Seed) -> Array:
    """Standard normal numbers of the shape, library and precision of `p`."""
    if not isinstance(seed, int | np.integer):
        import torch

        shape = (*p.shape, 2) if p.is_complex() else p.shape
        drawn = torch.randn(shape, generator=seed, device=p.device, dtype=p.real.dtype)
        return torch.view_as_complex(drawn) if p.is_complex() else drawn
    rng = np.random.default_rng(seed)
    draw = rng.standard_normal(tuple(p.shape))
    if "complex" in dispatch.dtype_name(p):
        draw = draw + 1j * rng.standard_normal(tuple(p.shape))
    return dispatch.match(draw, p)
