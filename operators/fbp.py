"""Filtered back-projection as one linear operator: weights, ramp filter, back-projection.

For a source on a circle of radius R0 and rays at fan angle g from the one through the axis, ``f = integral of
w R0 cos(g) p * h  / L^2`` over views and rays (Kak and Slaney 1988, section 3.4), with h the ramp in the sine
of the angle between rays and L the distance from the source. On a flat detector at distance D this becomes
the plain ramp over the detector and ``D R0 cos(g) / depth^2``, for a shifted source too; a parallel beam has
neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rayfold.kernels import backproject

from .base import Composed, LinearOperator
from .calculus import Diagonal, Pad
from .filters import RampFilter, Window
from .geometry import BeamStructure, FanBeam, ParallelBeam, VectorBeam, Volume
from .rays import prepared, ray_coefficients
from .redundancy import weights

Array = Any


@dataclass(frozen=True, eq=False)
class Backproject(LinearOperator):
    """Pixel-driven back-projection: every pixel reads each view where it projects, linearly interpolated.

    Parameters
    ----------
    volume : Volume
        Grid of the image, ``(ny, nx)``.
    beam : ParallelBeam, FanBeam or BeamStructure
        Rays.
    steps : ndarray, (views,)
        Weight of each view; for a fan divided by the square of the pixel's depth before the source (flat
        detector) or of its distance from the source (curved), in mm.
    """

    volume: Volume
    beam: ParallelBeam | FanBeam | VectorBeam | BeamStructure
    steps: Array
    nonnegative = True

    def __post_init__(self) -> None:
        bare = (
            self
            if isinstance(self.beam, BeamStructure)
            else replace(self, beam=self.beam.structure, steps=None)
        )
        object.__setattr__(self, "_bare", bare)

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.beam.shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.volume.shape

    @property
    def operands(self) -> Mapping[str, Array]:
        if isinstance(self.beam, BeamStructure):
            return {}
        return {"vectors": self.beam.vectors, "steps": self.steps}

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"vectors": (self.beam.n_views, 6), "steps": (self.beam.n_views,)}

    @property
    def structure(self) -> LinearOperator:
        return self._bare  # type: ignore[attr-defined, no-any-return]

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        vectors, steps = operands["vectors"], operands["steps"]
        beam = self.beam if isinstance(self.beam, BeamStructure) else self.beam.structure
        if vectors.ndim == 3 or steps.ndim == 2:
            raise ValueError("Backproject takes one geometry for the whole batch; loop over the samples")

        def make() -> tuple[Array, ...]:
            coef = ray_coefficients(vectors, beam, self.volume)
            return coef, steps * _depths(vectors, coef, beam, self.volume)

        kernel = backproject.splat if adjoint else backproject.gather
        coef, scale = prepared(x, (vectors, steps), ("fbp", beam, self.volume), make)
        kernel(x, out, coef, scale, beam.fan_step)


def _depths(vectors: Array, coef: Array, beam: BeamStructure, volume: Volume) -> Array:
    """Square of the depth that `coef` gives in units of its own, over that in mm; ``(views,)``."""
    if beam.kind == "parallel":
        return coef[:, 1] ** 2
    dy, dx = volume.steps
    central = vectors[:, 2:4] - vectors[:, 0:2]
    pitch2 = (vectors[:, 4:6] ** 2).sum(1)
    return pitch2 / ((central[:, 0] * dy) ** 2 + (central[:, 1] * dx) ** 2)


def fbp_operator(
    volume: Volume, beam: ParallelBeam | FanBeam, *, window: Window = "ram-lak", cutoff: float = 1.0
) -> tuple[LinearOperator, str]:
    """Filtered back-projection for a scan, and a remark when the views do not suffice.

    Parameters
    ----------
    volume : Volume
        Grid of the image.
    beam : ParallelBeam or FanBeam
        Full or short scan, centred or offset detector, flat or curved, evenly spaced or not.
    window : {"ram-lak", "shepp-logan", "cosine", "hamming", "hann"}
        Filter.
    cutoff : float
        Fraction of the Nyquist frequency.

    Returns
    -------
    operator : LinearOperator
        From line integrals ``(views, cols)`` to attenuation in 1/mm ``(ny, nx)``; linear, differentiable.
    note : str
        Empty, or one line about missing views.

    Raises
    ------
    TypeError
        For arbitrary per-view vectors: there is no closed form for those.

    Examples
    --------
    >>> fbp, note = fbp_operator(Volume((32, 32)), ParallelBeam.evenly(60, 48))
    >>> fbp.out_shape, note
    ((32, 32), '')
    """
    if not isinstance(beam, ParallelBeam | FanBeam):
        raise TypeError(
            f"filtered back-projection needs a ParallelBeam or FanBeam, not {type(beam).__name__}; "
            "use an iterative solver for per-view vectors"
        )
    found = weights(beam)
    rays, pitch, fan_step = np.array(found.rays), beam.pitch, 0.0
    if isinstance(beam, FanBeam):
        radius = float(np.hypot(beam.source_to_axis, beam.source_offset))
        rays = rays * (radius * np.cos(beam.gammas - beam.gamma_of_axis))
        if beam.curved:
            pitch = fan_step = beam.fan_step
        else:
            rays = rays * beam.source_to_detector
    pad, wide = _symmetric(beam)
    ramp = RampFilter(wide.shape, pitch, window, cutoff, fan_step)
    back = Backproject(volume, wide, found.steps)
    chain: list[LinearOperator] = [back, ramp, Diagonal(beam.shape, rays)]
    if pad is not None:
        chain.insert(2, pad)
    return Composed.of(*chain), found.note


def _symmetric(beam: ParallelBeam | FanBeam) -> tuple[Pad | None, ParallelBeam | FanBeam]:
    """The detector with empty bins on its short side: filtered views reach past an offset detector."""
    before, after = beam.axis_column, beam.n_cols - 1 - beam.axis_column
    extra = round(abs(after - before))
    if extra < 2:
        return None, beam
    left, right = (extra, 0) if before < after else (0, extra)
    shift = 0.5 * (right - left) * beam.pitch
    wide = replace(beam, n_cols=beam.n_cols + extra, detector_offset=beam.detector_offset + shift)
    return Pad(beam.shape, left, right), wide
