"""From an array's exact type to the code that applies an operator; imports nothing that is not loaded."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .base import LinearOperator

Array = Any
Bridge = Callable[..., Array]
_bridges: dict[type, Bridge] = {}
_names: dict[Any, str] = {}
_namespaces: dict[type, Any] = {}
_libraries: dict[type, str] = {}
_constants: dict[type, Bridge] = {}
_HALF = {"float16", "bfloat16"}
_REAL = {*_HALF, "float32", "float64"}
_COMPLEX = {"complex64": "float32", "complex128": "float64"}


def library(kind: type) -> str:
    """Name of the array library a type belongs to, its base classes included."""
    for base in kind.__mro__:
        name = base.__module__.partition(".")[0].replace("jaxlib", "jax")
        if name in ("numpy", "cupy", "torch", "jax"):
            return name
    raise TypeError(
        f"operators take NumPy, CuPy, PyTorch or JAX arrays, not {kind.__name__}; wrap it in numpy.asarray"
    )


def dtype_name(x: Array) -> str:
    """Name of an array's type, the same in every library: "float32", "complex64"."""
    name = _names.get(x.dtype)
    if name is None:
        name = _names[x.dtype] = str(x.dtype).removeprefix("torch.")
    return name


def namespace(x: Array) -> Any:
    """The array API namespace of an array."""
    found = _namespaces.get(type(x))
    if found is None:
        from array_api_compat import array_namespace

        found = _namespaces[type(x)] = array_namespace(x)
    return found


def constant(op: LinearOperator, name: str, x: Array) -> Array:
    """The NumPy attribute `name` of an operator in the library, on the device and in the precision of `x`."""
    if type(x) not in _constants:  # an operator of arithmetic may be the first to see a tracer
        _bridge(type(x))
    return _constants[type(x)](op, name, x)


def _constant(op: LinearOperator, name: str, x: Array) -> Array:
    """NumPy, CuPy and JAX."""
    value = getattr(op, name)
    double = dtype_name(x) in ("float64", "complex128")
    kind = ("complex64", "complex128") if np.iscomplexobj(value) else ("float32", "float64")
    if value.dtype != kind[double]:  # converted once; what is held never changes
        kept = vars(op).setdefault("_cast", {})
        if (name, double) not in kept:
            kept[name, double] = value.astype(kind[double])
        value = kept[name, double]
    return namespace(x).asarray(value)


def require_same(name: str, value: Array, x: Array) -> Array:
    """An operand, if it is of the library of `x`; TypeError otherwise."""
    mine, theirs = _libraries.get(type(x)) or library(type(x)), library(type(value))
    if mine != theirs:
        raise TypeError(f"operand {name} is a {theirs} array, the input a {mine} array; convert one of them")
    return value


def is_traced(value: Any) -> bool:
    """Whether a number or array is a placeholder of JAX, whose values nobody can look at."""
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.core.Tracer)


def is_plain(value: Any) -> bool:
    """Whether a number or array has values to look at, outside any graph, program or transform."""
    if is_traced(value) or getattr(value, "requires_grad", False):
        return False
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(value, torch.Tensor):
        return True
    return not (torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(value))


def to_numpy(value: Any) -> Any:
    """A number or an array of any library as a NumPy array, on the host and outside any graph."""
    if hasattr(value, "detach"):
        return value.detach().cpu().resolve_conj().resolve_neg().numpy()
    return value.get() if type(value).__module__.startswith("cupy") else np.asarray(value)


def match(value: Array, x: Array) -> Array:
    """An array in the library, on the device and in the precision of `x`; NumPy's may become any other's."""
    kind, xp = dtype_name(x), namespace(x)
    wide = kind in ("float64", "complex128")
    name = (
        ("complex64", "complex128")[wide] if "complex" in str(value.dtype) else ("float32", "float64")[wide]
    )
    if library(type(value)) != library(type(x)):
        if not isinstance(value, np.ndarray | np.generic):
            theirs, mine = library(type(value)), library(type(x))
            raise TypeError(f"a {theirs} array meets a {mine} array; convert one of them")
        value = value.astype(name, copy=False)
        return xp.asarray(value) if is_traced(x) else xp.asarray(value, device=x.device)
    return xp.astype(value, getattr(xp, name), copy=False)


def _bridge(kind: type) -> Bridge:
    name = library(kind)
    module = None if name in ("numpy", "cupy") else import_module(f".bridge_{name}", __package__)
    _constants[kind] = getattr(module, "constant", _constant)
    _libraries[kind] = name
    _bridges[kind] = module.call if module else _arrays
    return _bridges[kind]


def check(op: LinearOperator, x: Array, *, adjoint: bool) -> tuple[int, ...]:
    """Raise unless `x` ends in the operator's shape; return its leading axes."""
    shape = op.out_shape if adjoint else op.in_shape
    lead = len(x.shape) - len(shape)
    if lead < 0 or tuple(x.shape[lead:]) != tuple(shape):
        name = op.H.label if adjoint else op.label
        raise ValueError(f"{name} expects (..., {', '.join(map(str, shape))}), got {tuple(x.shape)}")
    return tuple(x.shape[:lead])


