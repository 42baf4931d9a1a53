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
from rayfold.recon.phantoms.ct import MU_WATER_70, ct_body
from rayfold.recon.phantoms.fractals import fractal, noise_field
from rayfold.recon.phantoms.holes import holes
from rayfold.recon.phantoms.leaves import dead_leaves
from rayfold.recon.phantoms.mr import mr_body, mr_head
from rayfold.recon.phantoms.patterns import resolution
from rayfold.recon.phantoms.unseen import foam, random_ellipses, text
from rayfold.recon.phantoms.world import FAMILIES, Family, draw, mixture

__all__ = [
    "FAMILIES",
    "MU_WATER",
    "MU_WATER_70",
    "Family",
    "ct_body",
    "dead_leaves",
    "disc",
    "draw",
    "ellipse_sinogram",
    "ellipses",
    "foam",
    "fractal",
    "holes",
    "mixture",
    "mr_body",
    "mr_head",
    "noise_field",
    "random_ellipses",
    "resolution",
    "shepp_logan",
    "shepp_logan_table",
    "text",
    "thorax",
    "thorax_table",
]
