"""Where the pixels, the rays and the detector are: volumes and beams in millimetre and radian.

Every beam reduces to per-view vectors, so any motion or any other tool's geometry takes the same path.
Parallel and fan, angle t: detector axis u = (cos t, sin t), ray direction d = (-sin t, cos t) and source at
-source_to_axis * d, components (x, y); the rotation axis is the origin of the coordinates.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
import numpy.typing as npt

Kind = Literal["parallel", "fan"]
Floats = npt.NDArray[np.floating[Any]]


def frozen(values: npt.ArrayLike, ndim: int, name: str) -> Floats:
    """Copy to a read-only float64 array of `ndim` axes; raise ValueError if not finite or of another rank."""
    array = np.array(values, dtype=np.float64)
    if array.ndim != ndim:
        raise ValueError(f"{name} has {array.ndim} axes; it needs {ndim}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds values that are not finite; remove those views")
    array.setflags(write=False)
    return array


def digest(array: npt.NDArray[Any]) -> bytes:
    """Content hash of an array: arrays of equal shape, type and values have equal digests."""
    text = f"{array.shape}{array.dtype.str}".encode()
    return hashlib.blake2b(text + np.ascontiguousarray(array).tobytes(), digest_size=16).digest()


def _positive(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise ValueError(f"{name} is {value}; it must be a positive length in mm")


def _spaced(angles: Floats) -> str:
    """Angles as executable text, short when they are evenly spaced."""
    n = len(angles)
    if n > 2 and np.allclose(angles, np.linspace(angles[0], angles[-1], n), rtol=0, atol=1e-12):
        return f"linspace({angles[0]:.17g}, {angles[-1]:.17g}, {n})"
    if n <= 8:
        return repr(angles.tolist())
    return f"<{n} angles from {angles[0]:.6g} to {angles[-1]:.6g} rad>"


@dataclass(frozen=True)
class Volume:
    """A regular grid of pixels or voxels.

    Coordinates follow ``(index - (n - 1) / 2) * spacing + centre`` on every axis; no axis is flipped.

    Parameters
    ----------
    shape : tuple of int
        ``(ny, nx)`` or ``(nz, ny, nx)``.
    spacing : float or tuple of float
        Pixel size in mm, one number or one per axis, in the order of `shape`.
    centre : tuple of float, optional
        Position of the middle of the grid in mm, in the order of `shape`; the rotation axis by default.

    Examples
    --------
    >>> Volume((4, 6), 0.5).extent
    (2.0, 3.0)
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...] | float = 1.0
    centre: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) not in (2, 3) or min(shape) < 1:
            raise ValueError(
                f"Volume shape {self.shape} must be (ny, nx) or (nz, ny, nx) with positive sizes"
            )
        spacing = self.spacing
        steps = (
            tuple(map(float, spacing))
            if isinstance(spacing, tuple | list)
            else (float(spacing),) * len(shape)
        )
        centre = (0.0,) * len(shape) if self.centre is None else tuple(map(float, self.centre))
        for name, value in (("spacing", steps), ("centre", centre)):
            if len(value) != len(shape):
                raise ValueError(f"Volume {name} {value} has {len(value)} numbers for {len(shape)} axes")
        for step in steps:
            _positive("Volume spacing", step)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "spacing", steps)
        object.__setattr__(self, "centre", centre)

    @property
    def steps(self) -> tuple[float, ...]:
        """Pixel size per axis in mm."""
        return self.spacing if isinstance(self.spacing, tuple) else (self.spacing,) * len(self.shape)

    @property
    def middle(self) -> tuple[float, ...]:
        """Position of the middle of the grid per axis in mm."""
        return self.centre if self.centre is not None else (0.0,) * len(self.shape)

    @property
    def extent(self) -> tuple[float, ...]:
        """Edge-to-edge size per axis in mm."""
        return tuple(n * s for n, s in zip(self.shape, self.steps, strict=True))

    def coordinates(self) -> tuple[Floats, ...]:
        """Pixel-centre coordinates per axis in mm, each of shape ``(n,)``."""
        rows = zip(self.shape, self.steps, self.middle, strict=True)
        return tuple((np.arange(n) - (n - 1) / 2) * s + c for n, s, c in rows)


@dataclass(frozen=True)
class BeamStructure:
    """What stays when a beam's vectors become a run-time operand: sizes and kind."""

    kind: Kind
    n_views: int
    n_cols: int
    fan_step: float = 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """``(views, cols)`` of a sinogram."""
        return (self.n_views, self.n_cols)


