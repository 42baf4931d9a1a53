"""The table every solver must pass: one line per solver and kind of problem, and what it is held against.

To hold a solver to the table, append a `Case` to `CASES`; `minimisers` has objectives solved by other means.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from tests.recon.solvers import minimisers
from tests.recon.solvers.lines import Lines
from tests.recon.solvers.minimisers import Dense

from rayfold.operators import LinearOperator, ParallelBeam, Volume, XRay
from rayfold.operators.noise import Gaussian, Poisson, PoissonTransmission
from rayfold.recon.priors import TV, NonNegative
from rayfold.recon.problem import Problem
from rayfold.recon.solvers import CGLS, PDHG, SIRT

A = XRay(Volume((4, 5), 1.1), ParallelBeam.evenly(12, 9, pitch=0.6))  # condition 4: slow methods converge too
STEPS = 20
KINDS = ("plain", "weighted", "transmission", "emission")


BIG = Lines((256, 256), range(256))


@dataclass(frozen=True)
class Units:
    """What one unit of the image, and one of the data term, has become after scaling a problem.

    A penalty linear in the image has the strength ``s * units.term / units.image``, a quadratic one
    ``s * units.term / units.image**2``, a bound ``b * units.image``.
    """

    image: float = 1.0
    term: float = 1.0


@dataclass(frozen=True)
class Case:
    """A solver and what it must reach.

    Attributes
    ----------
    name : str
        Of the test.
    make : callable
        The solver with strengths and bounds that fit the `Units`.
    exact : callable, optional
        From a `Dense` problem in units of 1 to the minimiser by other means; the true image for None, of data
        without noise (`consistent`).
    kind : str
        One of `KINDS`.
    steps : int
        Until converged to `within` of the largest value.
    consistent : bool
        Converge on data without noise.
    images : float
        A step's peak of memory beyond its state, in largest arrays of the state; data come on top.
    data : float
        How many arrays of data that is.
    short : int
        Steps of the law of scale in single precision: few where rounding grows from step to step.
    settled : int
        Steps after which single and double precision agree in all libraries.
    rounding : float
        How far they may differ, as a part of the largest value.
    """

    name: str
    make: Callable[[Units], Any]
    exact: Callable[[Dense], np.ndarray] | None = None
    kind: str = "plain"
    steps: int = 400
    within: float = 1e-6
    consistent: bool = False
    images: float = 3.0
    data: float = 1.0
    short: int = 20
    settled: int = 3
    rounding: float = 2e-4

    @property
    def solver(self) -> Any:
        return self.make(Units())


def problem(
    kind: str,
    *,
    op: LinearOperator = A,
    scale: float = 1.0,
    dtype: Any = np.float64,
    batch: tuple[int, ...] = (),
    consistent: bool = False,
) -> tuple[Problem, Units]:
    """A problem in NumPy and its units; data, and what goes with them, times `scale`.

    The nonlinear noise of transmission scales with the unit of length instead: of the operator.
    """
    rng = np.random.default_rng(3)
    x = 0.2 + rng.random((*batch, *op.in_shape))
    if kind == "transmission":
        y, op = op(x), op / scale
        noise = PoissonTransmission(2e3, electronic=5.0)
        y = y if consistent else noise.sample(y, 0)
        return Problem(op, y.astype(dtype), noise), Units(image=scale)
    if kind == "emission":
        y = op(100 * x)
        y = y if consistent else Poisson().sample(y, 0)
        return Problem(op, (scale * y).astype(dtype), Poisson()), Units(image=scale, term=scale)
    y = op(x)
    sigma = 0.1 + rng.random(y.shape)
    if not consistent:
        y = y + (0.3 * sigma if kind == "weighted" else 0.1) * rng.standard_normal(y.shape)
    y = (scale * y).astype(dtype)
    if kind == "weighted":
        return Problem(op, y, Gaussian((scale * sigma).astype(dtype))), Units(image=scale)
    return Problem(op, y), Units(image=scale, term=scale**2)


def true_image(kind: str, op: LinearOperator = A) -> np.ndarray:
    """What the data of `problem` were made from."""
    x = 0.2 + np.random.default_rng(3).random(op.in_shape)
    return 100 * x if kind == "emission" else x


def one_of(batch: Problem, i: tuple[int, ...]) -> Problem:
    """One problem of a batch."""
    sigma = getattr(batch.noise, "sigma", None)
    noise = batch.noise
    if getattr(sigma, "ndim", 0) > len(batch.A.out_shape):
        noise = replace(batch.noise, sigma=sigma[i])
    return batch._replace(y=batch.y[i], noise=noise)


def convert(given: Problem, into: Callable[[Any], Any]) -> Problem:
    """The same problem in another array library."""
    noise = given.noise
    if getattr(noise, "sigma", None) is not None:
        noise = replace(noise, sigma=into(noise.sigma))
    return given._replace(y=into(given.y), noise=noise)


def lasso_units(strength: float, u: Units) -> float:
    """Strength of a penalty linear in the image."""
    return strength * u.term / u.image


CASES = [
    Case("cgls", lambda u: CGLS(), minimisers.least_squares, steps=30, images=2, short=3),
    Case("cgls", lambda u: CGLS(), minimisers.least_squares, "weighted", steps=40, images=2, short=3),
    Case(
        "cgls damped",
        lambda u: CGLS(damping=0.7 * u.term / u.image**2),
        minimisers.tikhonov(0.7),
        "weighted",
        steps=40,
        images=2,
        short=3,
    ),
    Case("sirt", lambda u: SIRT(), minimisers.sirt(), "weighted", steps=2000, images=2),
    Case(
        "sirt box",
        lambda u: SIRT(1.5, 0.0, 0.6 * u.image),
        minimisers.sirt(0.0, 0.6),
        "weighted",
        steps=2000,
        images=2,
    ),
    Case("pdhg tv", lambda u: PDHG(TV(lasso_units(0.3, u))), minimisers.tv(0.3), steps=2000),
    Case("pdhg tv", lambda u: PDHG(TV(lasso_units(2.0, u))), minimisers.tv(2.0), "weighted", steps=2000),
    Case(
        "pdhg tv box",
        lambda u: PDHG((TV(lasso_units(2.0, u)), NonNegative())),
        minimisers.tv(2.0, lower=0.0),
        "weighted",
        steps=2000,
    ),
]


def each(**only: Any) -> Any:
    """Parametrise a test over the cases."""
    picked = [c for c in CASES if all(getattr(c, k) == v for k, v in only.items())]
    return pytest.mark.parametrize("case", picked, ids=[f"{c.name}-{c.kind}" for c in picked])


CASES += import_module("tests.recon.solvers.proximal_cases").CASES  # it needs `Case`
CASES += import_module("tests.recon.solvers.gradient_cases").CASES
