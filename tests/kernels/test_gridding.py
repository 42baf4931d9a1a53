"""Interpolation and spreading: the CUDA source on the CPU, the numba twin, and what they must mean."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.cuda_on_cpu import build, device
from tests.cuda_on_cpu.cases import TOLERANCE, guarded, relative

from rayfold.kernels import gridding, joseph, launch

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="g++ is not installed")
COMPLEX = {"float32": "complex64", "float64": "complex128"}
CASES = {  # grid and width: sizes that tiles do not divide, a grid no wider than the kernel, one tile
    "line": ((71,), 4),
    "narrow line": ((9,), 9),
    "plane": ((17, 22), 7),
    "narrow plane": ((7, 16), 7),
    "volume": ((9, 8, 11), 3),
}


def points_of(grid, n, dtype, seed=0):
    """Anywhere within +-pi, also on the nodes, at both ends and in a heap."""
    rng = np.random.default_rng(seed)
    k = rng.uniform(-np.pi, np.pi, (n, len(grid)))
    k[0], k[1], k[2], k[3:9] = np.pi, -np.pi, 0, rng.normal(scale=1e-3, size=(6, len(grid)))
    k[9] = 2 * np.pi / np.array(grid)
    return k.astype(dtype)


def problem(case, dtype, batch, n=40):
    grid, width = CASES[case]
    plan = gridding.plan(points_of(grid, n, dtype), grid, width)
    rng = np.random.default_rng(batch)
    arrays = []
    for shape in ((batch, *grid), (batch, n)):
        array = guarded((*shape, 2), dtype).view(COMPLEX[dtype])[..., 0]
        array[...] = rng.standard_normal(shape) + 1j * rng.standard_normal(shape)
        arrays.append(array)
    return *arrays, plan


def by_cuda_source(function, a, out, plan, monkeypatch, *, images=None, descending=False):
    with monkeypatch.context() as patch:
        device.install(patch, gridding, descending=descending)
        if images:
            patch.setattr(gridding, "images_per_thread", lambda batch: images)
        getattr(gridding, function)(a, out, plan)
    return out


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_cuda_source_agrees_with_the_twin(case, dtype, monkeypatch):
    grid, samples, plan = problem(case, dtype, 2)
    for function, a, b in (("interpolate", grid, samples), ("spread", samples, grid)):
        ours, twin = np.full_like(b, np.nan), np.full_like(b, np.nan)
        by_cuda_source(function, a, ours, plan, monkeypatch)
        getattr(gridding, function)(a, twin, plan)
        assert np.linalg.norm(twin) > 1
        assert relative(ours, twin) < TOLERANCE[dtype], function


@needs_compiler
@pytest.mark.parametrize("who", ["twin", "cuda"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_spread_is_the_transpose_entry_by_entry(case, dtype, who, monkeypatch):
    """Both take every weight from the same numbers: it is the same to the last bit."""
    grid, samples, plan = problem(case, dtype, 1)
    shape, n = plan.grid, samples.shape[1]

    def dense(function, inputs, outputs):
        m = math.prod(inputs)
        units, out = np.eye(m, dtype=grid.dtype).reshape(m, *inputs), np.empty((m, *outputs), grid.dtype)
        if who == "cuda":
            by_cuda_source(function, units, out, plan, monkeypatch, images=2)
        else:
            getattr(gridding, function)(units, out, plan)
        return out.reshape(m, -1).T

    a, b = dense("interpolate", shape, (n,)), dense("spread", (n,), shape)
    assert (a != 0).sum(axis=1).min() > 0 and a.imag.max() == 0
    assert np.array_equal(a, b.T)


@needs_compiler
@pytest.mark.parametrize("images", [1, 2])
def test_batch_equals_loop_whatever_the_order_of_threads(images, monkeypatch):
    grid, samples, plan = problem("plane", "float32", 3)
    for function, a, b in (("interpolate", grid, samples), ("spread", samples, grid)):
        whole = by_cuda_source(function, a, np.full_like(b, np.nan), plan, monkeypatch, images=images)
        down = by_cuda_source(function, a, b.copy(), plan, monkeypatch, images=images, descending=True)
        assert np.array_equal(whole, down)
        for i in range(3):
            one = by_cuda_source(function, a[i : i + 1], b[:1].copy(), plan, monkeypatch, images=1)
            assert np.array_equal(whole[i], one[0])


@pytest.mark.parametrize("width", [3, 7, 13])
def test_a_plane_wave_is_interpolated(width):
    """``sum w(j - g) exp(-2 pi i n j / N) = transform(n) exp(-i n k)``, up to the aliasing of the kernel."""
    length, k = 32, points_of((32,), 50, "float64")
    plan = gridding.plan(k, (length,), width)
    aliasing = 5 * gridding.KERNELS[width][1]
    for n in (0, 3, -7):
        wave = np.exp(-2j * np.pi * n * np.arange(length) / length)[None]
        out = np.empty((1, 50), complex)
        gridding.interpolate(wave, out, plan)
        assert (
            np.abs(out[0] / gridding.transform(width, n, length) - np.exp(-1j * n * k[:, 0])).max() < aliasing
        )


def test_whole_turns_change_nothing():
    grid, samples, plan = problem("volume", "float64", 1)
    k = points_of(plan.grid, 40, "float64")
    turned = gridding.plan(k + 2 * np.pi * np.array([1, -2, 3]), plan.grid, plan.width)
    out = np.empty_like(samples)
    gridding.interpolate(grid, samples, plan)
    gridding.interpolate(grid, out, turned)
    assert relative(out, samples) < 1e-12


@pytest.mark.parametrize("case", CASES)
def test_every_tile_lists_the_points_that_reach_it_once(case):
    _, _, plan = problem(case, "float64", 1)
    dim = len(plan.grid)
    tile = gridding.TILES[dim][3 - dim :]
    counts = [math.ceil(n / t) for n, t in zip(plan.grid, tile, strict=True)]
    wanted = [set() for _ in range(math.prod(counts))]
    for p, cell in enumerate(plan.cell):
        for step in np.ndindex(*[plan.width] * dim):
            node = (cell + step) % plan.grid
            wanted[np.ravel_multi_index(node // tile, counts)].add(p)
    found = [plan.entries[a:b].tolist() for a, b in zip(plan.starts[:-1], plan.starts[1:], strict=True)]
    assert found == [sorted(each) for each in wanted]
    assert sorted(plan.order) == list(range(len(plan.cell)))


@pytest.mark.parametrize(("dim", "width", "dtype"), [(1, 16, "float64"), (3, 7, "float32")])
def test_nvrtc_compiles_other_widths(dim, width, dtype):
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    text = launch.source("gridding", gridding.defines(dtype, 8, dim, width)).encode()
    _, program = nvrtc.nvrtcCreateProgram(text, b"gridding.cu", 0, [], [])
    options = [b"--gpu-architecture=sm_80", *(o.encode() for o in launch.OPTIONS)]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS


def test_shared_memory_of_the_widest_kernel_fits():
    numbers = 3 * gridding.WIDEST + 2 * max(joseph.FACTORS)
    assert gridding.THREADS * (8 * numbers + 4 * 3) <= 48 * 1024


def test_no_points_make_an_empty_grid():
    plan = gridding.plan(np.empty((0, 2)), (8, 8), 4)
    out = np.full((2, 8, 8), np.nan, complex)
    gridding.spread(np.empty((2, 0), complex), out, plan)
    assert not out.any()


def test_bad_input_is_refused():
    grid, samples, plan = problem("plane", "float32", 2)
    with pytest.raises(ValueError, match="must be finite"):
        gridding.plan(np.array([[np.nan]]), (8,), 4)
    with pytest.raises(ValueError, match="do not fit"):
        gridding.plan(np.zeros((3, 2)), (8, 6), 7)
    with pytest.raises(ValueError, match="C-contiguous complex64"):
        gridding.interpolate(grid.astype("c16"), samples, plan)
    with pytest.raises(ValueError, match="samples is"):
        gridding.spread(samples[:, ::-1], grid, plan)
    with pytest.raises(TypeError, match="NumPy or CuPy"):
        gridding.spread([1.0], grid, plan)
