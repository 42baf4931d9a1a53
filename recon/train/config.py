"""What a training of the prior is made of, as TOML: sizes, images, batches, rate, time."""

from __future__ import annotations

import json
import math
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rayfold.recon.errors import UnreadableInput
from rayfold.recon.foundation.network import SIZES
from rayfold.recon.protocol.facts import unknown
from rayfold.recon.train.loop import Plan

HOME = Path(__file__).parent / "configs"
STAGES = ("denoise", "restore", "both")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Images:
    """Synthetic images, as `Pool` takes them: `window` at a time, from seed `seed` on."""

    side: int = 192
    window: int = 300
    hold: int = 3
    seed: int = 0
    complex_part: float = 0.4
    grain: float = 0.3
    sharp: float = 0.4


@dataclass(frozen=True)
class Patches:
    """How many images a step sees, and their side in pixels."""

    batch: int = 16
    side: int = 64


@dataclass(frozen=True)
class NoisyPatches(Patches):
    """Patches with noise, its level drawn between two parts of what is bright."""

    low: float = 0.0002
    high: float = 0.5


@dataclass(frozen=True)
class Scans(Patches):
    """Scans of patches, and how often each kind is drawn, relative to each other."""

    batch: int = 4
    side: int = 96
    ct: float = 0.48
    mri: float = 0.40
    superresolution: float = 0.12


@dataclass(frozen=True)
class Config:
    """One training; `read_config` makes it from a file.

    Parameters
    ----------
    size : str
        Of the network: "small" or "base".
    stage : {"denoise", "restore", "both"}
        Removal of noise; reconstruction of random scans, and removal of noise beside it; one after the other.
    alone : int
        With "both": steps at the beginning that remove noise only.
    start : str
        Weights to begin with: "small", "base" or a file; "" for random ones.
    rank : int
        Train a change of this rank beside the weights of `start`: with "denoise" one for images with noise
        alone, on from the one that `start` has, beside weights that stay; with "restore" one that is then
        added to the weights, while what they do to noise alone stays (`Change`), and `share` must be 0. 0
        trains the weights themselves.
    unrolled : int
        Steps of a reconstruction.
    steps, rate, warmup, clip, average, seed
        See `Plan`.
    share : float
        Weight of the loss of noise removal beside that of reconstruction; with 0 there is none.
    precision : {"float32", "bfloat16"}
        Of the convolutions; physics is always computed in float32.
    minutes : float
        Most wall time, 0 for no limit; the learning rate then falls with the time as well.
    save : int
        Steps between two saves.
    workers : int
        Processes that make images ahead, for each of the `processes`; 0 makes them when they are needed. The
        images are the same.
    processes : int
        Train as many samples in every step, each in a process of its own with a part of the cores. On a GPU,
        which a single process of small physical operators cannot fill.
    images : Images
        The synthetic images.
    denoise, restore : NoisyPatches, Scans
        Batches of both stages.

    Raises
    ------
    ValueError
        For values that are not allowed.
    """

    size: str = "small"
    stage: str = "denoise"
    alone: int = 0
    start: str = ""
    rank: int = 0
    unrolled: int = 4
    steps: int = 10000
    rate: float = 1e-3
    warmup: int = 50
    clip: float = 1.0
    average: float = 0.995
    seed: int = 0
    share: float = 0.5
    precision: str = "bfloat16"
    minutes: float = 0.0
    save: int = 250
    workers: int = 0
    processes: int = 1
    images: Images = field(default_factory=Images)
    denoise: NoisyPatches = field(default_factory=NoisyPatches)
    restore: Scans = field(default_factory=Scans)

    def __post_init__(self) -> None:
        for name, allowed in (("size", tuple(SIZES)), ("stage", STAGES), ("precision", PRECISIONS)):
            if getattr(self, name) not in allowed:
                hint = unknown(str(getattr(self, name)), allowed)
                raise ValueError(f"{name} is {getattr(self, name)!r}; {hint}")
        for part in (self, self.images, self.denoise, self.restore):
            _check(part, "" if part is self else _section(self, part))
        if (self.stage == "both") != (self.alone > 0) or self.alone >= self.steps:
            raise ValueError(
                f"alone is {self.alone} of {self.steps} steps in stage {self.stage}; stage both needs some "
                "and fewer than all, the others none"
            )
        if self.rank and not (self.start and self.stage != "both"):
            raise ValueError(
                f"rank is {self.rank}; a change is trained beside the weights of start, in stage denoise or "
                "restore"
            )
        if self.rank and self.stage == "restore" and self.share:
            raise ValueError(
                f"share is {self.share}; a change for restoring leaves noise removal as it is: set share to 0"
            )
        if self.denoise.low > self.denoise.high:
            raise ValueError(
                f"denoise.low is {self.denoise.low}; denoise.high, {self.denoise.high}, must not be smaller"
            )
        if self.denoise.side > self.images.side:
            raise ValueError(
                f"denoise.side is {self.denoise.side}; images.side, {self.images.side}, must not be smaller"
            )
        if not self.restore.ct + self.restore.mri + self.restore.superresolution:
            raise ValueError(
                "restore.ct, restore.mri and restore.superresolution are all 0; raise one of them"
            )
        _ = self.plan

    @property
    def plan(self) -> Plan:
        """What the loop needs of it."""
        return Plan(self.steps, self.rate, self.warmup, self.clip, self.average, self.seed)

    @property
    def alone_until(self) -> int:
        """The first step that reconstructs scans."""
        return {"denoise": self.steps, "restore": 0, "both": self.alone}[self.stage]

    def to_toml(self) -> str:
        """The same as text that `read_config` takes."""
        lines, sections = [], []
        for key, value in asdict(self).items():
            if isinstance(value, dict):
                sections += [f"\n[{key}]", *(f"{k} = {_toml(v)}" for k, v in value.items())]
            else:
                lines.append(f"{key} = {_toml(value)}")
        return "\n".join([*lines, *sections]) + "\n"


