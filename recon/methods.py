"""From a scan to an image: filtered back-projection and the iterative methods, slice by slice."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np

from rayfold.operators import FanBeam, ParallelBeam, VectorBeam, Volume, covering
from rayfold.operators.dispatch import to_numpy
from rayfold.operators.filters import Window
from rayfold.recon.data import Image, Scan
from rayfold.recon.device import resolve_device, to_device
from rayfold.recon.iterative import ITERATIVE, dose_note, recipe, scan_noise
from rayfold.recon.kspace import KSpace
from rayfold.recon.preprocess import prepare
from rayfold.recon.prior_method import Precision, Restorer
from rayfold.recon.priors.bounds import NonNegative
from rayfold.recon.problem import Problem
from rayfold.recon.shipped import STEPS, THOROUGH_STEPS

if TYPE_CHECKING:
    from rayfold.recon.mri.methods import MRIMethod
    from rayfold.recon.series import Series

Array = Any
Method = Literal["fbp", "cgls", "sirt", "sart", "tv", "tgv", "wavelet", "pwls", "os-sqs", "prior"]
METHODS: dict[str, int] = {"fbp": 0, **ITERATIVE, "prior": STEPS}  # method: iterations when none are given
SMALL = 0.9  # of the field of view: a smaller grid leaves out parts of the object
MOST_DRIFT = 0.5  # rows that a fan's rows may be off at the rim of the field of view, to be taken as flat
SLICES = 8  # reconstructed together: they share the ray arithmetic
# images and data arrays alive at once, per slice
WORK = {"fbp": (6, 5), "cgls": (6, 8), "sirt": (6, 8), "sart": (16, 8), "tv": (16, 10), "tgv": (32, 10)}


@dataclass(frozen=True)
class Plan:
    """What a reconstruction will do: grid, method, iterations, memory; and what the user should know."""

    volume: Volume
    slices: int
    method: Method
    iterations: int
    device: str
    bytes: int


def plan(
    scan: Scan,
    method: Method = "fbp",
    *,
    grid: int | None = None,
    spacing: float | None = None,
    iterations: int | None = None,
    device: str = "auto",
) -> Plan:
    """Choose the grid and check that the method can do this scan.

    Parameters
    ----------
    scan : Scan
        Measurement.
    method : {"fbp", "cgls", "sirt", "sart", "tv", "tgv", "wavelet", "pwls", "os-sqs", "prior"}
        Method.
    grid : int, optional
        Pixels per side; by default enough for the field of view, in multiples of 16.
    spacing : float, optional
        Pixel size in mm; by default the bin pitch at the rotation axis.
    iterations : int, optional
        Steps of an iterative method.
    device : str
        "auto", "cpu", "cuda" or "cuda:N".

    Raises
    ------
    ValueError
        If the method is unknown or cannot do this geometry.

    Examples
    --------
    >>> beam = ParallelBeam.evenly(90, 100)
    >>> plan(Scan(np.ones((90, 100), np.float32), beam, "attenuation")).volume.shape
    (112, 112)
    """
    if method not in METHODS:
        raise ValueError(f"method is {method!r}; it must be one of {', '.join(METHODS)}")
    if scan.n_rows > 1 and _row_drift(scan) > MOST_DRIFT:
        raise ValueError(
            f"{scan.n_rows} detector rows of a diverging beam are a cone-beam scan, which needs a 3D method; "
            f"reconstruct the central slice, row {scan.n_rows // 2}"
        )
    if isinstance(scan.beam, VectorBeam):
        if method == "fbp":
            raise ValueError(
                "fbp has no formula for arbitrary per-view vectors; use an iterative method, as cgls or tv"
            )
        if grid is None or spacing is None:
            raise ValueError("a scan with per-view vectors states no field of view; give grid and spacing")
        volume = Volume((grid, grid), spacing)
    elif not 0 <= scan.beam.axis_column <= scan.n_cols - 1 and (method == "fbp" or grid is None):
        raise ValueError(
            f"the rotation axis is at column {scan.beam.axis_column:.4g}, off the detector of {scan.n_cols}; "
            "correct the centre, or use an iterative method with a grid of your own"
        )
    else:
        volume = covering(scan.beam, n=grid, spacing=spacing)
    steps = METHODS[method] if iterations is None else int(iterations)
    if steps < 0 or (method != "fbp" and steps == 0):
        raise ValueError(f"iterations is {iterations}; {method} needs at least one")
    at_once = min(scan.n_rows, SLICES)
    pixels, data = volume.shape[0] * volume.shape[1], scan.n_views * scan.n_cols
    images, copies = WORK.get(method, WORK["tv"])
    memory = 4 * (scan.n_rows * (pixels + data) + at_once * (images * pixels + copies * data))
    return Plan(volume, scan.n_rows, method, steps, resolve_device(device), memory)


def _row_drift(scan: Scan) -> float:
    """How far the outer detector rows look into other slices within the field of view, in rows."""
    beam = scan.beam
    if isinstance(beam, ParallelBeam):
        return 0.0
    if isinstance(beam, VectorBeam):
        return math.inf if beam.kind == "fan" else 0.0
    return (scan.n_rows - 1) / 2 * beam.half_width / beam.source_to_axis


@overload
def reconstruct(scan: Scan, method: Method | None = None, **options: Any) -> Image: ...


@overload
def reconstruct(scan: KSpace, method: MRIMethod | None = None, **options: Any) -> Series: ...


def reconstruct(scan: Scan | KSpace, method: Any = None, **options: Any) -> Image | Series:
    """Reconstruct a CT scan to an image, or k-space to a series of images.

    Parameters
    ----------
    scan : Scan or KSpace
        As measured, from `rayfold.recon.load`.
    method : str, optional
        For CT see `reconstruct_ct` ("fbp" by default), for MRI `rayfold.recon.mri.methods.reconstruct_kspace`
        (by default what suits the scan).
    **options
        Of that function.

    Raises
    ------
    ValueError
        If the method cannot do this scan.
    TypeError
        For an option that the modality does not have.

    Examples
    --------
    >>> reconstruct(KSpace(np.ones((4, 8, 8), np.complex64), ("coil", "ky", "kx")), "rss")
    Series(8 y x 8 x, 1 x 1 mm, magnitude)
    """
    if isinstance(scan, KSpace):
        from rayfold.recon.mri.methods import reconstruct_kspace

        return reconstruct_kspace(scan, method, **options)
    return reconstruct_ct(scan, method or "fbp", **options)


def reconstruct_ct(
    scan: Scan,
    method: Method = "fbp",
    *,
    grid: int | None = None,
    spacing: float | None = None,
    iterations: int | None = None,
    window: Window = "ram-lak",
    cutoff: float = 1.0,
    nonnegative: bool = True,
    strength: float | None = None,
    prior: Any = None,
    precision: Precision = "float32",
    thorough: bool = False,
    device: str = "auto",
    verbose: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Image:
    """Reconstruct a CT scan.

    Parameters
    ----------
    scan : Scan
        Raw or prepared measurement; what is missing of the usual preprocessing is done first.
    method : {"fbp", "cgls", "sirt", "sart", "tv", "tgv", "wavelet", "pwls", "os-sqs", "prior"}
        Filtered back-projection; conjugate gradients; SIRT and its ordered-subset form SART; least squares
        weighted by the photons with total variation, total generalised variation or wavelets (by PDHG);
        penalised weighted least squares with Huber total variation by ordered subsets (pwls), and the same
        for the Poisson likelihood of the counts (os-sqs); the learned prior, unrolled with the physics.
    grid, spacing, iterations, device
        As in `plan`.
    window, cutoff
        Filter of "fbp", see `rayfold.operators.filters`.
    nonnegative : bool
        Keep the image at or above 0; fbp and cgls cannot.
    strength : float, optional
        Weight of the penalty; found from the noise by default, and noted. Of "prior": factor of the noise
        that it is told, 1 by default; less keeps more of the noise and of faint detail.
    prior : str, Path or FoundationPrior, optional
        Weights of "prior": "small" or "base" of the package, or a file that ``rayfold train`` wrote.
    precision : {"float32", "bfloat16"}
        Of the prior's convolutions; bfloat16 is faster where the processor knows it.
    thorough : bool
        Of "prior": 24 steps that solve for the data, about 240 projections and back-projections instead of
        16. Better for few views with little noise, worse for noisy data.
    verbose : bool
        Write a table of the iterations to standard error.
    progress : callable, optional
        Called with (steps done, steps in all).

    Returns
    -------
    Image
        Attenuation in 1/mm (1/px when the scan states no pixel size), ``(ny, nx)`` or ``(rows, ny, nx)``;
        ``provenance["notes"]`` says what the user should know, ``provenance["prior"]`` which weights made it.

    Raises
    ------
    ValueError
        If the method cannot do this scan.
    InconsistentInput
        If the data cannot be a measurement.

    Examples
    --------
    >>> scan = Scan(np.ones((90, 48), np.float32), ParallelBeam.evenly(90, 48), "attenuation", unit="px")
    >>> reconstruct_ct(scan).shape
    (48, 48)
    """
    if thorough and iterations is None:
        iterations = THOROUGH_STEPS
    chosen = plan(scan, method, grid=grid, spacing=spacing, iterations=iterations, device=device)
    if method != "prior" and not (prior is None and precision == "float32" and not thorough):
        raise ValueError(
            f"{method} uses no learned prior; leave prior, precision and thorough out, or take prior"
        )
    scan = prepare(scan)
    data = np.asarray(scan.sinograms, np.float32).reshape(-1, scan.n_views, scan.n_cols)
    out = np.empty((len(data), *chosen.volume.shape), np.float32)
    used: dict[str, Any] = {}
    steps = max(chosen.iterations, 1)
    chunks = range(0, len(data), SLICES)
    if chosen.method == "fbp":
        if strength is not None:
            raise ValueError("fbp has no strength; smooth it with window and cutoff")
        apply, notes = _filtered(scan, chosen, window, cutoff)
    elif chosen.method == "prior":
        restorer = Restorer.load(
            prior,
            strength=strength,
            steps=iterations,
            precision=precision,
            device=chosen.device,
            thorough=thorough,
        )
        apply, notes = _restored(scan, chosen, restorer, nonnegative=nonnegative)
        used = {"prior": restorer.record()}
    else:
        apply, notes = _iterated(scan, chosen, nonnegative=nonnegative, strength=strength, verbose=verbose)
    for done, first in enumerate(chunks):

        def tick(i: int, done: int = done) -> None:
            if progress is not None:
                progress(done * steps + i, len(chunks) * steps)

        part = to_device(chosen.device, data[first : first + SLICES])
        out[first : first + SLICES] = to_numpy(apply(part, tick))
        tick(steps)
    step = chosen.volume.steps
    array, space = (out[0], step) if scan.data.ndim == 2 else (out, (scan.row_pitch or step[0], *step))
    unit = "1/mm" if scan.unit == "mm" else "1/px"
    made = {"method": method, "notes": [*scan.notes, *dict.fromkeys(notes)], "steps": list(scan.history)}
    made |= used
    return Image(array, space, unit=unit, provenance=made)


Inverse = Callable[[Array, Callable[[int], None]], Array]  # (stack of sinograms, ticker) to stack of images


def _filtered(scan: Scan, chosen: Plan, window: Window, cutoff: float) -> tuple[Inverse, list[str]]:
    """Filtered back-projection, and remarks."""
    from rayfold.operators.fbp import fbp_operator

    assert isinstance(scan.beam, ParallelBeam | FanBeam)  # plan() has refused the rest
    inverse, note = fbp_operator(chosen.volume, scan.beam, window=window, cutoff=cutoff)
    return lambda y, tick: inverse(y), [note] if note else []


def _iterated(
    scan: Scan, chosen: Plan, *, nonnegative: bool, strength: float | None, verbose: bool
) -> tuple[Inverse, list[str]]:
    """An iterative method, and remarks that its first slices add to."""
    from rayfold.operators.xray import XRay
    from rayfold.recon.solvers import run

    A = XRay(chosen.volume, scan.beam)
    notes = _covered(scan, chosen)
    weight = [strength]

    def solve(y: Array, tick: Callable[[int], None]) -> Array:
        made = recipe(chosen.method, A, y, scan, strength=weight[0], nonnegative=nonnegative)
        notes.extend(made.notes)
        weight[0] = made.strength  # the first slices decide for all
        return run(
            made.solver,
            made.problem,
            chosen.iterations,
            x0=made.x0,
            callback=lambda status: tick(status.iteration),
            verbose=verbose,
        ).x

    return solve, notes


def _restored(
    scan: Scan, chosen: Plan, restorer: Restorer, *, nonnegative: bool
) -> tuple[Inverse, list[str]]:
    """The learned prior unrolled with the physics, and remarks."""
    from rayfold.operators.xray import XRay

    A, noise = XRay(chosen.volume, scan.beam), scan_noise(scan)
    restorer = replace(restorer, bounds=NonNegative() if nonnegative else None)

    def solve(y: Array, tick: Callable[[int], None]) -> Array:
        def done(slices: int) -> None:
            tick(slices * max(chosen.iterations, 1) // len(y))

        return restorer(Problem(A, y, noise), done)

    return solve, [*dose_note(noise), *_covered(scan, chosen)]


def _covered(scan: Scan, chosen: Plan) -> list[str]:
    """What to say of a grid that leaves out part of the field of view."""
    seen = math.inf if isinstance(scan.beam, VectorBeam) else scan.beam.half_width
    side = min(n * step for n, step in zip(chosen.volume.shape, chosen.volume.steps, strict=True))
    if not side < SMALL * 2 * seen < math.inf:
        return []
    return [
        f"the grid is {side:.4g} {scan.unit} wide, the field of view {2 * seen:.4g}: an iterative method "
        "piles up at the rim what lies outside; give a larger grid or spacing"
    ]


def fbp(
    scan: Scan,
    *,
    window: Window = "ram-lak",
    cutoff: float = 1.0,
    grid: int | None = None,
    spacing: float | None = None,
    device: str = "auto",
) -> Image:
    """Filtered back-projection of a scan; see `reconstruct`, and `rayfold.operators.fbp` for arrays.

    Examples
    --------
    >>> scan = Scan(np.ones((90, 48), np.float32), ParallelBeam.evenly(90, 48), "attenuation", unit="px")
    >>> fbp(scan, window="hann").unit
    '1/px'
    """
    return reconstruct_ct(
        scan, "fbp", window=window, cutoff=cutoff, grid=grid, spacing=spacing, device=device
    )
