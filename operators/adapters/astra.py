"""ASTRA's 2D projectors.

ASTRA stores images from the top row (largest y) down; ours are never flipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from rayfold.operators.base import LinearOperator

from .foreign import Array, Foreign, linked, peer


@dataclass(frozen=True, eq=False)
class AstraProjector(Foreign):
    """A 2D projector of ASTRA, by its number."""

    top_down: bool = False

    @property
    def label(self) -> str:
        return f"astra projector {self.source}"

    def apply(self, x: Array, out: Array, *, adjoint: bool, **operands: Array) -> None:
        rows = slice(None) if self.top_down else slice(None, None, -1)
        run = _runner(self.source, adjoint)
        for i in range(len(x)):
            given, wanted = (x[i], out[i][rows]) if adjoint else (x[i][rows], out[i])
            into = linked(wanted, keep=False)
            run(linked(given), out=into)
            if into is not wanted:
                wanted[...] = into


def _runner(number: int, adjoint: bool) -> Any:
    astra = peer("astra")
    direct = getattr(astra.projector, "direct_BP" if adjoint else "direct_FP", None)
    if direct is not None:
        return lambda x, out: direct(number, x, out=out)
    wrapped = astra.OpTomo(number)  # before ASTRA 2.5; NumPy only
    return wrapped.BP if adjoint else wrapped.FP


def from_astra(projector: Any, *, top_down: bool = False) -> LinearOperator:
    """An ASTRA 2D projector, on the CPU or a GPU, as one of our operators.

    ASTRA computes in float32. Contiguous float32 sinograms are linked, not copied; images too with
    ``top_down=True``, otherwise turning their rows costs one copy. CuPy arrays need ASTRA 2.5 and a CUDA
    projector.

    Parameters
    ----------
    projector : int or astra.OpTomo
        From `astra.create_projector`; it stays ASTRA's, delete it there when done.
    top_down : bool
        Images as ASTRA stores them, largest y first, instead of as everywhere in this package.

    Returns
    -------
    LinearOperator
        From ``(ny, nx)`` to ``(views, cols)``.

    Raises
    ------
    ValueError
        If there is no 2D projector of this number.
    """
    astra = peer("astra")
    number = int(getattr(projector, "proj_id", projector))
    try:
        scan, grid = astra.projector.projection_geometry(number), astra.projector.volume_geometry(number)
    except Exception as error:
        raise ValueError(
            f"ASTRA knows no 2D projector {number}; pass what astra.create_projector returned"
        ) from error
    views = scan["ProjectionAngles"] if "ProjectionAngles" in scan else scan["Vectors"]
    image = (int(grid["GridRowCount"]), int(grid["GridColCount"]))
    return AstraProjector(number, (image, (len(views), int(scan["DetectorCount"]))), "real", top_down)


def to_astra(op: LinearOperator, *, chunk: int = 256) -> int:
    """One of our operators as an ASTRA projector, for all its CPU algorithms (SIRT, CGLS, ART ...).

    ASTRA takes foreign operators as sparse matrices only, so the matrix is computed, column by column, and
    copied: for small problems. A plain `XRay` goes
    faster through `geometry_to_astra` and ASTRA's own kernel.

    Parameters
    ----------
    op : LinearOperator
        Real, from ``(ny, nx)`` to ``(views, cols)``.
    chunk : int
        Pixels computed at a time.

    Returns
    -------
    int
        Number of a projector of type 'sparse_matrix', rows from the top as in all of ASTRA. Delete it with
        `astra.projector.delete`, and the ``MatrixID`` of its projection geometry with `astra.matrix.delete`.

    Raises
    ------
    ValueError
        If the operator is complex or not two-dimensional on both sides.
    """
    if op.field == "complex" or len(op.in_shape) != 2 or len(op.out_shape) != 2:
        raise ValueError(
            f"{op.label} is {op.field}, {op.in_shape} to {op.out_shape}; "
            "ASTRA takes real ones from (ny, nx) to (views, cols)"
        )
    astra, sparse = peer("astra"), peer("scipy.sparse")
    (ny, nx), (views, cols) = op.in_shape, op.out_shape
    n = ny * nx
    places = np.arange(n).reshape(ny, nx)[::-1].ravel()
    blocks = []
    for start in range(0, n, chunk):
        picked = places[start : start + chunk]
        basis = np.zeros((len(picked), n), np.float32)
        basis[np.arange(len(picked)), picked] = 1
        blocks.append(sparse.csr_array(op(basis.reshape(-1, ny, nx)).reshape(len(picked), -1)))
    matrix = astra.matrix.create(sparse.csr_matrix(sparse.vstack(blocks).T))
    scan = astra.create_proj_geom("sparse_matrix", 1.0, cols, np.zeros(views), matrix)
    return int(
        astra.projector.create(
            {
                "type": "sparse_matrix",
                "ProjectionGeometry": scan,
                "VolumeGeometry": astra.create_vol_geom(ny, nx),
            }
        )
    )
