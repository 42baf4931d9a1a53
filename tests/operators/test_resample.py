"""Blur, binning and cut-off k-space: known values, peers, exact adjoints, compositions, wrong arguments."""

import math

import numpy as np
import pytest
import scipy.ndimage
import torch

from rayfold.operators import (
    FFT,
    Blur,
    Downsample,
    Identity,
    KSpaceCrop,
    ParallelBeam,
    Volume,
    XRay,
    conformance,
    dot_test,
)

RNG = np.random.default_rng(3)
MODES = {"reflect": "reflect", "zero": "constant"}
both = pytest.mark.parametrize("boundary", MODES)


# --- blur ---


@both
def test_a_point_becomes_the_kernel(boundary):
    kernel = RNG.standard_normal((3, 5))
    point = np.zeros((7, 9))
    point[3, 4] = 1
    expected = np.zeros((7, 9))
    expected[2:5, 2:7] = kernel
    assert np.array_equal(Blur((7, 9), kernel=kernel, boundary=boundary)(point), expected)


@both
@pytest.mark.parametrize("sigma", [0.4, 1.0, (2.0, 0.5)])
def test_a_gaussian_is_that_of_scipy(boundary, sigma):
    x = RNG.standard_normal((12, 10))
    expected = scipy.ndimage.gaussian_filter(x, sigma, mode=MODES[boundary], truncate=4.0)
    assert np.abs(Blur((12, 10), sigma, boundary=boundary)(x) - expected).max() < 1e-14


@both
def test_a_kernel_is_that_of_scipy(boundary):
    x, kernel = RNG.standard_normal((6, 5)), RNG.standard_normal((5, 3))
    expected = scipy.ndimage.convolve(x, kernel, mode=MODES[boundary])
    assert np.abs(Blur((6, 5), kernel=kernel, boundary=boundary)(x) - expected).max() < 1e-13


def test_an_axis_of_width_zero_is_left_alone():
    x = RNG.standard_normal((6, 40))
    assert np.array_equal(Blur((6, 40), (0.0, 2.0))(x), Blur((6, 40), 2.0, axes=(1,))(x))
    assert np.array_equal(Blur((6, 40), 0.0)(x), x)


def test_variances_add():
    """A Gaussian after a Gaussian is one of both variances, away from the borders."""
    point = np.zeros(81)
    point[40] = 1
    twice = Blur((81,), 2.0)(Blur((81,), 1.5)(point))
    assert np.abs(twice - Blur((81,), 2.5)(point)).max() < 2e-4 * twice.max()


@both
@pytest.mark.parametrize("reach", [1, 4, 6])
def test_the_adjoint_holds_where_the_kernel_is_as_wide_as_the_image(boundary, reach):
    A = Blur((6, 5), kernel=RNG.standard_normal((2 * reach + 1,)), axes=(0,), boundary=boundary)
    assert np.abs(A.H.dense() - A.dense().T).max() < 1e-15
    assert dot_test(A)


@both
def test_the_bound_of_the_norm_holds(boundary):
    for A in (
        Blur((6, 7), kernel=RNG.standard_normal((3, 5)), boundary=boundary),
        Blur((6, 7), 1.3, boundary=boundary),
    ):
        assert np.linalg.norm(A.dense(), 2) <= A.norm_bound() * (1 + 1e-6)
    assert Blur((6, 7), 1.3, boundary="reflect").norm_bound() < 1.001


def test_the_kernel_may_be_a_tensor_and_the_operator_says_how_to_make_it():
    A = Blur((4, 4), kernel=torch.tensor([[0.0, 1.0, 0.0]] * 3))
    assert eval(repr(A), {"Blur": Blur}) == A and hash(A) == hash(eval(repr(A), {"Blur": Blur}))
    assert A != Blur((4, 4), kernel=np.eye(3)) != Blur((4, 4), kernel=np.eye(3), boundary="zero")


# --- binning ---


