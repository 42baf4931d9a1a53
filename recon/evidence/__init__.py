"""How far the data support an image: fit, operator, unseen part, and calibrated intervals."""

from __future__ import annotations

from rayfold.recon.evidence.assess import certify
from rayfold.recon.evidence.calibration import Calibration, calibrate
from rayfold.recon.evidence.certificate import Certificate
from rayfold.recon.evidence.conformal import conformal_quantile, pixel_factor
from rayfold.recon.evidence.familiar import Familiarity, familiarity, warn_unfamiliar
from rayfold.recon.evidence.scans import certify_scan

__all__ = [
    "Calibration",
    "Certificate",
    "Familiarity",
    "calibrate",
    "certify",
    "certify_scan",
    "conformal_quantile",
    "familiarity",
    "pixel_factor",
    "warn_unfamiliar",
]
