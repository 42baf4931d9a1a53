"""Filtered back-projection: the amplitude of a disc whatever the scan, and its derivatives."""

import math
import re

import numpy as np
import pytest
import torch
from tests.operators.table import difference, random

from rayfold.operators import FanBeam, ParallelBeam, VectorBeam, Volume, XRay, dot_test
from rayfold.operators.calculus import Diagonal
from rayfold.operators.fbp import Backproject, fbp_operator
from rayfold.operators.filters import RampFilter, ramp_kernel, window
from rayfold.operators.redundancy import offset_weights, shares, weights
from rayfold.recon.ellipses import ellipse_sinogram

N = 160  # bins of 1 mm
VOLUME = Volume((64, 64), 2.0)
TURN, HALF = 2 * math.pi, math.pi
FAN = {"pitch": 1.6, "source_to_axis": 300.0, "source_to_detector": 480.0}
SHORT = HALF + FanBeam.evenly(3, N, **FAN).fan_angle
WINDOWS = ["ram-lak", "shepp-logan", "cosine", "hamming", "hann"]
GOLDEN = math.pi * (math.sqrt(5) - 1) / 2


def uneven(n, span):
    """Angles denser on one side by half, in no order."""
    s = (np.arange(n) + 0.5) / n
    return np.random.default_rng(0).permutation(span * (s + 0.08 * np.sin(2 * math.pi * s)))


def closing(n, span):
    return np.linspace(0, span, n + 1)


COMPLETE = {
    "parallel, half turn": ParallelBeam.evenly(240, N),
    "parallel, full turn": ParallelBeam.evenly(360, N, span=TURN),
    "parallel, half turn with closing view": ParallelBeam(closing(240, HALF), N),
    "parallel, full turn with closing view": ParallelBeam(closing(360, TURN), N),
    "parallel, uneven": ParallelBeam(uneven(300, HALF), N),
    "parallel, golden angle": ParallelBeam(np.arange(300) * GOLDEN, N),
    "parallel, descending": ParallelBeam(-np.arange(240) * math.pi / 240, N),
    "parallel, quarter-bin offset": ParallelBeam.evenly(360, N, span=TURN, detector_offset=0.25),
    "parallel, offset, half turn": ParallelBeam.evenly(240, N, detector_offset=7.3),
    "parallel, half-width offset": ParallelBeam.evenly(480, N, span=TURN, detector_offset=55.0),
    "parallel, half-width offset, other side": ParallelBeam.evenly(480, N, span=TURN, detector_offset=-55.0),
    "fan": FanBeam.evenly(360, N, **FAN),
    "fan, closing view": FanBeam(closing(360, TURN), N, **FAN),
    "fan, uneven": FanBeam(uneven(400, TURN), N, **FAN),
    "fan, golden angle": FanBeam(np.arange(400) * 2 * GOLDEN, N, **FAN),
    "fan, curved": FanBeam.evenly(360, N, curved=True, **FAN),
    "fan, descending": FanBeam(-np.arange(360) * TURN / 360, N, **FAN),
    "fan, short scan": FanBeam(np.linspace(0.3, 0.3 + SHORT, 260), N, **FAN),
    "fan, short scan, curved": FanBeam(np.linspace(0.3, 0.3 + SHORT, 260), N, curved=True, **FAN),
    "fan, over-scan": FanBeam(np.linspace(0, SHORT + 0.6, 300), N, **FAN),
    "fan, almost a full turn": FanBeam(np.linspace(0, TURN - 0.3, 340), N, **FAN),
    "fan, quarter-bin offset": FanBeam.evenly(360, N, detector_offset=0.4, **FAN),
    "fan, half-width offset": FanBeam.evenly(480, N, detector_offset=88.0, **FAN),
    "fan, half-width offset, curved": FanBeam.evenly(480, N, detector_offset=-88.0, curved=True, **FAN),
    "fan, source offset": FanBeam.evenly(360, N, source_offset=6.0, **FAN),
    "fan, source offset, curved": FanBeam.evenly(360, N, source_offset=6.0, curved=True, **FAN),
    "fan, source offset, short scan": FanBeam(np.linspace(0, SHORT + 0.2, 300), N, source_offset=4.0, **FAN),
    "fan, wide": FanBeam.evenly(500, 200, pitch=1.4, source_to_axis=110.0, source_to_detector=180.0),
}


def amplitudes(beam, disc=(1.0, 40.0, 40.0, 5.0, -3.0, 0.0), **filters):
    """Mean of the reconstruction about the middle of the disc, about its rim inside, and outside."""
    fbp, note = fbp_operator(VOLUME, beam, **filters)
    image = fbp(ellipse_sinogram([disc], beam, sub_bins=4))
    ys, xs = VOLUME.coordinates()
    r = np.hypot(xs - disc[3], ys[:, None] - disc[4])
    return image[r < 15].mean(), image[(r > 20) & (r < 34)].mean(), image[(r > 46) & (r < 55)].mean(), note


