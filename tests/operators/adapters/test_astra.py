"""ASTRA for real: the same scan in both packages, its projectors in our solvers, our operators in its own."""

import numpy as np
import pytest
from tests.operators.adapters.peers import (
    ELLIPSES,
    address,
    cgls_finds,
    gradient_is_adjoint,
    load,
    native,
    relative,
    smooth,
    smooth_integrals,
)  # fmt: skip

from rayfold.operators import FanBeam, ParallelBeam, VectorBeam, Volume, XRay, dot_test
from rayfold.operators.adapters import (
    compare_adjoints,
    from_astra,
    geometry_from_astra,
    geometry_to_astra,
    to_astra,
)  # fmt: skip
from rayfold.recon.ellipses import ellipse_sinogram, rasterise

N, EXTENT = 768, 100.0  # ASTRA's CPU fan sums line lengths: it meets Joseph's model as the pixels shrink
FAN = {"source_to_axis": 150.0, "source_to_detector": 250.0}


@pytest.fixture(scope="module")
def astra():
    return load("astra")


def offset(beam, kind):
    """The same views as vectors, the detector of each moved by its own few bins."""
    vectors = np.array(beam.vectors)
    vectors[:, 2:4] += np.linspace(-9, 6, len(vectors))[:, None] * vectors[:, 4:6]
    return VectorBeam(vectors, beam.n_cols, kind=kind)


PARALLEL = ParallelBeam.evenly(9, N, pitch=1.1 * EXTENT / N, start=0.01)
FLAT = FanBeam.evenly(9, N, pitch=1.9 * EXTENT / N, start=0.01, **FAN)
SCANS = {
    "parallel": (PARALLEL, "linear"),
    "parallel_vec": (offset(PARALLEL, "parallel"), "linear"),
    "fanflat": (FLAT, "line_fanflat"),
    "fanflat_vec": (offset(FLAT, "fan"), "line_fanflat"),
}
scans = pytest.mark.parametrize("kind", SCANS)


def made_by_astra(astra, beam, volume):
    """The scan in ASTRA's own words, without our converter."""
    (ny, nx), step = volume.shape, volume.steps[0]
    (cy, cx), (h, w) = volume.middle, volume.extent
    grid = astra.create_vol_geom(ny, nx, cx - w / 2, cx + w / 2, cy - h / 2, cy + h / 2)
    assert step == volume.steps[1]
    if isinstance(beam, ParallelBeam):
        return astra.create_proj_geom("parallel", beam.pitch, beam.n_cols, np.array(beam.angles)), grid
    if isinstance(beam, FanBeam):
        far = beam.source_to_detector - beam.source_to_axis
        angles = np.array(beam.angles)
        return astra.create_proj_geom(
            "fanflat", beam.pitch, beam.n_cols, angles, beam.source_to_axis, far
        ), grid
    kind = "parallel_vec" if beam.kind == "parallel" else "fanflat_vec"
    return astra.create_proj_geom(kind, beam.n_cols, np.array(beam.vectors)), grid


@pytest.fixture
def projector(astra):
    made = []

    def make(beam, volume, model):
        made.append(astra.create_projector(model, *made_by_astra(astra, beam, volume)))
        return made[-1]

    yield make
    for number in made:
        astra.projector.delete(number)


@scans
def test_ellipses_agree(astra, projector, kind):
    """Our sinogram of an imported geometry, ASTRA's own, and the exact one."""
    beam, model = SCANS[kind]
    volume = Volume((N, N - 32), EXTENT / N, (0.4, -0.9))
    ours = XRay(*geometry_from_astra(*made_by_astra(astra, beam, volume)))
    x = rasterise(ELLIPSES, volume).astype(np.float32)
    number = projector(beam, volume, model)
    theirs = from_astra(number)
    difference = relative(ours(x), theirs(x))
    exact = ellipse_sinogram(ELLIPSES, beam, sub_bins=8)
    print(f"\n{kind}: rayfold against ASTRA {difference:.1e}; against the exact sinogram "
          f"{relative(ours(x), exact):.1e} and {relative(theirs(x), exact):.1e}")  # fmt: skip
    assert difference < 1e-3
    assert relative(ours(x), exact) < 1e-3
    direct = np.empty(beam.shape, np.float32)
    astra.OpTomo(number).FP(np.ascontiguousarray(x[::-1]), out=direct)
    assert (theirs(x) == direct).all()


