"""What every solver consumes: an operator, the data, how they scatter, and the unit of the image."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from rayfold.operators import LinearOperator, dispatch
from rayfold.operators.noise import Gaussian, Noise, PoissonTransmission

Array = Any


class Problem(NamedTuple):
    """Find x with ``A x`` near y; immutable, and a pytree for JAX.

    The data term of every solver is ``1/2 <A x - y, W (A x - y)>`` with W the inverse covariance of the
    noise; without a noise model W is the identity: plain least squares, in the units of the data.

    Parameters
    ----------
    A : LinearOperator
        Forward operator.
    y : array, (..., *A.out_shape)
        Data; leading axes are independent problems solved side by side.
    noise : Noise, optional
        `Gaussian`, `PoissonTransmission` or `Poisson`.
    x_unit : str, optional
        Unit of the image ("1/mm", "HU", "a.u."): what a prior that knows units needs.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Identity
    >>> Problem(Identity((2,)), np.ones(2), Gaussian(0.5)).weigh(np.ones(2))
    array([4., 4.])
    """

    A: LinearOperator
    y: Array
    noise: Noise | None = None
    x_unit: str | None = None

    def weigh(self, residual: Array) -> Array:
        """Inverse covariance of the noise times a residual (may be the residual itself)."""
        return residual if self.noise is None else self.noise.weigh(residual, self.y)

    def whiten(self, residual: Array) -> Array:
        """A residual of unit variance."""
        return residual if self.noise is None else self.noise.whiten(residual, self.y)

    def quadratic(self) -> Problem:
        """The same with the Gaussian noise nearest to its own: weights are computed once, not every step."""
        if self.noise is None or isinstance(self.noise, Gaussian):
            return self
        gaussian = Gaussian.from_weights(self.noise.weights(self.y))
        return self._replace(noise=gaussian)

    def check(self) -> None:
        """Refuse data no solver can use.

        Raises
        ------
        ValueError
            If the data do not end in the operator's shape, hold values that are not finite, or if weights do
            not fit the data.
        TypeError
            If the data are not an array of floating-point numbers.
        """
        dispatch.library(type(self.y))
        dispatch.working(self.A, dispatch.dtype_name(self.y))
        dispatch.check(self.A, self.y, adjoint=True)
        if dispatch.is_traced(self.y):
            return
        xp = dispatch.namespace(self.y)
        bad = math.prod(self.y.shape) - int(xp.count_nonzero(xp.isfinite(self.y)))
        if bad:
            raise ValueError(
                f"the data hold {bad} values that are not finite; mend them, or give them no weight "
                "(Gaussian.from_weights with 0) and any finite value"
            )
        self._check_noise()

    def _check_noise(self) -> None:
        for name in ("sigma", "background"):
            value = getattr(self.noise, name, None)
            shape = tuple(getattr(value, "shape", ()))
            full = tuple(self.y.shape)
            fits = len(shape) <= len(full) and all(
                a in (1, b) for a, b in zip(reversed(shape), reversed(full), strict=False)
            )
            if not fits:
                raise ValueError(f"{name} of the noise has shape {shape}, the data {full}; it must broadcast")
        covariance = getattr(self.noise, "covariance", None)
        if covariance is not None:
            axis = self.noise.axis  # type: ignore[union-attr]
            n = self.y.shape[axis]
            if covariance.shape[0] != n:
                raise ValueError(
                    f"the covariance is for {covariance.shape[0]} entries, axis {axis} of the data holds {n}"
                )


def estimate_noise(problem: Problem) -> Gaussian:
    """Gaussian noise of one standard deviation, found from the data themselves.

    The median absolute fourth difference along the last axis: an image's data are smooth from bin to bin,
    noise is not, and a median does not mind edges. What is found is too large where the data themselves are
    rough (few bins across small details).

    Returns
    -------
    Gaussian
        With `estimated` set.

    References
    ----------
    D. L. Donoho and I. M. Johnstone, Biometrika 81 (1994) 425, for the median rule.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> y = np.random.default_rng(0).normal(0, 0.1, (4, 500))
    >>> round(estimate_noise(Problem(Identity((4, 500)), y)).sigma, 2)
    0.1
    """
    y = dispatch.to_numpy(problem.y)
    parts = np.stack([y.real, y.imag]) if np.iscomplexobj(y) else y
    sigma = _roughness(parts, 1.0)
    if sigma == 0:  # more than half of the differences are exactly 0: no noise to speak of
        size = float(np.sqrt(np.mean(np.abs(parts.astype(np.float64)) ** 2))) if parts.size else 0.0
        sigma = float(np.finfo(parts.dtype).eps) * (size or 1.0)
    return Gaussian(sigma, estimated=True)


def estimate_photons(y: Array) -> PoissonTransmission:
    """Photon noise of line integrals `y`, ``(..., bins)``, found from the data themselves.

    As `estimate_noise`, for a variance ``exp(y) / photons`` that grows behind dense material.

    Examples
    --------
    >>> import numpy as np
    >>> y = PoissonTransmission(1e4).sample(np.tile(np.linspace(0.0, 3.0, 600), (20, 1)), 0)
    >>> 0.9e4 < estimate_photons(y).photons < 1.1e4
    True
    """
    values = dispatch.to_numpy(y)
    spread = _roughness(values, np.exp(np.clip(values, -10, 20).astype(np.float64) / 2))
    eps = float(np.finfo(values.dtype).eps)
    return PoissonTransmission(1 / max(spread, eps) ** 2, estimated=True)


def _roughness(values: Array, scale: Array | float) -> float:
    """Robust standard deviation of the noise from fourth differences along the last axis, over `scale`."""
    taps = np.array([1.0])
    for _ in range(min(4, values.shape[-1] - 1)):
        taps = np.convolve(taps, [1.0, -1.0])
    n = values.shape[-1] - len(taps) + 1
    rough = sum(float(t) * values[..., i : i + n].astype(np.float64) for i, t in enumerate(taps))
    if not np.size(rough):
        return 0.0
    if np.ndim(scale):
        rough = rough / np.asarray(scale)[..., len(taps) // 2 : len(taps) // 2 + n]
    return 1.4826 * float(np.median(np.abs(rough))) / float(np.linalg.norm(taps))
