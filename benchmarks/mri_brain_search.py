"""One search for every package: a grid over the maps, then one parameter after the other, finer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import product
from typing import Any, NamedTuple

import numpy as np

Array = Any
Setting = dict[str, Any]
Told = Callable[[int, Array], None]  # an iteration and its image
QUICK = "CG-SENSE, few steps"  # the method of the grid over the maps
SWEEPS = 2  # times that every parameter is gone through


class Task(NamedTuple):
    """Undersampled k-space, the lines measured, and k-space of calibration (with zeros where unmeasured)."""

    kspace: Array
    lines: Array
    calibration: Array
    calibration_lines: Array


@dataclass(frozen=True)
class Method:
    """A reconstruction of a package: its own parameters with their values to try, and its defaults.

    `by_name` makes the image of a package that decides on everything itself.
    """

    run: Callable[[Task, Array, Setting, Told], None]
    values: Mapping[str, tuple[Any, ...]]
    default: Setting
    by_name: Callable[[Task], Array] | None = None


@dataclass(frozen=True)
class Side:
    """A package: how it finds maps, the values of those parameters, its defaults, and its methods.

    `maps` takes a task and a setting and gives the maps and their eigenvalues; `cut` makes the final maps
    from these. The parameters of the maps in `grid` (costly) and `cuts` (cheap) have the values of the full
    grid; `fine` has more of them for the search after it.
    """

    name: str
    maps: Callable[[Task, Setting], tuple[Array, Array]]
    cut: Callable[[Array, Array, Setting], Array]
    grid: Mapping[str, tuple[Any, ...]]
    cuts: Mapping[str, tuple[Any, ...]]
    fine: Mapping[str, tuple[Any, ...]]
    default: Setting
    methods: Mapping[str, Method]


@dataclass
class Score:
    """The best image so far against one target."""

    psnr: float = -np.inf
    setting: Setting = field(default_factory=dict)
    iteration: int = 0
    support: bool = False
    image: Array = None


def scaled(x: Array, target: Array) -> Array:
    """Magnitude, times the factor that comes nearest to the target in least squares."""
    magnitude = abs(np.asarray(x)).astype(np.float64)
    return magnitude * ((magnitude * target).sum() / max((magnitude**2).sum(), 1e-30))


def psnr(x: Array, target: Array) -> float:
    """Peak signal-to-noise ratio over all pixels, with the target's maximum as peak."""
    return float(10 * np.log10(target.max() ** 2 / np.mean((scaled(x, target) - target) ** 2)))


class Trial:
    """Runs one method of a side on one task, and keeps the best image for every target."""

    def __init__(self, side: Side, task: Task, targets: Mapping[str, Array]) -> None:
        self.side, self.task, self.targets = side, task, targets
        self.found: dict[str, tuple[Array, Array]] = {}
        self.tried: dict[tuple[str, str], dict[str, Score]] = {}

    def cut_maps(self, setting: Setting) -> Array:
        """Maps of a setting; the costly part is kept."""
        key = repr([setting[k] for k in self.side.grid])
        if key not in self.found:
            self.found[key] = self.side.maps(self.task, setting)
        return self.side.cut(*self.found[key], setting)

    def evaluate(self, name: str, setting: Setting) -> dict[str, Score]:
        """Best iteration of one setting against every target, as it is and within the support of the maps."""
        key = (name, repr(sorted(setting.items())))
        if key in self.tried:
            return self.tried[key]
        scores = {target: Score() for target in self.targets}
        try:
            maps = self.cut_maps(setting)
        except (ValueError, np.linalg.LinAlgError):
            maps = np.zeros(1)
        if np.isfinite(maps).all() and maps.any():
            support = (abs(maps) > 0).any(axis=0)

            def told(iteration: int, x: Array) -> None:
                for inside in (False, True):
                    seen = x * support if inside else x
                    for target, image in self.targets.items():
                        value = psnr(seen, image)
                        if value > scores[target].psnr:
                            scores[target] = Score(value, setting, iteration, inside, np.array(seen))

            self.side.methods[name].run(self.task, maps, setting, told)
        self.tried[key] = scores
        return scores

    def grid(self) -> None:
        """Every combination of the parameters of the maps, for the quick method."""
        values = {**self.side.grid, **self.side.cuts}
        for chosen in product(*values.values()):
            default = {**self.side.default, **self.side.methods[QUICK].default}
            self.evaluate(QUICK, {**default, **dict(zip(values, chosen, strict=True))})

    def descend(self, name: str, target: str, start: Setting) -> None:
        """From a start, one parameter after the other, until none is better."""
        method = self.side.methods[name]
        values = {**method.values, **self.side.cuts, **self.side.grid, **self.side.fine}
        kept = {parameter: start[parameter] for parameter in self.side.default}
        setting = {**method.default, **kept, **{k: start[k] for k in method.values if k in start}}
        best = self.evaluate(name, setting)[target].psnr
        for _ in range(SWEEPS):
            before = best
            for parameter, choices in values.items():
                at = choices.index(setting[parameter]) if setting[parameter] in choices else 0
                for way in (1, -1):  # uphill from where it is, as far as it goes
                    i = at + way
                    while 0 <= i < len(choices):
                        changed = {**setting, parameter: choices[i]}
                        value = self.evaluate(name, changed)[target].psnr
                        if value > best:
                            best, setting = value, changed
                        elif isinstance(choices[i], float):
                            break
                        i += way
            if best <= before + 0.01:
                break

    def best(self, name: str, target: str) -> Score:
        """Best of everything tried."""
        scores = [v[target] for (n, _), v in self.tried.items() if n == name]
        return max(scores, key=lambda s: s.psnr)

    def search(self, directed: tuple[str, ...]) -> None:
        """The whole search: the grid, then every method from the best maps for each target."""
        self.grid()
        for name in self.side.methods:
            for target in directed if name != QUICK else ():
                start = self.best(QUICK, target).setting
                self.descend(name, target, {k: start[k] for k in self.side.default})
