"""Zingers and rings, removed by Algotom's methods (https://algotom.readthedocs.io) row by row."""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Scan

Array = npt.NDArray[Any]
RINGS = {
    "all": "remove_all_stripe",
    "sorting": "remove_stripe_based_sorting",
    "filtering": "remove_stripe_based_filtering",
    "fitting": "remove_stripe_based_fitting",
    "dead": "remove_dead_stripe",
}
DARKEST = 5.0
CURE = 'this step needs Algotom; install it with: pip install "rayfold[preprocess]"'


def remove_zingers(scan: Scan, *, threshold: float | None = None, size: int = 2) -> Scan:
    """Replace single values far brighter than their neighbours in view and column (hits on the sensor).

    Parameters
    ----------
    scan : Scan
        Of any kind; attenuation is judged by its transmission, where a zinger is bright.
    threshold : float, optional
        Excess over the mean of the neighbours, relative to it; by default 0.08, or six times the scan's own
        noise where that is more.
    size : int
        Largest width of a zinger in bins.

    Returns
    -------
    Scan
        With a note of how many values were replaced.

    Raises
    ------
    ImportError
        If Algotom is not installed.
    ValueError
        If `threshold` or `size` is not positive.

    Examples
    --------
    >>> from rayfold.operators.geometry import ParallelBeam
    >>> data = np.ones((16, 32), np.float32)
    >>> data[5, 9] = 7
    >>> remove_zingers(Scan(data, ParallelBeam.evenly(16, 32), "transmission")).notes
    ('1 zingers removed',)
    """
    if size < 1 or (threshold is not None and not threshold > 0):
        raise ValueError(f"threshold {threshold} and size {size} must be positive")
    method = _algotom("remove_zinger")
    log = scan.kind == "attenuation"
    # Attenuation in unknown units (some files hold hundreds) would underflow as a transmission.
    scale = max(1.0, float(np.nanquantile(scan.data, 0.999)) / DARKEST) if log else 1.0
    count = 0
    data = np.array(scan.data, dtype=_single(scan.data))
    for sinogram in _sinograms(data):
        bright = np.exp(np.minimum(-sinogram / scale, 80)) if log else sinogram
        # Algotom compares with neighbours modulo the size; mirrored margins keep opposite ends apart.
        wide = np.pad(bright, size, mode="reflect")
        limit = max(0.08, 6 * _noise(wide, size)) if threshold is None else threshold
        clean = method(wide, limit, size=size)[size:-size, size:-size]
        hit = clean != bright
        sinogram[hit] = -scale * np.log(np.maximum(clean[hit], 1e-30)) if log else clean[hit]
        count += int(hit.sum())
    return scan.did("remove_zingers", data=data, notes=(*scan.notes, f"{count} zingers removed"))


def remove_rings(scan: Scan, *, method: str = "sorting", **options: float) -> Scan:
    """Remove the stripes of a sinogram that become rings in the image.

    Parameters
    ----------
    scan : Scan
        Transmission or attenuation.
    method : {"sorting", "all", "filtering", "fitting", "dead"}
        "sorting" for partial stripes, "all" for every kind (three methods in turn), "filtering" and "fitting"
        for smooth ones, "dead" for blind or fluctuating pixels.
        The gentlest is "sorting"; the others also change the structure of the object.
    **options
        Passed to Algotom's function of that method, as ``size``.

    Returns
    -------
    Scan
        With the stripes removed.

    Raises
    ------
    ImportError
        If Algotom is not installed.
    ValueError
        If there is no such method or option, or the scan still holds raw counts.

    Examples
    --------
    >>> from rayfold.operators.geometry import ParallelBeam
    >>> data = np.random.default_rng(0).random((40, 64)) * 0.01
    >>> data[:, 30] += 1
    >>> clean = remove_rings(Scan(data, ParallelBeam.evenly(40, 64), "attenuation"))
    >>> bool(clean.data[:, 30].mean() < 0.1)
    True
    """
    if method not in RINGS:
        raise ValueError(f"there is no ring removal {method!r}; use one of {', '.join(RINGS)}")
    if scan.kind == "counts":
        raise ValueError("ring removal needs normalised data; run normalise first")
    function = _algotom(RINGS[method])
    known = [name for name, p in signature(function).parameters.items() if p.default is not Parameter.empty]
    for name in options:
        if name not in known:
            raise ValueError(f"{method!r} has no option {name!r}; use {', '.join(known)}")
    data = np.array(scan.data, dtype=_single(scan.data))
    for sinogram in _sinograms(data):
        sinogram[...] = function(sinogram.copy(), **options)
    return scan.did(f"remove_rings({method})", data=data)


def _sinograms(data: Array) -> list[Array]:
    """Views of ``(views, [rows,] cols)`` as sinograms, one per row, to be changed in place."""
    return [data] if data.ndim == 2 else [data[:, row] for row in range(data.shape[1])]


def _noise(bright: Array, size: int) -> float:
    """Relative deviation of a value from the mean of its neighbours, robust against outliers."""
    shifts = ((size, 0), (-size, 0), (0, size), (0, -size))
    around: Array = np.mean([np.roll(bright, shift, (0, 1)) for shift in shifts], axis=0)
    part = (bright - around)[around > 0] / around[around > 0]
    return float(1.4826 * np.median(np.abs(part - np.median(part)))) if part.size else 0.0


def _single(data: Array) -> np.dtype[Any]:
    return data.dtype if data.dtype.kind == "f" else np.dtype(np.float32)


def _algotom(name: str) -> Callable[..., Array]:
    try:
        from algotom.prep import removal
    except ImportError as error:
        raise ImportError(CURE) from error
    function: Callable[..., Array] = getattr(removal, name)
    return function
