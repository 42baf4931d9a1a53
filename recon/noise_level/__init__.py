"""The noise of an image, measured on the image: its level by octave, its map, and whether it is Rician."""

from rayfold.recon.noise_level.estimate import NoiseEstimate, estimate_noise
from rayfold.recon.noise_level.rician import rician_bias, rician_mean, rician_spread

__all__ = ["NoiseEstimate", "estimate_noise", "rician_bias", "rician_mean", "rician_spread"]
