"""Transforms of several columns at once, against NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

from rayfold.kernels.cpu import fft, lines


@pytest.mark.parametrize("real", ["float32", "float64"])
@pytest.mark.parametrize("flip", [0, 1])
def test_every_length_of_small_factors(real, flip):
    lanes = lines.lanes(real)
    rng = np.random.default_rng(0)
    for length in (1, 2, 3, 4, 5, 6, 8, 9, 10, 12, 15, 16, 18, 20, 25, 27, 30, 32, 60, 81, 125, 256, 480):
        z = rng.standard_normal((length, lanes)) + 1j * rng.standard_normal((length, lanes))
        columns = np.stack([z.real, z.imag], axis=1).astype(real).ravel()
        other = np.full_like(columns, np.nan)
        moved = fft.transform(columns, other, *fft.plan(length, real), length, flip)
        found = (other if moved else columns).reshape(length, 2, lanes)
        expected = np.fft.ifft(z, axis=0, norm="forward") if flip else np.fft.fft(z, axis=0)
        error = np.abs(found[:, 0] + 1j * found[:, 1] - expected).max() / np.abs(expected).max()
        assert error < {"float32": 5e-7, "float64": 1e-15}[real], length


def test_other_factors_have_no_plan():
    assert fft.plan(7, "float32") is None and fft.plan(8 * 11, "float64") is None
