"""Fixtures of the learned layer: a small scan, and the memory a graph holds."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from rayfold.operators import ParallelBeam, Volume, XRay  # noqa: E402
from rayfold.recon import Problem  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    """Sums in one order, and no quarrel with the other tests over cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def scan() -> XRay:
    return XRay(Volume((12, 12)), ParallelBeam.evenly(10, 18))


@pytest.fixture
def problem(scan) -> Problem:
    """Three noisy scans in double precision."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand((3, *scan.in_shape), generator=generator, dtype=torch.float64)
    y = scan(x)
    return Problem(scan, y + 0.05 * torch.randn(y.shape, generator=generator, dtype=torch.float64))


@pytest.fixture
def held_bytes():
    """Memory that a call leaves allocated, with its result and graph alive, as torch's allocator counts."""
    from torch.profiler import ProfilerActivity, profile

    def measure(call) -> int:
        call()  # what is made once per operator
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
            result = call()
        held = sum(event.self_cpu_memory_usage for event in seen.key_averages())
        assert result.requires_grad
        return held

    return measure
