"""The physics of a scan: coil maps, and for every image its operator, data and noise as one `Problem`."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from rayfold.operators import LinearOperator
from rayfold.operators.noise import Gaussian
from rayfold.recon.device import to_device
from rayfold.recon.kspace import KSpace
from rayfold.recon.mri.combine import root_sum_of_squares
from rayfold.recon.mri.espirit_maps import espirit
from rayfold.recon.mri.whiten import Whitening
from rayfold.recon.problem import Problem

Array = Any
Index = tuple[int, ...]
ONE_SCAN = ("average", "repetition", "phase")  # together they measure one set of coil maps
CROP, SOFT = 0.93, 0.05  # maps fade where the object ends; benchmarks/mri_brain.py
CENTRE = 24  # of the k-space a trajectory is gridded to, for coil maps


@dataclass(frozen=True, eq=False)
class Model:
    """A prepared scan with its coil maps.

    Attributes
    ----------
    scan : KSpace
        Whitened.
    maps : ndarray, (slices, coils, *grid)
        One entry for all where there are no slices.
    noise_estimated : bool
        The noise was estimated from the data.
    device : str
        "cpu" or "cuda:N".
    """

    scan: KSpace
    maps: Array
    noise_estimated: bool
    device: str = "cpu"

    @classmethod
    def of(cls, scan: KSpace, white: Whitening, device: str = "cpu") -> Model:
        """Coil maps of a whitened scan by ESPIRiT, slice by slice."""
        return cls(scan, coil_maps(scan), white.estimated, device)

    def indices(self) -> Iterator[Index]:
        """Of every image, along the leading axes of the scan."""
        return itertools.product(*(range(self.scan.size(name)) for name in self.scan.leading))

    def maps_of(self, index: Index) -> Array:
        """Coil maps of an image's slice, ``(coils, *grid)``."""
        names = self.scan.leading
        at = index[names.index("slice")] if "slice" in names and len(self.maps) > 1 else 0
        return self.maps[at]

    def brightness(self, index: Index) -> Array:
        """How strongly the coils see each voxel: 1 inside the object, 0 where no coil sees anything.

        A solver's image times this is 0 outside, whatever a penalty would put there, and falls off smoothly
        where the maps do.
        """
        return root_sum_of_squares(self.maps_of(index))

    def encoding(self, index: Index) -> LinearOperator:
        """From coil images to data, ``(coils, *grid)`` or its last axes."""
        from rayfold.operators import FFT, NUFFT, CartesianMask, Composed

        scan, grid = self.scan, self.scan.grid
        if not scan.cartesian:
            return NUFFT(grid, entry(scan.trajectory, index, len(scan.k_axes) + 1))
        if scan.sampled is None:
            return FFT(grid)
        sampled = entry(scan.sampled, index, len(grid)).astype(np.float32)
        return Composed.of(CartesianMask(grid, sampled), FFT(grid))

    def problem(self, index: Index = ()) -> Problem:
        """SENSE: one image from the data of all coils."""
        from rayfold.operators import CoilSensitivities

        y = to_device(self.device, np.ascontiguousarray(self.scan.data[index], dtype=np.complex64))
        A = self.encoding(index) @ CoilSensitivities(self.maps_of(index))
        return Problem(A, y, self._noise(index), "a.u.")

    def _noise(self, index: Index) -> Gaussian:
        scan = self.scan
        if scan.cartesian and scan.sampled is not None:
            weights = entry(scan.sampled, index, len(scan.grid)).astype(np.float32)
            sigma = Gaussian.from_weights(
                to_device(self.device, np.broadcast_to(weights, scan.grid).copy())
            ).sigma
        else:
            sigma = 1.0
        return Gaussian(sigma, estimated=self.noise_estimated)

    @cached_property
    def density(self) -> Array:
        """Density weights of the trajectory, ``(..., shots, samples)``."""
        return density_weights(self.scan)


def entry(companion: Array, index: Index, behind: int) -> Array:
    """Entry of an array that goes along with the leading axes of the data, or is the same along some.

    Parameters
    ----------
    companion : ndarray
        With `behind` axes of its own, and before them leading axes, of length 1, or absent.
    index : tuple of int
        Of an image, along all leading axes.
    behind : int
        Number of its own axes.
    """
    lead = companion.shape[: max(0, companion.ndim - behind)]
    at = index[len(index) - len(lead) :]
    found: Array = companion[tuple(0 if n == 1 else i for n, i in zip(lead, at, strict=True))]
    return found


