"""Operators on torch tensors: autograd of any order, forward mode, vmap, torch.compile. The only torch here.

A torch custom op alone returns silent zeros under `torch.func.jvp`, and Dynamo refuses a Function with `jvp`;
so eager code goes through `Apply` and compiled code through the custom op. Both call the same kernels.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from . import dispatch, registry

if TYPE_CHECKING:
    from .base import LinearOperator

_REAL = {torch.complex64: torch.float32, torch.complex128: torch.float64}
_COMPLEX = {real: kind for kind, real in _REAL.items()}
_NAMES = {
    kind: str(kind).removeprefix("torch.") for kind in vars(torch).values() if isinstance(kind, torch.dtype)
}
_KINDS = {name: kind for kind, name in _NAMES.items()}
_counter = itertools.count()
_tensors: weakref.WeakValueDictionary[int, Tensor] = weakref.WeakValueDictionary()


def call(op: LinearOperator, x: Tensor, adjoint: bool) -> Tensor:
    """Apply an operator, or its adjoint, to a tensor."""
    kind = _KINDS[dispatch.working(op, _NAMES[x.dtype])]
    if op.field == "real" and kind in _REAL:
        parts = _primitive(op, torch.stack([x.real, x.imag]), adjoint)
        return torch.complex(parts[0], parts[1])
    y = _primitive(op, x.to(kind), adjoint)
    return y if kind in _REAL else y.to(x.dtype)


def _primitive(op: LinearOperator, x: Tensor, adjoint: bool) -> Tensor:
    if isinstance(op, _Bound):
        number, names = _number(op.base)
        operands = [_tensor(name, op.values[name]) for name in names]
    else:
        number, names = _number(op)
        operands = [_own(op, name) for name in names]
    for name, value in zip(names, operands, strict=True):
        if value.device not in (x.device, torch.device("cpu")):
            raise ValueError(
                f"operand {name} is on {value.device}, the input on {x.device}; move one with .to()"
            )
    if torch.compiler.is_compiling():
        compiled: Tensor = _apply(x, operands, number, adjoint)
        return compiled
    return _applied(x, number, adjoint, names, *operands)


def _applied(x: Tensor, number: int, adjoint: bool, names: tuple[str, ...], *operands: Tensor) -> Tensor:
    y: Tensor = Apply.apply(x, number, adjoint, names, *operands)  # type: ignore[no-untyped-call]
    return y


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _number(op: LinearOperator) -> tuple[int, tuple[str, ...]]:
    """The structure's number and the names of its operands."""
    return registry.handle(op), tuple(op.structure.operand_shapes)


def constant(op: LinearOperator, name: str, x: Tensor) -> Tensor:
    """The NumPy attribute `name` of an operator as a tensor on x's device, in x's precision."""
    value: Tensor = _own(op, name)
    real = _REAL.get(x.dtype, x.dtype)
    return value.to(x.device, _COMPLEX[real] if value.is_complex() else real)


def _own(op: LinearOperator, name: str) -> Tensor:
    """An operator's own array as a tensor; a compiled program carries its number."""
    if torch.compiler.is_compiling():
        compiled: Tensor = _stored(_store(op, name))
        return compiled
    return _kept(op, name)[1]


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def _store(op: LinearOperator, name: str) -> int:
    return _kept(op, name)[0]


def _kept(op: LinearOperator, name: str) -> tuple[int, Tensor]:
    """Number and tensor of an operator's own array, copied once and alive as long as the operator."""
    kept: dict[str, tuple[int, Tensor]] | None = vars(op).get("_tensors")
    if kept is None:
        kept = {}
        object.__setattr__(op, "_tensors", kept)
    if name not in kept:
        number = next(_counter)
        array = op.operands[name] if name in op.operands else getattr(op, name)
        # a thread of its own: what is kept must not belong to a transform or mode the caller is in
        with ThreadPoolExecutor(1) as outside:
            value = outside.submit(_tensor, name, array).result()
        kept[name], _tensors[number] = (number, value), value
    return kept[name]


