"""The one class an operator author extends, and the operators that come for free from it.

An operator is a frozen dataclass with one method, `apply`, on batched NumPy or CuPy buffers. Calling it with
a NumPy, CuPy, torch or JAX array of any leading batch axes, its adjoint, algebra, gradients of any order,
forward mode, vmap and jit all follow (`dispatch`, `bridge_torch`, `bridge_jax`).
"""

from __future__ import annotations

import abc
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from itertools import pairwise
from numbers import Complex, Real
from typing import Any, ClassVar, Literal

import numpy as np

from . import dispatch, text
from .geometry import digest

Array = Any  # NumPy, CuPy, torch or JAX; what goes in comes out
_DERIVED = {"_key", "_registered", "_tensors", "_cast", "_grams"}


class LinearOperator(abc.ABC):
    """A linear map between arrays of fixed trailing shapes.

    Attributes
    ----------
    in_shape, out_shape : tuple of int
        Shapes of one input and one output; leading axes of the arrays are batch axes.
    field : {"real", "complex"}
        A complex operator promotes real input; a real one maps complex input part by part.
    nonnegative : bool
        All entries of the matrix are >= 0; gives solvers a cheap step size.

    Notes
    -----
    An operator that holds arrays (geometry vectors, weights, maps) is a ``dataclass(frozen=True, eq=False)``,
    compared by content here. It names the arrays in `operands` and returns from `structure` the same operator
    without them: arrays are run-time inputs, never part of a compiled program.
    `bind` puts arrays of the caller's own graph in their place; `tangent` is their derivative.

    Examples
    --------
    >>> @dataclass(frozen=True)
    ... class Flip(LinearOperator):
    ...     n: int
    ...     in_shape = out_shape = property(lambda self: (self.n,))
    ...
    ...     def apply(self, x, out, *, adjoint):
    ...         out[...] = x[:, ::-1]
    >>> Flip(3)(np.array([1.0, 2.0, 3.0]))
    array([3., 2., 1.])
    """

    field: Literal["real", "complex"] = "real"
    nonnegative: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        bridge = sys.modules.get(f"{__package__}.bridge_jax")
        if bridge is not None:  # operators are pytrees of JAX as soon as it is in use
            bridge.register(cls)

    @property
    @abc.abstractmethod
    def in_shape(self) -> tuple[int, ...]:
        """Trailing shape of an input."""

    @property
    @abc.abstractmethod
    def out_shape(self) -> tuple[int, ...]:
        """Trailing shape of an output."""

    @abc.abstractmethod
    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        """Write A(x), or A.H(x), into `out`: C-contiguous NumPy or CuPy buffers ``(batch, *shape)``.

        `operands` arrive as NumPy or CuPy arrays of their own shape, or with the batch axis in front.
        """

    @property
    def operands(self) -> Mapping[str, Array]:
        """Arrays the operator depends on, by name."""
        return {}

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shape of one (unbatched) operand, by name; a structure states it without holding the arrays."""
        return {name: tuple(value.shape) for name, value in self.operands.items()}

    @property
    def label(self) -> str:
        """Short name for messages."""
        return type(self).__name__

    @property
    def structure(self) -> LinearOperator:
        """The operator without its operands: hashable, comparable, small."""
        return self

    def tangent(self, x: Array, directions: Mapping[str, Array], *, adjoint: bool) -> Array:
        """Derivative of ``A(x)`` (of ``A.H(x)``) when the operands move in `directions`.

        Called on an operator whose `operands` are arrays of the caller's graph and whose `structure` has the
        other fields; written with differentiable calls, so that second derivatives come by themselves.
        `directions` holds only the operands that move, each of the shape of its operand.
        """
        raise NotImplementedError(
            f"{self.label} has no derivative with respect to {', '.join(directions)}; "
            "detach that operand, or differentiate with respect to the input only"
        )

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        """Apply to an array already checked, never a half type; composites override this."""
        return dispatch.call(self, x, adjoint=adjoint)

    def __call__(self, x: Array, **operands: Array) -> Array:
        """Apply to ``(..., *in_shape)``; keyword arrays replace operands for this call."""
        return dispatch.enter(self.bind(**operands) if operands else self, x)

    def bind(self, **operands: Array) -> LinearOperator:
        """The same structure with operands from the caller's graph: leaves, batched or not."""
        known = self.operand_shapes
        for name in operands:
            if name not in known:
                have = ", ".join(known) or "none"
                raise TypeError(f"{self.label} has no operand {name!r}; it has: {have}")
        own = self.operands if len(operands) < len(known) else {}
        return Bound(
            self.structure, {name: operands[name] if name in operands else own[name] for name in known}
        )

    @property
    def H(self) -> LinearOperator:
        """Adjoint (conjugate transpose); ``A.H.H is A``."""
        return Adjoint(self)

    @property
    def gram(self) -> LinearOperator:
        """``A.H @ A``; operators that know a faster way override it."""
        return Composed.of(self.H, self)

    def weighted_gram(self, weights: Array) -> LinearOperator:
        """``A.H W A`` for weights that broadcast to `out_shape`; some operators know a faster way."""
        from .calculus import Diagonal

        return Composed.of(self.H, Diagonal(self.out_shape, weights), self)

    def between(self, inner: LinearOperator) -> LinearOperator:
        """``inner.H @ self @ inner``; a gram that knows a faster way overrides it."""
        return Composed.of(inner.H, self, inner)

    def over(self, lead: tuple[int, ...]) -> LinearOperator:
        """The same operator along leading axes that belong to the problem, as coils; see `blocks.Batched`."""
        from .blocks import Batched

        return Batched(self, tuple(lead)) if lead else self

    def __matmul__(self, other: Any) -> Any:
        """Compose two operators, or apply to an array; one that has fewer axes acts along the others."""
        return Composed.of(self, other) if isinstance(other, LinearOperator) else self(other)

    def __add__(self, other: LinearOperator) -> LinearOperator:
        return Sum.of(self, other) if isinstance(other, LinearOperator) else NotImplemented

    def __sub__(self, other: LinearOperator) -> LinearOperator:
        return Sum.of(self, -1 * other) if isinstance(other, LinearOperator) else NotImplemented

    def __neg__(self) -> LinearOperator:
        return Scaled(self, -1.0)

    def __mul__(self, scalar: Any) -> LinearOperator:
        return Scaled(self, _number(scalar)) if isinstance(scalar, Complex) else NotImplemented

    __rmul__ = __mul__
    __array_ufunc__ = None  # NumPy scalars on the left leave the product to this class

    def __truediv__(self, scalar: Any) -> LinearOperator:
        return Scaled(self, 1 / _number(scalar)) if isinstance(scalar, Complex) else NotImplemented

    def __getitem__(self, rows: Any) -> LinearOperator:
        """Only some entries along the first output axis (views, shots): ordered subsets."""
        from .blocks import Select

        return Composed.of(Select(self.out_shape, _positions(rows, self.out_shape[0])), self)

    @cached_property
    def _key(self) -> tuple[Any, ...]:
        if not is_dataclass(self):
            return (id(self),)
        return (type(self), *(_token(getattr(self, each.name)) for each in fields(self)))

    def __getstate__(self) -> dict[str, Any]:
        """State without what was derived here: a number from this process means nothing in another."""
        return {key: value for key, value in vars(self).items() if key not in _DERIVED}

    def __eq__(self, other: object) -> bool:
        """Equal by content, arrays included; arrays other than NumPy's by identity."""
        return isinstance(other, LinearOperator) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        shapes = f"{self.in_shape, self.out_shape}"
        return text.call(self) if is_dataclass(self) else f"{type(self).__name__}{shapes}"

    def norm(self, n_iterations: int = 30, *, seed: int = 0) -> float:
        """Largest singular value by power iteration from a seeded start (from below, about 1 % after 30)."""
        rng = np.random.default_rng(seed)
        x = rng.standard_normal(self.in_shape)
        if self.field == "complex":
            x = x + 1j * rng.standard_normal(self.in_shape)
        x = x.astype(np.complex64 if self.field == "complex" else np.float32)
        value = 0.0
        for _ in range(n_iterations):
            size = float(np.linalg.norm(x))
            if size == 0:
                return 0.0
            x = self.gram(x / np.float32(size))
            value = math.sqrt(float(np.linalg.norm(x)))
        return value

    def norm_bound(self) -> float:
        """Upper bound of the norm of a non-negative operator: ``sqrt(max(A 1) * max(A.H 1))``."""
        if not self.nonnegative:
            raise ValueError(f"{self.label} may have negative entries; use norm() for its size")
        rows = self(np.ones(self.in_shape, np.float32))
        cols = self.H(np.ones(self.out_shape, np.float32))
        return math.sqrt(float(rows.max()) * float(cols.max())) if rows.size and cols.size else 0.0

    def dense(self, dtype: Any = np.float64) -> Any:
        """The matrix, ``(prod(out_shape), prod(in_shape))``; for tests and very small operators."""
        n = math.prod(self.in_shape)
        rows = self(np.eye(n, dtype=dtype).reshape(n, *self.in_shape))
        return rows.reshape(n, -1).T


