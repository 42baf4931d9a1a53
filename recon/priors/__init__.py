"""Penalties on images: value, gradient or proximal operator, each in the caller's array library."""

from rayfold.recon.priors.bounds import Box, NonNegative
from rayfold.recon.priors.prior import Analysis, Prior, Split
from rayfold.recon.priors.total_variation import TV, HuberTV

__all__ = ["TV", "Analysis", "Box", "HuberTV", "NonNegative", "Prior", "Split"]
