"""NXtomo (NeXus HDF5): one stack of frames in which ``image_key`` marks views 0, flats 1 and darks 2."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Scan, ScanKind
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.assemble import assemble
from rayfold.recon.io.files import AXES, Rows, arrange, parse_axes
from rayfold.recon.io.hdf5 import MissingLink, checked, find, open_hdf5, text, values
from rayfold.recon.io.sidecar import Geometry

Array = npt.NDArray[Any]
VIEW, FLAT, DARK = 0, 1, 2
LENGTHS = {"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3, "µm": 1e-3, "micron": 1e-3, "nm": 1e-6}
DIMENSIONS = {"angle": "views", "vertical": "rows", "horizontal": "cols"}


class _Parts(NamedTuple):
    """Where the pieces of one acquisition live."""

    data: Any
    detector: Any
    entry: Any


class _Frames(NamedTuple):
    """The frames sorted by what they show, and the position of the flats among the views."""

    views: Array
    flat: Array | None = None
    dark: Array | None = None
    flat_views: Array | None = None


def is_nxtomo(file: Any) -> bool:
    """Whether an open HDF5 file has an acquisition laid out as NXtomo (its data may be elsewhere)."""
    return next(_places(file), None) is not None


def read_nxtomo(path: Path, geometry: Geometry, rows: Rows) -> Scan:
    """Scan from an NXtomo file, or from the NeXus files of CIL and Savu that keep data and angles together.

    Parameters
    ----------
    path : Path
        The .nxs or .h5 file; data behind a link are looked for where the link says, then next to the file.
    geometry : Geometry
        What the caller adds or corrects.
    rows : slice, int or None
        Detector rows to read.

    Raises
    ------
    UnreadableInput
        If the file is damaged or links to an absent file.
    InconsistentInput
        If the parts do not match.
    """
    with open_hdf5(path, "NXtomo") as file:
        parts = _parts(file)
        key = values(parts.detector, "image_key")
        angles, notes = (None, ()) if geometry.states_angles else _angles(parts)
        axes = _axes(parts.data, geometry, None if angles is None else len(angles))
        stated = geometry.over(_facts(parts))
        kind: ScanKind | None = None
        if key is None:
            frames = _Frames(arrange(checked(parts.data), axes, rows, parts.data.name))
            if stated.kind is None and stated.open_beam is None:
                kind = "attenuation"
                notes = (*notes, "no open-beam frames: the numbers are taken as attenuation")
        else:
            key = np.asarray(key).ravel()
            frames = _split(parts.data, key, axes, rows)
            if angles is not None and len(angles) == len(key):
                angles = angles[key == VIEW]
    return assemble(
        path,
        "NXtomo",
        frames.views,
        stated,
        angles=angles,
        kind=kind,
        flat=frames.flat,
        dark=frames.dark,
        flat_views=frames.flat_views,
        notes=notes,
    )


def _places(file: Any) -> Iterator[tuple[Any, Any]]:
    """Candidates ``(entry, group)`` that hold the frames, the standard ones first, links not yet followed."""
    import h5py

    def groups(node: Any) -> list[Any]:
        inside = (
            node.get(name) for name in node if not isinstance(node.get(name, getlink=True), h5py.ExternalLink)
        )
        return [item for item in inside if isinstance(item, h5py.Group)]

    entries = [sub for top in groups(file) for sub in [*(g for g in groups(top) if "tomo" in g.name), top]]
    for keyed in (True, False):
        for entry in entries:
            instrument = entry.get("instrument")
            detectors = groups(instrument) if isinstance(instrument, h5py.Group) else []
            plain = entry.get("data") if isinstance(entry.get("data", getlink=True), h5py.HardLink) else None
            detectors = [*detectors, *([plain] if isinstance(plain, h5py.Group) else [])]
            for detector in detectors:
                if "data" in list(detector) and (
                    "image_key" in detector
                    if keyed
                    else "rotation_angle" in list(detector) or "sample" in entry
                ):
                    yield entry, detector


def _parts(file: Any) -> _Parts:
    """The first acquisition with image frames; absent linked files count only if nothing else is there."""
    missing: MissingLink | None = None
    for entry, detector in _places(file):
        try:
            data = find(detector, "data")
        except MissingLink as error:
            missing = missing or error
            continue
        if data is not None and getattr(data, "ndim", 0) in (2, 3):
            return _Parts(data, detector, entry)
    raise missing or UnreadableInput(
        "there is no stack of frames in any NeXus detector group; check the file"
    )


def _angles(parts: _Parts) -> tuple[Array | None, tuple[str, ...]]:
    """Rotation angles in rad and what was assumed about their unit."""
    import h5py

    for place in ("sample/rotation_angle", "data/rotation_angle"):
        dataset = find(parts.entry, place)
        if isinstance(dataset, h5py.Dataset):
            break
    else:
        dataset = find(parts.detector, "rotation_angle")
    if dataset is None:
        raise InconsistentInput(
            "the file states no rotation_angle (or links to a file that was not copied); "
            "give first_deg and step_deg in a .toml file next to it or with geometry="
        )
    angles = np.asarray(checked(dataset)[()], float).ravel()
    unit = text(dataset.attrs.get("units", "")).lower()
    if unit.startswith("rad"):
        return angles, ()
    # NeXus says degree when nothing is stated, some tools write rad: a full turn tells the two apart.
    if not unit and len(angles) > 8 and np.ptp(angles) < 2 * np.pi + 0.1:
        return angles, (f"angles have no unit and span {np.ptp(angles):.4g}: taken as rad",)
    return np.radians(angles), ()


def _axes(data: Any, geometry: Geometry, n_angles: int | None) -> tuple[str, ...]:
    """Axis order: as stated, as labelled in the file, or by which axis is as long as the angles."""
    if geometry.axes:
        return parse_axes(geometry.axes)
    labels = tuple(DIMENSIONS.get(text(data.attrs.get(f"dim{axis}", "")), "") for axis in range(data.ndim))
    if sorted(labels) in (sorted(AXES), ["cols", "views"]):
        return labels
    if data.ndim == 2:
        return ("views", "cols")
    if n_angles is not None and data.shape[0] != n_angles and data.shape[1] == n_angles:
        return ("rows", "views", "cols")
    return AXES


def _split(data: Any, key: Array, axes: tuple[str, ...], rows: Rows) -> _Frames:
    """Sort the frames by `image_key`."""
    if axes[0] != "views" or len(key) != data.shape[0]:
        raise InconsistentInput(
            f"image_key marks {len(key)} frames but the data hold {data.shape[0]}; the file is incomplete"
        )
    runs = np.split(np.arange(len(key)), np.flatnonzero(np.diff(key)) + 1)
    checked(data)

    def take(kind: int) -> Array | None:
        # whole runs: HDF5 reads a range far faster than a list of frames
        blocks = [
            arrange(_Range(data, int(run[0]), int(run[-1]) + 1), axes, rows, data.name)
            for run in runs
            if key[run[0]] == kind
        ]
        if len(blocks) < 2:
            return blocks[0] if blocks else None  # no second copy of a large scan
        return np.concatenate(blocks)

    views = take(VIEW)
    if views is None:
        raise InconsistentInput("image_key marks no projections (0), only flats and darks; check the file")
    flat = take(FLAT)
    position = None
    if flat is not None:
        position = np.cumsum(key == VIEW)[key == FLAT] - 0.5
    return _Frames(views, flat, take(DARK), position)


class _Range:
    """A range of frames of a dataset, read when indexed."""

    def __init__(self, data: Any, start: int, stop: int) -> None:
        self.data, self.start = data, start
        self.shape = (stop - start, *data.shape[1:])

    def __getitem__(self, cut: tuple[Any, ...]) -> Array:
        first = slice(self.start + cut[0].start, self.start + cut[0].stop)
        block: Array = self.data[(first, *cut[1:])]
        return block


def _facts(parts: _Parts) -> Geometry:
    """Pixel size (and, from CIL, the distances of a cone beam) as far as the file states them."""
    about = parts.data.attrs
    pitch, row_pitch = (_length(parts.detector, f"{axis}_pixel_size") for axis in "xy")
    if "pixel_size_h" in about:
        pitch, row_pitch = float(about["pixel_size_h"]), float(about.get("pixel_size_v", 0)) or None
    if text(about.get("geom_type", "")) != "cone":
        return Geometry(pitch=pitch, row_pitch=row_pitch)
    to_axis = float(about["dist_source_center"])
    to_detector = to_axis + float(about["dist_center_detector"])
    shrunk = None if row_pitch is None else row_pitch * to_axis / to_detector
    return Geometry(
        beam="fan", pitch=pitch, row_pitch=shrunk, source_to_axis=to_axis, source_to_detector=to_detector
    )


def _length(group: Any, name: str) -> float | None:
    """A length in mm, None when absent or without a unit."""
    value = values(group, name)
    if value is None:
        return None
    scale = LENGTHS.get(text(group[name].attrs.get("units", "")), 0.0)
    length = float(np.asarray(value).flat[0]) * scale
    return length if np.isfinite(length) and length > 0 else None
