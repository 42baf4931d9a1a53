"""Limited-angle CT on measured data without learning: the Helsinki Tomography Challenge 2022.

Run from the repository root: ``python -m benchmarks.htc_limited_angle --data FOLDER``, with the folder of the
full scans (https://zenodo.org/records/8041800). Each of the discs ta, tb, tc, td is reconstructed from its
first 90, 60 and 30 degrees, parted into acrylic and air, and compared with the official segmentation of the
full scan by the Matthews correlation, beside two published entries of the challenge made without learning.

What is known beforehand: the material is one, the discs are cut to one size, and holes keep clear of the rim.
The scan of the solid disc gives the size and the beam hardening. The recipe is one for all discs and ranges;
its few numbers were chosen with these four discs in view, so the scores are those of a development set.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / ".dev"))

import numpy as np  # noqa: E402

from benchmarks.machine import commit, cpu, versions  # noqa: E402
from rayfold.operators import FanBeam, Volume, XRay  # noqa: E402
from rayfold.operators.noise import Gaussian  # noqa: E402
from rayfold.recon import Problem, load  # noqa: E402
from rayfold.recon.preprocess.hardening import Hardening, unveil  # noqa: E402
from rayfold.recon.priors import TV, Box  # noqa: E402
from rayfold.recon.priors.directional import DirectionalTV  # noqa: E402
from rayfold.recon.priors.two_level import TwoLevel  # noqa: E402
from rayfold.recon.problem import estimate_photons  # noqa: E402
from rayfold.recon.segment import matthews, otsu  # noqa: E402
from rayfold.recon.solvers.pdhg import PDHG  # noqa: E402

Array = Any
Opinion = Callable[[Array, float], Array]  # what an image is taken for, at a pull towards the two levels
DISCS, RANGES = ("ta", "tb", "tc", "td"), (90, 60, 30)
PIXELS, SPACING = 512, 0.1483223  # the official grid, mm
# Matthews correlations of two entries of the challenge (core imaging library team, algorithms 1 and 2)
PUBLISHED = {
    "ta": {90: (0.973, 0.988), 60: (0.953, 0.963), 30: (0.891, 0.916)},
    "tb": {90: (0.932, 0.933), 60: (0.884, 0.892), 30: (0.759, 0.785)},
    "tc": {90: (0.951, 0.956), 60: (0.901, 0.918), 30: (0.795, 0.830)},
    "td": {90: (0.960, 0.967), 60: (0.958, 0.960), 30: (0.939, 0.940)},
}
AIR = 0.1  # attenuation below which a ray has met no acrylic
EDGE = 0.15  # attenuation at which the shadow of a disc begins


@dataclass(frozen=True)
class Recipe:
    """The numbers of the method: lengths in mm; `edges` per mm of edge and degree; `pulls`, parts of it."""

    edges: float = 0.073  # isotropic total variation
    across: float = 3.0  # total variation across the rays, in parts of the isotropic one
    mismatch: float = 0.28  # error of the model in mm per ray, beside the photons'
    rim: float = 2.0  # holes keep this far from the rim
    ring: tuple[float, float] = (1.9, 5.4)  # rays this far inside the rim mostly miss the holes
    pulls: tuple[float, ...] = (0.3, 0.6, 0.9, 1.2, 1.5, 1.8, 2.2, 2.7, 3.3, 4.0)  # towards two levels
    opening: int = 300  # steps before the first pull
    steps: int = 120  # steps at each pull
    tangents: int = 3  # times the pull is redirected meanwhile
    grids: tuple[int, ...] = (128, 256, 512)  # the pulls on the first; the last pull goes on on the others
    closing: int = 200  # steps on each grid but the first


class Circle(NamedTuple):
    """A disc in the plane, mm."""

    x: float
    y: float
    radius: float


class Disc(NamedTuple):
    """A scan of a disc, ready to be reconstructed: attenuation against air, and the disc's place."""

    attenuation: Array
    beam: FanBeam
    circle: Circle