@torch.library.custom_op("rayfold::stored", mutates_args=())
def _stored(number: int) -> Tensor:
    return _tensors[number].clone()


@_stored.register_fake
def _(number: int) -> Tensor:
    return torch.empty(_tensors[number].shape, dtype=_tensors[number].dtype)


def _tensor(name: str, value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if dispatch.library(type(value)) != "numpy":
        raise TypeError(
            f"operand {name} is a {dispatch.library(type(value))} array, the input a tensor; convert it"
        )
    return torch.from_numpy(np.array(value))


def _shape(number: int, x: Tensor, adjoint: bool, operands: list[Tensor]) -> tuple[int, ...]:
    op = registry.structure(number)
    return dispatch.shape_of(op, x, adjoint, dict(zip(op.operand_shapes, operands, strict=True)))


@torch.library.custom_op("rayfold::apply", mutates_args=())
def _apply(x: Tensor, operands: list[Tensor], op: int, adjoint: bool) -> Tensor:
    structure = registry.structure(op)
    out = torch.empty(_shape(op, x, adjoint, operands), dtype=x.dtype, device=x.device)
    named = dict(zip(structure.operand_shapes, operands, strict=True))
    if x.device.type == "cpu":
        arrays = {name: _plain(value).numpy() for name, value in named.items()}
        dispatch.run(structure, np, _plain(x).numpy(), out.numpy(), adjoint, arrays)
    elif x.device.type == "cuda":
        try:
            import cupy
        except ImportError as error:
            raise ImportError("CUDA tensors need CuPy: pip install 'rayfold[cuda12]' (or cuda13)") from error
        stream = cupy.cuda.ExternalStream(torch.cuda.current_stream(x.device).cuda_stream)
        with cupy.cuda.Device(x.device.index), stream:
            arrays = {
                k: cupy.asarray(_plain(v)) if v.is_cuda else _plain(v).numpy() for k, v in named.items()
            }
            dispatch.run(structure, cupy, cupy.asarray(_plain(x)), cupy.asarray(out), adjoint, arrays)
    else:
        raise ValueError(
            f"operators run on 'cpu' and 'cuda' tensors, got one on {x.device}; move it with .cpu()"
        )
    return out


def _plain(x: Tensor) -> Tensor:
    """Dense memory without lazy conjugation or negation."""
    return x.detach().resolve_conj().resolve_neg().contiguous()


@_apply.register_fake
def _(x: Tensor, operands: list[Tensor], op: int, adjoint: bool) -> Tensor:
    empty: Tensor = x.new_empty(_shape(op, x, adjoint, operands))
    return empty


def _compiled_context(ctx: Any, inputs: Any, output: Any) -> None:
    x, operands, ctx.number, ctx.adjoint = inputs
    ctx.shape, ctx.keep = x.shape, registry.structure(ctx.number)
    ctx.save_for_backward(*operands)


def _compiled_backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
    operands = list(ctx.saved_tensors)
    if any(value.requires_grad for value in operands):
        raise NotImplementedError(
            "torch.compile gives no gradient for operands yet; call without compile for that"
        )
    gx = _unbroadcast(_apply(g, operands, ctx.number, not ctx.adjoint), ctx.shape)
    return gx, [None] * len(operands), None, None


_apply.register_autograd(_compiled_backward, setup_context=_compiled_context)


def _mapped_first(number: int, adjoint: bool, values: list[Tensor], axes: list[int | None]) -> list[Tensor]:
    """Put the mapped axis in front of everything and line the other batch axes up behind it."""
    op = registry.structure(number)
    core = len(op.out_shape if adjoint else op.in_shape)
    cores = [core, *(len(shape) for shape in op.operand_shapes.values())]
    leads = [v.ndim - c - (a is not None) for v, c, a in zip(values, cores, axes, strict=True)]
    depth, moved = max(leads), []
    for value, axis, lead in zip(values, axes, leads, strict=True):
        if axis is not None:
            value = value.movedim(axis, 0)
            value = value.reshape(value.shape[0], *(1,) * (depth - lead), *value.shape[1:])
        moved.append(value)
    return moved


@_apply.register_vmap
def _(info: Any, dims: Any, x: Tensor, operands: list[Tensor], op: int, adjoint: bool) -> tuple[Tensor, int]:
    """The same for the bare operator, which compiled code maps over."""
    moved = _mapped_first(op, adjoint, [x, *operands], [dims[0], *(dims[1] or [])])
    return _apply(moved[0], moved[1:], op, adjoint), 0


def _unbroadcast(g: Tensor, shape: Any) -> Tensor:
    return g if g.shape == shape else g.sum_to_size(shape)


def _bound(number: int, names: tuple[str, ...], operands: tuple[Tensor, ...]) -> LinearOperator:
    structure = registry.structure(number)
    return structure if not names else _Bound(structure, dict(zip(names, operands, strict=True)))


def _operand_gradients(
    ctx: Any, x: Tensor, operands: list[Tensor], wanted: Sequence[bool], g: Tensor
) -> list[Tensor | None]:
    """Gradients of the operands that are wanted: the transpose of `tangent`, itself differentiable."""
    moving = [i for i, want in enumerate(wanted) if want]
    grads: list[Tensor | None] = [None] * len(operands)
    if not moving:
        return grads

    def derivative(*directions: Tensor) -> Tensor:
        op = _Bound(ctx.keep, dict(zip(ctx.names, operands, strict=True)))
        named = {ctx.names[i]: d for i, d in zip(moving, directions, strict=True)}
        step: Tensor = op.tangent(x, named, adjoint=ctx.adjoint)
        return step.to(x.dtype)

    zeros = [torch.zeros_like(operands[i]) for i in moving]
    for i, value in zip(moving, torch.func.vjp(derivative, *zeros)[1](g), strict=True):
        grads[i] = value
    return grads


class Apply(torch.autograd.Function):
    """The operator as a function with exact derivatives: linear in x, and in operands through `tangent`."""

    @staticmethod
    def forward(x: Tensor, number: int, adjoint: bool, names: tuple[str, ...], *operands: Tensor) -> Tensor:
        y: Tensor = _apply(x, list(operands), number, adjoint)
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, ctx.number, ctx.adjoint, ctx.names, *operands = inputs
        ctx.shape, ctx.keep = x.shape, registry.structure(ctx.number)  # alive until the graph is gone
        ctx.save_for_backward(x, *operands)
        ctx.save_for_forward(x, *operands)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, g: Tensor | None) -> tuple[Any, ...]:
        x, *operands = ctx.saved_tensors
        if g is None:
            return (None,) * (4 + len(operands))
        gx = None
        if ctx.needs_input_grad[0]:
            gx = _unbroadcast(_applied(g, ctx.number, not ctx.adjoint, ctx.names, *operands), ctx.shape)
        grads = _operand_gradients(ctx, x, operands, ctx.needs_input_grad[4:], g)
        return (gx, None, None, None, *grads)

    @staticmethod
    def jvp(ctx: Any, dx: Tensor | None, _: Any, __: Any, ___: Any, *directions: Tensor | None) -> Tensor:
        x, *operands = ctx.saved_tensors
        moving = {n: d for n, d in zip(ctx.names, directions, strict=True) if d is not None}
        total = None
        if dx is not None:
            total = _applied(dx, ctx.number, ctx.adjoint, ctx.names, *operands)
        if moving:
            step = _bound(ctx.number, ctx.names, tuple(operands)).tangent(x, moving, adjoint=ctx.adjoint)
            total = step.to(x.dtype) if total is None else total + step.to(x.dtype)
        return total  # type: ignore[return-value]

    @staticmethod
    def vmap(
        info: Any, dims: Any, x: Tensor, number: int, adjoint: bool, names: tuple[str, ...], *operands: Tensor
    ) -> tuple[Tensor, int]:
        moved = _mapped_first(number, adjoint, [x, *operands], [dims[0], *dims[4:]])
        return _applied(moved[0], number, adjoint, names, *moved[1:]), 0


from .base import Bound as _Bound  # noqa: E402  (base imports dispatch, which loads this module on demand)