def _number(value: Complex) -> float | complex:
    """A Python number from any scalar type."""
    return float(value) if isinstance(value, Real) else complex(value)


def _token(value: Any) -> Any:
    """Something hashable that stands for a field: its digest for an array."""
    if isinstance(value, np.ndarray):
        return digest(value)
    return ("the array", id(value)) if hasattr(value, "shape") and hasattr(value, "dtype") else value


def _positions(rows: Any, n: int) -> tuple[int, ...]:
    picked = np.arange(n)[rows]
    return tuple(int(i) for i in np.atleast_1d(picked))


def _more(whole: tuple[int, ...], part: tuple[int, ...]) -> tuple[int, ...]:
    """The leading axes of `whole` that `part` lacks, if it is otherwise the same."""
    n = len(whole) - len(part)
    return tuple(whole[:n]) if n > 0 and part and tuple(whole[n:]) == tuple(part) else ()


def _same(what: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    if tuple(a) != tuple(b):
        raise ValueError(f"cannot {what}: shapes {tuple(a)} and {tuple(b)} differ")


@dataclass(frozen=True, eq=False, repr=False)
class Bound(LinearOperator):
    """A structure with the operands to use: arrays of any library, with or without batch axes."""

    base: LinearOperator
    values: Mapping[str, Array]

    in_shape = property(lambda self: self.base.in_shape)
    out_shape = property(lambda self: self.base.out_shape)
    field = property(lambda self: self.base.field)
    nonnegative = property(lambda self: self.base.nonnegative)
    operands = property(lambda self: self.values)
    operand_shapes = property(lambda self: self.base.operand_shapes)
    structure = property(lambda self: self.base)
    label = property(lambda self: self.base.label)

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        self.base.apply(x, out, adjoint=adjoint, **operands)

    def tangent(self, x: Array, directions: Mapping[str, Array], *, adjoint: bool) -> Array:
        return type(self.base).tangent(self, x, directions, adjoint=adjoint)

    def over(self, lead: tuple[int, ...]) -> LinearOperator:
        """Batch axes of the operands stay in front of the new axes."""
        from .blocks import Batched

        lifted = self.base.over(lead)
        if not isinstance(lifted, Batched):
            return Bound(lifted, self.values)
        values = {}
        for name, value in self.values.items():
            core = self.operand_shapes[name]
            batch = tuple(value.shape)[: len(value.shape) - len(core)]
            values[name] = value.reshape((*batch, *(1,) * len(lifted.lead), *core)) if batch else value
        return Batched(Bound(self.base, values), lifted.lead)

    def __repr__(self) -> str:
        values = ", ".join(f"{name}={text.array(value)}" for name, value in self.values.items())
        return f"{self.base!r}.bind({values})"

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class Composite(LinearOperator):
    """An operator made of others: it evaluates them in the caller's own library."""

    parts: tuple[LinearOperator, ...]

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        out[...] = self.evaluate(x, adjoint=adjoint)

    @property
    def field(self) -> Literal["real", "complex"]:  # type: ignore[override]
        """Complex as soon as one part is."""
        return "complex" if any(part.field == "complex" for part in self.parts) else "real"

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]
        """Sums and products of non-negative matrices are non-negative."""
        return all(part.nonnegative for part in self.parts)

    def bind(self, **operands: Array) -> LinearOperator:
        """Refused: bind the part that holds the operand, then compose."""
        raise TypeError(f"{type(self).__name__} holds no operands; bind the part that does, then compose")


