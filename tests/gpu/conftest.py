"""Everything here needs CuPy and a device; without them it is skipped, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest


def missing() -> str | None:
    """Why the tests of this folder cannot run, or None."""
    try:
        import cupy
    except ImportError:
        return "CuPy is not installed: pip install 'rayfold[cuda12]' (or cuda13)"
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        return f"no CUDA device: {error}"
    return None if count else "no CUDA device"


def pytest_collection_modifyitems(items):
    reason = missing()
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gpu)
            if reason:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture
def cupy():
    return pytest.importorskip("cupy")
