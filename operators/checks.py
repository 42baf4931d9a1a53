"""Public tests: is the adjoint right, how is it wrong if not, and does a plug-in keep the contract."""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import LinearOperator

Array = Any
BOUNDS = {"float32": 1e-5, "float64": 1e-12}


@dataclass(frozen=True)
class DotTest:
    """Result of a dot test.

    Attributes
    ----------
    error : float
        Largest mismatch of ``<A x, y>`` and ``<x, A.H y>``, relative to ``norm(A x) norm(y)``, and for the
        pair ``y = A |x|`` relative to the inner product itself.
    bound : float
        What is allowed.
    cause : str
        How the adjoint is wrong, when it is.
    """

    operator: str
    dtype: str
    error: float
    bound: float
    cause: str

    @property
    def ok(self) -> bool:
        """Whether the error is within the bound."""
        return self.error <= self.bound

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        verdict = "exact adjoint" if self.ok else f"NOT an adjoint: {self.cause}"
        head = f"dot test of {self.operator} in {self.dtype}"
        return f"{head}: {self.error:.1e} (allowed {self.bound:.0e}), {verdict}"


def _random(shape: tuple[int, ...], op: LinearOperator, dtype: str, rng: np.random.Generator) -> Array:
    x = rng.standard_normal(shape)
    if op.field == "complex":
        return (x + 1j * rng.standard_normal(shape)).astype({"float32": "complex64"}.get(dtype, "complex128"))
    return x.astype(dtype)


def _inner(a: Array, b: Array) -> complex:
    """``<a, b>`` in double precision."""
    wide = np.complex128 if np.iscomplexobj(a) or np.iscomplexobj(b) else np.float64
    return complex(np.vdot(a.astype(wide), b.astype(wide)))


def dot_test(
    op: LinearOperator, *, dtype: str = "float32", bound: float | None = None, seed: int = 0
) -> DotTest:
    """Compare ``<A x, y>`` with ``<x, A.H y>``, and say how the adjoint is wrong if it is.

    Two pairs are tried: a random one, and ``y = A |x|``, in which a wrong scale cannot hide between signs.

    Parameters
    ----------
    op : LinearOperator
        Operator to test; costs four applications, and about thirty more when it fails.
    dtype : {"float32", "float64"}
        Precision; complex operators are tested in the complex type of the same precision.
    bound : float, optional
        Allowed error: 1e-5 in float32 and 1e-12 in float64 by default.
    seed : int
        Seed of the random vectors.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> print(dot_test(Identity((4,)), dtype="float64"))
    dot test of Identity in float64: 0.0e+00 (allowed 1e-12), exact adjoint
    """
    rng = np.random.default_rng(seed)
    bound = BOUNDS[dtype] if bound is None else bound
    x, y = _random(op.in_shape, op, dtype, rng), _random(op.out_shape, op, dtype, rng)
    forward, back = op(x), op.H(y)
    scale = float(np.linalg.norm(forward) * np.linalg.norm(y))
    mismatch = abs(_inner(forward, y) - _inner(x, back))
    error = mismatch / scale if scale else mismatch
    positive = np.abs(x).astype(x.dtype)
    image = op(positive)
    size = abs(_inner(image, image))
    if size:
        error = max(error, abs(size - _inner(positive, op.H(image))) / size)
    cause = "" if error <= bound else _cause(op, y, back, rng)
    return DotTest(op.label, dtype, float(error), bound, cause)


