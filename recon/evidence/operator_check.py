"""Adjoint error and norm of an operator, measured in the library, precision and on the device of the data."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.operators import LinearOperator
from rayfold.operators.checks import BOUNDS
from rayfold.operators.dispatch import dtype_name, match, namespace, to_numpy
from rayfold.recon.arrays import along, axpy, inner
from rayfold.recon.evidence.range_null import host

Array = Any
STEPS = 4  # of Lanczos; the first uses what the dot test computed
PAIRS = STEPS + 1


class OperatorCheck(NamedTuple):
    """Adjoint error as `rayfold.operators.dot_test` defines it, what is allowed, norm, and random data.

    The norm is one number per problem; the data are A of one image of normal numbers.
    """

    error: float
    bound: float
    norm: npt.NDArray[np.float64]
    random: Array


def examine(A: LinearOperator, x: Array, y: Array, *, seed: int = 0) -> OperatorCheck:
    """Dot test with two pairs, and the norm by Lanczos steps from the second; `PAIRS` operator pairs.

    Parameters
    ----------
    A : LinearOperator
        Operator.
    x, y : array
        An image and data: only shape, type and device are used.
    seed : int
        Seed of the probes, the same for every problem of a batch.

    Returns
    -------
    OperatorCheck
        The norm comes from below, within about 1 % when the largest singular value stands alone.

    References
    ----------
    C. Lanczos, J. Res. Nat. Bur. Stand. 45 (1950) 255.

    Examples
    --------
    >>> from rayfold.operators.calculus import Diagonal
    >>> A = Diagonal((3,), np.array([1.0, 2.0, 5.0]))
    >>> round(float(examine(A, np.ones(3), np.ones(3)).norm), 6)
    5.0
    """
    rng = np.random.default_rng(seed)
    v, w = _probe(A.in_shape, x, rng), _probe(A.out_shape, y, rng)
    forward = A(v)
    size = _norm(forward) * _norm(w)
    mismatch = abs(_product(forward, w) - _product(v, A.H(w)))
    error = mismatch / size if size else mismatch
    v = namespace(v).astype(abs(v), v.dtype)  # in y = A |x| a wrong scale cannot hide between signs
    image = A(v)
    back = A.H(image)
    size = _norm(image) ** 2
    if size:
        error = max(error, abs(size - _product(v, back)) / size)
    bound = BOUNDS["float64" if dtype_name(y) in ("float64", "complex128") else "float32"]
    lead = len(forward.shape) - len(A.out_shape)
    return OperatorCheck(float(error), bound, _largest(A, v, back), forward[(0,) * lead])


def _largest(A: LinearOperator, v: Array, product: Array) -> npt.NDArray[np.float64]:
    """Largest singular value from the tridiagonal matrix of a few Lanczos steps."""

    def on(values: npt.NDArray[np.float64]) -> Array:
        return along(A.in_shape, match(np.asarray(values), v))

    size = np.sqrt(host(inner(A.in_shape, v, v)))
    matrix = np.zeros((*size.shape, STEPS, STEPS))
    inverse = 1 / np.where(size > 0, size, 1.0)
    v, w, old, off = on(inverse) * v, on(inverse) * product, namespace(v).zeros_like(v), np.zeros_like(size)
    for k in range(STEPS):
        if k:
            w = A.H(A(v))
        on_diagonal = host(inner(A.in_shape, v, w))
        matrix[..., k, k] = on_diagonal
        if k + 1 < STEPS:
            w = axpy(on(-on_diagonal), v, axpy(on(-off), old, w))
            off = np.sqrt(host(inner(A.in_shape, w, w)))
            off = np.where(off > 1e-5 * on_diagonal, off, 0.0)  # an invariant space: rounding is no direction
            matrix[..., k, k + 1] = matrix[..., k + 1, k] = off
            old, v = v, on(np.where(off > 0, 1 / np.where(off > 0, off, 1.0), 0.0)) * w
    return np.asarray(np.sqrt(np.maximum(np.linalg.eigvalsh(matrix)[..., -1], 0.0)))


def _probe(shape: tuple[int, ...], like: Array, rng: np.random.Generator) -> Array:
    """One random vector in the precision and with the batch axes of `like`."""
    draw = rng.standard_normal(shape)
    if "complex" in dtype_name(like):
        draw = draw + 1j * rng.standard_normal(shape)
    return match(np.array(np.broadcast_to(draw, tuple(like.shape))), like)


def _product(a: Array, b: Array) -> complex:
    """``<a, b>`` in double precision, over the whole batch."""
    left, right = to_numpy(a), to_numpy(b)
    wide = np.complex128 if np.iscomplexobj(left) or np.iscomplexobj(right) else np.float64
    return complex(np.vdot(left.astype(wide), right.astype(wide)))


def _norm(a: Array) -> float:
    return math.sqrt(abs(_product(a, a)))