def test_a_ramp_is_sampled_at_the_middles_of_the_boxes():
    ramp = 2.0 * np.arange(6)[:, None] - 0.5 * np.arange(8)
    y, x = np.arange(3) * 2 + 0.5, np.arange(2) * 4 + 1.5
    assert np.allclose(Downsample((6, 8), (2, 4))(ramp), 2.0 * y[:, None] - 0.5 * x, atol=1e-15)


def test_binning_there_and_back():
    A = Downsample((6, 4), 2)
    y = RNG.standard_normal(A.out_shape)
    assert np.allclose(A(A.H(y)), y / 4, atol=1e-16)
    assert np.allclose(A.H(y) * 4, np.kron(y, np.ones((2, 2))), atol=1e-16)
    assert A.norm_bound() == pytest.approx(np.linalg.norm(A.dense(), 2))


def test_binned_projections_are_those_of_a_detector_of_larger_bins():
    """Chords of a smooth object, averaged over pairs of bins, against bins of twice the pitch."""
    volume, angles = Volume((32, 32)), np.linspace(0, math.pi, 9, endpoint=False)
    y, x = (np.mgrid[:32, :32] - 15.5) / 6
    blob = np.exp(-(x**2) - 1.5 * y**2)
    fine = Downsample((9, 48), 2, axes=(-1,)) @ XRay(volume, ParallelBeam(angles, 48))
    coarse = XRay(volume, ParallelBeam(angles, 24, 2.0))
    assert fine.out_shape == coarse.out_shape
    assert np.abs(fine(blob) - coarse(blob)).max() < 0.02 * coarse(blob).max()


def test_a_coarse_image_projects_as_its_fine_one():
    """Rays through an image of boxes, and through the same image on half the pixel size."""
    angles = np.linspace(0, math.pi, 7, endpoint=False) + 0.2
    coarse = RNG.random((8, 8))
    fine = Downsample((16, 16), 2).H(coarse) * 4
    beam = ParallelBeam(angles, 12)
    ours = XRay(Volume((16, 16), 0.5), beam)(fine).sum(1)
    assert np.allclose(ours, XRay(Volume((8, 8)), beam)(coarse).sum(1), rtol=0.02)


# --- cut-off k-space ---


