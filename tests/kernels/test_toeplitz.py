"""Toeplitz grams against dense matrices: on the host, and the device's passes run on the CPU."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from tests.cuda_on_cpu import build, device
from tests.cuda_on_cpu.cases import relative

from rayfold.kernels import toeplitz, toeplitz_passes

needs_compiler = pytest.mark.skipif(build.compiler() is None, reason="g++ is not installed")
WITHIN = {"complex64": 1e-6, "complex128": 2e-15, "float32": 1e-6, "float64": 2e-15}
REAL = {"complex64": "float32", "complex128": "float64", "float32": "float32", "float64": "float64"}
SHAPES = [(7,), (8, 5), (1, 6), (4, 11), (3, 4, 5), (2, 13, 1)]


def matrix(spectrum, shape):
    """The Toeplitz matrix whose lags have this transform."""
    lags = np.fft.ifftn(spectrum)
    place = np.indices(shape).reshape(len(shape), -1)
    return lags[tuple((p[:, None] - p[None]) % n for p, n in zip(place, spectrum.shape, strict=True))]


def problem(shape, kind, components=1, coils=0, complex_kernel=False, batch=2):
    """Arrays of `apply`, and what it must give, in double precision."""
    rng = np.random.default_rng(sum(shape) + components + coils)
    real = kind.startswith("f")

    def draw(*size, real=False):
        return rng.standard_normal(size) + (0 if real else 1j * rng.standard_normal(size))

    grid = tuple(2 * n for n in toeplitz.lengths(shape))
    pairs = list(itertools.combinations_with_replacement(range(components), 2))
    spectrum = draw(len(pairs), *grid, real=not complex_kernel)
    if real:  # lags are real, and for a real kernel even
        lags = np.fft.ifftn(spectrum, axes=range(1, len(grid) + 1)).real
        spectrum = np.fft.fftn(lags, axes=range(1, len(grid) + 1))
        spectrum = spectrum if complex_kernel else spectrum.real
    x = draw(batch, components, *shape, real=real).astype(kind)
    maps = draw(coils, *shape).astype(kind) if coils else None
    blocks = {}
    for pair, (i, j) in enumerate(pairs):
        blocks[j, i] = matrix(spectrum[pair].conj(), shape)
        blocks[i, j] = matrix(spectrum[pair], shape)
    expected = np.zeros(x.shape, complex)
    for c in maps.astype(complex) if coils else np.ones((1, *shape)):
        for i, j in itertools.product(range(components), repeat=2):
            seen = (c * x[:, j]).reshape(batch, -1) @ blocks[i, j].T
            expected[:, i] += c.conj() * seen.reshape(batch, *shape)
    name = {"float32": ("float32", "complex64"), "float64": ("float64", "complex128")}[REAL[kind]][
        complex_kernel
    ]
    kernel = toeplitz.prepare(spectrum.astype(name), shape, real=real)
    return x, kernel, maps, expected if not real else expected.real


def check(arrays, kind):
    x, kernel, maps, expected = arrays
    out = np.full_like(x, np.nan)
    before = x.copy()
    toeplitz.apply(x, kernel, out, maps=maps)
    assert relative(out, expected) < WITHIN[kind]
    assert np.array_equal(x, before)
    return out


@pytest.mark.parametrize("kind", ["complex64", "complex128"])
@pytest.mark.parametrize("shape", SHAPES)
def test_host_is_the_dense_matrix(shape, kind):
    for components, coils, complex_kernel in itertools.product((1, 2, 3), (0, 5), (False, True)):
        check(problem(shape, kind, components, coils, complex_kernel), kind)


@pytest.mark.parametrize("kind", ["complex64", "complex128", "float32"])
@pytest.mark.parametrize("shape", [(9,), (12, 9), (9, 33), (16, 13), (10, 9, 8)])
def test_fused_passes_are_the_others(shape, kind, monkeypatch):
    """Sizes that fill vectors, with and without rest, with and without a plan of our own."""
    for components, coils in ((1, 0), (1, 3), (2, 0), (2, 3)):
        if kind == "float32" and coils:
            continue
        fused = check(problem(shape, kind, components, coils), kind)
        with monkeypatch.context() as patch:
            patch.setattr(toeplitz_passes.Host, "_fits", lambda *_: False)
            plain = check(problem(shape, kind, components, coils), kind)
        assert relative(fused, plain) < WITHIN[kind]
        if shape == (12, 9) and components == 1:
            assert not np.array_equal(fused, plain)  # they were two ways


@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("shape", SHAPES)
def test_real_images(shape, kind):
    for components, complex_kernel in itertools.product((1, 2), (False, True)):
        out = check(problem(shape, kind, components, 0, complex_kernel), kind)
        assert out.dtype == kind


@needs_compiler
@pytest.mark.parametrize("kind", ["complex64", "complex128", "float32"])
@pytest.mark.parametrize("shape", SHAPES)
def test_device_passes_are_the_dense_matrix(shape, kind, monkeypatch):
    """The CUDA source on the CPU: several groups of coils, several blocks of columns."""
    device.install(monkeypatch, toeplitz)
    monkeypatch.setattr(toeplitz_passes, "DEVICE_BLOCK", 1)
    monkeypatch.setattr(toeplitz_passes, "GROUP", 2 * 8 * math.prod(shape) * 2 ** max(1, len(shape) - 1))
    coils = (0,) if kind == "float32" else (0, 3)
    for components, n_coils, complex_kernel in itertools.product((1, 3), coils, (False, True)):
        check(problem(shape, kind, components, n_coils, complex_kernel), kind)


@needs_compiler
def test_a_device_sums_coils_in_one_order(monkeypatch):
    """In however many groups and in whatever order of threads, to the last bit; launches do not grow."""
    arrays = problem((12, 33), "complex64", 1, 5)
    results, counts = [], []
    for group, descending in ((1, False), (1 << 28, False), (1 << 28, True)):
        with monkeypatch.context() as patch:
            launches = device.install(patch, toeplitz, descending=descending)
            patch.setattr(toeplitz_passes, "GROUP", group)
            results.append(check(arrays, "complex64"))
            counts.append(len(launches))
    assert np.array_equal(results[0], results[1]) and np.array_equal(results[1], results[2])
    assert counts == [2 * 5 * 5, 2 * 5, 2 * 5]


@needs_compiler
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_cuda_source_agrees_with_the_twin(dtype, monkeypatch):
    """Pass by pass, on the same buffers."""
    rng = np.random.default_rng(0)
    coils, k, rows, n, length, inner, first, count = 2, 3, 4, 37, 40, 45, 5, 38

    def draw(*size):
        return (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(dtype)

    kernel = draw(k * (k + 1) // 2, inner, 2 * length)
    host = toeplitz_passes.Host(kernel, False, dtype, (length, length))
    image, maps, columns, whole = draw(1, k, rows, n), draw(coils, rows, n), draw(rows, n, inner), draw(1)
    single = draw(coils, k, rows, n)
    runs = {
        "enter": lambda p, out: p.enter(image, maps, out, 0, coils * k * rows),
        "enter one": lambda p, out: p.enter(single, None, out, 0, coils * k * rows),
        "leave": lambda p, out: p.leave(a, maps, out, True, 0, k * rows),
        "leave one": lambda p, out: p.leave(a, None, out, False, 0, coils * k * rows),
        "expand": lambda p, out: p.expand(columns, out, first, 0, rows),
        "contract": lambda p, out: p.contract(b, out, first, 0, rows),
        "multiply": lambda p, out: p.multiply(out, first),
    }
    a, b, whole = (
        draw(coils, k, rows, 2, length),
        draw(rows, count, 2, length),
        draw(coils, k, count, 2 * length),
    )
    outs = {
        "enter": a, "enter one": a, "leave": image, "leave one": single, "expand": b, "contract": columns,
        "multiply": whole,
    }  # fmt: skip
    device.install(monkeypatch, toeplitz)
    card = toeplitz_passes.Device(kernel, False, dtype, (length, length))
    for name, call in runs.items():
        twin, ours = outs[name].copy(), outs[name].copy()
        call(host, twin)
        call(card, ours)
        assert relative(ours, twin) < {"complex64": 1e-6, "complex128": 2e-15}[dtype], name
        assert not np.array_equal(twin, outs[name]), name


def test_plans_of_a_device_are_made_once(monkeypatch):
    if build.compiler() is None:
        pytest.skip("g++ is not installed")
    device.install(monkeypatch, toeplitz)
    arrays = problem((6, 9), "complex64", 1, 2)
    check(arrays, "complex64")
    made = device.Plan1d.made
    check(arrays, "complex64")
    assert device.Plan1d.made == made


@pytest.mark.parametrize("threads", ["1", "2", "3"])
def test_threads_share_images_or_coils(threads, monkeypatch):
    monkeypatch.setenv("RAYFOLD_NUM_THREADS", threads)
    for alone in (0, 1 << 22):
        monkeypatch.setattr(toeplitz_passes, "ALONE", alone)
        for batch, coils in ((5, 0), (1, 7)):
            check(problem((40, 21), "complex64", 1, coils, batch=batch), "complex64")


def test_the_gram_is_hermitian():
    """<x, G z> = <G x, z> for any real spectrum, also with components and coils."""
    x, kernel, maps, _ = problem((9, 8), "complex128", 2, 3, complex_kernel=False)
    out = np.empty_like(x)
    toeplitz.apply(x, kernel, out, maps=maps)
    left, right = np.vdot(x[0], out[1]), np.vdot(out[0], x[1])
    assert abs(left - right) < 1e-13 * np.linalg.norm(out[1]) * np.linalg.norm(x[0])


def test_empty_and_coilless():
    x, kernel, _, _ = problem((5, 4), "complex64")
    toeplitz.apply(x[:0], kernel, x[:0].copy())
    out = np.full_like(x, np.nan)
    toeplitz.apply(x, kernel, out, maps=np.empty((0, 5, 4), "c8"))
    assert not out.any()


def test_bad_buffers_are_refused():
    x, kernel, maps, _ = problem((5, 4), "complex64", 1, 2)
    with pytest.raises(ValueError, match=r"kernel is float32 \(1, 7, 10\); it must be .*\(1, 8, 10\)"):
        toeplitz.apply(x, kernel[:, 1:].copy(), x.copy())
    with pytest.raises(ValueError, match="out is complex128"):
        toeplitz.apply(x, kernel, x.astype("c16"))
    with pytest.raises(ValueError, match=r"maps is complex64 \(2, 4, 5\)"):
        toeplitz.apply(x, kernel, x.copy(), maps=maps.reshape(2, 4, 5))
    with pytest.raises(ValueError, match="coil maps need complex images"):
        real = problem((5, 4), "float32")
        toeplitz.apply(real[0], real[1], real[0].copy(), maps=np.ones((2, 5, 4), "f4"))
    with pytest.raises(ValueError, match="x is int64"):
        toeplitz.apply(np.ones((1, 1, 4), int), kernel, x)
    with pytest.raises(ValueError, match="the spectrum is"):
        toeplitz.prepare(np.ones((9, 8)), (5, 4))
    with pytest.raises(ValueError, match="must not be x itself"):
        toeplitz.apply(x, kernel, x)
