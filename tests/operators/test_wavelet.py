"""Wavelets: an isometry for every size, the numbers of PyWavelets, every library."""

from contextlib import nullcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import pywt
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rayfold.operators import Identity, conformance, dot_test
from rayfold.operators.wavelet import Wavelet

SMALL = [
    Wavelet((8,), "db4", 2),
    Wavelet((6, 8), "haar"),
    Wavelet((5, 7), "db2", 2),
    Wavelet((2, 3, 4), "sym4"),
    Wavelet((1, 6), "db3", 1),
]
every = pytest.mark.parametrize("W", SMALL, ids=repr)


@every
def test_the_contract_holds(W):
    report = conformance(W)
    assert report, str(report)


@every
def test_every_library_gives_the_same_numbers(W):
    rng = np.random.default_rng(0)
    for op in (W, W.H):
        x = rng.standard_normal((2, *op.in_shape)).astype("float32")
        expected = op(x)
        tolerance = 1e-6 * np.abs(expected).max()
        for found in (op(torch.tensor(x)), op(jnp.asarray(x)), jax.jit(op)(x)):
            assert "float32" in str(found.dtype) and expected.dtype == np.float32
            np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=tolerance)
        vmapped = torch.func.vmap(op)(torch.tensor(x))
        np.testing.assert_allclose(vmapped, expected, rtol=0, atol=tolerance)


@every
def test_derivatives_in_jax(W):
    """First and second derivatives of sum sin(A x), forward over reverse and under jit, in closed form."""
    rng = np.random.default_rng(1)
    with jax.enable_x64():
        for op in (W, W.H):
            x, d = rng.standard_normal((2, *op.in_shape))
            slope = jax.grad(lambda v, op=op: jnp.sum(jnp.sin(op(v))))
            first, second = jax.jit(lambda x, d, slope=slope: jax.jvp(slope, (x,), (d,)))(x, d)
            np.testing.assert_allclose(first, op.H(np.cos(op(x))), rtol=0, atol=1e-10)
            np.testing.assert_allclose(second, -op.H(np.sin(op(x)) * op(d)), rtol=0, atol=1e-10)


def test_complex_images_are_mapped_part_by_part():
    W = Wavelet((9, 12), "db3", 2)
    re, im = np.random.default_rng(2).standard_normal((2, 9, 12))
    for z in (re + 1j * im, torch.tensor(re + 1j * im)):
        np.testing.assert_allclose(np.asarray(W(z)), W(re) + 1j * W(im), rtol=0, atol=1e-13)
    assert W((re + 1j * im).astype("complex64")).dtype == np.complex64


FAMILIES = [name for name in pywt.wavelist(kind="discrete") if pywt.Wavelet(name).orthogonal]
FAMILIES.remove("dmey")  # orthonormal to 2e-3 only


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(FAMILIES),
    shape=st.lists(st.integers(1, 17), min_size=1, max_size=3).map(tuple),
    data=st.data(),
)
def test_an_isometry_for_any_size_family_and_depth(name, shape, data):
    """Long filters on short axes, odd sizes and axes of one pixel included."""
    least = min((n for n in shape if n > 1), default=1)
    most = (least - 1).bit_length()
    levels = data.draw(st.none() | st.integers(min(1, most), most))
    W = Wavelet(shape, name, levels)
    x = np.random.default_rng(3).standard_normal(shape)
    np.testing.assert_allclose(W.H(W(x)), x, rtol=0, atol=1e-9)  # the taps of sym20 are rounded to 1e-11
    assert np.linalg.norm(W(x)) == pytest.approx(np.linalg.norm(x), rel=1e-9)
    assert dot_test(W, dtype="float64")
    assert all(n <= m < 2 * n for n, m in zip(shape, W.out_shape, strict=True))


@pytest.mark.parametrize("name", ["haar", "db2", "db4", "db10", "sym8", "coif3"])
@pytest.mark.parametrize(("shape", "levels"), [((64,), 3), ((32, 48), 4), ((16, 8, 24), 2), ((8, 8), 3)])
def test_the_numbers_of_pywavelets(name, shape, levels):
    W = Wavelet(shape, name, levels)
    x = np.random.default_rng(4).standard_normal(shape)
    with pytest.warns() if pywt.dwtn_max_level(shape, name) < levels else nullcontext():
        expected = pywt.wavedecn(x, name, "periodization", levels)
        flat, _ = pywt.coeffs_to_array(expected)
        back = pywt.waverecn(expected, name, "periodization")
    np.testing.assert_allclose(W(x), flat, rtol=0, atol=1e-12)
    np.testing.assert_allclose(W.H(flat), back, rtol=0, atol=1e-12)
    np.testing.assert_allclose(W(x)[W.approximation], next(iter(expected)), rtol=0, atol=1e-12)
    assert dot_test(W, dtype="float64", bound=1e-12)


def test_the_default_depth_is_that_of_pywavelets():
    for shape, name in [((256, 256), "db4"), ((64, 100), "haar"), ((300, 40), "sym8")]:
        assert Wavelet(shape, name).levels == pywt.dwtn_max_level(shape, name)
    assert Wavelet((8, 8), "db20").levels == 1


def test_polynomials_live_in_the_approximation():
    """A filter with p vanishing moments sees nothing of a polynomial of degree p - 1 away from the ends."""
    n = np.arange(64.0)
    cubic = ((n - 20) / 30) ** 3 - n / 50
    W = Wavelet((64,), "db4", 1)
    details = W(cubic)[32:]
    assert np.abs(details[2:-2]).max() < 1e-8 < np.abs(details).max()
    kinked = W(np.abs(n - 30.5))[32:]
    assert np.argmax(np.abs(kinked[2:-2])) + 2 in range(13, 18)


def test_constants_and_the_gram():
    W = Wavelet((16, 32), "sym4", 3)
    flat = W(np.ones((16, 32)))
    np.testing.assert_allclose(flat[W.approximation], 2.0**3, rtol=1e-10)
    flat[W.approximation] = 0
    np.testing.assert_allclose(flat, 0, atol=1e-10)
    assert W.gram == Identity((16, 32)) and W.norm_bound() == 1.0
    padded = Wavelet((15, 31), "sym4", 3)
    singular = np.linalg.svd(padded.dense(), compute_uv=False)
    np.testing.assert_allclose(singular, 1, atol=1e-10)


def test_what_is_no_isometry_is_refused():
    for arguments, cure in [
        (((8, 8), "bior2.2"), "not orthonormal; use haar"),
        (((64, 64), "dmey"), "not orthonormal"),
        (((8, 8), "morl"), "no discrete wavelet"),
        (((8, 8), "daubechies"), "no discrete wavelet"),
        (((8, 8), "haar", 4), "has 1 to 3"),
        (((8, 8), "haar", 0), "has 1 to 3"),
        (((8, 8), "haar", 1, "symmetric"), "use 'periodization'"),
        (((8, 0), "haar"), "positive size"),
    ]:
        with pytest.raises(ValueError, match=cure) as caught:
            Wavelet(*arguments)
        assert "\n" not in str(caught.value)
