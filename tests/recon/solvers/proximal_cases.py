"""The proximal solvers' lines of the table.

Where a step takes more memory than three arrays and the data, it is for the differences or coefficients of a
prior, of which the state holds none, or for the inner conjugate gradients.
"""

from __future__ import annotations

from tests.recon.solvers import linear_minimisers as linear
from tests.recon.solvers import minimisers
from tests.recon.solvers.table import Case, lasso_units

from rayfold.recon.priors.bounds import Box, NonNegative
from rayfold.recon.priors.denoiser import PlugAndPlay
from rayfold.recon.priors.sparsity import L1
from rayfold.recon.priors.tikhonov import Tikhonov
from rayfold.recon.priors.total_variation import TV, HuberTV
from rayfold.recon.priors.wavelet import WaveletL1
from rayfold.recon.solvers.admm import ADMM
from rayfold.recon.solvers.fista import FISTA
from rayfold.recon.solvers.hqs import HQS, SHARE
from rayfold.recon.solvers.proximal_gradient import ProximalGradient
from rayfold.recon.solvers.red import RED

DENOISER = PlugAndPlay(linear.smoothing, sigma=0.1)

CASES = [
    Case("proximal gradient", lambda u: ProximalGradient(), minimisers.least_squares, steps=1000),
    Case(
        "proximal gradient box",
        lambda u: ProximalGradient(Box(0.0, 0.6 * u.image)),
        minimisers.bounded(0.0, 0.6),
        "weighted",
        steps=1000,
    ),
    Case(
        "proximal gradient denoiser",
        lambda u: ProximalGradient(DENOISER, averaging=0.25),
        linear.averaged(0.25),
        steps=1000,
        images=4,
    ),
    Case(
        "proximal gradient huber box",
        lambda u: ProximalGradient((HuberTV(lasso_units(2.0, u), 0.1 * u.image), NonNegative())),
        minimisers.smooth(2.0, 0.1, 0.0),
        "weighted",
        steps=3000,
        images=6,
    ),
    Case("fista", lambda u: FISTA(), minimisers.least_squares, "transmission", images=4, data=2),
    Case("fista l1", lambda u: FISTA(L1(lasso_units(3.0, u))), linear.sparse(3.0), images=4),
    Case(
        "fista tikhonov",
        lambda u: FISTA(Tikhonov(0.7 * u.term / u.image**2, "gradient")),
        linear.regularised(0.7),
        "weighted",
        images=7,
    ),
    Case("fista tv", lambda u: FISTA(TV(lasso_units(0.3, u), iterations=10)), minimisers.tv(0.3), images=4),
    Case(
        "fista wavelet",
        lambda u: FISTA(WaveletL1(lasso_units(1.0, u), "haar", iterations=10)),
        linear.sparse(1.0, "haar"),
        images=7,
    ),
    Case("admm tv", lambda u: ADMM(TV(lasso_units(0.3, u))), minimisers.tv(0.3), images=5),
    Case(
        "admm tv box",
        lambda u: ADMM((TV(lasso_units(2.0, u)), NonNegative())),
        minimisers.tv(2.0, lower=0.0),
        "weighted",
        steps=2000,
        images=5.5,
    ),
    Case(
        "admm wavelet",
        lambda u: ADMM(WaveletL1(lasso_units(1.0, u), "haar")),
        linear.sparse(1.0, "haar"),
        images=12,
    ),
    Case(
        "hqs tv",
        lambda u: HQS(TV(lasso_units(0.3, u)), penalty=1.0),
        linear.enveloped(0.3, SHARE),
        steps=1000,
        images=8,
    ),
    Case(
        "red",
        lambda u: RED(DENOISER, 3.0 * u.term / u.image**2),
        linear.regularised(3.0 * linear.PART),
        "weighted",
        steps=1000,
    ),
]
