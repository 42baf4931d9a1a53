"""The smooth map of how strong the noise is in each part of the image, relative to its mean."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.noise_level.regions import STRIDE

Array = npt.NDArray[Any]
TILE = 64  # pixels over which the noise is taken to be the same
STEP = 32  # pixels between tiles
LEAST = 6  # windows in a tile, over all slices
TEXTURE = 1.4  # excess of the second octave over the first, against the whole image, that is no noise
RANGE = 4.0  # times more or less than typical that a map can say
STATIONARY = 0.08  # spread of the logarithm that sampling and texture alone give


def relative_map(
    fine: Array, second: Array, shape: tuple[int, int], *, quantile: float, ratio: float
) -> Array | None:
    """Relative level of the noise ``(ny, nx)``, 1 in the mean, or None where it does not vary.

    Tiles are measured by a low quantile of the windows in them, since texture only adds to noise. Tiles in
    which the second octave is much stronger, against the first, than elsewhere hold texture and are filled
    from around, as are tiles of padding.

    Parameters
    ----------
    fine, second : ndarray, (n, ky, kx)
        Root mean power of the details of the first and the second octave in windows on a grid of `STRIDE`
        pixels; NaN where there is nothing to measure.
    shape : tuple of int
        Size of the image.
    quantile : float
        In percent.
    ratio : float
        Second octave over first in the quietest windows of all.
    """
    size, step = TILE // STRIDE, STEP // STRIDE
    ky, kx = fine.shape[1:]
    rows, cols = range(0, max(ky - size // 2, 1), step), range(0, max(kx - size // 2, 1), step)
    if len(rows) < 3 or len(cols) < 3:
        return None
    levels, ratios = np.full((len(rows), len(cols)), np.nan), np.full((len(rows), len(cols)), np.nan)
    counts = np.zeros(levels.shape)
    for i, r in enumerate(rows):
        for j, c in enumerate(cols):
            tile, coarser = (v[:, r : r + size, c : c + size] for v in (fine, second))
            good = np.isfinite(tile) & np.isfinite(coarser)
            if good.sum() < LEAST:
                continue
            levels[i, j] = np.percentile(tile[good], quantile)
            ratios[i, j] = np.percentile(coarser[good], quantile) / max(levels[i, j], 1e-300)
            counts[i, j] = good.sum()
    measured = np.isfinite(levels) & (levels > 0) & (ratios <= TEXTURE * ratio)
    if measured.sum() < 9:
        return None
    log = np.where(measured, np.log(np.where(measured, levels, 1)), 0)
    weight = np.where(measured, np.sqrt(counts), 0)
    limit = np.log(RANGE)
    trend = _plane(log, weight)
    smooth = trend + _filled(np.clip(log - trend, -limit, limit) * measured, weight)
    low, high = np.percentile(smooth[measured], (16, 84))
    if (high - low) / 2 < STATIONARY:
        return None
    return _enlarged(smooth, trend, shape)


def _plane(log: Array, weight: Array) -> Array:
    """The plane nearest to the tiles: smoothing and borders bend what is left of them only."""
    y, x = (np.arange(n) - (n - 1) / 2 for n in log.shape)
    terms = np.stack(np.broadcast_arrays(1.0, y[:, None] / len(y), x / len(x)), -1).reshape(-1, 3)
    # a little ridge: tiles in one row alone say nothing about the other direction
    square = terms.T @ (weight.reshape(-1, 1) * terms) + 0.02 * weight.sum() * np.diag([0.0, 0.1, 0.1])
    found = np.linalg.solve(square, terms.T @ (weight * log).ravel())
    return np.asarray((terms @ found).reshape(log.shape))


def _filled(log: Array, weight: Array) -> Array:
    """Weighted mean over neighbours; far from any tile that was measured, the mean of all."""
    from scipy.ndimage import gaussian_filter

    near = gaussian_filter(weight, 0.8, mode="nearest")
    wide = gaussian_filter(weight, 3.0, mode="nearest")
    typical = weight[weight > 0].mean()
    fine = gaussian_filter(weight * log, 0.8, mode="nearest")
    coarse = gaussian_filter(weight * log, 3.0, mode="nearest") / (wide + 1e-3 * typical)
    trust = 0.1 * typical
    return np.asarray((fine + trust * coarse) / (near + trust))


def _enlarged(log: Array, trend: Array, shape: tuple[int, int]) -> Array:
    from scipy.ndimage import map_coordinates

    window = 16  # of the finest details: the first lies 8 pixels from the corner
    middle = (TILE - STRIDE + window) / 2
    at = [(np.arange(n) + 0.5 - middle) / STEP for n in shape]
    rest: Array = map_coordinates(log - trend, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")
    dy, dx = trend[1, 0] - trend[0, 0], trend[0, 1] - trend[0, 0]
    level = np.exp(rest + trend[0, 0] + dy * at[0][:, None] + dx * at[1])
    return np.asarray((level / level.mean()).astype(np.float32))
