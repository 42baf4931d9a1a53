"""Protocols to start from: round numbers of common practice, no vendor's."""

from __future__ import annotations

from collections.abc import Callable

from rayfold.recon.protocol.ct import CTProtocol
from rayfold.recon.protocol.mri import MRIProtocol
from rayfold.recon.protocol.protocol import Protocol

CLINICAL = {
    "geometry": "curved-fan",
    "views": 1000,
    "cols": 900,
    "pitch_mm": 1.0,
    "source_to_axis_mm": 595.0,
    "source_to_detector_mm": 1085.6,
    "rotation_ms": 500.0,
}


def _clinical(**changes: object) -> CTProtocol:
    return CTProtocol(**(CLINICAL | changes))  # type: ignore[arg-type]


PRESETS: dict[str, Callable[[], Protocol]] = {
    # the detector of a whole-body scanner; photons for dose 1
    "clinical-fan": lambda: _clinical(name="clinical fan", photons=5.48e4, electronic=5.0),
    "low-dose-fan": lambda: _clinical(name="low-dose fan", photons=5.48e3, electronic=5.0),
    "sparse-fan": lambda: _clinical(name="sparse fan", views=100, photons=5.48e4, electronic=5.0),
    "parallel-bench": lambda: CTProtocol(
        name="parallel bench", views=720, cols=512, pitch_mm=0.1, photons=2e4, rotation_ms=6e5
    ),
    "brain-full": lambda: MRIProtocol(name="brain, all lines", matrix=(192, 192), coils=16, snr=40.0),
    "brain-sense": lambda: MRIProtocol(
        name="brain, SENSE 3",
        pattern="equispaced",
        acceleration=3,
        calibration=24,
        matrix=(192, 192),
        coils=16,
        snr=40.0,
    ),
    "brain-poisson": lambda: MRIProtocol(
        name="brain, Poisson 8",
        pattern="poisson",
        acceleration=8,
        calibration=20,
        matrix=(192, 192),
        coils=16,
        snr=40.0,
        tr_ms=8.0,
        te_ms=3.0,
    ),
    "radial-golden": lambda: MRIProtocol(
        name="golden-angle spokes",
        pattern="golden-radial",
        shots=64,
        matrix=(192, 192),
        coils=16,
        snr=40.0,
        tr_ms=5.0,
        te_ms=2.0,
    ),
}
