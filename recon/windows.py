"""Which values of an image are worth showing: named HU windows, robust percentiles for everything else."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Window = str | tuple[float, float] | None
# (centre, width) in HU, as radiology workstations name them
HU_WINDOWS = {"lung": (-600, 1500), "bone": (400, 1800), "soft": (40, 400), "brain": (40, 80)}


def window_of(array: npt.NDArray[Any], unit: str, window: Window = None) -> tuple[float, float]:
    """Lowest and highest value to show.

    Parameters
    ----------
    array : ndarray, (..., ny, nx)
        Values to show.
    unit : str
        Unit of the values; names of windows need "HU".
    window : str or (low, high), optional
        "lung", "bone", "soft", "brain", or two numbers. By default "soft" for HU; otherwise the 0.5 and 99.5
        percentiles of the central field, stretched to zero when the values start near it.

    Returns
    -------
    (float, float)
        Low and high, low < high.

    Raises
    ------
    ValueError
        If the name is unknown, names a HU window for another unit, or the numbers are not in order.

    Examples
    --------
    >>> window_of(np.zeros((4, 4)), "HU", "lung")
    (-1350.0, 150.0)
    """
    if isinstance(window, str):
        return _named(window, unit)
    if window is not None:
        low, high = map(float, window)
        if not low < high:
            raise ValueError(f"window {window} must be (low, high) with low < high")
        return low, high
    return _named("soft", unit) if unit == "HU" else _robust(array)


def _named(name: str, unit: str) -> tuple[float, float]:
    if name not in HU_WINDOWS:
        raise ValueError(f"window {name!r} is unknown; choose {', '.join(HU_WINDOWS)} or give (low, high)")
    if unit != "HU":
        raise ValueError(f"window {name!r} is in HU and the image in {unit}; give (low, high) or use to_hu")
    centre, width = HU_WINDOWS[name]
    return centre - width / 2, centre + width / 2


def _robust(array: npt.NDArray[Any]) -> tuple[float, float]:
    ny, nx = array.shape[-2:]
    field = array[..., ny // 8 : ny - ny // 8, nx // 8 : nx - nx // 8]
    values = field[np.isfinite(field)]
    if values.size == 0:
        return 0.0, 1.0
    stride = max(1, values.size // 1_000_000)  # percentiles of a million values are as good and quick
    low, high = (float(v) for v in np.percentile(values[::stride], (0.5, 99.5)))
    if -0.1 * high < low < 0.35 * high:
        low = 0.0  # empty space is black, and noise about zero stays so
    if low >= high:
        return (0.0, high) if high > 0 else (low - 1.0, low + 1.0)
    return low, high
