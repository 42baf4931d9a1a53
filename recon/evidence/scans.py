"""Evidence for an image of a CT scan: the problem behind it is put together again."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayfold.operators import Volume
from rayfold.recon.data import Image, Scan
from rayfold.recon.evidence.assess import certify
from rayfold.recon.evidence.certificate import Certificate

MOST = 8  # slices of a volume: the evidence of one costs as much as a short reconstruction


def certify_scan(scan: Scan, image: Image, *, learned: bool = False) -> tuple[Certificate, tuple[int, ...]]:
    """Certificate of an image that was reconstructed from a scan.

    Parameters
    ----------
    scan : Scan
        Prepared, as `rayfold.recon.prepare` returns it: the data the image was made from.
    image : Image
        In 1/mm or 1/px, as `rayfold.recon.reconstruct` returns it, centred on the rotation axis.
    learned : bool
        It was made with the learned prior: say whether it looks like what that was trained on.

    Returns
    -------
    certificate : Certificate
        Photon noise is the scan's own, or estimated from its data where it states no dose.
    slices : tuple of int
        Which slices it is for: all of them, or eight spread evenly over a larger volume.

    Raises
    ------
    ValueError
        If the image is in other units, or not of this scan.

    Examples
    --------
    >>> from rayfold.operators import ParallelBeam
    >>> from rayfold.recon import fbp
    >>> rng = np.random.default_rng(0)
    >>> data = rng.normal(1.0, 0.01, (60, 48)).astype(np.float32)
    >>> scan = Scan(data, ParallelBeam.evenly(60, 48), "attenuation", unit="px")
    >>> certificate, slices = certify_scan(scan, fbp(scan))
    >>> slices, certificate.noise_estimated
    ((0,), True)
    """
    from rayfold.operators.xray import XRay
    from rayfold.recon.iterative import scan_noise
    from rayfold.recon.problem import Problem

    if image.unit not in ("1/mm", "1/px"):
        raise ValueError(f"the image is in {image.unit}; certify it in 1/mm, before it is converted")
    if scan.kind != "attenuation":
        raise ValueError(f"the scan holds {scan.kind}; prepare it first, as the image's data were")
    n = scan.n_rows
    if (1 if image.array.ndim == 2 else image.shape[0]) != n:
        raise ValueError(f"the image has shape {image.shape}, the scan {n} rows; they do not belong together")
    picked = np.unique(np.linspace(0, n - 1, min(n, MOST)).round().astype(int))
    y = np.asarray(scan.sinograms, np.float32)
    x = np.asarray(image.array, np.float32)
    if y.ndim == 3:
        y, x = y[picked], x[picked]
    volume = Volume(image.shape[-2:], image.spacing[-2:])
    problem: Any = Problem(XRay(volume, scan.beam), y, scan_noise(scan), image.unit)
    return certify(problem, x, learned=learned), tuple(int(i) for i in picked)