def _cause(op: LinearOperator, y: Array, back: Array, rng: np.random.Generator) -> str:
    """Probe the true adjoint pixel by pixel and look for it in what the operator returned."""
    n = math.prod(op.in_shape)
    picks = rng.choice(n, size=min(n, 24), replace=False)
    basis = np.zeros((len(picks), n), y.dtype)
    basis[np.arange(len(picks)), picks] = 1
    columns = op(basis.reshape(len(picks), *op.in_shape))
    true = np.array([_inner(column, y) for column in columns])
    places = np.stack(np.unravel_index(picks, op.in_shape), axis=1)

    def fits(values: Array) -> complex | None:
        """Factor between `values` and the truth when they are proportional."""
        good = _inner(values, values)
        if abs(good) == 0:
            return None
        factor = _inner(values, true) / good
        residual = np.linalg.norm(true - factor * values) / max(float(np.linalg.norm(true)), 1e-300)
        return 1 / factor if residual < 1e-2 and factor else None

    seen = back.reshape(-1)[picks]
    factor = fits(seen)
    if factor is not None:
        number = factor.real if abs(factor.imag) < 1e-6 * abs(factor) else factor
        return f"it seems to be the adjoint scaled by {number:.6g}"
    if np.iscomplexobj(back) and fits(seen.conj()) is not None:
        return "it seems to be the conjugate of the adjoint (a transpose where a conjugate transpose is due)"
    square = len(op.in_shape) >= 2 and op.in_shape[-1] == op.in_shape[-2]
    if square and fits(np.swapaxes(back, -1, -2).reshape(-1)[picks]) is not None:
        return "it seems to have its last two axes transposed"
    for axis in range(len(op.in_shape)):
        if fits(np.flip(back, axis).reshape(-1)[picks]) is not None:
            return f"it seems to be flipped along axis {axis}"
    for shift in sorted(
        itertools.product(range(-2, 3), repeat=len(op.in_shape)), key=lambda s: sum(map(abs, s))
    ):
        moved = places + np.array(shift)
        inside = ((moved >= 0) & (moved < np.array(op.in_shape))).all(axis=1)
        values = np.zeros(len(picks), back.dtype)
        values[inside] = back[tuple(moved[inside].T)]
        if inside.sum() >= min(4, len(picks)) and fits(np.where(inside, values, true)) is not None:
            return f"it seems to be shifted by {shift} pixels"
    if not np.isfinite(back).all():
        return "it holds values that are not finite"
    return "it is not a scaled, shifted, flipped or transposed adjoint; compare A.dense() with A.H.dense()"


def gradient_test(op: LinearOperator, *, seed: int = 0) -> bool:
    """First and second derivatives in float64 under torch: reverse, forward and double backward.

    Parameters
    ----------
    op : LinearOperator
        Small operator (the check makes one call per entry of its input).
    seed : int
        Seed of the point.

    Returns
    -------
    bool
        True; a wrong derivative raises torch's GradcheckError, which shows the two Jacobians.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> gradient_test(Identity((3,)))
    True
    """
    import torch

    torch_rng = torch.Generator().manual_seed(seed)
    kind = torch.complex128 if op.field == "complex" else torch.float64
    for A in (op, op.H):
        x = torch.randn(A.in_shape, dtype=kind, generator=torch_rng, requires_grad=True)
        torch.autograd.gradcheck(A, x, check_forward_ad=True)
        torch.autograd.gradgradcheck(lambda v, A=A: abs(A(v)) ** 2, x)
    return True


@dataclass(frozen=True)
class Conformance:
    """What `conformance` found: one line per property, and whether all hold."""

    rows: tuple[tuple[str, bool, str], ...]

    @property
    def ok(self) -> bool:
        """Whether every property holds."""
        return all(row[1] for row in self.rows)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return "\n".join(f"{'ok  ' if good else 'FAIL'}  {name:<22} {text}" for name, good, text in self.rows)


def conformance(op: LinearOperator, *, seed: int = 0) -> Conformance:
    """Run the contract of this package on an operator, a plug-in author's own included.

    Parameters
    ----------
    op : LinearOperator
        A small instance (up to some thousand entries).
    seed : int
        Seed of the random arrays.

    Examples
    --------
    >>> from rayfold.operators import Identity
    >>> conformance(Identity((3, 2))).ok
    True
    """
    rng = np.random.default_rng(seed)
    checks: dict[str, Callable[[], str]] = {
        "hash, equality, repr": lambda: _identity(op),
        "linear": lambda: _linear(op, rng),
        "dot test float32": lambda: _dot(op, "float32"),
        "dot test float64": lambda: _dot(op, "float64"),
        "dense adjoint": lambda: _dense(op),
        "batch = loop": lambda: _batch(op, rng),
        "empty batch": lambda: _empty(op),
        "strided input": lambda: _strided(op, rng),
        "input left alone": lambda: _untouched(op, rng),
        "wrong shape refused": lambda: _refused(op),
        "two threads": lambda: _threads(op, rng),
    }
    if importlib.util.find_spec("torch"):
        checks["derivatives in torch"] = lambda: f"{gradient_test(op, seed=seed)}"
    rows = []
    for name, check in checks.items():
        try:
            rows.append((name, True, check()))
        except Exception as error:  # a plug-in may fail in any way; the report names it
            rows.append(
                (
                    name,
                    False,
                    f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}",
                )
            )
    return Conformance(tuple(rows))


