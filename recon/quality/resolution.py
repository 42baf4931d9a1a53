"""Modulation transfer function from a straight slanted edge or from the rim of a disc."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from .regions import Floats, regions, steps

Distance = Callable[[Floats], Floats]
REACH = 8.0  # default half-width of the edge profile, in standard deviations of the fitted edge


class MTF(NamedTuple):
    """Modulation transfer function: `value` (1 at zero) at `frequency` in cycles per mm."""

    frequency: Floats
    value: Floats

    def at(self, level: float) -> float:
        """Lowest frequency in cycles per mm at which the curve has fallen to `level`, such as 0.1."""
        below = np.flatnonzero(self.value <= level)
        if not 0 < level < 1 or not below.size:
            raise ValueError(
                f"the curve falls from 1 to {self.value.min():.2f}, not to {level}; ask for a level between"
            )
        k = below[0]
        (f0, f1), (v0, v1) = self.frequency[k - 1 : k + 1], self.value[k - 1 : k + 1]
        return float(f0 + (v0 - level) / (v0 - v1) * (f1 - f0))


def mtf50(curve: MTF) -> float:
    """Frequency in cycles per mm at which the modulation has fallen to one half."""
    return curve.at(0.5)


def mtf(
    roi: npt.ArrayLike,
    spacing: float | tuple[float, float],
    *,
    edge: Literal["straight", "disc"] = "straight",
    reach: float | None = None,
    oversampling: int = 4,
) -> MTF:
    """Modulation transfer function of a region with one edge between two uniform sides.

    The edge is found by fitting a line (or a circle) with a Gaussian blur to all pixels; their values, in
    order of their signed distance from it, are the oversampled edge spread function. Its derivative under a
    window that is flat in the middle half is the line spread function, whose Fourier modulus is corrected
    for the width of the bins and of the difference. Pixels are taken as samples: what the pixel's own area
    blurs belongs to the result.

    Parameters
    ----------
    roi : array_like, (ny, nx) or (n, ny, nx)
        Region with one edge; several images of the same edge are averaged.
    spacing : float or (float, float)
        Pixel size in mm, one number or (y, x).
    edge : {"straight", "disc"}
        A straight edge a few degrees off the rows and columns, or a disc wholly inside the region. A disc
        gives the mean over all directions, and its radius should be many times the blur: the curvature
        changes the profile by about blur over radius.
    reach : float, optional
        Half-width of the profile in mm; by default 8 standard deviations of the fitted edge, as far as the
        region allows. Heavier tails need more.
    oversampling : int
        Bins per pixel of the edge spread function.

    Returns
    -------
    MTF
        Up to one cycle per pixel.

    Raises
    ------
    ValueError
        If the region is no real finite image of 16 or more pixels per side, shows no edge, or its edge runs
        so straight along the pixels that bins stay empty.

    References
    ----------
    ISO 12233, slanted edge; Richard, Husarik, Yadava, Murphy, Samei, "Towards task-based assessment of CT
    performance: system and object MTF across different reconstruction algorithms", Med. Phys. 39(7), 2012.

    Examples
    --------
    >>> y, x = np.mgrid[:48, :48] - 23.5
    >>> curve = mtf(np.tanh(x - 0.1 * y), 0.5)  # an edge 6 degrees off the columns
    >>> round(mtf50(curve), 2)  # a blur of about 0.6 mm
    0.44
    """
    values = regions("roi", roi, 16)
    image = values.reshape(-1, *values.shape[-2:]).mean(0)
    dy, dx = steps(spacing)
    unit = min(dy, dx)  # lengths below are in units of the finer pixel side
    if oversampling < 1 or int(oversampling) != oversampling:
        raise ValueError(f"oversampling is {oversampling}; give a whole number of bins per pixel, such as 4")
    y = (np.arange(image.shape[0]) - (image.shape[0] - 1) / 2)[:, None] * (dy / unit)
    x = (np.arange(image.shape[1]) - (image.shape[1] - 1) / 2) * (dx / unit)
    if edge not in ("straight", "disc"):
        raise ValueError(f"edge is {edge!r}; choose straight or disc")
    start, distance = (_line if edge == "straight" else _circle)(image, y, x, dy * dx / unit**2)
    away, blur = _fitted(image, distance, start)
    half = min(float(-away.min()), float(away.max())) if edge == "straight" else _room(away)
    wanted = REACH * blur if reach is None else float(reach) / unit
    if not wanted > 0:
        raise ValueError(f"reach is {reach}; give a positive length in mm")
    n = int(min(wanted, half) * oversampling)
    if n < 2 * oversampling:
        raise ValueError("the region ends within two pixels of the edge; give it more room on both sides")
    spread = _profile(image, away, 1 / oversampling, n)
    return _transfer(np.diff(spread), unit / oversampling, 1 / unit)


def _line(image: Floats, y: Floats, x: Floats, area: float) -> tuple[list[float], Callable[[Floats], Floats]]:
    """A start from the best plane: its direction, and the side's share of the area."""
    slopes = [float((image * axis).sum() / (axis**2 + 0 * image).sum()) for axis in (y, x)]
    angle = math.atan2(*slopes)
    low, high = np.percentile(image, (5, 95))
    share = float(np.clip((image.mean() - low) / (high - low), 0.05, 0.95)) if high > low else 0.5
    across = y * math.sin(angle) + x * math.cos(angle)
    offset = float(np.quantile(across, 1 - share))
    return [angle, offset], lambda p: y * math.sin(p[0]) + x * math.cos(p[0]) - p[1]


