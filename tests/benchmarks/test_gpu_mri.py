"""The GPU timings of MRI, every call once on a stand-in for a device: they must run where nobody looks."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks import gpu_mri
from tests.cuda_on_cpu import build, device

from rayfold.kernels import gridding, toeplitz

pytestmark = pytest.mark.skipif(build.compiler() is None, reason="g++ is not installed")


@pytest.mark.parametrize("shape", [(12, 10), (6, 4, 5)])
def test_every_call_runs(shape, monkeypatch):
    launches = device.install(monkeypatch, gridding, toeplitz)
    k = gpu_mri.trajectory(shape, 5, 8)
    assert k.shape == (40, len(shape)) and np.abs(k).max() <= np.pi * (1 + 1e-6)
    calls = gpu_mri.calls(shape, 3, k)
    assert {"nufft, gridding", "nufft.H, gridding", "toeplitz", "toeplitz with coil maps"} < set(calls)
    for name, call in calls.items():
        before = len(launches)
        call()
        assert (len(launches) > before) == ("reference" not in name)


def test_the_reference_is_the_gram(monkeypatch):
    device.install(monkeypatch, toeplitz)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((3, 6, 8)) + 1j * rng.standard_normal((3, 6, 8))).astype("c8")
    spectrum = rng.random((12, 16), np.float32)
    out = np.empty_like(x[:, None])
    toeplitz.apply(x[:, None], toeplitz.prepare(spectrum, (6, 8)), out)
    assert np.allclose(gpu_mri.padded(x, spectrum, (12, 16)), out[:, 0], atol=1e-6)
