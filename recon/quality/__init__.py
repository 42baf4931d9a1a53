"""Task-based image quality: resolution, noise texture, contrast and detectability, each with its unit."""

from .blur import edge_blur, kernel_blur
from .contrast import cnr, rose
from .detectability import Detectability, gabor, laguerre_gauss, low_contrast_detectability
from .noise import NoisePower, noise_power_spectrum
from .resolution import MTF, mtf, mtf50

__all__ = [
    "MTF",
    "Detectability",
    "NoisePower",
    "cnr",
    "edge_blur",
    "gabor",
    "kernel_blur",
    "laguerre_gauss",
    "low_contrast_detectability",
    "mtf",
    "mtf50",
    "noise_power_spectrum",
    "rose",
]
