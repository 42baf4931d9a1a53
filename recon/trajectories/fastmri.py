"""The masks of the fastMRI challenges, line for line as their public code draws them from a file's name."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rayfold.recon.trajectories.masks import Mask

Values = float | tuple[float, ...]


def fastmri_mask(
    n: int,
    kind: str = "random",
    *,
    acceleration: Values = 4,
    center_fraction: Values = 0.08,
    seed: str | int | tuple[int, ...] | None = None,
    offset: int | None = None,
) -> Mask:
    """Mask over the columns of fastMRI k-space (its last axis), reproducible from the name of the file.

    The rules are those of ``RandomMaskFunc``, ``EquiSpacedMaskFunc`` and ``EquispacedMaskFractionFunc`` of
    the fastMRI repository (Zbontar et al., arXiv:1811.08839): the middle ``round(n * center_fraction)``
    columns, then

    - "random": each column with probability (n/R - middle) / (n - middle),
    - "equispaced": every R-th column from a random offset; measures more than 1/R in all,
    - "equispaced_fraction": columns at rounded multiples of R (middle - n) / (middle R - n), so that the
      total comes to about n/R. The distances are not all equal; the public test data were made this way.

    The numbers come from NumPy's legacy generator, seeded with the code points of the file name. Knee data
    are evaluated with "random", brain data with "equispaced_fraction". The actual acceleration of a mask
    differs from the nominal one: state `actual_acceleration(mask)`.

    Parameters
    ----------
    n : int
        Number of columns.
    kind : {"random", "equispaced", "equispaced_fraction"}
        Which rule.
    acceleration : float or tuple of float
        R; of several, one is drawn together with its `center_fraction`. "equispaced" takes whole numbers.
    center_fraction : float or tuple of float
        Share of columns in the middle, one for each acceleration; the challenges use 0.08 for 4 and 0.04 for
        8.
    seed : str, int, tuple of int or None
        File name (no folder), or what it is turned into, ``tuple(map(ord, name))``; None draws a new mask
        every time.
    offset : int, optional
        First column of the equispaced kinds instead of a random one.

    Returns
    -------
    ndarray of bool, (n,)

    Raises
    ------
    ValueError
        If the kind is unknown, or numbers do not fit.

    Examples
    --------
    >>> mask = fastmri_mask(368, "equispaced_fraction", seed="file1000001.h5")
    >>> int(mask.sum()), np.flatnonzero(mask)[:4].tolist()
    (91, [3, 8, 14, 19])
    """
    rates = tuple(acceleration) if isinstance(acceleration, tuple) else (acceleration,)
    shares = tuple(center_fraction) if isinstance(center_fraction, tuple) else (center_fraction,)
    if kind not in RULES:
        raise ValueError(f"kind {kind!r} is not one of {', '.join(map(repr, RULES))}")
    if len(rates) != len(shares) or not rates:
        raise ValueError(
            f"{len(rates)} accelerations and {len(shares)} center fractions; give one of each together"
        )
    for rate, share in zip(rates, shares, strict=True):
        _check(n, kind, rate, share, offset)
    key: Any = tuple(map(ord, seed)) if isinstance(seed, str) else seed
    rng = np.random.RandomState(key)
    choice = rng.randint(len(shares))  # drawn even where there is one: it advances the generator
    rate, share = rates[choice], shares[choice]
    middle = round(n * share)
    mask = RULES[kind](rng, n, rate, middle, offset)
    start = (n - middle + 1) // 2
    mask[start : start + middle] = True
    return mask


def _random(rng: np.random.RandomState, n: int, rate: float, middle: int, offset: int | None) -> Mask:
    return np.asarray(rng.uniform(size=n) < (n / rate - middle) / (n - middle), bool)


def _equispaced(rng: np.random.RandomState, n: int, rate: float, middle: int, offset: int | None) -> Mask:
    start = int(rng.randint(0, high=round(rate))) if offset is None else offset
    mask = np.zeros(n, bool)
    mask[start :: int(rate)] = True
    return mask


def _fraction(rng: np.random.RandomState, n: int, rate: float, middle: int, offset: int | None) -> Mask:
    distance = (rate * (middle - n)) / (middle * rate - n)
    start = int(rng.randint(0, high=round(distance))) if offset is None else offset
    mask = np.zeros(n, bool)
    mask[np.around(np.arange(start, n - 1, distance)).astype(np.intp)] = True
    return mask


RULES: dict[str, Callable[[np.random.RandomState, int, float, int, int | None], Mask]] = {
    "random": _random,
    "equispaced": _equispaced,
    "equispaced_fraction": _fraction,
}


def _check(n: int, kind: str, rate: float, share: float, offset: int | None) -> None:
    if n < 1 or not 1 <= rate < math.inf or not 0 <= share < 1:
        raise ValueError(
            f"{n} columns, acceleration {rate}, center fraction {share}: need n >= 1, R >= 1, 0 <= share < 1"
        )
    if kind == "equispaced" and rate != int(rate):
        raise ValueError(
            f"acceleration {rate} is no whole distance of columns; use kind 'equispaced_fraction'"
        )
    if kind != "equispaced" and round(n * share) >= n / rate:
        raise ValueError(
            f"acceleration {rate:g} allows {n / rate:.1f} columns, the middle takes {round(n * share)}; "
            "lower one of them"
        )
    if offset is not None and not 0 <= offset < n:
        raise ValueError(f"offset {offset} is not one of the {n} columns, 0 to {n - 1}")
