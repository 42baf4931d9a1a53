"""Joseph's kernels on a device: exact, deterministic, on the caller's stream, without allocation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from tests.cuda_on_cpu.cases import CASES, TOLERANCE, plan, problem, relative

from rayfold.kernels import joseph, launch
from rayfold.operators import FanBeam, ParallelBeam, Volume, XRay

VOLUME = Volume((256, 240), 0.8)
BEAM = FanBeam.evenly(180, 300, pitch=1.2, source_to_axis=400.0, source_to_detector=600.0)


def device_plan(cupy, rays):
    return *map(cupy.asarray, rays[:3]), rays[3]


def real_size(cupy, batch=2, dtype="float32", beam=BEAM):
    rng = np.random.default_rng(0)
    x = cupy.asarray(rng.random((batch, *VOLUME.shape)), dtype)
    y = cupy.asarray(rng.standard_normal((batch, *beam.shape)), dtype)
    return x, y, device_plan(cupy, plan(VOLUME, beam, dtype))


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_agrees_with_the_numba_twin(cupy, case, dtype, batch):
    x, y, rays = problem(case, dtype, batch)
    for name, a, b in (("forward", x, y), ("adjoint", y, x)):
        ours, twin = cupy.full(b.shape, np.nan, dtype), np.empty_like(b)
        getattr(joseph, name)(cupy.asarray(a), ours, *device_plan(cupy, rays))
        getattr(joseph, name)(a, twin, *rays)
        assert relative(ours.get(), twin) < TOLERANCE[dtype], name


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("curved", [False, True])
def test_dot(cupy, dtype, curved):
    """<A x, y> = <x, A.H y>, also with y = A(|x|), in which no error of scale hides between signs."""
    beam = FanBeam.evenly(180, 300, pitch=1.2, source_to_axis=400.0, source_to_detector=600.0, curved=curved)
    x, y, rays = real_size(cupy, 2, dtype, beam)
    ax, back = cupy.empty_like(y), cupy.empty_like(x)
    joseph.forward(x, ax, *rays)
    for data in (y, ax.copy()):
        joseph.adjoint(data, back, *rays)
        left, right = (
            float(cupy.vdot(*(a.astype("f8").ravel() for a in pair))) for pair in ((ax, data), (x, back))
        )
        scale = float(cupy.linalg.norm(ax.ravel()) * cupy.linalg.norm(data.ravel()))
        assert abs(left - right) < TOLERANCE[dtype] * scale


def test_bit_equal_twice(cupy):
    x, y, rays = real_size(cupy)
    for name, a, b in (("forward", x, y), ("adjoint", y, x)):
        first, second = cupy.empty_like(b), cupy.empty_like(b)
        getattr(joseph, name)(a, first, *rays)
        getattr(joseph, name)(a, second, *rays)
        assert bool((first == second).all())


def test_side_stream(cupy):
    """Work queued on the same side stream is seen in order, with no synchronisation between."""
    x, y, rays = real_size(cupy, 8)
    expected = cupy.empty_like(y)
    joseph.forward(x, expected, *rays)
    cupy.cuda.Device().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        late, out = cupy.zeros_like(x), cupy.empty_like(y)
        busy = cupy.ones((2048, 2048), "f4")
        for _ in range(20):  # keeps the stream busy, so that a launch elsewhere would read the zeros
            busy = busy @ busy * 1e-4
        late[...] = x
        joseph.forward(late, out, *rays)
    stream.synchronize()
    assert bool((out == expected).all())


def test_allocates_nothing(cupy):
    x, y, rays = real_size(cupy, 5)
    joseph.forward(x, y, *rays)
    joseph.adjoint(y, x, *rays)
    pool = cupy.get_default_memory_pool()
    requests = []

    class Listen(cupy.cuda.MemoryHook):
        name = "listen"

        def malloc_preprocess(self, **request):
            requests.append(request)

    used = pool.used_bytes()
    with Listen():
        joseph.forward(x, y, *rays)
        joseph.adjoint(y, x, *rays)
    assert pool.used_bytes() == used and not requests


def test_graph_capture(cupy):
    x, y, rays = real_size(cupy)
    expected = cupy.empty_like(y)
    joseph.forward(x, expected, *rays)
    stream = cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.Device().synchronize()
    with stream:
        stream.begin_capture()
        joseph.forward(x, y, *rays)
        graph = stream.end_capture()
        y[...] = 0
        graph.launch(stream)
    stream.synchronize()
    assert bool((y == expected).all())


def test_failed_launch_says_which(cupy):
    x, y, rays = real_size(cupy, 1)
    sizes = map(np.int32, (1, *VOLUME.shape, *BEAM.shape))
    args = (x, y, *rays[:3], np.float32(0), *sizes)
    with pytest.raises(RuntimeError, match=r"joseph\.forward.*grid \(1, 1, 1\)"):
        launch.launch("joseph", "forward", launch.preamble("float32", 1), (1, 1, 1), 4096, args)


@pytest.mark.parametrize("name", ["forward", "adjoint"])
def test_elements_beyond_two_to_the_31(cupy, name):
    volume, beam = Volume((1024, 1024)), ParallelBeam.evenly(16, 1024)
    batch = 2**31 // 1024**2 + 2
    if name == "adjoint":
        beam = ParallelBeam.evenly(1024, 1024)
    a_shape, b_shape = (batch, *volume.shape), (batch, *beam.shape)
    if name == "adjoint":
        a_shape, b_shape = b_shape, a_shape
    need = 4 * (math.prod(a_shape) + math.prod(b_shape)) + 2**32
    if cupy.cuda.Device().mem_info[0] < need:
        pytest.skip(f"needs {need / 2**30:.0f} GiB of free device memory")
    rays = device_plan(cupy, plan(volume, beam, "float32"))
    a, out = cupy.zeros(a_shape, "f4"), cupy.empty(b_shape, "f4")
    a[-1] = cupy.random.default_rng(0).random(a_shape[1:], dtype="f4")
    getattr(joseph, name)(a, out, *rays)
    one = cupy.empty((1, *b_shape[1:]), "f4")
    getattr(joseph, name)(a[-1:], one, *rays)
    assert bool((out[-1] == one[0]).all()) and not bool(out[:-1].any())
    del a, out, one
    cupy.get_default_memory_pool().free_all_blocks()


def test_operator_on_torch_tensors(cupy):
    torch = pytest.importorskip("torch")
    pytest.importorskip("array_api_compat")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    A = XRay(VOLUME, BEAM)
    x = torch.rand(3, *VOLUME.shape, device="cuda", requires_grad=True)
    y = A(x)
    assert y.is_cuda and relative(y.detach().cpu().numpy(), A(x.detach().cpu().numpy())) < 1e-5
    (y * y).sum().backward()
    assert torch.allclose(x.grad, 2 * A.H(y.detach()), rtol=1e-5)
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        late = x.detach() * 1.0
        z = A(late)
    side.synchronize()
    assert torch.equal(z, y.detach())


def test_operator_on_jax_arrays(cupy):
    jax = pytest.importorskip("jax")
    pytest.importorskip("array_api_compat")
    if not any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("JAX sees no CUDA device")
    A = XRay(VOLUME, BEAM)
    host = np.random.default_rng(1).random((2, *VOLUME.shape), np.float32)
    x = jax.numpy.asarray(host)
    y = jax.jit(A)(x)
    assert relative(np.asarray(y), A(host)) < 1e-5
    gradient = jax.grad(lambda x: (A(x) ** 2).sum())(x)
    assert relative(np.asarray(gradient), 2 * A.H(A(host))) < 1e-5
