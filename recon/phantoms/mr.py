"""Random MR images: the same bodies with any contrast, a bias field, a phase and a scanner's k-space."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.phantoms.body import Body, Look
from rayfold.recon.phantoms.fields import generator, normalised, smooth_map
from rayfold.recon.phantoms.head import head
from rayfold.recon.phantoms.leaves import sharpness
from rayfold.recon.phantoms.torso import limb, torso

Floats = npt.NDArray[Any]
FAT = frozenset({"fat", "marrow", "spongy", "skin"})  # precesses more slowly than water
DARK = {"air": 0.0, "cortical": 0.02, "table": 0.0, "lung": 0.04}
DEPENDS = {
    "deep": "grey",
    "organ": "muscle",
    "heart": "muscle",
    "eye": "csf",
    "marrow": "fat",
    "spongy": "fat",
}


def mr_head(shape: tuple[int, ...], seed: int) -> Floats:
    """A head with random contrast, complex.

    Parameters
    ----------
    shape : tuple of int
        Two or three axes.
    seed : int
        Everything varies with it and only with it.

    Returns
    -------
    ndarray, shape
        complex64, magnitude 0 to about 1.

    Examples
    --------
    >>> mr_head((64, 64), 1).dtype
    dtype('complex64')
    """
    return _scan(shape, generator(shape, seed, 103), head)


def mr_body(shape: tuple[int, ...], seed: int) -> Floats:
    """A chest, a belly or limbs with random contrast, complex; as `mr_head`.

    Examples
    --------
    >>> mr_body((64, 64), 1).shape
    (64, 64)
    """
    rng = generator(shape, seed, 104)
    return _scan(shape, rng, torso if rng.uniform() < 0.6 else limb)


def _scan(shape: tuple[int, ...], rng: np.random.Generator, draw: Any) -> Floats:
    rough = float(np.exp(rng.uniform(np.log(0.005), np.log(0.06))))
    looks: dict[str, Look] = {}

    def look(tissue: str) -> Look:
        if tissue not in looks:
            value = float(rng.uniform(0.08, 1.0))
            if tissue in DEPENDS:
                value = look(DEPENDS[tissue]).value * rng.uniform(0.8, 1.2)
            if tissue == "white":
                value = look("grey").value * float(np.exp(rng.choice([-1, 1]) * rng.uniform(0.03, 0.5)))
            if tissue in DARK:
                value = DARK[tissue] * rng.uniform(0.5, 2)
            looks[tissue] = Look(value, rough * value * rng.uniform(0.5, 1.5), int(rng.integers(2, 14)))
        return looks[tissue]

    body = Body(shape, rng, look)
    draw(body)
    nz, ny, nx = (1, *shape) if len(shape) == 2 else shape
    grid = nz, ny, nx
    coils = np.exp(rng.uniform(0, 0.6) * smooth_map(grid, 3, rng)).reshape(shape)
    phase = rng.uniform(0, np.pi) * smooth_map(grid, int(rng.integers(2, 6)), rng).reshape(shape)
    turn = np.exp(1j * (phase + rng.uniform(0, 2 * np.pi))).astype(np.complex64)
    soft = sharpness(rng, len(shape)) if rng.uniform() < 0.5 else 0.0
    blur = soft or rng.uniform(0.3, 0.5)
    image = _with_fat(body, blur, rng) if rng.uniform() < 0.5 else body.finish(blur)
    image = image * coils * turn
    if soft:
        return normalised(image)
    return normalised(_through_k_space(image, rng.uniform(0.75, 1.0), rng.uniform(0.0, 1.0)))


def _with_fat(body: Body, blur: float, rng: np.random.Generator) -> Floats:
    """Fat moved along an axis and turned in phase, as of a readout and an echo time: borders of it vanish."""
    along = round(rng.choice([-1, 1]) * rng.uniform(0, 3) * body.canvas.fine)
    move = (along, 0) if rng.uniform() < 0.5 else (0, along)
    water, fat = body.finish_apart(blur, FAT, move)
    return water + fat * np.complex64(np.exp(1j * rng.uniform(0, 2 * np.pi)))


def _through_k_space(image: Floats, extent: float, taper: float) -> Floats:
    """What a scanner makes of an image: k-space out to `extent` of its half-width, rolled off by `taper`."""
    spectrum = np.fft.fftn(image)
    for axis, n in enumerate(image.shape):
        at = np.abs(np.fft.fftfreq(n)) * 2 / extent
        window = np.where(at <= 1, 1 - taper * np.sin(0.5 * np.pi * np.minimum(at, 1)) ** 2, 0)
        spectrum *= window.astype(np.float32).reshape(-1, *(1,) * (image.ndim - axis - 1))
    return np.asarray(np.fft.ifftn(spectrum), np.complex64)
