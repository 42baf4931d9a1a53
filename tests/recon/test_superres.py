"""Finer and sharper images: where pixels lie, interpolation, what is solved, units, evidence, real scans."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rayfold.operators import Blur, Downsample, Gaussian, KSpaceCrop
from rayfold.recon import Image, Problem, certify, read_image
from rayfold.recon.detail import STEPS, fill_in
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.finer import FWHM, FinerGrid
from rayfold.recon.io.affine import affine_of
from rayfold.recon.metrics import psnr
from rayfold.recon.quality import edge_blur, kernel_blur, mtf, mtf50
from rayfold.recon.superresolution import solve, superres

RNG = np.random.default_rng(5)
TILTED = np.array([[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]])


def squares(n: int = 48) -> np.ndarray:
    """A piecewise constant image, of attenuation over that of water."""
    y, x = np.mgrid[:n, :n] / n - 0.5
    image = 1.0 * (np.hypot(y, x) < 0.42)
    image += 0.6 * ((abs(y - 0.1) < 0.12) & (abs(x + 0.1) < 0.15)) - 0.5 * (
        np.hypot(y + 0.2, x - 0.15) < 0.08
    )
    return image.astype(np.float32)


class Mild:
    """A prior that objects to nothing, and remembers what it was asked."""

    def __init__(self):
        self.seen = []

    def denoise(self, x, sigma, *, bands):
        self.seen.append((x.shape, sigma, np.array(bands)))
        return x


# --- the grid ---


@pytest.mark.parametrize("model", ["binning", "kspace"])
@pytest.mark.parametrize("shape", [(6, 7), (5, 8)])
def test_the_model_samples_where_the_grid_says(model, shape):
    """A wave whose phase is known at every fine pixel, through the operator, is itself at the coarse ones."""
    grid = FinerGrid(shape, (2, 3), model)
    fine = grid.fine_shape
    for axis in (0, 1):
        n, m = fine[axis], shape[axis]
        place = np.arange(n) if model == "binning" else 2 * np.pi / n * (np.arange(n) - n // 2)
        line = place if model == "binning" else np.cos(place) + 0.3 * np.sin(place)
        x = np.broadcast_to(line[:, None] if axis == 0 else line, fine)
        y = grid.operator()(np.array(x, float))
        back = np.interp(np.arange(m), grid.places(axis), line)
        got = y[:, 0] if axis == 0 else y[0]
        inside = slice(None) if model == "binning" else slice(1, -1)
        assert np.abs(got - back)[inside].max() < (1e-12 if model == "binning" else 0.12)
    if model == "kspace":  # with an odd factor and size, or an even one, coarse voxels lie on fine ones
        assert grid.places(0)[fine[0] // 2] == shape[0] // 2


@pytest.mark.parametrize("model", ["binning", "kspace"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_both_grids_lie_in_the_same_place(model, ndim):
    """Position of fine voxel i in mm, against that of coarse index places[i]."""
    shape, spacing, origin = (3, 4, 6)[-ndim:], (2.0, 0.7, 1.3)[-ndim:], (5.0, -3.0, 8.0)[-ndim:]
    coarse = Image(np.zeros(shape), spacing, origin, None if ndim == 2 else TILTED)
    grid = FinerGrid((4, 6), (2, 3), model)
    fine = grid.image(np.zeros((*shape[:-2], *grid.fine_shape)), coarse)
    assert fine.spacing == pytest.approx((*spacing[:-2], spacing[-2] / 2, spacing[-1] / 3))
    for j, i in ((0, 0), (3, 7), (7, 17)):
        index = np.array([grid.places(1)[i], grid.places(0)[j], 0, 1])
        assert affine_of(fine) @ [i, j, 0, 1] == pytest.approx(affine_of(coarse) @ index)


def test_binning_covers_the_same_field():
    coarse = Image(np.zeros((4, 6)), (1.0, 2.0))
    assert superres(coarse, 2, method="bicubic", certificate=False).origin == (
        -1.75,
        -5.5,
    )  # centred as before


def test_bicubic_interpolation_is_that_of_a_peer():
    """Pillow's, up to its edges: the same kernel, pixels at the same places."""
    from PIL import Image as Picture

    x = RNG.random((9, 8)).astype(np.float32)
    peer = np.asarray(Picture.fromarray(x).resize((16, 18), Picture.Resampling.BICUBIC))
    ours = FinerGrid((9, 8), (2, 2)).interpolate(x, "bicubic")
    assert np.abs(ours - peer)[4:-4, 4:-4].max() < 1e-6


