"""Synthetic images: analytic ones with exact measurements in 1/mm, and random worlds to train and test on.

Analytic phantoms are tables of ellipses (`rayfold.recon.ellipses`), so their measurement needs no projector.
Random ones come in families, ``family(shape, seed)``, listed in `FAMILIES`; some are kept out of training.
"""

from __future__ import annotations

from rayfold.recon.phantoms.analytic import (
    MU_WATER,
    disc,
    ellipse_sinogram,
    ellipses,
    shepp_logan,
    shepp_logan_table,
    thorax,
    thorax_table,
)
from rayfold.recon.phantoms.ct import ct_body
from rayfold.recon.phantoms.leaves import dead_leaves
from rayfold.recon.phantoms.mr import mr_body, mr_head
from rayfold.recon.phantoms.world import FAMILIES, Family, draw, mixture

__all__ = [
    "FAMILIES",
    "MU_WATER",
    "Family",
    "ct_body",
    "dead_leaves",
    "disc",
    "draw",
    "ellipse_sinogram",
    "ellipses",
    "mixture",
    "mr_body",
    "mr_head",
    "shepp_logan",
    "shepp_logan_table",
    "thorax",
    "thorax_table",
]
