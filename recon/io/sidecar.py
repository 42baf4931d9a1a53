"""The geometry that a file lacks, as a small TOML file next to it: ``scan.toml`` for ``scan.npz``."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import SCAN_KINDS, ScanKind
from rayfold.recon.errors import InconsistentInput, UnreadableInput

Array = npt.NDArray[Any]
Lookup = Callable[[str], Array]
CHOICES: dict[str, tuple[str, ...]] = {
    "beam": ("parallel", "fan", "curved-fan"),
    "unit": ("mm", "px"),
    "kind": SCAN_KINDS,
    "sense": ("ccw", "cw"),
    "angles_unit": ("deg", "rad"),
}
POSITIVE = ("pitch", "source_to_axis", "source_to_detector", "photons", "open_beam", "row_pitch", "mu_water")


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """What a sidecar, a file's own header, or a caller states about a scan; None where it says nothing.

    Parameters
    ----------
    beam : {"parallel", "fan", "curved-fan"}
        Parallel by default.
    angles_deg : sequence of float
        One angle per view in degrees. Alternatives: `step_deg` (from `first_deg`, 0 by default), `span_deg`
        (from `first_deg`, evenly, the end excluded), or `angles`.
    angles : str
        Name of an array of the file, or of a .npy or text file next to it; in `angles_unit`, "deg" or "rad".
    sense : {"ccw", "cw"}
        Turning sense of the angles; "cw" changes their sign.
    pitch, detector_offset, row_pitch : float
        Bin distance, detector shift along its axis, row distance at the rotation axis, in `unit`.
    unit : {"mm", "px"}
        Length unit; by default "mm" when a pitch is given, otherwise "px".
    center : float
        Detector column of the rotation axis; instead of `detector_offset`.
    source_to_axis, source_to_detector, source_offset : float
        Fan beam only, in `unit`.
    kind : {"counts", "transmission", "attenuation"}
        What the numbers are.
    photons : float
        Photons per detector pixel in the open beam.
    open_beam : float
        Counts of the open beam where there are no flat frames.
    data, flat, dark : str
        Names of the arrays (for TIFF: of a file or folder next to the data).
    axes : str
        Order of the data's axes, as "views,rows,cols" (default), "rows,views,cols" or "cols,views".
    mu_water : float
        Attenuation of water in 1/mm.

    Examples
    --------
    >>> stated = Geometry.from_mapping({"span_deg": 180, "pitch": 0.5})
    >>> np.degrees(stated.view_angles(4)).tolist()
    [0.0, 45.0, 90.0, 135.0]
    """

    beam: Literal["parallel", "fan", "curved-fan"] | None = None
    angles_deg: tuple[float, ...] | None = None
    first_deg: float | None = None
    step_deg: float | None = None
    span_deg: float | None = None
    angles: str | None = None
    angles_unit: Literal["deg", "rad"] | None = None
    sense: Literal["ccw", "cw"] | None = None
    pitch: float | None = None
    unit: Literal["mm", "px"] | None = None
    center: float | None = None
    detector_offset: float | None = None
    source_offset: float | None = None
    source_to_axis: float | None = None
    source_to_detector: float | None = None
    kind: ScanKind | None = None
    photons: float | None = None
    open_beam: float | None = None
    data: str | None = None
    flat: str | None = None
    dark: str | None = None
    axes: str | None = None
    row_pitch: float | None = None
    mu_water: float | None = None

    @classmethod
    def from_mapping(cls, stated: Mapping[str, Any], where: str = "geometry") -> Self:
        """Check every key and value; `where` names the source in messages.

        Raises
        ------
        InconsistentInput
            For an unknown key (with the nearest valid ones), a wrong value, or two ways to say one thing.
        """
        known = {f.name: str(f.type) for f in fields(cls)}
        for key in stated:
            if key not in known:
                near = get_close_matches(str(key), known, n=3, cutoff=0.4) or sorted(known)
                raise InconsistentInput(f"{where}: unknown key {key!r}; the nearest are {', '.join(near)}")
        made = cls(**{key: _value(key, known[key], value, where) for key, value in stated.items()})
        ways = [k for k in ("angles_deg", "step_deg", "span_deg", "angles") if getattr(made, k) is not None]
        for pair in (ways, [k for k in ("center", "detector_offset") if getattr(made, k) is not None]):
            if len(pair) > 1:
                raise InconsistentInput(f"{where} gives {' and '.join(pair)}; keep one of them")
        if made.first_deg is not None and not (made.step_deg or made.span_deg):
            raise InconsistentInput(f"{where} gives first_deg alone; add step_deg or span_deg")
        if made.angles is not None and made.angles_unit is None:
            raise InconsistentInput(f'{where}: angles names an array; add angles_unit = "deg" or "rad"')
        return made

    def over(self, facts: Geometry) -> Geometry:
        """These statements, and those of `facts` where nothing is said here."""
        mine = {f.name: v for f in fields(self) if (v := getattr(self, f.name)) is not None}
        hidden: dict[str, None] = {}
        if self.center is not None:
            hidden["detector_offset"] = None
        if self.detector_offset is not None:
            hidden["center"] = None
        return replace(facts, **(hidden | mine))

    @property
    def states_angles(self) -> bool:
        """Whether the view angles are given here in any of the four ways."""
        ways = (self.angles_deg, self.step_deg, self.span_deg, self.angles)
        return any(way is not None for way in ways)

    def view_angles(self, n_views: int, lookup: Lookup | None = None) -> Array:
        """View angles in rad as stated, before the turning sense; ``(views,)``.

        Parameters
        ----------
        n_views : int
            Number of views of the data.
        lookup : callable, optional
            Gives the array that `angles` names.

        Raises
        ------
        InconsistentInput
            If the number of angles is another one, or if none are stated.
        """
        first = self.first_deg or 0.0
        if self.angles_deg is not None:
            angles = np.radians(self.angles_deg)
        elif self.step_deg is not None:
            angles = np.radians(first + np.arange(n_views) * self.step_deg)
        elif self.span_deg is not None:
            angles = np.radians(first + np.arange(n_views) * (self.span_deg / n_views))
        elif self.angles is not None and lookup is not None:
            angles = np.asarray(lookup(self.angles), float).ravel()
            angles = angles if self.angles_unit == "rad" else np.radians(angles)
        else:
            raise InconsistentInput(
                "the view angles are not stated; give angles_deg, first_deg and step_deg, or span_deg in a "
                ".toml file next to the data or with geometry="
            )
        return angles


def _value(key: str, declared: str, value: Any, where: str) -> Any:
    """One TOML value in its type, or InconsistentInput."""

    def wrong(allowed: str) -> InconsistentInput:
        return InconsistentInput(f"{where}: {key} is {value!r}; it must be {allowed}")

    def number(item: Any) -> float:
        if isinstance(item, bool) or not isinstance(item, int | float | np.number) or not math.isfinite(item):
            raise wrong("a list of finite numbers" if key == "angles_deg" else "a finite number")
        return float(item)

    if key in CHOICES:
        if value not in CHOICES[key]:
            raise wrong(" or ".join(f'"{choice}"' for choice in CHOICES[key]))
        return value
    if declared.startswith("tuple"):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise wrong("a list of finite numbers")
        return tuple(number(item) for item in value)
    if declared.startswith("float"):
        if number(value) <= 0 and key in POSITIVE:
            raise wrong("positive")
        return number(value)
    if not isinstance(value, str) or not value:
        raise wrong("a text")
    return value


def read_toml(path: str | Path) -> dict[str, Any]:
    """Content of a TOML file.

    Raises
    ------
    UnreadableInput
        If the file is missing or not TOML.
    """
    path = Path(path)
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UnreadableInput(f"there is no geometry file {path}; check the name") from None
    except (OSError, ValueError) as error:
        raise UnreadableInput(f"{path.name} is not a readable TOML file: {error}") from error


def sidecar_of(path: Path) -> Path | None:
    """The TOML file next to a data file or folder (its name with the suffix .toml), if there is one."""
    candidates = (path.with_suffix(".toml"), path.with_name(path.name + ".toml"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)
