"""tomosipo's geometries as ours and back, where rays stay within slices: a 2D scan, repeated."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayfold.operators.geometry import Beam, VectorBeam, Volume

from .foreign import peer


def geometry_from_tomosipo(volume_geometry: Any, projection_geometry: Any) -> tuple[Volume, Beam]:
    """The scan of one slice, for geometries whose rays stay within slices.

    ``XRay(*geometry_from_tomosipo(vg, pg))`` on ``(slices, ny, nx)`` is the same scan as
    ``tomosipo.operator(vg, pg)``.

    Parameters
    ----------
    volume_geometry : tomosipo.geometry.VolumeGeometry
        Axis-aligned grid.
    projection_geometry : tomosipo.geometry.ProjectionGeometry
        Parallel with one detector row per slice, or cone with a single row and slice.

    Returns
    -------
    volume : Volume
        Grid ``(ny, nx)`` of a slice.
    beam : VectorBeam
        The views.

    Raises
    ------
    ValueError
        If rays leave their slice.
    """
    scan = projection_geometry.to_vec().to_astra()
    if "Vectors" not in scan or not hasattr(volume_geometry, "to_astra"):
        raise ValueError(
            "the geometry has no vectors or the volume is tilted; pass tomosipo's own geometries"
        )
    (nz, ny, nx), (dz, dy, dx) = volume_geometry.shape, volume_geometry.voxel_size
    z, y, x = (float(v) for v in volume_geometry.pos[0])
    fan = scan["type"] == "cone_vec"
    first, centre, u, v = np.split(np.asarray(scan["Vectors"], float), 4, axis=1)  # (x, y, z) each
    level = [np.abs(u[:, 2]), np.abs(v[:, :2]).max(1), np.abs(centre[:, 2] - z)]
    level += [np.abs(first[:, 2] - z)] if fan else [np.abs(first[:, 2]), np.abs(v[:, 2] - dz)]
    rows = int(scan["DetectorRowCount"])
    if rows != nz or (fan and nz > 1) or max(float(part.max()) for part in level) > 1e-9 * dz:
        raise ValueError(
            f"rays leave their slice ({rows} detector rows, {nz} slices); "
            "parallel beams with one row per slice convert, and a cone of one row and one slice"
        )
    vectors = np.concatenate([first[:, :2], centre[:, :2], u[:, :2]], axis=1)
    beam = VectorBeam(vectors, int(scan["DetectorColCount"]), kind="fan" if fan else "parallel")
    return Volume((ny, nx), (float(dy), float(dx)), (y, x)), beam


def geometry_to_tomosipo(
    volume: Volume, beam: Beam, *, slices: int = 1, thickness: float = 1.0
) -> tuple[Any, Any]:
    """Our 2D geometry as tomosipo's, repeated over slices.

    Parameters
    ----------
    volume : Volume
        Grid ``(ny, nx)`` of a slice.
    beam : ParallelBeam, FanBeam or VectorBeam
        Flat detector; a fan takes one slice.
    slices : int
        How many.
    thickness : float
        Of a slice, in mm.

    Returns
    -------
    volume_geometry, projection_geometry
        Of tomosipo, ready for `tomosipo.operator`.

    Raises
    ------
    ValueError
        If the detector is curved, or a fan is to cross several slices.
    """
    if beam.fan_step or (beam.kind == "fan" and slices != 1):
        raise ValueError(
            f"a {beam.kind} beam over {slices} slices: use a flat detector, and one slice for a fan"
        )
    ts = peer("tomosipo")
    (ny, nx), (dy, dx), (cy, cx) = volume.shape, volume.steps, volume.middle
    grid = ts.volume(shape=(slices, ny, nx), pos=(0.0, cy, cx), size=(slices * thickness, ny * dy, nx * dx))
    parts = np.split(beam.vectors[:, ::-1], 3, axis=1)  # (y, x) of bin step, centre, source or direction
    u, centre, first = (np.pad(part, ((0, 0), (1, 0))) for part in parts)
    v = np.tile([thickness, 0.0, 0.0], (beam.n_views, 1))
    common = {"shape": (slices, beam.n_cols), "det_pos": centre, "det_v": v, "det_u": u}
    if beam.kind == "parallel":
        return grid, ts.parallel_vec(ray_dir=first, **common)
    return grid, ts.cone_vec(src_pos=first, **common)
