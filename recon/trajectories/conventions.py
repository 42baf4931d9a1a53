"""Trajectories and transforms in the words of other packages.

Here a trajectory is in rad/voxel, (shots, samples, ndim) in image-axis order, and the transform is ``y_j =
prod(shape)^(-1/2) sum_n x_n exp(-i k_j n)`` with n counted from voxel ``n // 2``. Every entry of `PEERS` says
where a package differs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Convention:
    """How a package takes trajectories, and what its forward transform is to be multiplied with."""

    to: Callable[[Array, Shape], Any]
    back: Callable[[Any, Shape], Array]
    scale: Callable[[Shape], float]
    call: str


def to_peer(package: str, trajectory: Array, shape: Shape) -> Any:
    """A trajectory as another package takes it.

    Parameters
    ----------
    package : str
        One of the names in the table below.
    trajectory : ndarray, (shots, samples, ndim)
        In rad/voxel, image-axis order.
    shape : tuple of int
        Image grid.

    Returns
    -------
    ndarray or tuple of ndarray
        float64; the last column of the table says in which call of the package it serves.

    Raises
    ------
    ValueError
        If the package is unknown or the trajectory does not fit the image.

    Notes
    -----
    ================  ==========================================  ==================  ========================
    package           form of the trajectory                      theirs times this   in the call
    ================  ==========================================  ==================  ========================
    sigpy             (shots, samples, ndim), cycles/FOV          1                   nufft(x, k)
    finufft           ndim arrays (M,), rad                       prod(shape)^(-1/2)  nufft2d2, isign=-1
    jax-finufft       ndim arrays (M,), rad                       prod(shape)^(-1/2)  nufft2, iflag=-1
    pytorch-finufft   (ndim, M), rad                              prod(shape)^(-1/2)  finufft_type2, modeord=0
    torchkbnufft      (ndim, M), rad                              prod(shape)^(-1/2)  KbNufft(shape)(x, k)
    mri-nufft         (shots, samples, ndim), -0.5 to 0.5         2^(ndim/2)          get_operator(...).op(x)
    mirtorch          (1, ndim, M), rad                           2^(ndim/2)          NuSense, norm="ortho"
    mrpro             kz, ky, kx: (1, 1, 1, shots, samples) each  1                   KTrajectory(*k)
    bart              (3, samples, shots), kx first, cycles/FOV   1                   nufft k x
    ================  ==========================================  ==================  ========================

    M counts all samples, shot after shot. Density weights enter as ``A.H W A`` here; SigPy takes W and puts
    its square root into A, gpuNUFFT expects that square root itself.

    Examples
    --------
    >>> k = np.array([[[0.0, -np.pi], [0.0, np.pi / 2]]])
    >>> to_peer("sigpy", k, (64, 64))
    array([[[  0., -32.],
            [  0.,  16.]]])
    >>> to_peer("bart", k, (64, 64))[:, :, 0]
    array([[-32.,  16.],
           [  0.,   0.],
           [  0.,   0.]])
    """
    k = np.asarray(trajectory, np.float64)
    if k.ndim != 3 or k.shape[-1] != len(shape):
        raise ValueError(
            f"trajectory of shape {k.shape} for an image of {shape}; give (shots, samples, {len(shape)})"
        )
    return _peer(package).to(k, tuple(shape))


def from_peer(package: str, points: Any, shape: Shape, *, shots: int = 1) -> Array:
    """A trajectory of another package in rad/voxel, (shots, samples, ndim).

    Parameters
    ----------
    package : str
        As in `to_peer`.
    points : ndarray or tuple of ndarray
        As that package takes them.
    shape : tuple of int
        Image grid; sets the number of axes that is used.
    shots : int
        Into how many shots a flat list of samples is divided; forms that know their shots keep them.

    Returns
    -------
    ndarray, (shots, samples, ndim)

    Raises
    ------
    ValueError
        If the package is unknown, or samples cannot be divided.

    Examples
    --------
    >>> k = np.linspace(-3, 3, 12).reshape(2, 3, 2)
    >>> bool(np.allclose(from_peer("torchkbnufft", to_peer("torchkbnufft", k, (8, 9)), (8, 9), shots=2), k))
    True
    """
    convention = _peer(package)
    try:
        k = np.asarray(convention.back(points, tuple(shape)), np.float64)
    except (ValueError, IndexError, TypeError) as why:
        raise ValueError(
            f"points do not have the form of {package} for an image of {shape} ({why}); see to_peer"
        ) from why
    if k.shape[-1] != len(shape):
        raise ValueError(
            f"points have {k.shape[-1]} axes, the image {len(shape)}; give the shape they belong to"
        )
    if k.ndim == 3 and len(k) > 1:
        return k
    flat = k.reshape(-1, len(shape))
    if shots < 1 or len(flat) % shots:
        raise ValueError(f"{len(flat)} samples cannot be divided into {shots} shots; give a divisor")
    return flat.reshape(shots, -1, len(shape))


def peer_scale(package: str, shape: Shape) -> float:
    """Factor from another package's forward transform to the orthonormal one here.

    Parameters
    ----------
    package : str
        As in `to_peer`.
    shape : tuple of int
        Image grid.

    Returns
    -------
    float
        ``ours = factor * theirs``, with the call of `to_peer`'s table.

    Raises
    ------
    ValueError
        If the package is unknown.

    Examples
    --------
    >>> peer_scale("finufft", (16, 16)), peer_scale("mri-nufft", (16, 16))
    (0.0625, 2.0)
    """
    return _peer(package).scale(tuple(shape))


def to_real_view(kspace: npt.NDArray[np.complexfloating[Any, Any]]) -> npt.NDArray[np.floating[Any]]:
    """Complex data as fastMRI keeps them: a trailing axis of real and imaginary part, the same memory.

    Parameters
    ----------
    kspace : ndarray of complex, (...)

    Returns
    -------
    ndarray of float, (..., 2)

    Raises
    ------
    ValueError
        If the data are real.

    Examples
    --------
    >>> to_real_view(np.array([1 + 2j]))
    array([[1., 2.]])
    """
    if not np.iscomplexobj(kspace):
        raise ValueError(f"data of type {kspace.dtype} are real already; give complex data")
    whole = np.ascontiguousarray(kspace)
    return np.asarray(whole.view(whole.real.dtype).reshape(*whole.shape, 2))


def from_real_view(pairs: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.complexfloating[Any, Any]]:
    """Native complex data from a trailing axis of real and imaginary part.

    Parameters
    ----------
    pairs : ndarray of float32 or float64, (..., 2)

    Returns
    -------
    ndarray of complex, (...)

    Raises
    ------
    ValueError
        If the last axis is not 2.

    Examples
    --------
    >>> from_real_view(np.array([[1.0, 2.0]]))
    array([1.+2.j])
    """
    if pairs.ndim < 1 or pairs.shape[-1] != 2 or pairs.dtype not in (np.float32, np.float64):
        raise ValueError(
            f"{pairs.dtype} of shape {pairs.shape}; give float32 or float64 with a last axis of 2"
        )
    return np.asarray(np.ascontiguousarray(pairs).view(np.result_type(pairs.dtype, np.complex64))[..., 0])


def _peer(package: str) -> Convention:
    if package not in PEERS:
        raise ValueError(f"package {package!r} is not one of {', '.join(PEERS)}")
    return PEERS[package]


def _cycles(shape: Shape) -> Array:
    """From rad/voxel to cycles per field of view."""
    return np.asarray(shape, np.float64) / (2 * math.pi)


def _axes(k: Array, _: Shape) -> tuple[Array, ...]:
    return tuple(np.ascontiguousarray(column) for column in k.reshape(-1, k.shape[-1]).T)


def _rows(k: Array, _: Shape) -> Array:
    return np.ascontiguousarray(k.reshape(-1, k.shape[-1]).T)


def _columns(points: Any, _: Shape) -> Array:
    return np.stack([np.asarray(p, np.float64) for p in points], axis=-1)


def _to_mrpro(k: Array, shape: Shape) -> tuple[Array, ...]:
    cycles = np.moveaxis(k * _cycles(shape), -1, 0)[:, None, None, None]
    absent = (np.zeros((1, 1, 1, 1, 1)),) * (3 - len(shape))
    return (*absent, *cycles)


def _from_mrpro(points: Any, shape: Shape) -> Array:
    parts = np.broadcast_arrays(*(np.asarray(p, np.float64) for p in points))
    used = np.stack(parts[-len(shape) :], axis=-1)
    return np.asarray(used.reshape(-1, *used.shape[-2:]) / _cycles(shape), np.float64)


def _to_bart(k: Array, shape: Shape) -> Array:
    cycles = (k * _cycles(shape))[..., ::-1]
    return np.ascontiguousarray(np.pad(cycles, ((0, 0), (0, 0), (0, 3 - len(shape)))).transpose(2, 1, 0))


def _from_bart(points: Any, shape: Shape) -> Array:
    k = np.real(np.asarray(points)).reshape(3, np.shape(points)[1], -1).transpose(2, 1, 0)
    return np.asarray(k[..., : len(shape)][..., ::-1] / _cycles(shape), np.float64)


def _same(_: Shape) -> float:
    return 1.0


def _orthonormal(shape: Shape) -> float:
    return float(math.prod(shape) ** -0.5)


def _doubled(shape: Shape) -> float:
    return float(2 ** (len(shape) / 2))


PEERS = {
    "sigpy": Convention(lambda k, n: k * _cycles(n), lambda p, n: np.asarray(p) / _cycles(n), _same, "nufft"),
    "finufft": Convention(_axes, _columns, _orthonormal, "nufft2d2"),
    "jax-finufft": Convention(_axes, _columns, _orthonormal, "nufft2"),
    "pytorch-finufft": Convention(_rows, _columns, _orthonormal, "finufft_type2"),
    "torchkbnufft": Convention(_rows, _columns, _orthonormal, "KbNufft"),
    "mri-nufft": Convention(
        lambda k, _: k / (2 * math.pi), lambda p, _: np.asarray(p) * (2 * math.pi), _doubled, "get_operator"
    ),
    "mirtorch": Convention(
        lambda k, n: _rows(k, n)[None], lambda p, n: _columns(np.asarray(p)[0], n), _doubled, "NuSense"
    ),
    "mrpro": Convention(_to_mrpro, _from_mrpro, _same, "FourierOp"),
    "bart": Convention(_to_bart, _from_bart, _same, "nufft"),
}
