"""`denoise`: an image or a series of slices without its noise, in the unit, place and type it came in."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Literal, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import match, to_numpy
from rayfold.recon.data import Image
from rayfold.recon.noise_level import NoiseEstimate, estimate_noise, rician_bias, rician_spread
from rayfold.recon.noise_level.regions import padding, solid
from rayfold.recon.shipped import DEFAULT

Array = npt.NDArray[Any]
Picture = TypeVar("Picture")
Modality = Literal["CT", "MR"]
AIR = -1000.0  # HU
BATCH = 2**20  # pixels that the prior sees at once
LOCAL = 5  # pixels over which the mean of a magnitude is taken, for the spread of its noise


class Denoiser(Protocol):
    """What removes noise: `FoundationPrior`, or any other object with this method."""

    def denoise(self, x: Any, sigma: Any) -> Any:
        """The image without Gaussian noise of standard deviation sigma, a number or a map."""
        ...


def denoise(
    image: Picture,
    *,
    sigma: float | Array | NoiseEstimate | None = None,
    strength: float = 1.0,
    prior: str | Denoiser = DEFAULT,
    unit: str | None = None,
    modality: Modality | None = None,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Picture:
    """Remove noise with the learned prior, told how strong the noise is, of which colour and where.

    Volumes are taken slice by slice with one noise level for all, so that neighbouring slices do not differ
    in what was done to them. HU are affine, and the prior works where zero means nothing: they are mapped to
    attenuation over that of water, ``1 + HU / 1000``, before, and back after; the prior's equivariance to
    scale makes the attenuation of water itself cancel. Padding comes back as it was. Magnitudes of MRI whose
    background tells that their noise is Rician are denoised with the spread that a magnitude has,
    ``s sqrt(2 + a^2 - m(a)^2)``, and freed of its bias ``s (m(a) - a)`` after (`rayfold.recon.noise_level`).

    Parameters
    ----------
    image : Image or array, (ny, nx) or (..., ny, nx)
        Real or complex, of any array library; integers come back as float32.
    sigma : float, array or NoiseEstimate, optional
        Standard deviation of the noise in units of the image, of the real part for complex images: a number
        or a map ``(ny, nx)`` of white noise, or an estimate. Measured on the image by default.
    strength : float
        Scales the noise that the prior is told: 0 changes nothing, bit for bit; below 1 leaves some of the
        noise, above 1 smooths more.
    prior : str or object
        "small" for the prior that comes with the package, the path of a weights file, or any object
        with a method ``denoise(x, sigma)``.
    unit : str, optional
        Of arrays: "HU", "1/mm", "a.u."; by default HU where the values are plainly that.
    modality : {"CT", "MR"}, optional
        Of arrays; magnitudes of MRI are looked for where it is "MR". Images know theirs.
    device : str
        Where the prior that comes with the package computes.
    progress : callable, optional
        Called with slices done and slices in all.

    Returns
    -------
    Image or array
        As given: type, library, shape, place, unit.

    Raises
    ------
    ValueError
        If `strength` or `sigma` is negative or not finite, or if the noise cannot be measured.

    References
    ----------
    C. G. Koay and P. J. Basser, J. Magn. Reson. 179 (2006) 317, for the bias of magnitudes.

    Examples
    --------
    >>> class Mean:  # a prior that believes in flat images
    ...     def denoise(self, x, sigma):
    ...         return 0 * x + x.mean((-2, -1), keepdims=True)
    >>> noisy = Image(40 + np.random.default_rng(0).normal(size=(64, 64)), (1.0, 1.0), unit="HU")
    >>> denoise(noisy, prior=Mean())
    Image(64 x 64, 1 x 1 mm, HU, 39.98 to 39.98)
    """
    if not 0 <= strength < np.inf:
        raise ValueError(f"strength is {strength}; it must be 0 (nothing is done) or more, 1 as measured")
    if isinstance(image, Image):
        made = _denoise(image.array, sigma, strength, prior, image.unit, image.modality, device, progress)
        return cast(Picture, replace(image, array=made))
    array = to_numpy(image)
    unit = unit or ("HU" if looks_like_hu(array) else "a.u.")
    made = _denoise(array, sigma, strength, prior, unit, modality or "CT", device, progress)
    return cast(Picture, made if isinstance(image, np.ndarray) else match(made, image))


def noise_of(
    image: Image | Array, *, unit: str = "a.u.", modality: Modality = "CT", stationary: bool = False
) -> NoiseEstimate:
    """Noise of an image, as `denoise` measures it: in the unit of the image, Rician where it is MRI.

    Examples
    --------
    >>> noise_of(Image(np.random.default_rng(0).normal(size=(64, 64)), (1.0, 1.0), unit="HU")).unit
    'HU'
    """
    array = image.array if isinstance(image, Image) else image
    if isinstance(image, Image):
        unit, modality = image.unit, image.modality
    is_mr = modality == "MR"
    return estimate_noise(array, unit=unit, ramp=not is_mr, magnitude=is_mr, stationary=stationary)


def looks_like_hu(x: Array) -> bool:
    """Whether values are plainly Hounsfield units: water near 0 or air near -1000, nothing below the scale.

    Examples
    --------
    >>> looks_like_hu(np.array([-1000.0, -990.0, 30.0, 45.0])), looks_like_hu(np.array([0.0, 300.0]))
    (True, False)
    """
    if np.iscomplexobj(x) or not x.size or not np.isfinite(x).all():
        return False
    low, high = float(x.min()), float(x.max())
    if not (-4096 <= low <= -500 and 0 < high <= 32767):
        return False
    air, water = np.mean((x > -1100) & (x < -900)), np.mean((x > -150) & (x < 150))
    return bool(air >= 0.02 or water >= 0.1)


def _denoise(
    array: Array,
    sigma: float | Array | NoiseEstimate | None,
    strength: float,
    prior: str | Denoiser,
    unit: str,
    modality: Modality,
    device: str,
    progress: Callable[[int, int], None] | None,
) -> Array:
    kept = array if array.dtype.kind in "fc" and array.dtype.itemsize >= 4 else array.astype(np.float32)
    if not np.isfinite(kept).all():
        raise ValueError("the image has values that are not finite; replace them, as by numpy.nan_to_num")
    noise = _noise(array, sigma, unit, modality)
    if strength == 0 or max(noise.levels) == 0:
        return kept.copy()
    if isinstance(prior, str):
        from rayfold.recon.foundation import FoundationPrior

        prior = FoundationPrior.load(prior, device=device)
    slices = kept.reshape(-1, *kept.shape[-2:])
    out = np.empty_like(slices)
    along = np.ones(len(slices)) if noise.along is None else noise.along
    if len(along) != len(slices):
        raise ValueError(f"the noise was measured on {len(along)} slices and the image has {len(slices)}")
    done = 0
    for part in _parts(slices):
        own = along[done : done + len(part), None, None]
        out[done : done + len(part)] = _clean(part, noise, own, strength, prior, unit)
        done += len(part)
        if progress is not None:
            progress(done, len(slices))
    return out.reshape(kept.shape)


def _parts(slices: Array) -> Iterator[Array]:
    n = max(1, BATCH // (slices.shape[-1] * slices.shape[-2]))
    for start in range(0, len(slices), n):
        yield slices[start : start + n]


def _noise(
    array: Array, sigma: float | Array | NoiseEstimate | None, unit: str, modality: Modality
) -> NoiseEstimate:
    """The noise as stated, or as measured."""
    if sigma is None:
        return noise_of(array, unit=unit, modality=modality)
    if isinstance(sigma, NoiseEstimate):
        return sigma
    stated = np.asarray(sigma, np.float64)
    if not np.isfinite(stated).all() or (stated < 0).any():
        raise ValueError(
            f"sigma is {sigma}; it must be a standard deviation in units of the image, 0 or more"
        )
    if stated.ndim and stated.shape != array.shape[-2:]:
        raise ValueError(
            f"sigma has shape {stated.shape}; give a number or a map of the size of a slice, "
            f"{array.shape[-2:]}"
        )
    level = float(stated.mean())
    chart = (stated / level).astype(np.float32) if stated.ndim and level > 0 else None
    return NoiseEstimate((level,) * 4, chart, unit=unit)


def _clean(
    part: Array, noise: NoiseEstimate, along: Array, strength: float, prior: Denoiser, unit: str
) -> Array:
    """Some slices ``(n, ny, nx)``: unit, padding and the statistics of magnitudes around the prior."""
    hu = unit == "HU"
    empty = np.zeros(part.shape, bool) if np.iscomplexobj(part) else solid(padding(part))
    x = part
    if hu:
        x = (1 + np.where(empty, AIR, part) / 1000).astype(part.dtype)
        noise = noise.scaled(1e-3)
    relative: float | Array = 1.0 if noise.map is None else noise.map
    if noise.along is not None:
        relative = along * relative
    if noise.kind == "rician":
        from scipy.ndimage import uniform_filter1d

        size = noise.levels[0] * relative
        mean = uniform_filter1d(uniform_filter1d(x, LOCAL, axis=-1), LOCAL, axis=-2)
        relative = rician_spread(mean, size) / noise.levels[0]
    made = to_numpy(_call(prior, x, noise.scaled(strength), relative))
    if noise.kind == "rician":
        made = made - min(strength, 1.0) * rician_bias(np.maximum(made, 0), size)
    if hu:
        made = (made - 1) * 1000
    return np.asarray(np.where(empty, part, made), part.dtype)


def _call(prior: Denoiser, x: Array, told: NoiseEstimate, relative: float | Array) -> Any:
    """The prior on NumPy slices, told the colour, level over sigma by octave, if it takes `bands`."""
    sigma: Any = told.sigma * relative
    sigma = sigma.astype(x.real.dtype) if isinstance(sigma, np.ndarray) else float(sigma)
    if "bands" in inspect.signature(prior.denoise).parameters:
        return cast(Any, prior).denoise(x, sigma, bands=np.array(told.levels) / told.sigma)
    return prior.denoise(x, sigma)
