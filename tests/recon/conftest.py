"""Fixtures of the reconstruction tests: measured files where they exist, and small synthetic scans."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rayfold.operators.geometry import ParallelBeam
from rayfold.recon.data import Scan

MEASURED = Path(__file__).resolve().parents[3] / "shared" / "data" / "ct"


@pytest.fixture
def measured() -> Callable[[str], Path]:
    """Path of a measured file; the test is skipped where the data are not present."""

    def find(name: str) -> Path:
        path = MEASURED / name
        if not path.exists():
            pytest.skip(f"measured data are not here: {name}")
        return path

    return find


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(1)


@pytest.fixture
def counts(rng: np.random.Generator) -> Scan:
    """Raw counts of two blobs turning about column 30.5, with flats, darks and an uneven detector."""
    n_views, n_cols = 90, 64
    angles = np.arange(n_views) * np.pi / n_views
    s = np.arange(n_cols) - 30.5
    line = sum(
        a * np.exp(-((s - r * np.cos(angles - at)[:, None]) ** 2) / (2 * w**2))
        for a, r, at, w in ((1.0, 8.0, 0.3, 6.0), (0.6, 15.0, 2.0, 3.0))
    )
    gain = 1 + 0.1 * rng.random(n_cols)
    flat = rng.poisson(20000 * gain, (8, n_cols)) + 100.0
    dark = rng.normal(100, 1, (8, n_cols))
    data = rng.poisson(20000 * gain * np.exp(-line)) + 100.0
    beam = ParallelBeam(angles, n_cols)
    return Scan(data.astype(np.float32), beam, "counts", unit="px", flat=flat, dark=dark)
