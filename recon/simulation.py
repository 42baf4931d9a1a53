"""Raw CT data of a known object: exact line integrals of its ellipses, bin averages, then noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayfold.operators import FanBeam, ParallelBeam
from rayfold.operators.noise import PoissonTransmission
from rayfold.recon.data import Scan
from rayfold.recon.ellipses import ellipse_sinogram

Array = Any


def simulate(
    table: Array,
    beam: ParallelBeam | FanBeam,
    noise: PoissonTransmission,
    *,
    seed: int = 0,
    sub_bins: int = 4,
    n_flats: int = 16,
    mu_water: float | None = None,
    name: str = "simulated",
) -> Scan:
    """Simulate raw counts with open-beam frames; no pixel grid is involved, so there is no inverse crime.

    Parameters
    ----------
    table : array_like, (n, 6)
        Ellipses, see `rayfold.recon.ellipses`.
    beam : ParallelBeam or FanBeam
        Geometry in mm.
    noise : PoissonTransmission
        Photons per pixel and electronic noise; flats are drawn from it too.
    seed : int
        Seed of the noise.
    sub_bins : int
        Rays averaged over each bin.
    n_flats : int
        Open-beam frames.
    mu_water : float, optional
        Attenuation of water in 1/mm, stored with the scan.
    name : str
        Source recorded in the scan.

    Returns
    -------
    Scan
        Counts ``(views, cols)`` with flats and darks.

    Examples
    --------
    >>> disc = [[0.02, 30.0, 30.0, 0.0, 0.0, 0.0]]
    >>> simulate(disc, ParallelBeam.evenly(10, 64), PoissonTransmission(1e4)).kind
    'counts'
    """
    p = ellipse_sinogram(np.asarray(table, float), beam, sub_bins=sub_bins)
    counts = noise.counts(p, seed)
    flat = noise.counts(np.zeros((n_flats, beam.n_cols)), seed + 1)
    dark = np.zeros((1, beam.n_cols), np.float32)
    return Scan(
        counts, beam, "counts", flat=flat, dark=dark, photons=noise.photons, mu_water=mu_water, source=name
    )
