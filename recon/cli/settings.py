"""Settings of `recon` from defaults, a TOML file, --set and flags, in that order; wrong ones are refused."""

from __future__ import annotations

import argparse
import difflib
import math
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rayfold.recon.errors import UnreadableInput
from rayfold.recon.shipped import THOROUGH_STEPS

# every setting of `recon` by section; a flag of the same name overrides it
DEFAULTS: dict[str, dict[str, Any]] = {
    "input": {
        "center": None,
        "mu_water": None,
        "rows": None,
        "sense": None,
        "geometry": None,
        "pixel_size": None,
        "sequence": None,
        "reference": None,
    },
    "preprocess": {"zingers": False, "rings": None},
    "recon": {
        "method": None,
        "filter": "ram-lak",
        "cutoff": 1.0,
        "iterations": None,
        "grid": None,
        "spacing": None,
        "nonnegative": True,
        "strength": None,
        "weights": None,
        "precision": "float32",
        "thorough": False,
        "device": "auto",
    },
    "output": {"save": [], "hu": False, "certificate": True, "part": "magnitude"},
}
NUMBER, WHOLE, YES_NO, TEXT = (
    (int | float, "a number"),
    (int, "a whole number"),
    (bool, "true or false"),
    (str, "a text"),
)
KINDS: dict[str, tuple[Any, str]] = {
    "center": (int | float | str, "a detector column, as 319.5, or auto"),
    "mu_water": NUMBER,
    "rows": (int | str, "a number or a range, as 10:20"),
    "sense": TEXT,
    "geometry": (str | dict, "the name of a TOML file"),
    "pixel_size": NUMBER,
    "sequence": (str, "the name of a .seq file"),
    "reference": (str, "the name of a raw file"),
    "part": TEXT,
    "zingers": YES_NO,
    "rings": TEXT,
    "method": TEXT,
    "filter": TEXT,
    "cutoff": NUMBER,
    "iterations": WHOLE,
    "grid": WHOLE,
    "spacing": NUMBER,
    "nonnegative": YES_NO,
    "strength": NUMBER,
    "weights": (str, "small or base, or the name of a .safetensors file"),
    "precision": TEXT,
    "thorough": YES_NO,
    "certificate": YES_NO,
    "device": TEXT,
    "hu": YES_NO,
}
METHODS = ("fbp", "cgls", "sirt", "sart", "tv", "tgv", "wavelet", "pwls", "os-sqs", "prior")
REGULARISED = ("tv", "tgv", "wavelet", "pwls", "os-sqs", "prior")
MRI_METHODS = ("rss", "mvue", "gridding", "sense", "wavelet", "tv", "grappa", "lps", "prior")
PRECISIONS = ("float32", "bfloat16")
PARTS = ("magnitude", "phase", "complex")
FILTERS = ("ram-lak", "shepp-logan", "cosine", "hamming", "hann")
RINGS = ("sorting", "all", "filtering", "fitting", "dead")
CHOICES = {
    "method": (*METHODS, *(name for name in MRI_METHODS if name not in METHODS)),
    "filter": FILTERS,
    "rings": RINGS,
    "sense": ("ccw", "cw"),
    "part": PARTS,
    "precision": PRECISIONS,
}
POSITIVE = {
    "grid": "in pixels per side",
    "spacing": "in mm",
    "iterations": "in steps",
    "strength": "in units of the data term over those of the image (of prior: a factor, 1 as trained)",
    "mu_water": "in 1/mm, about 0.02",
    "pixel_size": "in mm",
}
FORMATS = ("dicom", "tiff", "h5")


