"""The foundation-model prior: one network for CT and MRI, unrolled with the physics (PyTorch)."""

from rayfold.recon.foundation.bands import BANDS, levels_of, shape_noise
from rayfold.recon.foundation.files import load_prior, save_prior
from rayfold.recon.foundation.network import SIZES, Network, build
from rayfold.recon.foundation.prior import FoundationPrior
from rayfold.recon.foundation.steps import PhysicsSteps, Schedule

__all__ = [
    "BANDS",
    "SIZES",
    "FoundationPrior",
    "Network",
    "PhysicsSteps",
    "Schedule",
    "build",
    "levels_of",
    "load_prior",
    "save_prior",
    "shape_noise",
]
