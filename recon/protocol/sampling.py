"""Where an MRI protocol measures: masks and trajectories of `rayfold.recon.trajectories` by name."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from rayfold.recon import trajectories

if TYPE_CHECKING:
    from rayfold.recon.protocol.mri import MRIProtocol

Array = Any
# pattern: the fields it takes, needed ones first, and how many of them are needed
LINES = {
    "full": ((), 0),
    "equispaced": (("acceleration", "calibration"), 1),
    "random": (("acceleration", "calibration", "pattern_seed"), 1),
    "gaussian": (("acceleration", "calibration", "pattern_seed"), 1),
    "partial-fourier": (("fraction",), 1),
}
POINTS = {"poisson": (("acceleration", "calibration", "pattern_seed"), 1)}
SHOTS = {
    "radial": (("shots", "samples"), 1),
    "golden-radial": (("shots", "samples"), 1),
    "spiral": (("shots", "density", "dwell_ms"), 1),
}
PATTERNS = {**LINES, **POINTS, **SHOTS}
OWN = tuple(dict.fromkeys(name for names, _ in PATTERNS.values() for name in names if name != "dwell_ms"))


def check(p: MRIProtocol) -> None:
    """ValueError unless the fields are those that the pattern takes."""
    takes, needed = PATTERNS[p.pattern]
    for name in takes[:needed]:
        if getattr(p, name) is None:
            raise ValueError(f"pattern {p.pattern!r} needs {name}; give it")
    given = [name for name in OWN if name not in takes and getattr(p, name) is not None]
    if given:
        raise ValueError(
            f"pattern {p.pattern!r} takes no {given[0]}; it takes {', '.join(takes) or 'nothing'}"
        )
    if p.pattern == "equispaced" and p.acceleration % 1:  # type: ignore[operator]
        raise ValueError(
            f"acceleration is {p.acceleration}; lines at equal distances need a whole number, "
            "patterns random, gaussian and poisson do not"
        )
    if p.cartesian:  # what only the mask itself can check, as calibration lines that R does not allow
        mask(p)


def mask(p: MRIProtocol) -> Array:
    """Which points of k-space are measured, (ny, 1) for lines along kx or (ny, nx); read-only."""
    return _mask(p.matrix, p.pattern, p.acceleration, p.calibration or 0, p.fraction, p.pattern_seed or 0)


@lru_cache(maxsize=64)
def _mask(matrix: tuple[int, int], pattern: str, R: Any, calibration: int, fraction: Any, seed: int) -> Array:
    ny = matrix[0]
    if pattern == "poisson":
        made = trajectories.poisson_disc(matrix, R, calibration=calibration, seed=seed)
    elif pattern == "full":
        made = np.ones((ny, 1), bool)
    elif pattern == "equispaced":
        made = trajectories.equispaced(ny, int(R), calibration=calibration)[:, None]
    elif pattern == "partial-fourier":
        made = trajectories.partial_fourier(ny, fraction)[:, None]
    else:
        draw = trajectories.random_mask if pattern == "random" else trajectories.gaussian_mask
        made = draw(ny, R, calibration=calibration, seed=seed)[:, None]
    made.setflags(write=False)
    return made


def trajectory(p: MRIProtocol) -> Array:
    """Samples off the grid, (shots, samples, 2) in rad/voxel; read-only."""
    n = max(p.matrix)
    if p.pattern == "spiral":
        return _spiral(p.shots, n, max(p.field_of_view_mm), p.dwell_ms, p.density or 1.0)
    golden = 1 if p.pattern == "golden-radial" else 0
    return _radial(p.shots, p.samples or 2 * n, golden)


@lru_cache(maxsize=64)
def _spiral(shots: int, n: int, extent: float, dwell: float, density: float) -> Array:
    made = trajectories.spiral(shots, n, field_of_view=extent, dwell=dwell, density=density)
    made.setflags(write=False)
    return made


@lru_cache(maxsize=64)
def _radial(shots: int, samples: int, golden: int) -> Array:
    made = trajectories.radial(shots, samples, golden=golden)
    made.setflags(write=False)
    return made