@pytest.mark.parametrize("shape", [(6, 8), (5, 7)])
def test_sinc_interpolation_is_zero_filling(shape):
    grid = FinerGrid(shape, (2, 2), "kspace")
    odd = tuple(n - 1 + n % 2 for n in shape)  # an even size has a frequency that the two share differently
    x = KSpaceCrop(shape, odd, field="real").gram(RNG.standard_normal(shape))
    A = KSpaceCrop(grid.fine_shape, shape, field="real")
    assert np.abs(grid.interpolate(x, "sinc") - A.H(x) / A.norm_bound() ** 2).max() < 1e-12
    at = grid.interpolate(x, "sinc")[np.ix_(*(grid.places(a) % 1 == 0 for a in (0, 1)))]
    assert np.abs(at - x).max() < 1e-12


# --- what is solved ---


@pytest.mark.parametrize("kind", ["CT", "MR", "complex"])
def test_total_variation_beats_interpolation(kind):
    truth = squares()
    if kind == "complex":
        truth = (truth * np.exp(1j * np.linspace(0, 1, 48))).astype(np.complex64)
    A = (
        Downsample((48, 48), 2)
        if kind == "CT"
        else KSpaceCrop((48, 48), 24, field="real" if kind == "MR" else "complex")
    )
    noise = 0.005 * RNG.standard_normal((24, 24)).astype(np.float32)
    y = A(truth) + (noise * (1 + 1j) if kind == "complex" else noise)
    coarse = Image(y, (1.0, 1.0), unit="a.u.", modality="CT" if kind == "CT" else "MR")

    def quality(method):
        made = superres(coarse, 2, method=method, noise=0.005, certificate=False)
        assert made.array.dtype == (np.complex64 if kind == "complex" else np.float32)
        return 20 * np.log10(1.6 / np.sqrt(np.mean(np.abs(made.array - truth) ** 2)))

    assert quality("tv") > max(quality("bicubic"), quality("sinc")) + 1.5


def test_hu_are_solved_as_attenuation_and_padding_stays():
    hu = (squares(32) - 1) * 1000 + RNG.uniform(1, 2, (32, 32)).astype(np.float32)
    hu[:, :6] = -2000
    made = superres(Image(hu, (1.0, 1.0), unit="HU"), 2, method="tv", noise=10.0, certificate=False)
    mu = Image(1 + np.maximum(hu, -1000) / 1000, (1.0, 1.0), unit="1/mm")
    plain = superres(mu, 2, method="tv", noise=0.01, certificate=False)
    assert np.array_equal(made.array[:, :12], np.full((64, 12), -2000))
    assert np.abs(made.array[:, 12:] - (plain.array[:, 12:] - 1) * 1000).max() < 1e-2
    assert made.unit == "HU" and made.provenance["noise"] == pytest.approx(10)


def test_slices_are_solved_some_at_a_time_and_reported():
    volume = np.stack([squares(24) * k for k in range(1, 7)])
    prior, ticks = Mild(), []
    found = solve(
        Image(volume, (3.0, 1.0, 1.0)), (2, 1), prior=prior, noise=0.01, progress=lambda *t: ticks.append(t)
    )
    assert [seen[0] for seen in prior.seen] == [(4, 48, 24)] * STEPS + [(2, 48, 24)] * STEPS
    assert ticks == [(4, 6), (6, 6)] and found.image.shape == (6, 48, 24)
    assert found.slices == (0, 2, 5) and found.image.provenance["certificate"]["slices"] == [0, 2, 5]
    assert found.image.provenance["steps"] == ["superres x2x1"]


def test_the_prior_is_told_falling_levels_down_to_the_noise():
    prior, A = Mild(), Downsample((16, 16), 2)
    y = A(squares(16))[None]
    made = fill_in(Problem(A, y, Gaussian(0.02)), prior, np.zeros((1, 16, 16), np.float32), 0.1, strength=0.5)
    told = [sigma for _, sigma, _ in prior.seen]
    assert told == sorted(told, reverse=True) and told[-1] == pytest.approx(0.5 * 0.02 * 2)
    levels = np.array([sigma * bands for _, sigma, bands in prior.seen]) / 0.5
    assert (levels >= 0.04 - 1e-9).all() and levels[0, 0] == pytest.approx(0.2)
    assert np.abs(A(made) - y).max() < 0.01  # the data had their say


