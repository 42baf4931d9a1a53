"""Lines of the table for solvers that need no proximal operator: Krylov, algebraic, likelihood, descent.

Where a step takes more memory than three arrays and the data, it is for the gradient of a prior, of which the
state holds none, for the weights or curvatures of counts, or for the pairs of vectors and the double
precision of L-BFGS.
"""

from __future__ import annotations

from tests.recon.solvers import minimisers
from tests.recon.solvers.table import Case, Units, lasso_units

from rayfold.recon.priors import HuberTV
from rayfold.recon.solvers.cg import CG
from rayfold.recon.solvers.landweber import Landweber
from rayfold.recon.solvers.lbfgs import LBFGS
from rayfold.recon.solvers.lsqr import LSQR
from rayfold.recon.solvers.mlem import MLEM
from rayfold.recon.solvers.os_sqs import OSSQS
from rayfold.recon.solvers.sart import SART


def huber(strength: float, corner: float, u: Units) -> HuberTV:
    return HuberTV(lasso_units(strength, u), corner * u.image)


def damping(u: Units) -> float:
    return 0.7 * u.term / u.image**2


LEAST, RIDGE = minimisers.least_squares, minimisers.tikhonov(0.7)
SMOOTH = minimisers.smooth(0.5, 0.2)
POSITIVE = minimisers.smooth(0.5, 0.2, 0.0)
COUNTED = minimisers.smooth(20.0, 0.2, 0.0, likelihood=True)
EMITTED = minimisers.smooth(lower=0.0, likelihood=True)
EMITTED_SMOOTH = minimisers.smooth(0.1, 5.0, 0.0, likelihood=True)

CASES = [
    Case("cg", lambda u: CG(), LEAST, steps=30, short=3),
    Case("cg damped", lambda u: CG(damping(u)), RIDGE, "weighted", steps=40, short=3),
    Case("lsqr", lambda u: LSQR(), LEAST, steps=30, short=3),
    Case("lsqr damped", lambda u: LSQR(damping(u)), RIDGE, "weighted", steps=40, short=3, images=4),
    Case("landweber", lambda u: Landweber(), LEAST, steps=600),
    Case(
        "landweber huber",
        lambda u: Landweber(huber(0.5, 0.2, u), lower=0.0),
        POSITIVE,
        "weighted",
        steps=2000,
        images=6,
    ),
    Case("sart", lambda u: SART(4), steps=200, consistent=True),
    Case("sart box", lambda u: SART(12, 0.7, 0.0), kind="weighted", steps=200, consistent=True),
    Case("sart of one", lambda u: SART(1), minimisers.sirt(), "weighted", steps=2000),
    Case("os-sqs", lambda u: OSSQS(subsets=1), LEAST),
    Case(
        "os-sqs subsets",
        lambda u: OSSQS(huber(0.5, 0.2, u), 4, lower=0.0),
        POSITIVE,
        "weighted",
        within=1e-2,
        images=7,
    ),
    Case(
        "os-sqs poisson",
        lambda u: OSSQS(huber(20.0, 0.2, u), 1, likelihood="poisson", lower=0.0),
        COUNTED,
        "transmission",
        images=7,
        data=3,
    ),
    Case("mlem", lambda u: MLEM(), EMITTED, "emission", steps=2000, data=3),
    Case(
        "mlem huber",
        lambda u: MLEM(1, huber(0.1, 5.0, u)),
        EMITTED_SMOOTH,
        "emission",
        2000,
        images=6,
        data=3,
    ),
    Case("osem", lambda u: MLEM(4), kind="emission", steps=200, consistent=True, data=3),
    Case("lbfgs", lambda u: LBFGS(inner=8), LEAST, steps=50, short=1, images=90, settled=20),
    Case(
        "lbfgs huber",
        lambda u: LBFGS(huber(0.5, 0.2, u), 8),
        SMOOTH,
        "weighted",
        steps=50,
        short=1,
        images=90,
        settled=20,
    ),
    Case(
        "lbfgs poisson",
        lambda u: LBFGS(huber(20.0, 0.2, u), 8),
        minimisers.smooth(20.0, 0.2, likelihood=True),
        "transmission",
        steps=50,
        short=1,
        rounding=1e-3,  # of a sum of likelihoods, which a line search compares
        images=90,
        settled=20,
    ),
]
