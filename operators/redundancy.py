"""How much each measured ray counts in filtered back-projection, so that every line counts once."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from .geometry import FanBeam, ParallelBeam

Array = Any
_CLOSE = 1e-6  # rad: views nearer than this repeat each other


class Weights(NamedTuple):
    """Angle that each view stands for in rad ``(views,)``, weight of each ray ``(views, cols)``, a remark."""

    steps: Array
    rays: Array
    note: str


def weights(beam: ParallelBeam | FanBeam) -> Weights:
    """Quadrature and redundancy weights of a scan, found from its angles.

    Parallel: views count modulo half a turn. A full turn counts every ray half, or, when the axis is off the
    middle, with a smooth step in the doubly covered strip (Wang 2002). A fan between half a turn plus fan and
    a full turn uses Parker's weights in Silver's form (Med. Phys. 9 (1982) 254; 27 (2000) 959); below that
    none.

    Parameters
    ----------
    beam : ParallelBeam or FanBeam
        Angles in any order, evenly spaced or not; a closing view that repeats the first shares its weight.

    Raises
    ------
    ValueError
        If there are fewer than two different views.
    """
    if beam.n_views < 2 or np.ptp(beam.angles) < _CLOSE:
        raise ValueError(
            f"filtered back-projection needs two or more different angles, got {beam.n_views} views"
        )
    full, _, _ = spans(beam.angles, 2 * math.pi)
    if full:
        return Weights(
            shares(beam.angles, 2 * math.pi), np.broadcast_to(offset_weights(beam), beam.shape), ""
        )
    if isinstance(beam, ParallelBeam):
        half, _, span = spans(beam.angles, math.pi)
        note = (
            ""
            if half
            else f"views span {math.degrees(span):.4g} of 180 degrees: expect limited-angle artefacts"
        )
        return Weights(shares(beam.angles, math.pi), np.ones(beam.shape), note)
    _, start, span = spans(beam.angles, 2 * math.pi)
    steps = shares(beam.angles, 2 * math.pi)
    least = math.pi + beam.fan_angle
    if span < least - _CLOSE:
        needed = math.degrees(least)
        seen = f"views span {math.degrees(span):.4g} of the {needed:.4g} degrees of a short scan"
        note = f"{seen}: no Parker weights"
        return Weights(steps, np.ones(beam.shape), note)
    return Weights(steps, parker(beam, start, span), "")


def _gaps(angles: Array, period: float) -> tuple[Array, Array, float, float]:
    """Sorting order, gap behind each view in that order, usual gap, and the gap that means missing views."""
    turn = np.mod(angles, period)
    order = np.argsort(turn, kind="stable")
    gaps = np.diff(turn[order], append=turn[order[0]] + period)
    seen = np.sort(gaps[gaps > _CLOSE])
    usual = float(np.median(seen))
    # of n random views the widest gap is about log(n) mean gaps: only beyond that are views missing
    mean = float(seen[:-1].mean()) if len(seen) > 1 else float(seen[0])
    return order, gaps, usual, max(4 * usual, (math.log(len(seen)) + 3) * mean)


def spans(angles: Array, period: float) -> tuple[bool, float, float]:
    """Whether views go all the way round a period, where they start, and the angle they stand for (rad)."""
    order, gaps, usual, limit = _gaps(angles, period)
    widest = int(np.argmax(gaps))
    start = float(np.mod(angles[order[(widest + 1) % len(order)]], period))
    full = bool(gaps[widest] <= limit)
    return full, start, period if full else float(period - gaps[widest] + usual)


def shares(angles: Array, period: float) -> Array:
    """Angle that each view stands for: half the way to either neighbour, a missing wedge left out."""
    order, gaps, usual, limit = _gaps(angles, period)
    gaps = np.where(gaps > limit, usual, gaps)
    out = np.empty(len(angles))
    out[order] = 0.5 * (gaps + np.roll(gaps, 1))
    return out


def offset_weights(beam: ParallelBeam | FanBeam) -> Array:
    """Weights of a full turn, ``(cols,)``: a half where both sides are seen, one where a single is."""
    n = beam.n_cols
    if isinstance(beam, ParallelBeam):
        s = (np.arange(n) - beam.axis_column) * beam.pitch
        step = beam.pitch
    else:
        s = beam.gammas - beam.gamma_of_axis
        step = float(abs(s[-1] - s[0])) / max(n - 1, 1)
    low, high = -float(s[0]) + step / 2, float(s[-1]) + step / 2
    if min(low, high) <= 0:
        return np.ones(n)
    if abs(high - low) < 2 * step:
        return np.full(n, 0.5)
    short, sign = (low, 1.0) if low < high else (high, -1.0)
    ramp = min(short, max(20 * step, 2 * abs(high - low)))
    inside = np.clip((sign * s + short) / ramp, 0, 1), np.clip((short - sign * s) / ramp, 0, 1)
    rise = 0.5 * np.sin(0.5 * np.pi * inside[0]) ** 2
    fall = 1 - 0.5 * np.sin(0.5 * np.pi * inside[1]) ** 2
    return np.where(sign * s < 0, rise, fall)


def parker(beam: FanBeam, start: float, span: float) -> Array:
    """Parker's weights of a short scan, ``(views, cols)``; beyond the least one with a wider virtual fan."""
    beta = np.mod(beam.angles - start + _CLOSE, 2 * math.pi)[:, None] - _CLOSE
    gamma = (beam.gammas - beam.gamma_of_axis)[None, :]
    half = max((span - math.pi) / 2, beam.fan_angle / 2)
    first = 2 * (half + gamma)
    last = 2 * (half - gamma)
    end = math.pi + 2 * half
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.sin(0.5 * np.pi * np.clip(beta / first, 0, 1)) ** 2
        down = np.sin(0.5 * np.pi * np.clip((end - beta) / last, 0, 1)) ** 2
    up = np.where(first > 0, up, 1.0)
    down = np.where(last > 0, down, 1.0)
    return np.where(beta < first, up, np.where(beta > math.pi + 2 * gamma.clip(-half, half), down, 1.0))
