"""Random protocols: what a prior trains on, so that no geometry, dose or pattern is special to it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from rayfold.operators.geometry import Volume
from rayfold.recon.protocol.ct import CTProtocol
from rayfold.recon.protocol.mri import MRIProtocol

Generator = np.random.Generator


def random_ct(rng: Generator, volume: Volume) -> CTProtocol:
    """A CT protocol whose rays see all of a volume: sparse, limited, or with few photons.

    60 % of them have 20 to 180 views over a full range, 20 % as many over 30 to 180 degrees (parallel) or 30
    to 300 degrees (fan), 20 % 360 to 1000 views; all numbers of views are log-uniform. Half of the beams are
    parallel, the others fans. Noise: photons 1e3 to 1e5 (always with 360 views or more, and half of the
    others, a third of these with electronic noise), or Gaussian of 0.03 to 3 % of the mean datum, all
    log-uniform.

    Parameters
    ----------
    rng : numpy.random.Generator
        All randomness.
    volume : Volume
        Grid of the images, ``(ny, nx)``.

    Raises
    ------
    ValueError
        If the volume is not two-dimensional.

    Examples
    --------
    >>> p = random_ct(np.random.default_rng(0), Volume((128, 128), 2.0))
    >>> p.operator(Volume((128, 128), 2.0)).in_shape
    (128, 128)
    """
    _check(volume)
    kind = rng.choice(("sparse", "limited", "dense"), p=(0.6, 0.2, 0.2))
    geometry = str(rng.choice(("parallel", "fan", "curved-fan"), p=(0.5, 0.25, 0.25)))
    parallel = geometry == "parallel"
    views = _log_whole(rng, 360, 1000) if kind == "dense" else _log_whole(rng, 20, 180)
    full = (180.0, 360.0)[int(rng.random() < 0.3)] if parallel else 360.0
    span = rng.uniform(30.0, 180.0 if parallel else 300.0) if kind == "limited" else full
    changes: dict[str, Any] = {
        "geometry": geometry,
        "views": views,
        "span_deg": span,
        "start_deg": rng.uniform(0, 360),
    }
    few = kind == "dense" or rng.random() < 0.5
    if few:
        photons = _log(rng, 1e3, 1e5)
        noisy = rng.random() < 1 / 3
        changes |= {"photons": photons, "electronic": _log(rng, 1, 10) if noisy else 0.0}
    else:
        changes |= {"noise_percent": _log(rng, 0.03, 3)}
    return CTProtocol(**changes | _detector(rng, volume, geometry))


def _detector(rng: Generator, volume: Volume, geometry: str) -> dict[str, float]:
    """Bins of 0.75 to 1.5 pixels at the axis that see the corners of the volume."""
    reach = math.hypot(*volume.extent) / 2 + max(abs(c) for c in volume.middle)
    width = rng.uniform(0.75, 1.5) * min(volume.steps)
    if geometry == "parallel":
        return {"cols": 1 + math.ceil(2 * reach / width), "pitch_mm": width}
    axis = rng.uniform(2.0, 6.0) * reach
    distance = rng.uniform(1.3, 2.2) * axis
    half = math.asin(reach / axis)
    edge = distance * (half if geometry == "curved-fan" else math.tan(half))
    pitch = width * distance / axis
    return {
        "cols": 1 + math.ceil(2 * edge / pitch),
        "pitch_mm": pitch,
        "source_to_axis_mm": axis,
        "source_to_detector_mm": distance,
    }


def random_mri(rng: Generator, volume: Volume) -> MRIProtocol:
    """An MRI protocol for a volume: accelerated masks, spokes or spirals, one coil or many.

    R is log-uniform from 2 to 10 and at most what the coils and the pattern can bear: equispaced lines stop
    at R = 4, and with one coil at 2. A quarter each: equispaced lines, random or Gaussian lines, Poisson
    discs, and trajectories (spokes, golden-angle spokes, spirals). One coil in 30 %, else 4, 8, 12 or 16;
    noise: snr 10 to 3000, log-uniform.

    Parameters
    ----------
    rng : numpy.random.Generator
        All randomness.
    volume : Volume
        Grid of the images, ``(ny, nx)``, 32 or more.

    Raises
    ------
    ValueError
        If the volume is not two-dimensional.

    Examples
    --------
    >>> p = random_mri(np.random.default_rng(0), Volume((128, 128), 2.0))
    >>> p.operator(Volume((128, 128), 2.0)).in_shape
    (128, 128)
    """
    _check(volume)
    ny, nx = volume.shape
    coils = int(rng.choice((1, 4, 8, 12, 16), p=(0.3, 0.2, 0.2, 0.1, 0.2)))
    kind = str(rng.choice(("equispaced", "lines", "poisson", "shots")))
    R = _log(rng, 2, 10)
    changes: dict[str, Any]
    if kind == "equispaced":
        most = 2 if coils == 1 else 4
        changes = {"acceleration": int(rng.integers(2, most + 1)), "calibration": _middle(rng, ny, 3)}
    elif kind == "lines":
        R = min(R, 6.0)
        pattern = str(rng.choice(("random", "gaussian")))
        changes = {"pattern": pattern, "acceleration": R, "calibration": _middle(rng, ny, R)}
    elif kind == "poisson":
        changes = {"acceleration": R, "calibration": int(rng.integers(6, 13))}
    else:
        pattern = str(rng.choice(("radial", "golden-radial", "spiral"), p=(0.4, 0.4, 0.2)))
        shots = max(1, round((math.pi / 2 * max(ny, nx) if pattern != "spiral" else 32) / R))
        changes = {"pattern": pattern, "shots": shots}
    if kind in ("equispaced", "poisson"):
        changes["pattern"] = kind
    if kind in ("lines", "poisson"):
        changes["pattern_seed"] = int(rng.integers(2**31))
    return MRIProtocol(
        **changes,
        matrix=(ny, nx),
        field_of_view_mm=(volume.extent[0], volume.extent[1]),
        coils=coils,
        snr=_log(rng, 10, 3000),
    )


def _middle(rng: Generator, n: int, R: float) -> int:
    """Calibration lines: 4 to 8 % of all, a good half of the budget at most."""
    return max(2, min(round(rng.uniform(0.04, 0.08) * n), int(0.6 * n / R)))


def _check(volume: Volume) -> None:
    if len(volume.shape) != 2:
        raise ValueError(f"the volume has shape {volume.shape}; protocols are of one slice (ny, nx)")


def _log(rng: Generator, low: float, high: float) -> float:
    return float(math.exp(rng.uniform(math.log(low), math.log(high))))


def _log_whole(rng: Generator, low: int, high: int) -> int:
    return round(_log(rng, low, high))
