"""Physics as differentiable linear operators on NumPy, CuPy, torch and JAX arrays."""

from .base import Adjoint, Composed, Identity, LinearOperator, Scaled, Select, Stack, Sum
from .geometry import FanBeam, ParallelBeam, VectorBeam, Volume, covering

_LATER = {
    "XRay": "xray",
    "dot_test": "checks",
    "gradient_test": "checks",
    "conformance": "checks",
}

__all__ = [
    "Adjoint", "Composed", "FanBeam", "Identity", "LinearOperator", "ParallelBeam", "Scaled", "Select",
    "Stack", "Sum", "VectorBeam", "Volume", "XRay", "conformance", "covering", "dot_test", "gradient_test",
]  # fmt: skip


def __getattr__(name: str) -> object:
    """Load what needs compiled kernels only when it is asked for."""
    if name in _LATER:
        from importlib import import_module

        return getattr(import_module(f".{_LATER[name]}", __package__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
