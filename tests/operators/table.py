"""One table of operators, small enough for dense matrices, crossed with every property."""

from __future__ import annotations

import functools
import math

import numpy as np

from rayfold.operators import (
    FFT,
    NUFFT,
    BlockDiagonal,
    Blur,
    CartesianMask,
    CoilSensitivities,
    Downsample,
    FanBeam,
    Identity,
    KSpaceCrop,
    LinearOperator,
    OffResonance,
    ParallelBeam,
    Stack,
    Toeplitz,
    VectorBeam,
    Volume,
    XRay,
    time_segments,
)
from rayfold.operators.calculus import Diagonal, Pad
from rayfold.operators.fbp import fbp_operator
from rayfold.operators.filters import RampFilter

TURN = np.linspace(0, 2 * math.pi, 7, endpoint=False) + 0.1
AXES = np.arange(8) * math.pi / 4  # exactly along rows, columns and diagonals
FAN = {"source_to_axis": 40.0, "source_to_detector": 70.0}
IMAGE = Volume((9, 11))


def parallel() -> XRay:
    return XRay(IMAGE, ParallelBeam(TURN, 14))


def fan() -> XRay:
    return XRay(IMAGE, FanBeam(TURN, 15, 1.7, **FAN))


def moving() -> VectorBeam:
    """A fan whose source and detector shake, and whose detector is tilted."""
    rng = np.random.default_rng(1)
    still = FanBeam(TURN, 15, 1.7, **FAN).vectors
    return VectorBeam(still + 0.05 * rng.standard_normal(still.shape), 15)


def shaking_parallel() -> VectorBeam:
    rng = np.random.default_rng(2)
    still = ParallelBeam(TURN, 14).vectors
    return VectorBeam(still * rng.uniform(0.8, 1.2, (len(still), 1)), 14, kind="parallel")