@dataclass(frozen=True)
class Adjoint(Composite):
    """The adjoint of an operator."""

    op: LinearOperator

    in_shape = property(lambda self: self.op.out_shape)
    out_shape = property(lambda self: self.op.in_shape)
    parts = property(lambda self: (self.op,))
    H = property(lambda self: self.op)
    label = property(lambda self: f"{self.op.label}.H")

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        return self.op.evaluate(x, adjoint=not adjoint)

    def bind(self, **operands: Array) -> LinearOperator:
        return self.op.bind(**operands).H

    def over(self, lead: tuple[int, ...]) -> LinearOperator:
        return self.op.over(lead).H


@dataclass(frozen=True)
class Composed(Composite):
    """A product of operators, the last applied first."""

    parts: tuple[LinearOperator, ...]

    @classmethod
    def of(cls, *factors: LinearOperator) -> LinearOperator:
        """Compose, flattening products, dropping identities, and acting along axes a factor does not have."""
        flat: list[LinearOperator] = []
        for factor in factors:
            flat.extend(factor.parts if isinstance(factor, Composed) else [factor])
        for i in reversed(range(len(flat) - 1)):
            flat[i] = flat[i].over(_more(flat[i + 1].out_shape, flat[i].in_shape))
        for i in range(1, len(flat)):
            flat[i] = flat[i].over(_more(flat[i - 1].in_shape, flat[i].out_shape))
        for left, right in pairwise(flat):
            _same(f"compose {left.label} @ {right.label}", left.in_shape, right.out_shape)
        kept = [op for op in flat if not isinstance(op, Identity)] or flat[:1]
        return kept[0] if len(kept) == 1 else cls(tuple(kept))

    in_shape = property(lambda self: self.parts[-1].in_shape)
    out_shape = property(lambda self: self.parts[0].out_shape)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        for part in self.parts if adjoint else self.parts[::-1]:
            x = part.evaluate(x, adjoint=adjoint)
        return x

    @property
    def gram(self) -> LinearOperator:
        return self._around(self.parts[0].gram)

    def _around(self, gram: LinearOperator) -> LinearOperator:
        """The gram of the first factor between all others."""
        for part in self.parts[1:]:
            gram = gram.between(part)
        return gram

    def weighted_gram(self, weights: Array) -> LinearOperator:
        return self._around(self.parts[0].weighted_gram(weights))

    def over(self, lead: tuple[int, ...]) -> LinearOperator:
        return Composed(tuple(part.over(lead) for part in self.parts)) if lead else self


