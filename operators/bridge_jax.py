"""Operators on JAX arrays: jit, grad, jvp, linear_transpose, vmap, of every order. The only jax here.

One primitive, linear in its first argument; kernels run in place on XLA's buffers through `buffer_callback`.
JAX transposes (A^T) where the adjoint conjugates (A^H), hence the two conjugations in the transpose rule.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.buffer_callback import buffer_callback
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from . import dispatch

if TYPE_CHECKING:
    from .base import LinearOperator

Array = Any
_apply = Primitive("rayfold_apply")
_data: set[type] = set()  # dataclasses that are pytrees already


def call(op: LinearOperator, x: Array, adjoint: bool) -> Array:
    """Apply an operator, or its adjoint, to a JAX array or tracer."""
    kind = dispatch.working(op, str(x.dtype))
    if op.field == "real" and kind.startswith("complex"):
        parts = _bind(op, jnp.stack([x.real, x.imag]), adjoint)
        return jax.lax.complex(parts[0], parts[1])
    y = _bind(op, x.astype(kind), adjoint)
    return y if kind.startswith("complex") else y.astype(x.dtype)


def _bind(op: LinearOperator, x: Array, adjoint: bool) -> Array:
    values, packed = [], []
    for name, value in op.operands.items():
        if not isinstance(value, Bits) and dispatch.library(type(value)) not in ("numpy", "jax"):
            raise TypeError(
                f"operand {name} is a {dispatch.library(type(value))} array, the input a JAX one; convert it"
            )
        value = _exact(value)
        packed.append(isinstance(value, Bits))
        values.append(jnp.asarray(value.bits if isinstance(value, Bits) else value))
    return _apply.bind(x, *values, op=op.structure, adjoint=adjoint, packed=tuple(packed))


class Bits(NamedTuple):
    """Float64 numbers as pairs of 32-bit integers along a last axis."""

    bits: Array


def _exact(value: Array) -> Array:
    """An operator's own float64 numbers as bits: without x64 JAX would round them."""
    if isinstance(value, np.ndarray) and value.dtype == np.float64 and not jax.config.jax_enable_x64:
        return Bits(np.ascontiguousarray(value).view(np.uint32).reshape(*value.shape, 2))
    return value


def _out_shape(op: LinearOperator, x: Array, operands: tuple[Array, ...], adjoint: bool, packed: Any) -> Any:
    shapes = {
        name: jax.ShapeDtypeStruct(v.shape[:-1] if pack else v.shape, np.float64 if pack else v.dtype)
        for name, v, pack in zip(op.operand_shapes, operands, packed, strict=True)
    }
    return dispatch.shape_of(op, x, adjoint, shapes)


def _run(x: Array, *operands: Array, op: LinearOperator, adjoint: bool, packed: tuple[bool, ...]) -> Array:
    def launch(ctx: Any, out: Any, x: Any, *operands: Any) -> None:
        try:
            stream = ctx.stream
        except Exception:  # no stream on the CPU, and the type raised differs between versions
            _fill(np, out, x, operands)
            return
        import cupy

        with cupy.cuda.ExternalStream(stream):
            _fill(cupy, out, x, operands)

    def _fill(xp: Any, out: Any, x: Any, operands: Any) -> None:
        arrays = [xp.asarray(v) for v in operands]
        given = {
            name: v.view(np.float64).reshape(v.shape[:-1]) if pack else v
            for name, v, pack in zip(op.operand_shapes, arrays, packed, strict=True)
        }
        dispatch.run(op, xp, xp.asarray(x), xp.asarray(out), adjoint, given)

    shape = _out_shape(op, x, operands, adjoint, packed)
    if 0 in shape or 0 in x.shape:
        return jnp.zeros(shape, x.dtype)
    return buffer_callback(launch, jax.ShapeDtypeStruct(shape, x.dtype))(x, *operands)


_apply.def_impl(partial(jax.jit, static_argnames=("op", "adjoint", "packed"))(_run))


def _abstract(x: Array, *operands: Array, op: LinearOperator, adjoint: bool, packed: tuple[bool, ...]) -> Any:
    return jax.core.ShapedArray(_out_shape(op, x, operands, adjoint, packed), x.dtype)


_apply.def_abstract_eval(_abstract)

mlir.register_lowering(_apply, mlir.lower_fun(_run, multiple_results=False))


def _jvp(primals: Any, tangents: Any, *, op: LinearOperator, adjoint: bool, packed: tuple[bool, ...]) -> Any:
    x, *operands = primals
    dx, *directions = tangents
    y = _apply.bind(x, *operands, op=op, adjoint=adjoint, packed=packed)
    dy = None
    if type(dx) is not ad.Zero:
        dy = _apply.bind(dx, *operands, op=op, adjoint=adjoint, packed=packed)
    moving = {
        name: d
        for name, d, pack in zip(op.operand_shapes, directions, packed, strict=True)
        if not pack and type(d) is not ad.Zero
    }
    if moving:
        bound = _Bound(op, dict(zip(op.operand_shapes, operands, strict=True)))
        step = bound.tangent(x, moving, adjoint=adjoint).astype(y.dtype)
        dy = step if dy is None else dy + step
    return y, ad.Zero.from_primal_value(y) if dy is None else dy


