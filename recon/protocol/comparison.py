"""Quality against dose, or scan time: protocols and methods side by side, with confidence over seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rayfold.operators import Volume
from rayfold.recon.metrics import psnr, ssim
from rayfold.recon.protocol.ct import CTProtocol
from rayfold.recon.protocol.facts import unknown
from rayfold.recon.protocol.methods import check_methods, reconstructed
from rayfold.recon.protocol.mri import MRIProtocol
from rayfold.recon.protocol.objects import CTObject
from rayfold.recon.shipped import DEFAULT

Array = Any
AnyProtocol = CTProtocol | MRIProtocol
RANGE_HU = 2000.0  # data range of the metrics for CT, as attenuation by the water value of each protocol
GRID = 128
BINS = 2.0  # in a pixel: of more, filtered back-projection leaves some out
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    rows : tuple of dict
        One per protocol, dose and method: "protocol", "method", "dose" (CT) or "time s" (MRI), "PSNR" and
        "SSIM" (means over the seeds), "PSNR +-" and "SSIM +-" (half widths of their 95 % intervals, nan for
        one seed), "seconds" per image; with tasks "MTF50", "d'", "d' low" and "d' high".
    axis : str
        "dose" or "time s".
    facts : dict
        Phantom, grid, seeds, notes on the grid, data range, and the protocols as TOML.
    images : dict
        Truth and images of the first seed, by name.
    unit : str
        Of the images.
    spacing : tuple of float
        Their pixel size in mm.
    """

    rows: tuple[dict[str, Any], ...]
    axis: str
    facts: dict[str, Any]
    images: dict[str, Array]
    unit: str
    spacing: tuple[float, ...]

    def table(self) -> list[dict[str, Any]]:
        """Rows rounded for reading, intervals written behind their means."""
        from rayfold.recon.protocol.draw import rounded

        return rounded(self)

    def figure(self) -> Any:
        """Each metric against dose or time, a line per protocol and method; a matplotlib figure."""
        from rayfold.recon.protocol.draw import curves

        return curves(self)

    def gallery(self, only: Sequence[str] | None = None) -> Any:
        """The images of the first seed beside the truth; a matplotlib figure.

        Parameters
        ----------
        only : sequence of str, optional
            Names of some of `images`; all by default.

        Raises
        ------
        ValueError
            If there is no image of that name.
        """
        from rayfold.recon import plot
        from rayfold.recon.data import Image

        names = list(self.images) if only is None else ["truth", *only]
        for name in names:
            if name not in self.images:
                raise ValueError(f"there is no image {name!r}; {unknown(name, self.images)}")
        shown = {name: Image(self.images[name], self.spacing, unit=self.unit) for name in names}
        return plot.compare(shown, reference="truth", data_range=self.facts["data_range"])

    def save(self, path: str | Path, *, force: bool = False) -> Path:
        """Write rows and facts as JSON, whole or not at all.

        Raises
        ------
        OutputFailure
            If the file exists and `force` is off, or it cannot be written.
        """
        from rayfold.recon.provenance import provenance, write_json

        about = provenance(configuration=self.facts)
        return write_json(path, {"rows": list(self.rows), "provenance": about}, force=force)


