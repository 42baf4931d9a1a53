"""Images on a finer grid than they were made on, and sharper ones on their own: solved, not interpolated.

What made the coarse image is an operator, a blur and then binning or a cut through k-space, so that finer
pixels are an inverse problem like any other: data, noise, prior, and evidence of what the data support.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.operators.dispatch import to_numpy
from rayfold.operators.noise import Gaussian
from rayfold.recon.data import Image
from rayfold.recon.denoising import AIR, noise_of
from rayfold.recon.errors import InconsistentInput
from rayfold.recon.finer import FWHM, MODELS, FinerGrid, Model
from rayfold.recon.noise_level.regions import padding, solid
from rayfold.recon.problem import Problem, estimate_noise
from rayfold.recon.shipped import DEFAULT

if TYPE_CHECKING:
    from rayfold.recon.evidence import Certificate

Array = npt.NDArray[Any]
Method = Literal["prior", "tv", "bicubic", "sinc"]
METHODS: dict[str, int] = {"prior": 0, "tv": 100, "bicubic": 0, "sinc": 0}  # method: steps of a solver
INTERPOLATED = ("bicubic", "sinc")
TV_WEIGHT = {True: 0.2, False: 0.5}  # over the rms pull of the noise; less where a finer grid is filled in
LEAST_NOISE = 1e-4  # of the image: no data are exact
SLICES = 4  # solved together
MOST = 3  # slices that are certified: they stand for their volume
LARGEST = 8  # factor


class Finer(NamedTuple):
    """A finer image, and how far the coarse one supports it.

    `certificate` is for the slices numbered in `slices`, in the unit that was solved in: HU count as
    attenuation over that of water, ``1 + HU / 1000``.
    """

    image: Image
    certificate: Certificate | None
    slices: tuple[int, ...]


def superres(
    image: Image | Array,
    factor: int | tuple[int, int] = 2,
    *,
    method: Method = "prior",
    psf: float | tuple[float, float] | Array | None = None,
    noise: float | None = None,
    strength: float = 1.0,
    model: Model | None = None,
    prior: Any = DEFAULT,
    certificate: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Image:
    """An image on a grid `factor` times as fine in the plane, or sharper on its own grid (factor 1).

    Solves ``y = D B x + noise`` slice by slice, with B the blur `psf` and D the mean over a pixel's fine
    pixels (CT) or the cut to the inner part of k-space (MRI). HU are taken as attenuation meanwhile.

    Parameters
    ----------
    image : Image or ndarray, (ny, nx) or (nz, ny, nx)
        Image; complex for MRI with its phase. A plain array has pixels of 1 mm.
    factor : int or (int, int)
        Fine pixels per pixel, 1 to 8; (y, x).
    method : {"prior", "tv", "bicubic", "sinc"}
        The trained prior; total variation; or plain interpolation.
    psf : float, (float, float) or ndarray, optional
        Blur to be undone, besides that of the pixels: full width at half maximum of a Gaussian in mm, (y, x),
        or a kernel on the fine grid. `rayfold.recon.quality.edge_blur` and `kernel_blur` measure it.
    noise : float, optional
        Standard deviation in the unit of the image, of real and imaginary part each; found from the image by
        default.
    strength : float
        Of the prior: 1 is what fits the noise, 0 plain interpolation.
    model : {"binning", "kspace"}, optional
        What made the pixels; "kspace" for MR images and complex arrays by default.
    prior : str, path or FoundationPrior
        Weights for method "prior".
    certificate : bool
        Put the evidence into ``provenance["certificate"]``, for up to three slices.
    progress : callable, optional
        Called with (slices done, slices in all).

    Returns
    -------
    Image
        At the same place, in the same unit; ``provenance["notes"]`` says what the user should know.

    Raises
    ------
    ValueError
        If an argument is wrong, or a combination means nothing.
    InconsistentInput
        If the image holds values that are not finite.

    Examples
    --------
    >>> coarse = Image(np.eye(16), (1.0, 1.0))
    >>> superres(coarse, 2, method="bicubic", certificate=False)
    Image(32 x 32, 0.5 x 0.5 mm, 1/mm, -0.1362 to 1.151)
    """
    return solve(
        image, factor, method=method, psf=psf, noise=noise, strength=strength, model=model, prior=prior,
        certificate=certificate, progress=progress,
    ).image  # fmt: skip


def solve(
    image: Image | Array,
    factor: int | tuple[int, int] = 2,
    *,
    method: Method = "prior",
    psf: float | tuple[float, float] | Array | None = None,
    noise: float | None = None,
    strength: float = 1.0,
    model: Model | None = None,
    prior: Any = DEFAULT,
    certificate: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Finer:
    """As `superres`, with the `Certificate` itself.

    Examples
    --------
    >>> found = solve(np.eye(32), 2, method="bicubic", noise=0.01)
    >>> found.image.shape, found.slices, found.certificate.noise_estimated
    ((64, 64), (0,), False)
    """
    if not isinstance(image, Image):
        image = _placed(to_numpy(image))
    grid = _grid(image, factor, model)
    _check(grid, method, psf, noise, strength)
    values, empty = _values(image, grid)
    problem, notes = _problem(image, values, grid, psf, noise)
    solved, more = _solved(problem, grid, method, strength, prior, progress)
    made: dict[str, Any] = {
        "method": method,
        "factor": list(grid.factor),
        "model": grid.model,
        "noise": _level(problem) * (1000.0 if image.unit == "HU" else 1.0),
        "notes": [*image.provenance.get("notes", ()), *notes, *more],
        "steps": [*image.provenance.get("steps", ()), f"superres x{'x'.join(map(str, grid.factor))}"],
    }
    found, picked = _certified(problem, solved, method == "prior") if certificate else (None, ())
    if found is not None:
        made["certificate"] = {**found.as_dict(), "slices": list(picked)}
    if image.unit == "HU":
        solved = (solved - 1) * np.float32(1000)
        solved = np.where(grid.repeat(empty), grid.repeat(np.asarray(image.array, np.float32)), solved)
    array = solved.reshape(*image.shape[:-2], *grid.fine_shape)
    return Finer(grid.image(array, image, provenance=made), found, picked)


def _placed(array: Array) -> Image:
    if array.ndim not in (2, 3):
        raise ValueError(f"an image has 2 or 3 axes, this array has shape {array.shape}; give one volume")
    kind: Any = "MR" if np.iscomplexobj(array) else "CT"
    return Image(array, (1.0,) * array.ndim, unit="a.u.", modality=kind)


def _grid(image: Image, factor: int | tuple[int, int], model: Model | None) -> FinerGrid:
    pair = (factor, factor) if isinstance(factor, int | np.integer) else tuple(factor)
    if len(pair) != 2 or not all(f == int(f) and 1 <= f <= LARGEST for f in pair):
        raise ValueError(f"factor is {factor}; give a whole number from 1 to {LARGEST}, or (y, x)")
    if model is None:
        model = "kspace" if image.modality == "MR" or np.iscomplexobj(image.array) else "binning"
    if model not in MODELS:
        raise ValueError(f"model is {model!r}; it must be {' or '.join(MODELS)}")
    ny, nx = image.shape[-2:]
    return FinerGrid((ny, nx), (int(pair[0]), int(pair[1])), model)


def _check(grid: FinerGrid, method: str, psf: Any, noise: float | None, strength: float) -> None:
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
    if method in INTERPOLATED and psf is not None:
        raise ValueError(f"{method} is interpolation and undoes no blur; leave psf out, or use prior or tv")
    if method in INTERPOLATED and strength != 1:
        raise ValueError(f"{method} has no strength; leave it out, or use prior or tv")
    if not 0 <= strength < math.inf or (method == "prior" and strength > 1):
        raise ValueError(f"strength is {strength}; give 0 (plain interpolation) to 1, for tv also more")
    if noise is not None and not 0 < noise < math.inf:
        raise ValueError(f"noise is {noise}; give a positive standard deviation in the unit of the image")
    if grid.factor == (1, 1) and psf is None:
        raise ValueError("factor 1 without a blur to undo changes nothing; give psf (its width in mm)")


def _values(image: Image, grid: FinerGrid) -> tuple[Array, Array]:
    """Slices ``(n, ny, nx)`` in the numbers that are solved for, and which of their pixels are padding.

    HU become attenuation over that of water, and what scanners write outside their field of view becomes air:
    it was not measured, and its edge is none of the object.
    """
    array = np.asarray(image.array)
    if not np.isfinite(array).all():
        bad = int((~np.isfinite(array)).sum())
        raise InconsistentInput(f"the image holds {bad} values that are not finite; replace them first")
    kind = np.complex64 if np.iscomplexobj(array) else np.float32
    y = array.astype(kind).reshape(-1, *grid.shape)
    if image.unit != "HU":
        return y, np.zeros(0, bool)
    empty = solid(padding(y))
    return (1 + np.where(empty, np.float32(AIR), y) / np.float32(1000)).astype(kind), empty


def _problem(
    image: Image, y: Array, grid: FinerGrid, psf: Any, noise: float | None
) -> tuple[Problem, list[str]]:
    """The inverse problem of all slices, and remarks."""
    A = grid.operator(_widths(psf, image, grid), real=not np.iscomplexobj(y))
    scale = 1000.0 if image.unit == "HU" else 1.0
    if noise is not None:
        return Problem(A, y, Gaussian(float(noise) / scale)), []
    level = _measured(image, y, scale, sharpened=psf is not None)
    unit = "" if image.unit in ("", "a.u.") else f" {image.unit}"
    note = f"noise of {level * scale:.3g}{unit} was measured on the image"
    return Problem(A, y, Gaussian(level, estimated=True)), [note]


def _widths(psf: Any, image: Image, grid: FinerGrid) -> Any:
    """The blur as `FinerGrid.operator` takes it."""
    if psf is None:
        return None
    if isinstance(psf, np.ndarray) and psf.ndim == 2:
        return psf
    pair = (psf, psf) if np.ndim(psf) == 0 else tuple(psf)
    if len(pair) != 2 or not all(0 <= w < math.inf for w in pair) or max(pair) == 0:
        raise ValueError(f"psf is {psf}; give its full width at half maximum in mm, or (y, x), or a kernel")
    steps = [s / f for s, f in zip(image.spacing[-2:], grid.factor, strict=True)]
    sigmas = [float(w) / FWHM / s for w, s in zip(pair, steps, strict=True)]
    if any(4 * s > n / 2 for s, n in zip(sigmas, grid.fine_shape, strict=True)):
        raise ValueError(
            f"psf of {psf} mm is as wide as the image; give the width of the blur of a point in mm"
        )
    return (sigmas[0], sigmas[1])


def _measured(image: Image, y: Array, scale: float, *, sharpened: bool) -> float:
    """Noise of an image as one level: the larger of its two finest octaves, where detail is to be continued.

    Where a blur is undone the largest of all: a soft kernel has damped the finest noise with the detail.
    """
    from rayfold.operators import Identity

    rms = float(np.sqrt(np.mean(np.abs(y.astype(np.complex128)) ** 2)))
    try:
        level = max(noise_of(image, stationary=True).levels[: 4 if sharpened else 2]) / scale
    except ValueError:  # too small for that, or constant
        found = estimate_noise(Problem(Identity(tuple(y.shape)), y)).sigma
        level = float(found)  # type: ignore[arg-type]
    return max(level, LEAST_NOISE * rms, float(np.finfo(np.float32).tiny))


def _level(problem: Problem) -> float:
    assert isinstance(problem.noise, Gaussian) and isinstance(problem.noise.sigma, float)
    return problem.noise.sigma


def _solved(
    problem: Problem,
    grid: FinerGrid,
    method: str,
    strength: float,
    prior: Any,
    progress: Callable[[int, int], None] | None,
) -> tuple[Array, list[str]]:
    """Fine images of all slices, and remarks."""
    y = problem.y
    kind: Any = "sinc" if method == "sinc" or (grid.model == "kspace" and method != "bicubic") else "bicubic"
    notes: list[str] = []
    apply: Callable[[Problem, Array], Array] = lambda part, start: start  # noqa: E731
    if method == "tv" and strength > 0:
        from rayfold.recon.strength import noise_force

        weight = strength * TV_WEIGHT[grid.factor != (1, 1)] * noise_force(problem)
        notes.append(f"total variation of strength {weight:.4g}")
        apply = _total_variation(weight)
    elif method == "prior" and strength > 0:
        apply = _prior(prior, grid, strength)
    out = np.empty((len(y), *grid.fine_shape), y.dtype)
    for first in range(0, len(y), SLICES):
        part = slice(first, first + SLICES)
        start = y[part] if grid.factor == (1, 1) else grid.interpolate(y[part], kind)
        out[part] = apply(problem._replace(y=y[part]), start)
        if progress is not None:
            progress(min(first + SLICES, len(y)), len(y))
    return out, notes


def _prior(prior: Any, grid: FinerGrid, strength: float) -> Callable[[Problem, Array], Array]:
    from rayfold.recon.detail import fill_in
    from rayfold.recon.foundation import FoundationPrior

    network = prior if hasattr(prior, "denoise") else FoundationPrior.load(prior)
    network = getattr(network, "for_iterations", network)

    def apply(part: Problem, start: Array) -> Array:
        # what the same loss of resolution takes from the image that is there: one scale up it was about that
        lost = part.y - _again(part, grid)
        missing = float(np.sqrt(np.mean(np.abs(lost.astype(np.complex128)) ** 2)))
        return fill_in(part, network, start, missing, strength=strength)

    return apply


def _again(part: Problem, grid: FinerGrid) -> Array:
    """The coarse images after one more loss of the same kind, and interpolation."""
    if grid.factor == (1, 1):
        return np.asarray(part.A(part.y))
    (ny, nx), (fy, fx) = grid.shape, grid.factor
    inner = FinerGrid((max(ny // fy, 1), max(nx // fx, 1)), grid.factor, grid.model)
    cut = part.y[..., : inner.fine_shape[0], : inner.fine_shape[1]]
    lost = inner.operator(real=not np.iscomplexobj(cut))(cut)
    again: Array = part.y.copy()
    again[..., : inner.fine_shape[0], : inner.fine_shape[1]] = inner.interpolate(lost, "bicubic")
    return again


def _total_variation(weight: float) -> Callable[[Problem, Array], Array]:
    from rayfold.recon.priors import TV
    from rayfold.recon.solvers import PDHG, run

    return lambda part, start: np.asarray(run(PDHG(TV(weight)), part, METHODS["tv"], x0=start).x)


def _certified(problem: Problem, x: Array, learned: bool) -> tuple[Certificate, tuple[int, ...]]:
    """Evidence for slices evenly spread over the volume."""
    from rayfold.recon.evidence import certify

    n = len(x)
    picked = np.unique(np.linspace(0, n - 1, min(n, MOST)).round().astype(int)) if n > 1 else np.zeros(1, int)
    found = certify(problem._replace(y=problem.y[picked]), x[picked], row="row", learned=learned)
    return found, tuple(int(i) for i in picked)


__all__ = ["METHODS", "Finer", "Method", "solve", "superres"]