@scans
def test_geometry_survives_the_round_trip(astra, projector, kind):
    beam, model = SCANS[kind]
    volume = Volume((30, 40), 0.7, (3.0, -4.0))
    scan, grid = geometry_to_astra(volume, beam)
    assert scan["type"] == kind
    back_volume, back = geometry_from_astra(scan, grid)
    assert back == beam
    assert np.allclose(back_volume.middle, volume.middle) and np.allclose(back_volume.steps, volume.steps)
    number = astra.create_projector(model, scan, grid)
    try:  # what ASTRA made of it, and gives back under other names and in single precision
        given = geometry_from_astra(
            astra.projector.projection_geometry(number), astra.projector.volume_geometry(number)
        )
        assert np.allclose(given[0].middle, volume.middle) and given[0].shape == volume.shape
        assert np.allclose(given[1].vectors, beam.vectors, rtol=1e-6, atol=1e-4)
    finally:
        astra.projector.delete(number)


@pytest.mark.parametrize("beam", ["parallel", "fan"])
def test_offset_beams_become_vectors(beam):
    made = {
        "parallel": ParallelBeam.evenly(5, 20, detector_offset=2.0),
        "fan": FanBeam.evenly(5, 20, pitch=1.0, detector_offset=2.0, source_offset=-1.0, **FAN),
    }[beam]
    scan, _ = geometry_to_astra(Volume((8, 8)), made)
    assert scan["type"].endswith("_vec") and np.array_equal(scan["Vectors"], made.vectors)


def test_what_does_not_convert_is_refused(astra):
    grid = astra.create_vol_geom(8, 8)
    with pytest.raises(ValueError, match="parallel3d"):
        geometry_from_astra({"type": "parallel3d", "DetectorCount": 4}, grid)
    with pytest.raises(ValueError, match="3D"):
        geometry_from_astra({"type": "parallel"}, astra.create_vol_geom(8, 8, 8))
    with pytest.raises(ValueError, match="curved"):
        geometry_to_astra(Volume((8, 8)), FanBeam.evenly(5, 20, pitch=1.0, curved=True, **FAN))
    with pytest.raises(ValueError, match="ny, nx"):
        geometry_to_astra(Volume((2, 8, 8)), PARALLEL)
    with pytest.raises(ValueError, match="no 2D projector 987654"):
        from_astra(987654)
    with pytest.raises(ValueError, match="real ones"):
        to_astra(1j * native(4))


@pytest.mark.parametrize("top_down", [False, True])
def test_projector_as_an_operator(projector, top_down):
    """Adjoint, batch, double precision outside, gradients, and our solver on it."""
    volume, beam = Volume((20, 24)), ParallelBeam.evenly(40, 40)
    op = from_astra(projector(beam, volume, "linear"), top_down=top_down)
    ours = XRay(volume, beam)
    print("\n" + compare_adjoints(ours, op))
    assert dot_test(ours).ok and dot_test(op).ok
    x = smooth(volume, sigma=3.0).astype(np.float32)
    flip = slice(None, None, -1) if top_down else slice(None)
    assert relative(op(x[flip]), ours(x)) < 1e-4
    y = ours(x)
    assert relative(op.H(y)[flip], ours.H(y)) < 1e-4
    batch = np.stack([x, 2 * x, x[::-1]])
    assert (op(batch) == np.stack([op(one) for one in batch])).all()
    wide = op(x.astype(float))
    assert wide.dtype == np.float64 and (wide == op(x)).all()
    gradient_is_adjoint(op)
    cgls_finds(op, x, 30, 0.02)


def test_fan_adjoints(projector):
    volume = Volume((32, 32))
    beam = FanBeam.evenly(20, 48, pitch=2.0, source_to_axis=60.0, source_to_detector=90.0)
    ours, theirs = XRay(volume, beam), from_astra(projector(beam, volume, "line_fanflat"))
    print("\n" + compare_adjoints(ours, theirs))
    assert dot_test(ours).ok


