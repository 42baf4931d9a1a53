"""Operators as arguments of compiled JAX functions: arrays are inputs, the structure is the program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rayfold.operators import Diagonal, FanBeam, ParallelBeam, Volume, XRay

VOLUME = Volume((20, 22), (1.0, 0.9))
X = np.random.default_rng(0).random((20, 22)).astype(np.float32)


def fan(start: float) -> XRay:
    beam = FanBeam.evenly(
        12, 40, start=start, pitch=1.5, source_to_axis=300.0, source_to_detector=450.0, curved=True
    )
    return XRay(VOLUME, beam)


def test_a_new_geometry_compiles_nothing():
    traces = []

    @jax.jit
    def project(A, x):
        traces.append(1)
        return A(x)

    for start in np.linspace(0, 1, 12):
        A = fan(float(start))
        np.testing.assert_array_equal(np.asarray(project(A, jnp.asarray(X))), A(X))
    assert len(traces) == 1


def test_vectors_keep_float64_without_x64():
    """The equality above is exact only because the bits travel; rounded vectors give other line integrals."""
    A = fan(0.3)
    rounded = A(X, vectors=A.beam.vectors.astype(np.float32).astype(np.float64))
    assert not jax.config.jax_enable_x64
    assert np.abs(rounded - A(X)).max() > 0


@pytest.mark.parametrize("make", [
    lambda: fan(0.0).H,
    lambda: 2 * fan(0.1) + fan(0.2),
    lambda: fan(0.1).H @ Diagonal((12, 40), np.linspace(0, 1, 480).reshape(12, 40)) @ fan(0.1),
    lambda: XRay(VOLUME, ParallelBeam.evenly(8, 40))[::2],
])  # fmt: skip
def test_composites_are_pytrees(make):
    A = make()
    x = np.random.default_rng(1).random(A.in_shape).astype(np.float32)
    y = jax.jit(lambda A, x: A(x))(A, jnp.asarray(x))
    np.testing.assert_allclose(np.asarray(y), A(x), rtol=2e-6, atol=1e-5)
    leaves, structure = jax.tree_util.tree_flatten(A)
    again = jax.tree_util.tree_unflatten(structure, leaves)
    np.testing.assert_allclose(np.asarray(again(jnp.asarray(x))), A(x), rtol=2e-6, atol=1e-5)


def test_gradient_with_respect_to_an_operators_weights():
    A = Diagonal((3,), np.array([1.0, 2.0, 3.0], np.float32))
    x = jnp.asarray([1.0, -1.0, 2.0])
    grads = jax.grad(lambda A: jnp.sum(A(x) ** 2))(A)
    (leaf,) = jax.tree_util.tree_leaves(grads)
    np.testing.assert_allclose(
        np.asarray(leaf), 2 * np.array([1.0, 2.0, 3.0]) * np.asarray(x) ** 2, rtol=1e-6
    )
