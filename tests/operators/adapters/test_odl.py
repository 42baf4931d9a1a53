"""ODL for real: its operators with their weighted spaces in our solvers, ours in its solvers."""

import numpy as np
import pytest
from tests.operators.adapters.peers import (
    ELLIPSES,
    Watched,
    address,
    cgls_finds,
    gradient_is_adjoint,
    load,
    native,
    relative,
    smooth,
    smooth_integrals,
)  # fmt: skip

from rayfold.operators import Diagonal, XRay, dot_test
from rayfold.operators.adapters import compare_adjoints, from_odl, geometry_from_odl, to_odl
from rayfold.operators.adapters.odl import weights
from rayfold.recon.ellipses import ellipse_sinogram, rasterise

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def odl():
    load("astra")
    return load("odl")


def transform(odl, kind, n, views, dtype="float32", low=(-45.0, -52.0), high=(55.0, 48.0)):
    """A scan in ODL's own words: cells of 100 / n mm, and a detector that is off the middle."""
    tomo = odl.applications.tomo
    space = odl.uniform_discr(low, high, (n, n), dtype=dtype)
    turn = np.pi if kind == "parallel" else 2 * np.pi
    angles = odl.uniform_partition(0.01, turn + 0.01, views)
    if kind == "parallel":
        # ODL's CPU backend leaves out the offset of a parallel detector: this one has none
        geometry = tomo.Parallel2dGeometry(angles, odl.uniform_partition(-68.0, 68.0, n + n // 4))
    else:
        bins = odl.uniform_partition(-128.0, 120.0, n + n // 4)
        geometry = tomo.FanBeamGeometry(angles, bins, src_radius=150.0, det_radius=100.0)
    return tomo.RayTransform(space, geometry, impl="astra_cpu")


kinds = pytest.mark.parametrize("kind", ["parallel", "fan"])


@kinds
def test_ellipses_agree(odl, kind):
    """Our own transform on the imported geometry, ODL's, and the exact sinogram."""
    n = 512 if kind == "parallel" else 768  # ODL warns from 512 x 512 on that its CPU is slow
    with pytest.warns(RuntimeWarning, match="astra_cpu"):
        peer = transform(odl, kind, n, 8)
        theirs = from_odl(peer)
        volume, beam = geometry_from_odl(peer)
        x = rasterise(ELLIPSES, volume).astype(np.float32)
        y = theirs(x.T)
    ours = XRay(volume, beam)
    exact = ellipse_sinogram(ELLIPSES, beam, sub_bins=8)
    print(f"\n{kind}: rayfold against ODL {relative(ours(x), y):.1e}, exact {relative(ours(x), exact):.1e}")
    assert relative(ours(x), y) < 1e-3
    assert relative(ours(x), exact) < 1e-3


@kinds
def test_smooth_object_agrees_with_its_integrals(odl, kind):
    peer = transform(odl, kind, 256, 8)
    volume, beam = geometry_from_odl(peer)
    x = smooth(volume).astype(np.float32)
    assert relative(from_odl(peer)(x.T), smooth_integrals(beam)) < 1e-3
    assert relative(XRay(volume, beam)(x), smooth_integrals(beam)) < 1e-3


@kinds
def test_ray_transform_as_an_operator(odl, kind):
    """Its adjoint in ODL belongs to cells of 2.5 mm x 2.5 mm; here it is the plain one."""
    peer = transform(odl, kind, 40, 30)
    op = from_odl(peer)
    print("\n" + compare_adjoints(XRay(*geometry_from_odl(peer)), op))
    assert dot_test(op).ok
    y = RNG.standard_normal(op.out_shape).astype(np.float32)
    there = peer.adjoint(peer.range.element(y)).asarray()
    factor = peer.domain.weighting.const / peer.range.weighting.const
    assert abs(factor - 1) > 0.1 and relative(op.H(y), factor * there) < 1e-6
    gradient_is_adjoint(op)


@kinds
def test_odls_transform_in_our_solver(odl, kind):
    peer = transform(odl, kind, 20, 60)
    x = smooth(geometry_from_odl(peer)[0], (2.0, 3.0), 12.0).T
    cgls_finds(from_odl(peer), np.ascontiguousarray(x, np.float32), 60, 0.02)


def weighted(odl, name):
    return {
        "plain": lambda: odl.rn((5, 6), dtype="float64"),
        "constant": lambda: odl.rn((5, 6), dtype="float64", weighting=0.3),
        "array": lambda: odl.rn((5, 6), dtype="float64", weighting=RNG.uniform(0.5, 2, (5, 6))),
        "cells": lambda: odl.uniform_discr([0, 0], [1, 3], (5, 6), dtype="float64"),
    }[name]()


@pytest.mark.parametrize("domain", ["plain", "constant", "array", "cells"])
@pytest.mark.parametrize("range", ["plain", "constant", "array"])
def test_weights_are_taken_out_and_put_back(odl, domain, range):
    """ODL's inner products agree with ODL's adjoint of our operator, plain ones with ours of ODL's."""
    inner = Diagonal((5, 6), RNG.standard_normal((5, 6)))
    there = to_odl(inner, weighted(odl, domain), weighted(odl, range))
    x, y = (space.element(RNG.standard_normal((5, 6))) for space in (there.domain, there.range))
    left, right = there(x).inner(y), x.inner(there.adjoint(y))
    assert abs(left - right) < 1e-12 * abs(left)
    assert there.adjoint.adjoint is there
    back = from_odl(there)
    assert dot_test(back, dtype="float64").ok
    assert np.allclose(back.dense(), inner.dense())


def test_odls_own_adjoint_test(odl, capsys):
    """`odl.diagnostics.OperatorTest` finds nothing wrong with our operator between spaces of cells."""
    op = native(10, 8)
    there = to_odl(op, odl.uniform_discr([-5, -5], [5, 5], (10, 10), dtype="float64"),
                   odl.uniform_discr([0, -9], [np.pi, 9], op.out_shape, dtype="float64"))  # fmt: skip
    odl.diagnostics.OperatorTest(there, verbose=True, tol=1e-10).adjoint()
    said = capsys.readouterr().out
    assert "Domain and range of adjoint are OK" in said and "FAILED" not in said.upper()


def test_gradient_to_a_power_space(odl):
    space = odl.uniform_discr([0, 0], [1, 2], (5, 6), dtype="float64")
    op = from_odl(odl.Gradient(space, pad_mode="symmetric"))
    assert op.out_shape == (2, 5, 6) and dot_test(op, dtype="float64").ok
    x = RNG.standard_normal((5, 6))
    assert np.allclose(op(x)[0], odl.Gradient(space, pad_mode="symmetric")(space.element(x))[0].asarray())


@pytest.mark.parametrize("outer", [None, 0.7, [1.0, 3.0]])
@pytest.mark.parametrize("inner", ["plain", "constant", "array", "cells"])
def test_weights_are_those_of_the_inner_product(odl, inner, outer):
    base = weighted(odl, inner)
    space = base if outer is None else odl.ProductSpace(base, 2, weighting=outer)
    a, b = (RNG.standard_normal(space.shape) for _ in range(2))
    u, v = (space.element(x if outer is None else list(x)) for x in (a, b))
    there = u.inner(v)
    assert abs((weights(space) * a * b).sum() - there) < 1e-12 * np.abs(a * b).sum()


@kinds
def test_imported_geometry_is_where_odl_says(odl, kind):
    """Detector off the middle, shifted source: every pixel of every view, in ODL's own words."""
    tomo, angles = odl.applications.tomo, odl.uniform_partition(0.3, 2.0, 5)
    bins = odl.uniform_partition(-3.0, 9.0, 24)
    if kind == "parallel":
        geometry = tomo.Parallel2dGeometry(angles, bins, det_pos_init=(0.0, 2.0), translation=(1.0, -2.0))
    else:
        geometry = tomo.FanBeamGeometry(angles, bins, 50.0, 30.0, src_to_det_init=(0.6, 0.8))
    space = odl.uniform_discr([-1, -2], [5, 4], (12, 24))
    volume, beam = geometry_from_odl(tomo.RayTransform(space, geometry, impl="astra_cpu"))
    assert volume.shape == (24, 12) and volume.steps == (0.25, 0.5) and volume.middle == (1.0, 2.0)
    for angle, v in zip(geometry.angles, beam.vectors, strict=True):
        for k, u in enumerate(bins.coord_vectors[0]):
            there = geometry.det_point_position(angle, u)
            assert np.allclose(v[2:4] + (k - (beam.n_cols - 1) / 2) * v[4:6], there)
        if kind == "parallel":
            assert np.allclose(v[:2], -np.asarray(geometry.det_to_src(angle, 0.0)))
        else:
            assert np.allclose(v[:2], geometry.src_position(angle))


def test_complex_space(odl):
    op = Diagonal((4,), RNG.standard_normal(4) + 1j * RNG.standard_normal(4))
    there = to_odl(op, dtype="complex128")
    assert there.domain == odl.cn(4, dtype="complex128")
    back = from_odl(there)
    assert back.field == "complex" and dot_test(back, dtype="float64").ok


@pytest.mark.parametrize("solver", ["conjugate_gradient_normal", "landweber", "pdhg"])
def test_our_operator_in_odls_solvers(odl, solver):
    """One image of a smooth object, found by ODL in weighted spaces; with total variation by PDHG."""
    op = native(12, 30)
    domain = odl.uniform_discr([-6, -6], [6, 6], (12, 12), dtype="float64")
    A = to_odl(op, domain, odl.rn(op.out_shape, dtype="float64", weighting=0.1))
    truth = smooth(op.volume, (1.0, 1.0), 2.5)
    data, x = A(domain.element(truth)), domain.zero()
    if solver == "conjugate_gradient_normal":
        odl.solvers.conjugate_gradient_normal(A, x, data, niter=60)
    elif solver == "landweber":
        odl.solvers.landweber(A, x, data, niter=800, omega=float(1 / A.norm(estimate=True) ** 2))
    else:
        K = odl.BroadcastOperator(A, odl.Gradient(domain))
        fit = odl.functionals.L2NormSquared(A.range).translated(data)
        edges = 1e-4 * odl.functionals.GroupL1Norm(K.range[1])
        step = float(0.9 / odl.power_method_opnorm(K, maxiter=30, xstart=domain.element(truth)))
        nothing = odl.functionals.ZeroFunctional(domain)
        odl.solvers.pdhg(
            x, nothing, odl.functionals.SeparableSum(fit, edges), K, niter=800, tau=step, sigma=step
        )
    assert relative(x.asarray(), truth) < 0.02


def test_memory_is_shared(odl):
    inner = Watched((2, 3))
    there = to_odl(inner)
    x = np.ones((2, 3), np.float32)
    y = there(there.domain.element(x))
    assert inner.seen == [address(x), address(y.data)]
    seen = []

    class Peer(odl.Operator):
        def _call(self, x):
            seen.append(address(x.data))
            return x

        adjoint = property(lambda self: self)

    space = odl.rn((2, 3), dtype="float32")
    from_odl(Peer(space, space, linear=True))(x)
    assert seen == [address(x)]


def test_torch_behind_odl(odl):
    """Elements backed by torch stay torch: no conversion, and the adjoint weighs them as well."""
    import torch

    space = odl.rn((2, 3), dtype="float32", impl="pytorch", weighting=2.0)
    there = to_odl(Watched((2, 3)), space, odl.rn((2, 3), dtype="float32", impl="pytorch"))
    x = torch.ones(2, 3)
    y = there(there.domain.element(x))
    assert isinstance(y.data, torch.Tensor) and address(x) == there.rayfold.seen[0]
    assert torch.equal(there.adjoint(y).data, 2 * y.data / 2)


def test_what_does_not_convert_is_refused(odl):
    space = odl.rn(4)
    with pytest.raises(ValueError, match="not linear"):
        from_odl(odl.PowerOperator(space, 2))
    with pytest.raises(ValueError, match="exponent 1"):
        from_odl(odl.IdentityOperator(odl.rn(4, exponent=1)))
    with pytest.raises(ValueError, match="CustomInner"):
        from_odl(odl.IdentityOperator(odl.rn(4, inner=lambda a, b: 1.0)))
    with pytest.raises(ValueError, match="a power"):
        from_odl(odl.IdentityOperator(odl.ProductSpace(odl.rn(2), odl.rn(3))))
    with pytest.raises(ValueError, match="tensor space of shape"):
        to_odl(native(4), domain=odl.rn(5))
    with pytest.raises(ValueError, match="the other complex"):
        from_odl(odl.ComplexEmbedding(odl.rn(4)))
    curved = odl.applications.tomo.FanBeamGeometry(
        odl.uniform_partition(0, 1, 4), odl.uniform_partition(-1, 1, 8), 5, 5, det_curvature_radius=10
    )
    with pytest.raises(ValueError, match="CircularDetector"):
        geometry_from_odl(
            odl.applications.tomo.RayTransform(
                odl.uniform_discr([-1, -1], [1, 1], (4, 4)), curved, impl="astra_cpu"
            )
        )
