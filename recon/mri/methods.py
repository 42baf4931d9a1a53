"""From k-space to images: the methods by name, chosen from what the scan holds unless one is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from rayfold.operators.dispatch import to_numpy
from rayfold.recon.device import resolve_device, to_device
from rayfold.recon.kspace import KSpace
from rayfold.recon.mri.combine import combine_mvue
from rayfold.recon.mri.grid import crop
from rayfold.recon.mri.model import Model, entry, without_maps
from rayfold.recon.mri.prepare import cut_readout, remove_ghost, whiten
from rayfold.recon.prior_method import Precision, Restorer
from rayfold.recon.problem import Problem
from rayfold.recon.series import Series
from rayfold.recon.shipped import STEPS
from rayfold.recon.strength import noise_force

Array = Any
MRIMethod = Literal["rss", "mvue", "gridding", "sense", "wavelet", "tv", "grappa", "lps", "prior"]
# method: steps when none are given
MRI_METHODS: dict[str, int] = {
    "rss": 0,
    "mvue": 0,
    "gridding": 0,
    "sense": 30,
    "wavelet": 40,
    "tv": 100,
    "grappa": 0,
    "lps": 100,
    "prior": STEPS,
}
REGULARISED = ("wavelet", "tv")
DAMPING = 0.01  # in sense, where all of a Cartesian grid has eigenvalue 1; benchmarks/mri_brain.py
FACTOR = {"wavelet": 0.4, "tv": 0.2}  # weight of each penalty over the rms pull of the noise on a voxel
WAVELET = "sym4"
FRAMES = ("repetition", "phase")  # axes along which an image may change
Progress = Callable[[int, int], None]


def default_method(scan: KSpace) -> str:
    """What suits a scan: a method that uses all it holds and asks for no choice.

    Off the grid "sense" ("gridding" with one coil); on the grid "mvue" when it is full, "sense" when lines
    are missing, "rss" with one coil.

    Examples
    --------
    >>> default_method(KSpace(np.ones((4, 8, 8), np.complex64), ("coil", "ky", "kx")))
    'mvue'
    """
    if not scan.cartesian:
        return "gridding" if scan.n_coils == 1 else "sense"
    if scan.n_coils == 1:
        return "rss"
    return "mvue" if scan.sampled is None or scan.sampled.all() else "sense"


def check_method(scan: KSpace, method: str) -> None:
    """ValueError, with the cure, unless a method can do this scan."""
    if method not in MRI_METHODS:
        raise ValueError(f"method is {method!r}; for k-space it must be one of {', '.join(MRI_METHODS)}")
    if not scan.cartesian and method in ("rss", "mvue", "grappa"):
        raise ValueError(
            f"{method} needs samples on the grid; this scan has a trajectory, use gridding or sense"
        )
    if scan.cartesian and method == "gridding":
        raise ValueError("gridding is for trajectories; this scan is on the grid, use mvue or rss")
    if method == "grappa" and (scan.n_coils == 1 or scan.sampled is None or scan.sampled.all()):
        raise ValueError(
            "grappa fills missing lines from several coils; there are none missing or one coil: use mvue"
        )
    if method == "lps" and _frames(scan) is None:
        raise ValueError(
            f"lps needs a series along {' or '.join(FRAMES)}; use sense, wavelet or tv for one image"
        )


def _frames(scan: KSpace) -> str | None:
    return next((name for name in FRAMES if scan.size(name) > 1), None)


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """Images with what is needed to certify them.

    Attributes
    ----------
    series : Series
        The images.
    method : str
        How they were made.
    model : Model or None
        Physics; None for "rss", which uses none.
    uncut : ndarray
        Images on the encoded grid, before oversampling was cut.
    """

    series: Series
    method: str
    model: Model | None
    uncut: Array

    def problem(self, index: tuple[int, ...]) -> tuple[Problem, Array]:
        """Problem and image at an index of the leading axes, for `certify`."""
        if self.model is None:
            raise ValueError("rss uses no model of the coils; certify the image of mvue or sense")
        seen = self.model.brightness(index)
        image = self.uncut[index] / np.where(seen > 0, seen, 1)  # what the maps are for
        image = to_device(self.model.device, np.ascontiguousarray(image, dtype=np.complex64))
        return self.model.problem(index), image


def reconstruct_kspace(
    scan: KSpace,
    method: str | None = None,
    *,
    iterations: int | None = None,
    strength: float | None = None,
    prior: Any = None,
    precision: Precision = "float32",
    thorough: bool = False,
    device: str = "auto",
    verbose: bool = False,
    progress: Progress | None = None,
) -> Series:
    """Reconstruct an MRI scan.

    Parameters
    ----------
    scan : KSpace
        As measured. Ghosts of an EPI are corrected from its reference lines, coils are whitened (not for
        "rss"), and readout oversampling is cut where the header states it.
    method : str, optional
        By default what suits the scan, see `default_method`.

        "rss": root sum of squares of the coils' centred orthonormal inverse FFT, not whitened.
        "mvue": coils combined with ESPIRiT maps for the least variance. "gridding": the same for a
        trajectory, from the density-weighted adjoint. "sense": least squares with coil maps by conjugate
        gradients, lightly damped. "wavelet", "tv": the same with an l1 penalty of wavelets, or total
        variation. "grappa": missing lines filled in k-space, then as "mvue". "lps": a series as the sum of a
        low-rank and a sparse part. "prior": the learned prior, unrolled with the same physics.
    iterations : int, optional
        Steps of an iterative method.
    strength : float, optional
        Weight of the penalty of "wavelet" and "tv"; by default from the noise, and noted. Of "prior": factor
        of the noise that it is told, 1 by default; less keeps more of the noise and of faint detail.
    prior : str, Path or FoundationPrior, optional
        Weights of "prior": "small" or "base" of the package, or a file that ``rayfold train`` wrote.
    precision : {"float32", "bfloat16"}
        Of the prior's convolutions; bfloat16 is faster where the processor knows it.
    thorough : bool
        Of "prior": 24 steps that solve for the data instead of 5 short ones. Better for few samples with
        little noise, and for k-space of which only the middle was measured; worse for noisy data.
    device : str
        "auto", "cpu", "cuda" or "cuda:N".
    verbose : bool
        Write a table of the iterations to standard error.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Series
        Complex images in units of their noise ("rss": magnitudes in the unit of the data), with the scan's
        slices, echoes, averages and repetitions as named axes.

    Raises
    ------
    ValueError
        If the method cannot do this scan, with the cure.

    Examples
    --------
    >>> scan = KSpace(np.ones((4, 8, 8), np.complex64), ("coil", "ky", "kx"))
    >>> reconstruct_kspace(scan, "rss").shape
    (8, 8)
    """
    return solve_kspace(
        scan,
        method,
        iterations=iterations,
        strength=strength,
        prior=prior,
        precision=precision,
        thorough=thorough,
        device=device,
        verbose=verbose,
        progress=progress,
    ).series


def solve_kspace(
    scan: KSpace,
    method: str | None = None,
    *,
    iterations: int | None = None,
    strength: float | None = None,
    prior: Any = None,
    precision: Precision = "float32",
    thorough: bool = False,
    device: str = "auto",
    verbose: bool = False,
    progress: Progress | None = None,
) -> Reconstruction:
    """As `reconstruct_kspace`, with what is needed to certify the images."""
    name = method or default_method(scan)
    check_method(scan, name)
    steps = MRI_METHODS[name] if iterations is None else int(iterations)
    if (steps > 0) != (MRI_METHODS[name] > 0):
        raise ValueError(
            f"iterations is {iterations}; {name} takes {'at least one' if MRI_METHODS[name] else 'none'}"
        )
    if strength is not None and name not in (*REGULARISED, "prior"):
        raise ValueError(
            f"{name} has no strength; use prior, wavelet or tv, or change the number of iterations"
        )
    if name != "prior" and not (prior is None and precision == "float32" and not thorough):
        raise ValueError(
            f"{name} uses no learned prior; leave prior, precision and thorough out, or take prior"
        )
    scan = remove_ghost(scan)
    if name == "rss":
        return _finish(scan, name, None, without_maps(scan), [], {})
    scan, white = whiten(cut_readout(scan))
    model = Model.of(scan, white, resolve_device(device))
    notes: list[str] = []
    about: dict[str, Any] = {}
    if name in ("mvue", "gridding", "grappa"):
        images = _direct(model, name, notes)
    elif name == "lps":
        images = _series(model, steps, progress)
    elif name == "prior":
        restorer = Restorer.load(
            prior,
            strength=strength,
            steps=iterations,
            precision=precision,
            device=model.device,
            thorough=thorough,
        )
        images = _restored(model, restorer, progress)
        about["prior"] = restorer.record()
    else:
        images = _iterated(model, name, steps, strength, notes, verbose=verbose, progress=progress)
    return _finish(scan, name, model, images, notes, about)


def _finish(
    scan: KSpace, method: str, model: Model | None, images: Array, notes: list[str], about: dict[str, Any]
) -> Reconstruction:
    """The series, cut to the part of the image that the header asks for."""
    uncut = images
    if scan.crop is not None:
        images = crop(images, scan.crop, tuple(range(-len(scan.grid), 0)))
    if scan.spacing is None:
        notes = [*notes, "the file states no field of view; voxels are taken as 1 mm"]
    said = {"method": method, "notes": [*scan.notes, *dict.fromkeys(notes)], "steps": list(scan.history)}
    about = said | about
    series = Series.of(np.asarray(images), scan, provenance=about)
    return Reconstruction(series, method, model, uncut)


def _direct(model: Model, name: str, notes: list[str]) -> Array:
    """One pass: inverse transforms, and the coils combined with their maps."""
    from rayfold.operators.fourier import ifft

    scan, grid = model.scan, model.scan.grid
    axes = tuple(range(-len(grid), 0))
    missing = scan.cartesian and scan.sampled is not None and not scan.sampled.all()
    if name == "mvue" and missing:
        notes.append(
            f"{1 - 1 / scan.acceleration:.0%} of k-space is missing and taken as zero; sense uses the coils"
        )
    out = np.empty((*scan.data.shape[: len(scan.leading)], *grid), np.complex64)
    filled = _filled(scan) if name == "grappa" else scan.data
    for index in model.indices():
        maps = model.maps_of(index)
        if name == "gridding":
            w = entry(model.density, index, len(scan.k_axes)).astype(np.float32)
            coils = to_numpy(model.encoding(index).H(to_device(model.device, scan.data[index] * w)))
        else:
            coils = ifft(filled[index], axes)
        out[index] = combine_mvue(coils, maps) * model.brightness(index)
    return out


def _filled(scan: KSpace) -> Array:
    """All of k-space by GRAPPA, pattern by pattern of the leading axes."""
    from rayfold.recon.mri.grappa_kernels import grappa

    assert scan.sampled is not None
    ndim, lead = len(scan.grid), scan.data.shape[: len(scan.leading)]
    readout = scan.k_axes.index(scan.readout) - ndim
    mask = np.broadcast_to(scan.sampled, (*lead, *scan.grid))
    out = np.empty_like(scan.data)
    for index in np.ndindex(*lead):
        block = scan.calibration
        if block is not None:
            extra = block.ndim - ndim - 1
            at = index[len(index) - extra :]
            block = block[tuple(0 if n == 1 else i for n, i in zip(block.shape[:extra], at, strict=True))]
        out[index] = grappa(
            scan.data[index],
            mask[index],
            block,
            calibration_sampled=scan.calibration_sampled,
            readout=readout,
        )
    return out


def _iterated(
    model: Model,
    name: str,
    steps: int,
    strength: float | None,
    notes: list[str],
    *,
    verbose: bool,
    progress: Progress | None,
) -> Array:
    """Image by image with a solver; the first one's weight decides for all."""
    from rayfold.recon.solvers import run

    scan = model.scan
    out = np.empty((*scan.data.shape[: len(scan.leading)], *scan.grid), np.complex64)
    indices = list(model.indices())
    for done, index in enumerate(indices):
        problem = model.problem(index)
        if name in REGULARISED and strength is None:
            strength = FACTOR[name] * noise_force(problem)
            notes.append(f"penalty of strength {strength:.4g}, from the noise")

        def tick(status: Any, done: int = done) -> None:
            if progress is not None:
                progress(done * steps + status.iteration, len(indices) * steps)

        found = run(_solver(name, strength), problem, steps, callback=tick, verbose=verbose)
        out[index] = to_numpy(found.x) * model.brightness(index)
    return out