@pytest.mark.parametrize("name", COMPLETE)
def test_unit_disc_has_amplitude_one(name):
    """Bound: 0.5 % at the middle."""
    middle, ring, outside, note = amplitudes(COMPLETE[name])
    assert abs(middle - 1) < 5e-3
    assert abs(ring - 1) < 1e-2 and abs(outside) < 1e-2
    assert note == ""


@pytest.mark.parametrize("name", WINDOWS)
@pytest.mark.parametrize("cutoff", [1.0, 0.6, 0.3])
@pytest.mark.parametrize("scan", ["parallel, half turn", "fan, short scan", "fan, curved"])
def test_every_window_keeps_the_amplitude(name, cutoff, scan):
    middle, ring, outside, _ = amplitudes(COMPLETE[scan], window=name, cutoff=cutoff)
    assert abs(middle - 1) < 5e-3 and abs(ring - 1) < 2e-2 and abs(outside) < 2e-2


@pytest.mark.parametrize("name", ["parallel, half turn", "fan, short scan", "fan, half-width offset"])
@pytest.mark.parametrize("spacing", [0.01, 50.0])
def test_units_of_length_do_not_matter(name, spacing):
    beam = COMPLETE[name]
    changed = {f: getattr(beam, f) * spacing for f in
               ("pitch", "detector_offset", "source_to_axis", "source_to_detector", "source_offset")
               if hasattr(beam, f)}  # fmt: skip
    scaled = type(beam)(beam.angles, beam.n_cols, **changed)
    y = ellipse_sinogram([(1.0, 40.0, 40.0, 5.0, -3.0, 0.0)], beam)
    fbp, _ = fbp_operator(VOLUME, beam)
    other, _ = fbp_operator(Volume((64, 64), 2.0 * spacing), scaled)
    assert difference(other(y * spacing), fbp(y)) < 1e-10


@pytest.mark.parametrize(
    ("beam", "note"),
    [
        (
            ParallelBeam.evenly(120, N, span=2.0),
            "views span 114.6 of 180 degrees: expect limited-angle artefacts",
        ),
        (
            FanBeam.evenly(120, N, span=HALF, **FAN),
            r"views span 180 of the \d+\.\d+ degrees of a short scan: no Parker",
        ),
    ],
)
def test_too_few_degrees_are_remarked(beam, note):
    assert re.match(note, amplitudes(beam)[3])


def test_the_short_scan_equals_the_full_scan():
    def image(beam):
        return fbp_operator(VOLUME, beam)[0](ellipse_sinogram([(1.0, 40.0, 30.0, 5.0, -3.0, 0.4)], beam))

    full, short = image(COMPLETE["fan"]), image(COMPLETE["fan, short scan"])
    assert np.abs(full - short).mean() < 5e-3


@pytest.mark.parametrize("beam", [COMPLETE["fan, short scan"], COMPLETE["fan, over-scan"]])
def test_conjugate_rays_of_a_short_scan_count_once(beam):
    """Parker: a ray (t, g) and the same line from the other side, (t + pi - 2 g, -g), sum to one."""
    rays = weights(beam).rays
    gamma = beam.gammas - beam.gamma_of_axis
    checked = 0
    for k in range(20, beam.n_cols - 20, 7):  # further out the weights rise within a few views
        twin = beam.angles + math.pi - 2 * gamma[k]
        other = np.interp(twin, beam.angles, rays[:, beam.n_cols - 1 - k], left=np.nan, right=np.nan)
        total = (rays[:, k] + other)[~np.isnan(other)]
        checked += len(total)
        assert np.abs(total - 1).max(initial=0) < 1e-2
        before = beam.angles - math.pi - 2 * gamma[k]  # neither twin was measured
        assert (rays[np.isnan(other) & (before < beam.angles[0]), k] > 0.99).all()
    assert checked > 200


def test_view_steps_add_up():
    for angles, period in (
        (uneven(50, HALF), HALF),
        (closing(50, TURN), TURN),
        (np.arange(77) * GOLDEN, HALF),
    ):
        assert shares(angles, period).sum() == pytest.approx(period)
    steps = shares(closing(50, TURN), TURN)
    assert steps[0] == pytest.approx(steps[1] / 2) and steps[-1] == pytest.approx(steps[1] / 2)


