"""The projector against closed forms, symmetries and ASTRA."""

import math

import numpy as np
import pytest
from tests.operators.table import PROJECTORS, difference, operator, random

from rayfold.kernels.cpu import joseph
from rayfold.operators import FanBeam, ParallelBeam, VectorBeam, Volume, XRay, covering
from rayfold.recon.ellipses import ellipse_sinogram, rasterise

EXTENT = 100.0  # mm
BEAMS = {
    "parallel": lambda n: ParallelBeam.evenly(24, n, pitch=EXTENT / n, start=0.01),
    "parallel along the axes": lambda n: ParallelBeam.evenly(8, n, pitch=EXTENT / n, span=2 * math.pi),
    "fan flat": lambda n: FanBeam.evenly(
        24, n, pitch=1.9 * EXTENT / n, source_to_axis=150.0, source_to_detector=250.0
    ),
    "fan curved": lambda n: FanBeam.evenly(
        24, n, pitch=1.9 * EXTENT / n, source_to_axis=150.0, source_to_detector=250.0, curved=True
    ),
    "fan, offsets": lambda n: FanBeam.evenly(
        24, n, pitch=1.9 * EXTENT / n, source_to_axis=150.0, source_to_detector=250.0, detector_offset=9.0,
        source_offset=-5.0,
    ),
}  # fmt: skip
GRIDS = {
    "square pixels": lambda n: Volume((n, n), EXTENT / n),
    # off the axis by whole pixels of every size tried: rays along the axes keep their place among them
    "oblong pixels, off the axis": lambda n: Volume(
        (2 * n, n), (EXTENT / (2 * n), EXTENT / n), (2 * EXTENT / 128, -5 * EXTENT / 128)
    ),
}
beams = pytest.mark.parametrize("beam", BEAMS)


def rms(a, b):
    return float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2)))


def lines(beam):
    """Unit direction and a point of every ray, ``(views, cols, 2)`` each, straight from the definitions."""
    k = np.arange(beam.n_cols) - (beam.n_cols - 1) / 2
    t = beam.angles[:, None, None]
    u = np.concatenate([np.cos(t), np.sin(t)], -1)
    d = np.concatenate([-np.sin(t), np.cos(t)], -1)
    s = (k * beam.pitch + beam.detector_offset)[None, :, None]
    if isinstance(beam, ParallelBeam):
        return d + 0 * s, s * u
    source = -beam.source_to_axis * d + beam.source_offset * u
    if beam.curved:
        fan = s / beam.source_to_detector
        direction = np.cos(fan) * d + np.sin(fan) * u
    else:
        direction = (beam.source_to_detector - beam.source_to_axis) * d + s * u - source
    return direction / np.linalg.norm(direction, axis=-1, keepdims=True), source + 0 * s


def blob_image(volume, centre, sigma):
    ys, xs = volume.coordinates()
    return np.exp(-((xs - centre[0]) ** 2 + (ys[:, None] - centre[1]) ** 2) / (2 * sigma**2))


def blob_integrals(beam, centre, sigma):
    direction, point = lines(beam)
    away = np.array(centre) - point
    distance = away[..., 0] * direction[..., 1] - away[..., 1] * direction[..., 0]
    return sigma * math.sqrt(2 * math.pi) * np.exp(-(distance**2) / (2 * sigma**2))


@beams
@pytest.mark.parametrize("grid", GRIDS)
def test_gaussian_blob_second_order(beam, grid):
    """Bound: 1e-4 at 512."""
    errors, centre, sigma = [], (-3.0, 2.0), 6.0
    for n in (128, 256, 512):
        volume, rays = GRIDS[grid](n), BEAMS[beam](n)
        y = XRay(volume, rays)(blob_image(volume, centre, sigma))
        errors.append(rms(y, blob_integrals(rays, centre, sigma)))
    assert errors[-1] < 1e-4
    assert math.log2(errors[0] / errors[1]) > 1.8 and math.log2(errors[1] / errors[2]) > 1.8


