"""Counted photons as data with Gaussian noise, without the bias that few counts bring."""

from __future__ import annotations

import torch
from torch import Tensor

from rayfold.operators.noise import Gaussian, PoissonTransmission
from rayfold.recon.problem import Problem

FEW = 100.0  # counts: with many more a datum needs no neighbours
ALONG = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)  # the detector
ACROSS = (1 / 4, 2 / 4, 1 / 4)  # views


def with_gaussian_noise(problem: Problem) -> Problem:
    """The problem with Gaussian noise; line integrals from counts are made and weighted at their local mean.

    The logarithm of n counts is too large by ``1 / 2n`` in the mean, and weights of n counts favour those
    that came out high: together a bias of the size of the noise where 10 photons arrive. The likelihood is
    therefore expanded at a line integral q that hardly depends on the datum itself: to second order it is
    that of ``q + 1 - n / m(q)``, m the expected counts, with the weight ``m(q)`` (less with electronic
    noise). Its mean is right but for the square of the error of q. That is the datum where counts are many
    and the mean over neighbours in the sinogram where they are few.

    Parameters
    ----------
    problem : Problem
        Of tensors; of any noise but `PoissonTransmission` of sinograms it is ``problem.quadratic()``.

    Returns
    -------
    Problem
        With data and standard deviations ``(..., views, cols)``, both without unit.

    References
    ----------
    J. A. Fessler, in Handbook of Medical Imaging 2 (SPIE 2000) 1, section 1.6: the bias of weights from data;
    P. McCullagh and J. A. Nelder, Generalized Linear Models (1989), section 2.5: the adjusted variate.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> noise = PoissonTransmission(1000.0)
    >>> y = noise.line_integrals(torch.poisson(torch.full((64, 64), 8.0)))
    >>> exact = -torch.log(torch.tensor(8 / 1000))
    >>> found = with_gaussian_noise(Problem(Identity((64, 64)), y, noise))
    >>> bool(abs(found.y.mean() - exact) < 0.02), bool(y.mean() - exact > 0.05)
    (True, True)
    """
    noise, y = problem.noise, problem.y
    if not isinstance(noise, PoissonTransmission) or len(problem.A.out_shape) != 2:
        return problem.quadratic()
    counts = noise.expected(y)
    own = ALONG[2] * ACROSS[1]  # left out: what the weight is made of must not know the datum
    near = (_smooth(_smooth(counts, ALONG, -1), ACROSS, -2) - own * counts).clamp(min=0) / (1 - own)
    few = FEW / (FEW + near)
    at = few * noise.line_integrals(near) + (1 - few) * y
    adjusted = at + 1 - counts / noise.expected(at)
    return problem._replace(y=adjusted, noise=Gaussian.from_weights(noise.weights(at)))


def _smooth(x: Tensor, kernel: tuple[float, ...], axis: int) -> Tensor:
    """Mean with neighbours along an axis; beyond the ends are the last values."""
    n, half = x.shape[axis], len(kernel) // 2
    place = torch.arange(n, device=x.device)
    parts = [
        weight * x.index_select(x.ndim + axis, (place + k - half).clamp(0, n - 1))
        for k, weight in enumerate(kernel)
    ]
    return torch.stack(parts).sum(0)
