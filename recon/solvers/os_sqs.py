"""Ordered subsets of separable quadratic surrogates, with momentum: statistical CT with a per-pixel step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from rayfold.operators import LinearOperator
from rayfold.operators.dispatch import namespace
from rayfold.operators.noise import PoissonTransmission
from rayfold.recon.arrays import along, inner, size, start
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Prior
from rayfold.recon.problem import Problem
from rayfold.recon.solvers import smooth
from rayfold.recon.solvers.steps import NEGLIGIBLE, majorant
from rayfold.recon.solvers.subsets import cuts, operators, weigh
from rayfold.recon.solvers.surrogates import optimal_curvature

Array = Any


class OSSQSState(NamedTuple):
    """State of `OSSQS`.

    `z` is the image ahead of `x` by its momentum, of weight `t`; `caution` divides the steps, `energy` is the
    objective, `prediction` is ``A x``; `diagonal` bounds the curvature of the data term, `rows` are the row
    sums of A; one of the two is None.
    """

    x: Array
    z: Array
    t: Array
    caution: Array
    energy: Array
    prediction: Array
    diagonal: Array | None
    rows: Array | None
    parts: tuple[LinearOperator, ...]
    residual: Array


@dataclass(frozen=True)
class OSSQS:
    """Minimise the data term plus smooth priors by separable quadratic surrogates, subset by subset.

    Each pixel has a step of its own, one over ``A.H W A 1`` plus the curvature of the priors, and every
    subset of views makes a step with its own gradient. The momentum starts anew where it points uphill. The
    objective never rises: a pass that would raise it, because its subsets differ too much, is given up and
    the steps of the passes that follow are halved. With subsets the image stops a little short of the
    minimiser; end with a few steps of one subset where that matters.

    Parameters
    ----------
    prior : Prior or tuple of Prior
        Smooth priors.
    subsets : int
        Subsets of views in one step.
    momentum : bool
        Nesterov's.
    likelihood : {"wls", "poisson"}
        Weighted least squares, or the likelihood of `PoissonTransmission` counts itself. Its curvature is
        the smallest that never underestimates; it needs line integrals of 0 or more, and one A.H more a step.
    lower, upper : float, optional
        Bounds of the image; ``likelihood="poisson"`` needs a lower bound of 0 or more.

    References
    ----------
    H. Erdogan and J. A. Fessler, Phys. Med. Biol. 44 (1999) 2835, and IEEE Trans. Med. Imaging 18 (1999) 801,
    for the surrogates; D. Kim, S. Ramani, J. A. Fessler, IEEE Trans. Med. Imaging 34 (2015) 167, for momentum
    with subsets; B. O'Donoghue and E. Candes, Found. Comput. Math. 15 (2015) 715, for starting anew.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators.calculus import Diagonal
    >>> from rayfold.recon import Problem, run
    >>> A = Diagonal((2,), np.array([1.0, 2.0]))
    >>> run(OSSQS(subsets=1, lower=0.0), Problem(A, np.array([3.0, -4.0])), 2).x
    array([3., 0.])
    """

    prior: Prior | tuple[Prior, ...] | None = None
    subsets: int = 10
    momentum: bool = True
    likelihood: Literal["wls", "poisson"] = "wls"
    lower: float | None = field(default=None, kw_only=True)
    upper: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        positive(subsets=self.subsets)
        smooth.require_smooth(type(self).__name__, self.prior)
        smooth.require_bounds(self.lower, self.upper)
        if self.likelihood not in ("wls", "poisson"):
            raise ValueError(f"likelihood is {self.likelihood!r}; give 'wls' or 'poisson'")
        low = self.lower
        if self.likelihood == "poisson" and (low is None or (isinstance(low, int | float) and low < 0)):
            raise ValueError(f"lower is {low}; the curvature of 'poisson' needs images of 0 or more: lower=0")

    def init(self, problem: Problem, x0: Array | None = None) -> OSSQSState:
        """State at `x0`, zero by default, within the bounds; one A and one A.H more for the steps."""
        poisson = self.likelihood == "poisson"
        if poisson and not isinstance(problem.noise, PoissonTransmission):
            got = type(problem.noise).__name__
            raise ValueError(f"likelihood='poisson' is for PoissonTransmission noise, got {got}; use 'wls'")
        if poisson and not problem.A.nonnegative:
            raise ValueError("likelihood='poisson' needs an operator without negative entries; use LBFGS")
        parts = operators(problem, self.subsets)
        x, prediction = start(problem, x0)
        if self.lower is not None or self.upper is not None:
            x = smooth.clipped(x, self.lower, self.upper)
            prediction = problem.A(x)
        xp = namespace(x)
        rows = problem.A(xp.ones_like(x)) if poisson else None
        r = problem.y - prediction
        residual = size(problem, r)
        diagonal = None if poisson else majorant(problem)
        one = xp.ones_like(residual)
        energy = self._energy(problem, x, prediction, residual)
        return OSSQSState(x, x, one, one, energy, prediction, diagonal, rows, parts, residual)

    def step(self, problem: Problem, state: OSSQSState) -> OSSQSState:
        """One pass: one A and one A.H, and one A for the residual."""
        x, z, t, xp = state.x, state.z, state.t, namespace(state.x)
        shape, y, n = problem.A.in_shape, problem.y, self.subsets
        diagonal = self._diagonal(problem, state)
        caution = along(shape, state.caution)
        for i, (part, cut) in enumerate(zip(state.parts, cuts(problem, n), strict=True)):
            p = state.prediction[cut] if i == 0 and not self.momentum else part(z)
            force = part.H(self._pull(problem, p, y[cut], cut))
            del p
            if n > 1:
                force = n * force
            force = smooth.add_slopes(self.prior, z, force, -1.0)
            bound = diagonal + smooth.curvature(self.prior, z)
            bound = caution * bound
            new = force / bound
            del force, bound
            new += z
            new = smooth.clipped(new, self.lower, self.upper)
            if not self.momentum:
                x = z = new
                del new
                continue
            move = new - x
            back = z - new
            back *= diagonal
            uphill = inner(shape, back, move) > 0
            del back
            t = xp.where(uphill, xp.ones_like(t), t)
            ahead = (1 + xp.sqrt(1 + 4 * t * t)) / 2
            move *= along(shape, (t - 1) / ahead)
            move += new
            x, z, t = new, move, ahead
            del new, move
        del diagonal
        prediction = problem.A(x)
        residual = size(problem, y - prediction)
        energy = self._energy(problem, x, prediction, residual)
        # back to where the pass began if the objective rose
        good = energy <= state.energy
        here = along(shape, good)
        x = xp.where(here, x, state.x)
        z = xp.where(here, z, state.x)
        prediction = xp.where(along(problem.A.out_shape, good), prediction, state.prediction)
        t = xp.where(good, t, xp.ones_like(t))
        halved = xp.clip(2 * state.caution, None, 1 / xp.finfo(x.dtype).eps)
        caution = xp.where(good, state.caution, halved) if n > 1 else state.caution
        energy, residual = xp.where(good, energy, state.energy), xp.where(good, residual, state.residual)
        return state._replace(
            x=x, z=z, t=t, caution=caution, energy=energy, prediction=prediction, residual=residual
        )

    def objective(self, problem: Problem, state: OSSQSState) -> Array:
        """Data term, or minus the log-likelihood, plus penalties; one per problem."""
        return state.energy

    def _energy(self, problem: Problem, x: Array, prediction: Array, residual: Array) -> Array:
        if self.likelihood == "wls":
            return residual**2 / 2 + smooth.values(self.prior, x)
        assert problem.noise is not None
        terms = problem.noise.log_likelihood(prediction, problem.y)
        total = namespace(terms).sum(terms, axis=tuple(range(-len(problem.A.out_shape), 0)))
        return smooth.values(self.prior, x) - total

    def _pull(self, problem: Problem, p: Array, y: Array, cut: tuple[Any, ...]) -> Array:
        """Minus the derivative of the data term with respect to the prediction of a subset."""
        if self.likelihood == "wls":
            return weigh(problem, y - p, cut)
        assert problem.noise is not None
        return problem.noise.gradient(p, y)

    def _diagonal(self, problem: Problem, state: OSSQSState) -> Array:
        """Bound of the curvature of the data term, per pixel."""
        if state.diagonal is not None:
            return state.diagonal
        assert isinstance(problem.noise, PoissonTransmission)
        bend = optimal_curvature(problem.noise, state.prediction, problem.y)
        d = problem.A.H(bend * state.rows)
        xp, shape = namespace(d), problem.A.in_shape
        largest = xp.max(d, axis=tuple(range(-len(shape), 0)), keepdims=True)
        return xp.maximum(d, NEGLIGIBLE * largest)  # pixels out of sight
