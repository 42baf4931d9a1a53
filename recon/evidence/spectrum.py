"""Is what is left of the data noise: chi-square overall and per view, spectrum and correlation."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
LEVEL = 0.01  # probability of flagging a single view among views that are all alike


class Residual(NamedTuple):
    """Statistics of a whitened residual, one per problem in the leading axes.

    Attributes
    ----------
    chi_square : ndarray
        Sum of squares per datum; 1 for noise alone. A complex datum counts as two.
    n_data : ndarray
        Data that have a finite variance.
    views : ndarray, (..., views)
        Chi-square per datum of each index along the first axis of the data; nan where nothing was measured.
    out_of_line : ndarray of bool, (..., views)
        Views that fit worse than the others do.
    frequencies : ndarray, (bins,)
        Of the spectrum, in cycles per sample of the last axis.
    spectrum : ndarray, (..., bins)
        Mean power of the residual; 1 at all frequencies for white noise of the stated variance.
    correlation : ndarray
        Between neighbours along the last axis; 0 for white noise.
    correlation_error : ndarray
        Standard deviation of that correlation for white noise.
    """

    chi_square: Floats
    n_data: Floats
    views: Floats
    out_of_line: npt.NDArray[np.bool_]
    frequencies: Floats
    spectrum: Floats
    correlation: Floats
    correlation_error: Floats


def residual_statistics(
    whitened: npt.NDArray[Any], shape: tuple[int, ...], measured: npt.NDArray[np.bool_] | None = None
) -> Residual:
    """Statistics of a whitened residual.

    Parameters
    ----------
    whitened : ndarray, (..., *shape)
        Residual over its standard deviation (of the real and of the imaginary part each).
    shape : tuple of int
        Shape of the data of one problem.
    measured : ndarray of bool, optional
        Data that count; broadcast against the residual.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal((40, 100))
    >>> found = residual_statistics(noise, (40, 100))
    >>> round(float(found.chi_square), 2), int(found.out_of_line.sum())
    (1.0, 0)
    """
    axes, last = tuple(range(-len(shape), 0)), shape[-1]
    parts = 2 if np.iscomplexobj(whitened) else 1
    w = whitened.astype(np.complex128 if parts == 2 else np.float64)
    counted = np.broadcast_to(True if measured is None else measured, w.shape)
    power = np.abs(w) ** 2
    n = np.asarray(parts * counted.sum(axes), np.float64)
    views_n = parts * counted.sum(axes[1:]) if len(shape) > 1 else parts * counted.astype(int)
    views_power = power.sum(axes[1:]) if len(shape) > 1 else power
    views = _per(views_power, views_n)
    transform = np.fft.fft(w, axis=-1) if parts == 2 else np.fft.rfft(w, axis=-1)
    frequencies = np.fft.fftfreq(last) if parts == 2 else np.fft.rfftfreq(last)
    rows = (np.abs(transform) ** 2).sum(axes[:-1]) if len(shape) > 1 else np.abs(transform) ** 2
    spectrum = rows / np.maximum(n, 1)[..., None]
    if parts == 2:
        frequencies, spectrum = np.fft.fftshift(frequencies), np.fft.fftshift(spectrum, axes=-1)
    products = np.real(np.conj(w[..., :-1]) * w[..., 1:]).sum(axes)
    pairs = parts * (counted[..., :-1] & counted[..., 1:]).sum(axes)
    total = power.sum(axes)
    correlation = _per(products, pairs, 0.0) / np.where(total > 0, _per(total, n, 1.0), 1.0)
    return Residual(
        _per(total, n),
        n,
        views,
        out_of_line(views, views_n),
        np.asarray(frequencies, np.float64),
        spectrum,
        correlation,
        1 / np.sqrt(np.maximum(np.asarray(pairs, np.float64), 1)),
    )


def out_of_line(views: Floats, n: npt.NDArray[Any], level: float = LEVEL) -> npt.NDArray[np.bool_]:
    """Views whose chi-square per datum is too large for their company.

    The cube root of chi-square is nearly normal. Its centre is the median view, so that noise misjudged as a
    whole flags nothing, and its spread the larger of theory and of what the views show. The level is shared
    among the views (Bonferroni).

    References
    ----------
    E. B. Wilson and M. M. Hilferty, Proc. Natl. Acad. Sci. 17 (1931) 684.
    """
    from scipy.special import ndtri

    flagged = np.zeros(views.shape, bool)
    for i in np.ndindex(views.shape[:-1]):
        some = np.isfinite(views[i])
        c, m = views[i][some], np.asarray(n[i][some], np.float64)
        if c.size < 3 or not np.median(c) > 0:
            continue
        root = np.cbrt(c / np.median(c))
        centre = np.median(root)
        seen = 1.4826 * float(np.median(np.abs(root - centre)))
        m = m * min(1.0, float(np.median(c)))  # noise that the image has taken up no longer scatters
        spread = np.maximum(np.sqrt(2 / (9 * m)), seen)
        flagged[i][some] = (root - centre) / spread > -ndtri(level / c.size)
    return flagged


def tail(chi_square: Floats, n: Floats) -> tuple[Floats, Floats]:
    """Probabilities that noise alone gives a chi-square per datum at least, and at most, as large."""
    from scipy.special import gammainc, gammaincc

    half = np.maximum(n, 1) / 2
    return np.asarray(gammaincc(half, chi_square * half)), np.asarray(gammainc(half, chi_square * half))


def _per(total: npt.NDArray[Any], n: npt.NDArray[Any], empty: float = np.nan) -> Floats:
    """Total per datum, and `empty` where there are none."""
    some = np.asarray(n) > 0
    return np.asarray(np.where(some, total / np.where(some, n, 1), empty))
