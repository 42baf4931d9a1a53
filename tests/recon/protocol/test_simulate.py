"""Simulated data agree with the operator up to noise and discretisation, and are not made with it."""

import numpy as np
import pytest

from rayfold.operators import Gaussian, Volume
from rayfold.recon import CTProtocol, Image, MRIProtocol, prepare
from rayfold.recon.ellipses import ellipse_sinogram, rasterise
from rayfold.recon.mri import head
from rayfold.recon.protocol.objects import CTObject, finer
from rayfold.recon.protocol.simulate_ct import expected

DISCS = np.array([[0.02, 40.0, 30.0, 5.0, -3.0, 0.4], [-0.01, 12.0, 9.0, -8.0, 6.0, 0.0]])
GRID = Volume((96, 96), 1.2)
BEAMS = [
    {"geometry": "parallel", "cols": 110, "pitch_mm": 1.1},
    {"geometry": "fan", "cols": 130, "pitch_mm": 1.8},
    {"geometry": "curved-fan", "cols": 130, "pitch_mm": 1.8, "detector_offset_mm": 0.45},
]
SAMPLING = [
    {},
    {"pattern": "equispaced", "acceleration": 2, "calibration": 8},
    {"pattern": "poisson", "acceleration": 4, "calibration": 6},
    {"pattern": "golden-radial", "shots": 40},
    {"pattern": "spiral", "shots": 6},
]


