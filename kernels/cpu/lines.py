"""Vector instructions on columns of complex numbers, written as portable LLVM vector code.

A lane of a vector is a column. A line of memory holds one number of each: first the real parts of all lanes,
then the imaginary parts. Line k of a flat array `a` is ``a[2 * lanes * k : 2 * lanes * (k + 1)]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic

LANES = 8  # of float32; 4 of float64: half a line of cache
I32 = ir.IntType(32)


def lanes(real: Any) -> int:
    """Columns that are transformed together in float32 or float64."""
    return LANES if np.dtype(real) == np.float32 else LANES // 2


class Lines:
    """Vector instructions on arrays of float32 or float64."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.context, self.b = context, builder
        self.scalar = context.get_value_type(dtype)
        self.n = LANES if dtype == types.float32 else LANES // 2
        self.vector = ir.VectorType(self.scalar, self.n)

    def data(self, kind: Any, value: Any) -> Any:
        return self.context.make_array(kind)(self.context, self.b, value).data

    def at(self, base: Any, index: Any, n: int) -> Any:
        return self.b.bitcast(self.b.gep(base, [index]), ir.VectorType(self.scalar, n).as_pointer())

    def load(self, base: Any, index: Any, n: int = 0) -> Any:
        return self.b.load(self.at(base, index, n or self.n), align=self._align())

    def store(self, value: Any, base: Any, index: Any) -> None:
        self.b.store(value, self.at(base, index, value.type.count), align=self._align())

    def _align(self) -> int:
        return 4 if self.n == LANES else 8

    def number(self, base: Any, index: Any) -> Any:
        """One number in all lanes."""
        return self.splat(self.b.load(self.b.gep(base, [index])))

    def splat(self, value: Any) -> Any:
        one = self.b.insert_element(ir.Constant(self.vector, ir.Undefined), value, I32(0))
        none = ir.Constant(self.vector, ir.Undefined)
        return self.b.shuffle_vector(one, none, ir.Constant(ir.VectorType(I32, self.n), [0] * self.n))

    def constant(self, value: float) -> Any:
        return ir.Constant(self.vector, [value] * self.n)

    def shuffle(self, a: Any, b: Any, order: list[int]) -> Any:
        return self.b.shuffle_vector(a, b, ir.Constant(ir.VectorType(I32, len(order)), order))

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{self.n}f{32 if self.n == LANES else 64}"
        function = self.b.module.globals.get(name) or ir.Function(self.b.module, kind, name)
        return self.b.call(function, [a, b, c])

    def neg(self, a: Any) -> Any:
        return self.b.fneg(a)

    def load_line(self, base: Any, line: Any) -> Any:
        at = self.b.mul(line, ir.Constant(line.type, 2 * self.n))
        return self.load(base, at), self.load(base, self.b.add(at, ir.Constant(at.type, self.n)))

    def store_line(self, value: Any, base: Any, line: Any) -> None:
        at = self.b.mul(line, ir.Constant(line.type, 2 * self.n))
        self.store(value[0], base, at)
        self.store(value[1], base, self.b.add(at, ir.Constant(at.type, self.n)))

    def twiddle(self, table: Any, k: Any) -> Any:
        at = self.b.mul(k, ir.Constant(k.type, 2))
        return self.number(table, at), self.number(table, self.b.add(at, ir.Constant(at.type, 1)))

    def combined(self, even: Any, odd: Any, line: Any, table: Any, k: Any) -> Any:
        """``even + odd conj(w[k])``."""
        w, x = self.twiddle(table, k), self.load_line(odd, line)
        return self.add(self.load_line(even, line), self.times(x, (w[0], self.neg(w[1]))))

    def apart(self, pairs: Any) -> Any:
        """Real and imaginary parts of numbers that lie as pairs."""
        none = ir.Constant(pairs.type, ir.Undefined)
        return tuple(self.shuffle(pairs, none, list(range(part, 2 * self.n, 2))) for part in (0, 1))

    def together(self, value: Any) -> Any:
        order = [lane + part * self.n for lane in range(self.n) for part in (0, 1)]
        return self.shuffle(value[0], value[1], order)

    def turned(self, rows: list[Any]) -> list[Any]:
        """Rows to columns, by perfect shuffles."""
        half = self.n // 2
        for _ in range(self.n.bit_length() - 1):
            moved = []
            for x, y in zip(rows[:half], rows[half:], strict=True):
                for start in (0, half):
                    order = [i + part * self.n for i in range(start, start + half) for part in (0, 1)]
                    moved.append(self.shuffle(x, y, order))
            rows = moved
        return rows

    def add(self, x: Any, y: Any) -> Any:
        return self.b.fadd(x[0], y[0]), self.b.fadd(x[1], y[1])

    def sub(self, x: Any, y: Any) -> Any:
        return self.b.fsub(x[0], y[0]), self.b.fsub(x[1], y[1])

    def times(self, x: Any, w: Any) -> Any:
        """Complex product."""
        re = self.fma(x[0], w[0], self.neg(self.b.fmul(x[1], w[1])))
        return re, self.fma(x[0], w[1], self.b.fmul(x[1], w[0]))

    def shift(self, c: float, x: Any, y: Any) -> Any:
        """``y + c x`` for a real c."""
        c = self.constant(c)
        return self.fma(c, x[0], y[0]), self.fma(c, x[1], y[1])

    def scaled(self, c: float, x: Any) -> Any:
        c = self.constant(c)
        return self.b.fmul(c, x[0]), self.b.fmul(c, x[1])

    def minus_i(self, x: Any) -> Any:
        return x[1], self.neg(x[0])

    def dft(self, x: list[Any]) -> list[Any]:
        """Two, three, four or five numbers, with ``exp(-2 pi i j k / r)``."""
        if len(x) == 2:
            return [self.add(x[0], x[1]), self.sub(x[0], x[1])]
        if len(x) == 3:
            both, apart = self.add(x[1], x[2]), self.scaled(3**0.5 / 2, self.minus_i(self.sub(x[1], x[2])))
            middle = self.shift(-0.5, both, x[0])
            return [self.add(x[0], both), self.add(middle, apart), self.sub(middle, apart)]
        if len(x) == 4:
            a, b = self.add(x[0], x[2]), self.sub(x[0], x[2])
            c, d = self.add(x[1], x[3]), self.minus_i(self.sub(x[1], x[3]))
            return [self.add(a, c), self.add(b, d), self.sub(a, c), self.sub(b, d)]
        c1, c2, s1, s2 = (float(f(2 * np.pi * k / 5)) for f in (np.cos, np.sin) for k in (1, 2))
        a, b = self.add(x[1], x[4]), self.add(x[2], x[3])
        c, d = self.minus_i(self.sub(x[1], x[4])), self.minus_i(self.sub(x[2], x[3]))
        one, two = self.shift(c2, b, self.shift(c1, a, x[0])), self.shift(c1, b, self.shift(c2, a, x[0]))
        one_i, two_i = self.shift(s2, d, self.scaled(s1, c)), self.shift(-s1, d, self.scaled(s2, c))
        total = self.add(x[0], self.add(a, b))
        return [
            total, self.add(one, one_i), self.add(two, two_i), self.sub(two, two_i), self.sub(one, one_i),
        ]  # fmt: skip