def _circle(
    image: Floats, y: Floats, x: Floats, area: float
) -> tuple[list[float], Callable[[Floats], Floats]]:
    """A start from the pixels on the disc's side of the middle between disc and surroundings."""
    rim = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    outside = float(np.median(rim))
    middle = image[np.hypot(y, x) <= 0.1 * min(np.ptp(y), np.ptp(x))]
    inside = float(np.median(middle))
    on = (image - outside) * (inside - outside) > 0.5 * (inside - outside) ** 2
    n = max(int(on.sum()), 1)
    centre = [float((on * axis).sum()) / n for axis in (y, x)]
    return [*centre, math.sqrt(n * area / math.pi)], lambda p: p[2] - np.hypot(y - p[0], x - p[1])


def _fitted(image: Floats, distance: Distance, start: list[float]) -> tuple[Floats, float]:
    """Distances from the edge that fits best, and its standard deviation, in pixels."""
    from scipy.optimize import least_squares
    from scipy.special import ndtr

    size = float(np.ptp(image))
    if size == 0:
        raise ValueError("the region is uniform; choose one across an edge")
    scaled = (image - image.mean()) / size

    def misfit(p: Floats) -> Floats:
        *place, log_blur = p
        step = ndtr(distance(np.asarray(place)) / math.exp(log_blur))
        # the two levels enter linearly: solved for, not searched
        centred = step - step.mean()
        weight = float((centred**2).sum())
        gain = float((centred * scaled).sum()) / weight if weight > 0 else 0.0
        return np.asarray(scaled - gain * centred).ravel()

    found = least_squares(misfit, [*start, 0.0], x_scale="jac")
    away = distance(found.x[:-1])
    explained = 1 - float((found.fun**2).sum() / (scaled**2).sum())
    if not found.success or explained < 0.2 or not (away.min() < 0 < away.max()):
        raise ValueError(
            f"no edge found: the best one explains {explained:.0%} of the variance; crop to one edge"
        )
    return away, max(math.exp(float(found.x[-1])), 0.25)


def _room(away: Floats) -> float:
    """How far a disc's rim is from its centre and from the border of the region."""
    rim = np.concatenate([away[0], away[-1], away[:, 0], away[:, -1]])
    if rim.max() >= 0:
        raise ValueError("the disc is cut by the border of the region; give it room on every side")
    return min(float(away.max()), float(-rim.max()))


def _profile(image: Floats, away: Floats, width: float, n: int) -> Floats:
    """Mean value in bins of the signed distance, from -n to n bins."""
    place = np.floor(away / width).astype(int) + n
    inside = (place >= 0) & (place < 2 * n)
    count = np.bincount(place[inside], minlength=2 * n)
    if (count == 0).any():
        raise ValueError(
            f"{int((count == 0).sum())} of {2 * n} bins hold no pixel; slant the edge by some degrees, "
            "or lower oversampling"
        )
    where, value = (np.bincount(place[inside], part[inside], 2 * n) / count for part in (away, image))
    # the pixels of a bin are not spread evenly over it: move their mean to the middle of the bin
    slope = np.gradient(value, where)
    profile: Floats = value + slope * ((np.arange(2 * n) - n + 0.5) * width - where)
    return profile


def _transfer(spread: Floats, width: float, highest: float) -> MTF:
    m = len(spread)
    at = np.abs(np.arange(m) - (m - 1) / 2) / (m / 2)
    window = np.where(at <= 0.5, 1.0, 0.5 + 0.5 * np.cos(2 * math.pi * (at - 0.5)))
    padded = 8 * m  # a frequency grid fine enough to interpolate on
    modulus = np.abs(np.fft.rfft(spread * window, padded))
    frequency: Floats = np.fft.rfftfreq(padded, width).astype(np.float64)
    if modulus[0] == 0:
        raise ValueError("the two sides of the edge are equal; choose an edge with contrast")
    # averaging over a bin and differencing bins each multiply by a sinc
    value = modulus / modulus[0] / np.sinc(frequency * width) ** 2
    kept = frequency <= min(highest, 0.5 / width) * (1 + 1e-9)
    return MTF(frequency[kept], value[kept])