def apart(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def ct(kind, **changes):
    return CTProtocol(**{"views": 36, "photons": 1e12, **BEAMS[kind], **changes})


def mri(kind, **changes):
    return MRIProtocol(**{"matrix": (48, 48), "coils": 4, "snr": 1e6, **SAMPLING[kind], **changes})


# --- CT ---


@pytest.mark.parametrize("kind", range(3))
def test_ct_agrees_with_the_operator_without_noise(kind):
    p = ct(kind)
    problem = p.problem(DISCS, volume=GRID)
    model = problem.A(p.truth(DISCS, GRID))
    assert 1e-4 < apart(model, problem.y) < 0.02  # not the same, but the same physics
    half = Volume((192, 192), 0.6)
    finer_model = p.operator(half)(p.truth(DISCS, half))
    assert apart(finer_model, problem.y) < 0.7 * apart(model, problem.y)  # the grid is what differs


@pytest.mark.parametrize("kind", range(3))
@pytest.mark.parametrize(
    "noise", [{"photons": 3e3}, {"photons": 3e3, "electronic": 8.0}, {"noise_percent": 5.0}]
)
def test_ct_noise_is_what_the_model_says(kind, noise):
    p = ct(kind, **{"views": 60, "photons": None, **noise})
    problem = p.problem(DISCS, seed=3, volume=GRID)
    white = problem.whiten(problem.A(p.truth(DISCS, GRID)) - problem.y)
    assert 0.95 < np.mean(white**2) < 1.08


def test_ct_ellipses_are_exact_where_absorption_is_weak():
    """The log of a mean intensity is a mean of line integrals to first order: then the closed form holds."""
    p = ct(1)
    weak = DISCS * [1e-4, 1, 1, 1, 1, 1]
    assert apart(expected(p, CTObject.of(weak)), ellipse_sinogram(weak, p.beam, sub_bins=4)) < 1e-5


def test_ct_detectors_average_intensity_not_line_integrals():
    """Behind a thick edge the mean of exp(-p) is what counts (the exponential edge gradient effect)."""
    p = ct(0)
    thick = DISCS * [30, 1, 1, 1, 1, 1]
    seen, linear = expected(p, CTObject.of(thick)), ellipse_sinogram(thick, p.beam, sub_bins=4)
    assert (seen <= linear + 1e-9).all() and (linear - seen).max() > 0.1  # Jensen's inequality


def test_an_image_is_no_inverse_crime():
    image = Image(rasterise(DISCS, GRID).astype(np.float32), GRID.steps)
    for kind in range(3):
        problem = ct(kind).problem(image)
        assert problem.A.in_shape == GRID.shape
        assert 1e-3 < apart(problem.A(image.array), problem.y) < 0.03


def test_scan_and_problem_hold_the_same_data():
    for noise in ({"photons": 4e3, "electronic": 6.0}, {"photons": None, "noise_percent": 1.0}):
        p = ct(1, **noise)
        scan, problem = p.simulate(DISCS, seed=5), p.problem(DISCS, seed=5, volume=GRID)
        if scan.kind == "counts":
            assert (scan.data >= 0).all()  # raw counts have an offset
            drawn = problem.noise.line_integrals(scan.data - scan.dark)
            assert np.allclose(drawn, problem.y, atol=1e-4)
            assert scan.flat.mean() - scan.dark.mean() == pytest.approx(4e3, rel=0.01)
            assert scan.photons == 4e3
        else:
            assert np.array_equal(scan.data, problem.y)
        assert prepare(scan).data.shape == scan.data.shape and scan.mu_water == p.mu_water_per_mm
        again, other = p.simulate(DISCS, seed=5), p.simulate(DISCS, seed=6)
        assert np.array_equal(again.data, scan.data) and not np.array_equal(other.data, scan.data)


def test_blur_is_in_the_data_and_in_the_operator():
    sharp, soft = ct(0), ct(0, blur_fwhm_mm=5.0)
    weak = DISCS * [0.1, 1, 1, 1, 1, 1]
    problem = soft.problem(weak, volume=GRID)
    truth = soft.truth(weak, GRID)
    with_blur, without = apart(problem.A(truth), problem.y), apart(sharp.operator(GRID)(truth), problem.y)
    assert with_blur < 0.01 and without > 3 * with_blur


def test_hu_are_mapped_by_the_protocols_water():
    p = ct(0, mu_water_per_mm=0.02)
    mu = rasterise(DISCS, GRID)
    hu = Image(1000 * (mu / 0.02 - 1), GRID.steps, unit="HU")
    a, b = p.simulate(hu).data, p.simulate(Image(mu, GRID.steps)).data
    assert np.allclose(a, b, rtol=1e-3)


def test_pixels_keep_the_mean_and_the_place():
    array = np.random.default_rng(0).uniform(size=(12, 18))
    thing = CTObject.of(Image(array, (2.0, 1.0), origin=(-3.0, 4.0)))
    grid = thing.grid
    assert np.allclose(thing.pixels(grid), array)
    coarse = Volume((4, 9), (6.0, 2.0), grid.centre)
    assert np.allclose(thing.pixels(coarse), array.reshape(4, 3, 9, 2).mean(axis=(1, 3)))
    between = Volume((13, 18), (2.0, 1.0), grid.centre)  # one row more: half a pixel off
    assert np.allclose(thing.pixels(between)[1:12], (array[1:] + array[:-1]) / 2)
    assert np.allclose(thing.pixels(between)[0], array[0] / 2)  # half of it lies in air


@pytest.mark.parametrize(
    ("thing", "message"),
    [
        ("thorx", "did you mean thorax?"),
        (Image(np.ones((4, 4), complex), (1.0, 1.0)), "give a real slice"),
        (Image(np.ones((4, 4)), (1.0, 1.0), unit="a.u."), "needs 1/mm or HU"),
        (np.ones((3, 5)), "the table has shape"),
    ],
)
def test_ct_refuses_what_it_cannot_scan(thing, message):
    with pytest.raises(ValueError, match=message.replace("?", r"\?")):
        ct(0).simulate(thing)


# --- MRI ---


@pytest.mark.parametrize("kind", range(5))
def test_mri_agrees_with_the_operator_without_noise(kind):
    p = mri(kind)
    problem = p.problem("head")
    model = problem.A(p.truth("head"))
    assert 1e-4 < apart(model, problem.y) < 0.05
    assert np.array_equal(problem.y, p.simulate("head").data)


@pytest.mark.parametrize("kind", range(5))
def test_mri_noise_is_what_the_model_says(kind):
    p = mri(kind, snr=10.0, averages=2)
    problem = p.problem("head", seed=2)
    white = problem.whiten(problem.A(p.truth("head")) - problem.y)
    if p.cartesian:
        white = white[np.broadcast_to(p.mask, p.matrix)[None].repeat(4, axis=0)]
    assert 0.93 < np.mean(abs(white) ** 2) / 2 < 1.15
    assert isinstance(problem.noise, Gaussian)


@pytest.mark.parametrize("matrix", [(16, 16), (15, 17)])
def test_squares_of_an_image_stay_where_its_voxels_are(matrix):
    """A point scanned on the finer grid comes back at its voxel, real and positive, not moved at all."""
    p = MRIProtocol(matrix=matrix)
    for at in ((5, 9), (0, 0), (matrix[0] // 2, matrix[1] // 2)):
        point = np.zeros(matrix)
        point[at] = 1.0
        seen = p.truth(point)
        assert np.unravel_index(abs(seen).argmax(), matrix) == at
        assert abs(seen.imag).max() < 0.02 and seen[at].real > 0.7
        assert seen.sum().real == pytest.approx(1, abs=1e-4)  # what it weighs


def test_an_mri_image_is_no_inverse_crime():
    image = head((48, 48))
    p = mri(1)
    problem = p.problem(image)
    assert apart(problem.A(image), problem.y) > 0.005
    assert apart(problem.A(p.truth(image)), problem.y) < 0.05


def test_mri_objects():
    square = (220.0, 220.0)
    assert finer("head", (32, 32), square).shape == (64, 64)
    assert finer(np.ones((32, 32)), (32, 32), square).shape == (96, 96)
    assert finer(np.ones((50, 50)), (32, 32), square).shape == (50, 50)
    with pytest.raises(ValueError, match="coarser than the matrix"):
        finer(np.ones((16, 16)), (32, 32), square)
    with pytest.raises(ValueError, match="mm large"):
        finer(Image(np.ones((64, 64)), (1.0, 1.0)), (32, 32), square)
    with pytest.raises(ValueError, match="known is head"):
        finer("thorax", (32, 32), square)


def test_coils_and_averages():
    one = MRIProtocol(coils=1)
    assert np.array_equal(one.maps(), np.ones((1, 128, 128)))
    four = MRIProtocol(coils=4, matrix=(32, 32))
    assert four.maps().shape == (4, 32, 32) and not four.maps().flags.writeable
    assert four.noise(3.0).sigma == 3.0 / 50
    assert four.replace(averages=9).noise(3.0).sigma == pytest.approx(1.0 / 50)