@intrinsic  # type: ignore[untyped-decorator]
def split(typingctx: Any, x: Any, at: Any, a: Any, b: Any, line: Any, w: Any, k: Any) -> Any:
    """Complex numbers of columns from ``x[at]`` on to a line of `a`, and times ``w[k]`` to one of `b`."""
    dtype = x.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Lines(context, builder, dtype)
        source, even, odd, table = (v.data(signature.args[p], args[p]) for p in (0, 2, 3, 5))
        value = v.apart(v.load(source, args[1], 2 * v.n))
        v.store_line(value, even, args[4])
        v.store_line(v.times(value, v.twiddle(table, args[6])), odd, args[4])
        return context.get_dummy_value()

    return types.void(x, types.intp, a, b, types.intp, w, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def join(typingctx: Any, a: Any, b: Any, line: Any, x: Any, at: Any, w: Any, k: Any) -> Any:
    """A line of `a`, plus that of `b` times the conjugate of ``w[k]``, to columns from ``x[at]`` on."""
    dtype = x.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Lines(context, builder, dtype)
        even, odd, target, table = (v.data(signature.args[p], args[p]) for p in (0, 1, 3, 5))
        value = v.combined(even, odd, args[2], table, args[6])
        v.store(v.together(value), target, args[4])
        return context.get_dummy_value()

    return types.void(a, b, types.intp, x, types.intp, w, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def put(typingctx: Any, a: Any, line: Any, x: Any, at: Any) -> Any:
    """A line of `a` to columns from ``x[at]`` on."""
    dtype = x.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Lines(context, builder, dtype)
        source, target = (v.data(signature.args[p], args[p]) for p in (0, 2))
        v.store(v.together(v.load_line(source, args[1])), target, args[3])
        return context.get_dummy_value()

    return types.void(a, types.intp, x, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def scale(typingctx: Any, a: Any, line: Any, kernel: Any, at: Any, step: Any) -> Any:
    """A line of `a` times one number per column, ``kernel[at + column * step]``."""
    dtype = a.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Lines(context, builder, dtype)
        target, table = (v.data(signature.args[p], args[p]) for p in (0, 2))
        weight, at_ = ir.Constant(v.vector, ir.Undefined), args[3]
        for n in range(v.n):
            weight = builder.insert_element(weight, builder.load(builder.gep(table, [at_])), I32(n))
            at_ = builder.add(at_, args[4])
        value = [builder.fmul(weight, part) for part in v.load_line(target, args[1])]
        v.store_line(value, target, args[1])
        return context.get_dummy_value()

    return types.void(a, types.intp, kernel, types.intp, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def scale_square(typingctx: Any, a: Any, line: Any, kernel: Any, at: Any, step: Any) -> Any:
    """As many lines of `a` as there are columns times ``kernel[at + column * step + n]``."""
    dtype = a.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Lines(context, builder, dtype)
        target, table = (v.data(signature.args[p], args[p]) for p in (0, 2))
        _, line_, _, at_, step_ = args
        rows = []
        for _n in range(v.n):
            rows.append(v.load(table, at_))
            at_ = builder.add(at_, step_)
        for weight in v.turned(rows):
            v.store_line([builder.fmul(weight, part) for part in v.load_line(target, line_)], target, line_)
            line_ = builder.add(line_, ir.Constant(line_.type, 1))
        return context.get_dummy_value()

    return types.void(a, types.intp, kernel, types.intp, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def turn_in(typingctx: Any, x: Any, at: Any, step: Any, a: Any, line: Any) -> Any:
    """A square of numbers, rows at ``x[at + row * step]``, to lines of `a`."""
    dtype = x.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Lines(context, builder, dtype)
        source, target = (v.data(signature.args[p], args[p]) for p in (0, 3))
        _, at_, step_, _, line_ = args
        rows = []
        for _n in range(v.n):
            rows.append(v.apart(v.load(source, at_, 2 * v.n)))
            at_ = builder.add(at_, step_)
        for pair in zip(*(v.turned([row[part] for row in rows]) for part in (0, 1)), strict=True):
            v.store_line(pair, target, line_)
            line_ = builder.add(line_, ir.Constant(line_.type, 1))
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, a, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def turn(typingctx: Any, a: Any, b: Any, line: Any, w: Any, k: Any) -> Any:
    """A line of `a` times ``w[k]`` to that of `b`."""
    dtype = a.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Lines(context, builder, dtype)
        source, target, table = (v.data(signature.args[p], args[p]) for p in (0, 1, 3))
        v.store_line(v.times(v.load_line(source, args[2]), v.twiddle(table, args[4])), target, args[2])
        return context.get_dummy_value()

    return types.void(a, b, types.intp, w, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def turn_out(typingctx: Any, a: Any, line: Any, x: Any, at: Any, step: Any) -> Any:
    """Lines of `a` to a square of numbers, rows at ``x[at + row * step]``."""
    dtype = x.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Lines(context, builder, dtype)
        source, target = (v.data(signature.args[p], args[p]) for p in (0, 2))
        _, line_, _, at_, step_ = args
        lines = []
        for _n in range(v.n):
            lines.append(v.load_line(source, line_))
            line_ = builder.add(line_, ir.Constant(line_.type, 1))
        for pair in zip(*(v.turned([each[part] for each in lines]) for part in (0, 1)), strict=True):
            v.store(v.together(pair), target, at_)
            at_ = builder.add(at_, step_)
        return context.get_dummy_value()

    return types.void(a, types.intp, x, types.intp, types.intp), codegen


@intrinsic  # type: ignore[untyped-decorator]
def combine(typingctx: Any, a: Any, b: Any, line: Any, w: Any, k: Any) -> Any:
    """A line of `b` times the conjugate of ``w[k]`` is added to that of `a`."""
    dtype = a.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = Lines(context, builder, dtype)
        even, odd, table = (v.data(signature.args[p], args[p]) for p in (0, 1, 3))
        v.store_line(v.combined(even, odd, args[2], table, args[4]), even, args[2])
        return context.get_dummy_value()

    return types.void(a, b, types.intp, w, types.intp), codegen
