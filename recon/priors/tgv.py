"""Total generalised variation of second order: flat and sloping regions with sharp edges between them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from rayfold.operators.differences import Gradient, SymmetricGradient
from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import axpy, expand, ratio
from rayfold.recon.checks import positive
from rayfold.recon.priors.inner import repeat
from rayfold.recon.priors.prior import Split
from rayfold.recon.priors.total_variation import lengths, onto_ball

Array = Any
FIELD = 0.03  # steps of the field over its size, for a dual of size 1, in `prox`
SPREAD = 0.1  # the same in `value`, where the image does not move
RELAXATION = 1.9


@lru_cache(maxsize=64)
def _operators(
    shape: tuple[int, ...], spacing: float | tuple[float, ...]
) -> tuple[Gradient, SymmetricGradient]:
    return Gradient(shape, spacing), SymmetricGradient(shape, spacing)


@dataclass(frozen=True)
class TGV(Split):
    """``min_w strength * (sum |G x - w| + ratio * sum |E w|)``.

    G is the gradient, E the symmetrised gradient and w a vector field. Where the image slopes evenly, w takes
    over its gradient and nothing is paid: ramps stay ramps, where total variation makes stairs.

    Parameters
    ----------
    strength : float
        Weight, in units of the data term over those of the image.
    ratio : float
        Weight of the second derivatives over that of the first, in units of `spacing`.
    ndim : int
        Trailing axes that are one image: 2 (slices on their own) or 3.
    spacing : float or tuple of float
        Pixel size along each axis; only ratios matter beside `strength`.
    iterations : int
        Steps of `prox` and of `value`, which have no closed form; 200 leave the value of an image with edges
        and noise within a few per cent, from above.

    References
    ----------
    K. Bredies, K. Kunisch, T. Pock, SIAM J. Imaging Sci. 3 (2010) 492.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = np.arange(40.0)[None]  # only its last pixel, without a neighbour, bends it
    >>> round(float(TGV(1.0, iterations=2000).value(ramp)), 3)
    1.0
    """

    strength: float
    ratio: float = 2.0
    ndim: int = 2
    spacing: float | tuple[float, ...] = 1.0
    iterations: int = field(default=200, kw_only=True)

    def __post_init__(self) -> None:
        positive(strength=self.strength, ratio=self.ratio, iterations=self.iterations)

    def auxiliary(self, x: Array) -> Array | None:
        return namespace(x).zeros_like(self._of(x)[0](x))

    def analyse(self, x: Array, w: Array | None) -> Array:
        """The gradient less `w` (`ndim` components), then the symmetrised gradient of `w`."""
        G, E = self._of(x)
        slope = G(x)
        slope -= w
        return namespace(x).concat([slope, E(w)], axis=-self.ndim - 1)

    def synthesise(self, z: Array, x: Array) -> tuple[Array, Array | None]:
        G, E = self._of(x)
        first, second = self._parts(z)
        on_w = E.H(second)
        on_w -= first
        return G.H(first), on_w

    def squared_norm(self, x: Array) -> float:
        """With ``|G|^2, |E|^2 <= n``: ``n + 1/2 + sqrt(n + 1/4)``."""
        # |G x - w|^2 + |E w|^2 <= (sqrt(n) |x| + |w|)^2 + n |w|^2, a quadratic form in (|x|, |w|) with matrix
        # [[n, sqrt(n)], [sqrt(n), n + 1]], of trace 2 n + 1 and determinant n^2: its larger eigenvalue
        n = max(op.norm_bound() for op in self._of(x)) ** 2
        return n + 0.5 + math.sqrt(n + 0.25)

    def dual_prox(self, z: Array, step: Array | float) -> Array:
        first, second = self._parts(z)
        radius = self.strength
        parts = [onto_ball(first, radius, self.ndim), onto_ball(second, radius * self.ratio, self.ndim)]
        return namespace(z).concat(parts, axis=-self.ndim - 1)

    def warm(self, x: Array) -> tuple[Array, ...]:
        """The dual variable, and the vector field."""
        w = self.auxiliary(x)
        return namespace(x).zeros_like(self.analyse(x, w)), w

    def prox_from(
        self, x: Array, step: Array | float, warm: tuple[Array, ...]
    ) -> tuple[Array, tuple[Array, ...]]:
        """Primal-dual steps on ``1/2 |z - x|^2 + step g(K (z, w))``.

        References
        ----------
        A. Chambolle and T. Pock, J. Math. Imaging Vis. 40 (2011) 120.
        """
        p, w = warm
        n = self.ndim
        if isinstance(step, int | float) and step == 0:
            return x, warm
        tau = FIELD * self._slope(x) / self.strength
        sigma = ratio(namespace(tau).ones_like(tau), tau * self.squared_norm(x))
        tau, tau_w, sigma = expand(tau, n), expand(tau, n + 1), expand(sigma, n + 1)
        z = x - step * self.synthesise(p, x)[0]

        def body(_: Any, carry: list[Array]) -> list[Array]:
            p, w, z, _last = carry
            on_z, on_w = self.synthesise(p, x)
            new_z = step * (z - tau * on_z)
            new_z += tau * x
            new_z /= step + tau
            new_w = w - tau_w * on_w
            moved = self.analyse(axpy(2.0, new_z, -z), axpy(2.0, new_w, -w))
            moved = sigma * moved
            moved += p
            new_p = self.dual_prox(moved, sigma)
            return [_relaxed(new_p, p), _relaxed(new_w, w), _relaxed(new_z, z), new_z]

        p, w, _, z = repeat(self.iterations, body, [p, w, z, z])
        return z, (p, w)

    def _slope(self, x: Array) -> Array:
        """Mean length of the gradient, one per image: the scale of the field."""
        n = self.ndim
        total = namespace(x).sum(lengths(self._of(x)[0](x), n), axis=tuple(range(-n - 1, 0)))
        return total / math.prod(x.shape[x.ndim - n :])

    def value(self, x: Array) -> Array:
        """R(x) from above: total variation, or the end of primal-dual steps for w, whichever is less."""
        xp, n = namespace(x), self.ndim
        G, E = self._of(x)
        slope, norm = G(x), math.sqrt(1 + E.norm_bound() ** 2)
        mean = self._slope(x)
        pace = expand(mean * (SPREAD / norm), n + 1)
        inverse = expand(ratio(xp.ones_like(mean), mean * (SPREAD * norm)), n + 1)
        p, q, w = xp.zeros_like(slope), xp.zeros_like(E(slope)), slope
        least = self._cost(slope, xp.zeros_like(slope), E)

        def body(_: Any, carry: list[Array]) -> list[Array]:
            p, q, w, _last = carry
            pull = E.H(q)
            pull -= p
            new = w - pace * pull
            ahead = axpy(2.0, new, -w)
            new_p = onto_ball(p + inverse * (slope - ahead), 1.0, n)
            new_q = onto_ball(q + inverse * E(ahead), self.ratio, n)
            return [_relaxed(new_p, p), _relaxed(new_q, q), _relaxed(new, w), new]

        new = repeat(self.iterations, body, [p, q, w, w])[-1]
        return self.strength * xp.minimum(least, self._cost(slope, new, E))

    def _cost(self, slope: Array, w: Array, E: SymmetricGradient) -> Array:
        xp, n = namespace(w), self.ndim
        axes = tuple(range(-n - 1, 0))
        bend = xp.sum(lengths(E(w), n), axis=axes)
        return xp.sum(lengths(slope - w, n), axis=axes) + self.ratio * bend

    def _of(self, x: Array) -> tuple[Gradient, SymmetricGradient]:
        if len(x.shape) < self.ndim:
            raise ValueError(f"TGV needs images of {self.ndim} axes, got shape {tuple(x.shape)}")
        return _operators(tuple(x.shape[len(x.shape) - self.ndim :]), self.spacing)

    def _parts(self, z: Array) -> tuple[Array, Array]:
        keep = (slice(None),) * self.ndim
        return z[(..., slice(0, self.ndim), *keep)], z[(..., slice(self.ndim, None), *keep)]


def _relaxed(new: Array, old: Array) -> Array:
    return axpy(RELAXATION, new, (1 - RELAXATION) * old)
