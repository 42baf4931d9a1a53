"""Beam hardening of one material: from what is measured to the length of material that was crossed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Hardening:
    """Length of one material as a polynomial of the attenuation that many energies leave.

    ``length = c1 p + c2 p^2 + ...``: soft photons go first, so that p grows more slowly than the length.

    Parameters
    ----------
    coefficients : tuple of float
        c1, c2, ..., in mm.

    References
    ----------
    G. T. Herman, Phys. Med. Biol. 24 (1979) 81.

    Examples
    --------
    >>> Hardening((20.0, 5.0)).lengths(np.array([0.0, 2.0]))
    array([ 0., 60.])
    """

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.coefficients or not all(np.isfinite(self.coefficients)):
            raise ValueError(f"coefficients are {self.coefficients}; give one or more finite numbers")

    @classmethod
    def fit(cls, attenuation: npt.ArrayLike, lengths: npt.ArrayLike, *, degree: int = 3) -> Self:
        """Calibrate on an object of known shape, by least squares.

        Parameters
        ----------
        attenuation : array_like, (...)
            Measured -log of the transmission.
        lengths : array_like, (...)
            Length of material that each ray crosses, in mm.
        degree : int
            Of the polynomial.

        Raises
        ------
        ValueError
            If the shapes differ, values are not finite, or there are fewer of them than coefficients.

        Examples
        --------
        >>> p = np.linspace(0.0, 2.0, 50)
        >>> [round(c, 6) for c in Hardening.fit(p, 20 * p + 5 * p**2, degree=2).coefficients]
        [20.0, 5.0]
        """
        p, length = np.asarray(attenuation, np.float64), np.asarray(lengths, np.float64)
        if p.shape != length.shape:
            raise ValueError(f"attenuation has shape {p.shape} and lengths {length.shape}; they must match")
        if degree < 1 or p.size < degree:
            raise ValueError(f"{p.size} values cannot give {degree} coefficients; give more, or fewer (>= 1)")
        if not (np.isfinite(p).all() and np.isfinite(length).all()):
            raise ValueError("the calibration holds values that are not finite; mend the scan first")
        powers = p.ravel()[:, None] ** np.arange(1, degree + 1)
        found = np.linalg.lstsq(powers, length.ravel(), rcond=None)[0]
        return cls(tuple(float(c) for c in found))

    def lengths(self, attenuation: npt.ArrayLike) -> Array:
        """Length of material in mm for each attenuation, in its shape and precision."""
        p = np.asarray(attenuation)
        total = np.zeros_like(p)
        for c in reversed(self.coefficients):
            total = (total + p.dtype.type(c)) * p
        return total

    def slopes(self, attenuation: npt.ArrayLike) -> Array:
        """Derivative of `lengths`: by how much noise of the attenuation grows."""
        p = np.asarray(attenuation)
        total = np.zeros_like(p)
        for k, c in reversed(list(enumerate(self.coefficients, 1))):
            total = total * p + p.dtype.type(k * c)
        return total

    def veil(
        self,
        attenuation: npt.ArrayLike,
        lengths: npt.ArrayLike,
        weights: npt.ArrayLike = 1.0,
        *,
        steps: int = 8,
    ) -> float:
        """Constant part of the transmission that crossed nothing (scatter, offset), beyond the calibration's.

        Robust least squares: the reweighting drops rays whose length is wrong.

        Parameters
        ----------
        attenuation, lengths : array_like, (...)
            Measured attenuation, and the length in mm believed for each ray.
        weights : array_like
            Inverse variance of each length, broadcast against them.
        steps : int
            Reweightings.

        Returns
        -------
        float
            Part of the open beam; negative where the calibration scan had more of it. Take it away with
            `unveil`.

        Examples
        --------
        >>> h = Hardening((20.0, 5.0))
        >>> p = np.linspace(0.1, 2.0, 40)
        >>> round(h.veil(-np.log(np.exp(-p) + 0.01), h.lengths(p)), 4)
        0.01
        """
        p, length = np.asarray(attenuation, np.float64), np.asarray(lengths, np.float64)
        w, found = np.broadcast_to(np.asarray(weights, np.float64), p.shape), 0.0
        for _ in range(steps):
            now = unveil(p, found)
            error = length - self.lengths(now)
            gain = self.slopes(now) * np.exp(now)  # length per part of the open beam
            spread = 1.4826 * np.median(np.abs(error - np.median(error)))
            trust = w / (1 + (error / spread) ** 2) ** 2 if spread > 0 else w
            found += float(np.sum(trust * gain * error) / np.sum(trust * gain * gain))
        return found


def unveil(attenuation: npt.ArrayLike, veil: float) -> Array:
    """Attenuation without a constant part of the transmission: ``-log(exp(-p) - veil)``.

    Raises
    ------
    ValueError
        If some ray transmits less than that part.

    Examples
    --------
    >>> unveil(np.array([0.0, 1.0]), 0.01).round(4)
    array([0.0101, 1.0276])
    """
    p = np.asarray(attenuation)
    left = np.exp(-p) - p.dtype.type(veil)
    if left.size and not left.min() > 0:
        raise ValueError(f"a ray transmits {np.exp(-p).min():.3g}, less than the {veil:.3g} to take away")
    return np.asarray(-np.log(left))
