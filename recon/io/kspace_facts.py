"""What a k-space file lacks, stated by the caller or in the ``[kspace]`` table of a TOML file next to it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, Self

from rayfold.recon.errors import InconsistentInput
from rayfold.recon.kspace_checks import LEADING

UNITS = ("rad/voxel", "cycles/voxel", "cycles/fov")
NAMES = (*LEADING, "coil", "kz", "ky", "kx", "shot", "sample")


@dataclass(frozen=True, kw_only=True)
class KSpaceFacts:
    """Statements about raw MRI data; None where nothing is said.

    Parameters
    ----------
    data, trajectory, sampled, noise, calibration : str
        Names of arrays of the file, or of a .npy or BART file next to it.
    axes : str
        Names of the data's axes in their order, as "kx,ky,coil" or "slice,coil,shot,sample".
    trajectory_unit : {"rad/voxel", "cycles/voxel", "cycles/fov"}
        Unit of `trajectory`; by default told by its extent, with a note. Columns are x, y, (z).
    matrix, crop : sequence of int
        Image grid, and the central part to keep, ``(ny, nx)`` or ``(nz, ny, nx)``.
    field_of_view : sequence of float
        In mm per axis of `matrix`.
    slice_thickness, slice_spacing, dwell, field_strength : float
        In mm, mm, ms and T.
    echo_times : sequence of float
        In ms.
    readout : {"kx", "ky"}
        Which axis was sampled in time.
    sequence, reference : str
        For twix: the Pulseq .seq that was run, and the EPI without phase encoding; files next to the data.

    Examples
    --------
    >>> KSpaceFacts.from_mapping({"axes": "kx,ky,coil", "field_of_view": [220, 220]}).axes
    'kx,ky,coil'
    """

    data: str | None = None
    axes: str | None = None
    trajectory: str | None = None
    trajectory_unit: str | None = None
    sampled: str | None = None
    noise: str | None = None
    calibration: str | None = None
    matrix: tuple[int, ...] | None = None
    crop: tuple[int, ...] | None = None
    field_of_view: tuple[float, ...] | None = None
    slice_thickness: float | None = None
    slice_spacing: float | None = None
    echo_times: tuple[float, ...] | None = None
    dwell: float | None = None
    field_strength: float | None = None
    readout: str | None = None
    sequence: str | None = None
    reference: str | None = None

    @classmethod
    def from_mapping(cls, stated: Mapping[str, Any], where: str = "kspace") -> Self:
        """Check every key and value; `where` names the source in messages.

        Raises
        ------
        InconsistentInput
            For an unknown key (with the nearest valid ones) or a wrong value.
        """
        known = {f.name: str(f.type) for f in fields(cls)}
        for key in stated:
            if key not in known:
                near = get_close_matches(str(key), known, n=3, cutoff=0.4) or sorted(known)
                raise InconsistentInput(f"{where}: unknown key {key!r}; the nearest are {', '.join(near)}")
        return cls(**{key: _value(key, known[key], value, where) for key, value in stated.items()})

    def plain(self) -> dict[str, Any]:
        """The statements that are fields of a `KSpace` as they stand."""
        names = (
            "matrix",
            "crop",
            "field_of_view",
            "slice_thickness",
            "slice_spacing",
            "echo_times",
            "dwell",
            "field_strength",
            "readout",
        )
        return {name: value for name in names if (value := getattr(self, name)) is not None}


def _value(key: str, declared: str, value: Any, where: str) -> Any:
    """One value in its type, or InconsistentInput."""

    def wrong(allowed: str) -> InconsistentInput:
        return InconsistentInput(f"{where}: {key} is {value!r}; it must be {allowed}")

    def number(item: Any) -> float:
        if (
            isinstance(item, bool)
            or not isinstance(item, int | float)
            or not math.isfinite(item)
            or item <= 0
        ):
            raise wrong("positive" if declared.startswith("float") else "a list of positive numbers")
        return item

    choices = {"readout": ("kx", "ky"), "trajectory_unit": UNITS}.get(key)
    if choices and value not in choices:
        raise wrong(" or ".join(f'"{choice}"' for choice in choices))
    if declared.startswith("tuple"):
        if isinstance(value, str) or not hasattr(value, "__iter__"):
            raise wrong("a list of positive numbers")
        return tuple(number(item) for item in value)
    if declared.startswith("float"):
        return float(number(value))
    if key == "axes" and not isinstance(value, str) and hasattr(value, "__iter__"):
        value = ",".join(map(str, value))
    if not isinstance(value, str) or not value:
        raise wrong("a text")
    if key == "axes":
        names = [name.strip() for name in value.split(",")]
        strange = [name for name in names if name not in NAMES]
        if strange or len(set(names)) < len(names):
            raise wrong(f"a list of different names out of {', '.join(NAMES)}")
        return ",".join(names)
    return value
