"""Raw CT data of a protocol: what the detector sees of an object, and how it scatters."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rayfold.operators import Volume
from rayfold.operators.noise import PoissonTransmission
from rayfold.recon.data import Scan
from rayfold.recon.problem import Problem
from rayfold.recon.protocol.objects import CTObject

if TYPE_CHECKING:
    from rayfold.recon.protocol.ct import CTProtocol

Array = Any
SUB_BINS = 4  # rays over each bin
FLATS = 16  # open-beam frames
OFFSET = 8.0  # of the counts, in standard deviations of the electronic noise: raw counts are not negative


def expected(p: CTProtocol, thing: CTObject) -> Array:
    """Line integrals without noise, (views, cols): minus the log of the mean intensity over every bin.

    Intensities are blurred and averaged, as a detector does; not line integrals, as the operator does. Where
    they change within a bin the two differ.
    """
    from scipy.ndimage import gaussian_filter1d

    from rayfold.recon.protocol.ct import FWHM

    beam = p.beam
    fine = thing.line_integrals(replace(beam, n_cols=SUB_BINS * p.cols, pitch=p.pitch_mm / SUB_BINS))
    intensity = np.exp(-fine)
    if p.blur_fwhm_mm:
        sigma = p.blur_fwhm_mm / FWHM / p.pitch_mm * SUB_BINS
        intensity = gaussian_filter1d(intensity, sigma, axis=-1, mode="reflect")
    return -np.log(intensity.reshape(*beam.shape, SUB_BINS).mean(-1))


def of_pixels(p: CTProtocol, fine: Any, volume: Volume, rays: int = 2) -> Any:
    """Clean data of an image of fine pixels: the mean over several rays in each bin.

    Parameters
    ----------
    p : CTProtocol
        What is measured.
    fine : array, (..., ny, nx)
        Attenuation in the inverse of the unit of the volume.
    volume : Volume
        Of the fine image; pixels half as wide as a bin or less show what a bin hides.
    rays : int
        In each bin, evenly.

    Returns
    -------
    array, (..., views, cols)
    """
    halves = replace(p, cols=rays * p.cols, pitch_mm=p.pitch_mm / rays)
    data = halves.operator(volume)(fine)
    return data.reshape(*data.shape[:-1], p.cols, rays).mean(-1)


def simulate(p: CTProtocol, image: Any, seed: int) -> Scan:
    """Raw data, see `CTProtocol.simulate`."""
    clean = expected(p, _object(p, image, seed))
    about = {"mu_water": p.mu_water_per_mm, "source": f"simulated, {p.name}" if p.name else "simulated"}
    noise = p.noise(p.scale(None, clean))
    if not isinstance(noise, PoissonTransmission):
        return Scan(noise.sample(clean, seed).astype(np.float32), p.beam, "attenuation", **about)  # type: ignore[arg-type]
    apart = int(np.random.SeedSequence([seed, 1]).generate_state(1)[0])  # a stream of their own
    offset = np.float32(OFFSET * p.electronic)
    flat = noise.counts(np.zeros((FLATS, p.cols)), apart) + offset
    dark = np.full((1, p.cols), offset)
    counts = noise.counts(clean, seed) + offset
    return Scan(counts, p.beam, "counts", flat=flat, dark=dark, photons=noise.photons, **about)  # type: ignore[arg-type]


def problem(p: CTProtocol, image: Any, seed: int, volume: Volume | None) -> Problem:
    """The same data as a problem, see `CTProtocol.problem`."""
    thing = _object(p, image, seed)
    clean = expected(p, thing)
    scale = float(p.scale(None, clean).item())
    noise = p.noise(scale)
    y = noise.sample(clean, seed).astype(np.float32)
    return Problem(p.operator(volume or thing.grid), y, noise, "1/mm")


def _object(p: CTProtocol, image: Any, seed: int) -> CTObject:
    return CTObject.of(image, seed=seed, mu_water=p.mu_water_per_mm)