ad.primitive_jvps[_apply] = _jvp


def _transpose(
    ct: Any, x: Any, *operands: Any, op: LinearOperator, adjoint: bool, packed: tuple[bool, ...]
) -> Any:
    none = [None] * len(operands)
    if type(ct) is ad.Zero:
        return [ad.Zero(x.aval), *none]
    back = jnp.conj(_apply.bind(jnp.conj(ct), *operands, op=op, adjoint=not adjoint, packed=packed))
    if back.shape != x.aval.shape:  # a batched operand had broadcast the input
        extra = back.ndim - len(x.aval.shape)
        back = back.sum(tuple(range(extra)))
        back = back.sum(tuple(i for i, n in enumerate(x.aval.shape) if n != back.shape[i]), keepdims=True)
    return [back, *none]


ad.primitive_transposes[_apply] = _transpose


def _batch(args: Any, dims: Any, *, op: LinearOperator, adjoint: bool, packed: tuple[bool, ...]) -> Any:
    core = len(op.out_shape if adjoint else op.in_shape)
    cores = [core, *(len(s) + pack for s, pack in zip(op.operand_shapes.values(), packed, strict=True))]
    mapped = [d is not None for d in dims]
    leads = [np.ndim(v) - c - m for v, c, m in zip(args, cores, mapped, strict=True)]
    moved = []
    for value, dim, lead, is_mapped in zip(args, dims, leads, mapped, strict=True):
        if is_mapped:
            value = jnp.moveaxis(value, dim, 0)
            value = value.reshape(value.shape[0], *(1,) * (max(leads) - lead), *value.shape[1:])
        moved.append(value)
    return _apply.bind(*moved, op=op, adjoint=adjoint, packed=packed), 0


batching.primitive_batchers[_apply] = _batch


def register(kind: type[LinearOperator]) -> None:
    """Make a class of operators a pytree: its arrays are leaves, everything else is structure."""
    jax.tree_util.register_pytree_node(kind, _flatten, _unflatten)


def _flatten(op: LinearOperator) -> tuple[tuple[Any, ...], Any]:
    if isinstance(op, Composite):
        named = {each.name: getattr(op, each.name) for each in dataclasses.fields(op)}  # type: ignore[arg-type]
        parts = {k: v for k, v in named.items() if _holds_operators(v)}
        rest = tuple((k, v) for k, v in named.items() if k not in parts)
        return tuple(parts.values()), (type(op), tuple(parts), rest)
    names = tuple(op.operands)
    by_kernel = type(op.structure).evaluate is LinearOperatorType.evaluate
    values = (_exact(op.operands[name]) if by_kernel else op.operands[name] for name in names)
    return tuple(values), (op.structure, names, ())


def _holds_operators(value: Any) -> bool:
    first = value[0] if isinstance(value, tuple) and value else value
    return isinstance(first, LinearOperatorType)


def _unflatten(about: Any, children: Any) -> Any:
    made, names, rest = about
    named = dict(zip(names, children, strict=True))
    if isinstance(made, type):
        return made(**named, **dict(rest))
    return made.bind(**named) if names else made


def register_data(kind: type) -> None:
    """Make a frozen dataclass a pytree: its fields are leaves, but for those marked as configuration."""
    if kind in _data:
        return
    _data.add(kind)

    def split() -> tuple[list[str], list[str]]:  # asked late: the class may not be a dataclass yet
        every = dataclasses.fields(kind)
        static = [each.name for each in every if each.metadata.get("static")]
        return [each.name for each in every if each.name not in static], static

    def flatten(value: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        leaves, static = split()
        return tuple(getattr(value, k) for k in leaves), tuple(getattr(value, k) for k in static)

    def unflatten(static: tuple[Any, ...], leaves: tuple[Any, ...]) -> Any:
        made: Any = object.__new__(kind)  # what was checked once may come back as a placeholder
        for key, value in (*zip(split()[0], leaves, strict=True), *zip(split()[1], static, strict=True)):
            object.__setattr__(made, key, value)
        return made

    jax.tree_util.register_pytree_node(kind, flatten, unflatten)


# base imports dispatch, which loads this module on demand
from .base import Bound as _Bound  # noqa: E402
from .base import Composite  # noqa: E402
from .base import LinearOperator as LinearOperatorType  # noqa: E402
from .noise import Noise  # noqa: E402


def _known(kind: type[Any]) -> Iterator[type[Any]]:
    for sub in kind.__subclasses__():
        yield sub
        yield from _known(sub)


for _kind in dict.fromkeys(_known(LinearOperatorType)):
    register(_kind)
for _kind in dict.fromkeys(_known(Noise)):
    register_data(_kind)
