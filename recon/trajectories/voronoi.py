"""Density weights of any planar trajectory, or of a stack of them, from Voronoi cells."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from rayfold.recon.trajectories.density import cells, checked

Array = npt.NDArray[np.float64]
SAME = 1e-6  # rad/voxel; nearer points are one


def voronoi_weights(trajectory: Array, shape: tuple[int, ...]) -> Array:
    """Area of k-space nearer to a sample than to any other (Rasche et al., IEEE TMI 18:385, 1999).

    Samples at one place share its cell. At the border a cell ends as far outwards as it does inwards: half a
    sample beyond the end of a spoke, half a turn beyond a spiral. In 3D the samples must lie in planes of
    constant kz; their areas are multiplied with the distance of the planes.

    Where samples crowd at the centre, cells are a quadrature of second order only: spokes sampled twice as
    densely as needed come out 2 % too bright, which `radial_weights`, `spiral_weights` and `pipe_menon`
    avoid.

    Parameters
    ----------
    trajectory : ndarray, (shots, samples, ndim) or (samples, ndim)
        In rad/voxel; ndim 2, or 3 for stacks.
    shape : tuple of int
        Image grid.

    Returns
    -------
    ndarray, the trajectory's shape without its last axis
        W of ``A.H W A``, in units of the Nyquist cell (see `rayfold.recon.trajectories.density`).

    Raises
    ------
    ValueError
        If there are fewer than four different points in a plane, or no planes.

    Examples
    --------
    >>> from rayfold.recon.trajectories import radial
    >>> w = voronoi_weights(radial(101, 64), (64, 64))
    >>> round(float(w.sum() / (64**2 * np.pi / 4)), 2)  # the disc in the square
    1.0
    """
    k = checked(trajectory, shape)
    flat = k.reshape(-1, k.shape[-1])
    if len(shape) == 2:
        return cells(_areas(flat).reshape(k.shape[:-1]), shape)
    heights, plane = np.unique(np.round(flat[:, 0] / SAME) * SAME, return_inverse=True)
    if len(heights) * 8 > len(flat):
        raise ValueError(
            f"{len(flat)} samples lie at {len(heights)} values of kz; voronoi_weights needs planes in 3D, "
            "pipe_menon takes any trajectory"
        )
    thick = _lengths(heights) if len(heights) > 1 else np.array([2 * np.pi / shape[0]])
    out = np.empty(len(flat))
    for p in range(len(heights)):
        here = plane == p
        out[here] = _areas(flat[here, 1:]) * thick[p]
    return cells(out.reshape(k.shape[:-1]), shape)


def _areas(points: Array) -> Array:
    from scipy.spatial import Delaunay

    _, first, which, count = np.unique(
        np.round(points / SAME), axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    single = points[first]
    n = len(single)
    if n < 4 or np.linalg.matrix_rank(single - single[0], tol=10 * SAME) < 2:
        raise ValueError(f"{n} different points that span no plane; Voronoi cells need at least four that do")
    mesh = Delaunay(single)
    area = _cells_of(single, mesh.simplices)
    starts, neighbours = mesh.vertex_neighbor_vertices
    border, guards = _guards(single, mesh.simplices, mesh.convex_hull, starts, neighbours)
    # guards change the cells of border points only, and those are settled by their neighbours
    beside = np.unique(np.concatenate([border, *(neighbours[starts[p] : starts[p + 1]] for p in border)]))
    local = np.concatenate([single[beside], guards])
    again = _cells_of(local, Delaunay(local).simplices)
    area[border] = again[np.searchsorted(beside, border)]
    return np.asarray((area / count)[which.ravel()], np.float64)


def _cells_of(points: Array, triangles: npt.NDArray[np.intp]) -> Array:
    """Area of every cell: in a triangle, a corner owns the quadrilateral up to the circle's centre."""
    p = points[triangles]
    opposite = np.roll(p, -1, axis=1) - np.roll(p, 1, axis=1)
    square = np.sum(opposite**2, axis=-1)
    u, v = np.roll(p, -1, axis=1) - p, np.roll(p, 1, axis=1) - p
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    share = square * np.sum(u * v, axis=-1) / np.where(cross == 0, np.inf, np.abs(cross)) / 8
    owned = np.roll(share, 1, axis=1) + np.roll(share, -1, axis=1)
    return np.asarray(np.bincount(triangles.ravel(), owned.ravel(), len(points)), np.float64)


def _guards(
    points: Array,
    triangles: npt.NDArray[np.intp],
    edges: npt.NDArray[np.intp],
    starts: npt.NDArray[np.intp],
    neighbours: npt.NDArray[np.intp],
) -> tuple[npt.NDArray[np.intp], Array]:
    """Points whose cells leave the hull, and guards beyond it: as far out as their neighbours are in."""
    from scipy.spatial import ConvexHull

    hull = ConvexHull(points)
    middle, size = points.mean(axis=0), float(np.ptp(points, axis=0).max())
    sides = np.unique(np.round(hull.equations, 9), axis=0)  # edges of one straight side are one
    centres = _circumcentres(points[triangles])
    inner = float(np.min(-(sides[:, :2] @ middle + sides[:, 2])))
    far = np.flatnonzero(~(np.linalg.norm(centres - middle, axis=1) < inner))
    outside = ~np.all(centres[far] @ sides[:, :2].T + sides[:, 2] < 1e-7 * size, axis=1)
    border = np.unique(np.concatenate([triangles[far[outside]].ravel(), edges.ravel()]))
    guards = []
    for p in border:
        depth = -(sides[:, :2] @ points[p] + sides[:, 2])
        to = points[neighbours[starts[p] : starts[p + 1]]] - points[p]
        length = np.linalg.norm(to, axis=1)
        # at a corner there is one guard for each side
        for normal in sides[depth < max(depth.min(), 0.0) + 1e-7 * size, :2]:
            inward = -(to @ normal)
            best = int(np.argmax(inward / length))
            # along the normal only: a slanted neighbour would crowd the guards of the next border point
            guard = points[p] + normal * inward[best]
            if inward[best] > 0.3 * length[best] and np.any(sides[:, :2] @ guard + sides[:, 2] > 1e-7 * size):
                guards.append(guard)
    # farther out a ring that bounds whatever is still open
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    ring = middle + 4 * size * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    near = np.unique(np.round(np.reshape(guards, (-1, 2)) / SAME), axis=0) * SAME
    return border, np.concatenate([near, ring])


def _circumcentres(corners: Array) -> Array:
    """Centres of the circles around triangles; far away where a triangle is flat."""
    a = corners[:, 0]
    u, v = corners[:, 1] - a, corners[:, 2] - a
    cross = 2 * (u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0])
    uu, vv = np.sum(u**2, axis=1), np.sum(v**2, axis=1)
    turned = np.stack([v[:, 1] * uu - u[:, 1] * vv, u[:, 0] * vv - v[:, 0] * uu], axis=1)
    return np.asarray(a + turned / np.where(cross == 0, 1e-300, cross)[:, None], np.float64)


def _lengths(places: Array) -> Array:
    gaps = np.diff(places)
    edges = np.concatenate([gaps[:1], gaps, gaps[-1:]])
    return np.asarray((edges[1:] + edges[:-1]) / 2, np.float64)
