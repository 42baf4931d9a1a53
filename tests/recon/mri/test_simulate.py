"""Simulated k-space: the field of a loop, what a finer object measures, and noise as it was asked for."""

from __future__ import annotations

import numpy as np
import pytest
from tests.recon.mri.coil_phantom import misfit

from rayfold.operators.fourier import ifft
from rayfold.recon.mri import simulate
from rayfold.recon.mri.espirit_maps import espirit
from rayfold.recon.mri.methods import reconstruct_kspace
from rayfold.recon.mri.simulate import head, loop_coils, simulate_kspace
from rayfold.recon.mri.whiten import noise_covariance
from rayfold.recon.trajectories import radial


def test_field_on_the_axis_of_a_loop():
    """``B ~ (d^2 + a^2)^(-3/2)`` at distance d from a loop of radius a, whose wire has a thickness."""
    n, coils = 32, 6
    along = loop_coils((n, n), coils)[0, n // 2]
    radius = simulate.OVERLAP * simulate.DISTANCE * np.tan(np.pi / coils)
    d = simulate.DISTANCE - 2 * (np.arange(n) - n // 2) / n
    expected = (d**2 + radius**2 + simulate.WIRE**2) ** -1.5
    np.testing.assert_allclose(abs(along) / abs(along[0]), expected / expected[0], rtol=1e-5)


@pytest.mark.parametrize("shape", [(17, 17), (6, 17, 17)])
def test_coils_are_one_coil_turned(shape):
    """Two loops a quarter turn apart see the same, turned, and with a quarter turn of phase."""
    maps = loop_coils(shape, 8)
    turned = np.rot90(maps[0], -1, axes=(-2, -1)) * np.exp(-0.5j * np.pi)  # from +x to +y, rows go down
    np.testing.assert_allclose(maps[2], turned, atol=1e-6)
    middle = maps[(slice(None), *(n // 2 for n in shape))]
    assert np.linalg.norm(middle) == pytest.approx(1)


def test_loops_of_a_volume_lie_above_and_below():
    maps = abs(loop_coils((8, 8, 8), 4))
    assert maps[0, 6, 4, 6] > maps[0, 2, 4, 6]
    assert maps[1, 6, 6, 4] < maps[1, 2, 6, 4]


def test_espirit_finds_the_coils():
    maps = loop_coils((48, 48), 6)
    scan = simulate_kspace(head((48, 48)), coils=6, snr=None)
    found = espirit(scan.data, width=32, threshold=0.005)  # below the default: there is no noise
    error = misfit(found.maps, maps)[abs(head((48, 48))) > 0.1]
    assert np.median(error) < 0.002 and error.max() < 0.03
    assert scan.noise is None


@pytest.mark.parametrize(("n", "factor"), [(12, 2), (12, 3), (9, 3)])
def test_a_finer_object_has_the_same_k_space(rng, n, factor):
    """A band-limited object, sampled finer, is measured as on the grid; only its pixels in common count."""
    half = (n - 1) // 2
    wave = rng.normal(size=(2 * half + 1,) * 2) + 1j * rng.normal(size=(2 * half + 1,) * 2)

    def at(m):
        place = (np.arange(m) - m // 2) / m
        turns = np.exp(2j * np.pi * np.outer(place, np.arange(-half, half + 1)))
        return turns @ wave @ turns.T

    scan = simulate_kspace(at(n * factor), (n, n), maps=np.ones((1, n * factor, n * factor)), snr=None)
    np.testing.assert_allclose(ifft(scan.data[0], (0, 1)), at(n), atol=1e-4 * abs(at(n)).max())


def test_trajectory_over_the_grid_measures_the_grid():
    image, n = head((32, 32)), 16
    k = 2 * np.pi * (np.arange(n) - n // 2) / n
    grid = np.stack(np.meshgrid(k, k, indexing="ij"), axis=-1)
    on = simulate_kspace(image, (n, n), coils=3, snr=None)
    off = simulate_kspace(image, (n, n), coils=3, snr=None, trajectory=grid)
    np.testing.assert_allclose(off.data, on.data, atol=1e-5 * abs(on.data).max())
    assert off.axes == ("coil", "shot", "sample") and off.grid == (n, n)
    one = simulate_kspace(image, (n, n), coils=3, snr=None, trajectory=grid[5])
    assert one.axes == ("coil", "sample")
    np.testing.assert_array_equal(one.data, off.data[:, 5])


def test_spokes_to_image():
    """From samples to an image by name, with maps and weights of its own."""
    image, n = head((96, 96)), 48
    spokes = simulate_kspace(image, (n, n), coils=6, trajectory=radial(40, 2 * n), snr=100)
    lines = simulate_kspace(image, (n, n), coils=6, snr=100, seed=1)
    made, full = (abs(reconstruct_kspace(scan).array) for scan in (spokes, lines))
    assert np.linalg.norm(made - full) < 0.1 * np.linalg.norm(full)


def test_noise_is_what_was_asked_for():
    image = head((64, 64))
    options = {"coils": 4, "correlation": 0.6, "noise_samples": 60_000}
    scan = simulate_kspace(image, snr=20, **options)
    clean = simulate_kspace(image, snr=None, **options)
    measured, scanned = noise_covariance(scan.data - clean.data), noise_covariance(scan.noise)
    sigma = abs(image).max() / 20
    maps = loop_coils((64, 64), 4).reshape(4, -1)
    overlap = maps @ maps.conj().T
    size = np.sqrt(np.diag(overlap).real)
    expected = sigma**2 * (0.4 * np.eye(4) + 0.6 * overlap / np.outer(size, size))
    assert abs(expected[0, 1]) > 0.2 * sigma**2
    for found, n in ((measured, 64**2), (scanned, 60_000)):
        assert abs(found - expected).max() < 5 * sigma**2 / np.sqrt(n)
    again = simulate_kspace(image, snr=20, **options)
    other = simulate_kspace(image, snr=20, seed=1, **options)
    np.testing.assert_array_equal(again.data, scan.data)
    assert not np.array_equal(other.data, scan.data)


def test_what_is_not_measured_is_zero():
    lines = np.zeros(16, bool)
    lines[[0, 5, 8]] = True
    scan = simulate_kspace(head((16, 16)), coils=2, sampled=lines)
    assert (scan.data[:, ~lines] == 0).all() and (scan.data[:, lines] != 0).all()
    assert scan.acceleration == pytest.approx(16 / 3)
    volume = np.stack([head((12, 12))] * 6)
    mask = np.random.default_rng(0).random((6, 12, 1)) < 0.5
    in_3d = simulate_kspace(volume, coils=2, sampled=mask, field_of_view=(60, 120, 120))
    assert in_3d.axes == ("coil", "kz", "ky", "kx") and in_3d.spacing == (10, 10, 10)
    np.testing.assert_array_equal((in_3d.data != 0).all(axis=0), np.broadcast_to(mask, (6, 12, 12)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": np.ones(8)}, "the image has shape"),
        ({"image": np.full((8, 8), np.nan)}, "finite"),
        ({"matrix": (16, 16)}, "no finer"),
        ({"matrix": (8,)}, "axes of the image"),
        ({"maps": np.ones((2, 4, 4))}, "maps have shape"),
        ({"sampled": np.ones(5)}, "sampled has shape"),
        ({"sampled": np.ones((1, 8, 8))}, "sampled has shape"),
        ({"sampled": np.ones(8), "trajectory": np.zeros((4, 2))}, "give one of them"),
        ({"trajectory": np.zeros(4)}, "the trajectory has shape"),
        ({"snr": 0.0}, "snr is 0"),
        ({"correlation": 1.0}, "correlation is 1"),
        ({"noise_samples": 0}, "noise_samples is 0"),
        ({"coils": 0}, "coils is 0"),
    ],
)
def test_bad_input(change, message):
    with pytest.raises(ValueError, match=message):
        simulate_kspace(**{"image": np.ones((8, 8), np.complex64), **change})
