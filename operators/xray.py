"""The 2D X-ray transform: line integrals of an image and their exact adjoint."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Literal, Self

import numpy as np

from rayfold.kernels import joseph

from . import dispatch
from .base import LinearOperator
from .geometry import Beam, BeamStructure, Volume, digest

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
            kernel(x, out, *_plan(vectors, beam, self.volume, x), beam.fan_step)
            return
        for one, x_one, out_one in zip(vectors, x, out, strict=True):  # a geometry per sample
            kernel(x_one[None], out_one[None], *_plan(one, beam, self.volume, x), beam.fan_step)


def bin_coordinates(beam: BeamStructure) -> Array:
    """Coordinate t of every bin in steps of the detector, ``(cols,)``: tangents, when curved."""
    index = np.arange(beam.n_cols) - (beam.n_cols - 1) / 2
    return np.tan(index * beam.fan_step) / beam.fan_step if beam.fan_step else index


def ray_coefficients(vectors: Array, beam: BeamStructure, volume: Volume) -> Array:
    """Rays as lines ``x * ey - y * ex = a`` in pixels about the middle of the grid.

    Parameters
    ----------
    vectors : ndarray, (views, 6)
        Source or direction, detector centre and bin step in mm.
    beam : BeamStructure
        Kind and sizes.
    volume : Volume
        Two-dimensional grid.

    Returns
    -------
    ndarray, (views, 6)
        ``a0 a1 ex0 ex1 ey0 ey1``; bin coordinate t has ``a = a0 + t a1`` and so on.
    """
    xp = np if isinstance(vectors, np.ndarray) else dispatch.namespace(vectors)
    (dy, dx), (cy, cx) = volume.steps, volume.middle
    v = vectors.astype(np.float64)
    ox, oy, ux, uy = (v[:, 2] - cx) / dx, (v[:, 3] - cy) / dy, v[:, 4] / dx, v[:, 5] / dy
    zero = 0 * ox
    if beam.kind == "parallel":
        ex, ey = v[:, 0] / dx, v[:, 1] / dy
        a0, a1, ex1, ey1 = ox * ey - oy * ex, ux * ey - uy * ex, zero, zero
    else:
        sx, sy = (v[:, 0] - cx) / dx, (v[:, 1] - cy) / dy
        ex, ey, ex1, ey1 = ox - sx, oy - sy, ux, uy
        a0, a1 = sx * ey - sy * ex, sx * uy - sy * ux
    size = xp.sqrt(ex * ex + ey * ey)
    coef = xp.stack([a0, a1, ex, ex1, ey, ey1], axis=1) / size[:, None]
    if xp is np:
        _check_rays(coef, volume)
    return coef


def _check_rays(coef: Array, volume: Volume) -> None:
    """Every pixel must lie before the source: the view from there must not turn inside the grid."""
    if not np.isfinite(coef).all():
        raise ValueError(
            "a view has rays without direction: source on the detector, or a direction of length zero"
        )
    ny, nx = volume.shape
    corners = np.array([[sx * (nx + 3) / 2, sy * (ny + 3) / 2] for sx in (-1, 1) for sy in (-1, 1)])
    depth = coef[:, 5, None] * corners[:, 0] - coef[:, 3, None] * corners[:, 1] - coef[:, 1, None]
    bad = np.flatnonzero((np.sign(depth) != np.sign(depth[:, :1])).any(axis=1) | (depth == 0).any(axis=1))
    if len(bad):
        raise ValueError(
            f"view {bad[0]}: the grid of {volume.extent[1]:g} x {volume.extent[0]:g} mm reaches the source; "
            "use a smaller grid, or check the distances"
        )


_plans: OrderedDict[Any, tuple[Array, Array, Array]] = OrderedDict()
_lock = Lock()


def _plan(vectors: Array, beam: BeamStructure, volume: Volume, x: Array) -> tuple[Array, Array, Array]:
    """Coefficients, bin coordinates and pixel size on x's device in x's precision, kept for the next call."""
    if not isinstance(vectors, np.ndarray):  # operand of the caller's graph on the device: never kept
        t, steps = (on_device(x, a) for a in (bin_coordinates(beam), np.array(volume.steps)))
        return ray_coefficients(vectors, beam, volume).astype(x.dtype), t, steps
    device = getattr(x, "device", "cpu")
    key = (beam, volume, digest(vectors), str(x.dtype), str(device))
    with _lock:
        if key in _plans:
            _plans.move_to_end(key)
            return _plans[key]
    host = (ray_coefficients(vectors, beam, volume), bin_coordinates(beam), np.array(volume.steps))
    plan = tuple(on_device(x, a) for a in host)
    with _lock:
        _plans[key] = plan
        while len(_plans) > 64:
            _plans.popitem(last=False)
    return plan


def on_device(like: Array, values: Array) -> Array:
    """NumPy or CuPy values as a contiguous array of the library, device and type of `like`."""
    if isinstance(like, np.ndarray):
        return np.ascontiguousarray(values, dtype=like.dtype)
    return dispatch.namespace(like).asarray(values, dtype=like.dtype)
