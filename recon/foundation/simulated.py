"""Scans to adapt to: measured ones as problems, and synthetic images scanned by a protocol."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from rayfold.operators import Volume
from rayfold.recon.data import Image, Scan
from rayfold.recon.errors import InconsistentInput
from rayfold.recon.kspace import KSpace
from rayfold.recon.problem import Problem
from rayfold.recon.protocol.facts import unknown
from rayfold.recon.train.sample import Sample

SIDE = 128  # pixels of simulated CT images
BRIGHT = 0.02  # 1/mm, of what families draw as 1


def samples_of(scan: Scan | KSpace, truth: Image | None = None) -> list[Sample]:
    """The problems that the method "prior" solves for a scan.

    Parameters
    ----------
    scan : Scan or KSpace
        Raw or prepared.
    truth : Image, optional
        Its true image, on the grid on which it is reconstructed; CT in 1/mm.

    Raises
    ------
    InconsistentInput
        If the true image is of another grid or unit.
    """
    samples = _of_kspace(scan) if isinstance(scan, KSpace) else _of_sinograms(scan)
    if truth is None:
        return samples
    if isinstance(scan, Scan) and truth.unit != "1/mm":
        raise InconsistentInput(f"the true image is in {truth.unit}; CT needs 1/mm")
    grid = samples[0].problem.A.in_shape
    n = sum(len(s.problem.y) if s.problem.y.ndim > len(s.problem.A.out_shape) else 1 for s in samples)
    array = np.asarray(truth.array)
    if array.size != n * int(np.prod(grid)):
        raise InconsistentInput(
            f"the true image has shape {truth.shape}, the scan gives {n} of {grid}; bring it to this grid"
        )
    images = array.reshape(n, *grid)
    if len(samples) == 1:
        one = samples[0].problem
        whole = images if one.y.ndim > len(one.A.out_shape) else images[0]
        return [Sample(one, np.ascontiguousarray(whole))]
    return [Sample(s.problem, np.ascontiguousarray(x)) for s, x in zip(samples, images, strict=True)]


def _of_sinograms(scan: Scan) -> list[Sample]:
    from rayfold.operators.xray import XRay
    from rayfold.recon.iterative import scan_noise
    from rayfold.recon.methods import plan
    from rayfold.recon.preprocess import prepare

    volume = plan(scan, "prior").volume
    scan = prepare(scan)
    data = np.asarray(scan.sinograms, np.float32).reshape(-1, scan.n_views, scan.n_cols)
    return [Sample(Problem(XRay(volume, scan.beam), data, scan_noise(scan), "1/mm"))]


def _of_kspace(scan: KSpace) -> list[Sample]:
    from rayfold.recon.mri.model import Model
    from rayfold.recon.mri.prepare import cut_readout, remove_ghost, whiten

    model = Model.of(*whiten(cut_readout(remove_ghost(scan))))
    return [Sample(model.problem(index)) for index in model.indices()]


def simulated(protocol: Any, family: str, n: int, seed: int = 0, *, side: int = SIDE) -> Sample:
    """Synthetic images scanned by a protocol; CT data are made on a grid twice as fine.

    Parameters
    ----------
    protocol : Protocol
        CT or MRI.
    family : str
        A key of `rayfold.recon.phantoms.FAMILIES`.
    n : int
        Images.
    seed : int
        Of images and noise.
    side : int
        Of CT images, which fill the field of view; MRI protocols state a matrix.

    Raises
    ------
    ValueError
        If there is no such family.

    Examples
    --------
    >>> from rayfold.recon.protocol import CTProtocol
    >>> simulated(CTProtocol(views=8, cols=24), "foam", 2, side=16).truth.shape
    (2, 16, 16)
    """
    from rayfold.recon.phantoms import FAMILIES
    from rayfold.recon.protocol.simulate_ct import of_pixels

    if family not in FAMILIES:
        raise ValueError(f"there is no family {family!r}; {unknown(family, FAMILIES)}")
    ct = protocol.modality == "CT"
    volume = protocol.volume(side) if ct else protocol.volume()
    shape = tuple(2 * k for k in volume.shape)
    drawn = np.stack([FAMILIES[family].draw(shape, seed * 1_000_003 + k) for k in range(n)])
    fine = np.abs(drawn) * BRIGHT if ct else drawn.astype(np.complex64)
    parts = [fine.real, fine.imag] if np.iscomplexobj(fine) else [fine]
    small = [F.avg_pool2d(torch.from_numpy(np.ascontiguousarray(p))[:, None], 2)[:, 0].numpy() for p in parts]
    truth = small[0] if ct else (small[0] + 1j * small[1]).astype(np.complex64)
    A = protocol.operator(volume)
    if ct:
        half = tuple(s / 2 for s in volume.steps)
        clean = of_pixels(protocol, fine.astype(np.float32), Volume(shape, half, volume.centre))
    else:
        clean = A(truth)
    scale = protocol.scale(truth, clean)
    y = protocol.measure(clean, scale=scale, seed=seed)
    return Sample(Problem(A, y, protocol.noise(scale), "1/mm" if ct else "a.u."), truth)
