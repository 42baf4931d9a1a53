"""Back-projection's CUDA source without a GPU: g++ runs it against the numba twin and its own transpose.

That NVRTC compiles it is checked in `test_cuda_source`, with every other source.
"""

from __future__ import annotations

import ctypes
import functools
import math
import subprocess

import numpy as np
import pytest
from tests.cuda_on_cpu import build
from tests.cuda_on_cpu.cases import CASES, FAN, NEAR, TOLERANCE, TURN, guarded, plan, relative

from rayfold.kernels import backproject, joseph, launch
from rayfold.operators import FanBeam, ParallelBeam, Volume

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="g++ is not installed")
ENTRY = """
extern "C" void run_{name}(
    const unsigned* grid, unsigned threads, long long start, long long stop, int descending,
    const REAL* a, REAL* out, const REAL* coef, const REAL* scale, REAL fan_step,
    int batch, int ny, int nx, int views, int cols)
{{
    emulation::launch(grid, threads, start, stop, descending != 0,
        [=] {{ {name}(a, out, coef, scale, fan_step, batch, ny, nx, views, cols); }});
}}
"""
OTHERS = {
    "fan offset": (Volume((28, 33), (0.8, 1.1)), FanBeam(TURN, 30, 2.2, detector_offset=15.0, **FAN)),
    "curved offset": (
        Volume((28, 33), (0.8, 1.1)),
        FanBeam(TURN, 30, 2.2, detector_offset=15.0, curved=True, **FAN),
    ),
    "curved fine": (Volume((25, 28)), FanBeam(TURN, 180, 0.5, curved=True, **FAN)),
    "curved coarse": (Volume((40, 33)), FanBeam(TURN, 16, 6.0, curved=True, **FAN)),
    "curved nearly half a turn": (
        Volume((10, 11)),
        FanBeam(TURN, 38, 1.6, source_to_axis=12.0, source_to_detector=20.0, curved=True),
    ),
}
TABLE = CASES | OTHERS


@functools.cache
def library(dtype, images, folder):
    text = launch.source("backproject", launch.preamble(dtype, images))
    source, binary = folder / f"{dtype}{images}.cpp", folder / f"{dtype}{images}.so"
    entries = "".join(ENTRY.format(name=name) for name in ("gather", "splat"))
    source.write_text(f'#include "{build.SHIM}"\nusing std::tan;\n{text}\n{entries}')
    words = [build.compiler(), *build.FLAGS, source, "-o", binary]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return ctypes.CDLL(str(binary))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("backproject")

    def call(name, a, out, coef, scale, fan_step, *, images=None, blocks=None, descending=False):
        """`backproject.gather` or `.splat` from the CUDA source; `blocks` limits it to part of the grid."""
        image, sinogram = (out, a) if name == "gather" else (a, out)
        (batch, ny, nx), (_, views, cols) = image.shape, sinogram.shape
        images = images or joseph.images_per_thread(batch)
        grid = joseph.grid(backproject.LAYOUT[name], images, batch, ny, nx, views, cols)
        start, stop = blocks(grid) if blocks else (0, math.prod(grid))
        real = ctypes.c_float if out.dtype == np.float32 else ctypes.c_double
        arrays = (a, out, coef, scale)
        assert all(each.flags.c_contiguous and each.dtype == out.dtype for each in arrays)
        getattr(library(out.dtype.name, images, folder), f"run_{name}")(
            (ctypes.c_uint * 3)(*grid), ctypes.c_uint(joseph.THREADS),
            *map(ctypes.c_longlong, (start, stop)), ctypes.c_int(descending),
            *(ctypes.c_void_p(each.ctypes.data) for each in arrays), real(fan_step),
            *map(ctypes.c_int, (batch, ny, nx, views, cols)),
        )  # fmt: skip
        return out

    return call


def views_of(volume, beam, dtype):
    """The arrays a kernel call takes beside image and views; weights of about one."""
    coef, _, _, fan_step = plan(volume, beam, dtype)
    scale = np.random.default_rng(7).uniform(0.5, 1.5, len(coef)) * coef[:, 1] ** 2
    return coef, scale.astype(dtype), fan_step


def problem(case, dtype, batch):
    volume, beam = TABLE[case]
    rng = np.random.default_rng(batch)
    x, y = guarded((batch, *volume.shape), dtype), guarded((batch, *beam.shape), dtype)
    x[...], y[...] = rng.random(x.shape) + 0.1, rng.standard_normal(y.shape)
    return x, y, views_of(volume, beam, dtype)


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", TABLE)
def test_agrees_with_the_numba_twin(run, case, dtype):
    x, y, views = problem(case, dtype, 2)
    for name, a, b in (("gather", y, x), ("splat", x, y)):
        ours, twin = guarded(b.shape, dtype), np.empty_like(b)
        run(name, a, ours, *views)
        getattr(backproject, name)(a, twin, *views)
        assert np.linalg.norm(twin) > 1
        assert relative(ours, twin) < TOLERANCE[dtype], name


