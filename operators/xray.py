"""The 2D X-ray transform: line integrals of an image and their exact adjoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from rayfold.kernels import joseph

from .base import LinearOperator
from .geometry import Beam, BeamStructure, Volume
from .rays import bin_coordinates, prepared, ray_coefficients

Array = Any


@dataclass(frozen=True)
class XRay(LinearOperator):
    """Line integrals of an image along the rays of a beam.

    ``(A x)[v, k]`` is the integral of x (in 1/mm) along ray k of view v, so it has no unit; with Joseph's
    model: per row (per column, for rays flatter than 45 degrees) the linear interpolation of the two
    neighbouring pixels times the path. `A.H` is its exact adjoint from the same weights, deterministic and
    without atomics.

    Parameters
    ----------
    volume : Volume
        Grid of the image, ``(ny, nx)``.
    beam : ParallelBeam, FanBeam or VectorBeam
        Rays; its per-view vectors are the operand ``vectors`` of shape ``(views, 6)``.
    model : {"joseph"}
        How a ray weighs pixels.

    Raises
    ------
    ValueError
        If the grid reaches the source, or is not two-dimensional.

    References
    ----------
    P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192.

    Examples
    --------
    >>> from rayfold.operators import ParallelBeam
    >>> A = XRay(Volume((64, 64), 1.0), ParallelBeam.evenly(90, 96))
    >>> A(np.ones((2, 64, 64), np.float32)).shape
    (2, 90, 96)
    """

    volume: Volume
    beam: Beam | BeamStructure
    model: Literal["joseph"] = "joseph"
    nonnegative = True

    def __post_init__(self) -> None:
        if len(self.volume.shape) != 2:
            raise ValueError(
                f"XRay takes images (ny, nx), got a volume of shape {self.volume.shape}; use one slice"
            )
        if self.model != "joseph":
            raise ValueError(f"model is {self.model!r}; the 2D transform knows 'joseph'")
        bare = self
        if not isinstance(self.beam, BeamStructure):
            ray_coefficients(self.beam.vectors, self.beam.structure, self.volume)
            bare = replace(self, beam=self.beam.structure)
        object.__setattr__(self, "_bare", bare)  # made once: compilers look it up, they cannot build it

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.volume.shape

    @property
    def out_shape(self) -> tuple[int, ...]:
        return self.beam.shape

    @property
    def operands(self) -> Mapping[str, Array]:
        return {} if isinstance(self.beam, BeamStructure) else {"vectors": self.beam.vectors}

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"vectors": (self.beam.n_views, 6)}

    @property
    def structure(self) -> XRay:
        return self._bare  # type: ignore[attr-defined, no-any-return]

    def __getitem__(self, views: Any) -> Self:
        """Only some views: a smaller operator, not a mask."""
        if isinstance(self.beam, BeamStructure):
            raise TypeError("views of a bare structure cannot be selected; select on the operator, then bind")
        return replace(self, beam=self.beam[views])

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        vectors, beam = (
            operands["vectors"],
            self.beam.structure if not isinstance(self.beam, BeamStructure) else self.beam,
        )
        kernel = joseph.adjoint if adjoint else joseph.forward
        if vectors.ndim == 2:
            coef, t, steps = _rays(vectors, beam, self.volume, x)
            kernel(x, out, coef, t, steps, beam.fan_step)
            return
        for one, x_one, out_one in zip(vectors, x, out, strict=True):  # a geometry per sample
            coef, t, steps = _rays(one, beam, self.volume, x)
            kernel(x_one[None], out_one[None], coef, t, steps, beam.fan_step)


def _rays(vectors: Array, beam: BeamStructure, volume: Volume, x: Array) -> tuple[Array, ...]:
    """Coefficients, bin coordinates and pixel size for the kernels."""

    def make() -> tuple[Array, ...]:
        return ray_coefficients(vectors, beam, volume), bin_coordinates(beam), np.array(volume.steps)

    return prepared(x, (vectors,), ("joseph", beam, volume), make)
