"""The gram of SENSE off the grid, coil after coil: no stack of coil images is ever made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .base import LinearOperator
from .toeplitz import Toeplitz, in_precision

if TYPE_CHECKING:
    from .coils import CoilSensitivities

Array = Any


@dataclass(frozen=True, eq=False, repr=False)
class SenseGram(LinearOperator):
    """``S.H T S``: `Toeplitz` between coil sensitivities. What ``(NUFFT @ CoilSensitivities).gram`` is.

    ``(G x) = sum_c conj(s_c) T (s_c x)``; self-adjoint. Beside the image it needs the memory of one coil.

    Parameters
    ----------
    shape : tuple of int
        Image.
    kernel : ndarray
        Of `Toeplitz`; the operand ``kernel``.
    maps : ndarray, (coils, *shape)
        Sensitivities; the operand ``maps``.
    components : int, optional
        Component images that the kernel mixes.

    Notes
    -----
    It has no derivative with respect to its arrays: maps that belong to a graph are never put into it.

    Examples
    --------
    >>> from rayfold.operators import NUFFT, CoilSensitivities
    >>> k = np.random.default_rng(0).uniform(-np.pi, np.pi, (50, 2))
    >>> A = NUFFT((6, 5), k) @ CoilSensitivities(np.ones((4, 6, 5), np.complex64))
    >>> A.gram
    SenseGram((6, 5), kernel=<1 x 10 x 12 float64>, maps=<4 x 6 x 5 complex64>)
    """

    shape: tuple[int, ...]
    kernel: Array
    maps: Array
    components: int | None = None
    size: tuple[int, ...] = field(default=(), repr=False)
    n_coils: int = field(default=0, repr=False)

    field = "complex"
    H = property(lambda self: self)

    def __post_init__(self) -> None:
        if self.kernel is not None and not self.size:
            object.__setattr__(self, "size", tuple(self.kernel.shape))
            object.__setattr__(self, "n_coils", int(self.maps.shape[0]))
        bare = self if self.kernel is None else replace(self, kernel=None, maps=None)
        object.__setattr__(self, "_bare", bare)

    @classmethod
    def of(cls, gram: Toeplitz, coils: CoilSensitivities) -> LinearOperator | None:
        """The fused operator, or None where the two do not fit into one: several sets, maps of a graph."""
        held = isinstance(coils.maps, np.ndarray) and isinstance(gram.kernel, np.ndarray)
        plain = not (coils.sets or coils.lead or gram.real) and coils.components == gram.components
        if not held or not plain or gram.lead != (coils.n_coils,) or coils.maps.ndim != 1 + len(gram.shape):
            return None
        maps = np.ascontiguousarray(coils.maps)  # eigenvectors, as ESPIRiT's, have the coils last in memory
        return cls(gram.shape, gram.kernel, maps, gram.components)

    @property
    def in_shape(self) -> tuple[int, ...]:
        return self.shape if self.components is None else (self.components, *self.shape)

    out_shape = property(lambda self: self.in_shape)

    @property
    def operands(self) -> Mapping[str, Array]:
        return {} if self.kernel is None else {"kernel": self.kernel, "maps": self.maps}

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        return {"kernel": self.size, "maps": (self.n_coils, *self.shape)}

    @property
    def structure(self) -> LinearOperator:
        return self._bare  # type: ignore[attr-defined, no-any-return]

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        from rayfold.kernels import toeplitz

        kernel, maps = operands["kernel"], operands["maps"]
        if kernel.ndim > len(self.size) or maps.ndim > 1 + len(self.shape):
            for i in range(len(x)):
                one = kernel[i] if kernel.ndim > len(self.size) else kernel
                few = maps[i] if maps.ndim > 1 + len(self.shape) else maps
                self.apply(x[i : i + 1], out[i : i + 1], adjoint=adjoint, kernel=one, maps=few)
            return
        double = str(x.dtype) == "complex128"
        batch = (-1, self.components or 1, *self.shape)
        kernel = in_precision(kernel, double, x)
        maps = in_precision(maps, double, x)
        if maps.dtype.kind != "c":
            maps = maps.astype(x.dtype)
        toeplitz.apply(x.reshape(batch), kernel, out.reshape(batch), maps=maps)
