"""The Fourier model of parallel beams on a device: the numbers of NumPy, and its gram."""

from __future__ import annotations

import pytest
from tests.operators.table import SLICES, difference, operator, random

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", SLICES)
def test_device_gives_the_numbers_of_numpy(cupy, name, dtype):
    A = operator(name)
    for M in (A, A.H, A.gram):
        x = random((2, *M.in_shape), M, dtype)
        y = M(cupy.asarray(x))
        assert isinstance(y, cupy.ndarray) and str(y.dtype) == dtype
        assert difference(y.get(), M(x)) < TOLERANCE[dtype]


@pytest.mark.parametrize("name", SLICES)
def test_geometry_on_the_device(cupy, name):
    A = operator(name)
    x = cupy.asarray(random(A.in_shape, A))
    assert difference(A(x, vectors=cupy.asarray(A.beam.vectors)).get(), A(x).get()) < 1e-13
