"""L-BFGS for smooth objectives: the array library's own, driven like any other solver."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, is_dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from rayfold.operators.dispatch import dtype_name, library, match, namespace
from rayfold.operators.noise import Gaussian, Noise
from rayfold.recon.arrays import axpy, inner, ratio, root, size, start
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Prior
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.batch import each_of
from rayfold.recon.solvers.descend import Descent, by_optax, by_scipy, by_torch
from rayfold.recon.solvers.smooth import add_slopes, curvature, require_bounds, require_smooth, values

Array = Any


class LBFGSState(NamedTuple):
    """Image, and norm of the weighted residual."""

    x: Array
    residual: Array


@dataclass(frozen=True)
class LBFGS:
    """Minimise the data term plus smooth priors by L-BFGS.

    One step is a run of `inner` iterations of SciPy's L-BFGS-B for NumPy arrays, of
    ``torch.optim.LBFGS`` for torch and CuPy, of ``optax.lbfgs`` for JAX; every problem of a batch has its
    own. Each run starts in units in which its first gradient and its first step are 1, so that no tolerance
    of theirs depends on yours. It holds 2 `memory` images, in double precision with SciPy.

    Parameters
    ----------
    prior : Prior or tuple of Prior
        Smooth priors.
    inner : int
        Iterations of one step.
    memory : int
        Pairs of vectors that stand for the curvature.
    likelihood : {"noise", "wls"}
        Minus the log-likelihood of the noise itself, or weighted least squares; the same for Gaussian noise.
    lower, upper : float, optional
        Bounds of the image: NumPy only.

    References
    ----------
    D. C. Liu and J. Nocedal, Math. Program. 45 (1989) 503; R. H. Byrd, P. Lu, J. Nocedal, C. Zhu, SIAM J.
    Sci. Comput. 16 (1995) 1190, for bounds.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators.calculus import Diagonal
    >>> from rayfold.recon import Problem, run
    >>> A = Diagonal((2,), np.array([1.0, 2.0]))
    >>> run(LBFGS(), Problem(A, np.array([3.0, 4.0])), 1).x.round(6)
    array([3., 2.])
    """

    prior: Prior | tuple[Prior, ...] | None = None
    inner: int = 20
    memory: int = field(default=10, kw_only=True)
    likelihood: Literal["noise", "wls"] = field(default="noise", kw_only=True)
    lower: float | None = field(default=None, kw_only=True)
    upper: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        positive(inner=self.inner, memory=self.memory)
        require_smooth(type(self).__name__, self.prior)
        require_bounds(self.lower, self.upper)
        if self.likelihood not in ("noise", "wls"):
            raise ValueError(f"likelihood is {self.likelihood!r}; give 'noise' or 'wls'")

    def init(self, problem: Problem, x0: Array | None = None) -> LBFGSState:
        """State at `x0`, zero by default."""
        kind = library(type(problem.y))
        if kind != "numpy" and (self.lower is not None or self.upper is not None):
            raise ValueError(f"L-BFGS of {kind} has no bounds; leave them out, or use OSSQS or NumPy arrays")
        x, prediction = start(problem, x0)
        return LBFGSState(x, size(problem, problem.y - prediction))

    def step(self, problem: Problem, state: LBFGSState) -> LBFGSState:
        """Up to `inner` iterations, each about one A and one A.H."""
        xp, shape = namespace(state.x), problem.A.in_shape
        lead = tuple(state.x.shape[: len(state.x.shape) - len(shape)])
        if lead:
            flat = xp.reshape(state.x, (math.prod(lead), *shape))
            problems = each_of(problem, lead)
            x = xp.stack([self._descend(one, flat[i]) for i, one in enumerate(problems)])
            x = xp.reshape(x, (*lead, *shape))
        else:
            x = self._descend(problem, state.x)
        return LBFGSState(x, size(problem, problem.y - problem.A(x)))

    def objective(self, problem: Problem, state: LBFGSState) -> Array:
        """Minus the log-likelihood (or the data term) plus penalties, one per problem."""
        return self._data(problem, problem.A(state.x)) + values(self.prior, state.x)

    def _descend(self, problem: Problem, x: Array) -> Array:
        """One problem, no batch axes."""
        kind = library(type(x))
        if kind == "jax":
            noise = problem.noise if _is_plain(problem.noise) else None
            problem = problem._replace(x_unit=None, noise=None if noise else problem.noise)
            return (_compiled() if _is_static(self) else _by_optax)(self, noise, problem, x)
        descent = self._descent(problem, x)
        if kind == "numpy":
            return by_scipy(descent, self.inner, self.memory, self.lower, self.upper)
        return by_torch(descent, self.inner, self.memory)

    def _descent(self, problem: Problem, x: Array) -> Descent:
        """The objective less its value at `x`, in units in which the first gradient and step are 1."""
        shape = problem.A.in_shape
        here = problem.A(x)
        data, penalty = self._data(problem, here), values(self.prior, _wide(x))
        quadratic = self._is_quadratic(problem)
        lack = here - problem.y

        def gradient(x: Array, p: Array) -> Array:
            if quadratic:
                force = problem.weigh(p - problem.y)
            else:
                assert problem.noise is not None
                force = -problem.noise.gradient(p, problem.y)
            return add_slopes(self.prior, x, problem.A.H(force))

        def both(x: Array) -> tuple[Array, Array]:
            p = problem.A(x)
            if quadratic:  # the difference itself, not one of two large numbers
                moved = p - here
                value = inner(problem.A.out_shape, axpy(0.5, moved, lack), problem.weigh(moved))
            else:
                value = self._data(problem, p) - data
            more = values(self.prior, _wide(x)) - penalty
            return value + (more if isinstance(more, float) else match(more, x)), gradient(x, p)

        g = gradient(x, here)
        squared, q = inner(shape, g, g), problem.A(g)
        bend = inner(problem.A.out_shape, q, problem.weigh(q))
        if not quadratic:  # counts bend most where little is absorbed: here, or at the data
            assert problem.noise is not None
            at_start = inner(problem.A.out_shape, q, problem.noise.weigh(q, here))
            bend = namespace(bend).maximum(bend, at_start)
        c = curvature(self.prior, x)
        bend = bend + (c * squared if isinstance(c, int | float) else inner(shape, g, c * g))
        cauchy = ratio(squared, bend)
        return Descent(both, x, cauchy * root(squared), cauchy * squared)

    def _is_quadratic(self, problem: Problem) -> bool:
        return self.likelihood == "wls" or problem.noise is None or isinstance(problem.noise, Gaussian)

    def _data(self, problem: Problem, p: Array) -> Array:
        """Minus the log-likelihood of predictions, or half the weighted squares; one per problem."""
        shape = problem.A.out_shape
        if self._is_quadratic(problem):
            r = p - problem.y
            return inner(shape, r, problem.weigh(r)) / 2
        assert problem.noise is not None
        terms = problem.noise.log_likelihood(p, problem.y)
        return -namespace(terms).sum(terms, axis=tuple(range(-len(shape), 0)))


def _wide(x: Array) -> Array:
    """An image in double precision where there is one: a line search sees small differences of penalties."""
    kind = {"float32": "float64", "complex64": "complex128"}.get(dtype_name(x))
    return (
        x
        if kind is None or library(type(x)) == "jax"
        else namespace(x).astype(x, getattr(namespace(x), kind))
    )


def _by_optax(solver: LBFGS, noise: Noise | None, problem: Problem, x: Array) -> Array:
    problem = problem if noise is None else problem._replace(noise=noise)
    return by_optax(solver._descent(problem, x), solver.inner, solver.memory)


@lru_cache(maxsize=1)
def _compiled() -> Any:
    """One program per solver and shape, instead of one per step."""
    import jax

    return jax.jit(_by_optax, static_argnums=(0, 1))


def _is_plain(noise: Noise | None) -> bool:
    """Whether a noise model holds plain numbers only, which may be part of a program."""
    kinds = (int, float, type(None))
    return is_dataclass(noise) and all(isinstance(getattr(noise, each.name), kinds) for each in fields(noise))


def _is_static(solver: LBFGS) -> bool:
    """Whether the solver holds plain numbers only: strengths to be learned are arrays."""
    try:
        hash(solver)
    except TypeError:
        return False
    return True