def resolve(args: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Settings of `recon` from all their sources.

    Raises
    ------
    UnreadableInput
        If the settings file is missing or no TOML.
    ValueError
        For an unknown setting (with the nearest known ones) or a value of the wrong kind.
    """
    settings = {section: dict(values) for section, values in DEFAULTS.items()}
    if args.config:
        for section, values in _read(Path(args.config)).items():
            if section not in settings or not isinstance(values, dict):
                raise ValueError(f"{args.config}: unknown section [{section}]; {_near(section, settings)}")
            for key, value in values.items():
                _put(settings, section, key, value, args.config)
    for item in args.set:
        name, equals, text = item.partition("=")
        section, dot, key = name.strip().partition(".")
        if not (equals and dot):
            raise ValueError(f"--set {item}: write it as section.name=value, for example recon.cutoff=0.8")
        if section not in settings:
            raise ValueError(f"--set {item}: unknown section {section}; {_near(section, settings)}")
        _put(settings, section, key.strip(), _value(text.strip()), f"--set {item}")
    for section, values in settings.items():
        for key in values:
            given = getattr(args, key, None)
            if given is not None:
                _put(settings, section, key, given, _flag(key))
    check_prior(settings["recon"])
    if settings["recon"]["method"] in METHODS and settings["recon"]["method"] not in MRI_METHODS:
        check_method(settings["recon"], args)
    return settings


def check_method(how: dict[str, Any], args: argparse.Namespace) -> None:
    """A setting that a method of CT would ignore is a mistake, not a detail."""
    method = how["method"]
    if method not in METHODS:
        raise ValueError(f"{method} is a method for k-space and this is a CT scan; choose {one_of(METHODS)}")
    if method == "fbp" and how["iterations"] is not None:
        raise ValueError("fbp has no iterations; leave --iterations out, or choose an iterative --method")
    if method not in REGULARISED and how["strength"] is not None:
        raise ValueError(f"{method} has no strength; leave --strength out, or choose {one_of(REGULARISED)}")
    for name in ("filter", "cutoff"):
        if method != "fbp" and getattr(args, name) is not None:
            raise ValueError(f"{method} has no {name}; leave --{name} out, or choose --method fbp")


def check_prior(how: dict[str, Any]) -> None:
    """Weights, precision and thoroughness are for the learned prior alone; the last has steps of its own."""
    given = [name for name in ("weights", "precision", "thorough") if how[name] != DEFAULTS["recon"][name]]
    if given and how["method"] != "prior":
        raise ValueError(
            f"{given[0]} is of the learned prior; leave --{given[0]} out, or choose --method prior"
        )
    if how["thorough"] and how["iterations"] is None:
        how["iterations"] = THOROUGH_STEPS


def input_options(args: argparse.Namespace) -> dict[str, Any]:
    """Keyword arguments of `load` from the flags; "auto" as centre is left to `prepare`."""
    return load_options({key: getattr(args, key) for key in DEFAULTS["input"]})


def load_options(values: dict[str, Any]) -> dict[str, Any]:
    """Keyword arguments of `load`."""
    options = {key: value for key, value in values.items() if value is not None}
    if options.get("center") == "auto":
        del options["center"]
    elif "center" in options:
        options["center"] = _column(options["center"])
    return options


def _column(text: Any) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"--center {text}: give a detector column, as 319.5, or auto") from None


def _put(settings: dict[str, dict[str, Any]], section: str, key: str, value: Any, where: str) -> None:
    """Set one value, refusing what can be refused before any file is opened."""
    if key not in settings[section]:
        raise ValueError(f"{where}: unknown setting {section}.{key}; {_near(key, settings[section])}")
    place = where if where == _flag(key) else f"{where}: {section}.{key}"
    if key == "save":
        value = _formats(value, place)
    elif value is not None:
        _check(key, value, place)
    settings[section][key] = value


def _check(key: str, value: Any, place: str) -> None:
    def wrong(allowed: str) -> ValueError:
        return ValueError(f"{place} is {value!r}; it must be {allowed}")

    kinds, words = KINDS[key]
    if not isinstance(value, kinds) or (isinstance(value, bool) and kinds is not bool):
        raise wrong(words)
    if key in CHOICES and value not in CHOICES[key]:
        raise wrong(one_of(CHOICES[key]))
    if key in POSITIVE and not 0 < value < math.inf:
        raise wrong(f"positive, {POSITIVE[key]}")
    if key == "rows" and not re.fullmatch(r"-?\d+|-?\d*:-?\d*", str(value)):
        raise wrong(words)
    if key == "cutoff" and not 0 < value <= 1:
        raise wrong("above 0 and at most 1, the part of the Nyquist frequency to keep")


def _formats(value: Any, place: str) -> list[str]:
    names = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
    known = isinstance(names, list) and all(name in FORMATS for name in names)
    if not known:
        raise ValueError(
            f"{place} is {value!r}; it must be a list of {one_of(FORMATS)}, as {','.join(FORMATS[:2])}"
        )
    return list(dict.fromkeys(names))


def _flag(key: str) -> str:
    return f"--{key.replace('_', '-')}"


def one_of(names: Sequence[str]) -> str:
    """Names as a sentence lists them."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


def _near(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=3)
    return f"did you mean {', '.join(close)}?" if close else f"known are {', '.join(known)}"


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnreadableInput(f"{path.name} cannot be read: {error.strerror}; check --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnreadableInput(f"{path.name} is not valid TOML: {error}") from error


def _value(text: str) -> Any:
    """A TOML value, or the text itself."""
    try:
        return tomllib.loads(f"v = {text}")["v"]
    except tomllib.TOMLDecodeError:
        return text