def _restored(model: Model, restorer: Restorer, progress: Progress | None) -> Array:
    """Image by image with the learned prior: what is told of the noise comes from each one's own problem."""
    scan = model.scan
    out = np.empty((*scan.data.shape[: len(scan.leading)], *scan.grid), np.complex64)
    indices = list(model.indices())
    for done, index in enumerate(indices, 1):
        out[index] = to_numpy(restorer(model.problem(index))) * model.brightness(index)
        if progress is not None:
            progress(done, len(indices))
    return out


def _solver(name: str, strength: float | None) -> Any:
    from rayfold.recon import priors, solvers

    if name == "sense":
        return solvers.CG(damping=DAMPING)
    assert strength is not None
    if name == "wavelet":
        # few inner steps are enough: they go on from where the last ones ended
        return solvers.FISTA(priors.CycleSpinning(priors.WaveletL1(strength, WAVELET, iterations=3)))
    return solvers.PDHG(priors.TV(strength))


def _series(model: Model, steps: int, progress: Progress | None) -> Array:
    """Low rank plus sparse along the frames; every other leading axis for itself."""
    from rayfold.operators import BlockDiagonal, CoilSensitivities
    from rayfold.recon.mri.low_rank_plus_sparse import low_rank_sparse

    scan = model.scan
    axis = scan.leading.index(_frames(scan) or "")
    n = scan.data.shape[axis]
    lead = scan.data.shape[: len(scan.leading)]
    out = np.empty((*lead, *scan.grid), np.complex64)
    rest = list(np.ndindex(*lead[:axis], *lead[axis + 1 :]))
    for done, other in enumerate(rest):
        frames = [(*other[:axis], t, *other[axis:]) for t in range(n)]
        S = CoilSensitivities(model.maps_of(frames[0]))
        A = BlockDiagonal(tuple(model.encoding(index) @ S for index in frames))
        y = to_device(model.device, np.stack([scan.data[index] for index in frames]).astype(np.complex64))

        def tick(status: Any, done: int = done) -> None:
            if progress is not None:
                progress(done * steps + status.iteration, len(rest) * steps)

        found = to_numpy(low_rank_sparse(A, y, iterations=steps, callback=tick).image)
        for t, index in enumerate(frames):
            out[index] = found[t] * model.brightness(index)
    return out
