"""Random CT anatomy with attenuation relative to water: chests, bellies, limbs and heads."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.body import Body, Look
from rayfold.recon.phantoms.fields import generator, normalised
from rayfold.recon.phantoms.head import head
from rayfold.recon.phantoms.leaves import sharpness
from rayfold.recon.phantoms.torso import limb, torso

Floats = npt.NDArray[Any]
ENERGY = 70.0  # keV
MU_WATER_70 = 0.0193  # 1/mm, water at 70 keV
# attenuation relative to water, least and greatest; and the standard deviation of the texture
TISSUES = {
    "air": (0.0, 0.0, 0.0),
    "lung": (0.12, 0.4, 0.03),
    "fat": (0.89, 0.93, 0.006),
    "muscle": (1.03, 1.07, 0.006),
    "skin": (1.02, 1.1, 0.004),
    "organ": (0.95, 1.07, 0.008),
    "heart": (1.03, 1.08, 0.004),
    "blood": (1.03, 1.35, 0.003),
    "vessel": (0.95, 1.2, 0.0),
    "lesion": (0.9, 1.1, 0.01),
    "liver": (1.04, 1.13, 0.005),
    "portal": (1.02, 1.2, 0.0),
    "spleen": (1.04, 1.12, 0.004),
    "kidney": (1.03, 1.25, 0.006),
    "pelvis": (0.98, 1.5, 0.006),
    "bowel": (1.02, 1.12, 0.006),
    "content": (0.9, 1.3, 0.02),
    "csf": (1.0, 1.02, 0.002),
    "grey": (1.034, 1.044, 0.003),
    "deep": (1.032, 1.044, 0.003),
    "white": (1.022, 1.034, 0.003),
    "eye": (1.0, 1.02, 0.002),
    "lens": (1.06, 1.09, 0.0),
    "marrow": (1.0, 1.25, 0.02),
    "spongy": (1.15, 1.6, 0.06),
    "cortical": (1.6, 2.4, 0.04),
    "table": (0.1, 1.1, 0.0),
}


def ct_body(
    shape: tuple[int, ...], seed: int, *, unit: Literal["normalised", "water", "1/mm"] = "normalised"
) -> Floats:
    """Attenuation of a random body at 70 keV: layers, organs, bones, lungs, vessels, lesions; or of a head.

    Parameters
    ----------
    shape : tuple of int
        Two or three axes, x to the left, y to the back.
    seed : int
        Everything varies with it and only with it.
    unit : {"normalised", "water", "1/mm"}
        Bright parts at 1, or relative to water, or attenuation with water at `MU_WATER_70`.

    Returns
    -------
    ndarray, shape
        float32, air 0.

    Raises
    ------
    ValueError
        If the unit is another.

    Examples
    --------
    >>> image = ct_body((64, 64), 1, unit="1/mm")
    >>> 0.02 < float(image.max()) < 0.06
    True
    """
    if unit not in ("normalised", "water", "1/mm"):
        raise ValueError(f"unit is {unit!r}; it must be 'normalised', 'water' or '1/mm'")
    rng = generator(shape, seed, 102)
    strength = float(np.exp(rng.normal(0.4, 0.7)))
    looks: dict[str, Look] = {}

    def look(tissue: str) -> Look:
        if tissue not in looks:
            low, high, rough = TISSUES[tissue]
            looks[tissue] = Look(rng.uniform(low, high), rough * strength, int(rng.integers(3, 14)))
        return looks[tissue]

    body = Body(shape, rng, look)
    kind = rng.uniform()
    (torso if kind < 0.55 else head if kind < 0.87 else limb)(body)
    image = body.finish(max(sharpness(rng, len(shape)), 0.4))
    if unit == "normalised":
        return normalised(image)
    return image if unit == "water" else image * np.float32(MU_WATER_70)