@pytest.mark.parametrize("name", ["parallel, half-width offset", "fan, half-width offset"])
def test_offset_weights_of_opposite_rays_sum_to_one(name):
    beam = COMPLETE[name]
    w = offset_weights(beam)
    s = (np.arange(N) - beam.axis_column) * beam.pitch if isinstance(beam, ParallelBeam) else beam.gammas
    other = np.interp(-s, s, w, left=0, right=0)
    assert np.abs(w + other - 1).max() < 0.02


@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_ramp_is_a_convolution_with_the_kernel(n):
    x = np.random.default_rng(0).standard_normal((3, n))
    kernel = ramp_kernel(n, 0.7)
    full = np.concatenate([kernel[:0:-1], kernel])
    expected = np.stack([np.convolve(row, full)[n - 1 : 2 * n - 1] for row in x])
    assert difference(RampFilter((3, n), 0.7)(x), expected) < 1e-13


def test_ramp_approaches_the_frequency():
    response = RampFilter((1, 4096), 1.0).transfer
    f = np.linspace(0, 0.5, len(response))
    assert np.abs(response - f)[1:-1].max() < 1e-4
    assert 0 < response[0] < 1e-4


@pytest.mark.parametrize("name", WINDOWS)
def test_windows_start_at_one_and_end_at_the_cutoff(name):
    f = np.linspace(0, 1, 101)
    w = window(name, f, 0.5)
    assert w[0] == 1 and (np.diff(w[:51]) <= 0).all() and not w[51:].any()


@pytest.mark.parametrize("name", ["parallel, half-width offset", "fan, short scan", "fan, curved"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_adjoint_at_full_size(name, dtype):
    assert dot_test(fbp_operator(VOLUME, COMPLETE[name], window="hann")[0], dtype=dtype)


def test_single_precision_is_enough():
    fbp, _ = fbp_operator(VOLUME, COMPLETE["fan, short scan"])
    y = ellipse_sinogram([(1.0, 40.0, 40.0, 5.0, -3.0, 0.0)], COMPLETE["fan, short scan"])
    assert difference(fbp(y.astype(np.float32)), fbp(y)) < 1e-5


def test_derivatives():
    small = FanBeam.evenly(
        8, 12, pitch=1.0, source_to_axis=30.0, source_to_detector=50.0, detector_offset=2.0
    )
    fbp, _ = fbp_operator(Volume((6, 6)), small, window="hann")
    y = torch.randn(fbp.in_shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fbp, y, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda v: fbp(v) ** 2, y, fast_mode=True)


def test_weights_can_be_learned():
    """The chain is made of operators: put a learned weight before it and differentiate."""
    beam = ParallelBeam.evenly(10, 14)
    fbp, _ = fbp_operator(Volume((8, 8)), beam)
    w = torch.ones(beam.shape, dtype=torch.float64, requires_grad=True)
    y = torch.randn(beam.shape, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda w: (fbp @ Diagonal(beam.shape, w))(y), w, fast_mode=True)


def test_fbp_inverts_the_projector():
    beam = ParallelBeam.evenly(400, 300, pitch=0.5)
    volume = Volume((100, 100))
    ys, xs = volume.coordinates()
    x = np.exp(-((xs - 10) ** 2 + (ys[:, None] + 5) ** 2) / 128)
    back = fbp_operator(volume, beam)[0](XRay(volume, beam)(x))
    assert np.abs(back - x).max() < 5e-3


def test_what_cannot_be_reconstructed_is_refused():
    vectors = VectorBeam(ParallelBeam.evenly(9, 12).vectors, 12, kind="parallel")
    with pytest.raises(TypeError, match="not VectorBeam; use an iterative solver"):
        fbp_operator(VOLUME, vectors)
    with pytest.raises(ValueError, match="two or more different angles, got 1 views"):
        fbp_operator(VOLUME, ParallelBeam([0.3], 12))
    with pytest.raises(ValueError, match="two or more different angles"):
        fbp_operator(VOLUME, ParallelBeam([0.3, 0.3], 12))
    with pytest.raises(ValueError, match=r"filter is 'sharp'; it must be one of ram-lak"):
        fbp_operator(VOLUME, COMPLETE["fan"], window="sharp")
    with pytest.raises(ValueError, match=r"cutoff is 1.5; it must lie in \(0, 1\]"):
        fbp_operator(VOLUME, COMPLETE["fan"], cutoff=1.5)


def test_one_geometry_for_the_whole_batch():
    beam = ParallelBeam.evenly(9, 12)
    back = Backproject(Volume((8, 8)), beam, np.ones(9))
    with pytest.raises(ValueError, match="one geometry for the whole batch"):
        back(random((2, 9, 12), back), vectors=np.stack([beam.vectors] * 2), steps=np.ones((2, 9)))
