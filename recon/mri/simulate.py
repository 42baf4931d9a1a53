"""Raw MRI data of a known object: smooth receive coils, correlated noise, any mask or trajectory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.kspace import KSpace

Array = npt.NDArray[Any]
SEGMENTS = 48  # straight pieces of a loop
WIRE = 0.15  # thickness of the wire in half fields of view: the field stays finite beside it
DISTANCE = 1.6  # of the loops from the axis, in half fields of view
OVERLAP = 1.1  # of neighbouring loops, which decouples real arrays
HEIGHT = 0.45  # of the upper and the lower loops in a volume, in half fields of view


# of the ellipses of the Shepp-Logan head, as signals of a T1-weighted scan: scalp, brain, ventricles, lesions
SIGNALS = (0.9, -0.35, -0.35, -0.35, 0.2, 0.15, -0.25, 0.15, 0.15, 0.15)


def loop_coils(shape: tuple[int, ...], coils: int = 8) -> Array:
    """Sensitivities of an array of circular loops around the object.

    The field of a loop by the law of Biot and Savart, ``B(r) = sum dl x (r - r') / |r - r'|^3``, of which a
    coil receives what turns with the spins, ``B_x - i B_y`` (B0 is along z). The loops stand on a circle in
    the plane of x and y and look at its centre; in a volume they lie alternately above and below z = 0.

    Parameters
    ----------
    shape : tuple of int, (ny, nx) or (nz, ny, nx)
        Image grid.
    coils : int
        Number of loops.

    Returns
    -------
    ndarray of complex64, (coils, *shape)
        Root sum of squares 1 at the origin, voxel ``n // 2``.

    Raises
    ------
    ValueError
        If there are no coils, or the grid has not two or three axes.

    References
    ----------
    D. I. Hoult, Concepts Magn. Reson. 12 (2000) 173, for what a coil receives.

    Examples
    --------
    >>> maps = loop_coils((16, 16), 4)
    >>> maps.shape, float((abs(maps[:, 8, 8]) ** 2).sum().round(3))
    ((4, 16, 16), 1.0)
    >>> bool(abs(maps[0, 8, 15]) > abs(maps[0, 8, 0]))  # the first loop stands at +x
    True
    """
    if coils < 1:
        raise ValueError(f"coils is {coils}; it must be 1 or more")
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ValueError(f"shape is {shape}; it must be (ny, nx) or (nz, ny, nx)")
    at = np.meshgrid(*(2 * (np.arange(n) - n // 2) / n for n in shape), indexing="ij", sparse=True)
    z, y, x = (np.zeros((1,) * len(shape)), *at) if len(shape) == 2 else at
    maps = np.stack([_received(x, y, z, *_loop(c, coils, len(shape))) for c in range(coils)])
    origin: Any = (slice(None), *(n // 2 for n in shape))
    return np.asarray(maps / np.linalg.norm(maps[origin]), np.complex64)


def _loop(c: int, coils: int, ndim: int) -> tuple[Array, Array]:
    """Middles and directions (segments, 3), in x, y, z, of the pieces of one loop."""
    radius = min(OVERLAP * DISTANCE * math.tan(math.pi / max(coils, 3)), 0.8 * DISTANCE)
    turn, s = 2 * math.pi * c / coils, 2 * np.pi * (np.arange(SEGMENTS) + 0.5) / SEGMENTS
    height = 0.0 if ndim == 2 else HEIGHT * (1 - 2 * (c % 2))
    out, around = (
        np.array([math.cos(turn), math.sin(turn), 0]),
        np.array([-math.sin(turn), math.cos(turn), 0]),
    )
    up = np.array([0.0, 0.0, 1.0])
    middles = DISTANCE * out + height * up + radius * (np.outer(np.cos(s), around) + np.outer(np.sin(s), up))
    steps = np.outer(np.cos(s), up) - np.outer(np.sin(s), around)
    return middles, steps * (2 * math.pi * radius / SEGMENTS)


def _received(x: Array, y: Array, z: Array, middles: Array, steps: Array) -> Array:
    field = 0
    for (px, py, pz), (lx, ly, lz) in zip(middles, steps, strict=True):
        dx, dy, dz = x - px, y - py, z - pz
        fall = (dx**2 + dy**2 + dz**2 + WIRE**2) ** -1.5
        field = field + ((ly * dz - lz * dy) - 1j * (lz * dx - lx * dz)) * fall
    return np.asarray(field)


def head(shape: tuple[int, int], *, texture: float = 0.04, turns: float = 0.5) -> Array:
    """A head as an MRI sees it: the Shepp-Logan phantom with fine texture and a smooth phase.

    Parameters
    ----------
    shape : (ny, nx)
        Image grid.
    texture : float
        Relative strength of the texture: real tissue is not flat, which flatters sparse methods.
    turns : float
        How far the phase goes, in turns from the centre to the corner of the field of view.

    Returns
    -------
    ndarray of complex64, (ny, nx)
        Magnitudes about 0 to 1, brain 0.55.

    Examples
    --------
    >>> image = head((64, 64))
    >>> image.dtype, bool(0.9 < abs(image).max() < 1.3)
    (dtype('complex64'), True)
    """
    from rayfold.operators.geometry import Volume
    from rayfold.recon.phantoms import ellipses, shepp_logan_table
    from rayfold.recon.thorax import texture_like

    ny, nx = shape
    table = shepp_logan_table(radius=0.9)  # air around it
    table[:, 0] = SIGNALS
    plane = ellipses(Volume((ny, nx), (2 / ny, 2 / nx)), table, unit="a.u.").array
    y, x = np.meshgrid(*(2 * (np.arange(n) - n // 2) / n for n in shape), indexing="ij")
    angle = 2 * np.pi * turns * (0.35 * x - 0.25 * y + 0.4 * (x**2 + y**2) / 2)
    grain = 1 + texture * texture_like((ny, nx), seed=0)
    return np.asarray(np.maximum(plane, 0) * grain * np.exp(1j * angle), np.complex64)


def simulate_kspace(
    image: Array,
    matrix: tuple[int, ...] | None = None,
    *,
    coils: int = 8,
    maps: Array | None = None,
    sampled: Array | None = None,
    trajectory: Array | None = None,
    snr: float | None = 50.0,
    correlation: float = 0.4,
    noise_samples: int = 4096,
    field_of_view: tuple[float, ...] | None = None,
    seed: int = 0,
) -> KSpace:
    """Simulate what an array of coils measures of an image, with a noise scan.

    ``y_c = F (s_c x) + n_c`` with noise that is white along k-space and correlated between coils:
    ``E[n n^H] / 2 = sigma^2 ((1 - correlation) 1 + correlation R)``, R being the overlap of the sensitivities
    over the field of view, with a diagonal of ones: receivers share the noise of the body both of them see.

    Parameters
    ----------
    image : ndarray, (ny, nx) or (nz, ny, nx)
        The object, complex.
    matrix : tuple of int, optional
        Grid to encode, coarser than `image` or, by default, the same. A finer object is no multiple of the
        voxels that reconstruct it, as in life; its k-space is cut off where the encoding ends.
    coils : int
        Number of loops, see `loop_coils`.
    maps : ndarray, (coils, *image.shape), optional
        Sensitivities instead of those of loops.
    sampled : ndarray of bool, optional
        Which positions to measure, as (ny,) for whole lines, or broadcasting to `matrix`. All by default.
    trajectory : ndarray, (shots, samples, ndim) or (samples, ndim), optional
        In rad/voxel of `matrix`, instead of the grid.
    snr : float, optional
        Largest magnitude of the image over sigma, the standard deviation of the noise of a coil per real and
        imaginary part; with loops about the signal-to-noise ratio of a fully measured image in the middle.
        None for no noise and no noise scan.
    correlation : float
        0 for independent coils, below 1.
    noise_samples : int
        Length of the noise scan, per coil.
    field_of_view : tuple of float, optional
        In mm.
    seed : int
        Seed of the noise.

    Returns
    -------
    KSpace
        complex64.

    Raises
    ------
    ValueError
        If shapes do not fit each other, both a mask and a trajectory are given, or a number is out of range.

    Examples
    --------
    >>> from rayfold.recon.trajectories import equispaced
    >>> scan = simulate_kspace(head((64, 64)), (32, 32), coils=4, sampled=equispaced(32, 2, calibration=12))
    >>> scan.axes, scan.data.shape, scan.noise.shape, round(scan.acceleration, 2)
    (('coil', 'ky', 'kx'), (4, 32, 32), (4, 4096), 1.45)
    """
    x = np.asarray(image)
    grid = x.shape if matrix is None else tuple(int(n) for n in matrix)
    _check(x, grid, sampled, trajectory, snr, correlation, noise_samples)
    S = loop_coils(x.shape, coils) if maps is None else np.asarray(maps)
    if S.shape[1:] != x.shape:
        raise ValueError(
            f"maps have shape {S.shape}; for this image they must be (coils, {', '.join(map(str, x.shape))})"
        )
    scale = math.sqrt(math.prod(grid) / math.prod(x.shape))  # values of the image stay, whatever its grid
    mask = None if sampled is None else _mask(sampled, grid)
    if trajectory is None:
        from rayfold.operators.fourier import fft
        from rayfold.recon.mri.grid import crop

        axes = tuple(range(-x.ndim, 0))
        y = crop(fft((S * x).astype(np.complex64), axes), grid, axes)
    else:
        from rayfold.operators import NUFFT

        finer = np.asarray(trajectory, np.float64) * (np.array(grid) / x.shape)
        y = NUFFT(x.shape, finer)((S * x).astype(np.complex64))
    y = y * np.float32(scale)
    noise = None
    if snr is not None:
        root = np.linalg.cholesky(_covariance(S, correlation)) * (float(np.abs(x).max()) / snr)
        rng = np.random.default_rng(seed)
        y = y + _draw(rng, root, y.shape[1:])
        noise = _draw(rng, root, (noise_samples,)).astype(np.complex64)
    y = (y if mask is None else y * mask).astype(np.complex64)
    k_axes = ("kz", "ky", "kx")[-x.ndim :] if trajectory is None else ("shot", "sample")[3 - y.ndim :]
    return KSpace(
        y, ("coil", *k_axes), trajectory=trajectory, sampled=mask, matrix=grid, noise=noise,
        field_of_view=field_of_view, source="simulated",
    )  # fmt: skip


def _covariance(maps: Array, correlation: float) -> Array:
    """Of the noise of the coils, with a diagonal of ones."""
    flat = maps.reshape(len(maps), -1).astype(np.complex128)
    size = np.linalg.norm(flat, axis=1, keepdims=True)
    flat = flat / np.where(size > 0, size, 1)
    return np.asarray((1 - correlation) * np.eye(len(flat)) + correlation * (flat @ flat.conj().T))


def _draw(rng: np.random.Generator, root: Array, shape: tuple[int, ...]) -> Array:
    white = rng.standard_normal((2, len(root), *shape))
    return np.tensordot(root, white[0] + 1j * white[1], axes=1)


def _mask(sampled: Array, grid: tuple[int, ...]) -> Array:
    """Mask with the axes of the grid; a vector stands for whole lines along the readout."""
    mask = np.asarray(sampled).astype(bool)
    if mask.ndim == 1:
        mask = mask[:, None]
    if mask.ndim > len(grid) or any(
        m not in (1, n) for m, n in zip(mask.shape[::-1], grid[::-1], strict=False)
    ):
        raise ValueError(
            f"sampled has shape {np.shape(sampled)}; it must be ({grid[-2]},) or broadcast to {grid}"
        )
    return np.broadcast_to(mask, grid)


def _check(
    x: Array,
    grid: tuple[int, ...],
    sampled: Array | None,
    trajectory: Array | None,
    snr: float | None,
    correlation: float,
    noise_samples: int,
) -> None:
    if x.ndim not in (2, 3) or not np.isfinite(x).all():
        raise ValueError(
            f"the image has shape {x.shape}; it must be (ny, nx) or (nz, ny, nx) of finite numbers"
        )
    if len(grid) != x.ndim or any(not 1 <= n <= m for n, m in zip(grid, x.shape, strict=False)):
        raise ValueError(f"matrix is {grid}; it must have the axes of the image {x.shape} and be no finer")
    if sampled is not None and trajectory is not None:
        raise ValueError("sampled is for the grid and trajectory for samples off it; give one of them")
    if trajectory is not None and np.ndim(trajectory) not in (2, 3):
        raise ValueError(
            f"the trajectory has shape {np.shape(trajectory)}; it must be (shots, samples, {x.ndim})"
        )
    if snr is not None and not 0 < snr < math.inf:
        raise ValueError(f"snr is {snr}; give a positive number, or None for no noise")
    if not 0 <= correlation < 1:
        raise ValueError(f"correlation is {correlation}; it must be 0 or more and below 1")
    if noise_samples < 1:
        raise ValueError(f"noise_samples is {noise_samples}; it must be 1 or more")