def weights(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def phases(shape: tuple[int, ...]) -> np.ndarray:
    return weights(shape, 3) + 1j * weights(shape, 4)


PROJECTORS = {
    "parallel": parallel,
    "parallel along the axes": lambda: XRay(IMAGE, ParallelBeam(AXES, 14)),
    "parallel, even grid, axes": lambda: XRay(Volume((8, 8)), ParallelBeam(AXES, 8)),
    "parallel, offset detector": lambda: XRay(IMAGE, ParallelBeam(TURN, 14, detector_offset=3.3)),
    "parallel, coarse detector": lambda: XRay(IMAGE, ParallelBeam(TURN, 4, 5.0)),
    "parallel, fine detector": lambda: XRay(IMAGE, ParallelBeam(TURN, 60, 0.21)),
    "parallel, pixels not square": lambda: XRay(Volume((9, 6), (0.7, 1.9)), ParallelBeam(TURN, 14)),
    "parallel, grid off the axis": lambda: XRay(Volume((9, 11), 1.0, (3.0, -4.0)), ParallelBeam(TURN, 20)),
    "parallel, one pixel": lambda: XRay(Volume((1, 1)), ParallelBeam(TURN, 5, 0.5)),
    "parallel, one row": lambda: XRay(Volume((1, 9)), ParallelBeam(TURN, 12)),
    "parallel, one column": lambda: XRay(Volume((9, 1)), ParallelBeam(TURN, 12)),
    "parallel, one bin": lambda: XRay(IMAGE, ParallelBeam(TURN, 1)),
    "parallel, uneven vectors": lambda: XRay(IMAGE, shaking_parallel()),
    "fan flat": fan,
    "fan flat along the axes": lambda: XRay(IMAGE, FanBeam(AXES, 15, 1.7, **FAN)),
    "fan curved": lambda: XRay(IMAGE, FanBeam(TURN, 15, 1.7, curved=True, **FAN)),
    "fan flat, offsets": lambda: XRay(
        IMAGE, FanBeam(TURN, 15, 1.7, detector_offset=4.1, source_offset=-1.3, **FAN)
    ),
    "fan curved, offsets": lambda: XRay(
        IMAGE, FanBeam(TURN, 15, 1.7, curved=True, detector_offset=4.1, source_offset=-1.3, **FAN)
    ),
    "fan wide": lambda: XRay(
        Volume((20, 21)), FanBeam(TURN, 60, 2.0, source_to_axis=18.0, source_to_detector=30.0)
    ),
    "fan wide, curved": lambda: XRay(
        Volume((20, 21)), FanBeam(TURN, 40, 1.5, source_to_axis=18.0, source_to_detector=30.0, curved=True)
    ),
    "fan moving": lambda: XRay(IMAGE, moving()),
    "fan, pixels not square": lambda: XRay(Volume((6, 9), (1.9, 0.7)), FanBeam(TURN, 15, 1.7, **FAN)),
}

SIMPLE = {
    "identity": lambda: Identity((3, 4)),
    "ramp filter": lambda: RampFilter((3, 10), 0.7, "hann", 0.8),
    "ramp filter, curved": lambda: RampFilter((2, 9), 0.03, fan_step=0.03),
    "diagonal": lambda: Diagonal((3, 4), weights((3, 4))),
    "diagonal, one row for all": lambda: Diagonal((3, 4), weights((4,))),
    "diagonal, complex": lambda: Diagonal((3, 4), phases((3, 4))),
    "pad": lambda: Pad((3, 4), 2, 1),
}

COMPOSITES = {
    "views of a projector": lambda: parallel()[::2],
    "views of a composite": lambda: (2 * parallel())[[4, 0, 2]],
    "views taken twice": lambda: Diagonal((5, 4), weights((5, 4)))[[1, 1, 4]],
    "adjoint": lambda: parallel().H,
    "gram": lambda: fan().gram,
    "composed": lambda: (
        Diagonal((7, 14), weights((7, 14))) @ parallel() @ Diagonal((9, 11), weights((9, 11), 1))
    ),
    "composed, complex": lambda: parallel() @ Diagonal((9, 11), phases((9, 11))),
    "sum": lambda: parallel() - 0.5 * XRay(IMAGE, ParallelBeam(TURN + 0.3, 14)),
    "stack": lambda: Stack((parallel(), 3 * XRay(IMAGE, ParallelBeam(AXES, 14)))),
    "scaled": lambda: parallel() / 4,
    "scaled, complex": lambda: (0.3 - 0.8j) * parallel(),
    "FBP": lambda: fbp_operator(IMAGE, ParallelBeam(TURN, 14), window="hamming")[0],
    "FBP, offset": lambda: fbp_operator(IMAGE, ParallelBeam(TURN, 14, detector_offset=3.0))[0],
    "FBP fan": lambda: fbp_operator(IMAGE, FanBeam(TURN, 15, 1.7, **FAN))[0],
    "FBP fan curved": lambda: fbp_operator(IMAGE, FanBeam(TURN, 15, 1.7, curved=True, **FAN))[0],
}


def trajectory(n: int, ndim: int, seed: int = 5) -> np.ndarray:
    """Points anywhere in k-space, one of them on its edge."""
    k = np.random.default_rng(seed).uniform(-math.pi, math.pi, (n, ndim))
    k[0] = -math.pi
    return k


def nufft(shape: tuple[int, ...] = (4, 5), n: int = 14, **options: object) -> NUFFT:
    return NUFFT(shape, trajectory(n, len(shape)), eps=1e-14, **options)


def maps(coils: int = 3, shape: tuple[int, ...] = (4, 5)) -> CoilSensitivities:
    return CoilSensitivities(phases((coils, *shape)))


def lines() -> CartesianMask:
    return CartesianMask((4, 5), np.array([1, 0, 1, 1])[:, None])


FIELD_MAP = np.linspace(-40.0, 40.0, 20).reshape(4, 5)
TIMES = np.linspace(0.0, 8.0, 14)


def off_resonant() -> LinearOperator:
    found = time_segments(TIMES, FIELD_MAP, n_segments=3)
    return nufft(basis=found.basis) @ OffResonance(FIELD_MAP, tuple(found.centres))


FOURIER = {
    "FFT": lambda: FFT((4, 5)),
    "FFT of one axis": lambda: FFT((3, 4, 2), axes=(-2,)),
    "k-space lines": lines,
    "NUFFT": nufft,
    "NUFFT of one axis": lambda: nufft((7,)),
    "NUFFT in 3D": lambda: nufft((3, 4, 3)),
    "NUFFT, shots": lambda: NUFFT((4, 5), trajectory(14, 2).reshape(2, 7, 2), eps=1e-14),
    "NUFFT, gridding": lambda: nufft(engine="gridding"),
    "NUFFT, basis": lambda: nufft(basis=phases((2, 14))),
    "Toeplitz": lambda: Toeplitz.of(nufft(), weights((14,)) ** 2),
    "Toeplitz, basis": lambda: nufft(basis=phases((2, 14))).gram,
    "SENSE": lambda: lines() @ FFT((4, 5)) @ maps(),
    "SENSE, two sets": lambda: FFT((4, 5)) @ CoilSensitivities(phases((3, 2, 4, 5)), sets=True),
    "SENSE, radial": lambda: nufft() @ maps(),
    "SENSE, gram of radial": lambda: (nufft() @ maps()).gram,
    "SENSE, subspace": lambda: (
        nufft(basis=phases((2, 14))) @ CoilSensitivities(phases((3, 4, 5)), components=2)
    ),
    "off-resonance": off_resonant,
    "stack of stars": lambda: nufft() @ FFT((3, 4, 5), axes=(-3,)),
    "frames": lambda: BlockDiagonal((nufft(), NUFFT((4, 5), trajectory(14, 2, 6), eps=1e-14))),
}

SLICES = {  # the Fourier model of parallel beams
    "Fourier slices": lambda: XRay(IMAGE, ParallelBeam(TURN, 16), model="fourier"),
    "Fourier slices along the axes": lambda: XRay(Volume((8, 8)), ParallelBeam(AXES, 15), model="fourier"),
    "Fourier slices, narrow detector": lambda: XRay(
        IMAGE, ParallelBeam(TURN, 10, detector_offset=1.3), model="fourier"
    ),
    "Fourier slices, oblong pixels, fine detector": lambda: XRay(
        Volume((9, 6), (0.7, 1.9), (2.0, -1.0)), ParallelBeam(TURN, 60, 0.31), model="fourier"
    ),
    "Fourier slices, coarse detector": lambda: XRay(IMAGE, ParallelBeam(TURN, 5, 4.0), model="fourier"),
    "Fourier slices, uneven vectors": lambda: XRay(IMAGE, shaking_parallel(), model="fourier"),
}

RESOLUTION = {
    "blur": lambda: Blur((5, 6), (0.6, 1.1)),
    "blur, zeros around": lambda: Blur((2, 3, 4), 0.8, axes=(-2, -1), boundary="zero"),
    "blur, kernel": lambda: Blur((4, 5), kernel=weights((3, 5))),
    "blur, kernel of one axis, zeros around": lambda: Blur(
        (4, 3), kernel=weights((9,)), axes=(-2,), boundary="zero"
    ),
    "binning": lambda: Downsample((4, 6), (2, 3)),
    "binning of bins": lambda: Downsample((2, 3, 6), 2, axes=(-1,)),
    "k-space cut": lambda: KSpaceCrop((5, 6), (3, 4)),
    "k-space cut of one axis": lambda: KSpaceCrop((2, 6, 3), 3, axes=(-2,)),
    "k-space cut, real": lambda: KSpaceCrop((5, 6), (4, 2), field="real"),
    "binned projections": lambda: Downsample((7, 14), 2, axes=(-1,)) @ parallel(),
    "projections of a blurred image": lambda: parallel() @ Blur(IMAGE.shape, 0.7),
    "coil images of less k-space": lambda: KSpaceCrop((4, 5), (2, 3)) @ maps(),
}

TABLE = PROJECTORS | SIMPLE | COMPOSITES | FOURIER | SLICES | RESOLUTION
FEW = [
    "parallel",
    "fan curved",
    "fan moving",
    "diagonal, complex",
    "composed, complex",
    "sum",
    "stack",
    "FBP fan",
]


@functools.cache
def operator(name: str) -> LinearOperator:
    return TABLE[name]()


def random(shape: tuple[int, ...], op: LinearOperator, dtype: str = "float64", seed: int = 0) -> np.ndarray:
    """A random array of the field of the operator, in the precision of `dtype`."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if op.field == "complex":
        x = x + 1j * rng.standard_normal(shape)
        return x.astype({"float32": "complex64", "float64": "complex128"}[dtype])
    return x.astype(dtype)


def difference(a: np.ndarray, b: np.ndarray) -> float:
    """Largest difference over the largest value of `b`."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    return float(np.abs(a - b).max(initial=0)) / max(float(np.abs(b).max(initial=0)), 1e-300)
