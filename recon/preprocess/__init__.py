"""From raw counts to clean attenuation: named steps ``Scan -> Scan``, and `prepare` for the usual chain."""

from __future__ import annotations

from rayfold.recon.preprocess.center import center, find_center
from rayfold.recon.preprocess.check import check
from rayfold.recon.preprocess.mend import mend_dead
from rayfold.recon.preprocess.normalise import neglog, normalise
from rayfold.recon.preprocess.prepare import prepare
from rayfold.recon.preprocess.remove import remove_rings, remove_zingers

__all__ = [
    "center",
    "check",
    "find_center",
    "mend_dead",
    "neglog",
    "normalise",
    "prepare",
    "remove_rings",
    "remove_zingers",
]
