"""A chest slice as a table of ellipses: anatomy enough to see streaks, low contrasts and small vessels.

Organs are built from the skin inwards: each ellipse adds the difference to what surrounds it. So organs side
by side must not overlap; the variation between seeds is kept smaller than the gaps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
MU_WATER = 0.0195  # 1/mm at 65 keV
WIDTH = 340.0  # mm, an average adult

# attenuation relative to water at 65 keV
AIR, LUNG, FAT, MUSCLE, BLOOD, SPONGY, CORTICAL = 0.0, 0.27, 0.92, 1.05, 1.06, 1.25, 1.90

Row = tuple[float, float, float, float, float, float]


def thorax_table(seed: int = 0, *, width: float = WIDTH) -> Floats:
    """Ellipses of a chest slice, x to the patient's left, y to the back.

    Parameters
    ----------
    seed : int
        Anatomy varies with it and only with it.
    width : float
        Width of the body in mm.

    Returns
    -------
    ndarray, (n, 6)
        Rows ``(value, a, b, x, y, angle)``: 1/mm, mm and rad.

    Raises
    ------
    ValueError
        If `width` is not positive.

    Examples
    --------
    >>> thorax_table(0).shape[1]
    6
    """
    if not width > 0:
        raise ValueError(f"width is {width}; it must be a positive length in mm")
    rng = np.random.default_rng(seed)
    lungs = [
        _vary(rng, (LUNG - MUSCLE, 50.5, 71.0, -79.5, 7.0, -0.27)),
        _vary(rng, (LUNG - MUSCLE, 42.5, 67.5, 87.0, 13.5, 0.41)),
    ]
    heart = _vary(rng, (BLOOD - FAT, 47.0, 35.0, 6.0, -38.0, 0.45))
    rows: list[Row] = [
        (FAT, 170.0, 125.0, 0.0, 0.0, 0.0),
        (MUSCLE - FAT, 161.0, 117.0, 0.0, 1.0, 0.0),
        *lungs,
        (FAT - MUSCLE, heart[1] + 3.5, heart[2] + 3.0, *heart[3:]),  # the fat around the heart
        heart,
        *_mediastinum(),
        *_spine(),
        *_ribs(rng),
        *_lesions(rng, heart),
    ]
    for lung, hilum in zip(lungs, ((-30.0, 12.0), (44.0, 20.0)), strict=True):
        rows += _vessels(rng, lung, hilum)
    table = np.array(rows)
    table[:, 0] *= MU_WATER
    table[:, 1:5] *= width / WIDTH
    return table


def texture_like(shape: tuple[int, ...], seed: int) -> Floats:
    """Noise of unit variance with a 1/f spectrum, as tissue has."""
    rng = np.random.default_rng([seed, 1])
    fy, fx = np.fft.fftfreq(shape[-2])[:, None], np.fft.rfftfreq(shape[-1])[None]
    frequency = np.hypot(fy, fx)
    frequency[0, 0] = np.inf
    noise = np.fft.irfft2(np.fft.rfft2(rng.normal(size=shape)) / frequency, s=shape[-2:], axes=(-2, -1))
    return np.asarray(noise / noise.std())


def _vary(rng: np.random.Generator, row: Row) -> Row:
    """The organ a little smaller and a little elsewhere."""
    value, a, b, x, y, angle = row
    scale, shift = rng.uniform(0.94, 1.0), rng.uniform(-2.0, 2.0, 2)
    return value, a * scale, b * scale, x + shift[0], y + shift[1], angle + rng.uniform(-0.03, 0.03)


def _mediastinum() -> list[Row]:
    return [
        (BLOOD - MUSCLE, 11.0, 11.0, 24.0, 42.0, 0.0),  # descending aorta
        (FAT - MUSCLE, 6.0, 3.5, -12.0, 42.0, 0.3),
        (AIR - MUSCLE, 6.5, 5.5, -14.0, 16.0, 0.3),  # main bronchi
        (AIR - MUSCLE, 5.5, 5.0, 19.0, 18.0, -0.3),
        (AIR - MUSCLE, 3.0, 2.0, 4.0, 34.0, 0.0),  # oesophagus
    ]


def _spine() -> list[Row]:
    bone, marrow = CORTICAL - MUSCLE, SPONGY - CORTICAL
    rows = [
        (bone, 19.0, 14.5, 0.0, 65.0, 0.0),
        (marrow, 17.0, 12.5, 0.0, 65.0, 0.0),
        (bone, 5.0, 9.5, 0.0, 101.0, 0.0),
        (marrow, 3.0, 7.0, 0.0, 101.0, 0.0),
    ]
    for side in (-1.0, 1.0):
        rows += [
            (bone, 3.2, 7.0, side * 12.5, 86.0, side * -0.35),
            (bone, 12.0, 4.2, side * 29.0, 86.0, side * 0.25),
            (marrow, 9.5, 2.2, side * 29.0, 86.0, side * 0.25),
        ]
    return rows


def _ribs(rng: np.random.Generator) -> list[Row]:
    rows: list[Row] = [
        (CORTICAL - MUSCLE, 15.0, 5.0, 0.0, -106.0, 0.0),
        (SPONGY - CORTICAL, 13.0, 3.2, 0.0, -106.0, 0.0),
    ]
    for side in (-1.0, 1.0):
        for turn in np.radians([-57.0, -34.0, -11.0, 13.0, 36.0, 57.0]):
            at = turn + rng.uniform(-0.05, 0.05)
            x, y = 152.0 * np.cos(at), 1.0 + 107.0 * np.sin(at)
            tangent = float(np.arctan2(107.0 * np.cos(at), -152.0 * np.sin(at)))
            length = rng.uniform(10.0, 15.0)
            place = (side * x, y, side * tangent)
            rows += [
                (CORTICAL - MUSCLE, length, 4.2, *place),
                (SPONGY - CORTICAL, length - 2.2, 2.4, *place),
            ]
    return rows


def _lesions(rng: np.random.Generator, heart: Row) -> list[Row]:
    """Discs of 2 to 5 % contrast in the heart, from large to small."""
    _, _, _, x, y, angle = heart
    rows: list[Row] = []
    c, s = np.cos(angle), np.sin(angle)
    for u, radius, contrast in (
        (-26.0, 7.0, 0.02),
        (-5.0, 5.0, -0.03),
        (13.0, 3.5, 0.04),
        (29.0, 2.5, -0.05),
    ):
        v = rng.uniform(-10.0, 10.0)
        rows.append((contrast, radius, radius, float(x + u * c - v * s), float(y + u * s + v * c), 0.0))
    return rows


def _vessels(rng: np.random.Generator, lung: Row, hilum: tuple[float, float]) -> list[Row]:
    """Vessels in cross-section, wide and dense at the hilum, fine towards the pleura, and one nodule."""
    _, a, b, x0, y0, angle = lung
    c, s = np.cos(angle), np.sin(angle)
    rows: list[Row] = []
    taken = np.empty((0, 3))
    for k in range(90):
        for _ in range(40):
            r, t = np.sqrt(rng.uniform()), rng.uniform(0, 2 * np.pi)
            u, v = a * r * np.cos(t), b * r * np.sin(t)
            x, y = x0 + u * c - v * s, y0 + u * s + v * c
            away = np.hypot(x - hilum[0], y - hilum[1]) / 100.0
            size = 5.5 if k == 0 else rng.uniform(0.6, 1.0) * max(0.7, 4.2 * np.exp(-2.6 * away))
            longer = 1.0 if k == 0 else 1.0 + rng.exponential(0.7)
            reach = size * min(longer, 4.0)
            # inside the lung with a margin, and clear of the vessels there already
            inside = np.hypot(u / (a - reach - 1.5), v / (b - reach - 1.5)) < 1
            free = np.hypot(taken[:, 0] - x, taken[:, 1] - y) > taken[:, 2] + reach + 0.5
            if inside and free.all() and (k == 0 or rng.uniform() < np.exp(-1.5 * away)):
                turn = np.arctan2(y - hilum[1], x - hilum[0]) + rng.normal(0, 0.4)  # vessels run outwards
                value = (0.75 if k == 0 else BLOOD) - LUNG
                rows.append((value, reach, size, float(x), float(y), float(turn)))
                taken = np.vstack([taken, (x, y, reach)])
                break
    return rows
