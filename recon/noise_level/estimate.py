"""`estimate_noise`: level by octave, map and kind of the noise of an image or of a series of slices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rayfold.recon.noise_level.details import REACH, details, white_gains
from rayfold.recon.noise_level.local import STATIONARY, relative_map
from rayfold.recon.noise_level.regions import WINDOWS, padding, sampled, usable_for
from rayfold.recon.noise_level.rician import Background, rayleigh_background
from rayfold.recon.noise_level.spectrum import octave_levels

Array = npt.NDArray[Any]
Kind = Literal["gaussian", "rician"]
SLICES = 16  # of a series that are measured, evenly spread
QUANTILE = 10  # of windows, in percent: texture and edges only add to noise
QUANTILE_OF_TILE = 20  # of the fewer windows in a part of the image
# that quantile for white noise, over its standard deviation (mean over 60 images of 256 x 256)
OF_WHITE = np.array([0.889, 0.938, 0.878, 0.833, 0.762])
# part of all frequencies of the square that each octave holds
AREAS = (1 - np.pi / 16, np.pi / 16 * 0.75, np.pi / 64 * 0.75, np.pi / 256)
SERIES = 6  # slices, for their levels to be told apart
SMALLEST = 24  # pixels per side
OBJECT = 0.05  # least part of a magnitude image that is brighter than its air, for the object to be measured
LOUDER = 1.4  # of an object against its air: parallel imaging, or air that was treated


@dataclass(frozen=True, eq=False, repr=False)
class NoiseEstimate:
    """Noise of an image: how strong, of which colour, where, and of which kind.

    Parameters
    ----------
    levels : tuple of float
        Standard deviation in four octaves of radial frequency (over Nyquist: above 1/2, 1/4 to 1/2, 1/8 to
        1/4, below), finest first, in units of the image: root of the mean spectral density over the octave.
        Of complex images and of "rician" ones, the deviation of the real part.
    map : ndarray, (ny, nx), optional
        Relative level, 1 in the mean; None where the noise is the same everywhere.
    kind : {"gaussian", "rician"}
        "rician" for magnitudes of MRI whose background was recognised.
    unit : str
        Unit of the levels.
    along : ndarray, (n,), optional
        Relative level of every slice of a series, smooth and 1 in the mean; None where all are alike.

    Examples
    --------
    >>> NoiseEstimate((2.0, 2.0, 2.0, 2.0), unit="HU")
    NoiseEstimate(sigma 2 HU, white, the same everywhere)
    """

    levels: tuple[float, float, float, float]
    map: Array | None = None
    kind: Kind = "gaussian"
    unit: str = ""
    along: Array | None = None

    @property
    def sigma(self) -> float:
        """Standard deviation of all the noise together, in the mean over the image."""
        return float(np.sqrt((np.array(AREAS) * np.square(self.levels)).sum()))

    @property
    def white(self) -> bool:
        """Whether the level is the same in all octaves, within 10 %."""
        return max(self.levels) <= 1.1 * min(self.levels)

    def scaled(self, factor: float) -> NoiseEstimate:
        """The same noise, `factor` times as strong."""
        a, b, c, d = (factor * level for level in self.levels)
        return replace(self, levels=(a, b, c, d))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what varies by its extremes."""
        return {
            "sigma": self.sigma,
            "levels": list(self.levels),
            "map": _extremes(self.map),
            "along": _extremes(self.along),
            "kind": self.kind,
            "unit": self.unit,
        }

    def __repr__(self) -> str:
        unit = f" {self.unit}" if self.unit not in ("", "a.u.") else ""
        colour = "white" if self.white else "octaves " + " ".join(f"{v:.3g}" for v in self.levels)
        if self.map is None:
            where = "the same everywhere"
        else:
            where = f"{self.map.min():.2g} to {self.map.max():.2g} times that over the image"
        along = ""
        if self.along is not None:
            along = f", {self.along.min():.2g} to {self.along.max():.2g} along the slices"
        kind = ", Rician" if self.kind == "rician" else ""
        return f"NoiseEstimate(sigma {self.sigma:.3g}{unit}, {colour}, {where}{along}{kind})"