def _need(condition: bool, text: str) -> None:
    if not condition:
        raise AssertionError(text)


def _difference(a: Array, b: Array) -> float:
    return float(np.abs(a - b).max() / max(float(np.abs(b).max()), 1e-300)) if np.size(b) else 0.0


def _identity(op: LinearOperator) -> str:
    hash(op.structure)
    _need(op == op and op == op.H.H, "an operator must equal itself and be its adjoint's adjoint")
    return repr(op)[:60]


def _linear(op: LinearOperator, rng: np.random.Generator) -> str:
    a, b = (_random(op.in_shape, op, "float64", rng) for _ in range(2))
    error = _difference(op(2 * a - 3 * b), 2 * op(a) - 3 * op(b))
    _need(error < 1e-11, f"A(2a - 3b) differs from 2 A(a) - 3 A(b) by {error:.1e}")
    return f"{error:.1e}"


def _dot(op: LinearOperator, dtype: str) -> str:
    result = dot_test(op, dtype=dtype)
    _need(result.ok, str(result))
    return f"{result.error:.1e}"


def _dense(op: LinearOperator) -> str:
    worst = []
    kinds = ("complex64", "complex128") if op.field == "complex" else ("float32", "float64")
    for kind, bound in zip(kinds, (1e-6, 1e-13), strict=True):
        A = op.dense(kind)
        error = float(np.abs(A - op.H.dense(kind).conj().T).max() / max(float(np.abs(A).max()), 1e-300))
        _need(error <= bound, f"A and A.H differ entry by entry by {error:.1e} in {kind}")
        worst.append(f"{error:.1e}")
    return ", ".join(worst)


def _batch(op: LinearOperator, rng: np.random.Generator) -> str:
    worst = 0.0
    for A in (op, op.H):
        x = _random((2, 3, *A.in_shape), op, "float32", rng)
        loop = np.stack([np.stack([A(one) for one in row]) for row in x])
        worst = max(worst, _difference(A(x), loop))
    _need(worst <= 1e-6, f"a batch differs from a loop by {worst:.1e}")
    return f"{worst:.1e}"


def _empty(op: LinearOperator) -> str:
    for A in (op, op.H):
        got = A(np.zeros((0, *A.in_shape), np.float32)).shape
        _need(got == (0, *A.out_shape), f"an empty batch gives shape {got}")
    return "(0, ...)"


def _strided(op: LinearOperator, rng: np.random.Generator) -> str:
    for A in (op, op.H):
        wide = _random((*A.in_shape[:-1], 2 * A.in_shape[-1]), op, "float64", rng)
        cut = wide[..., ::-2]
        _need(_difference(A(cut), A(np.ascontiguousarray(cut))) == 0, "a strided view gives another result")
    return "equal"


def _untouched(op: LinearOperator, rng: np.random.Generator) -> str:
    for A in (op, op.H):
        x = _random(A.in_shape, op, "float64", rng)
        kept = x.copy()
        A(x)
        _need(bool((x == kept).all()), "the input was written to")
    return "yes"


def _refused(op: LinearOperator) -> str:
    wrong = np.zeros((*op.in_shape[:-1], op.in_shape[-1] + 1), np.float32)
    try:
        op(wrong)
    except ValueError as error:
        return str(error)[:60]
    raise AssertionError(f"input of shape {wrong.shape} was accepted")


def _threads(op: LinearOperator, rng: np.random.Generator) -> str:
    xs = [_random(op.in_shape, op, "float64", rng) for _ in range(4)]
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(op, xs))
    alone = [op(x) for x in xs]
    _need(all((a == b).all() for a, b in zip(together, alone, strict=True)), "two threads change the result")
    return "same result"