@pytest.mark.parametrize(
    "A",
    [
        Downsample((8, 8), 2),
        KSpaceCrop((8, 8), 4),
        KSpaceCrop((9, 8), (3, 5), field="real"),
        Blur((8, 8), 0.6),
    ],
)
def test_a_data_step_is_exact(A):
    """One step with a prior that changes nothing, against the closed form."""
    dense = A.dense(np.complex128 if A.field == "complex" else np.float64)
    v = np.zeros((1, *A.in_shape), dense.dtype)
    y = RNG.standard_normal(A.out_shape).astype(dense.dtype)
    made = v.ravel()
    for k in range(STEPS):
        level = 2.0 * 0.5 * 0.1 ** (k / (STEPS - 1))
        M = dense.conj().T @ dense / 0.01**2 + np.eye(made.size) / level**2
        made = made + np.linalg.solve(M, dense.conj().T @ (y.ravel() - dense @ made) / 0.01**2)
    found = fill_in(Problem(A, y[None], Gaussian(0.01)), Mild(), v, 0.5)
    bound = 1e-6 if not isinstance(A, Blur) else 0.1
    assert np.abs(found.ravel() - made).max() < bound * np.abs(made).max()


@pytest.mark.parametrize("method", ["tv", "prior"])
def test_no_strength_is_interpolation(method):
    coarse = Image(squares(24), (1.0, 1.0))
    made = superres(coarse, 2, method=method, strength=0.0, certificate=False)
    assert np.array_equal(made.array, superres(coarse, 2, method="bicubic", certificate=False).array)


def test_noise_is_measured_where_it_is_not_given():
    y = 100 + RNG.normal(0, 2.0, (64, 64))
    made = superres(Image(y.astype(np.float32), (1.0, 1.0), unit="a.u."), 2, method="bicubic")
    assert 1.7 < made.provenance["noise"] < 2.5 and "was measured" in made.provenance["notes"][0]
    assert made.provenance["certificate"]["noise_estimated"]
    flat = superres(np.ones((4, 5)), 2, method="bicubic", certificate=False)  # too small to measure anything
    assert np.allclose(flat.array, 1) and flat.provenance["noise"] > 0


def test_evidence_tells_what_binning_lost():
    """A chequerboard of fine pixels is invisible to their means, an image of boxes is seen."""
    boxes = np.kron(squares(24) + 1, np.ones((2, 2), np.float32))
    board = np.float32(0.5) * np.where(np.add.outer(np.arange(48), np.arange(48)) % 2, 1, -1).astype(
        np.float32
    )
    problem = Problem(FinerGrid((24, 24), (2, 2)).operator(), squares(24) + 1, Gaussian(0.01))
    seen, unseen = certify(problem, boxes), certify(problem, boxes + board)
    assert seen.unseen_share < 1e-3 and unseen.unseen_share > 0.05
    assert unseen.chi_square == pytest.approx(seen.chi_square, abs=1e-3)


# --- sharpening ---


def test_a_blur_is_undone_on_the_same_grid():
    y, x = np.mgrid[:64, :64] - 31.5
    disc = np.clip(16.2 - np.hypot(y + 0.3, x), -0.5, 0.5) + 0.5
    soft = Blur((64, 64), 1.6)(disc) + RNG.normal(0, 0.005, (64, 64))
    image = Image(soft.astype(np.float32), (0.5, 0.5))
    width = 1.6 * FWHM * 0.5
    assert edge_blur(soft, 0.5, edge="disc") == pytest.approx(width, rel=0.1)
    made = superres(image, 1, method="tv", psf=width, noise=0.005, certificate=False)
    assert made.shape == image.shape and made.origin == image.origin
    before, after = (mtf50(mtf(a, 0.5, edge="disc")) for a in (soft, made.array))
    assert after > 1.5 * before
    inside = np.hypot(y, x) < 10
    assert made.array[inside].std() < soft[inside].std()


def test_the_width_between_two_kernels():
    sharp = RNG.normal(size=(3, 64, 64))
    soft = Blur((64, 64), 1.2)(sharp)
    assert kernel_blur(soft, sharp, 0.4) == pytest.approx(1.2 * FWHM * 0.4, rel=0.03)
    for one, two, text in (
        (sharp, soft, "exchange"),
        (sharp, RNG.normal(size=(3, 64, 64)), "in common"),
        (sharp, soft[:2], "one grid"),
    ):
        with pytest.raises(ValueError, match=text):
            kernel_blur(one, two, 0.4)


