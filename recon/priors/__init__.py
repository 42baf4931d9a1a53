"""Penalties on images: value, gradient or proximal operator, each in the caller's array library."""

from rayfold.recon.priors.bounds import Box, NonNegative
from rayfold.recon.priors.cycle_spinning import CycleSpinning
from rayfold.recon.priors.denoiser import PlugAndPlay, from_deepinv, from_numpy, from_score, from_torch
from rayfold.recon.priors.directional import DirectionalTV
from rayfold.recon.priors.equivariant import Equivariant
from rayfold.recon.priors.low_rank import LowRank
from rayfold.recon.priors.others import from_epsilon, load_denoiser
from rayfold.recon.priors.prior import Analysis, Prior, Split
from rayfold.recon.priors.sparsity import L1
from rayfold.recon.priors.tgv import TGV
from rayfold.recon.priors.tikhonov import Tikhonov
from rayfold.recon.priors.total_variation import TV, HuberTV
from rayfold.recon.priors.two_level import TwoLevel
from rayfold.recon.priors.wavelet import WaveletL1

__all__ = [
    "L1",
    "TGV",
    "TV",
    "Analysis",
    "Box",
    "CycleSpinning",
    "DirectionalTV",
    "Equivariant",
    "HuberTV",
    "LowRank",
    "NonNegative",
    "PlugAndPlay",
    "Prior",
    "Split",
    "Tikhonov",
    "TwoLevel",
    "WaveletL1",
    "from_deepinv",
    "from_epsilon",
    "from_numpy",
    "from_score",
    "from_torch",
    "load_denoiser",
]
