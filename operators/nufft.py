"""The non-uniform Fourier transform: k-space of an image along any trajectory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from . import dispatch, plans
from .base import LinearOperator
from .geometry import digest

Array = Any
EPS = {"complex64": 1e-6, "complex128": 1e-13}
KEPT_GRAMS = 4  # of one operator: weights that change at every step must not fill the memory


@dataclass(frozen=True, eq=False, repr=False)
class NUFFT(LinearOperator):
    """Fourier transform of an image at the points of a trajectory.

    ``y_j = n^(-1/2) sum_r x_r exp(-i k_j . r)``, r counted from voxel ``n // 2`` on every axis and n the
    number of voxels: at the points of the grid, what `FFT` gives. `H` is the exact adjoint; `gram` is a
    convolution (`Toeplitz`), cheaper than one transform.

    Parameters
    ----------
    shape : tuple of int
        Image, ``(ny, nx)`` or ``(nz, ny, nx)`` (or one axis).
    trajectory : array, (..., samples, ndim)
        In rad/voxel, within +-pi, in the order of the image axes; the operand ``trajectory``, bound with or
        without batch axes. The data have its leading axes, ``(shots, samples)``.
    basis : array, (components, ..., samples), optional
        Temporal basis: the input is a stack of component images ``(components, *shape)``, and
        ``y_j = sum_c basis[c, j] (F x_c)_j``; a low-rank model of a changing image, or the interpolators of
        `OffResonance`. The operand ``basis``.
    eps : float, optional
        Relative accuracy; 1e-6 in single precision and 1e-13 in double by default.
    engine : {"auto", "finufft", "cufinufft", "gridding"}
        Who computes; by default FINUFFT on the CPU, and on a GPU cuFINUFFT or, without it, rayfold's kernels.

    Raises
    ------
    ValueError
        If the trajectory does not fit the image, leaves +-pi, or is not finite.

    References
    ----------
    J. A. Fessler and B. P. Sutton, IEEE Trans. Signal Process. 51 (2003) 560; A. H. Barnett et al., SIAM J.
    Sci. Comput. 41 (2019) C479, for the engine.

    Examples
    --------
    >>> k = np.linspace(-np.pi, np.pi, 6, endpoint=False)
    >>> F = NUFFT((4, 4), np.stack([k, 0 * k], axis=-1))
    >>> F(np.ones((8, 4, 4), np.complex64)).shape
    (8, 6)
    """

    shape: tuple[int, ...]
    trajectory: Array
    basis: Array = None
    eps: float | None = None
    engine: Literal["auto", "finufft", "cufinufft", "gridding"] = "auto"
    lead: tuple[int, ...] = ()
    points: tuple[int, ...] | None = field(default=None, repr=False)
    components: int | None = field(default=None, repr=False)

    field = "complex"

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        object.__setattr__(self, "shape", shape)
        if not 1 <= len(shape) <= 3 or min(shape) < 1:
            raise ValueError(
                f"the image has shape {shape}; it must have one to three axes of positive length"
            )
        if self.engine not in plans.ENGINES:
            raise ValueError(f"engine is {self.engine!r}; it must be one of {', '.join(plans.ENGINES)}")
        if self.eps is not None and not 0 < self.eps < 1:
            raise ValueError(f"eps is {self.eps}; it must lie between 0 and 1, as 1e-6")
        if self.points is None:
            self._take()
        bare = self if self.trajectory is None else replace(self, trajectory=None, basis=None)
        object.__setattr__(self, "_bare", bare)  # made once: compilers look it up, they cannot build it

    def _take(self) -> None:
        """Keep own copies of the arrays, and what the structure says of them."""
        for name in ("trajectory", "basis"):
            if not dispatch.is_plain(getattr(self, name)):
                raise ValueError(
                    f"the {name} belongs to a graph or a traced program, and NUFFT keeps a copy outside it; "
                    f"make the operator of plain numbers, then A.bind({name}=...)"
                )
        k = np.array(dispatch.to_numpy(self.trajectory), dtype=np.float64, order="C")
        plans.check_trajectory(k, len(self.shape))
        k.setflags(write=False)
        object.__setattr__(self, "trajectory", k)
        object.__setattr__(self, "points", k.shape)
        if self.basis is None:
            return
        basis = np.array(dispatch.to_numpy(self.basis))
        if basis.shape[1:] != k.shape[:-1]:
            raise ValueError(
                f"the basis has shape {basis.shape}; for samples {k.shape[:-1]} it must be "
                f"(components, {', '.join(map(str, k.shape[:-1]))})"
            )
        basis.setflags(write=False)
        object.__setattr__(self, "basis", basis)
        object.__setattr__(self, "components", len(basis))

    @property
    def _samples(self) -> tuple[int, ...]:
        return tuple(self.points or ())[:-1]

    @property
    def _mixed(self) -> tuple[int, ...]:
        return () if self.components is None else (self.components,)

    in_shape = property(lambda self: (*self.lead, *self._mixed, *self.shape))
    out_shape = property(lambda self: (*self.lead, *self._samples))

    @property
    def operands(self) -> Mapping[str, Array]:
        found = {"trajectory": self.trajectory, "basis": self.basis}
        return {name: value for name, value in found.items() if value is not None}

    @property
    def operand_shapes(self) -> Mapping[str, tuple[int, ...]]:
        shapes = {"trajectory": tuple(self.points or ())}
        return shapes if self.components is None else {**shapes, "basis": (self.components, *self._samples)}

    @property
    def structure(self) -> NUFFT:
        return self._bare  # type: ignore[attr-defined, no-any-return]

    def over(self, lead: tuple[int, ...]) -> NUFFT:
        """Coils, slices, ...: all transformed at once."""
        if not lead:
            return self
        made = replace(self, lead=(*lead, *self.lead))
        if self.trajectory is not None:
            vars(made)["_root"] = self._root  # what is made for one is made for all
        return made

    def __getitem__(self, shots: Any) -> LinearOperator:
        """Only some entries of the first axis of the trajectory: a smaller operator, not a mask."""
        if self.trajectory is None or self.lead:
            return super().__getitem__(shots)
        rows = np.atleast_1d(np.arange(self._samples[0])[shots])
        basis = None if self.basis is None else self.basis[:, rows]
        return replace(self, trajectory=self.trajectory[rows], basis=basis, points=None, components=None)

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        k, basis = operands["trajectory"], operands.get("basis")
        core = len(self.points or ())
        if basis is not None:
            basis = dispatch.namespace(x).asarray(basis, dtype=x.dtype)
        if k.ndim == core and (basis is None or basis.ndim == core):
            self._one(x, out, k, basis, adjoint=adjoint)
            return
        for i in range(len(x)):  # a trajectory, or a basis, per sample of the batch
            one = k if k.ndim == core else k[i]
            mix = basis if basis is None or basis.ndim == core else basis[i]
            self._one(x[i : i + 1], out[i : i + 1], one, mix, adjoint=adjoint)

    def _one(self, x: Array, out: Array, k: Array, basis: Array | None, *, adjoint: bool) -> None:
        """One trajectory for the whole batch."""
        eps = self.eps or EPS[str(x.dtype)]
        plan = plans.plan(k, self.shape, eps, self.engine, x)
        scale = x.real.dtype.type(1 / math.sqrt(math.prod(self.shape)))
        xp = dispatch.namespace(x)
        n, n_samples = len(x) * math.prod(self.lead), math.prod(self._samples)
        n_basis = 1 if basis is None else len(basis)
        images, samples = (n * n_basis, *self.shape), (n * n_basis, n_samples)
        if basis is None:
            wide = (x if adjoint else out).reshape(samples)
        else:
            wide = xp.empty((n, n_basis, n_samples), dtype=x.dtype)
            basis = basis.reshape(n_basis, n_samples)
        if adjoint:
            if basis is not None:
                xp.multiply(basis.conj(), x.reshape(n, 1, n_samples), out=wide)
            plan.adjoint(wide.reshape(samples), out.reshape(images))
            parts = out.view(scale.dtype)  # a complex number would take twice the time
            parts *= scale
            return
        scaled = (x.view(scale.dtype) * scale).view(x.dtype)
        plan.forward(scaled.reshape(images), wide.reshape(samples))
        if basis is not None:
            wide *= basis
            out[...] = wide.sum(axis=1).reshape(out.shape)

    def tangent(self, x: Array, directions: Mapping[str, Array], *, adjoint: bool) -> Array:
        """With respect to the trajectory, transforms of ``r x``; with respect to the basis, that of x."""
        total = None
        for name, direction in directions.items():
            step = NUFFT._along(self, x, name, direction, adjoint=adjoint)
            total = step if total is None else total + step
        return total

    def _along(self: Any, x: Array, name: str, direction: Array, *, adjoint: bool) -> Array:
        """Derivative along one operand. `self` is a structure with operands of the caller's graph."""
        about: NUFFT = self.structure
        xp = dispatch.namespace(x)
        if name == "basis":  # written with the transform alone: the derivative must not move a basis again
            K, n = about.components or 0, len(about._samples)
            each = replace(about, components=None, lead=(*about.lead, K)).bind(
                trajectory=self.operands["trajectory"]
            )
            batch = tuple(direction.shape)[: len(direction.shape) - 1 - n]
            mix = direction.reshape((*batch, *(1,) * len(about.lead), K, *about._samples))
            if adjoint:
                return each.H(xp.conj(mix) * xp.expand_dims(x, axis=-n - 1))
            return xp.sum(mix * each(x), axis=-n - 1)
        dk = [about._spread(direction[..., axis]) for axis in range(len(about.shape))]
        r = [dispatch.match(values, x) for values in about._positions]
        if adjoint:
            parts = self.H(xp.stack([along * x for along in dk]))
            return 1j * sum(values * parts[axis] for axis, values in enumerate(r))
        parts = self(xp.stack([values * x for values in r]))
        return -1j * sum(along * parts[axis] for axis, along in enumerate(dk))

    def _spread(self, along: Array) -> Array:
        """One number per sample, batch axes in front, in shape to multiply the data."""
        batch = tuple(along.shape)[: len(along.shape) - len(self._samples)]
        return along.reshape((*batch, *(1,) * len(self.lead), *self._samples))

    @property
    def _positions(self) -> list[Array]:
        """Voxels from the origin along every axis, in shape to multiply an image."""
        n = len(self.shape)
        return [
            (np.arange(m) - m // 2).astype(np.float64).reshape(*(1,) * axis, m, *(1,) * (n - 1 - axis))
            for axis, m in enumerate(self.shape)
        ]

    @property
    def gram(self) -> LinearOperator:
        return self.weighted_gram(np.ones((), np.float32))

    def weighted_gram(self, weights: Array) -> LinearOperator:
        """``A.H W A`` as a convolution, where the weights are the same for all coils; made once and kept."""
        w = dispatch.to_numpy(weights) if dispatch.is_plain(weights) else None
        n = len(self._samples)
        shared = w is not None and all(m == 1 for m in w.shape[: max(0, w.ndim - n)])
        if self.trajectory is None or w is None or not shared or np.iscomplexobj(w):
            return (
                super().gram if w is not None and w.ndim == 0 and w == 1 else super().weighted_gram(weights)
            )
        kept = vars(self._root).setdefault("_grams", {})
        key = digest(w)
        if key not in kept:
            from .toeplitz import Toeplitz

            while len(kept) >= KEPT_GRAMS:
                kept.pop(next(iter(kept)))
            kept[key] = Toeplitz.of(self._root, w.reshape(w.shape[max(0, w.ndim - n) :]))
        made: LinearOperator = kept[key]
        return made.over(self.lead)

    @cached_property
    def _root(self) -> NUFFT:
        """The transform without leading axes: they share what is made for it."""
        return replace(self, lead=()) if self.lead else self