def _extremes(values: Array | None) -> list[float] | None:
    return None if values is None else [float(values.min()), float(values.max())]


def estimate_noise(
    image: Array,
    *,
    unit: str = "",
    ramp: bool | None = None,
    magnitude: bool = False,
    stationary: bool = False,
) -> NoiseEstimate:
    """Measure the noise of an image from the image itself.

    Details of five filters are averaged in small windows; the quieter windows hold noise and little else. The
    three finest filters give the spectrum through a model (`octave_levels`), the coarser ones bound it. The
    quiet windows of each part of the image give the map. All slices are taken together, and what they differ
    in is smoothed along the series, so that neighbours are treated alike.

    Parameters
    ----------
    image : ndarray, (ny, nx) or (..., ny, nx)
        Image or slices of one series; integers, HU, attenuation, arbitrary units, complex.
    unit : str
        Put into the result.
    ramp : bool, optional
        Whether the noise can be that of filtered back projection, which falls towards low frequencies;
        decided from the image by default, False for MRI.
    magnitude : bool
        Whether the image may be a magnitude of MRI, whose noise is Rician: decided from its background.
    stationary : bool
        Leave the map out.

    Returns
    -------
    NoiseEstimate

    Raises
    ------
    ValueError
        If the image is too small, not finite, or holds nothing but padding.

    References
    ----------
    J.-L. Starck and F. Murtagh, Publ. Astron. Soc. Pac. 110 (1998) 193; S. Pyatykh, J. Hesser and L. Zheng,
    IEEE Trans. Image Process. 22 (2013) 687, quiet patches.

    Examples
    --------
    >>> noise = np.random.default_rng(0).normal(size=(128, 128))
    >>> estimate_noise(1000 + 20 * noise, unit="HU")  # doctest: +ELLIPSIS
    NoiseEstimate(sigma 20... HU, white, the same everywhere)
    """
    slices, empty, pick = _slices(np.asarray(image))
    scale = float(np.abs(slices[~empty]).max()) or 1.0
    slices /= scale
    background = rayleigh_background(slices, empty) if magnitude and not np.iscomplexobj(image) else None
    if background is not None:
        found = _beside_air(slices, empty, background)
        if found is not None:
            return _estimate(found * scale, None, "rician", unit)
    measured = _windows(slices, empty)
    along = None if stationary else _profile(measured[1], pick)
    if along is not None:
        measured = [windows / np.resize(along[pick], len(windows))[:, None, None] for windows in measured]
    found, chart = _measure(measured, slices.shape[1:], ramp, stationary)
    return replace(_estimate(found * scale, chart, "gaussian", unit), along=along)


def _estimate(levels: Array, chart: Array | None, kind: Kind, unit: str) -> NoiseEstimate:
    a, b, c, d = map(float, levels)
    return NoiseEstimate((a, b, c, d), chart, kind, unit)


def _profile(fine: Array, pick: Array) -> Array | None:
    """Relative level of every slice up to the last one picked, or None where it does not vary."""
    if len(pick) < SERIES:
        return None
    from scipy.ndimage import gaussian_filter1d

    parts = fine.reshape(-1, len(pick), *fine.shape[1:]).swapaxes(0, 1)  # real and imaginary parts together
    quiet = np.array([_quiet(windows) for windows in parts])
    good = np.isfinite(quiet) & (quiet > 0)
    if good.sum() < SERIES:
        return None
    log = np.interp(np.arange(pick[-1] + 1), pick[good], np.log(quiet[good]))
    reach = (pick[-1] + 1) / len(pick)
    smooth: Array = gaussian_filter1d(log, reach, mode="nearest")
    if float(np.std(smooth)) < STATIONARY:
        return None
    level = np.exp(smooth)
    return np.asarray(level / level.mean())


