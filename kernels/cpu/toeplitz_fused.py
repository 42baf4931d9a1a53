"""A Toeplitz gram in which transforms and the passes around them are one: arrays of `toeplitz`, seen flat.

Used for one component, a real kernel and lengths without factors beyond 5. Lines and columns are those of
`lines`; a group of columns (or rows) goes through both halves of the doubled transform while it is in cache.
The last group of an axis overlaps the one before it: what both compute is the same. Each function calls
`transform` in one place: the compiler copies it to every call.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from .fft import transform
from .lines import combine, join, put, scale, scale_square, split, turn, turn_in, turn_out

Array = np.ndarray[Any, Any]
_jit = numba.njit(nogil=True, cache=True, error_model="numpy")


@_jit  # type: ignore[untyped-decorator]
def _clear(a: Array, first: int) -> None:
    for i in range(first, len(a)):
        a[i] = 0


@_jit  # type: ignore[untyped-decorator]
def _store(a: Array, out: Array, at: int, length: int, step: int) -> None:
    """Lines of `a` to rows of `out`."""
    wide = 32 // out.itemsize
    for i in range(0, length, wide):
        first = min(i, length - wide)
        turn_out(a, first, out, at + 2 * first, step)


@_jit  # type: ignore[untyped-decorator]
def _fetch(x: Array, at: int, length: int, step: int, a: Array) -> None:
    """Rows of `x` to lines of `a`."""
    wide = 32 // x.itemsize
    for i in range(0, length, wide):
        first = min(i, length - wide)
        turn_in(x, at + 2 * first, step, a, first)


@_jit  # type: ignore[untyped-decorator]
def rows_in(
    x: Array, maps: Array, a: Array, n: int, length: int, phase: Array, factors: Array, twiddles: Array,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Doubled transforms of rows: `x` (rows, n), times `maps` if there are any, to `a` (rows, 2, length)."""
    wide = 32 // x.itemsize
    size = 2 * wide * length
    u, v, odd = np.empty(size, x.dtype), np.empty(size, x.dtype), np.empty(size, x.dtype)
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
        _fetch(source, at, n, 2 * n, u)
        for i in range(n):
            turn(u, odd, i, phase, i)
        _clear(u, 2 * wide * n)
        _clear(odd, 2 * wide * n)
        for parity in range(2):
            lines = odd if parity else u
            there = transform(lines, v, factors, twiddles, length, 0)
            _store(v if there else lines, a, (4 * row + 2 * parity) * length, length, 4 * length)


@_jit  # type: ignore[untyped-decorator]
def _back(
    a: Array, at: int, length: int, u: Array, v: Array, odd: Array, n: int, phase: Array, factors: Array,
    twiddles: Array,
) -> Array:  # fmt: skip
    """Rows of doubled transforms at ``a[at]`` to lines, those of n numbers; in `u` or `v`."""
    even, other, done = u, v, odd
    for parity in range(2):
        lines = odd if parity else u
        _fetch(a, at + 2 * parity * length, length, 4 * length, lines)
        there = transform(lines, other, factors, twiddles, length, 1)
        if parity:
            done = other if there else odd
        elif there:
            even, other = v, u
    for i in range(n):
        combine(even, done, i, phase, i)
    return even


@_jit  # type: ignore[untyped-decorator]
def rows_out(
    a: Array, maps: Array, out: Array, add: bool, n: int, length: int, phase: Array, factors: Array,
    twiddles: Array, start: int, stop: int,
) -> None:  # fmt: skip
    """Back from `rows_in`; with maps times their conjugates, and added to `out` (rows, n) if `add`."""
    wide = 32 // out.itemsize
    size = 2 * wide * length
    u, v, odd = np.empty(size, out.dtype), np.empty(size, out.dtype), np.empty(size, out.dtype)
    seen = np.empty(2 * wide * n, out.dtype)
    for first in range(start, stop, wide):
        row = min(first, stop - wide)
        even = _back(a, 4 * row * length, length, u, v, odd, n, phase, factors, twiddles)
        at = 2 * row * n
        if not maps.size:
            _store(even, out, at, n, 2 * n)
            continue
        _store(even, seen, 0, n, 2 * n)
        for i in range((first - row) * n, wide * n):
            re, im = seen[2 * i], seen[2 * i + 1]
            s, t = maps[at + 2 * i], maps[at + 2 * i + 1]
            re, im = re * s + im * t, im * s - re * t
            if add:
                re, im = re + out[at + 2 * i], im + out[at + 2 * i + 1]
            out[at + 2 * i], out[at + 2 * i + 1] = re, im


