"""deepinv for real: its physics in our solvers, our operators in its methods, on the same tensors."""

import numpy as np
import pytest
from tests.operators.adapters.peers import (
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

from rayfold.operators import ParallelBeam, Volume, XRay, dot_test, gradient_test
from rayfold.operators.adapters import compare_adjoints, from_deepinv, to_deepinv

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def deepinv():
    return load("deepinv")


def blur(deepinv, torch):
    kernel = torch.rand((1, 1, 3, 3), generator=torch.Generator().manual_seed(0))
    return deepinv.physics.Blur(filter=kernel, padding="circular")


@pytest.mark.parametrize("double", [False, True])
def test_physics_as_an_operator(deepinv, double):
    import torch

    physics = blur(deepinv, torch)
    physics = physics.double() if double else physics
    op = from_deepinv(physics, (1, 8, 9))
    assert op.in_shape == op.out_shape == (1, 8, 9) and op.field == "real"
    x = RNG.standard_normal((2, 3, 1, 8, 9)).astype(np.float64 if double else np.float32)
    direct = physics.A(torch.from_numpy(x).reshape(6, 1, 8, 9)).numpy().reshape(x.shape)
    assert op(x).dtype == x.dtype and (op(x) == direct).all()
    print("\n" + compare_adjoints(native(), op))
    assert dot_test(op, dtype="float64" if double else "float32").ok
    gradient_is_adjoint(op)
    if double:
        assert gradient_test(from_deepinv(physics, (1, 4, 5)))
        cgls_finds(op, x[0, 0], 80, 1e-6)


def test_tomography(deepinv):
    """The same scan in both packages; deepinv turns the image, first row at the top, and sums its columns."""
    import torch

    n, angles = 255, np.arange(6) * 30.0 + 1  # of this size its padded image keeps its middle
    physics = deepinv.physics.Tomography(
        angles=torch.from_numpy(angles).float(), img_width=n, circle=False, normalize=False
    )
    theirs = from_deepinv(physics, (1, n, n))
    volume, beam = Volume((n, n)), ParallelBeam(np.deg2rad(angles), theirs.out_shape[1])
    ours, where = XRay(volume, beam), ((12.0, -15.0), 25.0)
    x = smooth(volume, *where).astype(np.float32)
    y, exact = theirs(x[None, ::-1])[0].T, smooth_integrals(beam, *where)
    print(f"\nrayfold against deepinv {relative(ours(x), y):.1e}; against the exact sinogram "
          f"{relative(ours(x), exact):.1e} and {relative(y, exact):.1e}")  # fmt: skip
    print(compare_adjoints(ours, theirs))
    assert relative(ours(x), y) < 1e-3 and relative(y, exact) < 1e-3
    assert dot_test(ours).ok


def test_mri_physics(deepinv):
    """Complex images as two real channels, as deepinv holds them."""
    import torch

    mask = (torch.rand((1, 2, 8, 8), generator=torch.Generator().manual_seed(1)) > 0.4).float()
    mask[:, 1] = mask[:, 0]
    op = from_deepinv(deepinv.physics.MRI(mask=mask, img_size=(2, 8, 8)), (2, 8, 8))
    assert dot_test(op).ok
    gradient_is_adjoint(op)


def test_our_operator_in_deepinv(deepinv):
    """Its own adjointness test, its pseudo-inverse, and gradients of any order."""
    import torch

    op = native(12, 30)
    physics = to_deepinv(op)
    x = torch.from_numpy(smooth(op.volume, (1.0, 1.0), 2.5).astype(np.float32))[None, None]
    y = physics(x)
    assert (
        y.shape == (1, 1, *op.out_shape)
        and torch.equal(y, op(x))
        and torch.equal(physics.A_adjoint(y), op.H(y))
    )
    assert abs(float(physics.adjointness_test(x))) < 1e-3 * float((y**2).sum())
    physics.max_iter, physics.tol = 300, 1e-7
    assert relative(physics.A_dagger(y)[0, 0], x[0, 0]) < 0.01
    leaf = x.clone().requires_grad_()
    fit = deepinv.optim.L2()
    (gradient,) = torch.autograd.grad(fit(leaf, y * 0, physics).sum(), leaf)
    assert relative(gradient, op.gram(x)) < 1e-5


def test_our_operator_in_a_deepinv_method(deepinv):
    """Proximal gradient descent with a total variation prior, all of it deepinv's."""
    import torch

    op = native(16, 20)
    physics = to_deepinv(op)
    x = torch.from_numpy(smooth(op.volume, (1.0, -1.0), 3.0).astype(np.float32))[None, None]
    step = 1 / op.norm_bound() ** 2
    method = deepinv.optim.PGD(
        data_fidelity=deepinv.optim.L2(), prior=deepinv.optim.TVPrior(n_it_max=20),
        stepsize=step, lambda_reg=1e-3, max_iter=200,
    )  # fmt: skip
    with torch.no_grad():
        found = method(op(x), physics)
    assert relative(found[0, 0], x[0, 0]) < 0.05


def test_memory_is_shared(deepinv):
    import torch

    inner = Watched((2, 3))
    x = torch.ones(1, 1, 2, 3)
    y = to_deepinv(inner).A(x)
    assert inner.seen == [address(x), address(y)]
    seen = []

    def watch(x):
        seen.append(address(x))
        return x

    op = from_deepinv(deepinv.physics.LinearPhysics(A=watch, A_adjoint=watch), (1, 2, 3))
    seen.clear()
    op(x), op.H(x)
    op(x.numpy())
    assert seen == [address(x)] * 3
    fixed = x.numpy().copy()
    fixed.flags.writeable = False
    assert (op(fixed) == fixed).all()


def test_what_does_not_convert_is_refused(deepinv):
    import torch

    with pytest.raises(ValueError, match="only linear physics"):
        from_deepinv(deepinv.physics.Physics(A=lambda x: x**2), (1, 4, 4))
    both = blur(deepinv, torch).stack(blur(deepinv, torch))
    with pytest.raises(ValueError, match="several tensors"):
        from_deepinv(both, (1, 4, 4))
