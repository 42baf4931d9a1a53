"""The non-uniform transform and its Toeplitz gram on a device: exact, adjoint, on the caller's stream."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from tests.cuda_on_cpu.cases import relative
from tests.kernels.test_gridding import CASES, problem
from tests.kernels.test_toeplitz import SHAPES, WITHIN
from tests.kernels.test_toeplitz import problem as toeplitz_problem
from tests.operators.test_engine_gridding import FLOOR, errors_of
from tests.operators.test_engine_gridding import problem as exact_problem

from rayfold.kernels import gridding, toeplitz
from rayfold.operators import NUFFT

needs_cufinufft = pytest.mark.skipif(
    importlib.util.find_spec("cufinufft") is None, reason="cuFINUFFT is not installed"
)
TOLERANCE = {"complex64": 1e-5, "complex128": 1e-12}
ENGINES = ["gridding", pytest.param("cufinufft", marks=needs_cufinufft)]


def trajectory(ndim, n=3000, seed=0):
    """Spokes: a heap of samples in the middle, both ends of every axis."""
    rng = np.random.default_rng(seed)
    direction = rng.standard_normal((n // 100, 1, ndim))
    direction /= np.abs(direction).max(axis=-1, keepdims=True)
    return direction * np.linspace(-np.pi, np.pi, 100)[:, None]


def image(*shape, kind="complex64"):
    rng = np.random.default_rng(len(shape))
    return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(kind)


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES)
def test_gridding_agrees_with_the_numba_twin(cupy, case, dtype, batch):
    grid, samples, host = problem(case, dtype, batch)
    plan = gridding.Plan(*host[:2], *map(cupy.asarray, host[2:]))
    for function, a, b in (("interpolate", grid, samples), ("spread", samples, grid)):
        twin, ours = np.empty_like(b), cupy.full(b.shape, np.nan, b.dtype)
        getattr(gridding, function)(a, twin, host)
        getattr(gridding, function)(cupy.asarray(a), ours, plan)
        assert relative(ours.get(), twin) < {"float32": 1e-5, "float64": 1e-12}[dtype], function
        again = cupy.empty_like(ours)
        getattr(gridding, function)(cupy.asarray(a), again, plan)
        assert bool((again == ours).all())


@pytest.mark.parametrize("case", CASES)
def test_a_plan_made_on_the_device_is_the_one_of_the_host(cupy, case):
    grid, width = CASES[case]
    k = trajectory(len(grid)).reshape(-1, len(grid)).astype("f4")
    host, device = gridding.plan(k, grid, width), gridding.plan(cupy.asarray(k), grid, width)
    for name in ("cell", "order", "starts", "entries"):
        assert np.array_equal(getattr(host, name), getattr(device, name).get()), name


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
@pytest.mark.parametrize("shape", [(33,), (31, 8), (24, 24), (8, 9, 11)])
@pytest.mark.parametrize("engine", ENGINES)
def test_error_keeps_the_contract(cupy, engine, shape, kind):
    made = __import__(f"rayfold.operators.engine_{engine}", fromlist=["make"]).make
    k, x, y, matrix = exact_problem(shape, kind)
    for eps in (1e-2, 1e-4, 1e-6) + ((1e-9, 1e-12) if kind == "complex128" else ()):
        plan = made(cupy.asarray(k), shape, eps, cupy.asarray(x))
        forward, adjoint = cupy.empty_like(cupy.asarray(y)), cupy.empty_like(cupy.asarray(x))
        plan.forward(cupy.asarray(x), forward)
        plan.adjoint(cupy.asarray(y), adjoint)
        found = errors_of(forward.get(), adjoint.get(), x, y, matrix)
        assert max(found) <= max(2 * eps, FLOOR[kind] * max(shape))


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
@pytest.mark.parametrize("shape", [(48, 41), (12, 13, 14)])
@pytest.mark.parametrize("engine", ENGINES)
def test_operator_equals_numpy_and_passes_the_dot_test(cupy, engine, shape, kind):
    A = NUFFT(shape, trajectory(len(shape)), engine=engine)
    host = NUFFT(shape, trajectory(len(shape)))
    x = image(3, *shape, kind=kind)
    y = A(cupy.asarray(x))
    within = {"complex64": 1e-5, "complex128": 1e-11}[kind]
    assert isinstance(y, cupy.ndarray) and relative(y.get(), host(x)) < within
    assert relative(A.H(y).get(), host.H(host(x))) < within
    for data in (y, A(cupy.abs(cupy.asarray(x)).astype(kind))):
        left, right = cupy.vdot(data, A(cupy.asarray(x))), cupy.vdot(A.H(data), cupy.asarray(x))
        assert abs(left - right) < TOLERANCE[kind] * cupy.linalg.norm(data) * cupy.linalg.norm(y)
    assert (
        relative(A.gram(cupy.asarray(x)).get(), host.H(host(x)))
        < {"complex64": 1e-5, "complex128": 1e-11}[kind]
    )


@pytest.mark.parametrize("kind", ["complex64", "complex128", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_toeplitz_is_the_dense_matrix(cupy, shape, kind):
    for components, coils, complex_kernel in (
        (1, 0, False),
        (1, 0, True),
        (3, 0, True),
        (1, 5, False),
        (2, 3, True),
    ):
        if kind == "float32" and coils:
            continue
        x, kernel, maps, expected = toeplitz_problem(shape, kind, components, coils, complex_kernel)
        out = cupy.full(x.shape, np.nan, kind)
        given = None if maps is None else cupy.asarray(maps)
        toeplitz.apply(cupy.asarray(x), cupy.asarray(kernel), out, maps=given)
        assert relative(out.get(), expected) < 2 * WITHIN[kind]


@pytest.mark.parametrize("engine", ENGINES)
def test_side_stream(cupy, engine):
    """Transforms and gram queue on the stream that is current, with no synchronisation between."""
    A = NUFFT((64, 64), trajectory(2), engine=engine)
    x = cupy.asarray(image(8, 64, 64))
    expected, gram = A(x), A.gram(x)
    cupy.cuda.Device().synchronize()
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        late = cupy.zeros_like(x)
        busy = cupy.ones((2048, 2048), "f4")
        for _ in range(20):  # keeps the stream busy, so that a launch elsewhere would read the zeros
            busy = busy @ busy * 1e-4
        late[...] = x
        y, z = A(late), A.gram(late)
    stream.synchronize()
    assert relative(y.get(), expected.get()) < 1e-6 and relative(z.get(), gram.get()) < 1e-6


@pytest.mark.parametrize("engine", ENGINES)
def test_torch_tensors(cupy, engine):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    A, host = NUFFT((24, 25), trajectory(2), engine=engine), NUFFT((24, 25), trajectory(2))
    x = torch.as_tensor(image(2, 24, 25), device="cuda").requires_grad_()
    y = A(x)
    assert y.is_cuda and relative(y.detach().cpu().numpy(), host(x.detach().cpu().numpy())) < 1e-5
    y.abs().square().sum().backward()
    assert relative(x.grad.cpu().numpy(), 2 * host.H(host(x.detach().cpu().numpy()))) < 1e-5
    k = torch.as_tensor(trajectory(2), device="cuda", dtype=torch.float32).requires_grad_()
    A.bind(trajectory=k)(x.detach()).abs().square().sum().backward()
    k_host = k.detach().cpu().requires_grad_()
    host.bind(trajectory=k_host)(x.detach().cpu()).abs().square().sum().backward()
    assert relative(k.grad.cpu().numpy(), k_host.grad.numpy()) < 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_jax_arrays(cupy, engine):
    jax = pytest.importorskip("jax")
    if not any(device.platform == "gpu" for device in jax.devices()):
        pytest.skip("JAX sees no CUDA device")
    A, host = NUFFT((24, 25), trajectory(2), engine=engine), NUFFT((24, 25), trajectory(2))
    x = image(2, 24, 25)
    y = jax.jit(A)(jax.numpy.asarray(x))
    assert relative(np.asarray(y), host(x)) < 1e-5
    gradient = jax.grad(lambda x: (abs(A(x)) ** 2).sum())(jax.numpy.asarray(x))
    assert relative(np.asarray(gradient).conj(), 2 * host.H(host(x))) < 1e-5


def test_steady_state_makes_no_plans(cupy):
    """Neither of cuFFT nor of the transform: only the results are allocated anew."""
    from rayfold.kernels import toeplitz_passes

    A = NUFFT((64, 64), trajectory(2), engine="gridding")
    x = cupy.asarray(image(4, 64, 64))
    A(x), A.gram(x)
    before = toeplitz_passes._plan.cache_info().misses
    for _ in range(3):
        A(x), A.gram(x)
    assert toeplitz_passes._plan.cache_info().misses == before