@beams
def test_disc_first_order(beam):
    """Area-weighted disc against bin-averaged chords; bound: 1e-3 at 512."""
    errors, sizes, disc = [], (64, 128, 256, 512), [(1.0, 30.0, 30.0, 3.0, -4.0, 0.0)]
    for n in sizes:
        volume, rays = Volume((n, n), EXTENT / n), BEAMS[beam](n)
        y = XRay(volume, rays)(rasterise(disc, volume))
        errors.append(rms(y, ellipse_sinogram(disc, rays, sub_bins=16)))
    assert errors[-1] < 1e-3
    assert np.polyfit(np.log2(sizes), np.log2(errors), 1)[0] < -0.75  # the edge: about first order


@beams
@pytest.mark.parametrize("spacing", [(0.5, 0.5), (0.4, 0.9)])
def test_rays_through_opposite_sides_of_a_uniform_square(beam, spacing):
    """Away from the corners the model is exact: the sum over rows, or columns, of a constant."""
    volume, rays = Volume((60, 50), spacing), BEAMS[beam](96)
    half = np.array(volume.extent)[::-1] / 2 - np.array(spacing)[::-1]
    direction, point = lines(rays)
    slope = np.abs(direction[..., 0] / spacing[1]) / np.abs(direction[..., 1] / spacing[0])
    chords, y = np.zeros(rays.shape), XRay(volume, rays)(np.ones(volume.shape))
    inside = np.zeros(rays.shape, bool)
    for axis, steep in ((1, slope < 1 - 1e-9), (0, slope > 1 + 1e-9)):
        edge, other = volume.extent[1 - axis] / 2, 1 - axis
        with np.errstate(divide="ignore", invalid="ignore"):
            per = 1 / direction[..., axis]
            ends = [
                point[..., other] + (s - point[..., axis]) * per * direction[..., other]
                for s in (-edge, edge)
            ]
            crosses = steep & (np.abs(ends) < half[other]).all(0)
        chords[crosses] = 2 * edge * np.abs(per[crosses])
        inside |= crosses
    assert inside.mean() > 0.1
    assert difference(y[inside], chords[inside]) < 1e-12


@beams
@pytest.mark.parametrize("scale", [1e-3, 0.1, 7.0, 1e3])
def test_all_lengths_scaled(beam, scale):
    rays = BEAMS[beam](40)
    changed = {name: getattr(rays, name) * scale for name in ("pitch", "detector_offset")}
    if isinstance(rays, FanBeam):
        for name in ("source_to_axis", "source_to_detector", "source_offset"):
            changed[name] = getattr(rays, name) * scale
        changed["curved"] = rays.curved
    scaled = type(rays)(rays.angles, rays.n_cols, **changed)
    x = random((40, 40), operator("parallel"), "float32")
    y = XRay(Volume((40, 40), 2.5), rays)(x)
    assert difference(XRay(Volume((40, 40), 2.5 * scale), scaled)(x) / np.float32(scale), y) < 1e-5


@pytest.mark.parametrize("name", PROJECTORS)
def test_views_in_chunks_are_the_whole(name):
    A = operator(name)
    x, y = (random(shape, A, "float32") for shape in (A.in_shape, A.out_shape))
    chunks = [slice(0, 3), slice(3, 4), slice(4, None)]
    assert difference(np.concatenate([A[c](x) for c in chunks]), A(x)) < 1e-6
    assert difference(sum(A[c].H(y[c]) for c in chunks), A.H(y)) < 1e-6


def test_images_in_chunks_are_the_whole(monkeypatch):
    A = operator("fan flat")
    x = random((7, *A.in_shape), A, "float32")
    whole = A(x)
    monkeypatch.setattr(joseph, "COPIES", 2 * 9 * 11)
    assert (A(x) == whole).all()


def test_mass_per_view():
    beam = ParallelBeam.evenly(30, 128, pitch=0.7, span=2 * math.pi)
    volume = Volume((90, 80), (0.9, 0.8))
    x = blob_image(volume, (3.0, -5.0), 5.0)
    mass = XRay(volume, beam)(x).sum(-1) * beam.pitch
    assert np.abs(mass / (x.sum() * 0.9 * 0.8) - 1).max() < 1e-5


