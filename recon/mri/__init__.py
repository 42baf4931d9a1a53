"""From k-space to coil maps and images: what MRI needs beside the operators."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .body_coil import body_coil_maps
    from .calibration_lines import calibration_region
    from .combine import combine_mvue, root_sum_of_squares
    from .compress import Compression, compress_geometric, compress_svd
    from .epi import GhostPhase, correct_ghost, ghost_phase, ghost_phase_blind, regrid_readout
    from .espirit_maps import CoilMaps, espirit
    from .field_maps import field_map
    from .grappa_kernels import Grappa, grappa
    from .grappa_noise import g_factor
    from .grid import cut_oversampling, interpolate, zero_fill
    from .jsense_maps import jsense
    from .low_rank_plus_sparse import low_rank_sparse
    from .methods import Reconstruction, default_method, reconstruct_kspace, solve_kspace
    from .model import Model, coil_maps, density_weights
    from .partial_fourier import homodyne, pocs
    from .prepare import cut_readout, remove_ghost
    from .simulate import head, loop_coils, simulate_kspace
    from .walsh_maps import walsh
    from .whiten import Whitening, noise_covariance, whitening

# loaded when first asked for; no module may be named as its function: importing it would hide the function
_HOME = {
    "CoilMaps": "espirit_maps",
    "Compression": "compress",
    "GhostPhase": "epi",
    "Grappa": "grappa_kernels",
    "Model": "model",
    "Reconstruction": "methods",
    "Whitening": "whiten",
    "body_coil_maps": "body_coil",
    "calibration_region": "calibration_lines",
    "coil_maps": "model",
    "combine_mvue": "combine",
    "compress_geometric": "compress",
    "compress_svd": "compress",
    "correct_ghost": "epi",
    "cut_oversampling": "grid",
    "cut_readout": "prepare",
    "default_method": "methods",
    "density_weights": "model",
    "espirit": "espirit_maps",
    "field_map": "field_maps",
    "g_factor": "grappa_noise",
    "ghost_phase": "epi",
    "ghost_phase_blind": "epi",
    "grappa": "grappa_kernels",
    "head": "simulate",
    "homodyne": "partial_fourier",
    "interpolate": "grid",
    "jsense": "jsense_maps",
    "loop_coils": "simulate",
    "low_rank_sparse": "low_rank_plus_sparse",
    "noise_covariance": "whiten",
    "pocs": "partial_fourier",
    "reconstruct_kspace": "methods",
    "regrid_readout": "epi",
    "remove_ghost": "prepare",
    "root_sum_of_squares": "combine",
    "simulate_kspace": "simulate",
    "solve_kspace": "methods",
    "walsh": "walsh_maps",
    "whitening": "whiten",
    "zero_fill": "grid",
}

__all__ = [
    "CoilMaps",
    "Compression",
    "GhostPhase",
    "Grappa",
    "Model",
    "Reconstruction",
    "Whitening",
    "body_coil_maps",
    "calibration_region",
    "coil_maps",
    "combine_mvue",
    "compress_geometric",
    "compress_svd",
    "correct_ghost",
    "cut_oversampling",
    "cut_readout",
    "default_method",
    "density_weights",
    "espirit",
    "field_map",
    "g_factor",
    "ghost_phase",
    "ghost_phase_blind",
    "grappa",
    "head",
    "homodyne",
    "interpolate",
    "jsense",
    "loop_coils",
    "low_rank_sparse",
    "noise_covariance",
    "pocs",
    "reconstruct_kspace",
    "regrid_readout",
    "remove_ghost",
    "root_sum_of_squares",
    "simulate_kspace",
    "solve_kspace",
    "walsh",
    "whitening",
    "zero_fill",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME[name]}", __name__), name)
    globals()[name] = value
    return value
