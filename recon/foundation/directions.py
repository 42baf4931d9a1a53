"""The direction of a data step: a cheap approximate inverse of the operator, for what the data still lack."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rayfold.operators import NUFFT, Batched, Identity, LinearOperator
from rayfold.operators.base import Bound, Composed
from rayfold.operators.calculus import Diagonal
from rayfold.operators.coils import CoilSensitivities
from rayfold.operators.dispatch import to_numpy
from rayfold.operators.fbp import fbp_operator
from rayfold.operators.filters import RampFilter
from rayfold.operators.geometry import FanBeam, ParallelBeam, Volume
from rayfold.operators.redundancy import weights as ray_weights
from rayfold.operators.xray import XRay
from rayfold.recon.arrays import along, inner, ratio
from rayfold.recon.foundation.bands import levels_of, plane
from rayfold.recon.foundation.frequencies import Frequencies
from rayfold.recon.foundation.frequencies import first as first_of
from rayfold.recon.foundation.lines import Lines
from rayfold.recon.foundation.pixels import Deinterpolation
from rayfold.recon.problem import Problem
from rayfold.recon.trajectories import pipe_menon

FADE = 0.1  # of the radius of the field of view
EXACT = 1e-6  # of the best measured frequency
LEAK = 0.15  # of the best measured frequency: what coils make of neighbours is not raised further
NEW = 1e-5  # of a direction, in the norm of the problem: less is rounding
DIAGONAL = 2**0.5  # pixels have frequencies up to this over the Nyquist frequency of their side
MOST = 3.0  # factor by which darker parts of an image from coils are raised
SPREAD = 30.0  # most by which the weight of the rays through a pixel differs from that at the centre


def approximate_inverse(A: LinearOperator) -> LinearOperator | None:
    """From data to an image, up to a scale: None where ``A.H`` itself is as good.

    Projections are filtered, up to the finest frequency that the pixels have, and back-projected; samples of
    k-space off the grid are weighted by the area they stand for; operators before and behind are taken back
    by their adjoints.

    Examples
    --------
    >>> from rayfold.operators import Volume
    >>> A = XRay(Volume((8, 8)), ParallelBeam.evenly(6, 12))
    >>> approximate_inverse(A).out_shape, approximate_inverse(A[:3]).in_shape
    ((8, 8), (3, 12))
    """
    parts = A.parts if isinstance(A, Composed) else (A,)
    inverses = [_inverse(part) for part in parts]
    if all(each is None for each in inverses):
        return None
    back = [part.H if own is None else own for part, own in zip(parts, inverses, strict=True)]
    return Composed.of(*reversed(back))


def local_weights(problem: Problem) -> Tensor | None:
    """How much more the rays through each pixel weigh than those through the centre, ``(..., ny, nx)``.

    One application of ``A.H``, to the weights: behind bone there are few photons, beside it many. With D this
    factor, ``A.H W A`` is about ``D^(1/2) H D^(1/2)``. None where views are missing, and for operators that
    are no projections of slices: there it is no such thing.

    Parameters
    ----------
    problem : Problem
        Of tensors, with Gaussian noise.

    Returns
    -------
    Tensor, (..., ny, nx), or None
        Without unit, 1 at the centre, between ``1 / SPREAD`` and `SPREAD`.

    References
    ----------
    J. A. Fessler and S. D. Booth, IEEE Trans. Image Process. 8 (1999) 688, preconditioners for weights that
    vary.
    """
    part = first_of(problem.A, XRay)
    if part is None or len(problem.A.in_shape) != 2 or not isinstance(part.beam, ParallelBeam | FanBeam):
        return None
    if ray_weights(part.beam).note:
        return None
    seen: Tensor = problem.A.H(problem.weigh(torch.ones_like(problem.y.real)))
    rows, columns = (slice(max(0, n // 2 - 2), n // 2 + 2) for n in seen.shape[-2:])
    centre = seen[..., rows, columns].mean((-2, -1), keepdim=True)
    return (seen / centre.clamp(min=torch.finfo(seen.dtype).tiny)).clamp(1 / SPREAD, SPREAD)


def _inverse(part: LinearOperator) -> LinearOperator | None:
    if isinstance(part, Bound):
        return _inverse(part.base)
    if isinstance(part, Batched):
        inner_inverse = _inverse(part.op)
        return None if inner_inverse is None else inner_inverse.over(part.lead)
    if isinstance(part, Deinterpolation):  # filtered back-projection interpolates as the projector does
        return Identity(part.in_shape)
    weights = data_metric(part)
    if isinstance(part, XRay) and isinstance(part.beam, ParallelBeam | FanBeam) and len(part.in_shape) == 2:
        inside = Diagonal(part.in_shape, _covered(part.volume, part.beam))
        finest = DIAGONAL * part.beam.resolution / min(part.volume.steps)  # of the image, over the bins'
        return Composed.of(inside, fbp_operator(part.volume, part.beam, cutoff=min(1.0, finest))[0])
    return None if weights is None else Composed.of(part.H, weights)


def data_metric(part: LinearOperator) -> LinearOperator | None:
    """M with ``A.H M A`` about the identity, up to a factor; None where M is the identity.

    The ramp filter for projections, the area of every sample for k-space off the grid.
    """
    if isinstance(part, XRay):
        beam: Any = part.beam
        return RampFilter(beam.shape, beam.pitch)
    if isinstance(part, NUFFT) and part.basis is None:
        return Diagonal(part.out_shape, sample_areas(part))
    return None


def _covered(volume: Volume, beam: ParallelBeam | FanBeam) -> Any:
    """1 within the field of view, fading to 0 a little outside: filtered back-projection is no inverse there.

    It has an offset of several per cent beyond, the same in all views, which no later step along one
    direction could take out again without spoiling what is within.
    """
    y, x = volume.coordinates()
    beyond = np.hypot(y[:, None], x[None, :]) / beam.half_width - 1
    return np.clip(1 - beyond / FADE, 0, 1).astype(np.float32)


def brightness(A: LinearOperator, like: Tensor) -> Tensor | None:
    """How strongly coils see each pixel, ``(sum |S|^2)^(1/2)``, 1 at the centre, ``(ny, nx)``.

    0 where no coil sees anything, None for operators without coils.
    """
    last = A.parts[-1] if isinstance(A, Composed) else A
    if not isinstance(last.base if isinstance(last, Bound) else last, CoilSensitivities):
        return None
    ones = torch.ones(last.in_shape, dtype=like.dtype, device=like.device)
    squared = last.H(last(ones)).real
    lit = squared[squared > 1e-4 * squared.amax()]
    usual = lit.median() if lit.numel() else squared.new_ones(())  # not the largest: coils burn at the border
    seen = squared > 1e-3 * usual
    centre = squared[tuple(n // 2 for n in last.in_shape)].clamp(min=0.05 * usual)
    return torch.where(seen, squared / centre, torch.zeros_like(squared)).sqrt()


def shading(light: Tensor | None) -> Tensor | None:
    """What takes the shading of coils out: one over `brightness`, and 0 where that is.

    At most `MOST`: where maps fade out around the object there is noise to be raised, and nothing else.
    """
    if light is None:
        return None
    return torch.where(light > 0, 1 / light.clamp(min=1 / MOST), torch.zeros_like(light))


_DENSITIES: dict[tuple[Any, ...], Any] = {}  # by trajectory: they take many transforms


def sample_areas(part: NUFFT) -> Any:
    """Area of k-space for which each sample of a trajectory stands."""
    trajectory = np.ascontiguousarray(to_numpy(part.trajectory), np.float64)
    key = (hashlib.blake2b(trajectory.tobytes(), digest_size=16).hexdigest(), part.in_shape)
    if key not in _DENSITIES:
        if len(_DENSITIES) >= 8:
            _DENSITIES.pop(next(iter(_DENSITIES)))
        _DENSITIES[key] = pipe_menon(trajectory, part.in_shape[-trajectory.shape[-1] :], iterations=12)
    return _DENSITIES[key]


def heard(problem: Problem, data: Tensor) -> Tensor:
    """Data with 0 in place of those that have no weight, whatever they hold."""
    if getattr(problem.noise, "covariance", None) is not None:
        return data
    return torch.where(problem.weigh(torch.ones_like(data)) != 0, data, torch.zeros_like(data))


class DataStep(NamedTuple):
    """Solves ``argmin 1/2 |A z - y|^2_W + 1/2 (z - x)^H T^-1 (z - x)`` in very few steps.

    Every step goes to the minimum along a direction that is made conjugate to the one before. It costs one
    application of an inverse or adjoint and one of A. The direction is ``F B (y - A z) - (1 - F) (z - x)``
    with ``F = H T / (1 + H T)``, H the spectrum of ``A.H W A`` (`information`) and B the
    `approximate_inverse`, or ``H^-1 A.H W`` for Cartesian k-space. Filtered back-projection knows nothing of
    the weights: with `local` weights D all but the first direction are therefore the gradient g, as
    ``D^(-1/2) (H + 1 / T)^-1 D^(-1/2) g``. With `lines` it is the gradient through the inverse of all that
    the coils mix. Where they mix other samples, as the middle of k-space alone, H counts as no less than
    `LEAK` of its best. Other operators, as the binning of pixels, need not be alike everywhere, so that H is
    no inverse of them: there it is the plain gradient.

    Parameters
    ----------
    problem : Problem
        With Gaussian noise.
    grid : Frequencies
        Where `known` lives.
    known : Tensor
        Of `information`.
    back : callable, optional
        B; None for the spectrum's own inverse.
    shading : Tensor, (ny, nx), optional
        Of `shading`: the response is ``shading^(1/2) H shading^(1/2)``.
    lines : Lines, optional
        Of SENSE with whole lines of k-space.
    local : Tensor, (..., ny, nx), optional
        Of `local_weights`.
    """

    problem: Problem
    grid: Frequencies
    known: Tensor
    back: Callable[[Tensor], Tensor] | None
    shading: Tensor | None = None
    lines: Lines | None = None
    local: Tensor | None = None

    def inverse(self, data: Tensor) -> Tensor:
        """B of data, ``(..., *A.in_shape)``, with the shading of the coils taken out."""
        assert self.back is not None
        return self.lit(self.lit(self.back(heard(self.problem, data))))

    def solve(
        self,
        x: Tensor,
        residual: Tensor,
        power: Tensor,
        wide: Tensor,
        steps: int,
        first: Tensor | None = None,
    ) -> Tensor:
        """The minimum, ``(..., *A.in_shape)``, about.

        Parameters
        ----------
        x : Tensor, (..., *A.in_shape)
            Where to begin, and what T is about.
        residual : Tensor, (..., *A.out_shape)
            ``y - A x``.
        power, wide : Tensor
            T on the grid of the image and on that of `Frequencies`.
        steps : int
            Directions.
        first : Tensor, optional
            `inverse` of the residual, where it is known.
        """
        A, grid = self.problem.A, self.grid
        plain = Frequencies(grid.shape, (0,) * len(grid.shape))
        trust = wide * self.known / (1 + wide * self.known)
        z, weight = x, 1 / power
        before: tuple[Tensor, Tensor, Tensor, Tensor] | None = None
        mixed = None if self.lines is None else self.lines.solver(weight)
        for k in range(steps):
            if mixed is not None:
                d = mixed(A.H(self.problem.weigh(residual)) - plain.filter(z - x, weight))
            elif self.back is not None and (k == 0 or self.local is None):
                found = self.inverse(residual) if k or first is None else first
                d = grid.filter(found, trust, cut=True)
                d = d - grid.filter(z - x, 1 - trust, cut=True)
            elif self.local is not None:
                even = self.local.rsqrt()
                d = A.H(self.problem.weigh(residual)) - plain.filter(z - x, weight)
                d = even * grid.filter(even * d, 1 / (self.known + 1 / wide), cut=True)
            elif any(grid.margin):  # neither periodic nor with an inverse
                d = A.H(self.problem.weigh(residual)) - plain.filter(z - x, weight)
            else:
                d = self.lit(A.H(self.problem.weigh(residual)))
                d = self.lit(grid.filter(d, self._spectrum_inverted(wide)))
                d = d - grid.filter(z - x, 1 - trust, cut=True)
            Ad, Td = A(d), plain.filter(d, weight)
            whole = self._product(Td, Ad, d, Ad)
            if before is not None:
                p, Ap, Tp, size = before
                beta = ratio(-self._product(Td, Ad, p, Ap), size)
                image, data = along(A.in_shape, beta), along(A.out_shape, beta)
                d, Ad, Td = d + image * p, Ad + data * Ap, Td + image * Tp
            size = whole if before is None else self._product(Td, Ad, d, Ad)
            size = torch.where(size > NEW * whole, size, 0)  # else all but rounding was in the one before
            gain = inner(A.out_shape, residual, self.problem.weigh(Ad)) - inner(A.in_shape, z - x, Td)
            step = ratio(gain, size)
            z = z + along(A.in_shape, step) * d
            residual = residual - along(A.out_shape, step) * Ad
            before = d, Ad, Td, size
        return z

    def promised(self, wide: Tensor) -> Tensor:
        """Levels ``(..., 4)`` of the error after a data step, from those before: of ``1 / (H + 1 / T)``."""
        return levels_of(plane(1 / (self.known + 1 / wide), len(self.grid.full)))

    def lit(self, x: Tensor) -> Tensor:
        """The image with the shading of the coils taken out once."""
        return x if self.shading is None else x * self.shading

    def _spectrum_inverted(self, wide: Tensor) -> Tensor:
        """``1 / (H + 1 / T)`` where anything was measured."""
        best = self.known.amax(self.grid.axes, keepdim=True)
        # coils spread strong frequencies to neighbours that were not measured, which is no information there
        known = self.known if self.shading is None else self.known.clamp(min=LEAK * best)
        return torch.where(self.known > EXACT * best, 1 / (known + 1 / wide), 0)  # the rest is but rounding

    def _product(self, Td: Tensor, Ad: Tensor, p: Tensor, Ap: Tensor) -> Tensor:
        A = self.problem.A
        total: Tensor = inner(A.out_shape, Ap, self.problem.weigh(Ad)) + inner(A.in_shape, p, Td)
        return total