@pytest.mark.parametrize("name", ["parallel", "parallel, offset detector"])
def test_opposite_views_mirror(name):
    beam = operator(name).beam
    x = random((9, 9), operator(name))
    mirrored = ParallelBeam(beam.angles + math.pi, beam.n_cols, beam.pitch, -beam.detector_offset)
    assert difference(XRay(Volume((9, 9)), mirrored)(x)[:, ::-1], XRay(Volume((9, 9)), beam)(x)) < 1e-12


@beams
def test_a_quarter_turn(beam):
    rays = BEAMS[beam](30)
    volume = Volume((24, 24), 2.0)
    x = random(volume.shape, operator("parallel"))
    turned = np.ascontiguousarray(x[::-1].T)  # (x, y) -> (-y, x)
    names = ("source_to_axis", "source_to_detector", "curved", "source_offset", "pitch", "detector_offset")
    rest = {name: getattr(rays, name) for name in names if hasattr(rays, name)}
    before, after = (type(rays)(rays.angles[::2] + turn, 30, **rest) for turn in (0, math.pi / 2))
    y, z = XRay(volume, before)(x), XRay(volume, after)(turned)
    # rays at exactly 45 degrees may be stepped by row or by column
    off = np.abs(np.abs(lines(before)[0][..., 0]) - math.sqrt(0.5)) > 1e-9
    assert off.mean() > 0.4 and difference(z[off], y[off]) < 1e-12


def test_a_far_source_is_parallel():
    volume = Volume((64, 64))
    x = blob_image(volume, (4.0, 7.0), 6.0)
    flat = XRay(volume, ParallelBeam.evenly(20, 100))(x)
    for curved in (False, True):
        errors = []
        for distance in (1e5, 1e6):
            far = FanBeam.evenly(20, 100, span=math.pi, pitch=1.0, source_to_axis=distance,
                                 source_to_detector=distance, curved=curved)  # fmt: skip
            errors.append(difference(XRay(volume, far)(x), flat))
        assert errors[1] < 1e-4 and errors[0] / errors[1] == pytest.approx(10, rel=0.1)


@beams
def test_vectors_of_a_circular_scan_are_that_scan(beam):
    rays = BEAMS[beam](40)
    volume = covering(rays, n=32)
    vectors = VectorBeam(rays.vectors, rays.n_cols, kind=rays.kind, fan_step=rays.fan_step)
    x = random(volume.shape, operator("parallel"))
    assert (XRay(volume, vectors)(x) == XRay(volume, rays)(x)).all()


@pytest.mark.parametrize("offset", [0.0, 12.0])
def test_a_curved_detector_measures_the_rays_of_flat_single_bins(offset):
    distances = {"source_to_axis": 60.0, "source_to_detector": 100.0}
    curved = FanBeam.evenly(
        9, 31, pitch=2.0, curved=True, detector_offset=offset, source_offset=2.0, **distances
    )
    volume = Volume((20, 22), 1.1)
    x = random(volume.shape, operator("parallel"))
    y = XRay(volume, curved)(x)
    for k, fan in enumerate(curved.gammas):
        flat = FanBeam.evenly(
            9, 1, pitch=2.0, detector_offset=100 * math.tan(fan) + 2.0, source_offset=2.0, **distances
        )
        assert difference(XRay(volume, flat)(x)[:, 0], y[:, k]) < 1e-12


