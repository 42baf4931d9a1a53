"""Otsu's thresholds and the Matthews correlation against their definitions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayfold.recon.segment import matthews, otsu

BITS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


def spread_within(values: np.ndarray, thresholds: np.ndarray) -> float:
    """Sum of squares about the mean of each class."""
    labels = np.digitize(values, thresholds)
    classes = (values[labels == k] for k in np.unique(labels))
    return float(sum(((v - v.mean()) ** 2).sum() for v in classes))


@pytest.mark.parametrize("n_classes", [2, 3])
def test_no_other_thresholds_leave_less_spread(n_classes):
    rng = np.random.default_rng(n_classes)
    values = np.round(np.concatenate([rng.normal(m, 0.4, 200) for m in (0.0, 1.3, 4.0)]) * 8) / 8
    edges = np.linspace(values.min(), values.max(), 41)  # one value per bin: nothing is lost to the histogram
    centred = edges[:-1][np.digitize(values, edges[1:-1])] + (edges[1] - edges[0]) / 2
    best = min(spread_within(centred, np.array(cut)) for cut in combinations(edges[1:-1], n_classes - 1))
    found = otsu(values, n_classes, bins=40)
    assert found.shape == (n_classes - 1,) and (np.diff(found) > 0).all()
    nearest = edges[np.abs(edges[:, None] - found).argmin(axis=0)]
    assert spread_within(centred, nearest) == pytest.approx(best, rel=1e-9)


def test_two_levels_in_noise_are_parted_half_way():
    rng = np.random.default_rng(0)
    truth = rng.random((64, 64)) < 0.3
    threshold = otsu(truth + rng.normal(0, 0.1, truth.shape))[0]
    assert 0.4 < threshold < 0.6
    assert otsu(5 * (truth + rng.normal(0, 0.1, truth.shape)) - 2)[0] == pytest.approx(0.5, abs=0.5)


def test_thresholds_move_with_the_values():
    values = np.random.default_rng(1).normal(size=500) ** 3
    plain = otsu(values, 3, bins=64)
    assert otsu(2 * values + 7, 3, bins=64) == pytest.approx(2 * plain + 7, rel=1e-9)


@given(BITS)
def test_matthews_is_the_correlation_coefficient(pairs):
    a, b = (np.array(side) for side in zip(*pairs, strict=True))
    found = matthews(a, b)
    if a.all() or b.all() or not a.any() or not b.any():
        assert found == 0
    else:
        assert found == pytest.approx(np.corrcoef(a, b)[0, 1], abs=1e-12)
    assert matthews(b, a) == found
    assert matthews(~a, b) == pytest.approx(-found, abs=1e-12)


def test_matthews_of_large_images_does_not_overflow():
    a = np.zeros((4096, 4096), bool)
    a[:2048] = True
    assert matthews(a, a) == pytest.approx(1) and matthews(a.astype(np.uint8), ~a) == pytest.approx(-1)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "got 0 values"),
        ([1.0, np.nan], {}, "1 not finite"),
        ([2.0, 2.0], {}, "all values are 2"),
        ([0.0, 1.0], {"n_classes": 1}, "n_classes is 1"),
        ([0.0, 1.0], {"n_classes": 5}, "use fewer bins"),
    ],
)
def test_bad_values_are_refused(values, options, message):
    with pytest.raises(ValueError, match=message):
        otsu(values, **options)


def test_labels_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match="shapes"):
        matthews(np.zeros((2, 2)), np.zeros(4))