def test_memory_is_shared(astra, projector, monkeypatch):
    """ASTRA reads our image and writes our sinogram; turning rows is what costs a copy."""
    if not hasattr(astra.projector, "direct_FP"):
        pytest.skip("needs ASTRA 2.5 to see the addresses")
    volume, beam = Volume((8, 8)), ParallelBeam.evenly(5, 12)
    number, seen = projector(beam, volume, "linear"), []

    def spy(inner):
        def call(number, given, *, out):
            seen[:] = [address(given), address(out)]
            return inner(number, given, out=out)

        return call

    monkeypatch.setattr(astra.projector, "direct_FP", spy(astra.projector.direct_FP))
    monkeypatch.setattr(astra.projector, "direct_BP", spy(astra.projector.direct_BP))
    x, y = np.ones((8, 8), np.float32), np.ones((5, 12), np.float32)
    op = from_astra(number, top_down=True)
    assert address(op(x)) == seen[1] and seen[0] == address(x)
    assert address(op.H(y)) == seen[1] and seen[0] == address(y)
    op = from_astra(number)
    assert address(op(x)) == seen[1] and seen[0] != address(x)
    assert op.H(y).shape == (8, 8) and seen[0] == address(y)


def test_input_that_cannot_be_linked_is_copied(projector):
    volume, beam = Volume((8, 8)), ParallelBeam.evenly(5, 12)
    op = from_astra(projector(beam, volume, "linear"), top_down=True)
    x = np.arange(64, dtype=np.float32).reshape(8, 8)
    y = op(x)
    x.flags.writeable = False
    assert (op(x) == y).all()
    assert (op(np.asfortranarray(x)) == y).all()


def solved(astra, algorithm, number, data):
    """ASTRA's own loop, on its own copies."""
    scan, grid = astra.projector.projection_geometry(number), astra.projector.volume_geometry(number)
    image = astra.data2d.create("-vol", astra.create_vol_geom(grid["GridRowCount"], grid["GridColCount"]))
    sinogram = astra.data2d.create("-sino", scan, data)
    names = {"ReconstructionDataId": image, "ProjectionDataId": sinogram, "ProjectorId": number}
    work = astra.algorithm.create({**astra.astra_dict(algorithm), **names})
    astra.algorithm.run(work, 300 if algorithm == "SIRT" else 30)
    found = astra.data2d.get(image)
    astra.algorithm.delete(work)
    astra.data2d.delete([image, sinogram])
    return found


@pytest.mark.parametrize("algorithm", ["SIRT", "CGLS"])
def test_our_operator_in_astras_solvers(astra, algorithm):
    """Any operator, here a blurred scan with weighted views: ASTRA's solver finds the image we projected."""
    volume, beam = Volume((16, 16)), ParallelBeam.evenly(30, 28)
    from rayfold.operators import Diagonal

    op = Diagonal(beam.shape, np.linspace(0.5, 1.5, 30)[:, None]) @ XRay(volume, beam)
    x = smooth(volume, (1.0, -2.0), 3.0).astype(np.float32)
    number = to_astra(op, chunk=50)
    matrix = astra.projector.projection_geometry(number)["MatrixID"]
    try:
        assert relative(from_astra(number)(x), op(x)) < 1e-5
        assert relative(from_astra(number).H(op(x)), op.H(op(x))) < 1e-5
        assert relative(solved(astra, algorithm, number, op(x))[::-1], x) < 0.02
    finally:
        astra.projector.delete(number)
        astra.matrix.delete(matrix)


def test_smooth_object_agrees_with_its_integrals(projector):
    """The analytic blob through ASTRA's own projector, in our axes: nothing is mirrored or shifted."""
    volume, beam = Volume((128, 128), EXTENT / 128), offset(
        ParallelBeam.evenly(12, 140, pitch=EXTENT / 128, start=0.01), "parallel"
    )  # fmt: skip
    theirs = from_astra(projector(beam, volume, "linear"))
    assert relative(theirs(smooth(volume).astype(np.float32)), smooth_integrals(beam)) < 1e-3