# --- where the disc is, and how its material hardens the beam ---


def distances(beam: FanBeam, x: float, y: float) -> Array:
    """Signed distance in mm of a point from every ray, ``(views, cols)``."""
    sx, sy, cx, cy, ux, uy = beam.vectors.T[:, :, None]
    at = np.arange(beam.n_cols) - (beam.n_cols - 1) / 2
    dx, dy = cx + at * ux - sx, cy + at * uy - sy
    return ((x - sx) * dy - (y - sy) * dx) / np.hypot(dx, dy)


def chords(beam: FanBeam, circle: Circle) -> Array:
    """Length in mm of every ray within a circle."""
    off = distances(beam, circle.x, circle.y)
    return 2 * np.sqrt(np.clip(circle.radius**2 - off**2, 0, None))


def outline(attenuation: Array, beam: FanBeam) -> Circle:
    """Circle whose tangents are the edges of the shadow."""
    from scipy.optimize import least_squares

    inside = attenuation > EDGE
    views = np.arange(len(attenuation))
    first = inside.argmax(axis=1)
    last = inside.shape[1] - 1 - inside[:, ::-1].argmax(axis=1)
    edges = []
    for near, far in ((first, first - 1), (last, last + 1)):
        a, b = attenuation[views, near], attenuation[views, far]
        edges.append(near + (far - near) * (a - EDGE) / (a - b))

    def misses(circle: Array) -> Array:
        off = distances(beam, circle[0], circle[1])
        cols = np.arange(beam.n_cols)
        at = [[np.interp(e, cols, row) for e, row in zip(edge, off, strict=True)] for edge in edges]
        return np.concatenate([np.abs(at[0]) - circle[2], np.abs(at[1]) - circle[2]])

    start = [0.0, 0.0, float(np.ptp(edges)) * beam.resolution / 2]
    found = least_squares(misses, start, loss="soft_l1", f_scale=0.25 * beam.resolution).x
    return Circle(*map(float, found))


def read(path: Path, views: slice) -> Disc:
    """Some views of a scan, with air at 0."""
    scan = load(path).take_views(views)
    p = np.asarray(scan.data, np.float64)
    p -= np.median(p[p < AIR])
    return Disc(p, scan.beam, outline(p, scan.beam))


def calibrate(disc: Disc) -> tuple[float, Hardening]:
    """Radius and hardening of the solid disc: the radius at which one curve fits all rays best."""
    from scipy.optimize import minimize_scalar

    def fit(radius: float) -> tuple[Hardening, float]:
        off = np.abs(distances(disc.beam, disc.circle.x, disc.circle.y))
        clear = np.abs(off - radius) > 1.0  # blur rules at the rim
        lengths = chords(disc.beam, disc.circle._replace(radius=radius))[clear]
        curve = Hardening.fit(disc.attenuation[clear], lengths)
        return curve, float(np.mean((curve.lengths(disc.attenuation[clear]) - lengths) ** 2))

    apparent = disc.circle.radius
    bounds = (apparent - 0.5, apparent + 0.5)
    radius = float(minimize_scalar(lambda r: fit(r)[1], bounds=bounds, method="bounded").x)
    return radius, fit(radius)[0]


# --- the reconstruction ---


class Level(NamedTuple):
    """The problem on one grid: data are lengths in mm, the image is the part of acrylic."""

    problem: Problem
    attenuation: Array
    lower: Array
    upper: Array
    tv: TV
    across: DirectionalTV


