"""Off-resonance: the main field is not the same everywhere, and the signal turns while it is read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from . import dispatch
from .arithmetic import Arithmetic
from .base import LinearOperator

Array = Any
Floats = npt.NDArray[np.float64]
BINS = 200  # of the histogram of a field map
MOST_SEGMENTS = 64


class Segments(NamedTuple):
    """How ``exp(-2 pi i f t)`` is approximated by ``sum_l basis[l, t] exp(-2 pi i f centres[l])``.

    `basis` ``(segments, samples)`` is complex, `centres` ``(segments,)`` in ms, `error` the largest over the
    frequencies and times it was made for.
    """

    basis: npt.NDArray[np.complex128]
    centres: Floats
    error: float


def time_segments(
    times: Array,
    field_map: Array,
    *,
    n_segments: int | None = None,
    interpolator: Literal["measured", "uniform"] = "measured",
    tolerance: float = 1e-4,
) -> Segments:
    """Interpolators in time for a field map: best in the least squares sense, for every sample of its own.

    Parameters
    ----------
    times : array, (..., samples)
        When each sample is read, in ms from the excitation (or the echo, where the map's phase is 0).
    field_map : array
        Off-resonance in Hz, of any shape; only its distribution matters.
    n_segments : int, optional
        Number of segments; by default the fewest within `tolerance`.
    interpolator : {"measured", "uniform"}
        Weigh frequencies by how often the map has them, or all between its extremes alike: the choice for a
        map that will still change.
    tolerance : float
        Largest error allowed.

    Returns
    -------
    Segments
        With `basis` of shape ``(segments, *times.shape)``.

    Raises
    ------
    ValueError
        If times or map hold values that are not finite, the interpolator is unknown, or no number of segments
        reaches the tolerance.

    References
    ----------
    B. P. Sutton, D. C. Noll and J. A. Fessler, IEEE Trans. Med. Imaging 22 (2003) 178; J. A. Fessler et al.,
    IEEE Trans. Signal Process. 53 (2005) 3393.

    Examples
    --------
    >>> found = time_segments(np.linspace(0.0, 10.0, 100), np.linspace(-50.0, 50.0, 64))
    >>> found.basis.shape[1], found.error < 1e-4
    (100, True)
    """
    t = np.asarray(dispatch.to_numpy(times), np.float64)
    f = np.asarray(dispatch.to_numpy(field_map), np.float64).reshape(-1)
    if not (t.size and f.size and np.isfinite(t).all() and np.isfinite(f).all()):
        raise ValueError("times and field map must be finite and not empty; mask the map where it is unknown")
    if interpolator not in ("measured", "uniform"):
        raise ValueError(f"interpolator is {interpolator!r}; it must be 'measured' or 'uniform'")
    if n_segments is not None and n_segments < 1:
        raise ValueError(f"n_segments is {n_segments}; it must be 1 or more, or None to find their number")
    once, back = np.unique(t, return_inverse=True)  # shots share their times
    if interpolator == "measured":
        at, weight = _frequencies(np.sort(f))
    else:
        at, weight = np.linspace(f.min(), f.max(), BINS), np.ones(BINS)
    exact = _turn(at, once)
    span = float(np.ptp(t)) * 1e-3 * float(np.ptp(f))
    tried = range(2 + math.ceil(span), MOST_SEGMENTS) if n_segments is None else (n_segments,)
    found = None
    for n in tried:
        centres = np.linspace(t.min(), t.max(), n)
        basis = np.linalg.lstsq(_turn(at, centres) * weight[:, None], exact * weight[:, None], rcond=1e-12)[0]
        error = float(np.abs((_turn(at, centres) @ basis - exact) * weight[:, None]).max())
        every = basis[:, back.reshape(-1)].reshape(n, *t.shape)
        found = Segments(np.asarray(every, np.complex128), centres, error)
        if error <= tolerance:
            return found
    if n_segments is not None and found is not None:
        return found
    raise ValueError(
        f"{MOST_SEGMENTS} segments do not reach {tolerance:g} for {span:.3g} turns; "
        "allow a larger tolerance, or check that times are in ms and the map in Hz"
    )


def _frequencies(f: Floats) -> tuple[Floats, Floats]:
    """Lowest and highest frequency of every bin that is not empty, and their weights; `f` is sorted."""
    counts = np.histogram(f, bins=BINS)[0] if f[-1] > f[0] else np.array([len(f)])
    stop = np.cumsum(counts)
    used = counts > 0
    weight = np.sqrt(counts[used] / counts.max())
    return np.concatenate([f[(stop - counts)[used]], f[stop[used] - 1]]), np.concatenate([weight, weight])


def _turn(frequencies: Floats, times: Floats) -> npt.NDArray[np.complex128]:
    """Phases of frequencies in Hz after times in ms, ``(frequencies, times)``."""
    return np.asarray(np.exp(-2e-3j * np.pi * np.outer(frequencies, times)))


@dataclass(frozen=True, eq=False, repr=False)
class OffResonance(Arithmetic):
    """An image as it has turned at the middle of each time segment: ``y[l] = exp(-2 pi i f t_l) x``.

    With a `NUFFT` whose `basis` interpolates between the segments, the signal of an object that is off
    resonance is ``F @ O @ S``, S being the coils: ``y_j = sum_r x_r exp(-i k_j . r - 2 pi i f_r t_j)``. The
    gram keeps being convolutions, ``L (L + 1) / 2`` of them.

    Parameters
    ----------
    field_map : array, (*shape)
        Off-resonance in Hz; the operand ``field_map``, bound with or without batch axes.
    centres : tuple of float
        Middles of the segments in ms, see `time_segments`.

    Examples
    --------
    >>> from rayfold.operators import NUFFT
    >>> k = np.random.default_rng(0).uniform(-3, 3, (40, 2))
    >>> f, t = np.linspace(-30.0, 30.0, 48).reshape(6, 8), np.linspace(0.0, 8.0, 40)
    >>> found = time_segments(t, f)
    >>> A = NUFFT((6, 8), k, basis=found.basis) @ OffResonance(f, tuple(found.centres))
    >>> A.in_shape, A.out_shape
    ((6, 8), (40,))
    """

    field_map: Array
    centres: tuple[float, ...]
    shape: tuple[int, ...] | None = field(default=None, repr=False)
    lead: tuple[int, ...] = ()

    held = ("field_map",)
    field = "complex"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "centres", tuple(float(t) for t in self.centres))
        if not self.centres:
            raise ValueError("OffResonance needs at least one segment; time_segments finds them")
        if self.shape is None:
            if self.field_map is None or (
                isinstance(self.field_map, np.ndarray) and np.iscomplexobj(self.field_map)
            ):
                raise ValueError("the field map must be an array of real numbers, in Hz")
            object.__setattr__(self, "shape", tuple(self.field_map.shape))

    @property
    def _shape(self) -> tuple[int, ...]:
        return self.shape or ()

    in_shape = property(lambda self: (*self.lead, *self._shape))
    out_shape = property(lambda self: (*self.lead, len(self.centres), *self._shape))

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"field_map": self._shape}

    def over(self, lead: tuple[int, ...]) -> LinearOperator:
        return replace(self, lead=(*lead, *self.lead))

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        dispatch.check(self, x, adjoint=adjoint)
        xp, n = dispatch.namespace(x), len(self._shape)
        f = self.own("field_map", x)
        batch = tuple(f.shape)[: len(f.shape) - n]
        f = f.reshape((*batch, *(1,) * (len(self.lead) + 1 if batch else 1), *self._shape))
        t = dispatch.match(np.asarray(self.centres).reshape(-1, *(1,) * n), xp.real(x))
        angle = (-2e-3 * math.pi) * t * f
        sign = -1.0 if adjoint else 1.0
        phase = xp.cos(angle) + (sign * 1j) * xp.sin(angle)
        if adjoint:
            return xp.sum(phase * x, axis=-n - 1)
        return phase * xp.expand_dims(x, axis=-n - 1)
