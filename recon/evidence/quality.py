"""Lower bounds of the quality of an image, from what is known without its truth."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.recon.evidence.conformal import conformal_quantile

Floats = npt.NDArray[np.float64]


class Bound(NamedTuple):
    """A prediction, linear in the features; the lower bound is the prediction less the slack."""

    coefficients: tuple[float, ...]
    slack: float


def fitted(features: Floats, quality: Floats, level: float) -> Bound:
    """Prediction fitted on the first third when there are features, slack from the scans left."""
    first = len(quality) // 3 if features.shape[1] else 0
    coefficients: tuple[float, ...] = (0.0,) * (features.shape[1] + 1)
    finite = np.isfinite(quality[:first])
    if finite.any():
        design = np.column_stack([np.ones(first), features[:first]])[finite]
        solution = np.linalg.lstsq(design, quality[:first][finite], rcond=None)[0]
        coefficients = tuple(solution.tolist())
    predicted = predict(Bound(coefficients, math.nan), features[first:])
    return Bound(coefficients, conformal_quantile(predicted - quality[first:], level))


def predict(bound: Bound, features: Floats) -> Floats:
    """Predicted quality, (n,), of images with `features`, (n, k)."""
    expected = len(bound.coefficients) - 1
    if features.shape[1] != expected:
        raise ValueError(f"{features.shape[1]} features were given; the calibration was made with {expected}")
    return np.asarray(bound.coefficients[0] + features @ np.asarray(bound.coefficients[1:]))
