"""The CUDA source without a GPU: NVRTC compiles it, and g++ runs it against the numba twin."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from tests.cuda_on_cpu import build
from tests.cuda_on_cpu.cases import CASES, FAN, NEAR, TOLERANCE, TURN, guarded, plan, problem, relative

from rayfold.kernels import joseph, launch
from rayfold.operators import FanBeam, ParallelBeam, Volume

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="g++ is not installed")


@pytest.mark.parametrize("arch", ["sm_75", "sm_80", "sm_90"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("images", joseph.FACTORS)
@pytest.mark.parametrize("name", sorted(path.stem for path in launch.FOLDER.glob("*.cu")))
def test_nvrtc_compiles(name, images, dtype, arch, record_property):
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    text = launch.source(name, launch.preamble(dtype, images)).encode()
    _, program = nvrtc.nvrtcCreateProgram(text, f"{name}.cu".encode(), 0, [], [])
    options = [f"--gpu-architecture={arch}", *launch.OPTIONS, "-ftz=true", "--ptxas-options=-v"]
    (status,) = nvrtc.nvrtcCompileProgram(program, len(options), [o.encode() for o in options])
    _, size = nvrtc.nvrtcGetProgramLogSize(program)
    log = b" " * size
    nvrtc.nvrtcGetProgramLog(program, log)
    log = log.decode(errors="replace")
    assert status == nvrtc.nvrtcResult.NVRTC_SUCCESS, log
    assert "warning" not in log, log
    for function, stack, registers in re.findall(
        r"entry function '(\w+)'.*?(\d+) bytes stack.*?Used (\d+) registers", log, re.DOTALL
    ):
        record_property(function, f"{registers} registers, {stack} bytes of stack")
        assert int(registers) * joseph.THREADS <= 65536, "a block does not fit a multiprocessor"
    _, size = nvrtc.nvrtcGetCUBINSize(program)
    assert size > 0


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_numba_twin(case, dtype):
    x, y, rays = problem(case, dtype, 2)
    for name, a, b in (("forward", x, y), ("adjoint", y, x)):
        ours, twin = guarded(b.shape, dtype), np.empty_like(b)
        build.run(name, a, ours, *rays)
        getattr(joseph, name)(a, twin, *rays)
        assert relative(ours, twin) < TOLERANCE[dtype], name


@needs_compiler
@pytest.mark.parametrize("images", joseph.FACTORS)
@pytest.mark.parametrize("batch", [1, 2, 3, 4, 5])
def test_batch_equals_loop_bit_for_bit(batch, images):
    x, y, rays = problem("fan flat", "float32", batch)
    for name, a, b in (("forward", x, y), ("adjoint", y, x)):
        whole = build.run(name, a, guarded(b.shape, "float32"), *rays, images=images)
        for i in range(batch):
            one = build.run(name, a[i : i + 1], guarded((1, *b.shape[1:]), "float32"), *rays, images=1)
            assert np.array_equal(whole[i], one[0])


@needs_compiler
def test_order_of_threads_does_not_matter():
    """A missing barrier shows: the emulation runs a block's threads upwards or downwards between barriers."""
    x, y, rays = problem("very fine detector", "float32", 3)
    for name, a, b in (("forward", x, y), ("adjoint", y, x)):
        up = build.run(name, a, guarded(b.shape, "float32"), *rays)
        down = build.run(name, a, guarded(b.shape, "float32"), *rays, descending=True)
        assert np.array_equal(up, down)


def dense(name, shape_in, shape_out, rays, dtype):
    """Matrix of a kernel, one column per unit image: ``(outputs, inputs)``."""
    n = math.prod(shape_in)
    units = np.eye(n, dtype=dtype).reshape(n, *shape_in)
    return build.run(name, units, np.empty((n, *shape_out), dtype), *rays).reshape(n, -1).T


@needs_compiler
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("volume", "beam"),
    [
        (Volume((9, 12), (1.2, 0.8)), ParallelBeam(TURN, 17, 0.9, detector_offset=0.2)),
        (Volume((9, 8)), ParallelBeam(TURN[::3], 50, 0.27)),
        (Volume((10, 11)), FanBeam(TURN, 15, 1.9, **NEAR)),
        (Volume((10, 11)), FanBeam(TURN, 19, 1.5, curved=True, **NEAR)),
        (Volume((10, 11)), FanBeam(TURN, 19, 3.5, source_offset=1.0, **FAN)),
    ],
)  # fmt: skip
def test_adjoint_is_the_transpose_entry_by_entry(volume, beam, dtype):
    rays = plan(volume, beam, dtype)
    a = dense("forward", volume.shape, beam.shape, rays, dtype)
    b = dense("adjoint", beam.shape, volume.shape, rays, dtype)
    assert a.max() > 0.5
    assert np.abs(a - b.T).max() < {"float32": 1e-6, "float64": 1e-13}[dtype]


