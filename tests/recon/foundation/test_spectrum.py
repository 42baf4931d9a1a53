"""What is expected of the image, from the data alone; and what of an error a network is told."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rayfold.operators import Blur, KSpaceCrop, Volume
from rayfold.operators.noise import Gaussian
from rayfold.recon import Problem
from rayfold.recon.foundation.bands import levels_of
from rayfold.recon.foundation.directions import DataStep, approximate_inverse, brightness, shading
from rayfold.recon.foundation.frequencies import Frequencies
from rayfold.recon.foundation.information import image_spectrum, information
from rayfold.recon.foundation.lines import Lines
from rayfold.recon.foundation.pixels import of_means
from rayfold.recon.foundation.spectrum import SKIRT, relative_levels, with_pixels
from rayfold.recon.foundation.steps import Schedule, added
from rayfold.recon.phantoms import draw
from rayfold.recon.protocol import CTProtocol, MRIProtocol
from rayfold.recon.solvers.normal import gram_of

N = 96
VOLUME = Volume((N, N), 1.0)
PROTOCOLS = {
    "dense": CTProtocol(cols=142, pitch_mm=1.0, views=300, noise_percent=0.1),
    "sparse": CTProtocol(cols=142, pitch_mm=1.0, views=60, noise_percent=1.0),
    "one coil": MRIProtocol(matrix=(N, N), field_of_view_mm=(N, N), pattern="full", snr=100),
    "coils": MRIProtocol(
        matrix=(N, N),
        field_of_view_mm=(N, N),
        pattern="equispaced",
        acceleration=3,
        calibration=10,
        coils=12,
        snr=100,
    ),
    "radial": MRIProtocol(
        matrix=(N, N), field_of_view_mm=(N, N), pattern="golden-radial", shots=50, coils=8, snr=100
    ),
}


def posed(name, family, scale=1.0):
    """A task of simulated data, and the image behind it."""
    protocol = PROTOCOLS[name]
    image = torch.from_numpy(np.abs(draw((N, N), 4, family=family)).astype(np.float32)) * scale
    if protocol.modality == "MRI":
        image = image.to(torch.complex64)
    A = protocol.operator(VOLUME)
    clean = A(image)
    size = protocol.scale(image, clean)
    y = protocol.measure(clean, scale=size, seed=1)
    return task_of(Problem(A, y, protocol.noise(size)).quadratic()), image


def task_of(problem):
    A, grid = problem.A, Frequencies.of(problem.A)
    known = information(problem, gram_of(problem), grid)
    light = brightness(A, problem.y)
    task = DataStep(problem, grid, known, approximate_inverse(A), shading(light), Lines.of(problem))
    return task, light


def true_levels(image):
    power = torch.fft.fft2(image, norm="ortho").abs() ** 2 / (2 if image.is_complex() else 1)
    return levels_of(power) / levels_of(image_spectrum((N, N), "cpu"))


@pytest.mark.parametrize("family", ["ct_body", "mr_head", "dead_leaves"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_levels_of_the_image_are_found_in_its_data(name, family):
    (task, light), image = posed(name, family)
    ratio = (relative_levels(task, light) / true_levels(image)).reshape(-1)
    assert 0.6 < ratio[3] < 1.7  # nearly all of the image
    # images that are out of focus have less in the fine octaves than is believed of any
    assert bool((ratio > 0.3).all()) and bool((ratio < 4).all())


@pytest.mark.parametrize("name", PROTOCOLS)
def test_levels_scale_with_the_image(name):
    found = [relative_levels(*posed(name, "ct_body", scale)[0]) for scale in (1.0, 2.0**20)]
    torch.testing.assert_close(found[1], 2.0**20 * found[0], rtol=1e-4, atol=0)


def test_images_of_a_crop_of_k_space_are_no_samples_of_it():
    image = torch.from_numpy(draw((N, N), 3, family="ct_body").astype(np.float32))
    A = KSpaceCrop((N, N), N // 2, field="real")
    task, light = task_of(Problem(A, A(image), Gaussian(1e-4)))
    assert 0.6 < float((relative_levels(task, light) / true_levels(image))[3]) < 1.7


def test_a_floor_of_kspace_is_not_taken_for_detail():
    """A smooth image whose data are four times as noisy as is said."""
    image = torch.from_numpy(np.abs(draw((N, N), 4, family="mr_head"))).to(torch.complex64)
    image = Blur((N, N), 2.0)(image.real).to(torch.complex64)
    A = PROTOCOLS["one coil"].operator(VOLUME)
    sigma = 0.02 * float(image.abs().mean())
    y = Gaussian(4 * sigma).sample(A(image), 3)
    told, light = task_of(Problem(A, y, Gaussian(4 * sigma)))
    trusted, _ = task_of(Problem(A, y, Gaussian(sigma)))
    found, expected = relative_levels(trusted, light), relative_levels(told, light)
    torch.testing.assert_close(found, expected, rtol=0.1, atol=0)


@pytest.mark.parametrize("pitch", [0.5, 0.8, 1.0, 2.0])
def test_detail_within_pixels_is_as_large_as_it_is(pitch):
    """Against bins of the object on a grid twice as fine, less the rays of its pixels."""
    fine = torch.from_numpy(np.abs(draw((2 * N, 2 * N), 4, family="dead_leaves")).astype(np.float32))
    image = torch.nn.functional.avg_pool2d(fine[None, None], 2)[0, 0]
    protocol = PROTOCOLS["sparse"].replace(cols=int(142 / pitch), pitch_mm=pitch)
    rays = protocol.replace(cols=10 * protocol.cols, pitch_mm=pitch / 10)
    clean = rays.operator(Volume((2 * N, 2 * N), 0.5))(fine).reshape(*protocol.beam.shape, 10).mean(-1)
    A = of_means(protocol.operator(VOLUME))
    left = float((clean - A(image)).square().mean().sqrt())
    stated = 1e-3 * float(clean.mean())
    task, light = task_of(Problem(A, clean, Gaussian(stated)))
    sigma = with_pixels(task, relative_levels(task, light)).problem.noise.sigma
    assert 0.5 * left < float(sigma.square().mean().sqrt()) < 2 * left
    more = sigma.square() - stated**2
    assert float(more.amin() / more.mean()) == pytest.approx(SKIRT, rel=1e-3)  # rays through nothing


def test_what_the_data_have_added():
    before = torch.tensor([2.0, 2.0, 2.0, 2.0])
    noise, gain = added(torch.tensor([0.02, 1.0, 1.9, 2.0]), before)
    assert abs(float(noise[0]) - 0.02) < 1e-4 and float(gain[0]) < 1.001  # all of the error is new
    assert abs(float(noise[1]) - 0.75**0.5) < 1e-6  # a quarter of the power is still missing
    assert float(noise[3]) < 0.1 and bool((gain <= 1.2 + 1e-6).all())  # nothing new, and no blow-up


@pytest.mark.parametrize("level", [2.0, 2.5, 1e-20])
def test_derivatives_stay_finite_where_data_bring_nothing(level):
    schedule = Schedule(2)
    levels = schedule.level(0, torch.full((4,), level))
    noise, gain = added(levels, torch.full((4,), 2.0))
    left = schedule.left(1, levels, noise, torch.ones(4))
    (left + noise + gain).sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in schedule.parameters())