class _Beam:
    """Shared by the beams: equality by content, the structure, and the shape of the data."""

    n_cols: int

    @property
    def kind(self) -> Kind:
        raise NotImplementedError

    if TYPE_CHECKING:  # a real property here would be taken for the default of VectorBeam's field

        @property
        def vectors(self) -> Floats: ...

    @property
    def fan_step(self) -> float:
        """Angle between neighbouring bins of a curved detector in rad; 0 for a flat one."""
        return 0.0

    @property
    def n_views(self) -> int:
        return int(self.vectors.shape[0])

    @property
    def shape(self) -> tuple[int, int]:
        """``(views, cols)`` of a sinogram."""
        return (self.n_views, self.n_cols)

    @property
    def structure(self) -> BeamStructure:
        """Kind and sizes without the vectors."""
        return BeamStructure(self.kind, self.n_views, self.n_cols, self.fan_step)

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        return (type(self), self.structure, digest(self.vectors))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Beam) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)


def _check_detector(n_cols: int, pitch: float) -> None:
    if n_cols < 1:
        raise ValueError(f"n_cols is {n_cols}; a detector needs at least one bin")
    _positive("pitch", pitch)


@dataclass(frozen=True, eq=False, repr=False)
class ParallelBeam(_Beam):
    """Parallel rays onto a line of bins.

    Bin ``k`` of view ``t`` sees the line ``x cos t + y sin t = s`` with
    ``s = (k - (n_cols - 1) / 2) * pitch + detector_offset``.

    Parameters
    ----------
    angles : array_like, (views,)
        View angles in rad.
    n_cols : int
        Number of detector bins.
    pitch : float
        Distance of neighbouring bins in mm.
    detector_offset : float
        Position of the middle of the detector along its own axis, in mm from the projected rotation axis.

    Examples
    --------
    >>> ParallelBeam.evenly(180, 256, pitch=0.5).shape
    (180, 256)
    """

    angles: Floats
    n_cols: int
    pitch: float = 1.0
    detector_offset: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "angles", frozen(self.angles, 1, "angles"))
        _check_detector(self.n_cols, self.pitch)

    @classmethod
    def evenly(
        cls, n_views: int, n_cols: int, *, span: float = math.pi, start: float = 0.0, **rest: float
    ) -> Self:
        """`n_views` equally spaced views over `span` rad, end excluded."""
        return cls(start + np.arange(n_views) * (span / max(n_views, 1)), n_cols, **rest)

    @property
    def kind(self) -> Kind:
        return "parallel"

    @property
    def axis_column(self) -> float:
        """Detector column (in bins, from 0) onto which the rotation axis projects."""
        return (self.n_cols - 1) / 2 - self.detector_offset / self.pitch

    @property
    def half_width(self) -> float:
        """Radius in mm of the circle about the axis that some view covers."""
        return self.n_cols * self.pitch / 2 + abs(self.detector_offset)

    @property
    def resolution(self) -> float:
        """Bin pitch at the rotation axis in mm."""
        return self.pitch

    def with_axis_column(self, column: float) -> Self:
        """The same beam with the rotation axis projected onto `column` (bins, from 0)."""
        return replace(self, detector_offset=((self.n_cols - 1) / 2 - column) * self.pitch)

    @cached_property
    def vectors(self) -> Floats:
        """Per view ``(dx, dy, cx, cy, ux, uy)``: direction, detector centre, bin step; mm, ``(views, 6)``."""
        u, d = _frame(self.angles)
        return frozen(np.concatenate([d, self.detector_offset * u, self.pitch * u], axis=1), 2, "vectors")

    def __getitem__(self, views: slice | npt.ArrayLike) -> Self:
        return replace(self, angles=np.atleast_1d(self.angles[views]))  # type: ignore[index]

    def __repr__(self) -> str:
        offset = f", detector_offset={self.detector_offset!r}" if self.detector_offset else ""
        return f"ParallelBeam({_spaced(self.angles)}, n_cols={self.n_cols}, pitch={self.pitch!r}{offset})"