def compare(
    protocols: Mapping[str, AnyProtocol] | Sequence[AnyProtocol],
    phantom: Any = None,
    methods: Sequence[str] | None = None,
    seeds: Sequence[int] = (0, 1, 2),
    *,
    doses: Sequence[float] | None = None,
    n: int = GRID,
    tasks: bool = False,
    prior: str = DEFAULT,
    iterations: int | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Simulate, reconstruct and measure: quality against dose (CT) or scan time (MRI).

    PSNR and SSIM are of the whole image against what an exact scan would show on the same grid, with a data
    range of 2000 HU (CT), or the largest magnitude of the truth (MRI, on magnitudes). All protocols meet the
    same objects and seeds. Their mean over seeds has a Student interval: over the noise, and for "thorax"
    over its anatomies too, which are seeded alike.

    Parameters
    ----------
    protocols : mapping of str to Protocol, or sequence of Protocol
        All CT or all MRI.
    phantom : optional
        CT: "thorax" (default), "shepp-logan", "disc", a table of ellipses or an `Image`; MRI: "head"
        (default), or an image as `finer` takes it.
    methods : sequence of str, optional
        See `reconstructed`; by default "fbp" and "tv", for MRI "sense" and "wavelet".
    seeds : sequence of int
        Of the noise, and of the anatomy where the phantom has one.
    doses : sequence of float, optional
        Relative doses to set each CT protocol to, by its photons; by default as they are.
    n : int
        Pixels per side of CT images; MRI protocols state a matrix, which must be the same for all.
    tasks : bool
        CT: also measure MTF50 of a 500 HU disc and the detectability d' of eight 10 HU discs in a cylinder of
        water, on n x n pixels of two thirds of the finest bin at the axis; two more images per seed.
    prior : str
        Of the method "prior": "small", or a file of weights.
    iterations : int, optional
        Of iterative methods, instead of their own.
    progress : callable, optional
        Called with (images done, images in all).

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If modalities are mixed, matrices differ, or a name is unknown.

    Examples
    --------
    >>> few, many = (CTProtocol(views=v, cols=64, pitch_mm=6.0) for v in (12, 90))
    >>> found = compare({"few": few, "many": many}, methods=["fbp"], seeds=[0], doses=[0.01], n=32)
    >>> [row["protocol"] for row in sorted(found.rows, key=lambda row: row["PSNR"])]
    ['few', 'many']
    """
    named = _named(protocols)
    modality = _modality(named)
    chosen = tuple(methods or (("fbp", "tv") if modality == "CT" else ("sense", "wavelet")))
    check_methods(modality, chosen)
    if not len(seeds):
        raise ValueError("no seed is given; give one, better three")
    thing = phantom if phantom is not None else ("thorax" if modality == "CT" else "head")
    volume = _volume(named, thing, n)
    cases = [
        (name, case)
        for name, p in named.items()
        for case in ([p] if doses is None else [_at_dose(p, dose) for dose in doses])
    ]
    if tasks and modality == "MRI":
        raise ValueError("MTF50 and d' are measured of CT only; leave tasks out")
    per_case = len(chosen) * len(seeds) * (3 if tasks else 1)
    done = [0]

    def tick() -> None:
        done[0] += 1
        if progress is not None:
            progress(done[0], per_case * len(cases))

    images: dict[str, Array] = {}
    rows = []
    how: dict[str, Any] = {"volume": volume, "prior": prior, "iterations": iterations}
    close = how | {"volume": _task_grid(named, n)} if tasks else {}
    axis = "dose" if modality == "CT" else "time s"
    for name, p in cases:
        for method in chosen:
            row = {
                "protocol": name,
                "method": method,
                axis: p.dose if modality == "CT" else p.scan_time / 1000,
            }
            row |= _quality(p, thing, method, seeds, how, images, name, tick)
            if tasks:
                row |= _tasks(p, method, seeds, close, tick)
            rows.append(row)
    facts = {
        "phantom": thing if isinstance(thing, str) else type(thing).__name__,
        "grid": list(volume.shape),
        "spacing_mm": list(volume.steps),
        "seeds": list(seeds),
        "notes": _notes(named, chosen, volume),
        "data_range": rows[0].pop("range"),
        "data_range_means": "2000 HU in 1/mm" if modality == "CT" else "largest magnitude of the truth",
        "protocols": {name: p.to_toml(comments=False) for name, p in named.items()},
    }
    for row in rows[1:]:
        row.pop("range")
    unit = "1/mm" if modality == "CT" else "a.u."
    return Comparison(tuple(rows), axis, facts, images, unit, volume.steps)


def _named(protocols: Mapping[str, AnyProtocol] | Sequence[AnyProtocol]) -> dict[str, AnyProtocol]:
    if isinstance(protocols, Mapping):
        return dict(protocols)
    names = [p.name or f"protocol {i + 1}" for i, p in enumerate(protocols)]
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(f"two protocols are called {twice[0]!r}; give them as a mapping of names")
    return dict(zip(names, protocols, strict=True))


def _modality(named: Mapping[str, AnyProtocol]) -> str:
    kinds = {p.modality for p in named.values()}
    if len(kinds) != 1:
        raise ValueError(
            "CT and MRI protocols are given; compare those of one modality"
            if kinds
            else "no protocol is given"
        )
    return kinds.pop()


def _at_dose(p: AnyProtocol, dose: float) -> AnyProtocol:
    if isinstance(p, MRIProtocol):
        raise ValueError("MRI has no dose; leave it out, and compare scan times")
    return p.at_dose(dose)


def _volume(named: Mapping[str, AnyProtocol], thing: Any, n: int) -> Volume:
    """One grid for all: of the object for CT, of the matrix for MRI."""
    first = next(iter(named.values()))
    if isinstance(first, MRIProtocol):
        grids = {p.volume() for p in named.values()}
        if len(grids) > 1:
            raise ValueError("the protocols have different matrices or fields of view; give them the same")
        return grids.pop()
    if n < 16:
        raise ValueError(f"n is {n}; an image needs 16 pixels per side or more")
    given = CTObject.of(thing, mu_water=first.mu_water_per_mm)
    if given.grid is not None:
        side = max(given.grid.extent)
    else:
        table = given.table
        side = 2.06 * max(math.hypot(row[3], row[4]) + max(row[1], row[2]) for row in table)  # type: ignore[union-attr]
    return Volume((n, n), side / n)


def _notes(named: Mapping[str, AnyProtocol], methods: Sequence[str], volume: Volume) -> list[str]:
    """Where more than `BINS` bins lie in a pixel, which of all methods only the prior takes account of."""
    side, notes = volume.steps[0], []
    for name, p in named.items():
        if isinstance(p, CTProtocol) and side > BINS * p.beam.resolution and set(methods) - {"prior"}:
            here, n = side / p.beam.resolution, round(volume.extent[0] / p.beam.resolution)
            notes.append(
                f"{name}: {here:.1f} bins lie in a pixel of {side:.2g} mm; fbp reads two, solvers miss "
                f"edges within pixels, prior knows of it; on a grid of {n} one bin lies in a pixel"
            )
    return notes


def _task_grid(named: Mapping[str, AnyProtocol], n: int) -> Volume:
    from rayfold.recon.protocol.tasks import task_grid

    return task_grid(min(p.beam.resolution for p in named.values() if isinstance(p, CTProtocol)), n)


def _quality(
    p: AnyProtocol,
    thing: Any,
    method: str,
    seeds: Sequence[int],
    how: dict[str, Any],
    images: dict[str, Array],
    name: str,
    tick: Callable[[], None],
) -> dict[str, Any]:
    """PSNR and SSIM over the seeds; the images of the first are kept."""
    scores: list[tuple[float, float]] = []
    seconds = 0.0
    for k, seed in enumerate(seeds):
        if isinstance(p, CTProtocol):
            this: Any = CTObject.of(thing, seed=seed, mu_water=p.mu_water_per_mm)
            truth, span = this.pixels(how["volume"]), RANGE_HU / 1000 * p.mu_water_per_mm
        else:
            this = thing
            truth = np.abs(p.truth(this))
            span = float(truth.max())
        begin = time.perf_counter()
        image = reconstructed(p, this, method, seed=seed, **how)
        seconds += time.perf_counter() - begin
        image = np.abs(image) if isinstance(p, MRIProtocol) else image
        scores.append((psnr(image, truth, data_range=span), ssim(image, truth, data_range=span)))
        if k == 0:
            at = f", dose {p.dose:.3g}" if p.dose is not None else ""
            images.setdefault("truth", truth)
            images[f"{name}, {method}{at}"] = image
        tick()
    means = np.mean(scores, axis=0)
    half = interval(np.array(scores))
    return {
        "PSNR": float(means[0]),
        "PSNR +-": float(half[0]),
        "SSIM": float(means[1]),
        "SSIM +-": float(half[1]),
        "seconds": seconds / len(seeds),
        "range": span,
    }


def _tasks(
    p: AnyProtocol, method: str, seeds: Sequence[int], how: dict[str, Any], tick: Callable[[], None]
) -> dict[str, float]:
    from rayfold.recon.protocol.tasks import measured, task_phantom

    phantom = task_phantom(how["volume"])
    made: tuple[list[Array], list[Array]] = ([], [])
    for seed in seeds:
        for which, table in enumerate((phantom.present, phantom.absent)):
            apart = int(np.random.SeedSequence([seed, 2 + which]).generate_state(1)[0])
            made[which].append(reconstructed(p, table, method, seed=apart, **how))
            tick()
    return measured(phantom, how["volume"], np.stack(made[0]), np.stack(made[1]))


def interval(values: Array, confidence: float = 0.95) -> Array:
    """Half width of Student's interval of the mean over the first axis; nan for a single value.

    Examples
    --------
    >>> interval(np.array([1.0, 2.0, 3.0])).round(2)
    np.float64(2.48)
    """
    from scipy.special import stdtrit

    count = len(values)
    if count < 2:
        return np.full(np.shape(values)[1:], np.nan)
    spread = np.std(values, axis=0, ddof=1) / math.sqrt(count)
    return spread * float(stdtrit(count - 1, 0.5 + confidence / 2))
