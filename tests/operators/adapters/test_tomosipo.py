"""tomosipo: its geometries and its operator class for real; its CUDA kernels where there is a GPU."""

import numpy as np
import pytest
from tests.operators.adapters.peers import (
    ELLIPSES,
    Watched,
    address,
    gradient_is_adjoint,
    load,
    native,
    relative,
    smooth,
    smooth_integrals,
)  # fmt: skip

from rayfold.operators import FanBeam, Identity, ParallelBeam, Volume, XRay, dot_test
from rayfold.operators.adapters import (
    compare_adjoints,
    from_tomosipo,
    geometry_from_tomosipo,
    geometry_to_tomosipo,
    to_tomosipo,
)  # fmt: skip
from rayfold.recon.ellipses import ellipse_sinogram, rasterise

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def ts():
    return load("tomosipo")


@pytest.fixture(scope="module")
def cuda(ts):
    astra = load("astra")
    if not astra.astra.use_cuda():
        pytest.skip("tomosipo computes with ASTRA's CUDA kernels, and this ASTRA has no CUDA device")


def scans(ts):
    """In tomosipo's own words: grids off the axis, detectors moved and turned about z."""
    volume = ts.volume(shape=(3, 40, 50), pos=(1.5, -3.0, 4.0), size=(6.0, 20.0, 25.0))
    angles = np.linspace(0.1, 3.0, 7)
    parallel = ts.parallel(angles=angles, shape=(3, 60), size=(6.0, 42.0))
    turned = ts.translate((1.5, 0.0, 0.0)) * ts.rotate(pos=0, axis=(1, 0, 0), angles=0.3) * parallel.to_vec()
    cone = ts.cone(angles=angles, shape=(1, 60), size=(2.0, 70.0), src_orig_dist=80.0, src_det_dist=120.0)
    thin = ts.volume(shape=(1, 40, 50), pos=(0.0, -3.0, 4.0), size=(2.0, 20.0, 25.0))
    return {"parallel": (volume, turned), "cone": (thin, cone)}


@pytest.mark.parametrize("kind", ["parallel", "cone"])
def test_points_project_where_tomosipo_says(ts, kind):
    """The middle of a small blob's shadow in our sinogram, against tomosipo's projection of that point."""
    there, scan = scans(ts)[kind]
    volume, beam = geometry_from_tomosipo(there, scan)
    assert volume.shape == (40, 50) and beam.shape == (7, 60)
    op, z = XRay(volume, beam), float(there.pos[0][0])
    for x, y in ((0.0, 0.0), (8.3, 1.7), (-2.2, -9.0)):
        shadow = op(smooth(volume, (x, y), 0.8))
        k = np.arange(60) - 59 / 2
        middle = (shadow * k).sum(1) / shadow.sum(1)
        wanted = scan.to_vec().project_point((z, y, x))
        assert np.allclose(wanted[:, 0], 0, atol=1e-9)
        assert np.abs(middle - wanted[:, 1]).max() < 0.01


def test_voxels_are_where_tomosipo_says(ts):
    there, scan = scans(ts)["parallel"]
    volume, _ = geometry_from_tomosipo(there, scan)
    ys, xs = volume.coordinates()
    for j, i in ((0, 0), (7, 31), (39, 49)):
        assert np.allclose(there[:, j, i].pos[0][1:], (ys[j], xs[i]))


@pytest.mark.parametrize("kind", ["parallel", "parallel offset", "fan", "fan offset"])
def test_geometry_survives_the_round_trip(ts, kind):
    volume = Volume((10, 12), (0.5, 0.7), (1.0, -2.0))
    shift = {"detector_offset": 1.5} if "offset" in kind else {}
    if "fan" in kind:
        beam = FanBeam.evenly(5, 16, pitch=1.2, source_to_axis=30.0, source_to_detector=50.0, **shift)
    else:
        beam = ParallelBeam.evenly(5, 16, pitch=1.2, **shift)
    there = geometry_to_tomosipo(volume, beam, slices=1 if "fan" in kind else 4, thickness=0.3)
    assert there[0].shape[0] == there[1].det_shape[0] == (1 if "fan" in kind else 4)
    assert np.allclose(there[0].voxel_size, (0.3, 0.5, 0.7))
    back_volume, back = geometry_from_tomosipo(*there)
    assert np.allclose(back_volume.steps, volume.steps) and np.allclose(back_volume.middle, volume.middle)
    assert back.kind == beam.kind and np.allclose(back.vectors, beam.vectors) and back.shape == beam.shape


