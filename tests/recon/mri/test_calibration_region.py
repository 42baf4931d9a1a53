"""The calibration block found in masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayfold.recon.mri.calibration_lines import calibration_region


def lines(n, low, high, step=4):
    mask = np.arange(n) % step == 0
    mask[low:high] = True
    return mask


@settings(max_examples=40, deadline=None)
@given(st.integers(17, 80), st.integers(0, 6), st.integers(1, 7), st.integers(3, 5))
def test_lines_around_the_centre(n, before, after, step):
    """The run of lines about the centre, whatever else was measured."""
    low, high = n // 2 - before, n // 2 + after
    mask = np.arange(n) % step == 0
    mask[low:high] = True
    while mask[low - 1]:
        low -= 1
    while mask[high]:
        high += 1
    assert calibration_region(mask[:, None], (n, 11)) == (slice(low, high), slice(0, 11))


@pytest.mark.parametrize("n", [64, 65])
def test_square_in_a_disc(n):
    y, x = np.mgrid[:n, :n] - n // 2
    disc = y**2 + x**2 <= 20**2
    region = calibration_region(disc | ((y % 3 == 0) & (x % 5 == 0)), (n, n))
    assert disc[region].all()
    widths = [s.stop - s.start for s in region]
    assert min(widths) >= 27  # a square of 2 * 20 / sqrt(2)
    full = np.ones((n, n, 9), bool)
    assert calibration_region(full, (n, n, 9), width=(4, 5, 9)) == (
        slice(n // 2 - 2, n // 2 + 2),
        slice(n // 2 - 2, n // 2 + 3),
        slice(0, 9),
    )


def test_bad_input():
    with pytest.raises(ValueError, match="must broadcast"):
        calibration_region(np.ones(5, bool), (8, 8))
    with pytest.raises(ValueError, match=r"centre of k-space \(4, 4\) was not measured"):
        calibration_region(np.arange(8)[:, None] % 2 == 1, (8, 8))
    with pytest.raises(ValueError, match="width is"):
        calibration_region(np.ones((8, 8), bool), (8, 8), width=(3,))