def density_weights(scan: KSpace) -> Array:
    """Density compensation of a trajectory: analytic for spokes, by iteration for any other.

    Returns
    -------
    ndarray
        Of the shape of the trajectory without its last axis.
    """
    from rayfold.recon.trajectories import pipe_menon, radial_weights

    k = np.asarray(scan.trajectory)
    behind = len(scan.k_axes) + 1
    flat = k.reshape(-1, *k.shape[k.ndim - behind :])

    def weigh(one: Array) -> Array:
        try:
            return radial_weights(one, scan.grid)
        except ValueError:  # no spokes through the centre
            return pipe_menon(one, scan.grid)

    return np.stack([weigh(one) for one in flat]).reshape(k.shape[:-1])


def coil_maps(scan: KSpace) -> Array:
    """Coil maps of every slice from the calibration lines, the fully sampled centre, or a gridded centre.

    Parameters
    ----------
    scan : KSpace
        Best whitened.

    Returns
    -------
    ndarray of complex64, (slices, coils, *grid)
        Ones where there is a single coil.

    Raises
    ------
    ValueError
        If k-space has no fully measured centre that is large enough, with the cure.
    """
    ndim = len(scan.grid)
    names = scan.leading
    data, sampled = (scan.data, scan.sampled) if scan.cartesian else (_gridded(scan), None)
    if scan.calibration is not None:
        data, sampled = scan.calibration, scan.calibration_sampled
        names = names[len(names) - (data.ndim - ndim - 1) :]
    mask = np.ones((1,) * ndim, bool) if sampled is None else np.asarray(sampled)
    mask = mask.reshape((1,) * (len(names) + ndim - mask.ndim) + mask.shape)
    for name in reversed([n for n in names if n != "slice"]):
        axis = names.index(name)
        if name in ONE_SCAN and mask.shape[axis] > 1:
            # frames that are sampled differently fill each other up
            count = mask.sum(axis=axis, dtype=np.float32)
            data = data.sum(axis=axis) / np.maximum(np.expand_dims(count, len(names) - 1), 1)
            mask = count > 0
        elif name in ONE_SCAN:
            data, mask = data.mean(axis=axis), mask.take(0, axis=axis)
        else:  # echoes differ in phase and contrast: the first one has the most signal
            data, mask = data.take(0, axis=axis), mask.take(0, axis=axis)
        names = names[:axis] + names[axis + 1 :]
    if not names:
        data, mask = data[None], mask.reshape(1, *mask.shape[-ndim:])
    if scan.n_coils == 1:
        return np.ones((1, 1, *scan.grid), np.complex64)
    made = []
    for i, one in enumerate(data):
        known = mask[min(i, len(mask) - 1)]
        block = np.ascontiguousarray(one)
        made.append(espirit(block, sampled=known, shape=scan.grid, crop=CROP, soft=SOFT).maps)
    return np.stack(made).astype(np.complex64)


def _gridded(scan: KSpace) -> Array:
    """The centre of k-space on the grid, from a trajectory: coil images of low resolution, transformed."""
    from rayfold.operators import NUFFT
    from rayfold.operators.fourier import fft
    from rayfold.recon.mri.grid import crop

    ndim, lead = len(scan.grid), scan.data.shape[: len(scan.leading)]
    behind = len(scan.k_axes) + 1
    k, w = np.asarray(scan.trajectory), density_weights(scan)
    out = np.empty((*lead, scan.n_coils, *(min(CENTRE, n) for n in scan.grid)), np.complex64)
    for index in np.ndindex(*lead):
        at = tuple(
            0 if n == 1 else i
            for n, i in zip(k.shape[: k.ndim - behind], index[len(index) - (k.ndim - behind) :], strict=True)
        )
        images = NUFFT(scan.grid, k[at]).H((scan.data[index] * w[at]).astype(np.complex64))
        axes = tuple(range(-ndim, 0))
        out[index] = crop(fft(images, axes), out.shape[-ndim:], axes)
    return out


def without_maps(scan: KSpace) -> Array:
    """Root sum of squares of the coil images: what there is without coil maps, ``(..., *grid)``."""
    from rayfold.operators.fourier import ifft

    axes = tuple(range(-len(scan.grid), 0))
    return root_sum_of_squares(ifft(scan.data, axes), axis=-len(scan.grid) - 1)
