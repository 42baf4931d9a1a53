"""What a solver may ask of a prior, and the form g(K x) that most of them have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from rayfold.operators import LinearOperator

Array = Any


class Prior:
    """A penalty R on images; the objective of a solver is the data term plus the value of every prior.

    A prior offers what its mathematics allows: `value`, `gradient` where it is smooth, `prox`; a `simple` one
    has its proximal operator in closed form, so that splitting methods leave it on the image side; one that
    is `learned` has no value: its proximal step is a denoiser, which no minimum need be behind.
    """

    simple: ClassVar[bool] = False
    learned: ClassVar[bool] = False
    smooth: ClassVar[bool] = False

    def value(self, x: Array) -> Array:
        """R(x), one number per leading index."""
        raise NotImplementedError(f"{type(self).__name__} has no value: it is known by its denoiser only")

    def gradient(self, x: Array) -> Array:
        """Derivative of R."""
        raise NotImplementedError(
            f"{type(self).__name__} is not smooth; use a solver of proximal operators (FISTA, PDHG, ADMM)"
        )

    def curvature(self, x: Array) -> Array | float:
        """Diagonal that bounds the second derivative of R around `x`, for methods of surrogates."""
        raise NotImplementedError(
            f"{type(self).__name__} is not smooth; use a solver of proximal operators (FISTA, PDHG, ADMM)"
        )

    def prox(self, x: Array, step: Array | float) -> Array:
        """``argmin_z 1/2 |z - x|^2 + step R(z)``; `step` is a number, one per problem, or one per pixel."""
        raise NotImplementedError(
            f"{type(self).__name__} has no proximal operator; use a solver with gradients (LBFGS, OSSQS)"
        )

    def warm(self, x: Array) -> tuple[Array, ...]:
        """Start of the inner variables of `prox_from`: nothing where `prox` has a closed form."""
        return ()

    def prox_from(
        self, x: Array, step: Array | float, warm: tuple[Array, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        """`prox` with its inner variables started at `warm`, and where they ended: for the next call."""
        return self.prox(x, step), warm


class Split(Prior):
    """A prior ``R(x) = min_w g(K (x, w))`` that primal-dual methods take apart.

    `w` is an auxiliary image that most priors lack (None). All arrays returned are fresh: the caller may
    write into them, and into the `z` it passes to `dual_prox`. Unless it is overridden, `prox` takes
    `iterations` steps on the dual problem.
    """

    iterations: int
    ndim: int

    def prox(self, x: Array, step: Array | float) -> Array:
        return self.prox_from(x, step, self.warm(x))[0]

    def warm(self, x: Array) -> tuple[Array, ...]:
        from rayfold.recon.priors.inner import start  # solvers, which it needs, need this module

        return start(self, x)

    def prox_from(
        self, x: Array, step: Array | float, warm: tuple[Array, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        from rayfold.recon.priors.inner import descend

        return descend(self, x, step, warm, self.iterations)

    def auxiliary(self, x: Array) -> Array | None:
        """Start of the auxiliary variable."""
        return None

    def analyse(self, x: Array, w: Array | None) -> Array:
        """``K (x, w)``."""
        raise NotImplementedError

    def synthesise(self, z: Array, x: Array) -> tuple[Array, Array | None]:
        """``K.H z``: the part for the image (of the shape of `x`) and the one for `w`."""
        raise NotImplementedError

    def squared_norm(self, x: Array) -> float:
        """Upper bound of the squared norm of K."""
        raise NotImplementedError

    def dual_prox(self, z: Array, step: Array | float) -> Array:
        """Proximal operator of ``step g*`` (g* the convex conjugate of g)."""
        raise NotImplementedError

    def pull(self, z: Array, x: Array, force: Array) -> tuple[Array, Array | None]:
        """``K.H z + force`` for the image, in a fresh array, and the part of ``K.H z`` for `w`."""
        part, on_w = self.synthesise(z, x)
        part += force
        return part, on_w

    def ascend(self, z: Array, x: Array, w: Array | None, rate: Array, relaxation: Array | float) -> Array:
        """``z + relaxation (p - z)`` with ``p = dual_prox(z + rate K (x, w), rate)``: a step of the dual."""
        new = scaled(self.analyse(x, w), rate)
        new += z
        new = self.dual_prox(new, rate)
        new -= z
        new *= relaxation
        new += z
        return new


@dataclass(frozen=True)
class Analysis(Split):
    """A prior ``R(x) = g(K x)`` with a linear operator K that depends on the shape of the image."""

    def operator(self, shape: tuple[int, ...]) -> LinearOperator:
        """K for images of a shape."""
        raise NotImplementedError

    def of(self, x: Array) -> LinearOperator:
        """K for an image: its trailing axes."""
        n = self.ndim
        if len(x.shape) < n:
            raise ValueError(f"{type(self).__name__} needs images of {n} axes, got shape {tuple(x.shape)}")
        return self.operator(tuple(x.shape[len(x.shape) - n :]))

    def analyse(self, x: Array, w: Array | None) -> Array:
        return self.of(x)(x)

    def synthesise(self, z: Array, x: Array) -> tuple[Array, Array | None]:
        return self.of(x).H(z), None

    def squared_norm(self, x: Array) -> float:
        return self.of(x).norm_bound() ** 2


def scaled(z: Array, factor: Array) -> Array:
    """``factor * z``, written into `z` unless a graph needs its old values."""
    if getattr(z, "requires_grad", False) or getattr(factor, "requires_grad", False):
        return factor * z
    z *= factor
    return z


def as_tuple(prior: Prior | tuple[Prior, ...] | None) -> tuple[Prior, ...]:
    """A solver's priors, none, one or several."""
    if prior is None:
        return ()
    return prior if isinstance(prior, tuple) else (prior,)
