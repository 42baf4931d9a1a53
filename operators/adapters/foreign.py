"""What all bridges share: the peer's module, its operators as ours, and the two adjoints side by side."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np

from rayfold.operators.base import LinearOperator
from rayfold.operators.checks import dot_test
from rayfold.operators.dispatch import namespace

Array = Any
Shape = tuple[int, ...]
_INSTALL = {
    "astra": "astra-toolbox",
    "tomosipo": "git+https://github.com/ahendriksen/tomosipo",
}


def peer(name: str) -> Any:
    """The module `name` as the caller has loaded it, imported if need be; ImportError if it is absent.

    Found by name when a bridge is used: no peer is ever a dependency of this package.
    """
    root = name.partition(".")[0]
    try:
        with np.printoptions():  # ODL's import changes how all arrays print
            return import_module(name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != root:
            raise
        raise ImportError(
            f"the bridge to {root} needs {root}: pip install '{_INSTALL.get(root, root)}'"
        ) from error


@dataclass(frozen=True, eq=False)
class Foreign(LinearOperator):
    """Another package's operator, one of ours from now on: any array library, batches, gradients, solvers.

    Two of these are equal when they hold the same object.

    Parameters
    ----------
    source : object
        The peer's operator; kept alive, never changed.
    shapes : tuple of two tuples of int
        Shapes of one input and one output.
    field : {"real", "complex"}
        As of any operator.
    """

    source: Any = dataclasses.field(repr=False)
    shapes: tuple[Shape, Shape]
    field: Literal["real", "complex"] = "real"

    @property
    def in_shape(self) -> Shape:
        return self.shapes[0]

    @property
    def out_shape(self) -> Shape:
        return self.shapes[1]

    @property
    def label(self) -> str:
        return f"{type(self.source).__module__.partition('.')[0]} {type(self.source).__name__}"

    def one(self, x: Array, adjoint: bool) -> Array:
        """The peer's result for a single array; what comes back is copied into place."""
        raise NotImplementedError(f"{self.label} must define `one` or `apply`")

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        for i in range(len(x)):
            out[i] = self.one(x[i], adjoint)


def shape(sizes: Any) -> Shape:
    """A peer's shape as a tuple of Python integers."""
    return tuple(int(n) for n in sizes)


def linked(a: Array, *, keep: bool = True) -> Array:
    """The array itself where ASTRA can use its memory, else another that it can, with the values if asked."""
    if str(a.dtype) == "float32" and a.flags.c_contiguous and getattr(a.flags, "writeable", True):
        return a
    return a.astype("float32", order="C") if keep else namespace(a).empty(a.shape, dtype="float32")


def compare_adjoints(
    ours: LinearOperator, theirs: LinearOperator, *, dtype: Literal["float32", "float64"] = "float32"
) -> str:
    """Dot tests of two operators, one line each, ours first.

    Parameters
    ----------
    ours : LinearOperator
        For example the native `XRay`.
    theirs : LinearOperator
        The peer's operator for the same task, from one of the ``from_...`` functions.
    dtype : {"float32", "float64"}
        Precision of the test.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> print(compare_adjoints(Identity((2,)), 2 * Identity((2,)), dtype="float64"))
    adjoint error of Identity in float64: 0.0e+00, exact adjoint
    adjoint error of Scaled in float64: 0.0e+00, exact adjoint
    """
    lines = []
    for op in (ours, theirs):
        found = dot_test(op, dtype=dtype)
        verdict = "exact adjoint" if found.ok else found.cause
        lines.append(f"adjoint error of {op.label} in {dtype}: {found.error:.1e}, {verdict}")
    return "\n".join(lines)
