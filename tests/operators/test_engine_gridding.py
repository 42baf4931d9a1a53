"""Engines of the non-uniform transform against exact sums: ours, and cuFINUFFT's with a stand-in for it."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from tests.cuda_on_cpu import build, device

from rayfold.kernels import gridding
from rayfold.operators import engine_cufinufft, engine_gridding

SHAPES = [(64,), (33,), (1,), (16, 21), (31, 8), (7, 1), (8, 9, 11), (1, 5, 6)]
REAL = {"complex64": "float32", "complex128": "float64"}
FLOOR = {"complex64": 1e-7, "complex128": 2e-16}


def problem(shape, kind, n=150, batch=2):
    """Points, an image, samples and the matrix of the exact sums at the rounded points."""
    rng = np.random.default_rng(sum(shape))
    k = rng.uniform(-np.pi, np.pi, (n, len(shape))).astype(REAL[kind])
    k[0], k[1], k[2] = np.pi, -np.pi, 0
    matrix = np.ones((n, 1))
    for axis, m in enumerate(shape):
        wave = np.exp(-1j * k[:, axis].astype("f8")[:, None] * (np.arange(m) - m // 2))
        matrix = (matrix[:, :, None] * wave[:, None]).reshape(n, -1)

    def draw(*size):
        return (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(kind)

    return k, draw(batch, *shape), draw(batch, n), matrix


def errors(plan, x, y, matrix):
    """Relative errors of both ways."""
    forward, adjoint = np.full_like(y, np.nan), np.full_like(x, np.nan)
    plan.forward(x, forward)
    plan.adjoint(y, adjoint)
    return errors_of(forward, adjoint, x, y, matrix)


def errors_of(forward, adjoint, x, y, matrix):
    """Relative errors of transforms and of adjoint transforms."""
    pairs = (
        (forward, x.reshape(len(x), -1) @ matrix.T),
        (adjoint.reshape(len(x), -1), y @ matrix.conj()),
    )
    return [np.linalg.norm(found - exact) / np.linalg.norm(exact) for found, exact in pairs]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("kind", "accuracies"),
    [("complex64", (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)), ("complex128", (1e-2, 1e-4, 1e-6, 1e-8, 1e-10, 1e-12))],
)
def test_error_keeps_the_contract(shape, kind, accuracies):
    k, x, y, matrix = problem(shape, kind)
    for eps in accuracies:
        plan = engine_gridding.make(k, shape, eps, x)
        assert max(errors(plan, x, y, matrix)) <= max(2 * eps, FLOOR[kind] * max(shape))


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
@pytest.mark.parametrize("shape", [(12, 9), (5, 6, 7)])
def test_dot(shape, kind):
    """Exact adjoint whatever the accuracy, also against y = A(|x|)."""
    k, x, y, _ = problem(shape, kind)
    plan = engine_gridding.make(k, shape, 1e-2, x)
    ax, back = np.empty_like(y), np.empty_like(x)
    plan.forward(np.abs(x).astype(kind), ax)
    for data in (y, ax.copy()):
        plan.adjoint(data, back)
        left, right = np.vdot(data, ax), np.vdot(back, np.abs(x))
        scale = np.linalg.norm(ax) * np.linalg.norm(data)
        assert abs(left - right) < {"complex64": 1e-6, "complex128": 1e-14}[kind] * scale


def test_chunks_are_the_whole(monkeypatch):
    k, x, y, _ = problem((8, 9), "complex128", batch=5)
    whole, parts, out = engine_gridding.make(k, (8, 9), 1e-6, x), [], []
    monkeypatch.setattr(engine_gridding, "WORK", 2 * 16 * 16 * 18)
    chunked = engine_gridding.make(k, (8, 9), 1e-6, x)
    assert whole.step >= 5 and chunked.step == 2
    for plan in (whole, chunked):
        parts.append(np.empty_like(y))
        out.append(np.empty_like(x))
        plan.forward(x, parts[-1])
        plan.adjoint(y, out[-1])
    assert np.array_equal(*parts) and np.array_equal(*out)


@pytest.mark.skipif(build.compiler() is None, reason="g++ is not installed")
@pytest.mark.parametrize("shape", [(16, 13), (5, 6, 7)])
def test_a_device_keeps_the_contract(shape, monkeypatch):
    """The whole engine on the CUDA source, run on the CPU."""
    device.install(monkeypatch, gridding)
    k, x, y, matrix = problem(shape, "complex64")
    plan = engine_gridding.make(k, shape, 1e-5, x)
    assert max(errors(plan, x, y, matrix)) <= 2e-5


class Counted:
    """`cufinufft.Plan` by exact sums: takes what it takes, and checks that it is what cuFINUFFT accepts."""

    made: list[Counted]

    def __init__(self, nufft_type, n_modes, n_trans=1, eps=1e-6, isign=None, dtype="complex64", **options):
        assert isign == {1: 1, 2: -1}[nufft_type] and set(options) <= {
            "upsampfac", "gpu_stream", "gpu_device_id",
        }  # fmt: skip
        assert options["upsampfac"] == 2 and eps >= {"complex64": 1e-7, "complex128": 1e-15}[dtype]
        self.kind, self.shape, self.batch, self.dtype = nufft_type, n_modes, n_trans, dtype
        self.stream, self.points = options["gpu_stream"], None
        type(self).made.append(self)

    def setpts(self, *axes):
        assert self.points is None, "points are set once"
        assert len(axes) == len(self.shape)
        assert all(a.ndim == 1 and a.flags.c_contiguous and a.dtype == REAL[self.dtype] for a in axes)
        self.points = [a.astype("f8") for a in axes]

    def execute(self, data, out):
        n = len(self.points[0])
        shapes = {1: (self.batch, n), 2: (self.batch, *self.shape)}
        assert data.shape == shapes[self.kind] and out.shape == shapes[3 - self.kind]
        assert all(a.flags.c_contiguous and a.dtype == self.dtype for a in (data, out))
        places = np.indices(self.shape).reshape(len(self.shape), -1)
        phase = sum(
            np.multiply.outer(k, p - m // 2) for k, p, m in zip(self.points, places, self.shape, strict=True)
        )
        if self.kind == 2:
            out[...] = data.reshape(self.batch, -1) @ np.exp(-1j * phase).T
        else:
            out[...] = (data @ np.exp(1j * phase)).reshape(out.shape)


@pytest.fixture
def cufinufft(monkeypatch):
    """The names of cuFINUFFT and of CuPy that the engine uses; the number is the current stream."""
    module, stream = types.ModuleType("cufinufft"), types.SimpleNamespace(ptr=7)
    module.Plan, Counted.made = Counted, []
    cupy = types.SimpleNamespace(
        asarray=lambda a, dtype: np.asarray(a, dtype).view(OnDevice),
        ascontiguousarray=lambda a: np.ascontiguousarray(a).view(OnDevice),
        cuda=types.SimpleNamespace(get_current_stream=lambda: stream),
    )
    monkeypatch.setitem(sys.modules, "cufinufft", module)
    monkeypatch.setitem(sys.modules, OnDevice.__module__.partition(".")[0], cupy)
    return stream


class OnDevice(np.ndarray):
    """An array that says where it is."""

    device = types.SimpleNamespace(id=0)


OnDevice.__module__ = "stand_in_for_cupy.array"


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
@pytest.mark.parametrize("shape", [(9,), (6, 5), (3, 4, 5)])
def test_cufinufft_is_called_as_it_wants(shape, kind, cufinufft):
    k, x, y, matrix = problem(shape, kind)
    plan = engine_cufinufft.make(k, shape, 1e-16, x.view(OnDevice))
    assert max(errors(plan, x, y, matrix)) < {"complex64": 1e-6, "complex128": 1e-14}[kind]
    assert [p.kind for p in Counted.made] == [2, 1]
    assert all(p.stream == 7 for p in Counted.made)


def test_cufinufft_plans_are_made_once_per_batch_and_stream(cufinufft, monkeypatch):
    monkeypatch.setattr(engine_cufinufft, "MOST", 2)
    k, x, y, matrix = problem((6, 5), "complex128", batch=5)
    plan = engine_cufinufft.make(k, (6, 5), 1e-9, x.view(OnDevice))
    for _ in range(3):
        assert max(errors(plan, x, y, matrix)) < 1e-14
    assert sorted((p.kind, p.batch) for p in Counted.made) == [(1, 1), (1, 2), (2, 1), (2, 2)]
    cufinufft.ptr = 8
    plan.forward(x, np.empty_like(y))
    assert [(p.kind, p.batch, p.stream) for p in Counted.made[4:]] == [(2, 2, 8), (2, 1, 8)]
