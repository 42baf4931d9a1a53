"""Options of the verbs, and settings resolved from defaults, a TOML file, --set and flags, in that order."""

from __future__ import annotations

import argparse
import difflib
import tomllib
from pathlib import Path
from typing import Any

from rayfold.recon.errors import UnreadableInput

# every setting of `recon` by section; a flag of the same name overrides it
DEFAULTS: dict[str, dict[str, Any]] = {
    "input": {
        "center": None,
        "mu_water": None,
        "rows": None,
        "sense": None,
        "geometry": None,
        "pixel_size": None,
    },
    "preprocess": {"zingers": False, "rings": None},
    "recon": {
        "method": "fbp",
        "filter": "ram-lak",
        "cutoff": 1.0,
        "iterations": None,
        "grid": None,
        "spacing": None,
        "nonnegative": True,
        "device": "auto",
    },
    "output": {"save": [], "hu": False},
}
KINDS: dict[str, type] = {
    "mu_water": float,
    "pixel_size": float,
    "cutoff": float,
    "spacing": float,
    "iterations": int,
    "grid": int,
    "zingers": bool,
    "nonnegative": bool,
    "hu": bool,
}
FORMATS = ("dicom", "tiff", "h5")


def add_common(sub: argparse.ArgumentParser, output: str | None, *, seed: bool) -> None:
    """Options that every verb has."""
    if output:
        sub.add_argument("-o", "--output", metavar="PATH", help=output)
        sub.add_argument("--force", action="store_true", help="replace results that exist")
    if seed:
        sub.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the noise")
    sub.add_argument("--json", action="store_true", help="machine-readable result on standard output")
    sub.add_argument("--quiet", action="store_true", help="no progress and no remarks")
    sub.add_argument("--verbose", action="store_true", help="tracebacks and more detail")


def add_input(sub: argparse.ArgumentParser) -> None:
    """Options that complete what a raw file says."""
    group = sub.add_argument_group("what the file does not say")
    group.add_argument(
        "--center", metavar="COL|auto", help="detector column of the rotation axis, or find it"
    )
    group.add_argument("--mu-water", type=float, metavar="PER_MM", help="attenuation of water, for HU")
    group.add_argument("--rows", metavar="A:B", help="detector rows: one number or a range")
    group.add_argument("--sense", choices=("ccw", "cw"), help="turning sense of the angles")
    group.add_argument("--geometry", metavar="TOML", help="geometry; by default FILE.toml beside the data")
    group.add_argument("--pixel-size", type=float, metavar="MM", help="detector bin distance")


def add_recon(sub: argparse.ArgumentParser) -> None:
    """Options of `recon`."""
    add_input(sub)
    how = sub.add_argument_group("reconstruction")
    how.add_argument("--method", help="fbp (default), cgls or sirt")
    how.add_argument("--filter", help="ram-lak (default), shepp-logan, cosine, hamming or hann")
    how.add_argument("--cutoff", type=float, metavar="F", help="fraction of the Nyquist frequency, default 1")
    how.add_argument("--iterations", type=int, metavar="N", help="steps of cgls (12) or sirt (100)")
    how.add_argument("--grid", type=int, metavar="N", help="pixels per side; default: the field of view")
    how.add_argument("--spacing", type=float, metavar="MM", help="pixel size; default: bin pitch at the axis")
    how.add_argument("--device", metavar="NAME", help="auto (default), cpu, cuda or cuda:N")
    how.add_argument("--zingers", action="store_true", default=None, help="remove zingers")
    how.add_argument("--rings", metavar="METHOD", help="remove rings: sorting, filtering, wavelet or all")
    out = sub.add_argument_group("output")
    out.add_argument("--hu", action="store_true", default=None, help="Hounsfield units; needs --mu-water")
    out.add_argument("--save", metavar="LIST", help=f"more formats, comma-separated: {', '.join(FORMATS)}")
    out.add_argument(
        "--dry-run", action="store_true", help="show what would be done, and the memory it needs"
    )
    out.add_argument(
        "--config", metavar="TOML", help="settings file with sections input, preprocess, recon, output"
    )
    out.add_argument(
        "--set", action="append", default=[], metavar="A.B=C", help="one setting, as recon.cutoff=0.8"
    )


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
                _put(settings, section, key, given, f"--{key.replace('_', '-')}")
    return settings


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
    if key not in settings[section]:
        raise ValueError(f"{where}: unknown setting {section}.{key}; {_near(key, settings[section])}")
    kind = KINDS.get(key)
    if value is not None and kind is not None:
        fits = isinstance(value, kind) or (kind is float and isinstance(value, int))
        if not fits or (kind is not bool and isinstance(value, bool)):
            raise ValueError(f"{where}: {section}.{key} must be of kind {kind.__name__}, got {value!r}")
    if key == "save":
        value = [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value)
        for name in value:
            if name not in FORMATS:
                raise ValueError(f"{where}: cannot save as {name!r}; known are {', '.join(FORMATS)}")
    settings[section][key] = value


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