def band_limited(shape, crop, *, real):
    """An image whose k-space ends before the last line of the crop."""
    spectrum = np.zeros(shape, complex)
    inside = tuple(
        slice(n // 2 - (m - 1) // 2, n // 2 + (m - 1) // 2 + 1) for n, m in zip(shape, crop, strict=True)
    )
    part = spectrum[inside]
    part[...] = RNG.standard_normal(part.shape) + 1j * RNG.standard_normal(part.shape)
    x = FFT(shape).H(spectrum)
    return x.real if real else x


@pytest.mark.parametrize(("shape", "crop"), [((12, 10), (6, 5)), ((9, 8), (3, 4)), ((6, 6), (6, 3))])
def test_a_band_limited_image_is_sampled(shape, crop):
    """Voxel j of the coarse grid lies at voxel n//2 + (j - m//2) n/m of the fine one."""
    places = [n // 2 + (np.arange(m) - m // 2) * (n // m) for n, m in zip(shape, crop, strict=True)]
    for real in (False, True):
        x = band_limited(shape, crop, real=real)
        A = KSpaceCrop(shape, crop, field="real" if real else "complex")
        assert np.abs(A(x) - x[np.ix_(*places)]).max() < 1e-14 * 10
        assert np.abs(KSpaceCrop(shape, crop)(x) - x[np.ix_(*places)]).max() < 1e-13
        again = A.H(A(x)) / A.norm_bound() ** 2  # nothing is lost: zero filling brings it back
        assert np.abs(again - x).max() < 1e-13


def test_intensities_stay():
    for field in ("complex", "real"):
        assert np.allclose(KSpaceCrop((7, 8), (4, 5), field=field)(np.full((7, 8), 3.0)), 3.0, atol=1e-14)


def test_what_a_scan_of_the_middle_lines_gives():
    """The crop of k-space, transformed on its own grid, with the gain."""
    x = RNG.standard_normal((8, 6)) + 1j * RNG.standard_normal((8, 6))
    k = FFT((8, 6))(x)[2:6, 1:5]
    assert np.allclose(KSpaceCrop((8, 6), 4)(x), FFT((4, 4)).H(k) * math.sqrt(16 / 48), atol=1e-14)


def test_real_images():
    """An even crop keeps one frequency without its mirror image, which makes real images complex."""
    x = RNG.standard_normal((8, 8))
    full, part = KSpaceCrop((8, 8), 4), KSpaceCrop((8, 8), 4, field="real")
    assert np.abs(full(x).imag).max() > 0.01 and not np.iscomplexobj(part(x))
    assert np.allclose(full(x).real, part(x), atol=1e-15)
    assert np.abs(KSpaceCrop((8, 8), 3)(x).imag).max() < 1e-15  # odd: symmetric
    z = x + 1j * RNG.standard_normal((8, 8))
    assert np.allclose(part(z), part(z.real) + 1j * part(z.imag), atol=1e-14)
    assert part(torch.tensor(x)).dtype == torch.float64


@pytest.mark.parametrize("shape", [(6, 5), (7, 8)])
def test_the_gram_is_a_low_pass(shape):
    A = KSpaceCrop(shape, (3, 4))
    assert (
        np.abs(A.gram.dense(np.complex128) - (A.H.dense(np.complex128) @ A.dense(np.complex128))).max()
        < 1e-14
    )
    assert np.linalg.norm(A.dense(np.complex128), 2) == pytest.approx(A.norm_bound())


# --- all ---

EVERY = [
    Blur((5, 6), 0.8),
    Downsample((4, 6), 2),
    KSpaceCrop((5, 6), 3),
    KSpaceCrop((5, 6), 4, field="real"),
]


@pytest.mark.parametrize("A", EVERY, ids=repr)
def test_the_contract_holds(A):
    report = conformance(A)
    assert report, str(report)


def test_they_act_along_other_axes_too():
    maps = XRay(Volume((8, 8)), ParallelBeam.evenly(5, 8))
    x = RNG.standard_normal((8, 8))
    wide = Downsample((8,), 2) @ maps
    assert wide.out_shape == (5, 4)
    assert np.allclose(wide(x), maps(x).reshape(5, 4, 2).mean(-1))
    assert (Downsample((4, 4), 1) @ Identity((4, 4)))(np.ones((4, 4))).shape == (4, 4)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Blur((8,)), "either sigma or kernel"),
        (lambda: Blur((8,), 1.0, kernel=[1.0]), "either sigma or kernel"),
        (lambda: Blur((8,), -1.0), "widths of 0 or more"),
        (lambda: Blur((8,), math.nan), "widths of 0 or more"),
        (lambda: Blur((8, 8), (1.0,)), "1 numbers for 2 axes"),
        (lambda: Blur((8, 3), 2.0), "reaches 8 pixels along axis -1, which has 3"),
        (lambda: Blur((8,), 1.0, boundary="wrap"), "reflect or zero"),
        (lambda: Blur((8,), kernel=[1.0, 1.0]), "odd sizes"),
        (lambda: Blur((8,), kernel=[math.inf]), "not finite"),
        (lambda: Blur((8,), kernel=[[1.0]]), "2 axes for 1"),
        (lambda: Downsample((6, 5), 2), "crop it to 4 or pad it to 6"),
        (lambda: Downsample((6, 6), 0), "whole numbers of 1 or more"),
        (lambda: Downsample((6, 6), 1.5), "whole numbers"),
        (lambda: Downsample((6, 6), 2, axes=(0, 0)), "once"),
        (lambda: Downsample((6, 6), 2, axes=(1, 0)), "out of order"),
        (lambda: Downsample((6, 6), 2, axes=(2,)), "from -2 to 1"),
        (lambda: KSpaceCrop((6,), 7), "from 1 to 6 frequencies"),
        (lambda: KSpaceCrop((6,), 0), "from 1 to 6"),
        (lambda: KSpaceCrop((6,), 3, field="magnitude"), "real or complex"),
        (lambda: KSpaceCrop((), 3), "one or more axes"),
    ],
)
def test_wrong_arguments_say_what_is_right(make, text):
    with pytest.raises(ValueError, match=text):
        make()
