"""Two operators an author might write, with an operand each: what later acquisitions will need."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from rayfold.operators import LinearOperator
from rayfold.operators.dispatch import namespace

Array = Any


@dataclass(frozen=True, eq=False)
class WithOperand(LinearOperator):
    """One operand, held or not."""

    shape: tuple[int, ...]
    n_samples: int
    samples: Array = None

    in_shape = property(lambda self: self.shape)
    out_shape = property(lambda self: (self.n_samples,))

    @property
    def operands(self) -> Mapping[str, Array]:
        return {} if self.samples is None else {self.name: self.samples}

    @cached_property
    def structure(self) -> LinearOperator:
        return self if self.samples is None else replace(self, samples=None)


class NonuniformDFT(WithOperand):
    """``y_s = sum_r x_r exp(-i k_s r)`` with the trajectory k ``(samples, ndim)`` in rad per voxel."""

    field = "complex"
    name = "trajectory"

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"trajectory": (self.n_samples, len(self.shape))}

    @property
    def positions(self) -> Array:
        axes = [np.arange(n) - n // 2 for n in self.shape]
        return np.stack(np.meshgrid(*axes, indexing="ij")).astype(float)

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        r = self.positions.reshape(len(self.shape), -1)
        matrix = np.exp(-1j * (operands["trajectory"] @ r)).astype(x.dtype)
        flat = x.reshape(len(x), -1)
        if adjoint:
            matrix = np.conj(np.swapaxes(matrix, -1, -2))
        out[...] = (matrix @ flat[..., None])[..., 0].reshape(out.shape)

    def tangent(self, x: Array, directions: Mapping[str, Array], *, adjoint: bool) -> Array:
        xp, dk = namespace(x), directions["trajectory"]
        total = None
        for axis, r in enumerate(self.structure.positions):
            r = xp.asarray(r.astype("complex128" if "complex128" in str(x.dtype) else "complex64"))
            along = dk[..., axis]
            step = 1j * r * self.H(along * x) if adjoint else -1j * along * self(r * x)
            total = step if total is None else total + step
        return total


class GaussianSampling(WithOperand):
    """A real operator: ``y_s = sum_j x_j exp(-(t_s - j)^2 / 2)`` at positions t ``(samples,)``."""

    name = "at"

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"at": (self.n_samples,)}

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        matrix = np.exp(-0.5 * (operands["at"][..., None] - np.arange(self.shape[0])) ** 2).astype(x.dtype)
        if adjoint:
            matrix = np.swapaxes(matrix, -1, -2)
        out[...] = (matrix @ x[..., None])[..., 0]

    def tangent(self, x: Array, directions: Mapping[str, Array], *, adjoint: bool) -> Array:
        xp, t, dt = namespace(x), self.operands["at"], directions["at"]
        j = xp.asarray(np.arange(self.in_shape[0]).astype("float64" if "64" in str(x.dtype) else "float32"))
        if adjoint:
            return j * self.H(dt * x) - self.H(t * dt * x)
        return dt * (self(j * x) - t * self(x))