def merged(values: Array, views: int, bins: int) -> Array:
    """Means over groups of neighbouring views and bins."""
    n = len(values) // views * views
    return values[:n].reshape(n // views, views, -1, bins).mean(axis=(1, 3))


def pose(disc: Disc, hardening: Hardening, n: int, recipe: Recipe) -> Level:
    """The problem on n x n pixels; coarse grids take merged rays."""
    bins = PIXELS // n
    views = min(bins, 2)
    beam, h = disc.beam, SPACING * bins
    span = float(np.rad2deg(abs(beam.angles[-1] - beam.angles[0])))
    photons = estimate_photons(disc.attenuation).photons
    p = merged(disc.attenuation, views, bins)
    angles = merged(beam.angles[:, None], views, 1)[:, 0]
    A = XRay(Volume((n, n), h), replace(beam, angles=angles, n_cols=p.shape[1], pitch=beam.pitch * bins))
    noise = np.exp(np.clip(p, 0, None)) / photons * hardening.slopes(np.clip(p, 0, None)) ** 2
    sigma = np.sqrt((noise + recipe.mismatch**2) / (views * bins)).astype(np.float32)
    y, x = np.meshgrid(*2 * [(np.arange(n) - (n - 1) / 2) * h], indexing="ij")
    inward = disc.circle.radius - np.hypot(x - disc.circle.x, y - disc.circle.y)
    upper = np.clip(inward / h + 0.5, 0, 1).astype(np.float32)
    lower = np.where(inward < recipe.rim, upper, np.float32(0))
    strength = recipe.edges * span * h
    return Level(
        Problem(A, hardening.lengths(p).astype(np.float32), Gaussian(sigma)),
        p,
        lower,
        upper,
        TV(strength),
        DirectionalTV(recipe.across * strength, float(np.mean(beam.angles))),
    )


def unveiled(level: Level, hardening: Hardening, x: Array) -> Level:
    """The same with the constant part of the transmission found anew, from the lengths of an image."""
    lengths = level.problem.A(x)
    some = (lengths > 3) & (level.problem.y > 5)
    weights = 1 / level.problem.noise.sigma[some] ** 2  # type: ignore[union-attr]
    veil = hardening.veil(level.attenuation[some], lengths[some], weights)
    p = unveil(level.attenuation, veil)
    y = hardening.lengths(p).astype(np.float32)
    return level._replace(attenuation=p, problem=level.problem._replace(y=y))


def descend(
    level: Level, state: Any, pull: float, n: int, recipe: Recipe, opinion: Opinion | None = None
) -> Any:
    """`n` steps; the pull towards the two levels is that of the image before them, or of an opinion on it."""
    bounds: Box | TwoLevel = Box(level.lower, level.upper)
    if pull > 0:
        at = state.x if opinion is None else np.clip(opinion(state.x, pull), level.lower, level.upper)
        bounds = TwoLevel(pull * level.tv.strength, level.lower, level.upper).around(at)
    solver = PDHG((level.tv, level.across, bounds))
    if not isinstance(state, tuple):
        state = solver.init(level.problem, state)
    for _ in range(n):
        state = solver.step(level.problem, state)
    return state


def twice(x: Array) -> Array:
    """Image on a grid of half the spacing, linear in between."""
    for axis in (0, 1):
        x = np.moveaxis(x, axis, 0)
        ahead, behind = np.concatenate([x[1:], x[-1:]]), np.concatenate([x[:1], x[:-1]])
        x = np.stack([0.75 * x + 0.25 * behind, 0.75 * x + 0.25 * ahead], axis=1)
        x = np.moveaxis(x.reshape(-1, *x.shape[2:]), 0, axis)
    return x


def reconstruct(
    disc: Disc,
    hardening: Hardening,
    recipe: Recipe,
    told: Callable[[str, Array], None] | None = None,
    opinion: Opinion | None = None,
) -> tuple[Array, Array]:
    """Part of acrylic on the official grid, and the disc's own pixels."""
    off = disc.circle.radius - np.abs(distances(disc.beam, disc.circle.x, disc.circle.y))
    rays = (off > recipe.ring[0]) & (off < recipe.ring[1])
    veil = hardening.veil(disc.attenuation[rays], chords(disc.beam, disc.circle)[rays])
    disc = disc._replace(attenuation=unveil(disc.attenuation, veil))
    level = pose(disc, hardening, recipe.grids[0], recipe)
    state = descend(level, 0.8 * level.upper, 0.0, recipe.opening, recipe)
    if told:
        told("convex", state.x)
    for pull in recipe.pulls:
        level = unveiled(level, hardening, state.x)
        for _ in range(recipe.tangents):
            state = descend(level, state, pull, recipe.steps // recipe.tangents, recipe, opinion)
        if told:
            told(f"pull {pull:g}", state.x)
    last = recipe.pulls[-1]
    for n in recipe.grids[1:]:
        x = twice(state.x)
        level = unveiled(pose(disc, hardening, n, recipe), hardening, x)
        solver = PDHG((level.tv, level.across, Box(level.lower, level.upper)))
        state = solver.init(level.problem, np.clip(x, level.lower, level.upper))
        for _ in range(recipe.tangents):
            state = descend(level, state, last, recipe.closing // recipe.tangents, recipe, opinion)
        if told:
            told(f"grid {n}", state.x)
    return state.x, level.upper == 1


def parted(x: Array, within: Array) -> Array:
    """Acrylic or air, by Otsu's threshold of the disc's own pixels."""
    return (x > otsu(x[within])[0]) & (within | (x > 0.5))


# --- the comparison ---


def official(data: Path, name: str) -> Array:
    """The challenge's segmentation of the full scan, rows upwards."""
    from scipy.io import loadmat

    content = loadmat(data / f"htc2022_{name}_full_recon_fbp_seg.mat")
    (labels,) = (value for key, value in content.items() if not key.startswith("__"))
    return np.asarray(labels)[::-1] > 0


def hardware() -> dict[str, Any]:
    """Machine and versions."""
    return {
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "packages": versions(("numpy", "numba", "scipy")),
        "commit": commit(),
    }


def main() -> int:
    """Reconstruct, compare, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder of the challenge's full scans")
    default = Path(__file__).parent / "results" / "htc_limited_angle.json"
    parser.add_argument("--out", type=Path, default=default, help="JSON to write")
    parser.add_argument("--discs", nargs="+", choices=DISCS, default=DISCS)
    parser.add_argument("--ranges", nargs="+", type=int, choices=RANGES, default=RANGES)
    parser.add_argument("--images", type=Path, help="folder for the images and labels as .npz")
    given = parser.parse_args()
    recipe = Recipe()
    radius, hardening = calibrate(read(given.data / "htc2022_solid_disc_full.mat", slice(0, 720)))
    print(f"solid disc: radius {radius:.3f} mm, hardening {hardening}")
    rows = []
    for span in given.ranges:
        for name in given.discs:
            start = time.perf_counter()
            disc = read(given.data / f"htc2022_{name}_full.mat", slice(0, 2 * span + 1))
            disc = disc._replace(circle=disc.circle._replace(radius=radius))
            x, within = reconstruct(disc, hardening, recipe)
            found = parted(x, within)
            seconds = time.perf_counter() - start
            score = matthews(found, official(given.data, name))
            first, second = PUBLISHED[name][span]
            rows.append(
                {
                    "disc": name,
                    "degrees": span,
                    "views": 2 * span + 1,
                    "matthews": score,
                    "published": [first, second],
                    "seconds": seconds,
                }
            )
            print(
                f"{name} {span:3d} deg: {score:.4f}  (published {first}, {second})  {seconds:.0f} s",
                flush=True,
            )
            if given.images:
                given.images.mkdir(parents=True, exist_ok=True)
                np.savez_compressed(given.images / f"{name}_{span}.npz", x=x, found=found)
    means = {
        "rayfold": float(np.mean([row["matthews"] for row in rows])),
        "published": [float(np.mean([row["published"][i] for row in rows])) for i in (0, 1)],
    }
    print("mean", means)
    result = {
        "task": "Helsinki Tomography Challenge 2022, training discs, first degrees of the scan, no learning",
        "chosen_on": "these discs and their official segmentations, one recipe for all discs and ranges",
        "recipe": asdict(recipe),
        "radius_mm": radius,
        "hardening": hardening.coefficients,
        "rows": rows,
        "means": means,
        "hardware": hardware(),
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