def _measure(
    measured: list[Array], shape: tuple[int, ...], ramp: bool | None, stationary: bool
) -> tuple[Array, Array | None]:
    """Levels and map from the windows of every filter."""
    gains = white_gains() * OF_WHITE
    gains = np.where(6 * np.array(REACH) <= min(shape), gains, np.nan)  # borders fill what is smaller
    levels = np.array([_quiet(windows) for windows in measured]) / gains
    if not np.isfinite(levels[1]):
        raise ValueError("the image holds no region to measure its noise in; give sigma")
    chart = None
    if levels[1] > 0 and not stationary:
        ratio = levels[2] * gains[2] / (levels[1] * gains[1])
        size = (shape[0], shape[1])
        chart = relative_map(measured[1], measured[2], size, quantile=QUANTILE_OF_TILE, ratio=ratio)
    if chart is not None:
        even = [windows / _at_windows(chart, j, windows.shape[1:]) for j, windows in enumerate(measured)]
        levels = np.array([_quiet(windows) for windows in even]) / gains
    return octave_levels(levels, ramp=ramp), chart


def _beside_air(slices: Array, empty: Array, air: Background) -> Array | None:
    """Levels of Rician noise: those of the air, or of the object in octaves where it has less of it.

    The magnitude of coloured noise is whiter than the noise, which the object shows as it is; but the object
    has structures. None if the object is noisier than the air: then the air does not speak for it.
    """
    from scipy.ndimage import uniform_filter

    rest = np.stack([uniform_filter(plane, 5) < 3 * air.sigma for plane in slices]) | empty
    white = np.full(4, air.sigma)
    if (~rest).mean() < OBJECT:
        return white
    try:
        levels, _ = _measure(_windows(slices, rest), slices.shape[1:], False, True)
    except ValueError:
        return white
    return None if levels[0] > LOUDER * air.sigma else np.minimum(levels, white)


def _quiet(windows: Array) -> float:
    seen = windows[np.isfinite(windows)]
    return float(np.percentile(seen, QUANTILE)) if len(seen) >= 4 else np.nan


def _slices(image: Array) -> tuple[Array, Array, Array]:
    """At most `SLICES` real planes ``(n, ny, nx)`` in double precision, their padding, and which they are."""
    if image.ndim < 2 or min(image.shape[-2:]) < SMALLEST:
        raise ValueError(
            f"noise is measured on images of at least {SMALLEST} x {SMALLEST} pixels, this one has shape "
            f"{image.shape}; give sigma"
        )
    flat = image.reshape(-1, *image.shape[-2:])
    pick = np.unique(np.linspace(0, len(flat) - 1, min(len(flat), SLICES)).round().astype(int))
    flat = flat[pick]
    if np.iscomplexobj(flat):
        flat = np.concatenate([flat.real, flat.imag])
    flat = flat.astype(np.float64)
    if not np.isfinite(flat).all():
        raise ValueError("the image has values that are not finite; replace them, as by numpy.nan_to_num")
    empty = padding(flat)
    if empty.all():
        raise ValueError("the image is constant: there is no noise to measure; give sigma")
    return flat, empty, pick


def _windows(slices: Array, skip: Array) -> list[Array]:
    """Per filter, the root mean power of the details in windows of every slice."""
    found: list[list[Array]] = [[] for _ in REACH]
    for plane, empty in zip(slices, skip, strict=True):
        # padding far from the values of the image would only cost precision
        filled = np.where(empty, plane[~empty].mean() if (~empty).any() else 0, plane)
        for j, part in enumerate(details(filled)):
            usable = usable_for(empty, REACH[j])
            found[j].append(sampled(part * part, usable, WINDOWS[j]))
    return [np.stack(planes) for planes in found]


def _at_windows(chart: Array, j: int, grid: tuple[int, ...]) -> Array:
    """The map in the middle of the windows of filter `j`."""
    half = WINDOWS[j] // 2
    rows = np.minimum(np.arange(grid[0]) * 8 + half, chart.shape[0] - 1)
    cols = np.minimum(np.arange(grid[1]) * 8 + half, chart.shape[1] - 1)
    return np.asarray(chart[np.ix_(rows, cols)])