def test_rays_that_leave_their_slice_are_refused(ts):
    volume, scan = scans(ts)["parallel"]
    with pytest.raises(ValueError, match="leave their slice"):
        geometry_from_tomosipo(volume, ts.rotate(pos=0, axis=(0, 1, 0), angles=0.1) * scan)
    with pytest.raises(ValueError, match="leave their slice"):
        geometry_from_tomosipo(volume, ts.cone(angles=4, shape=(3, 60), size=(6.0, 70.0), cone_angle=0.5))
    with pytest.raises(ValueError, match="4 slices"):
        geometry_to_tomosipo(
            Volume((8, 8)),
            FanBeam.evenly(5, 16, pitch=1.0, source_to_axis=30.0, source_to_detector=50.0),
            slices=4,
        )
    with pytest.raises(TypeError, match="has no geometry"):
        to_tomosipo(Identity((4, 4)))


def test_our_operator_as_tomosipos(ts):
    """Shapes, transpose, data sets and outputs of tomosipo's own classes, without CUDA."""
    op = native(12, 9)
    A = to_tomosipo(op, slices=3)
    assert isinstance(A, type(A).__mro__[1]) and A.T.T is A
    assert A.domain_shape == A.T.range_shape == (3, 12, 12)
    assert A.range_shape == A.T.domain_shape == (3, 9, 20)
    x = RNG.standard_normal((3, 12, 12)).astype(np.float32)
    y = A(x)
    assert (y == op(x)).all() and (A.T(y) == op.H(y)).all()
    out = np.zeros_like(y)
    assert A(x, out=out) is out and (out == y).all()
    data = ts.data(A.domain, x)
    shadow = A(data)
    assert shadow.geometry == A.range and (shadow.data == y).all()
    target = ts.data(A.range)
    A(data, out=target)
    assert (target.data == y).all() and (A.T(target).data == op.H(y)).all()
    geometry = A.projection_geometry
    same = XRay(*geometry_from_tomosipo(A.volume_geometry, geometry))
    assert relative(same(x), y) < 1e-6


def test_our_operator_through_tomosipos_autograd(ts):
    import torch

    to_autograd = load("tomosipo.torch_support").to_autograd
    op = native(8, 6)
    f = to_autograd(to_tomosipo(op, slices=2))
    x = torch.randn(2, 8, 8, requires_grad=True)
    g = torch.randn(2, *op.out_shape)
    (f(x) * g).sum().backward()
    assert torch.equal(x.grad, op.H(g))


def test_wrapped_again_it_is_ours(ts):
    """`from_tomosipo` drives tomosipo's interface; without CUDA the kernels behind it are ours."""
    op = native(10, 14)
    again = from_tomosipo(to_tomosipo(op, slices=2))
    assert again.in_shape == (2, 10, 10) and again.out_shape == (2, 14, 18)
    x = RNG.standard_normal((3, 2, 10, 10))
    y = again(x)
    assert y.dtype == np.float64 and relative(y, op(x)) < 1e-6
    assert dot_test(again).ok
    gradient_is_adjoint(again)
    additive = to_tomosipo(op)
    additive.additive = True
    with pytest.raises(ValueError, match="additive=False"):
        from_tomosipo(additive)


def test_memory_is_shared(ts):
    inner = Watched((2, 4, 4))
    grid = ts.volume(shape=(2, 4, 4))
    A = to_tomosipo(inner, (grid, ts.parallel(angles=4, shape=(2, 4))))
    x = np.ones((2, 4, 4), np.float32)
    y = A(x)
    assert inner.seen == [address(x), address(y)]
    seen = []

    class Peer:
        domain_shape = range_shape = (2, 4, 4)
        T = property(lambda self: self)

        def __call__(self, x, out=None):
            seen[:] = [address(x), address(out)]
            out[...] = x

    y = from_tomosipo(Peer())(x)
    assert seen == [address(x), address(y)]


@pytest.mark.parametrize("kind", ["parallel", "fan"])
def test_ellipses_agree(ts, cuda, kind):
    """ASTRA's CUDA kernels through tomosipo, our transform and the exact sinogram."""
    n = 512
    volume = Volume((n, n), 100.0 / n)
    if kind == "parallel":
        beam = ParallelBeam.evenly(9, n, pitch=110.0 / n, start=0.01)
    else:
        beam = FanBeam.evenly(
            9, n, pitch=190.0 / n, start=0.01, source_to_axis=150.0, source_to_detector=250.0
        )
    ours, theirs = XRay(volume, beam), from_tomosipo(ts.operator(*geometry_to_tomosipo(volume, beam)))
    x = rasterise(ELLIPSES, volume).astype(np.float32)
    y = theirs(x[None])[0]
    print("\n" + compare_adjoints(ours, theirs))
    assert relative(ours(x), y) < 1e-3
    assert relative(y, ellipse_sinogram(ELLIPSES, beam, sub_bins=8)) < 2e-3
    blob = smooth(volume).astype(np.float32)
    assert relative(theirs(blob[None])[0], smooth_integrals(beam)) < 1e-3
