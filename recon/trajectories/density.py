"""Density compensation: the share of k-space that every sample stands for.

All weights are normalised alike: they enter as ``A.H W A`` with the orthonormal A of the operators, and where
k-space is measured completely this is about the identity. A weight is therefore the area (in 3D the volume)
of k-space around its sample, as a multiple of the Nyquist cell: their sum is ``prod(shape)`` times the
measured share of the box from -pi to pi, and fully sampled Cartesian points have weight 1.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def radial_weights(trajectory: Array, shape: tuple[int, ...]) -> Array:
    """Analytic weights of full spokes, in a plane or in all directions of a volume.

    In a plane a sample's weight is the ramp of filtered backprojection at its radius r, times the distance d
    of samples, times its spoke's share of angle. With P the length of a spoke and L its number of samples,
    the ramp is ``P/4 - 2P/pi^2 sum cos(2 pi l r / P) / l^2`` over odd l up to L/2 (Ramachandran and
    Lakshminarayanan, Proc Natl Acad Sci USA 68:2236, 1971), which is ``|r|`` but for the lags that L samples
    cannot tell apart. With ``|r|`` itself the image lacks its mean, and with the area of the central disc it
    is too bright, 2 % where spokes are sampled twice as densely as needed. Angles are shared as between
    neighbours.

    In a volume the weight is ``r^2 d`` times an even share of solid angle; the centre, where r^2 is smooth,
    needs no such care and weighs nothing.

    Parameters
    ----------
    trajectory : ndarray, (spokes, samples, ndim)
        Straight spokes through the centre, in rad/voxel.
    shape : tuple of int
        Image grid.

    Returns
    -------
    ndarray, (spokes, samples)
        W of ``A.H W A``, in units of the Nyquist cell.

    Raises
    ------
    ValueError
        If the spokes are not straight or miss the centre.

    Examples
    --------
    >>> from rayfold.recon.trajectories import radial
    >>> w = radial_weights(radial(101, 64), (64, 64))
    >>> round(float(w.sum() / (64**2 * np.pi / 4)), 2)  # half a sample more than a disc
    1.0
    """
    k = checked(trajectory, shape)
    ndim = k.shape[-1]
    step = k[:, -1] - k[:, 0]
    d = np.linalg.norm(step, axis=-1) / (k.shape[1] - 1)
    direction = step / (d * (k.shape[1] - 1))[:, None]
    along = np.einsum("sjd,sd->sj", k, direction)
    away = np.abs(k - along[..., None] * direction[:, None]).max()
    if away > 0.05 * d.min():
        raise ValueError(
            f"spokes pass the centre at {away:.3g} rad/voxel; radial_weights needs spokes through it, "
            "voronoi_weights takes any"
        )
    r, d = np.abs(along), d[:, None]
    if ndim == 3:
        return cells(2 * math.pi / len(k) * r**2 * d, shape)
    period, samples = d * k.shape[1], k.shape[1]
    ramp = np.broadcast_to(period / 4, r.shape).copy()
    for lag in range(1, samples // 2 + 1, 2):
        ramp -= 2 * period / (math.pi * lag) ** 2 * np.cos(2 * math.pi * lag / period * r)
    return cells(_angles(direction)[:, None] * d * ramp, shape)


def spiral_weights(trajectory: Array, shape: tuple[int, int]) -> Array:
    """Analytic weights of shots that are turned copies of one another and move outwards.

    A sample stands for its share of the ring between the radii half way to its neighbours, ``pi (r_+^2 -
    r_-^2) / shots``, which is the area element ``|k x dk|`` of Hoge et al. (Magn Reson Med 38:117, 1997)
    without its error near the centre. The shots must be spread evenly over a turn.

    Parameters
    ----------
    trajectory : ndarray, (shots, samples, 2)
        From the centre outwards, in rad/voxel.
    shape : (int, int)
        Image grid.

    Returns
    -------
    ndarray, (shots, samples)
        W of ``A.H W A``, in units of the Nyquist cell.

    Raises
    ------
    ValueError
        If the radius does not grow along every shot.

    Examples
    --------
    >>> from rayfold.recon.trajectories import spiral
    >>> k = spiral(16, 64, field_of_view=200.0)
    >>> round(float(spiral_weights(k, (64, 64)).sum() / (64**2 * np.pi / 4)), 2)
    1.0
    """
    k = checked(trajectory, shape)
    if k.shape[-1] != 2:
        raise ValueError(
            f"trajectory with {k.shape[-1]} axes; spiral_weights is for planar spirals, see voronoi_weights"
        )
    r = np.linalg.norm(k, axis=-1)
    if np.any(np.diff(r, axis=-1) < 0):
        raise ValueError(
            "the radius shrinks along a shot; spiral_weights needs spirals outwards, see voronoi_weights"
        )
    between = (r[:, 1:] + r[:, :-1]) / 2
    last = r[:, -1:] + (r[:, -1:] - r[:, -2:-1]) / 2
    edges = np.concatenate([np.zeros((len(r), 1)), between, last], axis=-1)
    return cells(math.pi / len(r) * np.diff(edges**2, axis=-1), shape)


def pipe_menon(trajectory: Array, shape: tuple[int, ...], *, iterations: int = 30) -> Array:
    """Weights of any trajectory by iteration.

    ``w <- w / (P w)`` after Pipe and Menon (Magn Reson Med 41:179, 1999). P spreads every weight to its
    neighbours. Its kernel here is ``|<a_i, a_j>|^2``, a_i the conjugate rows of A, which is positive and as
    wide as the image demands; it makes ``P w = 1`` the condition for ``A.H W A`` to be as near to the
    identity as diagonal weights allow, in the sum of squares of all entries. P is applied as ``B T B.H`` with
    the NUFFT B to the doubled grid and T its triangular window.

    Parameters
    ----------
    trajectory : ndarray, (shots, samples, ndim) or (samples, ndim)
        In rad/voxel.
    shape : tuple of int
        Image grid.
    iterations : int
        Each costs an adjoint and a forward transform of the doubled grid.

    Returns
    -------
    ndarray, the trajectory's shape without its last axis
        W of ``A.H W A``, in units of the Nyquist cell.

    Raises
    ------
    ValueError
        If shapes do not fit or `iterations` is not positive.

    Examples
    --------
    >>> from rayfold.recon.trajectories import radial
    >>> k = radial(32, 32)
    >>> w = pipe_menon(k, (16, 16))
    >>> bool(abs(w / radial_weights(k, (16, 16)) - 1)[:, 4:12].mean() < 0.1)
    True
    """
    from rayfold.operators import NUFFT

    if iterations < 1:
        raise ValueError(f"iterations is {iterations}; 30 are enough, 1 is the least")
    k = checked(trajectory, shape)
    double = tuple(2 * n for n in shape)
    spread = NUFFT(double, k.reshape(-1, k.shape[-1]), eps=1e-6)
    window = np.ones(double)
    for axis, n in enumerate(shape):
        triangle = 2 * (1 - np.abs(np.arange(2 * n) - n) / n)  # 2n of the doubled grid's scale, over n twice
        window *= triangle.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    w = np.ones(math.prod(k.shape[:-1]))
    for _ in range(iterations):
        around = spread(window * spread.H(w.astype(np.complex128))).real
        w = w / np.maximum(around, 1e-12 * around.max())
    return np.asarray(w.reshape(k.shape[:-1]), np.float64)


def cells(area: Array, shape: tuple[int, ...]) -> Array:
    """From areas in (rad/voxel)^ndim to multiples of the Nyquist cell."""
    return np.asarray(area * (math.prod(shape) / (2 * math.pi) ** len(shape)), np.float64)


def checked(trajectory: Array, shape: tuple[int, ...]) -> Array:
    """The trajectory as float64, finite and of as many axes as the image."""
    k = np.asarray(trajectory, np.float64)
    if k.ndim < 2 or k.shape[-1] != len(shape):
        raise ValueError(
            f"trajectory of shape {k.shape} for an image of {shape}; its last axis must be {len(shape)}"
        )
    if k.shape[-2] < 2:
        raise ValueError(f"trajectory of shape {k.shape}; density weights need at least two samples per shot")
    if not np.isfinite(k).all():
        raise ValueError("the trajectory holds NaN or infinity; drop those samples")
    return k


def _angles(direction: Array) -> Array:
    """Half the angle to both neighbours, modulo half a turn; coincident spokes share theirs."""
    angle = np.arctan2(direction[:, 0], direction[:, 1]) % math.pi
    different, which, count = np.unique(
        np.round(angle, 9) % round(math.pi, 9), return_inverse=True, return_counts=True
    )
    gaps = np.diff(np.append(different, different[0] + math.pi))
    shares = (gaps + np.roll(gaps, 1)) / 2
    return np.asarray((shares / count)[which], np.float64)
