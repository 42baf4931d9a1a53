"""The Fourier slice model of parallel beams: a polar transform of the image, then one transform per view."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from rayfold.kernels.toeplitz import prepare

from . import dispatch, plans
from .base import LinearOperator
from .geometry import BeamStructure, Volume
from .rays import prepared, ray_coefficients
from .toeplitz import Toeplitz, _spectrum

Array = Any
EPS = {"complex64": 1e-6, "complex128": 1e-14}
SLACK = 1e-9  # relative: what rounding may do to a pixel, or a frequency, exactly on an edge


class Slices(NamedTuple):
    """Half of the spectrum of every view; all in float64 on the host.

    ``y[v, k] = Re sum_m (2 - [m = 0]) factor[v, m] exp(2 pi i m k / lengths[v]) X(points[v, m])`` with
    ``X(k) = sum_n x_n exp(-i k . n)``, n counted from pixel ``n // 2``.
    """

    points: Array  # (views, m, 2) in rad/pixel, (y, x)
    factor: Array  # (views, m)
    lengths: Array  # (views,) of the transform along the detector, in bins

    @property
    def weights(self) -> Array:
        """What every frequency counts in ``A.H A``, ``(views, m)``, where `lengths` are the detector."""
        w = 2 * self.lengths[:, None] * abs(self.factor) ** 2
        w[:, :1] /= 2
        return w


def slices(vectors: Array, beam: BeamStructure, volume: Volume) -> Slices:
    """Where the views of a parallel beam lie in the spectrum of the image.

    In pixels, a view sees the lines ``x ey - y ex = a`` (`ray_coefficients`), bins a distance a1 apart.

    Parameters
    ----------
    vectors : ndarray, (views, 6)
        Direction, detector centre and bin step in mm.
    beam : BeamStructure
        Of kind "parallel".
    volume : Volume
        Two-dimensional grid.
    """
    a0, a1, ex, _, ey, _ = ray_coefficients(vectors, beam, volume).T
    lengths = _lengths(a0, a1, ex, ey, beam.n_cols, volume.shape)
    # neither the Nyquist frequency of the bins, whose phase they do not see, nor what pixels cannot hold
    most = lengths * abs(a1) / (2 * np.maximum(abs(ex), abs(ey))) * (1 + SLACK)
    most = np.minimum(np.floor(most), (lengths - 1) // 2)
    m = np.arange(int(most.max(initial=0)) + 1)
    wave = 2 * np.pi * m / (lengths * a1)[:, None]  # rad/pixel
    points = np.stack([-ex[:, None] * wave, ey[:, None] * wave], axis=-1)
    half = np.array([n // 2 - (n - 1) / 2 for n in volume.shape])  # the transform's origin from the middle
    phase = wave * (a0 - (beam.n_cols - 1) / 2 * a1)[:, None] - points @ half
    dy, dx = volume.steps
    scale = np.hypot(ex * dx, ey * dy) / (lengths * abs(a1))
    factor = np.where(m <= most[:, None], scale[:, None] * np.exp(1j * phase), 0)
    # views have different numbers of frequencies: the surplus counts nothing, and is spread where it is cheap
    points = np.where(
        abs(points) > np.pi * (1 + SLACK), np.remainder(points + np.pi, 2 * np.pi) - np.pi, points
    )
    return Slices(points, factor, lengths)


def _lengths(a0: Array, a1: Array, ex: Array, ey: Array, n_cols: int, shape: tuple[int, ...]) -> Array:
    """Bins of the period of each view: the detector where it sees all pixels, or room for them beside it."""
    from scipy.fft import next_fast_len

    ny, nx = shape
    reach = (abs(ey) * (nx - 1) + abs(ex) * (ny - 1)) / 2
    seen = abs(a0) + reach <= n_cols * abs(a1) / 2 * (1 + SLACK)
    circle = math.hypot(nx, ny) / 2  # of whatever direction: views of a scan get one length
    wanted = np.ceil(n_cols / 2 + (circle + abs(a0)) / abs(a1) - SLACK)
    padded = [
        n_cols if good else next_fast_len(int(n), real=True) for good, n in zip(seen, wanted, strict=True)
    ]
    return np.array(padded, dtype=np.int64)


def transform(
    x: Array, out: Array, vectors: Array, beam: BeamStructure, volume: Volume, *, adjoint: bool
) -> None:
    """Sinograms ``(batch, views, cols)`` of images, or images ``(batch, ny, nx)`` by the exact adjoint."""
    xp, kind = dispatch.namespace(x), {"float32": "complex64", "float64": "complex128"}[str(x.dtype)]
    points, factor, groups = _ready(x, kind, dispatch.to_numpy(vectors), beam, volume)
    n, (views, m) = len(x), factor.shape
    images, samples = xp.empty((n, *volume.shape), dtype=kind), xp.zeros((n, views, m), dtype=kind)
    plan = plans.plan(points, volume.shape, EPS[kind], "auto", images)
    if not adjoint:
        images[...] = x
        plan.forward(images, samples.reshape(n, -1))
        samples *= factor
        for length, rows in groups:
            out[:, rows] = xp.fft.irfft(samples[:, rows], n=length, norm="forward")[..., : beam.n_cols]
        return
    for length, rows in groups:
        few = min(m, length // 2 + 1)
        samples[:, rows, :few] = xp.fft.rfft(x[:, rows], n=length)[..., :few]
    samples *= factor.conj()
    samples[..., 1:] *= 2
    plan.adjoint(samples.reshape(n, -1), images)
    out[...] = images.real


def _ready(
    x: Array, kind: str, vectors: Array, beam: BeamStructure, volume: Volume
) -> tuple[Array, Array, list[tuple[int, Any]]]:
    """Points, factors in the library and precision of x, and which views have which period; made once."""

    def host() -> tuple[Array, ...]:
        made = slices(vectors, beam, volume)
        return made.points, made.lengths

    def device() -> tuple[Array, ...]:
        factor = slices(vectors, beam, volume).factor
        return (np.stack([factor.real, factor.imag], axis=-1),)

    # points stay on the host: a plan knows the same array again without looking at its numbers
    points, periods = prepared(np.empty(0, str(x.dtype)), (vectors,), ("fourier", beam, volume), host)
    (factor,) = prepared(x, (vectors,), ("fourier, factors", beam, volume), device)
    found = np.unique(periods)
    if len(found) == 1:
        return points, factor.view(kind)[..., 0], [(int(found[0]), slice(None))]
    xp = dispatch.namespace(x)
    groups = [(int(n), xp.asarray(np.flatnonzero(periods == n))) for n in found]
    return points, factor.view(kind)[..., 0], groups


def gram(vectors: Array, beam: BeamStructure, volume: Volume, weights: Array) -> LinearOperator | None:
    """``A.H W A`` as a convolution, or None: a pixel is off the detector, or weights vary in a view.

    Where the detector sees every pixel its bins are one period of the transform along it, in which different
    frequencies are orthogonal: every sample of the spectrum counts for itself.

    Parameters
    ----------
    vectors : ndarray, (views, 6)
        As in `slices`.
    beam : BeamStructure
        Of kind "parallel".
    volume : Volume
        Two-dimensional grid.
    weights : ndarray
        Real, broadcasts to ``(views, cols)``.
    """
    per_view = weights[..., :1] if weights.ndim else weights.reshape(1)
    if weights.size == 0 or math.prod(weights.shape[:-2]) > 1 or (weights != per_view).any():
        return None
    made = slices(vectors, beam, volume)
    if beam.n_views == 0 or (made.lengths != beam.n_cols).any():
        return None
    w = made.weights * np.broadcast_to(per_view.reshape(-1, 1), (beam.n_views, 1))
    spectrum = (
        math.prod(volume.shape) * _spectrum(made.points.reshape(-1, 2), w.reshape(-1), volume.shape).real
    )
    mirrored = np.roll(spectrum[::-1, ::-1], 1, axis=(0, 1))  # of the other half of every view
    kernel = prepare((spectrum + mirrored) / 2, volume.shape, real=True)
    kernel.setflags(write=False)
    return Toeplitz(volume.shape, kernel, real=True)
