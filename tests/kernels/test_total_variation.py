"""The fused loops of total variation: against plain array code, and the CUDA source against the twin."""

from __future__ import annotations

import ctypes
import functools
import math
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pytest
from tests.cuda_on_cpu import build

from rayfold.kernels import launch, total_variation
from rayfold.operators.differences import Gradient

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="g++ is not installed")
SHAPES = [(2, 33, 40), (1, 300, 257), (3, 1, 9), (2, 7, 1), (1, 1, 1)]
WITHIN = {"float32": 2e-6, "float64": 4e-15}
ENTRIES = """
extern "C" void run_ascend(const unsigned* grid, unsigned threads, int descending, const REAL* x,
    const REAL* z, const REAL* force, REAL* out, const REAL* rates, const REAL* numbers, const REAL* scale,
    int batch, int ny, int nx)
{
    emulation::launch(grid, threads, 0, grid[0], descending != 0,
        [=] { ascend(x, z, out, rates, numbers, scale, batch, ny, nx); });
}
extern "C" void run_pull(const unsigned* grid, unsigned threads, int descending, const REAL* x,
    const REAL* z, const REAL* force, REAL* out, const REAL* rates, const REAL* numbers, const REAL* scale,
    int batch, int ny, int nx)
{
    emulation::launch(grid, threads, 0, grid[0], descending != 0,
        [=] { pull(z, force, out, scale, batch, ny, nx); });
}
"""


def operands(shape, dtype):
    """Image, dual, force, rates, numbers and scale."""
    rng = np.random.default_rng(sum(shape))
    batch, ny, nx = shape
    rates = np.stack([0.1 + rng.random(batch), 0.2 + 0.8 * rng.random(batch)], axis=1)
    drawn = [rng.standard_normal(s) for s in (shape, (batch, 2, ny, nx), shape)]
    given = [*drawn, rates, [0.9, 1.7, 0.0], [1 / 1.3, 1 / 0.6]]
    return [np.ascontiguousarray(a, dtype=dtype) for a in given]


def expected(shape, dtype):
    """Both results in double precision."""
    x, z, force, rates, numbers, scale = (a.astype(np.float64) for a in operands(shape, dtype))
    G = Gradient(shape[1:], tuple(1 / scale))
    rate, shrink = rates[:, :1, None, None], rates[:, 1:, None, None]
    moved = (z + rate * G(x)) * shrink
    moved *= numbers[0] / np.maximum(np.sqrt((moved**2).sum(axis=1, keepdims=True)), numbers[0])
    return {"ascend": z + numbers[1] * (moved - z), "pull": force + G.H(z)}


def by_twin(name, shape, dtype):
    x, z, force, rates, numbers, scale = operands(shape, dtype)
    if name == "ascend":
        out = np.full_like(z, np.nan)
        total_variation.ascend(x, z, out, rates, numbers, scale)
    else:
        out = np.full_like(force, np.nan)
        total_variation.pull(z, force, out, scale)
    return out


@functools.cache
def library(dtype):
    text = launch.source("total_variation", launch.preamble(dtype, 1))
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder) / "tv.cpp", Path(folder) / "tv.so"
        source.write_text(f'#include "{build.SHIM}"\n{text}\n{ENTRIES}')
        subprocess.run([build.compiler(), *build.FLAGS, source, "-o", binary], check=True)
        return ctypes.CDLL(str(binary))


def by_cuda_source(name, shape, dtype, *, descending=False):
    arrays = operands(shape, dtype)
    x, z, force, rates, numbers, scale = arrays
    out = np.full_like(z if name == "ascend" else force, np.nan)
    grid = (ctypes.c_uint * 3)(math.ceil(x.size / total_variation.THREADS), 1, 1)
    pointers = [ctypes.c_void_p(a.ctypes.data) for a in (x, z, force, out, rates, numbers, scale)]
    sizes = map(ctypes.c_int, shape)
    threads = ctypes.c_uint(total_variation.THREADS)
    getattr(library(dtype), f"run_{name}")(grid, threads, ctypes.c_int(descending), *pointers, *sizes)
    return out


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["ascend", "pull"])
def test_twin_is_the_formula(name, dtype, shape):
    found = by_twin(name, shape, dtype)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, expected(shape, dtype)[name], rtol=0, atol=8 * WITHIN[dtype])


@needs_compiler
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["ascend", "pull"])
def test_cuda_source_agrees_with_the_twin(name, dtype, shape):
    ours = by_cuda_source(name, shape, dtype)
    np.testing.assert_allclose(ours, by_twin(name, shape, dtype), rtol=0, atol=8 * WITHIN[dtype])
    assert np.array_equal(ours, by_cuda_source(name, shape, dtype, descending=True))


def test_threads_agree_with_one(monkeypatch):
    whole = by_twin("ascend", (1, 300, 257), "float32")
    monkeypatch.setenv("RAYFOLD_NUM_THREADS", "1")
    assert np.array_equal(whole, by_twin("ascend", (1, 300, 257), "float32"))


def test_buffers_that_do_not_fit_are_refused():
    x, z, force, rates, numbers, scale = operands((2, 5, 6), "float32")
    with pytest.raises(ValueError, match=r"rates is float32 \(1, 2\); it must be .* \(2, 2\)"):
        total_variation.ascend(x, z, z.copy(), rates[:1], numbers, scale)
    with pytest.raises(ValueError, match=r"out is float64"):
        total_variation.pull(z, force, force.astype(np.float64), scale)
    with pytest.raises(ValueError, match="z is float32"):
        total_variation.pull(z[:, :, ::-1], force, force.copy(), scale)
    with pytest.raises(ValueError, match="must be float32 or float64"):
        whole = [a.astype(np.int32) for a in (z, force, force, scale)]
        total_variation.pull(*whole)
    with pytest.raises(TypeError, match="NumPy or CuPy"):
        total_variation.pull(z.tolist(), force, force.copy(), scale)
