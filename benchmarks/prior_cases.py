"""What the quality benchmark of the prior is made of: cases, what they must reach, baselines kept in a file.

A case is one image in one setting with the score of every method on it. An entry is one line of the target:
a mean over cases, its confidence interval over the images, and whether it is reached. Baselines take long and
do not depend on the weights, so their scores and settings are computed once and kept in a file.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import cpu
from rayfold.recon.io.atomic import atomic_file

Array = Any
BASELINES = Path(__file__).parent / "results" / "prior_baselines.json"
OURS = "prior"
SHORT = "prior, five steps"  # beside it where the thorough way is judged
# two-sided 95 % points of Student's t for 1, 2, ... degrees of freedom; beyond them the normal one
STUDENT = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23, 2.20, 2.18, 2.16, 2.14, 2.13, 2.12)


@dataclass
class Case:
    """Scores and seconds by method, for one image in one setting; `pictures` are for the gallery."""

    task: str
    image: str
    setting: str
    scores: dict[str, float] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, Array] = field(default_factory=dict)

    def gain(self, over: str | Sequence[str]) -> float:
        """Score of the prior above that of a method, or above the best of some."""
        names = (over,) if isinstance(over, str) else over
        return self.scores[OURS] - max(self.scores[name] for name in names)

    def record(self) -> dict[str, Any]:
        """For the file."""
        return {
            "image": self.image,
            "setting": self.setting,
            "scores": {k: round(v, 4) for k, v in self.scores.items()},
            "seconds": {k: round(v, 4) for k, v in self.seconds.items()},
        }


def interval(values: Sequence[float]) -> list[float] | None:
    """Bounds of the 95 % confidence interval of a mean by Student's t; None for a single value."""
    n = len(values)
    if n < 2:
        return None
    point = STUDENT[n - 2] if n - 2 < len(STUDENT) else 1.96
    half = point * float(np.std(values, ddof=1)) / math.sqrt(n)
    mean = float(np.mean(values))
    return [round(mean - half, 4), round(mean + half, 4)]


def entry(
    what: str, target: float, values: Iterable[float], *, most: bool = False, unit: str = "dB", goal: str = ""
) -> dict[str, Any]:
    """A line of the target: at least `target`, or at most where `most`; `values` has one number per image."""
    kept = [float(v) for v in values]
    if not kept:
        raise ValueError(f"no values for {what!r}; a target cannot be judged on nothing")
    mean = float(np.mean(kept))
    return {
        "what": what,
        "target": target,
        "sense": "at most" if most else "at least",
        "unit": unit,
        "value": mean,
        "reached": bool(mean <= target if most else mean >= target),
        "n": len(kept),
        "interval": interval(kept),
        **({"goal": goal} if goal else {}),
    }


def by_image(cases: Iterable[Case], value: Callable[[Case], float]) -> list[float]:
    """One number per image: the mean of `value` over its settings."""
    groups: dict[str, list[float]] = {}
    for case in cases:
        groups.setdefault(case.image, []).append(value(case))
    return [float(np.mean(group)) for group in groups.values()]


def golden(score: Callable[[float], float], low: float, high: float, n: int = 9) -> tuple[float, float]:
    """Argument between `low` and `high` (logarithmic) with the best score, and that score; `n` more calls."""
    ratio = (math.sqrt(5) - 1) / 2
    a, b = math.log(low), math.log(high)
    found: dict[float, float] = {}

    def at(t: float) -> float:
        if t not in found:
            found[t] = score(math.exp(t))
        return found[t]

    c, d = b - ratio * (b - a), a + ratio * (b - a)
    for _ in range(n):
        if at(c) >= at(d):
            b, d = d, c
            c = b - ratio * (b - a)
        else:
            a, c = c, d
            d = a + ratio * (b - a)
    best = max(found, key=lambda t: found[t])
    return math.exp(best), found[best]


@dataclass
class Store:
    """Scores of baselines by task, image and setting; what belongs to another image is computed again."""

    path: Path = BASELINES
    fresh: bool = False
    done: set[str] = field(default_factory=set)

    def rows(self) -> dict[str, Any]:
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def get(
        self, key: str, truth: Array, setting: dict[str, Any], make: Callable[[], dict[str, Any]]
    ) -> dict[str, Any]:
        """The kept row of `key`, or that of `make` (with at least its "score"), kept from now on."""
        stamp = fingerprint(truth, setting)
        row = self.rows().get(key)
        if row is not None and row["stamp"] == stamp and (not self.fresh or key in self.done):
            return dict(row)
        made = {**make(), "stamp": stamp, "cpu": cpu()}
        self.done.add(key)
        rows = {**self.rows(), key: made}  # read again: another run may have added its own
        self.path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(dict(sorted(rows.items())), indent=1) + "\n"
        with atomic_file(self.path, force=True) as temporary:
            temporary.write_text(text)
        print(f"  baseline {key}: {made['score']:.3f}", flush=True)
        return made


def fingerprint(truth: Array, setting: dict[str, Any]) -> str:
    """Digest of an image to three digits of its maximum, and of a setting: the same on every machine."""
    magnitude = abs(np.asarray(truth)).astype(np.float64)
    levels = np.round(1000 * magnitude / magnitude.max()).astype(np.int64)
    return hashlib.sha256(levels.tobytes() + json.dumps(setting, sort_keys=True).encode()).hexdigest()[:16]
