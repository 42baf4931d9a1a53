"""Painting of textured shapes onto a grid, front to back, and the smoothing that makes scans of them.

A picture is a table of parts, one row each (columns below), in index coordinates ``(z, y, x)`` of the grid; a
plane has one z. A part covers the pixels inside it that no earlier part has covered. Nothing here is random.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

Array = np.ndarray[Any, Any]
_jit = numba.njit(nogil=True, cache=True, error_model="numpy")  # no fastmath: the same picture everywhere

# kinds of parts
ELLIPSOID, BOX, STAR, POLYGON, CAPSULE, EVERYWHERE = range(6)
# columns: kind, centre, rotation (rows are the axes of the part), half-lengths along them
KIND, CENTRE, TURN, HALF = 0, 1, 4, 13
# shape: four pairs of Fourier coefficients of a star's radius (orders 2 to 5), or turns of a polygon's sides
FORM, SIDES = 16, 24
# grey value: mean, gradient along the axes, texture (which field, strength, place in it)
VALUE, SHADE, FIELD, STRENGTH, PLACE = 25, 26, 29, 30, 31
# waves: amplitude, frequency (rad per pixel; z, y, x), phase, sharpness 0..1, how much the texture bends them
WAVE, FREQUENCY, PHASE, SHARP, BEND = 34, 35, 38, 39, 40
# a part exists only where the field CUT (none if negative) lies between LOW and HIGH
CUT, LOW, HIGH = 41, 42, 43
COLUMNS = 44


@_jit  # type: ignore[untyped-decorator]
def _reach(row: Array, axis: int, kind: int) -> Any:
    """Half the extent of a part along an axis of the grid."""
    u = row[TURN + axis] * row[HALF]
    v = row[TURN + 3 + axis] * row[HALF + 1]
    w = row[TURN + 6 + axis] * row[HALF + 2]
    if kind == ELLIPSOID:
        return math.sqrt(u * u + v * v + w * w)
    if kind == STAR:
        grow = 1.0
        for k in range(4):
            grow += math.hypot(row[FORM + 2 * k], row[FORM + 2 * k + 1])
        return math.sqrt(grow * grow * (u * u + v * v) + w * w)
    if kind == CAPSULE:
        return abs(u) + row[HALF + 1]
    return abs(u) + abs(v) + abs(w)


@_jit  # type: ignore[untyped-decorator]
def _inside(row: Array, kind: int, u: float, v: float, w: float, sides: Array) -> Any:
    if kind == EVERYWHERE:
        return True
    if kind == BOX:
        return abs(u) < 1 and abs(v) < 1 and abs(w) < 1
    if kind == CAPSULE:  # not scaled; the radius falls from one end to the other
        a, b = row[HALF], row[HALF + 1]
        beyond = max(abs(u) - a, 0.0)
        radius = b * (1 - row[FORM] * u / a) if a > 0 else b
        return beyond * beyond + v * v + w * w < radius * radius
    flat = u * u + v * v
    if kind == ELLIPSOID:
        return flat + w * w < 1
    if kind == POLYGON:
        if abs(w) >= 1 or flat >= 2:
            return False
        most = -1.0
        for k in range(int(row[SIDES])):
            most = max(most, u * sides[k, 0] + v * sides[k, 1] - sides[k, 2])
        return most < 0
    depth = 1 - w * w
    if depth <= 0:
        return False
    radius, c, s = 1.0, 1.0, 0.0
    if flat > 0:
        r = math.sqrt(flat)
        c, s = u / r, v / r
    ck, sk = c, s
    for k in range(4):
        ck, sk = ck * c - sk * s, sk * c + ck * s
        radius += row[FORM + 2 * k] * ck + row[FORM + 2 * k + 1] * sk
    return flat < radius * radius * depth


@_jit  # type: ignore[untyped-decorator]
def paint(
    canvas: Array,
    free: Array,
    parts: Array,
    fields: Array,
    cuts: Array,
    shift: Array,
    furthest: float,
    add: bool,
) -> int:
    """Paint `parts` into `canvas` where `free`, which is kept up to date; the number of pixels still free.

    Arrays: `canvas` and `free` (nz, ny, nx); `parts` (n, COLUMNS); `fields` (m, fz, fy, fx), periodic, sides
    powers of two; `cuts` (k, nz, ny, nx); `shift` (3, nz, ny, nx), displacements of the coordinates by at
    most `furthest`, or empty. With `add` parts cover nothing and their values add up.
    """
    nz, ny, nx = canvas.shape
    mz, my, mx = fields.shape[1] - 1, fields.shape[2] - 1, fields.shape[3] - 1
    bent = shift.size > 0
    sides = np.empty((8, 3))
    for p in range(parts.shape[0]):
        row = parts[p]
        kind = int(row[KIND])
        z0, y0, x0 = float(row[CENTRE]), float(row[CENTRE + 1]), float(row[CENTRE + 2])
        if kind == EVERYWHERE:
            az, bz, ay, by, ax, bx = 0, nz, 0, ny, 0, nx
        else:
            reach = _reach(row, 0, kind) + furthest
            az, bz = max(math.ceil(z0 - reach), 0), min(math.floor(z0 + reach) + 1, nz)
            reach = _reach(row, 1, kind) + furthest
            ay, by = max(math.ceil(y0 - reach), 0), min(math.floor(y0 + reach) + 1, ny)
            reach = _reach(row, 2, kind) + furthest
            ax, bx = max(math.ceil(x0 - reach), 0), min(math.floor(x0 + reach) + 1, nx)
        if kind == POLYGON:
            n = int(row[SIDES])
            for k in range(n):
                at = 2 * math.pi * (k + 0.4 * row[FORM + k]) / n
                sides[k, 0], sides[k, 1], sides[k, 2] = (
                    math.cos(at),
                    math.sin(at),
                    0.85 + 0.15 * row[FORM + k],
                )
        su, sv, sw = 1.0, 1.0, 1.0
        if kind != CAPSULE:
            su, sv, sw = 1.0 / row[HALF], 1.0 / row[HALF + 1], 1.0 / row[HALF + 2]
        uz, uy, ux = row[TURN] * su, row[TURN + 1] * su, row[TURN + 2] * su
        vz, vy, vx = row[TURN + 3] * sv, row[TURN + 4] * sv, row[TURN + 5] * sv
        wz, wy, wx = row[TURN + 6] * sw, row[TURN + 7] * sw, row[TURN + 8] * sw
        swing = 0.0  # a star's radius lies within 1 - swing and 1 + swing
        if kind == STAR:
            for k in range(4):
                swing += math.hypot(row[FORM + 2 * k], row[FORM + 2 * k + 1])
        far, near = (1 + swing) ** 2, max(1 - swing, 0.0) ** 2
        field, strength, cut = int(row[FIELD]), row[STRENGTH], int(row[CUT])
        pz, py, px = int(row[PLACE]), int(row[PLACE + 1]), int(row[PLACE + 2])
        wave, sharp, bend = row[WAVE], row[SHARP], row[BEND]
        gu, gv, gw = row[SHADE], row[SHADE + 1], row[SHADE + 2]
        low, high, value = row[LOW], row[HIGH], row[VALUE]
        for z in range(az, bz):
            for y in range(ay, by):
                for x in range(ax, bx):
                    if not add and not free[z, y, x]:
                        continue
                    if cut >= 0 and not low <= cuts[cut, z, y, x] <= high:
                        continue
                    dz, dy, dx = z - z0, y - y0, x - x0
                    if bent:
                        dz += shift[0, z, y, x]
                        dy += shift[1, z, y, x]
                        dx += shift[2, z, y, x]
                    u = uz * dz + uy * dy + ux * dx
                    v = vz * dz + vy * dy + vx * dx
                    w = wz * dz + wy * dy + wx * dx
                    if kind in (ELLIPSOID, STAR):
                        square = u * u + v * v + w * w
                        if square >= far:
                            continue
                        if (square >= near or w != 0) and not _inside(row, kind, u, v, w, sides):
                            continue
                    elif not _inside(row, kind, u, v, w, sides):
                        continue
                    grey = value + gu * u + gv * v + gw * w
                    texture = fields[field, (z + pz) & mz, (y + py) & my, (x + px) & mx]
                    grey += strength * texture
                    if wave != 0:
                        turn = row[PHASE] + bend * texture
                        turn += row[FREQUENCY] * z + row[FREQUENCY + 1] * y + row[FREQUENCY + 2] * x
                        s = math.sin(turn)
                        grey += wave * s / (sharp * abs(s) + 1 - sharp) if sharp > 0 else wave * s
                    if add:
                        canvas[z, y, x] += grey
                    else:
                        canvas[z, y, x] = grey
                        free[z, y, x] = 0
    return int(np.sum(free))


@_jit  # type: ignore[untyped-decorator]
def filter_axis(a: Array, taps: Array, step: int, out: Array) -> None:
    """Filter ``(m, n, k)`` along n, edges repeated, keep every step-th sample: `out` is (m, n // step, k).

    Sample j of `out` is centred on the samples ``j step`` to ``j step + step - 1``.
    """
    m, n, k = a.shape
    before = (len(taps) - step) // 2
    for i in range(m):
        for j in range(out.shape[1]):
            first = j * step - before
            if k == 1:
                total = out.dtype.type(0)
                for t in range(len(taps)):
                    total += taps[t] * a[i, min(max(first + t, 0), n - 1), 0]
                out[i, j, 0] = total
            else:
                for q in range(k):
                    out[i, j, q] = 0
                for t in range(len(taps)):
                    source, weight = a[i, min(max(first + t, 0), n - 1)], taps[t]
                    for q in range(k):
                        out[i, j, q] += weight * source[q]


@_jit  # type: ignore[untyped-decorator]
def enlarge(coarse: Array, out: Array) -> None:
    """Trilinear interpolation of `coarse` over the whole of `out`, corner to corner."""
    mz, my, mx = coarse.shape
    nz, ny, nx = out.shape
    cz, cy, cx = (mz - 1) / max(nz - 1, 1), (my - 1) / max(ny - 1, 1), (mx - 1) / max(nx - 1, 1)
    line = np.empty(mx, out.dtype)
    left, share = np.empty(nx, np.int64), np.empty(nx, out.dtype)
    for x in range(nx):
        left[x] = min(int(x * cx), max(mx - 2, 0))
        share[x] = x * cx - left[x]
    for z in range(nz):
        z1 = min(int(z * cz), max(mz - 2, 0))
        z2, fz = min(z1 + 1, mz - 1), z * cz - z1
        for y in range(ny):
            y1 = min(int(y * cy), max(my - 2, 0))
            y2, fy = min(y1 + 1, my - 1), y * cy - y1
            for x in range(mx):
                near = (1 - fy) * coarse[z1, y1, x] + fy * coarse[z1, y2, x]
                line[x] = near + fz * ((1 - fy) * coarse[z2, y1, x] + fy * coarse[z2, y2, x] - near)
            for x in range(nx):
                k = left[x]
                out[z, y, x] = line[k] + share[x] * (line[min(k + 1, mx - 1)] - line[k])
