"""Where k-space is measured: masks, trajectories, their limits, density weights, delays and conventions."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .conventions import from_peer, from_real_view, peer_scale, to_peer, to_real_view
    from .delays import correct_trajectory, estimate_delays
    from .density import pipe_menon, radial_weights, spiral_weights
    from .fastmri import fastmri_mask
    from .limits import HARDWARE, Hardware, Limits, check_limits
    from .masks import actual_acceleration, equispaced, gaussian_mask, partial_fourier, random_mask
    from .picture import sampling
    from .poisson import poisson_disc
    from .rosettes import rosette
    from .spirals import spiral
    from .spokes import golden_angle, radial
    from .three_d import kooshball, stack, stack_of_stars
    from .timing import traverse
    from .voronoi import voronoi_weights

# loaded when first asked for
_HOME = {
    "HARDWARE": "limits",
    "Hardware": "limits",
    "Limits": "limits",
    "actual_acceleration": "masks",
    "check_limits": "limits",
    "correct_trajectory": "delays",
    "equispaced": "masks",
    "estimate_delays": "delays",
    "fastmri_mask": "fastmri",
    "from_peer": "conventions",
    "from_real_view": "conventions",
    "gaussian_mask": "masks",
    "golden_angle": "spokes",
    "kooshball": "three_d",
    "partial_fourier": "masks",
    "peer_scale": "conventions",
    "pipe_menon": "density",
    "poisson_disc": "poisson",
    "radial": "spokes",
    "radial_weights": "density",
    "random_mask": "masks",
    "rosette": "rosettes",
    "sampling": "picture",
    "spiral": "spirals",
    "spiral_weights": "density",
    "stack": "three_d",
    "stack_of_stars": "three_d",
    "to_peer": "conventions",
    "to_real_view": "conventions",
    "traverse": "timing",
    "voronoi_weights": "voronoi",
}

__all__ = [
    "HARDWARE",
    "Hardware",
    "Limits",
    "actual_acceleration",
    "check_limits",
    "correct_trajectory",
    "equispaced",
    "estimate_delays",
    "fastmri_mask",
    "from_peer",
    "from_real_view",
    "gaussian_mask",
    "golden_angle",
    "kooshball",
    "partial_fourier",
    "peer_scale",
    "pipe_menon",
    "poisson_disc",
    "radial",
    "radial_weights",
    "random_mask",
    "rosette",
    "sampling",
    "spiral",
    "spiral_weights",
    "stack",
    "stack_of_stars",
    "to_peer",
    "to_real_view",
    "traverse",
    "voronoi_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