def test_the_blur_is_stated_in_mm_or_as_a_kernel():
    kernel = np.outer([1, 2, 1], [1, 2, 1]) / 16
    sharp = squares(32)
    for spacing, factor, psf, B in (
        ((1.0, 1.0), 1, kernel, Blur((32, 32), kernel=kernel)),
        ((0.5, 1.0), 1, (FWHM, 0), Blur((32, 32), (2.0, 0.0))),
        ((0.8, 0.8), 2, 0.4 * FWHM, Downsample((32, 32), 2) @ Blur((32, 32), 1.0)),
    ):
        made = superres(
            Image(B(sharp), spacing), factor, method="tv", psf=psf, noise=1e-3, certificate=False
        ).array
        assert np.abs(B(made) - B(sharp)).max() < 0.02 and psnr(made, sharp, data_range=1.6) > 24


# --- input ---


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"factor": 0}, "from 1 to 8"),
        ({"factor": 2.5}, "from 1 to 8"),
        ({"factor": (2, 2, 2)}, r"or \(y, x\)"),
        ({"factor": 1}, "give psf"),
        ({"method": "lanczos"}, "prior, tv, bicubic, sinc"),
        ({"method": "sinc", "psf": 1.0}, "leave psf out"),
        ({"method": "bicubic", "strength": 0.5}, "no strength"),
        ({"method": "tv", "strength": -1.0}, "strength is -1"),
        ({"method": "tv", "psf": -1.0}, "full width at half maximum"),
        ({"method": "tv", "psf": 40.0}, "as wide as the image"),
        ({"noise": 0.0}, "positive standard deviation"),
        ({"model": "fourier"}, "binning or kspace"),
    ],
)
def test_wrong_arguments_say_what_is_right(options, text):
    factor = options.pop("factor", 2)
    with pytest.raises(ValueError, match=text) if factor != 2.5 else pytest.raises((ValueError, TypeError)):
        superres(np.ones((16, 16)), factor, **options)


def test_images_that_cannot_be_used():
    with pytest.raises(InconsistentInput, match="2 values that are not finite"):
        superres(np.array([[np.nan, np.inf], [0, 1]]), 2, method="tv")
    with pytest.raises(ValueError, match="2 or 3 axes"):
        superres(np.ones((2, 2, 4, 4)), 2)


def test_arrays_of_other_libraries_and_integers():
    x = (squares(16) * 100).astype(np.int16)
    made = [superres(a, 2, method="bicubic", certificate=False).array for a in (x, torch.tensor(x))]
    assert np.array_equal(*made) and made[0].dtype == np.float32


# --- measured scans ---


def test_skull_phantom_gains_resolution_at_unchanged_contrast_to_noise(measured):
    """Soft kernel, its blur against the sharp one undone: MTF50 of an insert's rim up by a fifth or more."""
    folder = measured("skull_kernels")
    soft, sharp = (
        read_image(folder / f"skull_phantom_{name}_1mm.nii.gz", unit="HU", slices=slice(25, 26))
        for name in ("brainkernel_UB", "bonekernel_YA")
    )
    step = soft.spacing[-1]
    width = kernel_blur(soft.array, sharp.array, step)
    assert 1.2 < width < 1.5
    cut = (slice(0, 1), slice(144, 228), slice(161, 245))
    region = replace(soft, array=soft.array[cut], origin=None)
    made = superres(region, 1, method="tv", psf=width, noise=20.0, certificate=False)
    y, x = np.mgrid[:84, :84] - 41.5
    air = (np.hypot(y, x) > 31) & (np.hypot(y, x) < 39)
    inside = np.hypot(y, x) < 19

    def found(image):
        plane = image.array[0].astype(float)
        contrast = plane[inside].mean() - plane[air].mean()
        return mtf50(mtf(plane, step, edge="disc")), contrast / plane[air].std()

    (before, cnr_before), (after, cnr_after) = found(region), found(made)
    assert after > 1.2 * before and cnr_after > 0.95 * cnr_before


def test_head_finer_than_by_interpolation(measured):
    from rayfold.recon.foundation import FoundationPrior

    try:
        network = FoundationPrior.load("small")
    except UnreadableInput:
        pytest.skip("the weights are not here")
    image = read_image(measured("head_dicom") / "16.dcm")
    hu = np.maximum(image.array[0, 192:320, 64:192], -1000).astype(np.float32)
    coarse = Image(Downsample(hu.shape, 2)(hu), tuple(2 * s for s in image.spacing[-2:]), unit="HU")
    prior, bicubic = (
        psnr(
            superres(coarse, 2, method=m, noise=1.0, prior=network, certificate=False).array,
            hu,
            data_range=2000,
        )
        for m in ("prior", "bicubic")
    )
    assert prior > bicubic + 1.5
