"""Intervals for pixels, and for the quality of an image without its truth, from the user's own physics."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import dtype_name, match, namespace, to_numpy
from rayfold.recon import metrics
from rayfold.recon.evidence.conformal import pixel_factor
from rayfold.recon.evidence.quality import Bound, fitted, predict
from rayfold.recon.problem import Problem
from rayfold.recon.provenance import write_json

Array = Any
Floats = npt.NDArray[np.float64]
Simulate = Callable[[int], tuple[Array, Problem]]
Reconstruct = Callable[[Problem], Any]
Features = Callable[[Problem, Array], Sequence[float]]
KIND = "rayfold calibration 1"


@dataclass(frozen=True)
class Calibration:
    """Limits calibrated on simulated scans; `calibrate` makes it.

    Attributes
    ----------
    level : float
        Probability that each limit holds, over new scans drawn like those of the calibration.
    n, seed : int
        Calibration scans that were simulated, and from which seed.
    data_range : float
        Of PSNR and SSIM, in the unit of the image.
    factor : float
        Half-width of a pixel's interval over its spread.
    psnr, ssim : Bound or None
        None where the images are too small for SSIM.
    """

    level: float
    n: int
    seed: int
    data_range: float
    factor: float
    psnr: Bound
    ssim: Bound | None

    def pixel_intervals(self, x: Array, spread: Array | None = None) -> tuple[Array, Array]:
        """Lower and upper limits that hold the expected share `level` of the pixels of the truth.

        Parameters
        ----------
        x : array, (..., *shape)
            Image; the limits of a complex one are for its magnitude.
        spread : array, optional
            The map that `reconstruct` returned with the image; the same everywhere by default.
        """
        centre = abs(x) if "complex" in dtype_name(x) else x
        half = self.factor * (
            namespace(centre).ones_like(centre) if spread is None else match(spread, centre)
        )
        return centre - half, centre + half

    def quality_bound(self, features: Sequence[float] = ()) -> dict[str, float]:
        """PSNR in dB, and SSIM, that an image has at least, with probability `level`.

        Parameters
        ----------
        features : sequence of float
            What the function given to `calibrate` says of this image; nothing when none was given.
        """
        bounds = {"psnr": self.psnr, "ssim": self.ssim}
        found = {k: predict(b, np.asarray([features], float))[0] - b.slack for k, b in bounds.items() if b}
        return {k: float(v) for k, v in found.items()}

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write as JSON; an existing file is replaced only with `force`."""
        bounds = {k: b._asdict() for k, b in (("psnr", self.psnr), ("ssim", self.ssim)) if b is not None}
        return write_json(path, {"kind": KIND, **asdict(self), "ssim": None, **bounds}, force=force)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote."""
        content = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(content, dict) or content.pop("kind", None) != KIND:
            raise ValueError(
                f"{Path(path).name} holds no calibration; give a file that Calibration.save wrote"
            )
        for name in ("psnr", "ssim"):
            bound = content[name]
            if bound is not None:
                content[name] = Bound(tuple(map(float, bound["coefficients"])), float(bound["slack"]))
        return cls(**content)


def calibrate(
    simulate: Simulate,
    reconstruct: Reconstruct,
    n: int,
    *,
    data_range: float,
    level: float = 0.9,
    seed: int = 0,
    features: Features | None = None,
) -> Calibration:
    """Simulate scans of known images, reconstruct them, and learn how wrong the images are.

    Parameters
    ----------
    simulate : callable
        ``simulate(seed) -> (truth, problem)``: draws an image and its data; the same for the same seed.
    reconstruct : callable
        ``reconstruct(problem) -> x``, or ``(x, spread)`` with a positive map of how uncertain each pixel is
        (of any scale: it is the calibration that sets it).
    n : int
        Scans; all images of one size.
    data_range : float
        Width of the range of values of the images, for PSNR and SSIM.
    level : float
        Probability that a limit holds: 0.9 needs 9 scans, or 27 with `features`.
    seed : int
        Every scan gets its own seed from this one.
    features : callable, optional
        ``features(problem, x) -> numbers`` known without the truth, such as the certificate's
        ``unseen_share``. Quality is predicted from them, linearly, on a third of the scans that is not used
        for the bound.

    Returns
    -------
    Calibration
        Deterministic in the seed as far as its two callables are.

    Raises
    ------
    ValueError
        If there are too few scans for the level, or a spread is not positive.

    References
    ----------
    J. Wen, R. Ahmad and P. Schniter, arXiv:2505.09528 (2025), for bounds of image quality without truth.

    Examples
    --------
    >>> from rayfold.operators import Gaussian, Identity
    >>> def simulate(seed):
    ...     truth = np.random.default_rng(seed).random((16, 16))
    ...     return truth, Problem(Identity((16, 16)), Gaussian(0.1).sample(truth, seed + 1), Gaussian(0.1))
    >>> found = calibrate(simulate, lambda problem: problem.y, 40, data_range=1.0)
    >>> round(found.factor / 0.1, 1), round(found.quality_bound()["psnr"])
    (1.8, 20)
    """
    ratios: list[Floats] = []
    quality: dict[str, list[float]] = {"psnr": [], "ssim": []}
    known: list[Sequence[float]] = []
    for each in np.random.SeedSequence(seed).generate_state(max(n, 0)).tolist():
        truth, problem = simulate(each)
        result = reconstruct(problem)
        x, spread = result if isinstance(result, tuple) else (result, None)
        image, exact = np.asarray(to_numpy(x)), np.asarray(to_numpy(truth))
        ratios.append(_ratio(np.abs(image - exact), spread))
        if np.iscomplexobj(image) or np.iscomplexobj(exact):
            image, exact = np.abs(image), np.abs(exact)
        quality["psnr"].append(metrics.psnr(image, exact, data_range=data_range))
        if image.ndim >= 2 and min(image.shape[-2:]) >= metrics.WINDOW:
            quality["ssim"].append(metrics.ssim(image, exact, data_range=data_range))
        known.append(features(problem, x) if features else ())
    if not ratios:
        raise ValueError(f"n is {n}; calibration needs scans, 9 at least for level 0.9")
    table = np.asarray(known, np.float64).reshape(n, -1)
    bounds = {name: fitted(table, np.asarray(found), level) for name, found in quality.items() if found}
    factor = pixel_factor(np.stack(ratios), level)
    return Calibration(level, n, seed, data_range, factor, bounds["psnr"], bounds.get("ssim"))


def _ratio(error: npt.NDArray[Any], spread: Array | None) -> Floats:
    if spread is None:
        return error.astype(np.float64)
    width = np.broadcast_to(to_numpy(spread), error.shape)
    if not (np.isfinite(width) & (width > 0)).all():
        raise ValueError("the spread holds values that are not positive; give every pixel some uncertainty")
    return np.asarray(error / width, np.float64)
