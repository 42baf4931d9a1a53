"""ASTRA's 2D geometries, plain dicts, as ours and back: the same axes and the same view angles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rayfold.operators.geometry import Beam, FanBeam, ParallelBeam, VectorBeam, Volume

Geometry = Mapping[str, Any]


def geometry_from_astra(proj_geom: Geometry, vol_geom: Geometry) -> tuple[Volume, Beam]:
    """ASTRA's 2D geometries as ours, exactly: ``XRay(*geometry_from_astra(p, v))`` is the same scan.

    Parameters
    ----------
    proj_geom : dict
        Of type 'parallel', 'fanflat', 'parallel_vec' or 'fanflat_vec'.
    vol_geom : dict
        Of a 2D volume; its unit of length is taken for mm.

    Returns
    -------
    volume : Volume
        Grid ``(ny, nx)``.
    beam : ParallelBeam, FanBeam or VectorBeam
        The views.

    Raises
    ------
    ValueError
        If the volume is 3D or the projection geometry of another type.

    Examples
    --------
    >>> scan = {"type": "parallel", "DetectorWidth": 0.5, "DetectorCount": 96, "ProjectionAngles": [0.0, 1.5]}
    >>> window = {"WindowMinX": -16.0, "WindowMaxX": 16.0, "WindowMinY": -16.0, "WindowMaxY": 16.0}
    >>> geometry_from_astra(scan, {"GridRowCount": 64, "GridColCount": 64, "option": window})[1]
    ParallelBeam([0.0, 1.5], n_cols=96, pitch=0.5)
    """
    if "GridSliceCount" in vol_geom:
        raise ValueError("the volume is 3D; 2D geometries convert: astra.create_vol_geom(rows, columns)")
    ny, nx = int(vol_geom["GridRowCount"]), int(vol_geom["GridColCount"])
    window = {"X": (-nx / 2, nx / 2), "Y": (-ny / 2, ny / 2)}
    option = vol_geom.get("option") or vol_geom.get("options") or {}  # ASTRA gives it back under another name
    (left, right), (low, high) = (
        (float(option.get(f"WindowMin{k}", a)), float(option.get(f"WindowMax{k}", b)))
        for k, (a, b) in window.items()
    )
    volume = Volume(
        (ny, nx), ((high - low) / ny, (right - left) / nx), ((low + high) / 2, (left + right) / 2)
    )
    kind, n_cols = proj_geom["type"], int(proj_geom["DetectorCount"])
    if kind == "parallel":
        angles = np.asarray(proj_geom["ProjectionAngles"], float)
        return volume, ParallelBeam(angles, n_cols, float(proj_geom["DetectorWidth"]))
    if kind == "fanflat":
        source, detector = (float(proj_geom[f"DistanceOrigin{end}"]) for end in ("Source", "Detector"))
        return volume, FanBeam(
            np.asarray(proj_geom["ProjectionAngles"], float),
            n_cols,
            float(proj_geom["DetectorWidth"]),
            source_to_axis=source,
            source_to_detector=source + detector,
        )
    if kind in ("parallel_vec", "fanflat_vec"):
        vectors = np.asarray(proj_geom["Vectors"], float)
        return volume, VectorBeam(vectors, n_cols, kind="parallel" if kind == "parallel_vec" else "fan")
    raise ValueError(f"geometry type {kind!r}: parallel, fanflat, parallel_vec and fanflat_vec convert")


def geometry_to_astra(volume: Volume, beam: Beam) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our 2D geometry as ASTRA's dicts, for `astra.create_projector`.

    Parameters
    ----------
    volume : Volume
        Grid ``(ny, nx)``.
    beam : ParallelBeam, FanBeam or VectorBeam
        Centred beams become 'parallel' and 'fanflat', all others vectors.

    Returns
    -------
    proj_geom, vol_geom : dict
        In mm.

    Raises
    ------
    ValueError
        If the grid is 3D or the detector curved: ASTRA's 2D detectors are flat.
    """
    if len(volume.shape) != 2:
        raise ValueError(f"the volume has shape {volume.shape}; ASTRA's 2D projectors take (ny, nx)")
    if beam.fan_step:
        raise ValueError("ASTRA's 2D detectors are flat, this one is curved; use FanBeam(..., curved=False)")
    (ny, nx), (dy, dx), (cy, cx) = volume.shape, volume.steps, volume.middle
    window = {
        "WindowMinX": cx - nx * dx / 2,
        "WindowMaxX": cx + nx * dx / 2,
        "WindowMinY": cy - ny * dy / 2,
        "WindowMaxY": cy + ny * dy / 2,
    }
    grid = {"GridRowCount": ny, "GridColCount": nx, "option": window}
    scan: dict[str, Any] = {"DetectorCount": beam.n_cols}
    if isinstance(beam, ParallelBeam) and not beam.detector_offset:
        scan |= {"type": "parallel", "DetectorWidth": beam.pitch, "ProjectionAngles": np.array(beam.angles)}
    elif isinstance(beam, FanBeam) and not (beam.detector_offset or beam.source_offset):
        scan |= {"type": "fanflat", "DetectorWidth": beam.pitch, "ProjectionAngles": np.array(beam.angles)}
        scan |= {"DistanceOriginSource": beam.source_to_axis}
        scan |= {"DistanceOriginDetector": beam.source_to_detector - beam.source_to_axis}
    else:
        kind = "parallel_vec" if beam.kind == "parallel" else "fanflat_vec"
        scan |= {"type": kind, "Vectors": np.array(beam.vectors)}
    return scan, grid
