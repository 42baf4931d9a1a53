"""A Toeplitz gram in which transforms and the passes around them are one: arrays of `toeplitz`, seen flat.

Used for one component, a real kernel and lengths without factors beyond 5. Lines and columns are those of
`fft`; a group of columns (or rows) goes through both halves of the doubled transform while it is in cache.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .fft import combine, join, scale, split, transform, turn_in, turn_out

Array = np.ndarray[Any, Any]
_jit = numba.njit(nogil=True, cache=True, error_model="numpy")


@_jit  # type: ignore[untyped-decorator]
def rows_in(
    x: Array, maps: Array, a: Array, n: int, length: int, phase: Array, factors: Array, twiddles: Array,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Doubled transforms of rows: `x` (rows, n), times `maps` if there are any, to `a` (rows, 2, length)."""
    wide = 32 // x.itemsize
    u, v = np.empty(2 * wide * length, x.dtype), np.empty(2 * wide * length, x.dtype)
    seen = np.empty(2 * wide * n, x.dtype)
    for first in range(start, stop, wide):
        row = min(first, stop - wide)
        source, at = x, 2 * row * n
        if maps.size:
            for i in range(wide * n):
                re, im = x[at + 2 * i], x[at + 2 * i + 1]
                s, t = maps[at + 2 * i], maps[at + 2 * i + 1]
                seen[2 * i], seen[2 * i + 1] = re * s - im * t, re * t + im * s
            source, at = seen, 0
        for parity in range(2):
            for i in range(0, n, wide):
                i = min(i, n - wide)
                turn_in(source, at + 2 * i, 2 * n, u, i, phase, i * parity, parity)
            u[2 * wide * n :] = 0
            there = transform(u, v, factors, twiddles, length, 0)
            done = v if there else u
            for i in range(0, length, wide):
                i = min(i, length - wide)
                turn_out(done, i, a, 2 * ((2 * row + parity) * length + i), 4 * length)


@_jit  # type: ignore[untyped-decorator]
def rows_out(
    a: Array, maps: Array, out: Array, add: bool, n: int, length: int, phase: Array, factors: Array,
    twiddles: Array, start: int, stop: int,
) -> None:  # fmt: skip
    """Back from `rows_in`; with maps times their conjugates, and added to `out` (rows, n) if `add`."""
    wide = 32 // out.itemsize
    u, v = np.empty(2 * wide * length, out.dtype), np.empty(2 * wide * length, out.dtype)
    even, seen = np.empty(2 * wide * length, out.dtype), np.empty(2 * wide * n, out.dtype)
    for first in range(start, stop, wide):
        row = min(first, stop - wide)
        for parity in range(2):
            for i in range(0, length, wide):
                i = min(i, length - wide)
                turn_in(a, 2 * ((2 * row + parity) * length + i), 4 * length, u, i, phase, 0, 0)
            there = transform(u, v, factors, twiddles, length, 1)
            done = v if there else u
            if parity == 0:
                even[:] = done
            else:
                for i in range(n):
                    combine(even, done, i, phase, i)
        target, at = (seen, 0) if maps.size else (out, 2 * row * n)
        for i in range(0, n, wide):
            i = min(i, n - wide)
            turn_out(even, i, target, at + 2 * i, 2 * n)
        if maps.size:
            at = 2 * row * n
            for i in range((first - row) * n, wide * n):
                re, im = seen[2 * i], seen[2 * i + 1]
                s, t = maps[at + 2 * i], maps[at + 2 * i + 1]
                re, im = re * s + im * t, im * s - re * t
                if add:
                    re, im = re + out[at + 2 * i], im + out[at + 2 * i + 1]
                out[at + 2 * i], out[at + 2 * i + 1] = re, im


@_jit  # type: ignore[untyped-decorator]
def columns(
    x: Array, kernel: Array, inner: int, n: int, length: int, phase: Array, factors: Array, twiddles: Array,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Columns ``start .. stop`` of `x` (n, inner) convolved in place with `kernel` (inner, 2, length)."""
    wide = 32 // x.itemsize
    size = 2 * wide * length
    u, v, even = np.empty(size, x.dtype), np.empty(size, x.dtype), np.empty(size, x.dtype)
    few = np.empty(2 * wide * n, x.dtype)
    for first in range(start, stop, wide):
        column = min(first, inner - wide)
        source, at, step = x, 2 * column, 2 * inner
        partial = first + wide > stop
        if partial:  # lanes beyond the last column are other ones, computed and not stored
            for i in range(n):
                few[2 * wide * i : 2 * wide * (i + 1)] = x[at + i * step : at + i * step + 2 * wide]
            source, at, step = few, 0, 2 * wide
        for parity in range(2):
            for i in range(n):
                split(source, at + i * step, u, i, phase, i * parity)
            u[2 * wide * n :] = 0
            there = transform(u, v, factors, twiddles, length, 0)
            here, other = (v, u) if there else (u, v)
            for f in range(length):
                scale(here, f, kernel, (2 * column + parity) * length + f, 2 * length)
            there = transform(here, other, factors, twiddles, length, 1)
            done = other if there else here
            if parity == 0:
                even[:] = done
            else:
                for i in range(n):
                    join(even, done, i, source, at + i * step, phase, i)
        if partial:
            for i in range(n):
                for j in range(2 * (first - column), 2 * min(wide, stop - column)):
                    x[2 * (i * inner + column) + j] = few[2 * wide * i + j]


@_jit  # type: ignore[untyped-decorator]
def middle_in(
    x: Array, a: Array, inner: int, n: int, length: int, phase: Array, factors: Array, twiddles: Array,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Doubled transforms of the columns of `x` (planes, n, inner), to `a` (planes, inner, 2, length)."""
    wide = 32 // x.itemsize
    u, v = np.empty(2 * wide * length, x.dtype), np.empty(2 * wide * length, x.dtype)
    for plane in range(start, stop):
        for column in range(0, inner, wide):
            column = min(column, inner - wide)
            for parity in range(2):
                for i in range(n):
                    split(x, 2 * ((plane * n + i) * inner + column), u, i, phase, i * parity)
                u[2 * wide * n :] = 0
                there = transform(u, v, factors, twiddles, length, 0)
                done = v if there else u
                for i in range(0, length, wide):
                    i = min(i, length - wide)
                    at = (2 * (plane * inner + column) + parity) * length + i
                    turn_out(done, i, a, 2 * at, 4 * length)


@_jit  # type: ignore[untyped-decorator]
def middle_out(
    a: Array, x: Array, inner: int, n: int, length: int, phase: Array, factors: Array, twiddles: Array,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Back from `middle_in`."""
    wide = 32 // x.itemsize
    size = 2 * wide * length
    u, v, even = np.empty(size, x.dtype), np.empty(size, x.dtype), np.empty(size, x.dtype)
    for plane in range(start, stop):
        for column in range(0, inner, wide):
            column = min(column, inner - wide)
            for parity in range(2):
                for i in range(0, length, wide):
                    i = min(i, length - wide)
                    at = (2 * (plane * inner + column) + parity) * length + i
                    turn_in(a, 2 * at, 4 * length, u, i, phase, 0, 0)
                there = transform(u, v, factors, twiddles, length, 1)
                done = v if there else u
                if parity == 0:
                    even[:] = done
            for i in range(n):
                join(even, done, i, x, 2 * ((plane * n + i) * inner + column), phase, i)
