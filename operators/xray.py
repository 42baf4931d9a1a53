"""The 2D X-ray transform: line integrals of an image and their exact adjoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np

from rayfold.kernels import joseph

from . import dispatch
from .base import LinearOperator
from .geometry import Beam, BeamStructure, Volume, digest
from .rays import bin_coordinates, prepared, ray_coefficients

Array = Any
KEPT_GRAMS = 4  # weightings whose gram an operator remembers


@dataclass(frozen=True)
class XRay(LinearOperator):
    """Line integrals of an image along the rays of a beam.

    ``(A x)[v, k]`` is the integral of x (in 1/mm) along ray k of view v, so it has no unit. `A.H` is the
    exact adjoint.

    "joseph": per row (per column, for rays flatter than 45 degrees) the linear interpolation of the two
    neighbouring pixels times the path; `A.H` from the same weights, deterministic and without atomics.

    "fourier", for parallel beams: by the Fourier slice theorem the transform of a view is a line through
    that of the image, ``(A x)[v, k] = 1 / (L d) sum_m X(s_m n_v) exp(i s_m a_k)``, with
    ``X(q) = dx dy sum_r x_r exp(-i q . r)`` at the frequencies ``s_m = 2 pi m / (L d)`` of L bins a distance
    d apart, along the normal n_v of the rays, a_k the place of bin k. Pixels are points, seen up to the
    Nyquist frequency of the grid and below that of the bins. L is the number of bins where they see the whole
    grid; then ``gram``, also weighted view by view, is a convolution (`Toeplitz`): two transforms of the
    image, whatever the number of views. Elsewhere L leaves room for what the detector misses. Entries may be
    negative.

    Parameters
    ----------
    volume : Volume
        Grid of the image, ``(ny, nx)``.
    beam : ParallelBeam, FanBeam or VectorBeam
        Rays; its per-view vectors are the operand ``vectors`` of shape ``(views, 6)``.
    model : {"joseph", "fourier"}
        How a ray weighs pixels.

    Raises
    ------
    ValueError
        If the grid reaches the source, or is not two-dimensional; for the Fourier model, if rays fan out.

    References
    ----------
    P. M. Joseph, IEEE Trans. Med. Imaging 1 (1982) 192; R. N. Bracewell, Aust. J. Phys. 9 (1956) 198, and
    S. Matej, J. A. Fessler and I. G. Kazantsev, IEEE Trans. Med. Imaging 23 (2004) 401, for the Fourier
    model.

    Examples
    --------
    >>> from rayfold.operators import ParallelBeam
    >>> A = XRay(Volume((64, 64), 1.0), ParallelBeam.evenly(90, 96))
    >>> A(np.ones((2, 64, 64), np.float32)).shape
    (2, 90, 96)
    >>> F = XRay(A.volume, A.beam, model="fourier")
    >>> type(F.gram).__name__
    'Toeplitz'
    """

    volume: Volume
    beam: Beam | BeamStructure
    model: Literal["joseph", "fourier"] = "joseph"

    def __post_init__(self) -> None:
        if len(self.volume.shape) != 2:
            raise ValueError(
                f"XRay takes images (ny, nx), got a volume of shape {self.volume.shape}; use one slice"
            )
        if self.model not in ("joseph", "fourier"):
            raise ValueError(f"model is {self.model!r}; the 2D transform knows 'joseph' and 'fourier'")
        if self.model == "fourier" and self.beam.kind != "parallel":
            raise ValueError("model 'fourier' takes parallel beams, got a fan beam; use model='joseph'")
        bare = self
        if not isinstance(self.beam, BeamStructure):
            ray_coefficients(self.beam.vectors, self.beam.structure, self.volume)
            bare = replace(self, beam=self.beam.structure)
        object.__setattr__(self, "_bare", bare)  # made once: compilers look it up, they cannot build it

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]
        return self.model == "joseph"

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

    @property
    def gram(self) -> LinearOperator:
        return self._convolution(np.ones((), np.float32)) or super().gram

    def weighted_gram(self, weights: Array) -> LinearOperator:
        """``A.H W A``; for the Fourier model a convolution, where all bins of a view weigh the same."""
        return self._convolution(weights) or super().weighted_gram(weights)

    def _convolution(self, weights: Array) -> LinearOperator | None:
        """``A.H W A`` as a convolution where it is one; made once and kept."""
        if self.model != "fourier" or isinstance(self.beam, BeamStructure) or not dispatch.is_plain(weights):
            return None
        w = dispatch.to_numpy(weights)
        kept: dict[bytes, LinearOperator | None] = vars(self).setdefault("_grams", {})
        key = digest(w)
        if key not in kept:
            from .xray_fourier import gram

            while len(kept) >= KEPT_GRAMS:
                kept.pop(next(iter(kept)))
            kept[key] = gram(self.beam.vectors, self.beam.structure, self.volume, w)
        return kept[key]

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        vectors = operands["vectors"]
        if vectors.ndim == 2:
            self._one(x, out, vectors, adjoint=adjoint)
            return
        for one, x_one, out_one in zip(vectors, x, out, strict=True):  # a geometry per sample
            self._one(x_one[None], out_one[None], one, adjoint=adjoint)

    def _one(self, x: Array, out: Array, vectors: Array, *, adjoint: bool) -> None:
        """One geometry for the whole batch."""
        beam = self.beam if isinstance(self.beam, BeamStructure) else self.beam.structure
        if self.model == "fourier":
            from .xray_fourier import transform

            transform(x, out, vectors, beam, self.volume, adjoint=adjoint)
            return
        coef, t, steps = _rays(vectors, beam, self.volume, x)
        kernel = joseph.adjoint if adjoint else joseph.forward
        kernel(x, out, coef, t, steps, beam.fan_step)


def _rays(vectors: Array, beam: BeamStructure, volume: Volume, x: Array) -> tuple[Array, ...]:
    """Coefficients, bin coordinates and pixel size for the kernels."""

    def make() -> tuple[Array, ...]:
        return ray_coefficients(vectors, beam, volume), bin_coordinates(beam), np.array(volume.steps)

    return prepared(x, (vectors,), ("joseph", beam, volume), make)