@_jit  # type: ignore[untyped-decorator]
def _convolve(
    a: Array, b: Array, kernel: Array, at: int, length: int, factors: Array, twiddles: Array
) -> bool:
    """Lines of `a` to their spectrum, times that of the kernel at ``kernel[at]``, and back; True: in `b`."""
    wide = 32 // a.itemsize
    whole, moved = length - length % wide, False
    for flip in range(2):
        if transform(a, b, factors, twiddles, length, flip):
            a, b, moved = b, a, not moved
        if flip == 0:
            for f in range(0, whole, wide):
                scale_square(a, f, kernel, at + f, 2 * length)
            for f in range(whole, length):
                scale(a, f, kernel, at + f, 2 * length)
    return moved


@_jit  # type: ignore[untyped-decorator]
def columns(
    x: Array, kernel: Array, inner: int, n: int, length: int, phase: Array, factors: Array, twiddles: Array,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Columns ``start .. stop`` of `x` (n, inner) convolved in place with `kernel` (inner, 2, length)."""
    wide = 32 // x.itemsize
    size = 2 * wide * length
    u, v, odd = np.empty(size, x.dtype), np.empty(size, x.dtype), np.empty(size, x.dtype)
    few = np.empty(2 * wide * n, x.dtype)
    for first in range(start, stop, wide):
        column = min(first, inner - wide)
        source, at, step = x, 2 * column, 2 * inner
        partial = first + wide > stop
        if partial:  # lanes beyond the last column are other ones, computed and not stored
            for i in range(n):
                for j in range(2 * wide):
                    few[2 * wide * i + j] = x[at + i * step + j]
            source, at, step = few, 0, 2 * wide
        for i in range(n):
            split(source, at + i * step, u, odd, i, phase, i)
        _clear(u, 2 * wide * n)
        _clear(odd, 2 * wide * n)
        even, other, done = u, v, odd
        for parity in range(2):
            lines = odd if parity else u
            place = (2 * column + parity) * length
            there = _convolve(lines, other, kernel, place, length, factors, twiddles)
            if parity:
                done = other if there else odd
            elif there:
                even, other = v, u
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
    size = 2 * wide * length
    u, v, odd = np.empty(size, x.dtype), np.empty(size, x.dtype), np.empty(size, x.dtype)
    for plane in range(start, stop):
        for first in range(0, inner, wide):
            column = min(first, inner - wide)
            for i in range(n):
                split(x, 2 * ((plane * n + i) * inner + column), u, odd, i, phase, i)
            _clear(u, 2 * wide * n)
            _clear(odd, 2 * wide * n)
            at = 4 * (plane * inner + column) * length
            for parity in range(2):
                lines = odd if parity else u
                there = transform(lines, v, factors, twiddles, length, 0)
                _store(v if there else lines, a, at + 2 * parity * length, length, 4 * length)


@_jit  # type: ignore[untyped-decorator]
def middle_out(
    a: Array, x: Array, inner: int, n: int, length: int, phase: Array, factors: Array, twiddles: Array,
    start: int, stop: int,
) -> None:  # fmt: skip
    """Back from `middle_in`."""
    wide = 32 // x.itemsize
    size = 2 * wide * length
    u, v, odd = np.empty(size, x.dtype), np.empty(size, x.dtype), np.empty(size, x.dtype)
    for plane in range(start, stop):
        for first in range(0, inner, wide):
            column = min(first, inner - wide)
            at = 4 * (plane * inner + column) * length
            even = _back(a, at, length, u, v, odd, n, phase, factors, twiddles)
            for i in range(n):
                put(even, i, x, 2 * ((plane * n + i) * inner + column))
