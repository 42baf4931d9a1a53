"""Physics as differentiable linear operators on NumPy, CuPy, torch and JAX arrays."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

from .base import Adjoint, Composed, Identity, LinearOperator, Scaled, Sum
from .blocks import Batched, BlockDiagonal, Select, Stack
from .geometry import FanBeam, ParallelBeam, VectorBeam, Volume, covering

if TYPE_CHECKING:
    from .calculus import Diagonal, Pad
    from .checks import conformance, dot_test, gradient_test
    from .coils import CoilSensitivities
    from .differences import Gradient, SymmetricGradient
    from .fbp import fbp_operator
    from .fourier import FFT, CartesianMask
    from .noise import Gaussian, Poisson, PoissonTransmission
    from .nufft import NUFFT
    from .off_resonance import OffResonance, time_segments
    from .resample import Blur, Downsample, KSpaceCrop
    from .toeplitz import Toeplitz
    from .wavelet import Wavelet
    from .xray import XRay

# loaded when first asked for: some of these need compiled kernels
_HOME = {
    "Blur": "resample",
    "CartesianMask": "fourier",
    "CoilSensitivities": "coils",
    "FFT": "fourier",
    "NUFFT": "nufft",
    "OffResonance": "off_resonance",
    "Toeplitz": "toeplitz",
    "time_segments": "off_resonance",
    "Diagonal": "calculus",
    "Downsample": "resample",
    "Gradient": "differences",
    "KSpaceCrop": "resample",
    "SymmetricGradient": "differences",
    "Wavelet": "wavelet",
    "Pad": "calculus",
    "Gaussian": "noise",
    "Poisson": "noise",
    "PoissonTransmission": "noise",
    "XRay": "xray",
    "conformance": "checks",
    "dot_test": "checks",
    "fbp_operator": "fbp",
    "gradient_test": "checks",
}

__all__ = [
    "FFT",
    "NUFFT",
    "Adjoint",
    "Batched",
    "BlockDiagonal",
    "Blur",
    "CartesianMask",
    "CoilSensitivities",
    "Composed",
    "Diagonal",
    "Downsample",
    "FanBeam",
    "Gaussian",
    "Gradient",
    "Identity",
    "KSpaceCrop",
    "LinearOperator",
    "OffResonance",
    "Pad",
    "ParallelBeam",
    "Poisson",
    "PoissonTransmission",
    "Scaled",
    "Select",
    "Stack",
    "Sum",
    "SymmetricGradient",
    "Toeplitz",
    "VectorBeam",
    "Volume",
    "Wavelet",
    "XRay",
    "conformance",
    "covering",
    "dot_test",
    "fbp_operator",
    "gradient_test",
    "time_segments",
]

if "jax" in sys.modules:  # never imported to look for it; operators then are pytrees from the start
    import_module(".bridge_jax", __name__)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