@needs_compiler
@pytest.mark.parametrize("images", joseph.FACTORS)
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("case", ["fan flat", "curved fine"])
def test_batch_equals_loop_bit_for_bit(run, case, batch, images):
    x, y, views = problem(case, "float32", batch)
    for name, a, b in (("gather", y, x), ("splat", x, y)):
        whole = run(name, a, guarded(b.shape, "float32"), *views, images=images)
        for i in range(batch):
            one = run(name, a[i : i + 1], guarded((1, *b.shape[1:]), "float32"), *views, images=1)
            assert np.array_equal(whole[i], one[0])


@needs_compiler
def test_order_of_threads_does_not_matter(run):
    """A missing barrier shows: the emulation runs a block's threads upwards or downwards between barriers."""
    x, y, views = problem("very fine detector", "float32", 3)
    for name, a, b in (("gather", y, x), ("splat", x, y)):
        up = run(name, a, guarded(b.shape, "float32"), *views)
        down = run(name, a, guarded(b.shape, "float32"), *views, descending=True)
        assert np.array_equal(up, down)


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("volume", "beam"),
    [
        (Volume((9, 12), (1.2, 0.8)), ParallelBeam(TURN, 17, 0.9, detector_offset=0.2)),
        (Volume((9, 8)), ParallelBeam(TURN[::3], 50, 0.27)),
        (Volume((14, 13)), ParallelBeam(TURN, 5, 3.7)),
        (Volume((10, 11)), FanBeam(TURN, 15, 1.9, **NEAR)),
        (Volume((10, 11)), FanBeam(TURN, 3, 12.0, **NEAR)),  # neighbours on both sides of a right angle
        (Volume((10, 11)), FanBeam(TURN, 19, 1.5, curved=True, **NEAR)),
        (Volume((10, 11)), FanBeam(TURN, 3, 20.0, curved=True, **NEAR)),  # beyond a quarter turn
        (Volume((10, 11)), FanBeam(TURN, 19, 3.5, source_offset=1.0, **FAN)),
    ],
)  # fmt: skip
def test_splat_is_the_transpose_entry_by_entry(run, volume, beam, dtype):
    """Both take every entry from the same rounded numbers: it is the same to the last bit."""
    views = views_of(volume, beam, dtype)

    def dense(name, shape_in, shape_out):
        n = math.prod(shape_in)
        units = np.eye(n, dtype=dtype).reshape(n, *shape_in)
        return run(name, units, np.empty((n, *shape_out), dtype), *views).reshape(n, -1).T

    a, b = dense("gather", beam.shape, volume.shape), dense("splat", volume.shape, beam.shape)
    assert a.max() > 0.4
    assert np.array_equal(a, b.T)


@needs_compiler
def test_splat_finds_pixels_misplaced_by_rounding(run):
    """Bins of 1e-5 pixels, where float32 moves a pixel by hundredths of a bin: no weight may be lost."""
    n_views, n_cols, fine = 200, 64, 1e-5
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 2 * math.pi, n_views)
    ex, ey, zero = np.cos(angle), np.sin(angle), np.zeros(n_views)
    a0 = 15.5 * ey - 7.5 * ex + fine * rng.uniform(-25, 25, n_views)  # through the last pixel
    coef = np.stack([a0, zero - fine, ex, zero, ey, zero], axis=1).astype("f4")
    scale = coef[:, 1] ** 2
    x = np.zeros((1, 16, 32), "f4")
    x[0, -1, -1] = 1
    rows = run("splat", x, np.empty((1, n_views, n_cols), "f4"), coef, scale, 0.0)[0]
    units = np.eye(n_cols, dtype="f4")[:, None]
    for v in range(n_views):
        out = np.empty((n_cols, 16, 32), "f4")
        columns = run("gather", units, out, coef[v : v + 1], scale[v : v + 1], 0.0)
        assert np.array_equal(columns[:, -1, -1], rows[v])
    assert np.allclose(rows.sum(1), 1, atol=1e-5)


@needs_compiler
@pytest.mark.parametrize("pitch", [0.5, 1.4, 4.0])
@pytest.mark.parametrize("kind", ["parallel", "flat", "curved"])
def test_dot_at_real_size(run, kind, pitch):
    """In float32 the pixels a bin feels must be found in spite of coordinates rounded at 500 pixels."""
    distances = {"source_to_axis": 700.0, "source_to_detector": 1400.0}
    volume, angles = Volume((512, 512), 0.7), np.arange(12) * 0.53
    beam = (
        ParallelBeam(angles, round(512 / pitch), pitch / 2)
        if kind == "parallel"
        else FanBeam(angles, round(1024 / pitch), pitch, curved=kind == "curved", **distances)
    )
    views = views_of(volume, beam, "float32")
    y = np.random.default_rng(0).random((1, *beam.shape), np.float32)
    image = run("gather", y, np.empty((1, 512, 512), np.float32), *views)
    back = run("splat", image, np.empty_like(y), *views)
    left, right = (float(np.vdot(a.astype("f8"), b)) for a, b in ((image, image), (y, back)))
    assert abs(left - right) < 1e-7 * left