def working(op: LinearOperator, dtype: str) -> str:
    """Precision to compute in for input of type `dtype`; half types are computed in float32."""
    if dtype in _COMPLEX:
        return dtype
    if dtype not in _REAL:
        raise TypeError(
            f"operators take floating-point arrays, got {dtype}; convert with astype('float32') first"
        )
    real = dtype if dtype in ("float32", "float64") else "float32"
    return {"float32": "complex64", "float64": "complex128"}[real] if op.field == "complex" else real


def enter(op: LinearOperator, x: Array) -> Array:
    """Check what a user passed and evaluate; half types are computed in float32 from end to end."""
    if type(x) not in _bridges:
        _bridge(type(x))
    check(op, x, adjoint=False)
    working(op, dtype_name(x))
    if dtype_name(x) not in _HALF:
        return op.evaluate(x, adjoint=False)
    xp = namespace(x)
    y = op.evaluate(xp.astype(x, xp.float32), adjoint=False)
    return y if dtype_name(y) in _COMPLEX else xp.astype(y, x.dtype)


def call(op: LinearOperator, x: Array, *, adjoint: bool) -> Array:
    """Apply an operator that has an `apply`, or its adjoint, to an array of any supported library."""
    kind = type(x)
    bridge = _bridges.get(kind)
    if bridge is None:
        bridge = _bridge(kind)
    check(op, x, adjoint=adjoint)
    return bridge(op, x, adjoint)


def broadcast(lead: tuple[int, ...], operands: dict[str, Array], cores: dict[str, tuple[int, ...]]) -> Any:
    """Common leading axes of the input and of batched operands, and which operands are batched."""
    leads = {k: tuple(v.shape[: len(v.shape) - len(cores[k])]) for k, v in operands.items()}
    for name, value in operands.items():
        core = tuple(value.shape[len(leads[name]) :])
        if core != tuple(cores[name]):
            raise ValueError(
                f"operand {name} must end in shape {tuple(cores[name])}, got {tuple(value.shape)}"
            )
    full = lead
    for axes in leads.values():
        if axes:
            full = _broadcast_shapes(full, axes)
    return full, {k for k, axes in leads.items() if axes}


def _broadcast_shapes(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    n = max(len(a), len(b))
    a, b = (1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b
    if any(i != j and 1 not in (i, j) for i, j in zip(a, b, strict=True)):
        raise ValueError(f"batch axes {a} of the input and {b} of an operand do not broadcast")
    return tuple(j if i == 1 else i for i, j in zip(a, b, strict=True))


def shape_of(op: LinearOperator, x: Array, adjoint: bool, operands: dict[str, Array]) -> tuple[int, ...]:
    """Shape of the result, batch axes of input and operands broadcast together."""
    ishape, oshape = (op.out_shape, op.in_shape) if adjoint else (op.in_shape, op.out_shape)
    lead = tuple(x.shape[: len(x.shape) - len(ishape)])
    return (*broadcast(lead, operands, dict(op.operand_shapes))[0], *oshape)


def run(op: LinearOperator, xp: Any, x: Array, out: Array, adjoint: bool, operands: dict[str, Array]) -> None:
    """Flatten the batch and call `apply`: NumPy or CuPy arrays of the working precision, `out` contiguous."""
    ishape, oshape = (op.out_shape, op.in_shape) if adjoint else (op.in_shape, op.out_shape)
    lead = tuple(x.shape[: x.ndim - len(ishape)])
    cores = dict(op.operand_shapes)
    full, batched = broadcast(lead, operands, cores)
    n = math.prod(full)
    if out.size == 0:
        return
    if x.size == 0:
        out[...] = 0
        return

    def flat(value: Array, core: tuple[int, ...]) -> Array:
        if tuple(value.shape) != (*full, *core):
            value = xp.broadcast_to(value, (*full, *core))
        return xp.ascontiguousarray(value).reshape(n, *core)

    given = {name: flat(v, cores[name]) if name in batched else v for name, v in operands.items()}
    op.apply(flat(x, ishape), out.reshape(n, *oshape), adjoint=adjoint, **given)


def _arrays(op: LinearOperator, x: Array, adjoint: bool) -> Array:
    """NumPy and CuPy."""
    xp = sys.modules[library(type(x))]
    structure, operands = op.structure, dict(op.operands)
    for name, value in operands.items():
        found = library(type(value))
        if found not in ("numpy", xp.__name__):
            raise TypeError(
                f"operand {name} is a {found} array, the input a {xp.__name__} array; convert one of them"
            )
    kind = working(op, str(x.dtype))
    split = op.field == "real" and kind in _COMPLEX
    data = xp.stack([x.real, x.imag]) if split else x.astype(kind, copy=False)
    out = xp.empty(shape_of(structure, data, adjoint, operands), data.dtype)
    run(structure, xp, data, out, adjoint, operands)
    if split:
        return out[0] + xp.asarray(1j, kind) * out[1]
    return out if kind in _COMPLEX else out.astype(x.dtype, copy=False)
