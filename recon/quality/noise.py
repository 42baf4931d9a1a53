"""Noise power spectrum: how much noise there is at every spatial frequency."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .regions import Floats, regions, steps


class NoisePower(NamedTuple):
    """Noise power spectrum.

    Attributes
    ----------
    spectrum : ndarray, (ny, nx)
        In unit^2 mm^2, zero frequency in the middle (index n // 2).
    frequencies : tuple of ndarray
        Of the rows (y) and of the columns (x), in cycles per mm.
    frequency, radial : ndarray, (n,)
        Mean over rings of the spectrum, without its zero frequency, up to the Nyquist frequency.
    variance : float
        Integral of the spectrum in unit^2: the variance that the detrending has left.
    """

    spectrum: Floats
    frequencies: tuple[Floats, Floats]
    frequency: Floats
    radial: Floats
    variance: float

    @property
    def peak(self) -> float:
        """Frequency of the largest radial value, in cycles per mm."""
        return float(self.frequency[np.argmax(self.radial)])


def noise_power_spectrum(
    rois: npt.ArrayLike,
    spacing: float | tuple[float, float],
    *,
    detrend: Literal["mean", "plane", "ensemble"] = "plane",
) -> NoisePower:
    """Noise power spectrum of uniform regions, ``NPS = dx dy / (nx ny) <|DFT(roi - trend)|^2>``.

    Parameters
    ----------
    rois : array_like, (..., ny, nx)
        Regions of the same size; the mean is over all of them.
    spacing : float or (float, float)
        Pixel size in mm, one number or (y, x).
    detrend : {"mean", "plane", "ensemble"}
        What is no noise: the mean of each region, its best plane (cupping), or the mean region (repeated
        scans of one object, with the factor n / (n - 1) that this costs). The first two take power from the
        zero frequency and its neighbours only.

    Returns
    -------
    NoisePower

    Raises
    ------
    ValueError
        If the regions are no real finite images of 4 or more pixels per side, a pixel size is not positive,
        or `detrend` is "ensemble" with fewer than two regions.

    References
    ----------
    ICRU Report 87, "Radiation dose and image-quality assessment in computed tomography", 2012.

    Examples
    --------
    >>> rois = np.random.default_rng(0).normal(0, 3, (200, 32, 32))
    >>> found = noise_power_spectrum(rois, 0.5, detrend="mean")
    >>> round(found.variance, 1), round(float(found.radial.mean()), 2)  # 3^2, and 3^2 * 0.5^2
    (9.0, 2.25)
    """
    values = regions("rois", rois, 4)
    dy, dx = steps(spacing)
    ny, nx = values.shape[-2:]
    noise = _detrended(values.reshape(-1, ny, nx), detrend)
    power = np.mean(np.abs(np.fft.fft2(noise)) ** 2, axis=0) * (dx * dy / (nx * ny))
    fy, fx = np.fft.fftfreq(ny, dy), np.fft.fftfreq(nx, dx)
    width = max(1 / (ny * dy), 1 / (nx * dx))
    radius = np.hypot(fy[:, None], fx)
    ring = np.rint(radius / width).astype(int)
    last = int(np.floor(min(0.5 / dy, 0.5 / dx) / width - 0.5 + 1e-9))  # complete rings only
    kept = (ring >= 1) & (ring <= last) & (radius > 0)
    count = np.bincount(ring[kept], minlength=last + 1)[1:]
    sums = [np.bincount(ring[kept], part[kept], last + 1)[1:] for part in (radius, power)]
    frequency, radial = (total[count > 0] / count[count > 0] for total in sums)
    variance = float(power.sum() / (nx * dx * ny * dy))
    order = (np.fft.fftshift(fy), np.fft.fftshift(fx))
    return NoisePower(np.fft.fftshift(power), order, frequency, radial, variance)


def _detrended(rois: Floats, detrend: str) -> Floats:
    if detrend == "mean":
        level: Floats = rois - rois.mean((1, 2), keepdims=True)
        return level
    if detrend == "ensemble":
        n = len(rois)
        if n < 2:
            raise ValueError("detrend='ensemble' needs 2 or more regions; use 'plane' for a single one")
        residual: Floats = (rois - rois.mean(0)) * np.sqrt(n / (n - 1))
        return residual
    if detrend != "plane":
        raise ValueError(f"detrend is {detrend!r}; choose mean, plane or ensemble")
    ny, nx = rois.shape[1:]
    # centred ramps and the constant are orthogonal, so the best plane is three projections
    basis = np.stack(
        np.broadcast_arrays(1.0, np.arange(ny)[:, None] - (ny - 1) / 2, np.arange(nx) - (nx - 1) / 2)
    )
    basis = basis / np.sqrt((basis**2).sum((1, 2), keepdims=True))
    plane: Floats = np.tensordot(np.tensordot(rois, basis, ((1, 2), (1, 2))), basis, 1)
    flat: Floats = rois - plane
    return flat
