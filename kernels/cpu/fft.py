"""Fourier transforms of several columns at once, lines as in `lines`: butterflies need no shuffles.

Lengths are products of 2, 3 and 5. Stockham's order: every pass reads one buffer and writes the other, and
the result comes in natural order.
"""

from __future__ import annotations

import functools
from typing import Any

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

from .lines import Lines

Array = np.ndarray[Any, Any]
_jit = numba.njit(nogil=True, cache=True, error_model="numpy")


def _butterfly(radix: int) -> Any:
    @intrinsic  # type: ignore[untyped-decorator]
    def butterfly(
        typingctx: Any, a: Any, i: Any, i_step: Any, b: Any, j: Any, j_step: Any, w: Any, k: Any, flip: Any
    ) -> Any:
        """Lines ``i + n i_step`` of `a` to lines ``j + n j_step`` of `b`, times twiddles from `k` on."""
        dtype = a.dtype

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            v = Lines(context, builder, dtype)
            source, target, table = (v.data(signature.args[p], args[p]) for p in (0, 3, 6))
            size = ir.Constant(args[1].type, v.n)
            re = builder.mul(args[8], size)  # flipped, real and imaginary parts change places: the inverse
            im = builder.sub(size, re)
            numbers = []
            for n in range(radix):
                step = builder.mul(args[2], ir.Constant(size.type, n))
                line = builder.mul(builder.add(args[1], step), ir.Constant(size.type, 2 * v.n))
                numbers.append(tuple(v.load(source, builder.add(line, part)) for part in (re, im)))
            for n, value in enumerate(v.dft(numbers)):
                if n:
                    twiddle = v.twiddle(table, builder.add(args[7], ir.Constant(size.type, n - 1)))
                    value = v.times(value, twiddle)
                step = builder.mul(args[5], ir.Constant(size.type, n))
                line = builder.mul(builder.add(args[4], step), ir.Constant(size.type, 2 * v.n))
                for part, number in zip((re, im), value, strict=True):
                    v.store(number, target, builder.add(line, part))
            return context.get_dummy_value()

        whole = types.intp
        return types.void(a, whole, whole, b, whole, whole, w, whole, whole), codegen

    return butterfly


_two, _three, _four, _five = (_butterfly(r) for r in (2, 3, 4, 5))


@_jit  # type: ignore[untyped-decorator]
def transform(a: Array, b: Array, factors: Array, twiddles: Array, length: int, flip: int) -> bool:
    """Transform the lines of `a`, unscaled; `flip` 1 for the inverse. True if the result is in `b`."""
    n, stride, table, there = length, 1, 0, False
    for radix in factors:
        m = n // radix
        for p in range(m):
            k = table + p * (radix - 1)
            i, j, step = stride * p, stride * radix * p, stride * m
            if radix == 4:
                for q in range(stride):
                    _four(a, i + q, step, b, j + q, stride, twiddles, k, flip)
            elif radix == 2:
                for q in range(stride):
                    _two(a, i + q, step, b, j + q, stride, twiddles, k, flip)
            elif radix == 3:
                for q in range(stride):
                    _three(a, i + q, step, b, j + q, stride, twiddles, k, flip)
            else:
                for q in range(stride):
                    _five(a, i + q, step, b, j + q, stride, twiddles, k, flip)
        table += m * (radix - 1)
        n, stride, there = m, stride * radix, not there
        a, b = b, a
    return there


@functools.lru_cache(maxsize=64)
def plan(length: int, real: str) -> tuple[Array, Array] | None:
    """Factors and twiddles of a length, or None if it has others than 2, 3 and 5."""
    factors, n = [], length
    for radix in (4, 2, 3, 5):
        while n % radix == 0:
            factors.append(radix)
            n //= radix
    if n > 1:
        return None
    twiddles, n = [], length
    for radix in factors:
        m = n // radix
        angle = -2 * np.pi / n * np.multiply.outer(np.arange(m), np.arange(1, radix))
        twiddles.append(np.stack([np.cos(angle), np.sin(angle)], axis=-1).ravel())
        n = m
    table = np.concatenate(twiddles) if twiddles else np.zeros(0)
    return np.array(factors, np.int64), table.astype(real)
