"""Which Cartesian lines or points of k-space are measured: regular, random, by density, partial Fourier.

A mask is a Boolean array over the undersampled axes, True where measured, the centre of k-space at ``n //
2``. It broadcasts from the right: a mask of ``nx`` lines serves as it is, one of ``ny`` lines as ``mask[:,
None]``.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
Shape = int | tuple[int, ...]


def equispaced(n: int, acceleration: int, *, calibration: int = 0, offset: int | None = None) -> Mask:
    """Every R-th line, and the lines in the middle for calibration.

    Parameters
    ----------
    n : int
        Number of lines.
    acceleration : int
        R, the distance of two lines.
    calibration : int
        Neighbouring lines around ``n // 2`` that are measured too.
    offset : int, optional
        First line, 0 to R - 1; by default the one whose lattice holds the centre ``n // 2``.

    Returns
    -------
    ndarray of bool, (n,)

    Raises
    ------
    ValueError
        If R, the offset or the number of calibration lines does not fit.

    Examples
    --------
    >>> equispaced(12, 4, calibration=2).astype(int)
    array([0, 0, 1, 0, 0, 1, 1, 0, 0, 0, 1, 0])
    """
    _check(n, acceleration)
    if acceleration != int(acceleration):
        raise ValueError(
            f"acceleration {acceleration} is no whole distance of lines; use fastmri_mask or random_mask"
        )
    step = int(acceleration)
    start = (n // 2) % step if offset is None else offset
    if not 0 <= start < step:
        raise ValueError(f"offset {offset} is not 0 to {step - 1}; lines repeat after {step}")
    mask = centre((n,), (calibration,))
    mask[start::step] = True
    return mask


def random_mask(shape: Shape, acceleration: float, *, calibration: Shape = 0, seed: int = 0) -> Mask:
    """Lines or points chosen uniformly at random, exactly ``round(size / R)`` of them.

    Parameters
    ----------
    shape : int or tuple of int
        Number of lines, or the grid of points.
    acceleration : float
        R = all positions / measured positions, the calibration region among them.
    calibration : int or tuple of int
        Size of the fully measured middle.
    seed : int
        The same seed gives the same mask.

    Returns
    -------
    ndarray of bool, `shape`

    Raises
    ------
    ValueError
        If R is below 1 or leaves fewer positions than the calibration region has.

    Examples
    --------
    >>> mask = random_mask(256, 4, calibration=24)
    >>> int(mask.sum()), bool(mask[116:140].all())
    (64, True)
    """
    grid = _grid(shape)
    return _draw(grid, np.ones(grid), acceleration, calibration, seed)


def gaussian_mask(
    shape: Shape, acceleration: float, *, calibration: Shape = 0, width: float = 0.35, seed: int = 0
) -> Mask:
    """Lines or points drawn without replacement from a Gaussian density, exactly ``round(size / R)`` of them.

    Low spatial frequencies hold most of the energy of an image, so measuring them more densely makes the
    aliasing of random sampling weaker (Lustig et al., Magn Reson Med 58:1182, 2007).

    Parameters
    ----------
    shape : int or tuple of int
        Number of lines, or the grid of points.
    acceleration : float
        R = all positions / measured positions, the calibration region among them.
    calibration : int or tuple of int
        Size of the fully measured middle.
    width : float
        Standard deviation of the density, in units of the distance from the centre to the edge.
    seed : int
        The same seed gives the same mask.

    Returns
    -------
    ndarray of bool, `shape`

    Raises
    ------
    ValueError
        If R is below 1 or leaves fewer positions than the calibration region has, or `width` is not positive.

    Examples
    --------
    >>> mask = gaussian_mask((64, 64), 8, calibration=(8, 8))
    >>> actual_acceleration(mask)
    8.0
    """
    if not width > 0:
        raise ValueError(f"width {width} must be positive; 0.35 suits brains and knees")
    grid = _grid(shape)
    return _draw(grid, np.exp(-0.5 * (radius(grid) / width) ** 2), acceleration, calibration, seed)


def partial_fourier(n: int, fraction: float, *, early: bool = True) -> Mask:
    """The first or last ``ceil(fraction * n)`` lines, a little more than half of k-space.

    Parameters
    ----------
    n : int
        Number of lines.
    fraction : float
        Measured share, above 0.5 and at most 1 (scanners offer 5/8, 6/8 and 7/8).
    early : bool
        Whether the early lines are left out (as for a short echo time) or the late ones.

    Returns
    -------
    ndarray of bool, (n,)

    Raises
    ------
    ValueError
        If the fraction does not reach beyond the centre.

    Examples
    --------
    >>> partial_fourier(8, 0.75).astype(int)
    array([0, 0, 1, 1, 1, 1, 1, 1])
    """
    _check(n, 1)
    if not 0.5 < fraction <= 1:
        raise ValueError(
            f"fraction {fraction} is not above 0.5 and at most 1; scanners offer 0.625, 0.75, 0.875"
        )
    # a share such as 0.7 of 10 is a hair above 7 in floating point
    count = math.ceil(fraction * n - 1e-9)
    mask = np.zeros(n, bool)
    mask[n - count :] = True
    return mask if early else mask[::-1].copy()


def actual_acceleration(mask: npt.NDArray[np.generic]) -> float:
    """Number of positions over number of measured positions: the R that results should state.

    Parameters
    ----------
    mask : ndarray
        Zero or False where nothing was measured.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If nothing is measured.

    Examples
    --------
    >>> round(actual_acceleration(equispaced(256, 4, calibration=24)), 3)
    3.122
    """
    count = int(np.count_nonzero(mask))
    if not count:
        raise ValueError("the mask measures nothing; it needs at least one position that is not 0")
    return float(mask.size / count)


def centre(shape: tuple[int, ...], size: Shape) -> Mask:
    """The block of `size` around ``n // 2`` of every axis."""
    sizes = (size,) * len(shape) if isinstance(size, int) else tuple(size)
    if len(sizes) != len(shape) or any(not 0 <= c <= n for c, n in zip(sizes, shape, strict=False)):
        raise ValueError(
            f"calibration {size} does not fit k-space of {shape}; give a size from 0 to n per axis"
        )
    mask = np.zeros(shape, bool)
    mask[tuple(slice(n // 2 - c // 2, n // 2 - c // 2 + c) for n, c in zip(shape, sizes, strict=True))] = True
    return mask


def radius(shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    """Distance from the centre, 1 at the middle of every edge."""
    axes = [(np.arange(n) - n // 2) / max(n / 2, 1) for n in shape]
    squares = sum(a**2 for a in np.meshgrid(*axes, indexing="ij"))
    return np.asarray(np.sqrt(squares), np.float64)


def budget(shape: tuple[int, ...], acceleration: float, fixed: Mask) -> int:
    """How many positions R allows, which must be at least those of the fixed middle."""
    _check(min(shape), acceleration)
    count = round(math.prod(shape) / acceleration)
    if count < fixed.sum():
        raise ValueError(
            f"acceleration {acceleration:g} allows {count} positions, calibration alone takes {fixed.sum()}; "
            "lower one of them"
        )
    return count


def _draw(
    shape: tuple[int, ...],
    density: npt.NDArray[np.float64],
    acceleration: float,
    calibration: Shape,
    seed: int,
) -> Mask:
    mask = centre(shape, calibration)
    free = np.flatnonzero(~mask)
    count = budget(shape, acceleration, mask) - int(mask.sum())
    # the smallest exponential arrival times are a weighted draw without replacement; in logarithms, because
    # a narrow density underflows
    times = np.log(np.random.default_rng(seed).exponential(size=free.size)) - np.log(
        density.ravel()[free] + 1e-300
    )
    mask.ravel()[free[np.argsort(times, kind="stable")[:count]]] = True
    return mask


def _grid(shape: Shape) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


def _check(n: int, acceleration: float) -> None:
    if n < 1:
        raise ValueError(f"{n} positions along an axis; k-space needs at least 1")
    if not 1 <= acceleration < math.inf:
        raise ValueError(f"acceleration {acceleration} must be a finite number of at least 1")
