"""Two short vector loops that LLVM does not find by itself, written as portable LLVM vector code.

Both step through memory with hardware gathers where the processor has them and become scalar loads where it
has none. A block is 16 lanes of float32 or 8 of float64.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

I32, I64 = ir.IntType(32), ir.IntType(64)
LANES = 16  # tables are padded to this many entries at both ends, whatever the precision


def _data(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    return context.make_array(kind)(context, builder, value).data


class _Vector:
    """The handful of vector instructions the two loops are made of, for one block."""

    def __init__(self, context: Any, builder: Any, dtype: Any) -> None:
        self.b, self.module = builder, builder.module
        self.scalar = context.get_value_type(dtype)
        self.single = dtype == types.float32
        self.n = LANES if self.single else LANES // 2
        self.floats, self.ints = ir.VectorType(self.scalar, self.n), ir.VectorType(I32, self.n)
        self.suffix = f"v{self.n}f{32 if self.single else 64}"

    def splat(self, value: Any) -> Any:
        one = self.b.insert_element(
            ir.Constant(ir.VectorType(value.type, self.n), ir.Undefined), value, I32(0)
        )
        mask = ir.Constant(self.ints, [0] * self.n)
        return self.b.shuffle_vector(one, ir.Constant(one.type, ir.Undefined), mask)

    def constant(self, value: float) -> Any:
        return ir.Constant(self.floats, [value] * self.n)

    def at(self, base: Any, index: Any, kind: Any) -> Any:
        return self.b.bitcast(self.b.gep(base, [index]), kind.as_pointer())

    def load(self, base: Any, index: Any, kind: Any) -> Any:
        return self.b.load(self.at(base, index, kind), align=4)

    def store(self, value: Any, base: Any, index: Any) -> None:
        self.b.store(value, self.at(base, index, value.type), align=4)

    def call(self, name: str, *args: Any) -> Any:
        kind = ir.FunctionType(self.floats, [self.floats] * len(args))
        return self.b.call(
            cgutils.get_or_insert_function(self.module, kind, f"llvm.{name}.{self.suffix}"), args
        )

    def muladd(self, a: Any, b: Any, c: Any) -> Any:
        return self.call("fmuladd", a, b, c)

    def clamp(self, x: Any, low: Any, high: Any) -> Any:
        b = self.b
        x = b.select(b.fcmp_ordered(">", x, low), x, low)
        return b.select(b.fcmp_ordered("<", x, high), x, high)

    def _gather(self, base: Any, index: Any, item: Any, name: str, n: int) -> Any:
        """`n` values of type `item` at ``base + index`` (in floats, unaligned)."""
        b, wide = self.b, ir.VectorType(I64, n)
        start = b.insert_element(ir.Constant(wide, ir.Undefined), b.ptrtoint(base, I64), I32(0))
        start = b.shuffle_vector(start, start, ir.Constant(ir.VectorType(I32, n), [0] * n))
        size = 4 if self.single else 8
        offset = b.mul(b.sext(index, wide), ir.Constant(wide, [size] * n))
        places = b.inttoptr(b.add(start, offset), ir.VectorType(ir.PointerType(), n))
        kind = ir.VectorType(item, n)
        mask = ir.VectorType(ir.IntType(1), n)
        signature = ir.FunctionType(kind, [places.type, I32, mask, kind])
        function = cgutils.get_or_insert_function(self.module, signature, f"llvm.masked.gather.{name}")
        return b.call(function, [places, I32(4), ir.Constant(mask, [1] * n), ir.Constant(kind, ir.Undefined)])

    def pair(self, base: Any, index: Any) -> tuple[Any, Any]:
        """``base[index]`` and ``base[index + 1]``; in float32 both come in one 64-bit gather."""
        if not self.single:
            second = self.b.add(index, ir.Constant(self.ints, [1] * self.n))
            name = f"v{self.n}f64.v{self.n}p0"
            return (
                self._gather(base, index, self.scalar, name, self.n),
                self._gather(base, second, self.scalar, name, self.n),
            )
        half, b = self.n // 2, self.b
        none = ir.Constant(self.ints, ir.Undefined)
        both = []
        for start in (0, half):
            lanes = ir.Constant(ir.VectorType(I32, half), list(range(start, start + half)))
            part = b.shuffle_vector(index, none, lanes)
            raw = self._gather(base, part, ir.IntType(64), f"v{half}i64.v{half}p0", half)
            both.append(b.bitcast(raw, self.floats))
        even = ir.Constant(self.ints, list(range(0, 2 * self.n, 2)))
        odd = ir.Constant(self.ints, list(range(1, 2 * self.n, 2)))
        return b.shuffle_vector(both[0], both[1], even), b.shuffle_vector(both[0], both[1], odd)


@intrinsic  # type: ignore[untyped-decorator]
def sample_block(typingctx: Any, acc: Any, p: Any, m: Any, k: Any, r: Any, row: Any, limit: Any) -> Any:
    """``acc[k] += row[X]``, linear in ``X = clamp(p[k] + m[k] * r, 0, limit)``, for one block of k.

    `row` must hold a zero at both ends of ``0 .. limit`` and one readable value beyond.
    """
    dtype = acc.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = _Vector(context, builder, dtype)
        acc_p, p_p, m_p = (_data(context, builder, signature.args[i], args[i]) for i in range(3))
        row_p = _data(context, builder, signature.args[5], args[5])
        k_v = args[3]
        x = v.muladd(v.load(m_p, k_v, v.floats), v.splat(args[4]), v.load(p_p, k_v, v.floats))
        x = v.clamp(x, v.constant(0.0), v.splat(args[6]))
        j = builder.fptosi(x, v.ints)
        f = builder.fsub(x, builder.sitofp(j, v.floats))
        a, b = v.pair(row_p, j)
        value = v.muladd(f, builder.fsub(b, a), a)
        v.store(builder.fadd(v.load(acc_p, k_v, v.floats), value), acc_p, k_v)
        return context.get_dummy_value()

    return types.void(acc, p, m, types.intp, dtype, row, dtype), codegen


@intrinsic  # type: ignore[untyped-decorator]
def tent_block(typingctx: Any, acc: Any, j: Any, first: Any, x: Any, y: Any, pairs: Any) -> Any:
    """``acc[j] += sum_k max(0, 1 - |x[k] - j|) y[k]``, ``2 * pairs`` bins from ``first[j]``, a block of j."""
    dtype = acc.dtype

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        v = _Vector(context, builder, dtype)
        acc_p, first_p, x_p, y_p = (_data(context, builder, signature.args[i], args[i]) for i in (0, 2, 3, 4))
        j_v = args[1]
        steps = ir.Constant(v.floats, [float(i) for i in range(v.n)])
        here = builder.fadd(v.splat(builder.sitofp(j_v, v.scalar)), steps)
        one, zero = v.constant(1.0), v.constant(0.0)
        total = cgutils.alloca_once_value(builder, v.load(acc_p, j_v, v.floats))
        index = cgutils.alloca_once_value(builder, v.load(first_p, j_v, v.ints))
        with cgutils.for_range(builder, args[5]):
            at = builder.load(index)
            for xs, ys in zip(v.pair(x_p, at), v.pair(y_p, at), strict=True):
                weight = builder.fsub(one, v.call("fabs", builder.fsub(xs, here)))
                weight = builder.select(builder.fcmp_ordered(">", weight, zero), weight, zero)
                builder.store(v.muladd(weight, ys, builder.load(total)), total)
            builder.store(builder.add(at, ir.Constant(v.ints, [2] * v.n)), index)
        v.store(builder.load(total), acc_p, j_v)
        return context.get_dummy_value()

    return types.void(acc, types.intp, first, x, y, types.intp), codegen