@dataclass(frozen=True)
class Sum(Composite):
    """A sum of operators of the same shapes."""

    parts: tuple[LinearOperator, ...]

    @classmethod
    def of(cls, *terms: LinearOperator) -> LinearOperator:
        """Add, flattening nested sums."""
        flat: list[LinearOperator] = []
        for term in terms:
            _same("add operators (inputs)", terms[0].in_shape, term.in_shape)
            _same("add operators (outputs)", terms[0].out_shape, term.out_shape)
            flat.extend(term.parts if isinstance(term, Sum) else [term])
        return cls(tuple(flat))

    in_shape = property(lambda self: self.parts[0].in_shape)
    out_shape = property(lambda self: self.parts[0].out_shape)

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        total = self.parts[0].evaluate(x, adjoint=adjoint)
        for part in self.parts[1:]:
            total = total + part.evaluate(x, adjoint=adjoint)
        return total


@dataclass(frozen=True)
class Scaled(Composite):
    """An operator times a number."""

    op: LinearOperator
    scalar: complex

    in_shape = property(lambda self: self.op.in_shape)
    out_shape = property(lambda self: self.op.out_shape)
    parts = property(lambda self: (self.op,))

    @property
    def field(self) -> Literal["real", "complex"]:  # type: ignore[override]
        return "complex" if isinstance(self.scalar, complex) else self.op.field

    @property
    def nonnegative(self) -> bool:  # type: ignore[override]
        return self.op.nonnegative and not isinstance(self.scalar, complex) and self.scalar >= 0

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        factor = self.scalar.conjugate() if adjoint else self.scalar
        return self.op.evaluate(x, adjoint=adjoint) * factor


@dataclass(frozen=True)
class Identity(LinearOperator):
    """Leaves its input as it is."""

    shape: tuple[int, ...]
    nonnegative = True

    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: self.shape)
    H = property(lambda self: self)

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        out[...] = x

    def evaluate(self, x: Array, *, adjoint: bool) -> Array:
        return x
