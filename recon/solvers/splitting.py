"""What methods that split the image from its priors share: couplings, thresholds, and the data step."""

from __future__ import annotations

from typing import Any

from rayfold.operators.dispatch import namespace
from rayfold.recon.arrays import along, axpy, expand, inner, ratio
from rayfold.recon.priors.prior import Analysis, Prior
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.steps import lipschitz, majorant, stiffness

Array = Any
LEAST, MOST = 1e-4, 1.0  # of the curvature of the data term over the squared norm of K


def look(prior: Prior, x: Array) -> Array:
    """What a prior is split at: K x, or the image itself (which is then not fresh)."""
    return prior.analyse(x, None) if isinstance(prior, Analysis) else x


def back(prior: Prior, z: Array, x: Array) -> Array:
    """The adjoint of `look`."""
    return prior.synthesise(z, x)[0] if isinstance(prior, Analysis) else z


def shrink(prior: Prior, v: Array, rho: Array, warm: tuple[Array, ...]) -> tuple[Array, tuple[Array, ...]]:
    """Proximal operator of the prior's g, over `rho`, at `v`: through its dual by Moreau's identity."""
    if not isinstance(prior, Analysis):
        return prior.prox_from(v, 1 / rho, warm)
    z = prior.dual_prox(rho * v, rho)
    return axpy(-1 / rho, z, v), warm


def warm(prior: Prior, x: Array) -> tuple[Array, ...]:
    """Start of the inner variables of `shrink`."""
    return () if isinstance(prior, Analysis) else prior.warm(x)


def couplings(problem: Problem, priors: tuple[Prior, ...], x: Array, share: float) -> tuple[Array, ...]:
    """Penalty of every split: `share` of the largest curvature of the data term, over the norm of its K."""
    top = _top(problem)
    return tuple(share / _size(p, x) * top for p in priors)


def steep_couplings(problem: Problem, priors: tuple[Prior, ...], x: Array, share: float) -> tuple[Array, ...]:
    """As `couplings`, but where a prior is known inside K as steep as it is there.

    A dual then grows to its size in one step. Never far above or below the data term.
    """
    xp, found = namespace(x), []
    d = majorant(problem)
    d = xp.where(d > 0, d, xp.ones_like(d))  # nothing is measured, and any penalty will do
    n = len(problem.A.in_shape)
    top = xp.max(d, axis=tuple(range(-n, 0))) + 0 * inner(problem.A.in_shape, x, x)
    first = problem.A.H(problem.weigh(problem.y)) / d
    for p in priors:
        scale = top / _size(p, x)
        if not isinstance(p, Analysis):
            found.append(share * scale)
            continue
        steep = ratio(stiffness(p, first, top), scale)
        steep = xp.where(steep > 0, steep, xp.full_like(steep, share))
        found.append(xp.clip(steep, LEAST, MOST) * scale)
    return tuple(found)


def _top(problem: Problem) -> Array:
    top = lipschitz(problem)
    return namespace(top).where(top > 0, top, namespace(top).ones_like(top))


def _size(prior: Prior, x: Array) -> float:
    return prior.squared_norm(x) or 1.0 if isinstance(prior, Analysis) else 1.0


def beside(rho: Array, z: Array, x: Array, problem: Problem) -> Array:
    """One penalty per problem, ready to multiply `z`."""
    return expand(rho, z.ndim - (x.ndim - len(problem.A.in_shape)))


def data_step(
    problem: Problem,
    priors: tuple[Prior, ...],
    x: Array,
    r: Array,
    targets: list[Array],
    rhos: tuple[Array, ...],
    n: int,
) -> tuple[Array, Array]:
    """Towards ``argmin_x 1/2 |A x - y|_W^2 + sum rho/2 |K x - target|^2`` by `n` conjugate gradient steps.

    Parameters
    ----------
    problem, priors
        A, W and y; the priors whose K are meant.
    x, r : array
        Start, and ``y - A x`` there.
    targets : list of array
        One per prior; emptied, as nothing needs them once the first gradient is known.
    rhos : tuple of array
        Penalties, each one number per problem.
    n : int
        Steps: one A and one A.H each.

    Returns
    -------
    tuple of array
        The image, and its data residual, which goes along without another A.
    """
    A = problem.A
    s = A.H(problem.weigh(r))
    for prior, rho in zip(priors, rhos, strict=True):
        s = s + _pull(problem, prior, targets.pop(0) - look(prior, x), x, rho)
    p, gamma = s, inner(A.in_shape, s, s)
    for k in range(n):
        q = A(p)
        weighted = problem.weigh(q)
        curvature = inner(A.out_shape, q, weighted)
        for prior, rho in zip(priors, rhos, strict=True):
            curvature = curvature + rho * _squared(look(prior, p), x.ndim - len(A.in_shape))
        alpha = ratio(gamma, curvature)
        x = axpy(along(A.in_shape, alpha), p, x)
        r = axpy(-along(A.out_shape, alpha), q, r)
        del q
        if k == n - 1:
            break
        bend = A.H(weighted)
        del weighted
        for prior, rho in zip(priors, rhos, strict=True):
            bend = bend + _pull(problem, prior, look(prior, p), x, rho)
        s = axpy(-along(A.in_shape, alpha), bend, s)
        del bend
        gamma, before = inner(A.in_shape, s, s), gamma
        p = axpy(along(A.in_shape, ratio(gamma, before)), p, s)
    return x, r


def _pull(problem: Problem, prior: Prior, z: Array, x: Array, rho: Array) -> Array:
    """``rho K.H z``."""
    z = back(prior, z, x)
    return beside(rho, z, x, problem) * z


def _squared(z: Array, lead: int) -> Array:
    return inner(tuple(z.shape[lead:]), z, z)


def penalties(problem: Problem, priors: tuple[Prior, ...], images: tuple[Array, ...]) -> Array | float:
    """Sum of the values of the priors, each at its image, one number per problem."""
    total: Array | float = 0.0
    for prior, x in zip(priors, images, strict=True):
        value = prior.value(x)
        more = value.ndim - (x.ndim - len(problem.A.in_shape))  # a volume holds many images of a prior
        total = total + (namespace(x).sum(value, axis=tuple(range(-more, 0))) if more > 0 else value)
    return total
