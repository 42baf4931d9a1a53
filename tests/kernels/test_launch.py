"""The launcher against a stand-in for CuPy that runs the kernels' source on the CPU."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from tests.cuda_on_cpu import build
from tests.cuda_on_cpu.cases import problem

from rayfold.kernels import joseph, launch


class Device:
    id = 0

    def __init__(self, number=0):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


class ndarray(np.ndarray):
    __module__ = "cupy"


class RawModule:
    """Runs ``get_function(name)(grid, block, args)`` through the emulation; types must match."""

    made = 0

    def __init__(self, *, code, options, backend):
        assert "#include" not in code and options == launch.OPTIONS and backend == "nvrtc"
        type(self).made += 1
        words = code.split("\n")
        self.real, self.images = words[0].split()[-1], int(words[1].split()[-1])

    def get_function(self, name):
        def call(grid, block, args):
            assert block == (joseph.THREADS,)
            arrays, fan_step, sizes = args[:5], args[5], args[6:]
            assert all(type(n) is np.int32 for n in sizes) and len(sizes) == 5
            assert fan_step.dtype == arrays[0].dtype == ("f4" if self.real == "float" else "f8")
            a, out = arrays[:2]
            image, sinogram = (a, out) if name == "forward" else (out, a)
            assert tuple(sizes) == (*image.shape, *sinogram.shape[1:])
            assert grid == joseph.grid(name, self.images, *map(int, sizes))
            build.run(name, *arrays, float(fan_step), images=self.images)

        return call


@pytest.fixture
def cupy(monkeypatch):
    module = types.ModuleType("cupy")
    module.RawModule, module.cuda = RawModule, types.SimpleNamespace(Device=Device)
    monkeypatch.setitem(sys.modules, "cupy", module)
    for cached in (launch._module, launch._kernel):
        cached.cache_clear()
    yield module
    for cached in (launch._module, launch._kernel):
        cached.cache_clear()


@pytest.mark.skipif(build.compiler() is None, reason="g++ is not installed")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("batch", [1, 3])
def test_arguments_reach_the_kernel(cupy, dtype, batch):
    x, y, rays = problem("fan flat", dtype, batch)
    before = RawModule.made
    for name, a, b in (("forward", x, y), ("adjoint", y, x)):
        expected, out = np.empty_like(b), np.empty_like(b).view(ndarray)
        getattr(joseph, name)(a, expected, *rays)
        for _ in range(2):
            getattr(joseph, name)(a.view(ndarray), out, *(r.view(ndarray) for r in rays[:3]), rays[3])
        assert np.allclose(out, expected, rtol=1e-3, atol=1e-4)
    assert RawModule.made == before + 1  # one compilation serves both kernels and every later call


def test_libraries_must_not_mix():
    x, y, rays = problem("fan flat", "float32", 1)
    with pytest.raises(TypeError, match="out: cupy"):
        joseph.forward(x, y.view(ndarray), *rays)


def test_a_failed_launch_names_kernel_grid_and_shapes(cupy):
    def refuse(grid, block, args):
        raise MemoryError("too many resources requested")

    cupy.RawModule = lambda **_: types.SimpleNamespace(get_function=lambda name: refuse)
    x = np.zeros((2, 3, 4), np.float32)
    with pytest.raises(RuntimeError, match=r"joseph\.forward .*grid \(5, 1, 1\).*\(2, 3, 4\).*too many"):
        launch.launch("joseph", "forward", launch.preamble("float32", 1), (5, 1, 1), 256, (x, np.int32(1)))


def test_an_empty_grid_launches_nothing():
    launch.launch("joseph", "forward", launch.preamble("float32", 1), (0, 1, 1), 256, ())


def test_source_is_self_contained_and_traceable():
    text = launch.source("joseph", launch.preamble("float64", 2))
    assert text.startswith("#define REAL double\n#define IMAGES 2\n#line 1")
    assert "#include" not in text and '#line 1 "common.cuh"' in text
