"""What the data say about each frequency of the image: the spectrum of ``A.H W A``, measured on one point."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rayfold.operators import LinearOperator
from rayfold.recon.foundation.frequencies import Frequencies, n_coils
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.normal import normal

NEAR = 0.04  # of the field of view: the part of the response that is kept where its aliases are resolved


def information(problem: Problem, gram: LinearOperator | None, grid: Frequencies) -> Tensor:
    """Spectrum of the impulse response of ``A.H W A`` at the centre, ``(..., *grid.full)``, never negative.

    Where the operator is nearly the same everywhere (projections around an object, samples of k-space) this
    diagonalises it: the inverse variance that the data alone give each frequency of the image, in units of
    the image to the power -2, for weights, masks and angles as they are. The response is faded out towards
    the borders of the image, which smooths the spectrum by the width of one frequency. Of Cartesian k-space
    from several coils only the part near the point is kept: they tell its aliases apart.

    Parameters
    ----------
    problem : Problem
        Of tensors, with Gaussian noise.
    gram : LinearOperator, optional
        Of `gram_of`.
    grid : Frequencies
        Of the spectrum.

    References
    ----------
    J. A. Fessler and S. D. Booth, IEEE Trans. Image Process. 8 (1999) 688, circulant preconditioners of
    tomography; T. F. Chan, SIAM J. Sci. Stat. Comput. 9 (1988) 766.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> from rayfold.operators.noise import Gaussian
    >>> problem = Problem(Identity((4, 4)), torch.zeros(4, 4), Gaussian(0.5))
    >>> information(problem, None, Frequencies((4, 4), (0, 0))).unique().tolist()
    [4.0]
    """
    shape = problem.A.in_shape
    y = problem.y
    complex_image = problem.A.field == "complex" or y.is_complex()
    real = y.real.dtype if y.is_complex() else y.dtype
    point = torch.zeros(shape, dtype=y.dtype if complex_image else real, device=y.device)
    point[tuple(n // 2 for n in shape)] = 1
    response = normal(problem, gram, point)
    axes, near = grid.axes, not any(grid.margin) and n_coils(problem.A) > 1
    for axis, n in zip(axes, shape, strict=True):
        place = (torch.arange(n, device=y.device, dtype=real) - n // 2) / n
        window = torch.exp(-((place / NEAR) ** 2) / 2) if near else torch.cos(math.pi * place) ** 2
        response = response * window.reshape(-1, *(1,) * (-axis - 1))
    pads = [m for margin in reversed(grid.margin) for m in (margin, margin)]
    wide = torch.fft.ifftshift(torch.nn.functional.pad(response, pads), dim=axes)
    spectrum: Tensor = torch.fft.fftn(wide, dim=axes).real
    return spectrum.clamp(min=0)


def image_spectrum(shape: tuple[int, ...], device: torch.device | str) -> Tensor:
    """Power of typical images by frequency, of mean 1 over ``(*shape)``: falls as the frequency to -2.5.

    References
    ----------
    D. J. Field, J. Opt. Soc. Am. A 4 (1987) 2379: amplitudes of images fall about as 1/f.

    Examples
    --------
    >>> round(image_spectrum((8, 8), "cpu").mean().item(), 3)
    1.0
    """
    squared = torch.zeros(shape, device=device)
    for axis, n in enumerate(shape):
        f = torch.fft.fftfreq(n, device=device) * 2
        squared = squared + (f**2).reshape(-1, *(1,) * (len(shape) - axis - 1))
    power = (squared + 0.02**2) ** -1.25
    return power / power.mean()
