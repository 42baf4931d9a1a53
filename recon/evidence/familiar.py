"""Whether an image looks like what the prior was trained on, and whether its values suit its unit."""

from __future__ import annotations

import hashlib
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import to_numpy
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.evidence.looks import looks

Array = Any
HOME = Path(__file__).parents[1] / "foundation" / "weights"
NAME = "familiar"
SLICES = 9  # of a volume that are looked at
CLIP = 5.0  # standard deviations
# per unit: the least and the most that the bright parts of a body may be
ATTENUATION = {"1/mm": (0.002, 0.4), "1/cm": (0.02, 4.0), "1/m": (2.0, 400.0)}
HU = (-2000.0, 32000.0)  # padding is below, no tissue nor metal above
LEAST_HU = 20.0  # range of values of a slice, noise included


class Familiarity(NamedTuple):
    """How strange an image is.

    Attributes
    ----------
    score : float
        Of the strangest slice; above 0 for about 1 % of the images of the trained families.
    unusual : bool
        Most slices that were looked at score above 0.
    unit : str or None
        What is wrong with the values for the unit, in words.
    slices : int
        Looked at; 0 where the image was too small or too empty to judge.
    """

    score: float
    unusual: bool
    unit: str | None
    slices: int

    @property
    def warning(self) -> str | None:
        """One sentence where something is unusual."""
        if self.unit is not None:
            return f"{self.unit}; check the unit, or what is seen may be an artefact of the prior."
        if self.unusual:
            return (
                f"This image looks unlike anything the prior was trained on (score {self.score:+.1f}, 0 is "
                "exceeded by 1 % of trained images): compare with a method that has no prior."
            )
        return None


def familiarity(image: Array, *, unit: str | None = None) -> Familiarity:
    """How unlike the training families an image is, and whether its values are possible in its unit.

    A small network scores a hundred features of each image (`looks`): it was fitted to tell images of the
    trained families, as denoisers and reconstructions show them, from pictures of many other kinds. The
    features are of the magnitude over its bright parts: scaling the image, its sign and its phase change
    nothing. Values are held against the unit apart from that.

    Parameters
    ----------
    image : array, (..., ny, nx) or Image
        Real or complex, of any library; of several images nine are looked at.
    unit : str, optional
        "1/mm", "1/cm", "1/m" or "HU"; others, as "a.u.", are not checked. That of an `Image` by default.

    Returns
    -------
    Familiarity

    References
    ----------
    D. Hendrycks, M. Mazeika and T. Dietterich, ICLR 2019, outlier exposure.

    Examples
    --------
    >>> from rayfold.operators import Volume
    >>> from rayfold.recon.phantoms import thorax
    >>> familiarity(1000 * thorax(Volume((96, 96), 4.0)).array, unit="1/mm").unit
    'The bright parts of the image are 29.3 1/mm; a body is between 0.002 and 0.4'
    """
    x, unit = _plain(image, unit)
    if x.ndim < 2:
        raise ValueError(f"the image has shape {x.shape}; give (..., ny, nx)")
    slices = x.reshape(-1, *x.shape[-2:])
    picked = slices[np.unique(np.linspace(0, len(slices) - 1, min(len(slices), SLICES)).round().astype(int))]
    if unit == "HU":  # air is 0, as in attenuation
        picked = np.maximum(picked, -1000.0) + 1000.0
    found = [score for score in (_score(one) for one in picked) if score is not None]
    unusual = len(found) > 0 and sum(score > 0 for score in found) > len(found) / 2
    return Familiarity(max(found, default=0.0), unusual, _unit(slices, unit), len(found))


def warn_unfamiliar(image: Array, *, unit: str | None = None) -> str | None:
    """A sentence of warning where an image is unlike what the prior knows, else None; see `familiarity`.

    Examples
    --------
    >>> from rayfold.operators import Volume
    >>> from rayfold.recon.phantoms import thorax
    >>> warn_unfamiliar(thorax(Volume((96, 96), 4.0)), unit="1/mm")
    """
    return familiarity(image, unit=unit).warning


def _plain(image: Array, unit: str | None) -> tuple[npt.NDArray[Any], str | None]:
    if hasattr(image, "array") and hasattr(image, "unit"):  # an Image
        return np.asarray(image.array), unit or image.unit
    return np.asarray(to_numpy(image)), unit


def _unit(x: npt.NDArray[Any], unit: str | None) -> str | None:
    if unit is None or not np.isfinite(x).all() or not x.size:
        return None
    values = np.abs(x) if np.iscomplexobj(x) else x
    if unit == "HU":
        low, high = (float(v) for v in np.percentile(values, (1, 99.9)))
        padding = float(values.min())
        real = values[values > padding] if padding < HU[0] else values
        if high > HU[1] or (real.size and float(np.percentile(real, 1)) < HU[0]):
            return f"Values reach from {low:.4g} to {high:.4g} HU; bodies lie between {HU[0]:g} and {HU[1]:g}"
        if real.size and float(np.ptp(real)) < LEAST_HU:
            return f"All values lie within {float(np.ptp(real)):.3g} HU; no scan is as even as that"
        return None
    if unit not in ATTENUATION:
        return None
    low, high = ATTENUATION[unit]
    bright = float(np.percentile(np.abs(values), 99))
    if bright and not low <= bright <= high:
        return (
            f"The bright parts of the image are {bright:.3g} {unit}; a body is between {low:g} and {high:g}"
        )
    return None


def _score(x: npt.NDArray[Any]) -> float | None:
    features = looks(x)
    if features is None:
        return None
    held = _statistics()
    h = np.clip((features - held["mean"]) * held["inverse"], -CLIP, CLIP)
    logits = []
    for w, b, v, c in zip(held["w"], held["b"], held["v"], held["c"], strict=True):
        logits.append(float(np.maximum(w @ h + b, 0) @ v + c))
    return float(np.mean(logits)) - float(held["threshold"][0])


@lru_cache(maxsize=1)
def _statistics() -> dict[str, npt.NDArray[Any]]:
    """What ``python -m benchmarks.prior_familiarity`` wrote, if it is what was published."""
    from safetensors.numpy import load

    path = HOME / f"{NAME}.safetensors"
    try:
        data = path.read_bytes()
        published = json.loads((HOME / f"{NAME}.json").read_text())["sha256"]
    except (OSError, KeyError, ValueError) as error:
        raise UnreadableInput(f"{path.name} is missing here; install rayfold again") from error
    if hashlib.sha256(data).hexdigest() != published:
        raise InconsistentInput(
            f"{path.name} is not what was published (SHA-256 differs); install rayfold again"
        )
    return {name: value.astype(np.float64) for name, value in load(data).items()}
