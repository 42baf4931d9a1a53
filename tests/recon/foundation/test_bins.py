"""Bins finer than pixels: where the merged ones are, what they hold, and that images gain by it."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.operators import (  # noqa: E402
    Blur,
    FanBeam,
    ParallelBeam,
    VectorBeam,
    Volume,
    XRay,
    fbp_operator,
)
from rayfold.operators.noise import Gaussian  # noqa: E402
from rayfold.recon import Problem, metrics  # noqa: E402
from rayfold.recon.foundation import FoundationPrior  # noqa: E402
from rayfold.recon.foundation.bins import merged_bins  # noqa: E402
from rayfold.recon.foundation.directions import approximate_inverse  # noqa: E402
from rayfold.recon.phantoms import draw  # noqa: E402

VOLUME = Volume((32, 32), 2.0)
BEAMS = [
    ParallelBeam.evenly(5, 120, pitch=0.5),
    ParallelBeam.evenly(5, 122, pitch=0.5, detector_offset=1.7),
    FanBeam.evenly(5, 121, pitch=0.9, source_to_axis=200.0, source_to_detector=400.0, detector_offset=-3.0),
    FanBeam.evenly(5, 119, pitch=0.9, source_to_axis=200.0, source_to_detector=400.0, curved=True),
]


def problem_of(beam, sigma=0.1, seed=0, volume=VOLUME):
    y = torch.randn(beam.shape, generator=torch.Generator().manual_seed(seed))
    return Problem(XRay(volume, beam), y, Gaussian(sigma))


@pytest.mark.parametrize("beam", BEAMS)
def test_a_merged_bin_is_in_the_middle_of_its_parts(beam):
    wide = merged_bins(problem_of(beam)).A.beam
    k = round(wide.pitch / beam.pitch)
    assert k == int(0.8 * 2.0 / beam.resolution) > 1 and wide.n_cols == -(-beam.n_cols // k)
    assert wide.axis_column == pytest.approx((beam.axis_column - (k - 1) / 2) / k)


@pytest.mark.parametrize("beam", BEAMS)
def test_a_mean_with_its_noise(beam):
    given = problem_of(beam)
    made = merged_bins(given)
    k = round(made.A.beam.pitch / beam.pitch)
    whole = beam.n_cols // k
    parts = given.y[:, : whole * k].reshape(5, whole, k)
    torch.testing.assert_close(made.y[:, :whole], parts.mean(-1))
    torch.testing.assert_close(made.noise.sigma[:, :whole], torch.full((5, whole), 0.1 / k**0.5))
    if rest := beam.n_cols - whole * k:
        torch.testing.assert_close(made.y[:, -1], given.y[:, -rest:].mean(-1))
        torch.testing.assert_close(made.noise.sigma[:, -1], torch.full((5,), 0.1 / rest**0.5))


def test_bins_without_weight_are_left_out():
    given = problem_of(BEAMS[0])
    sigma = torch.full(BEAMS[0].shape, 0.1)
    sigma[0, 0] = sigma[1, :3] = torch.inf
    y = given.y.clone()
    y[0, 0] = y[1, :3] = 1e6
    made = merged_bins(given._replace(y=y, noise=Gaussian(sigma)))
    torch.testing.assert_close(made.y[0, 0], y[0, 1:3].mean())
    assert made.noise.sigma[0, 0] == pytest.approx(0.1 / 2**0.5)
    assert torch.isinf(made.noise.sigma[1, 0]) and torch.isfinite(made.y).all()


def test_without_noise_and_complex():
    given = problem_of(BEAMS[0])
    plain = merged_bins(given._replace(noise=None))
    assert plain.noise is None
    torch.testing.assert_close(plain.y, merged_bins(given).y)
    turned = merged_bins(given._replace(y=given.y * 1j))
    torch.testing.assert_close(turned.y, plain.y * 1j)


def test_wider_bins_and_other_operators_stay_as_they_are():
    fine = problem_of(BEAMS[0])
    for given in (
        problem_of(ParallelBeam.evenly(5, 60, pitch=0.81)),
        problem_of(BEAMS[0], volume=Volume((32, 32), 1.2)),
        fine._replace(A=Blur(fine.A.out_shape, 1.0, axes=(-1,)) @ fine.A),
        fine._replace(A=XRay(VOLUME, VectorBeam(BEAMS[0].vectors, 120, "parallel"))),
    ):
        assert merged_bins(given) is given


def test_the_inverse_lets_no_frequency_pass_that_pixels_lack():
    """White data leave less noise; as wide as pixels, filtered back-projection is what it is."""
    for pitch, same in ((1.1, False), (1.5, True), (2.0, True)):
        beam = ParallelBeam.evenly(40, int(80 / pitch), pitch=pitch)
        noise = torch.randn(beam.shape, generator=torch.Generator().manual_seed(0))
        plain = fbp_operator(VOLUME, beam)[0](noise)[8:-8, 8:-8]
        own = approximate_inverse(XRay(VOLUME, beam))(noise)[8:-8, 8:-8]
        assert torch.equal(own, plain) if same else own.std() < 0.8 * plain.std(), pitch


@pytest.fixture(scope="module")
def base():
    return FoundationPrior.load("base", device="cpu", precision="float32")


def scan(bins, n=64, views=60, photons=2e5):
    """The noisy scan of an object by `bins` per pixel, with the same photons in all, and the object."""
    fine = np.abs(draw((2 * n, 2 * n), 960001, family="ct_body")).astype(np.float32)
    fine *= 0.04 / fine.max()
    wide = ParallelBeam.evenly(views, int(1.5 * n) * bins, pitch=4.0 / bins)
    many = ParallelBeam.evenly(views, int(1.5 * n) * 8, pitch=0.5)
    clean = XRay(Volume(fine.shape, 2.0), many)(fine).reshape(*wide.shape, 8 // bins).mean(-1)
    sigma = np.sqrt(np.exp(clean) * bins / photons).astype(np.float32)
    y = clean + sigma * np.random.default_rng(1).standard_normal(clean.shape, np.float32)
    truth = fine.reshape(n, 2, n, 2).mean((1, 3))
    return Problem(XRay(Volume((n, n), 4.0), wide), y, Gaussian(sigma)), truth


@pytest.mark.parametrize("thorough", [False, True])
def test_finer_bins_tell_more(base, thorough):
    """Two or eight bins per pixel, with fewer photons each, are better than one by a decibel and more."""
    found = []
    for bins in (1, 2, 8):
        problem, truth = scan(bins)
        x = base.restore(problem, thorough=thorough)
        found.append(metrics.psnr(x, truth, data_range=float(truth.max())))
    assert min(found[1:]) > found[0] + 1, found


def test_batch(base):
    problem, _ = scan(8, n=32, views=12)
    two = problem._replace(y=np.stack([problem.y, 2 * problem.y]))
    both = base.restore(two._replace(noise=Gaussian(np.stack([problem.noise.sigma] * 2))))
    for k in range(2):
        one = base.restore(problem._replace(y=two.y[k]))
        assert np.abs(both[k] - one).max() < 1e-4 * np.abs(one).max()
