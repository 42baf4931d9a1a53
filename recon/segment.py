"""Labels from grey values: Otsu's thresholds, and how well two labellings agree."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import numpy.typing as npt

MOST = 200_000  # choices of thresholds that may be tried one by one


def otsu(values: npt.ArrayLike, n_classes: int = 2, *, bins: int = 256) -> npt.NDArray[np.float64]:
    """Thresholds that part values into classes of least spread (of greatest variance between classes).

    Parameters
    ----------
    values : array_like, (...)
        Real values, of any shape; pick the pixels that matter beforehand.
    n_classes : int
        2 or more.
    bins : int
        Bins of the histogram: the thresholds lie on its edges. Fewer are wanted for more classes, since all
        choices are tried.

    Returns
    -------
    ndarray, (n_classes - 1,)
        Thresholds, rising; the middle one where several are as good (an empty gap).

    Raises
    ------
    ValueError
        If values are missing, not finite, all equal, or if there are too many choices.

    References
    ----------
    N. Otsu, IEEE Trans. Syst. Man Cybern. 9 (1979) 62; P.-S. Liao et al., J. Inf. Sci. Eng. 17 (2001) 713,
    for several thresholds.

    Examples
    --------
    >>> otsu([0.0, 0.1, 0.9, 1.0]).round(2)
    array([0.5])
    >>> otsu([0.0, 0.1, 0.9, 1.0, 3.0, 3.1], 3, bins=62).round(1)
    array([0.5, 2. ])
    """
    v = np.asarray(values, np.float64).ravel()
    if not v.size or not np.isfinite(v).all():
        raise ValueError(
            f"got {v.size} values, {np.count_nonzero(~np.isfinite(v))} not finite; give finite ones"
        )
    if v.min() == v.max():
        raise ValueError(f"all values are {v[0]:g}; there is nothing to part")
    if not 2 <= n_classes <= bins:
        raise ValueError(f"n_classes is {n_classes}; it must lie between 2 and the {bins} bins")
    if math.comb(bins - 1, n_classes - 1) > MOST:
        raise ValueError(f"{n_classes} classes of {bins} bins are too many choices; use fewer bins")
    counts, edges = np.histogram(v, bins)
    middles = (edges[1:] + edges[:-1]) / 2 - v.mean()
    mass = np.concatenate([[0.0], np.cumsum(counts)])
    moment = np.concatenate([[0.0], np.cumsum(counts * middles)])
    cuts = np.array(list(combinations(range(1, bins), n_classes - 1)))
    ends = np.hstack([np.zeros((len(cuts), 1), int), cuts, np.full((len(cuts), 1), bins)])
    weight, total = np.diff(mass[ends]), np.diff(moment[ends])
    between = np.sum(total**2 / np.maximum(weight, 1), axis=1)  # an empty class has no moment either
    best = np.flatnonzero(between >= between.max() * (1 - 1e-12))
    return np.asarray(edges[cuts[best]].mean(axis=0))


def matthews(found: npt.ArrayLike, expected: npt.ArrayLike) -> float:
    """Matthews correlation of two binary labellings: 1 where they agree, 0 by chance, -1 for the reverse.

    ``(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))``, 0 where a labelling has one class
    only.

    Parameters
    ----------
    found, expected : array_like of bool, (...)
        Labels of one shape; numbers count as true unless 0.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    B. W. Matthews, Biochim. Biophys. Acta 405 (1975) 442.

    Examples
    --------
    >>> matthews([1, 1, 0, 0], [1, 1, 0, 0]), matthews([1, 0, 1, 0], [1, 1, 0, 0])
    (1.0, 0.0)
    """
    a, b = np.asarray(found).astype(bool), np.asarray(expected).astype(bool)
    if a.shape != b.shape:
        raise ValueError(f"cannot compare labels of shapes {a.shape} and {b.shape}; they must be the same")
    both, neither = float((a & b).sum()), float((~a & ~b).sum())
    only_a, only_b = float((a & ~b).sum()), float((b & ~a).sum())
    sides = (both + only_a) * (both + only_b) * (neither + only_a) * (neither + only_b)
    return (both * neither - only_a * only_b) / math.sqrt(sides) if sides else 0.0
