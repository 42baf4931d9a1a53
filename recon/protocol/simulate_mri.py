"""Raw MRI data of a protocol: what the coils receive of an object on a finer grid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from rayfold.operators.fourier import fft, ifft
from rayfold.recon.kspace import KSpace
from rayfold.recon.mri.grid import crop
from rayfold.recon.mri.simulate import simulate_kspace
from rayfold.recon.problem import Problem
from rayfold.recon.protocol.objects import finer

if TYPE_CHECKING:
    from rayfold.recon.protocol.mri import MRIProtocol

Array = Any


def simulate(p: MRIProtocol, image: Any, seed: int) -> KSpace:
    """Raw data with a noise scan, see `MRIProtocol.simulate`."""
    x = finer(image, p.matrix, p.field_of_view_mm, seed=seed)
    return simulate_kspace(
        x,
        p.matrix,
        maps=p.maps(x.shape),
        sampled=None if not p.cartesian or p.pattern == "full" else p.mask,
        trajectory=None if p.cartesian else p.trajectory,
        snr=p.snr * math.sqrt(p.averages),
        correlation=0.0,
        field_of_view=p.field_of_view_mm,
        seed=seed,
    )


def problem(p: MRIProtocol, image: Any, seed: int) -> Problem:
    """The same data as a problem with the coil maps known, see `MRIProtocol.problem`."""
    x = finer(image, p.matrix, p.field_of_view_mm, seed=seed)
    data = simulate(p, x, seed).data
    return Problem(p.operator(), data, p.noise(float(np.abs(x).max())), "a.u.")


def truth(p: MRIProtocol, image: Any) -> Array:
    """The image of all of k-space within the matrix, without noise, complex64."""
    x = finer(image, p.matrix, p.field_of_view_mm)
    scale = np.float32(math.sqrt(math.prod(p.matrix) / x.size))
    return ifft(crop(fft(x, (-2, -1)), p.matrix, (-2, -1)), (-2, -1)) * scale