@needs_compiler
def test_elements_beyond_two_to_the_31(run, tmp_path):
    """The last images of a sparse batch of more than 2^31 elements on both sides; only their blocks run."""
    volume, beam = Volume((64, 64)), ParallelBeam(np.linspace(0, 3, 64), 64)
    batch = 2**31 // 64**2 + 3
    views = views_of(volume, beam, "float32")
    tail = np.random.default_rng(0).random((3, 64, 64), np.float32)
    for name in ("gather", "splat"):
        a, out = (np.memmap(tmp_path / f, np.float32, "w+", shape=(batch, 64, 64)) for f in ("in", "out"))
        a[-3:] = tail

        def last(grid):
            total = math.prod(grid)
            return total - grid[0] * grid[1], total

        with pytest.MonkeyPatch.context() as patch:  # one group of images per z, as if z had no limit
            patch.setattr(launch, "MAX_GRID_Z", batch)
            run(name, a, out, *views, images=1, blocks=last)
        expected = run(name, tail, np.empty_like(tail), *views)
        assert np.array_equal(out[-1], expected[-1])
        assert not out[:3].any()


@needs_compiler
def test_one_sinogram_beyond_two_to_the_31(run, tmp_path):
    """One pixel that the last of many long views sees in its middle."""
    views, cols = 2**6 + 1, 2**25 + 1
    coef, scale = np.tile([0.0, -1, 0, 0, 1, 0], (views, 1)), np.ones(views)
    q = np.memmap(tmp_path / "q", np.float64, "w+", shape=(1, views, cols))
    q[0, -1, cols // 2] = 3
    assert run("gather", q, np.empty((1, 1, 1)), coef, scale, 0.0) == 3
    q[0, -1, cols // 2] = 0
    one = np.ones((1, 1, 1))

    def middle(grid):
        block = grid[0] - grid[0] // views + cols // 2 // 32
        return block, block + 1

    run("splat", one, q, coef, scale, 0.0, blocks=middle)
    assert q[0, -1, cols // 2] == 1 and q[0, -1, cols // 2 + 1] == 0


@needs_compiler
def test_one_image_beyond_two_to_the_31(run, tmp_path):
    """A flat ray along the last row of an image of more than 2^31 elements, and that row's tiles back."""
    ny, nx = 2**31 // 512 + 64, 512
    coef = np.array([[-(ny - 1) / 2, -1, 1, 0, 0, 0]])
    sinogram, scale = np.zeros((1, 1, 1)), np.ones(1)
    x = np.memmap(tmp_path / "x", np.float64, "w+", shape=(1, ny, nx))
    x[0, -1] = 1
    run("splat", x, sinogram, coef, scale, 0.0)
    assert sinogram[0, 0, 0] == nx
    x[0, -1] = 0
    run("gather", sinogram, x, coef, scale, 0.0, blocks=lambda grid: (grid[0] - 1, grid[0]))
    assert x[0, -1, -1] == nx and x[0, -1, 0] == 0 and x[0, -2, -1] == 0


@needs_compiler
def test_views_fade_over_one_bin_beside_the_detector(run):
    """One bin of ones as wide as a pixel, half a pixel off: the pixels beside it read one half."""
    volume, beam = Volume((1, 6)), ParallelBeam([0.0], 1)
    coef, _, fan_step = views_of(volume, beam, "float64")
    scale = coef[:, 1] ** 2
    ones = np.ones((1, 1, 1))
    expected = [0, 0, 0.5, 0.5, 0, 0]
    assert np.allclose(run("gather", ones, np.empty((1, 1, 6)), coef, scale, fan_step)[0, 0], expected)
    twin = np.empty((1, 1, 6))
    backproject.gather(ones, twin, coef, scale, fan_step)
    assert np.allclose(twin[0, 0], expected)


def test_bad_buffers_are_refused():
    x, y, (coef, scale, fan_step) = problem("parallel", "float32", 2)
    with pytest.raises(ValueError, match="C-contiguous"):
        backproject.splat(x.transpose(0, 2, 1), y, coef, scale, fan_step)
    with pytest.raises(ValueError, match="batch"):
        backproject.gather(y, x[:1], coef, scale, fan_step)
    with pytest.raises(ValueError, match="one weight per view"):
        backproject.gather(y, x, coef, scale[:-1], fan_step)
    with pytest.raises(ValueError, match="scale is float64"):
        backproject.gather(y, x, coef, scale.astype("f8"), fan_step)
    with pytest.raises(ValueError, match="coef is"):
        backproject.gather(y, x, coef[:-1], scale, fan_step)
    with pytest.raises(TypeError, match="NumPy or CuPy"):
        backproject.gather([1.0], x, coef, scale, fan_step)
