"""How far the data support an image: fit, operator, unseen part, and calibrated intervals."""

from __future__ import annotations

from rayfold.recon.evidence.certificate import Certificate
from rayfold.recon.evidence.certify import certify
from rayfold.recon.evidence.scans import certify_scan

__all__ = ["Certificate", "certify", "certify_scan"]