@needs_compiler
@pytest.mark.parametrize("pitch", [0.5, 1.4, 4.0])
@pytest.mark.parametrize("curved", [False, True])
def test_dot_at_real_size(curved, pitch):
    """In float32 the bins that reach a pixel must be found in spite of coordinates rounded at 500 pixels."""
    distances = {"source_to_axis": 700.0, "source_to_detector": 1400.0}
    volume = Volume((512, 512), 0.7)
    beam = FanBeam(np.arange(12) * 0.53, round(1024 / pitch), pitch, curved=curved, **distances)
    rays = plan(volume, beam, "float32")
    x = np.random.default_rng(0).random((1, 512, 512), np.float32)
    y = build.run("forward", x, np.empty((1, *beam.shape), np.float32), *rays)
    back = build.run("adjoint", y, np.empty_like(x), *rays)
    left, right = (float(np.vdot(a.astype("f8"), b)) for a, b in ((y, y), (x, back)))
    assert abs(left - right) < 1e-7 * left


@needs_compiler
def test_elements_beyond_two_to_the_31(tmp_path):
    """The last images of a sparse batch of more than 2^31 elements on both sides; only their blocks run."""
    volume, beam = Volume((64, 64)), ParallelBeam(np.linspace(0, 3, 64), 64)
    batch = 2**31 // 64**2 + 3
    rays = plan(volume, beam, "float32")
    tail = np.random.default_rng(0).random((3, 64, 64), np.float32)

    def far(name):
        return np.memmap(tmp_path / name, np.float32, "w+", shape=(batch, 64, 64))

    for name in ("forward", "adjoint"):
        a, out = far("in"), far("out")
        a[-3:] = tail

        def last(grid):
            total = math.prod(grid)
            return total - grid[0] * grid[1], total

        with pytest.MonkeyPatch.context() as patch:  # one group of images per z, as if z had no limit
            patch.setattr(launch, "MAX_GRID_Z", batch)
            build.run(name, a, out, *rays, images=1, blocks=last)
        expected = build.run(name, tail, np.empty_like(tail), *rays)
        assert np.array_equal(out[-1], expected[-1])
        assert not out[:3].any()


@needs_compiler
def test_one_image_beyond_two_to_the_31(tmp_path):
    """A flat ray along the last row of an image of more than 2^31 elements, and that row's tile back."""
    ny, nx = 2**31 // 512 + 64, 512
    coef = np.array([[-(ny - 1) / 2, 0, 1, 0, 0, 0]])  # the line y = (ny - 1) / 2, whatever the bin
    rays = coef, np.zeros(1), np.ones(2), 0.0
    sinogram = np.zeros((1, 1, 1))
    x = np.memmap(tmp_path / "x", np.float64, "w+", shape=(1, ny, nx))
    x[0, -1] = 1
    build.run("forward", x, sinogram, *rays)
    assert sinogram[0, 0, 0] == nx
    x[0, -1] = 0
    build.run("adjoint", sinogram, x, *rays, blocks=lambda grid: (grid[0] - 1, grid[0]))
    assert x[0, -1, -1] == nx and x[0, -1, 0] == 0 and x[0, -2, -1] == 0


def test_grid_covers_every_element_for_any_batch():
    for batch in (1, 3, 8, 31, 600_000):
        images = joseph.images_per_thread(batch)
        x, y, z = joseph.grid("forward", images, batch, 5, 6, 7, 33)
        assert (x, y) == (14, 1) and z <= launch.MAX_GRID_Z
    assert joseph.grid("adjoint", 1, 1, 17, 33, 7, 33) == (4, 1, 1)


def test_bad_buffers_are_refused():
    x, y, rays = problem("parallel", "float32", 2)
    with pytest.raises(ValueError, match="C-contiguous"):
        joseph.forward(x.transpose(0, 2, 1), y, *rays)
    with pytest.raises(ValueError, match="batch"):
        joseph.forward(x[:1], y, *rays)
    with pytest.raises(ValueError, match="t is"):
        joseph.forward(x, y, rays[0], rays[1][:-1], *rays[2:])
    with pytest.raises(TypeError, match="NumPy or CuPy"):
        joseph.forward([1.0], y, *rays)