@pytest.mark.parametrize("name", ["parallel", "fan flat", "fan curved", "fan moving"])
def test_a_narrow_detector_sees_part_of_what_a_wide_one_sees(name):
    beam = operator(name).beam
    make = {"n_cols": beam.n_cols, "kind": beam.kind, "fan_step": beam.fan_step}
    x = random((9, 11), operator(name))
    some = XRay(Volume((9, 11)), VectorBeam(beam.vectors, **make))(x)
    wide = XRay(Volume((9, 11)), VectorBeam(beam.vectors, **make | {"n_cols": beam.n_cols + 100}))(x)
    if beam.kind == "parallel":
        assert not wide[:, :40].any() and not wide[:, -40:].any()
    assert difference(wide[:, 50:-50], some) < 1e-12
    few = XRay(Volume((9, 11)), VectorBeam(beam.vectors, **make | {"n_cols": beam.n_cols - 10}))(x)
    assert difference(few, some[:, 5:-5]) < 1e-12


def test_rays_that_miss_are_zero_both_ways():
    A = XRay(Volume((8, 8), 1.0, (0.0, 50.0)), ParallelBeam([0.0, 0.3], 20))
    assert not A(np.ones((8, 8))).any() and not A.H(np.ones((2, 20))).any()


def test_geometry_per_sample():
    beams = [
        FanBeam.evenly(8, 30, pitch=1.5, source_to_axis=d, source_to_detector=80.0) for d in (30.0, 50.0)
    ]
    volume = Volume((16, 17))
    A = XRay(volume, beams[0])
    x = random((2, *volume.shape), A, "float32")
    both = A(x, vectors=np.stack([b.vectors for b in beams]))
    loop = np.stack([XRay(volume, b)(one) for b, one in zip(beams, x, strict=True)])
    assert difference(both, loop) < 1e-6
    y = random((2, *A.out_shape), A, "float32")
    both = A.H(y, vectors=np.stack([b.vectors for b in beams]))
    assert (
        difference(both, np.stack([XRay(volume, b).H(one) for b, one in zip(beams, y, strict=True)])) < 1e-6
    )


def test_a_grid_that_reaches_the_source_is_refused():
    with pytest.raises(ValueError, match=r"grid of 100 x 100 mm reaches the source"):
        XRay(
            Volume((50, 50), 2.0),
            FanBeam.evenly(8, 9, pitch=1.0, source_to_axis=60.0, source_to_detector=99.0),
        )


def astra_sinogram(kind, geometry, volume, x):
    astra = pytest.importorskip("astra")
    (ny, nx), (dy, dx) = volume.shape, volume.steps
    grid = astra.create_vol_geom(ny, nx, -nx * dx / 2, nx * dx / 2, -ny * dy / 2, ny * dy / 2)
    projector = astra.create_projector(kind, geometry, grid)
    number, y = astra.create_sino(np.ascontiguousarray(x[::-1]), projector)  # rows from the top
    astra.data2d.delete(number)
    astra.projector.delete(projector)
    return y


def test_astra_parallel():
    astra = pytest.importorskip("astra")
    beam = ParallelBeam.evenly(50, 120, pitch=0.9, span=2 * math.pi, start=0.03)
    volume = Volume((64, 70), 1.1)
    geometry = astra.create_proj_geom("parallel", 0.9, 120, beam.angles)
    smooth = blob_image(volume, (5.0, -8.0), 9.0).astype(np.float32)
    noise = random(volume.shape, operator("parallel"), "float32")
    for x, bound in ((smooth, 1e-5), (noise, 2e-4)):  # ASTRA steps along a ray in single precision
        assert rms(XRay(volume, beam)(x), astra_sinogram("linear", geometry, volume, x)) < bound


def test_astra_fan():
    """ASTRA's CPU has no linear interpolation for fans: its line lengths agree on a smooth image."""
    astra = pytest.importorskip("astra")
    beam = FanBeam.evenly(50, 120, pitch=1.5, start=0.03, source_to_axis=90.0, source_to_detector=150.0)
    volume = Volume((64, 70), 1.1)
    x = blob_image(volume, (5.0, -8.0), 9.0).astype(np.float32)
    geometry = astra.create_proj_geom("fanflat", 1.5, 120, beam.angles, 90.0, 60.0)
    assert rms(XRay(volume, beam)(x), astra_sinogram("line_fanflat", geometry, volume, x)) < 5e-3
