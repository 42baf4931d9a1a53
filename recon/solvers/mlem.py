"""Maximum likelihood by expectation maximisation, for counts of emission; ordered subsets on request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from rayfold.operators import LinearOperator
from rayfold.operators.dispatch import is_traced, match, namespace
from rayfold.operators.noise import Poisson
from rayfold.recon.arrays import along, ratio, size, start
from rayfold.recon.checks import positive
from rayfold.recon.priors.prior import Prior
from rayfold.recon.problem import Problem
from rayfold.recon.solvers.smooth import add_slopes, curvature, require_smooth, values
from rayfold.recon.solvers.subsets import cuts, operators, take

Array = Any


class MLEMState(NamedTuple):
    """Image, its prediction ``A x``, and per subset: operator and column sums."""

    x: Array
    prediction: Array
    parts: tuple[LinearOperator, ...]
    cols: tuple[Array, ...]
    residual: Array


@dataclass(frozen=True)
class MLEM:
    """``x <- x / (A.H 1) * A.H (y / (A x + background))``: images of 0 or more from `Poisson` counts.

    Every step raises the likelihood and, without background, keeps the sum of ``A x`` at the sum of the
    counts. A prior enters through a separable bound around the last image, so that likelihood less penalty
    still rises with every step. With subsets (OSEM) it rises faster at first and then circles.

    Parameters
    ----------
    subsets : int
        Subsets of views in one step.
    prior : Prior or tuple of Prior
        Smooth priors.

    Raises
    ------
    ValueError
        At `init`: if the noise is not `Poisson`, the operator has negative entries, or counts are negative.

    References
    ----------
    L. A. Shepp and Y. Vardi, IEEE Trans. Med. Imaging 1 (1982) 113; H. M. Hudson and R. S. Larkin, ibid. 13
    (1994) 601, for subsets; A. R. De Pierro, ibid. 14 (1995) 132, for priors.

    Examples
    --------
    >>> import numpy as np
    >>> from rayfold.operators import Poisson
    >>> from rayfold.operators.calculus import Diagonal
    >>> from rayfold.recon import Problem, run
    >>> A = Diagonal((2,), np.array([1.0, 2.0]))
    >>> run(MLEM(), Problem(A, np.array([3.0, 4.0]), Poisson()), 1).x
    array([3., 2.])
    """

    subsets: int = 1
    prior: Prior | tuple[Prior, ...] | None = None

    def __post_init__(self) -> None:
        positive(subsets=self.subsets)
        require_smooth(type(self).__name__, self.prior)

    def init(self, problem: Problem, x0: Array | None = None) -> MLEMState:
        """State at `x0`; by default at the flat image that predicts the sum of the counts."""
        A, y = problem.A, problem.y
        xp = namespace(y)
        if not isinstance(problem.noise, Poisson):
            raise ValueError(
                f"MLEM is for counts with Poisson noise, got {type(problem.noise).__name__}; "
                "use OSSQS or CGLS for line integrals"
            )
        if not A.nonnegative:
            raise ValueError("MLEM needs an operator without negative entries; use LBFGS for this one")
        if not is_traced(y) and bool(xp.any(y < 0)):
            raise ValueError("MLEM takes counts and the data hold negative ones; give 0 for such bins")
        parts = operators(problem, self.subsets)
        x, _ = start(problem, x0)
        if x0 is not None and not is_traced(x0) and bool(xp.any(x0 < 0)):
            raise ValueError("x0 holds negative values, which MLEM keeps for ever; start from 0 or more")
        ones = xp.ones_like(y)
        cols = tuple(part.H(ones[cut]) for part, cut in zip(parts, cuts(problem, self.subsets), strict=True))
        if x0 is None:
            seen = xp.sum(sum(cols), axis=tuple(range(-len(A.in_shape), 0)))
            counts = xp.sum(y, axis=tuple(range(-len(A.out_shape), 0)))
            x = along(A.in_shape, ratio(counts, seen)) * xp.ones_like(x)
        prediction = A(x)
        return MLEMState(x, prediction, parts, cols, size(problem, y - prediction))

    def step(self, problem: Problem, state: MLEMState) -> MLEMState:
        """One pass: one A and one A.H, and with several subsets one A more."""
        x, noise, xp = state.x, problem.noise, namespace(state.x)
        assert isinstance(noise, Poisson)
        background = noise.background
        for i, (part, cut) in enumerate(zip(state.parts, cuts(problem, self.subsets), strict=True)):
            mean = state.prediction[cut] if i == 0 else part(x)
            if not isinstance(background, int | float):
                mean = mean + match(take(problem, background, cut), mean)
            elif background:
                mean = mean + background
            # where nothing is predicted the image is 0 along the ray, and stays so
            mean = xp.where(mean > 0, mean, 1.0)
            back = part.H(problem.y[cut] / mean)
            del mean
            x = self._raised(x, back, state.cols[i])
        prediction = problem.A(x)
        return MLEMState(x, prediction, state.parts, state.cols, size(problem, problem.y - prediction))

    def objective(self, problem: Problem, state: MLEMState) -> Array:
        """Minus the log-likelihood (0 where the data are met exactly) plus penalties, one per problem."""
        assert problem.noise is not None
        terms = problem.noise.log_likelihood(state.prediction, problem.y)
        axes = tuple(range(-len(problem.A.out_shape), 0))
        return values(self.prior, state.x) - namespace(terms).sum(terms, axis=axes)

    def _raised(self, x: Array, back: Array, cols: Array) -> Array:
        """The image that maximises the bound; ``x * back`` are the counts ascribed to each pixel."""
        xp = namespace(x)
        if self.prior is None:
            seen = cols > 0
            factor = back / xp.where(seen, cols, 1.0)
            factor = xp.where(seen, factor, 1.0)  # pixels out of sight stay
            return factor * x
        counts = x * back
        # positive root of  c x^2 + b x = counts,  with  b = cols + slope - c x_old
        c = curvature(self.prior, x) / self.subsets
        b = add_slopes(self.prior, x, cols - c * x, 1 / self.subsets)
        root = xp.sqrt(b * b + 4 * c * counts)
        down = b > 0
        one = xp.ones_like(b)
        return xp.where(down, 2 * counts / xp.where(down, b + root, one), (root - b) / (2 * c))