@dataclass(frozen=True, eq=False, repr=False)
class FanBeam(_Beam):
    """Rays from a point source onto a flat or a curved (equiangular) line of bins.

    Parameters
    ----------
    angles : array_like, (views,)
        View angles in rad.
    n_cols : int
        Number of detector bins.
    pitch : float
        Distance of neighbouring bins in mm, along the detector (along the arc when curved).
    source_to_axis, source_to_detector : float
        Distances in mm.
    curved : bool
        Bins at equal angles on an arc about the source instead of on a straight line.
    detector_offset : float
        Shift of the detector along its own axis in mm (a quarter bin, or half the width for an offset scan).
    source_offset : float
        Shift of the source along the detector axis in mm.

    Examples
    --------
    >>> FanBeam.evenly(360, 512, pitch=1.0, source_to_axis=400.0, source_to_detector=800.0).magnification
    2.0
    """

    angles: Floats
    n_cols: int
    pitch: float
    source_to_axis: float
    source_to_detector: float
    curved: bool = False
    detector_offset: float = 0.0
    source_offset: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "angles", frozen(self.angles, 1, "angles"))
        _check_detector(self.n_cols, self.pitch)
        _positive("source_to_axis", self.source_to_axis)
        _positive("source_to_detector", self.source_to_detector)
        if self.curved and self.n_cols * self.pitch / self.source_to_detector >= math.pi:
            raise ValueError(
                "the curved detector spans half a turn or more; check pitch and source_to_detector"
            )

    @classmethod
    def evenly(
        cls, n_views: int, n_cols: int, *, span: float = 2 * math.pi, start: float = 0.0, **rest: Any
    ) -> Self:
        """`n_views` equally spaced views over `span` rad, end excluded."""
        return cls(start + np.arange(n_views) * (span / max(n_views, 1)), n_cols, **rest)

    @property
    def kind(self) -> Kind:
        return "fan"

    @property
    def fan_step(self) -> float:
        return self.pitch / self.source_to_detector if self.curved else 0.0

    @property
    def magnification(self) -> float:
        """source_to_detector over source_to_axis."""
        return self.source_to_detector / self.source_to_axis

    @property
    def resolution(self) -> float:
        """Bin pitch at the rotation axis in mm."""
        return self.pitch / self.magnification

    @property
    def axis_column(self) -> float:
        """Detector column (in bins, from 0) onto which the rotation axis projects."""
        at = self.gamma_of_axis * self.source_to_detector if self.curved else self._axis_on_detector
        return (self.n_cols - 1) / 2 + (at - self.detector_offset) / self.pitch

    @property
    def _axis_on_detector(self) -> float:
        return self.source_offset * (1 - self.magnification)

    @property
    def gamma_of_axis(self) -> float:
        """Fan angle in rad of the ray through the rotation axis."""
        return -math.atan2(self.source_offset, self.source_to_axis)

    @property
    def gammas(self) -> Floats:
        """Fan angle of every bin in rad, measured from the direction d; ``(cols,)``."""
        s = (np.arange(self.n_cols) - (self.n_cols - 1) / 2) * self.pitch + self.detector_offset
        return (
            s / self.source_to_detector
            if self.curved
            else np.arctan2(s - self.source_offset, self.source_to_detector)
        )

    @property
    def fan_angle(self) -> float:
        """Opening in rad of the fan, symmetric about the ray through the axis, bin edges included."""
        return 2 * self._half_fan

    @property
    def _half_fan(self) -> float:
        half = self.n_cols * self.pitch / 2
        ends = np.array([-half, half]) + self.detector_offset
        scale = self.source_to_detector
        g = ends / scale if self.curved else np.arctan2(ends - self.source_offset, scale)
        return float(np.abs(g - self.gamma_of_axis).max())

    @property
    def half_width(self) -> float:
        """Radius in mm of the circle about the axis that some view covers."""
        return math.hypot(self.source_to_axis, self.source_offset) * math.sin(
            min(self._half_fan, math.pi / 2)
        )

    def with_axis_column(self, column: float) -> Self:
        """The same beam with the rotation axis projected onto `column` (bins, from 0)."""
        shift = (column - self.axis_column) * self.pitch
        return replace(self, detector_offset=self.detector_offset - shift)

    @cached_property
    def vectors(self) -> Floats:
        """Per view ``(sx, sy, cx, cy, ux, uy)``: source, detector centre, bin step; mm, ``(views, 6)``."""
        u, d = _frame(self.angles)
        source = -self.source_to_axis * d + self.source_offset * u
        if self.curved:
            g = self.detector_offset / self.source_to_detector
            centre = source + self.source_to_detector * (math.cos(g) * d + math.sin(g) * u)
            step: Floats = self.pitch * (math.cos(g) * u - math.sin(g) * d)
        else:
            centre = (self.source_to_detector - self.source_to_axis) * d + self.detector_offset * u
            step = self.pitch * u
        return frozen(np.concatenate([source, centre, step], axis=1), 2, "vectors")

    def __getitem__(self, views: slice | npt.ArrayLike) -> Self:
        return replace(self, angles=np.atleast_1d(self.angles[views]))  # type: ignore[index]

    def __repr__(self) -> str:
        extra = "".join(
            f", {name}={getattr(self, name)!r}"
            for name in ("curved", "detector_offset", "source_offset")
            if getattr(self, name)
        )
        return (
            f"FanBeam({_spaced(self.angles)}, n_cols={self.n_cols}, pitch={self.pitch!r}, "
            f"source_to_axis={self.source_to_axis!r}, source_to_detector={self.source_to_detector!r}{extra})"
        )


