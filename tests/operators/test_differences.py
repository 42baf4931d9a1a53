"""Finite differences: exact adjoints, known values, second differences of affine images, every library."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rayfold.operators import conformance, dot_test
from rayfold.operators.differences import Gradient, SymmetricGradient

GRIDS = [((7,), 0.5), ((5, 6), (0.7, 2.0)), ((1, 6), 1.0), ((3, 2, 4), (1.5, 1.0, 0.4)), ((2, 1, 2, 2), 1.0)]
KINDS = [Gradient, SymmetricGradient]
every = pytest.mark.parametrize("A", [kind(*grid) for kind in KINDS for grid in GRIDS], ids=repr)


@every
def test_the_contract_holds(A):
    report = conformance(A)
    assert report, str(report)


@every
def test_every_library_gives_the_same_numbers(A):
    """The buffers of NumPy and the arithmetic of torch and JAX are two ways to one answer."""
    rng = np.random.default_rng(0)
    for op in (A, A.H):
        x = rng.standard_normal((2, *op.in_shape)).astype("float32")
        expected = op(x)
        tolerance = 1e-6 * np.abs(expected).max(initial=0)
        for found in (op(torch.tensor(x)), op(jnp.asarray(x)), jax.jit(op)(x)):
            assert "float32" in str(found.dtype) and expected.dtype == np.float32
            np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)
        vmapped = torch.func.vmap(op)(torch.tensor(x))
        np.testing.assert_allclose(vmapped, expected, rtol=0, atol=tolerance)


@every
def test_derivatives_in_jax(A):
    """First and second derivatives of sum sin(A x), forward over reverse and under jit, in closed form."""
    rng = np.random.default_rng(1)
    with jax.enable_x64():
        for op in (A, A.H):
            x, d = rng.standard_normal((2, *op.in_shape))
            slope = jax.grad(lambda v, op=op: jnp.sum(jnp.sin(op(v))))
            first, second = jax.jit(lambda x, d, slope=slope: jax.jvp(slope, (x,), (d,)))(x, d)
            np.testing.assert_allclose(first, op.H(np.cos(op(x))), rtol=0, atol=1e-10)
            np.testing.assert_allclose(second, -op.H(np.sin(op(x)) * op(d)), rtol=0, atol=1e-10)


@every
def test_complex_images_are_mapped_part_by_part(A):
    rng = np.random.default_rng(2)
    re, im = rng.standard_normal((2, *A.in_shape))
    for z in (re + 1j * im, torch.tensor(re + 1j * im)):
        np.testing.assert_allclose(np.asarray(A(z)), A(re) + 1j * A(im), rtol=0, atol=1e-13)
    assert A((re + 1j * im).astype("complex64")).dtype == np.complex64


@settings(max_examples=20, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    grid=st.lists(st.tuples(st.integers(1, 5), st.floats(1e-3, 1e3)), min_size=1, max_size=3),
)
def test_dot_product_and_bound_on_any_grid(kind, grid):
    shape, spacing = (tuple(part) for part in zip(*grid, strict=True))
    A = kind(shape, spacing)
    result = dot_test(A, dtype="float64")
    assert result, str(result)
    matrix = A.dense()
    assert np.linalg.norm(matrix, 2) <= A.norm_bound() * (1 + 1e-12)
    wider = kind(shape, tuple(2 * h for h in spacing))
    np.testing.assert_allclose(2 * wider.dense(), matrix, rtol=1e-12)


def test_the_bound_is_tight_on_large_grids():
    n = 60
    for A in (Gradient((n, n), (1.0, 0.5)), Gradient((n,), 0.5)):
        # the singular values along one axis are 2 sin(pi k / 2n) / h
        exact = A.norm_bound() * math.sin(math.pi * (n - 1) / (2 * n))
        assert A.norm(400) == pytest.approx(exact, rel=5e-3)
        assert A.norm_bound() == pytest.approx(exact, rel=1e-3)


def test_known_values():
    x = np.array([[1.0, 2.0, 4.0], [1.0, 5.0, 9.0]])
    rows = [[0.0, 3.0, 5.0], [0.0, 0.0, 0.0]]
    columns = [[0.5, 1.0, 0.0], [2.0, 2.0, 0.0]]
    np.testing.assert_array_equal(Gradient((2, 3), (1.0, 2.0))(x), [rows, columns])
    strain = SymmetricGradient((2, 3), (1.0, 2.0))(np.stack([x, 10 * x]))
    down = np.array([[0, 0, 0], [0, 3, 5]])  # of x, along the rows' axis
    across = np.array([[0, 0.5, 1.0], [0, 2, 2]])
    expected = [down, 10 * across, math.sqrt(2) * (across + 10 * down) / 2]
    np.testing.assert_allclose(strain, expected, rtol=1e-14)


def test_components_have_the_norm_of_the_tensor():
    v = np.random.default_rng(3).standard_normal((3, 4, 5, 6))
    steps = (0.5, 1.0, 2.0)
    slopes = np.zeros((3, 3, 4, 5, 6))  # component, axis
    for axis, h in enumerate(steps):
        pad = [(0, 0)] * 4
        pad[axis + 1] = (1, 0)
        slopes[:, axis] = np.pad(np.diff(v, axis=axis + 1) / h, pad)
    tensor = (slopes + slopes.swapaxes(0, 1)) / 2
    found = SymmetricGradient((4, 5, 6), steps)(v)
    np.testing.assert_allclose((found**2).sum(0), (tensor**2).sum((0, 1)), rtol=1e-12)


@pytest.mark.parametrize(("shape", "spacing"), [((9, 8), (0.5, 2.0)), ((5, 6, 4), (1.0, 0.3, 2.0))])
def test_affine_images_have_constant_slope_and_no_strain(shape, spacing):
    """The slope is the true one in units of the length; rigid motions of a vector field cost nothing."""
    slope = np.arange(1.0, len(shape) + 1)
    grid = np.indices(shape) * np.reshape(spacing, (-1, *(1,) * len(shape)))
    image = 7 + np.tensordot(slope, grid, 1)
    found = Gradient(shape, spacing)(image)
    inside = (slice(None), *(slice(0, -1),) * len(shape))
    exact = np.broadcast_to(slope.reshape(-1, *(1,) * len(shape)), found.shape)
    np.testing.assert_allclose(found[inside], exact[inside], rtol=1e-12)
    E = SymmetricGradient(shape, spacing)
    np.testing.assert_allclose(E(found)[inside], 0, atol=1e-12)
    np.testing.assert_allclose(E(np.ascontiguousarray(exact)), 0, atol=0)
    spin = np.zeros((len(shape), *shape))
    spin[0], spin[1] = grid[1], -grid[0]
    core = (slice(None), *(slice(1, None),) * len(shape))
    np.testing.assert_allclose(E(spin)[core], 0, atol=1e-12)


def test_the_adjoint_is_minus_the_divergence():
    """Inside it is minus the sum of backward differences; what flows out of a pixel flows into the next."""
    G = Gradient((4, 6), 0.5)
    p = np.random.default_rng(4).standard_normal((2, 4, 6))
    inner = -(np.diff(p[0], axis=0)[:-1, 1:-1] + np.diff(p[1], axis=1)[1:-1, :-1]) / 0.5
    np.testing.assert_allclose(G.H(p)[1:-1, 1:-1], inner, rtol=1e-12)
    assert abs(G.H(p).sum()) < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_bad_grids_are_refused(kind):
    for arguments, cure in [
        (((),), "one or more axes"),
        (((3, 0),), "positive size"),
        (((3, 4), (1.0,)), "1 numbers for 2 axes"),
        (((3, 4), 0.0), "positive lengths"),
        (((3, 4), (1.0, math.nan)), "positive lengths"),
    ]:
        with pytest.raises(ValueError, match=cure) as caught:
            kind(*arguments)
        assert "\n" not in str(caught.value)
    assert kind((3, 4), 2.0) == kind([3, 4], [2.0, 2.0]) and hash(kind((3,))) == hash(kind((3,), (1,)))
    with pytest.raises(ValueError, match="expects"):
        kind((3, 4)).H(np.zeros((3, 4)))
