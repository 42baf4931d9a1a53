"""Bins of a detector that is much finer than the pixels of the image, merged to nearly their width."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rayfold.operators.geometry import FanBeam, ParallelBeam
from rayfold.operators.noise import Gaussian
from rayfold.operators.xray import XRay
from rayfold.recon.problem import Problem

WIDEST = 0.8  # of a pixel: merged bins


def merged_bins(problem: Problem) -> Problem:
    """The problem with as many neighbouring bins merged as fit into most of a pixel, at the rotation axis.

    A pixel is the mean over its area. Rays much closer than pixels see edges and detail that no image of
    such pixels explains, and filtered back-projection, which interpolates between the two bins that are
    nearest to a pixel, leaves the data of the others out. The mean of k line integrals has less misfit, a
    k-th of the variance, and costs a k-th. Up to `WIDEST` pixels it tells nearly as much: of the finest
    frequencies along a view ``sinc(0.4) = 0.76`` are left, along a diagonal ``sinc(0.57) = 0.55``.

    Parameters
    ----------
    problem : Problem
        Of tensors, with Gaussian noise or none.

    Returns
    -------
    Problem
        With data ``(..., views, ceil(cols / k))``; the same where bins are wider than half of that, and for
        operators other than the projections of a slice along the rays of one beam. Bins without weight are
        left out of a mean.

    Examples
    --------
    >>> from rayfold.operators import Volume
    >>> A = XRay(Volume((32, 32), 2.0), ParallelBeam.evenly(6, 130, pitch=0.4))
    >>> coarse = merged_bins(Problem(A, torch.ones(6, 130), Gaussian(0.2)))
    >>> coarse.A.beam.shape, coarse.A.beam.pitch, round(coarse.noise.sigma[0, 0].item(), 3)
    ((6, 33), 1.6, 0.1)
    """
    A, noise = problem.A, problem.noise
    if not isinstance(A, XRay) or not isinstance(A.beam, ParallelBeam | FanBeam):
        return problem
    k = int(WIDEST * min(A.volume.steps) / A.beam.resolution + 1e-6)
    if k < 2 or (isinstance(noise, Gaussian) and noise.covariance is not None):
        return problem
    beam, extra = A.beam, -A.beam.n_cols % k
    wide = replace(
        beam,
        n_cols=(beam.n_cols + extra) // k,
        pitch=k * beam.pitch,
        detector_offset=beam.detector_offset + extra * beam.pitch / 2,
    )

    def total(x: Tensor) -> Tensor:  # of k neighbours
        return torch.nn.functional.pad(x, (0, extra)).reshape(*x.shape[:-1], -1, k).sum(-1)

    y, A = problem.y, replace(A, beam=wide)
    strength = problem.whiten(torch.ones_like(y.real if y.is_complex() else y))
    live = strength > 0
    n = total(live.to(strength.dtype)).clamp(min=1)
    mean = total(torch.where(live, y, 0)) / n
    if noise is None:
        return problem._replace(A=A, y=mean)
    variance = total(torch.where(live, 1 / torch.where(live, strength, 1) ** 2, 0)) / n**2
    weights = torch.where(variance > 0, 1 / torch.where(variance > 0, variance, 1), 0)
    return problem._replace(A=A, y=mean, noise=Gaussian.from_weights(weights))
