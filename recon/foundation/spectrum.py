"""How strong the unknown image is in each octave, judged from the data before there is an image."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from rayfold.operators import FFT
from rayfold.operators.geometry import FanBeam, ParallelBeam
from rayfold.operators.noise import Gaussian
from rayfold.operators.xray import XRay
from rayfold.recon.arrays import along
from rayfold.recon.foundation.bands import BANDS, levels_of, masks, plane, radial, spectrum_of, sums_of
from rayfold.recon.foundation.directions import DataStep
from rayfold.recon.foundation.errors import drawn_noise
from rayfold.recon.foundation.frequencies import contains, first
from rayfold.recon.foundation.information import image_spectrum
from rayfold.recon.foundation.pixels import Deinterpolation
from rayfold.recon.problem import Problem

# of an octave over the next coarser one, both relative to `image_spectrum`
STEEPEST, FLATTEST, USUAL = (0.6, 0.5, 0.2), 1.1, 0.8
EDGE, ENOUGH = 0.85, 0.02  # of Nyquist; share of the samples beyond it that tells the floor of k-space
HEARD = 0.3  # of the noise: below, an octave is as usual
ROOM = 2.0  # over what is judged: detail is not spread evenly, and the network removes what is too much
SKIRT = 0.1  # of that noise, for rays that just miss the object: no datum is exact
APART = 2.0  # most that the distance of rays counts: closer ones meet no finer detail
PIXELS = 0.04  # of the second octave of the image: what is finer than a pixel, seen by a ray through one


def expected_spectrum(shape: tuple[int, ...], relative: Tensor) -> Tensor:
    """Spectral density of the image, from its levels ``(..., 4)`` relative to those of typical images.

    Parameters
    ----------
    shape : tuple of int
        Of the Fourier grid, of any number of axes.
    relative : Tensor, (..., 4)
        Of `relative_levels`.

    Returns
    -------
    Tensor, (..., *shape)
        In the units of the image squared, `ROOM` times what was judged.

    Examples
    --------
    >>> bool((expected_spectrum((8, 8), torch.ones(4)) > 0).all())
    True
    """
    typical = image_spectrum(shape, relative.device).to(relative.dtype)
    return ROOM * typical * spectrum_of(shape, relative)


def relative_levels(task: DataStep, light: Tensor | None, found: Tensor | None = None) -> Tensor:
    """Levels ``(..., 4)`` of the image by octave, over those of typical images of mean square 1.

    From filtered back-projection where there is one; for Cartesian k-space from the energy of the samples in
    each octave; else from the energy of ``b = A.H W y``, which is ``H^2 S + H`` per frequency for images of
    spectrum S. Each less its noise. What few or noisy data make of the fine octaves is not believed beyond
    what images do: a level falls to no less than `STEEPEST` and rises to no more than `FLATTEST` of that of
    the next coarser octave, and is `USUAL` where noise drowns it.

    Parameters
    ----------
    task : DataStep
        Of the problem; one application of ``A.H`` or of the approximate inverse.
    light : Tensor, (ny, nx), optional
        Of `brightness`.
    found : Tensor, (2, ..., *A.in_shape), optional
        Approximate inverses (`DataStep.inverse`) of the data and of drawn noise, where there is one.

    Returns
    -------
    Tensor, (..., 4)
        In the units of the image, from the finest to the coarsest octave.
    """
    problem, known, axes = task.problem, task.known, task.grid.axes
    n, cartesian = len(axes), task.back is None and len(axes) == 2 and contains(problem.A, FFT)
    typical = levels_of(plane(image_spectrum(problem.A.in_shape, known.device).to(known.dtype), n))
    if cartesian:
        own, noise = _of_samples(task, light)
    elif task.back is not None:
        if found is None:
            found = task.inverse(torch.stack([problem.y, drawn_noise(problem)]))
        own, noise = _of_inverse(task, light, found)
    else:
        found = problem.A.H(problem.weigh(problem.y))
        power = torch.fft.fftn(found, dim=axes, norm="ortho").abs() ** 2 / (2 if found.is_complex() else 1)
        own, noise, scale = (levels_of(plane(v, n)) ** 2 for v in (power, known, known**2))
        scale = scale.clamp(min=torch.finfo(known.dtype).tiny)
        # blurred or binned data show the fine octaves too weak: room for these once more
        own, noise = ROOM * own / scale, ROOM * noise / scale
    tiny = torch.finfo(known.dtype).tiny
    power = torch.maximum(own - noise, 0.05 * own) / typical**2
    least = 1e-2 / known.amax(axes).clamp(min=tiny)  # an empty image is far below its noise, not at 0
    levels = [torch.maximum(power[..., -1], least).sqrt()]
    for b in range(BANDS - 2, -1, -1):
        level, next_one = power[..., b].sqrt(), levels[0]
        level = torch.minimum(torch.maximum(level, STEEPEST[b] * next_one), FLATTEST * next_one)
        heard = own[..., b] > (1 + HEARD) * noise[..., b]
        levels.insert(0, torch.where(heard, level, USUAL * next_one))
    return torch.stack(levels, -1)


def _of_inverse(task: DataStep, light: Tensor | None, found: Tensor) -> tuple[Tensor, Tensor]:
    """Power of the image by octave with its noise, and of the noise alone, from approximate inverses."""
    problem, known, grid = task.problem, task.known, task.grid
    sharper = first(problem.A, Deinterpolation)
    found = found if sharper is None else sharper(found)  # filtered back-projection interpolates, too
    floor = 1e-3 * known.amax(grid.axes, keepdim=True)
    trust = levels_of(plane((known / (known + floor)) ** 2, len(grid.axes))) ** 2  # the rest is not seen
    power = torch.fft.fftn(found, dim=grid.axes, norm="ortho").abs() ** 2 / (2 if found.is_complex() else 1)
    own, noise = levels_of(plane(power, len(grid.axes))) ** 2 / trust.clamp(min=0.05)
    if first(problem.A, XRay) is not None:
        return own, noise
    # an inverse but for a factor, which the energy of the data tells
    pads = [m for margin in reversed(grid.margin) for m in (margin, margin)]
    wide = torch.fft.fftn(torch.nn.functional.pad(found[0], pads), dim=grid.axes, norm="ortho")
    energy, counted = _energy(problem)
    axes = tuple(range(-len(problem.A.out_shape), 0))
    there = (known * wide.abs() ** 2).sum(grid.axes) * _bright(found[0], light)
    told = (energy - counted).sum(axes).clamp(min=0)
    factor = (told / there.clamp(min=torch.finfo(known.dtype).tiny))[..., None]
    return factor * own, factor * noise


def _of_samples(task: DataStep, light: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same from samples of Cartesian k-space.

    What stands beyond `EDGE` counts as noise everywhere: measured k-space falls to a floor that is higher
    than the noise of the receivers, of motion and of all that the model lacks.
    """
    problem, known = task.problem, task.known
    shape, data = problem.A.in_shape, problem.A.out_shape
    octaves = masks((shape[0], shape[1])).to(known)
    corner = [size // 2 - side // 2 for size, side in zip(shape, data[-2:], strict=True)]
    inside = (..., slice(corner[0], corner[0] + data[-2]), slice(corner[1], corner[1] + data[-1]))
    coils = tuple(range(-len(data), -2))
    energy, counted = (v.sum(coils) if coils else v for v in _energy(problem))
    seen = sums_of(known, octaves)
    if light is not None:
        found = task.lit(task.lit(problem.A.H(problem.weigh(problem.y))))
        seen = seen * _bright(found, light)[..., None]
    seen = (2 if problem.y.is_complex() else 1) * seen.clamp(min=torch.finfo(known.dtype).tiny)
    edge = torch.fft.fftshift(radial((shape[0], shape[1])), dim=(-2, -1))[inside].to(known.device) > EDGE
    there, expected = ((v * edge).sum((-2, -1)) for v in (energy, counted))
    enough = expected > ENOUGH * counted.sum((-2, -1))
    floor = torch.where(enough, (there / torch.where(enough, expected, 1)).clamp(min=1), 1)
    counted = counted * floor[..., None, None]
    centred = torch.fft.fftshift(octaves, dim=(-2, -1))[inside]
    own, noise = (sums_of(v, centred) for v in (energy, counted))
    return own / seen, noise / seen


def _energy(problem: Problem) -> tuple[Tensor, Tensor]:
    """Weighted square of each datum, and what noise alone makes of it."""
    y = problem.y
    counted = (problem.weigh(torch.ones_like(y)).abs() > 0) & (y != 0)
    return (y.conj() * problem.weigh(y)).real, counted.to(y.real.dtype) * (2 if y.is_complex() else 1)


def _bright(found: Tensor, light: Tensor | None) -> Tensor:
    """How much more coils see of the image, where it is, than of the centre: a factor of energy."""
    size = found.abs() ** 2
    if light is None:
        return torch.ones_like(size[..., 0, 0])
    tiny = torch.finfo(size.dtype).tiny
    bright: Tensor = (light**2 * size).sum((-2, -1)) / size.sum((-2, -1)).clamp(min=tiny)
    return bright


def with_pixels(task: DataStep, relative: Tensor) -> DataStep:
    """With noise for what no image of pixels explains, where data are projections.

    Rays meet detail within pixels. Projections of synthetic objects and CT slices that were drawn on a grid
    twice as fine differ from those of their pixels (`of_means`) by 0.02 to 0.1 of the level of the second
    octave of the image, times the root of the pixels on a ray and the side of a pixel: measured for 64 to 256
    pixels and nine kinds of objects. Where rays are not a pixel apart they differ by more, about as many
    times as they are closer or wider, up to `APART`: measured for 0.1 to 2 pixels and six kinds of objects.
    Data that are told to be more exact than that would be fitted to errors. Unlike noise it is no smaller in
    the mean of more rays than pixels need.

    Parameters
    ----------
    task : DataStep
        Stays as it is where it has no rays or its noise is a covariance.
    relative : Tensor, (..., 4)
        Of `relative_levels`.

    Returns
    -------
    DataStep
        With more noise, and `known` less by as much.
    """
    problem, shape = task.problem, task.problem.A.in_shape
    noise, part = problem.noise, first(problem.A, XRay)
    if part is None or len(shape) != 2 or not isinstance(noise, Gaussian) or noise.sigma is None:
        return task
    octave = levels_of(expected_spectrum(shape, relative))[..., 1] / ROOM**0.5
    again = max(1.0, math.prod(part.out_shape) / math.prod(shape))  # more views see the same detail again
    side = min(part.volume.steps)
    apart = part.beam.resolution / side if isinstance(part.beam, ParallelBeam | FanBeam) else 1.0
    ray = side * max(shape) ** 0.5 * min(max(apart, 1 / apart), APART)
    least = along(problem.A.out_shape, PIXELS * again**0.5 * ray * octave)
    axes, path = tuple(range(-len(problem.A.out_shape), 0)), problem.y.abs()
    share = SKIRT + (1 - SKIRT) * path / path.mean(axes, keepdim=True).clamp(min=torch.finfo(path.dtype).tiny)
    sigma = torch.as_tensor(noise.sigma, dtype=least.dtype, device=least.device)
    more = problem._replace(noise=replace(noise, sigma=(sigma**2 + share * least**2).sqrt()))
    # most rays through the centre, of which `known` is, are long
    fall = (more.weigh(path) * path).sum(axes) / (problem.weigh(path) * path).sum(axes).clamp(min=1e-30)
    fall = torch.where(path.sum(axes) > 0, fall, torch.ones_like(fall))
    return task._replace(problem=more, known=task.known * along(task.grid.full, fall))
