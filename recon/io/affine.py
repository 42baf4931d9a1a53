"""Where voxels are, as one matrix: index (x, y, z) to LPS position in mm, ``p = M @ (i, j, k, 1)``.

The columns of `Image.direction` need not be perpendicular: a CT series with a tilted gantry is a sheared
stack and is held exactly.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from rayfold.recon.data import Image

Matrix = npt.NDArray[np.float64]
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def affine_of(image: Image) -> Matrix:
    """Index (x, y, z) to LPS position in mm; a 2D image is the slice at z = 0 with a step of 1.

    Examples
    --------
    >>> affine_of(Image(np.zeros((2, 3)), (0.5, 0.25)))[:3, 3]
    array([-0.25, -0.25,  0.  ])
    """
    assert image.origin is not None and image.direction is not None  # set by Image itself
    lead_step, lead_origin = ((1.0,), (0.0,)) if image.array.ndim == 2 else ((), ())
    step = np.array((*lead_step, *image.spacing))[::-1]
    matrix = np.eye(4)
    matrix[:3, :3] = image.direction * step
    matrix[:3, 3] = np.array((*lead_origin, *image.origin))[::-1]
    return matrix


def image_at(array: npt.NDArray[Any], matrix: Matrix, **rest: Any) -> Image:
    """Image of a ``(nz, ny, nx)`` array whose index (x, y, z) lies at ``matrix @ (x, y, z, 1)`` in LPS mm."""
    step = np.linalg.norm(matrix[:3, :3], axis=0)
    return Image(
        array,
        spacing=tuple(map(float, step[::-1])),
        origin=tuple(map(float, matrix[2::-1, 3])),
        direction=matrix[:3, :3] / step,
        **rest,
    )


def is_sheared(matrix: Matrix) -> bool:
    """Whether the axes are not perpendicular (a tilted gantry)."""
    unit = matrix[:3, :3] / np.linalg.norm(matrix[:3, :3], axis=0)
    return not np.allclose(unit.T @ unit, np.eye(3), atol=1e-4)
