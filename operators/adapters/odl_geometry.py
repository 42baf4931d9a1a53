"""The scan of an ODL ray transform as our volume and beam."""

from __future__ import annotations

from typing import Any

import numpy as np

from rayfold.operators.geometry import Beam, VectorBeam, Volume

from .foreign import shape


def geometry_from_odl(transform: Any) -> tuple[Volume, Beam]:
    """The scan of a 2D `odl.applications.tomo.RayTransform`, to run it in our own `XRay`.

    ODL indexes images ``[x, y]``: its image is the transpose of ours. Sinograms are the same.

    Parameters
    ----------
    transform : RayTransform
        With `Parallel2dGeometry` or a flat `FanBeamGeometry`.

    Returns
    -------
    volume : Volume
        Grid ``(ny, nx)``.
    beam : VectorBeam
        Its views, one by one, shifts included.

    Raises
    ------
    ValueError
        If the geometry is 3D or its detector is curved.
    """
    geometry, space = transform.geometry, transform.domain
    if geometry.ndim != 2 or type(geometry.detector).__name__ != "Flat1dDetector":
        raise ValueError(
            f"{type(geometry).__name__} with {type(geometry.detector).__name__}: "
            "only 2D scans with a flat detector convert"
        )
    middle = tuple((low + high) / 2 for low, high in zip(space.min_pt, space.max_pt, strict=True))
    volume = Volume(shape(space.shape)[::-1], tuple(map(float, space.cell_sides))[::-1], middle[::-1])
    bins = np.asarray(geometry.det_partition.coord_vectors[0], float)
    pitch = float(geometry.det_partition.cell_sides[0])
    rows = []
    for angle in np.asarray(geometry.angles, float):
        axis = np.asarray(geometry.det_axis(angle), float)
        centre = np.asarray(geometry.det_refpoint(angle), float) + (bins[0] + bins[-1]) / 2 * axis
        fan = hasattr(geometry, "src_position")
        first = geometry.src_position(angle) if fan else -np.asarray(geometry.det_to_src(angle, 0.0))
        rows.append(np.concatenate([np.asarray(first, float), centre, pitch * axis]))
    return volume, VectorBeam(np.array(rows), len(bins), kind="fan" if fan else "parallel")