POSITIVE = (
    "unrolled",
    "steps",
    "rate",
    "clip",
    "save",
    "side",
    "window",
    "hold",
    "batch",
    "processes",
    "low",
    "high",
)


def _check(part: Any, section: str) -> None:
    for each in fields(part):
        value, place = getattr(part, each.name), f"{section}{each.name}"
        kind = type(each.default)
        if kind not in (int, float, str):  # a section
            continue
        fits = isinstance(value, int | float if kind is float else kind) and not isinstance(value, bool)
        if not fits:
            words = {int: "a whole number", float: "a number", str: "a text"}[kind]
            raise ValueError(f"{place} is {value!r}; it must be {words}")
        if kind is str:
            continue
        low_ok = value > 0 if each.name in POSITIVE else value >= 0
        if not (low_ok and math.isfinite(value)):
            raise ValueError(
                f"{place} is {value!r}; it must be {'positive' if each.name in POSITIVE else '0 or more'}"
            )
        if each.name in ("complex_part", "grain", "sharp") and value > 1:
            raise ValueError(f"{place} is {value!r}; it must be at most 1, for all images")
        if each.name == "side" and value < 16:
            raise ValueError(f"{place} is {value!r}; images have 16 pixels or more")


def _section(config: Config, part: Any) -> str:
    return next(f"{f.name}." for f in fields(config) if getattr(config, f.name) is part)


def names() -> list[str]:
    """The trainings that come with the package.

    Examples
    --------
    >>> names()[:3]
    ['change-base', 'change-restore-base', 'denoiser-base']
    """
    return sorted(path.stem for path in HOME.glob("*.toml"))


def read_config(name: str | Path, **changes: Any) -> Config:
    """A training of the package by its name, or one of a TOML file.

    Parameters
    ----------
    name : str or Path
        Name or path.
    **changes
        Fields of `Config` to be set otherwise.

    Raises
    ------
    UnreadableInput
        If there is no such file, or it is no TOML.
    ValueError
        For an unknown name in it, with the nearest known one, or a value that is not allowed.

    Examples
    --------
    >>> read_config("denoiser-small").denoise
    NoisyPatches(batch=16, side=64, low=0.0002, high=0.5)
    """
    path = HOME / f"{name}.toml" if str(name) in names() else Path(name)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = unknown(str(name), names())
        raise UnreadableInput(f"there is no configuration or file {str(name)!r}; {near}") from None
    except OSError as error:
        raise UnreadableInput(f"{path.name} cannot be read: {error.strerror}; check the path") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnreadableInput(f"{path.name} is not valid TOML: {error}") from error
    try:
        return replace(_made(content), **changes)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from error


def _made(content: dict[str, Any]) -> Config:
    known = {f.name: f for f in fields(Config)}
    values: dict[str, Any] = {}
    for key, value in content.items():
        if key not in known:
            raise ValueError(f"unknown setting {key}; {unknown(key, known)}")
        part = {"images": Images, "denoise": NoisyPatches, "restore": Scans}.get(key)
        if (part is None) == isinstance(value, dict):
            raise ValueError(f"{key} is {'a section' if part else 'a value, not a section'}; mend its place")
        if part is None:
            values[key] = value
            continue
        inner = {f.name for f in fields(part)}
        for name in value:
            if name not in inner:
                raise ValueError(f"unknown setting {key}.{name}; {unknown(name, sorted(inner))}")
        values[key] = replace(getattr(Config(), key), **value)
    return Config(**values)


def _toml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)