@dataclass(frozen=True, eq=False, repr=False)
class VectorBeam(_Beam):
    """Any acquisition, view by view: motion, calibration results, or another tool's geometry.

    Parameters
    ----------
    vectors : array_like, (views, 6)
        ``(sx, sy, cx, cy, ux, uy)`` per view in mm: source position (fan) or ray direction (parallel, any
        length), centre of the detector, step from one bin to the next.
    n_cols : int
        Number of detector bins.
    kind : {"fan", "parallel"}
        What the first two components mean.
    fan_step : float
        Angle between bins of a curved detector in rad; 0 (default) for a flat one. A curved detector needs
        its step perpendicular to the central ray.

    Examples
    --------
    >>> moving = VectorBeam([[0, -400, 0, 400, 1, 0], [0.5, -400, 0, 400, 1, 0]], n_cols=64, kind="fan")
    >>> moving.shape
    (2, 64)
    """

    vectors: Floats
    n_cols: int
    kind: Kind = "fan"
    fan_step: float = 0.0

    def __post_init__(self) -> None:
        vectors = frozen(self.vectors, 2, "vectors")
        if vectors.shape[1] != 6:
            raise ValueError(
                f"vectors has shape {vectors.shape}; it needs six numbers per view (sx sy cx cy ux uy)"
            )
        if self.kind not in ("fan", "parallel"):
            raise ValueError(f"kind is {self.kind!r}; it must be 'fan' or 'parallel'")
        if self.kind == "parallel" and self.fan_step:
            raise ValueError("a curved detector (fan_step) needs a source: use kind='fan'")
        if self.n_cols < 1:
            raise ValueError(f"n_cols is {self.n_cols}; a detector needs at least one bin")
        object.__setattr__(self, "vectors", vectors)

    def __getitem__(self, views: slice | npt.ArrayLike) -> Self:
        return replace(self, vectors=np.atleast_2d(self.vectors[views]))  # type: ignore[index]

    def __repr__(self) -> str:
        curve = f", fan_step={self.fan_step!r}" if self.fan_step else ""
        return f"VectorBeam(<{self.n_views} views>, n_cols={self.n_cols}, kind={self.kind!r}{curve})"


Beam = ParallelBeam | FanBeam | VectorBeam


def _frame(angles: Floats) -> tuple[Floats, Floats]:
    """Detector axis u and ray direction d of each view, ``(views, 2)`` each."""
    c, s = np.cos(angles), np.sin(angles)
    return np.stack([c, s], axis=1), np.stack([-s, c], axis=1)


def covering(beam: ParallelBeam | FanBeam, *, n: int | None = None, spacing: float | None = None) -> Volume:
    """Square grid for a scan: bin pitch at the axis, centred on it, covering every ray.

    Parameters
    ----------
    beam : ParallelBeam or FanBeam
        The acquisition.
    n : int, optional
        Pixels per side; by default enough for the field of view, rounded up to a multiple of 16.
    spacing : float, optional
        Pixel size in mm; by default the bin pitch over the magnification.

    Examples
    --------
    >>> covering(ParallelBeam.evenly(10, 100)).shape
    (112, 112)
    """
    step = beam.resolution if spacing is None else float(spacing)
    _positive("spacing", step)
    if n is None:
        n = 16 * math.ceil(round(2 * beam.half_width / step, 6) / 16)
    return Volume((n, n), step)
