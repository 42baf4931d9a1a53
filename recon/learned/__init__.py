"""Solvers with learned parts, and solvers as layers of a network (PyTorch)."""

from rayfold.recon.learned.gradient_steps import LearnedGradient, VariationalNetwork
from rayfold.recon.learned.implicit import Implicit, NoFixedPoint
from rayfold.recon.learned.inner_solve import solved
from rayfold.recon.learned.modl import MoDL
from rayfold.recon.learned.networks import SmallCNN, UNet
from rayfold.recon.learned.primal_dual import LearnedPrimalDual
from rayfold.recon.learned.unrolled import Unrolled

__all__ = [
    "Implicit",
    "LearnedGradient",
    "LearnedPrimalDual",
    "MoDL",
    "NoFixedPoint",
    "SmallCNN",
    "UNet",
    "Unrolled",
    "VariationalNetwork",
    "solved",
]
