"""The table of geometries over which the numba twin, the emulated CUDA and a device must agree."""

from __future__ import annotations

import math

import numpy as np

from rayfold.operators import FanBeam, ParallelBeam, VectorBeam, Volume
from rayfold.operators.rays import bin_coordinates, ray_coefficients

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
RIGHT_ANGLES = np.deg2rad([0, 45, 90, 135, 180, 225, 270, 315])
TURN = np.concatenate([np.linspace(0, 2 * math.pi, 11, endpoint=False), RIGHT_ANGLES])
NEAR = {"source_to_axis": 12.0, "source_to_detector": 20.0}
FAN = {"source_to_axis": 60.0, "source_to_detector": 100.0}
CASES = {
    "parallel": (Volume((33, 40)), ParallelBeam(TURN, 50)),
    "parallel even": (Volume((32, 32), 0.7), ParallelBeam(TURN, 64, 0.7)),
    "non-square pixels": (Volume((21, 47), (1.3, 0.6)), ParallelBeam(TURN, 45, 1.0, detector_offset=0.3)),
    "fine detector": (Volume((30, 35)), ParallelBeam(TURN, 150, 0.3)),
    "very fine detector": (Volume((17, 33)), ParallelBeam(TURN[:4], 400, 0.1)),
    "coarse detector": (Volume((40, 33)), ParallelBeam(TURN, 19, 3.0)),
    "offset detector": (Volume((24, 24)), ParallelBeam(TURN, 20, 1.0, detector_offset=9.0)),
    "rays that miss": (Volume((9, 12)), ParallelBeam(TURN, 70, 2.0)),
    "off-centre volume": (Volume((18, 22), 1.0, (5.0, -7.0)), ParallelBeam(TURN, 40)),
    "one pixel": (Volume((1, 1)), ParallelBeam(TURN, 5, 0.5)),
    "one bin": (Volume((12, 12)), ParallelBeam(TURN, 1)),
    "fan flat": (Volume((33, 40)), FanBeam(TURN, 65, 1.5, **FAN)),
    "fan curved": (Volume((33, 40)), FanBeam(TURN, 65, 1.5, curved=True, **FAN)),
    "fan wide": (Volume((40, 41)), FanBeam(TURN, 120, 2.0, source_to_axis=35.0, source_to_detector=60.0)),
    "fan wide curved": (
        Volume((40, 41)),
        FanBeam(TURN, 120, 1.4, source_to_axis=35.0, source_to_detector=60.0, curved=True),
    ),
    "fan fine": (Volume((25, 28), (0.9, 1.2)), FanBeam(TURN, 180, 0.5, detector_offset=4.0, **FAN)),
    "fan coarse": (Volume((40, 33)), FanBeam(TURN, 16, 6.0, source_offset=2.0, **FAN)),
    "moving": (
        Volume((30, 30)),
        VectorBeam([[0, -60, 0.5, 40, 1, 0.1], [60, 3, -40, 1, -0.2, -1.2], [45, 45, -40, -38, 1, -1]], 60),
    ),
}  # fmt: skip


def plan(volume, beam, dtype):
    """The arrays a kernel call takes beside image and sinogram."""
    structure = beam.structure
    coef = ray_coefficients(beam.vectors, structure, volume).astype(dtype)
    return coef, bin_coordinates(structure).astype(dtype), np.array(volume.steps, dtype), structure.fan_step


def guarded(shape, dtype, fill=np.nan):
    """An array in the middle of a larger one full of NaN, so that reading beside it spoils the result."""
    size, guard = math.prod(shape), 4096
    middle = np.full(size + 2 * guard, np.nan, dtype)[guard : guard + size].reshape(shape)
    middle[...] = fill
    return middle


def problem(case, dtype, batch):
    volume, beam = CASES[case]
    rng = np.random.default_rng(batch)
    x, y = guarded((batch, *volume.shape), dtype), guarded((batch, *beam.shape), dtype)
    x[...], y[...] = rng.random(x.shape) + 0.1, rng.standard_normal(y.shape)
    return x, y, plan(volume, beam, dtype)


def relative(a, b):
    assert np.isfinite(a).all()
    return np.linalg.norm((a - b).ravel()) / max(np.linalg.norm(b.ravel()), 1e-30)
