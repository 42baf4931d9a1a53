"""rayfold: from raw CT and MRI measurements to images. Names load when they are first used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME = {
    "CGLS": "solvers",
    "SIRT": "solvers",
    "Image": "data",
    "KSpace": "kspace",
    "InconsistentInput": "errors",
    "OutputFailure": "errors",
    "CTProtocol": "protocol",
    "MRIProtocol": "protocol",
    "Problem": "problem",
    "Protocol": "protocol",
    "Scan": "data",
    "Series": "series",
    "UnreadableInput": "errors",
    "certify": "evidence",
    "denoise": "denoising",
    "fbp": "methods",
    "load": "io",
    "prepare": "preprocess",
    "read_image": "io.read_image",
    "reconstruct": "methods",
    "run": "solvers",
    "save": "io",
    "simulate": "simulation",
    "superres": "superresolution",
    "write_kspace": "io",
}
_MODULES = (
    "evidence",
    "foundation",
    "learned",
    "metrics",
    "mri",
    "phantoms",
    "plot",
    "preprocess",
    "priors",
    "protocol",
    "quality",
    "report",
    "solvers",
    "train",
    "trajectories",
)
__all__ = [
    "CGLS",
    "SIRT",
    "CTProtocol",
    "Image",
    "InconsistentInput",
    "KSpace",
    "MRIProtocol",
    "OutputFailure",
    "Problem",
    "Protocol",
    "Scan",
    "Series",
    "UnreadableInput",
    "__version__",
    "certify",
    "denoise",
    "evidence",
    "fbp",
    "foundation",
    "learned",
    "load",
    "metrics",
    "mri",
    "phantoms",
    "plot",
    "prepare",
    "preprocess",
    "priors",
    "protocol",
    "quality",
    "read_image",
    "reconstruct",
    "report",
    "run",
    "save",
    "simulate",
    "solvers",
    "superres",
    "train",
    "trajectories",
    "write_kspace",
]

if TYPE_CHECKING:
    from rayfold.recon import (
        evidence,
        foundation,
        learned,
        metrics,
        mri,
        phantoms,
        plot,
        preprocess,
        priors,
        protocol,
        quality,
        report,
        solvers,
        train,
        trajectories,
    )
    from rayfold.recon.data import Image, Scan
    from rayfold.recon.denoising import denoise
    from rayfold.recon.errors import InconsistentInput, OutputFailure, UnreadableInput
    from rayfold.recon.evidence import certify
    from rayfold.recon.io import load, save, write_kspace
    from rayfold.recon.io.read_image import read_image
    from rayfold.recon.kspace import KSpace
    from rayfold.recon.methods import fbp, reconstruct
    from rayfold.recon.preprocess import prepare
    from rayfold.recon.problem import Problem
    from rayfold.recon.protocol import CTProtocol, MRIProtocol, Protocol
    from rayfold.recon.series import Series
    from rayfold.recon.simulation import simulate
    from rayfold.recon.solvers import CGLS, SIRT, run
    from rayfold.recon.superresolution import superres

    __version__: str


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return _version()
    if name in _HOME:
        value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _version() -> str:
    from importlib import metadata

    try:
        return metadata.version("rayfold")
    except metadata.PackageNotFoundError:
        return "source"


def __dir__() -> list[str]:
    return sorted(__all__)
