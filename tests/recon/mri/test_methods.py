"""Every MRI method on a small simulated scan: what it gives, what it keeps, what it refuses."""

import numpy as np
import pytest
from tests.recon.mri.simulated import coil_maps, nrmse, phantom

from rayfold.operators import FFT, NUFFT
from rayfold.recon import certify, reconstruct
from rayfold.recon.cli import settings
from rayfold.recon.kspace import KSpace
from rayfold.recon.mri.methods import MRI_METHODS, default_method, reconstruct_kspace, solve_kspace
from rayfold.recon.trajectories import radial

SHAPE = (48, 40)
COILS = coil_maps(SHAPE, 6)
IMAGE = phantom(SHAPE) * np.exp(0.5j)
BRIGHT = np.sqrt((abs(COILS) ** 2).sum(axis=0)) * abs(IMAGE)  # what maps of unit root sum of squares leave
NOISE = 5e-3
LINES = np.arange(48) % 3 == 0
LINES[16:32] = True


def noisy(data, seed=0):
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal(data.shape) + 1j * rng.standard_normal(data.shape)
    return (data + NOISE * noise).astype(np.complex64)


def noise_scan(seed=9):
    return noisy(np.zeros((6, 500)), seed)


def cartesian(lines=None, **options):
    data = noisy(FFT(SHAPE)(COILS * IMAGE))
    if lines is None:
        return KSpace(data, ("coil", "ky", "kx"), noise=noise_scan(), **options)
    sampled = lines[:, None]
    return KSpace(data * sampled, ("coil", "ky", "kx"), sampled=sampled, noise=noise_scan(), **options)


def spokes(n=61):
    k = radial(n, 96)
    return KSpace(
        noisy(NUFFT(SHAPE, k)(COILS * IMAGE)),
        ("coil", "shot", "sample"),
        trajectory=k,
        matrix=SHAPE,
        noise=noise_scan(),
    )


def against(series, truth=BRIGHT):
    """Relative error of the magnitude after the best scale."""
    x = abs(series.array)
    return nrmse(x * (np.vdot(x, truth) / np.vdot(x, x)).real, truth)


def test_rss_is_the_plain_root_sum_of_squares_of_the_data_as_measured():
    scan = cartesian()
    found = reconstruct_kspace(scan, "rss")
    plain = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(scan.data, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    assert np.abs(found.array - np.sqrt((abs(plain) ** 2).sum(axis=0))).max() < 1e-6
    assert not np.iscomplexobj(found.array) and found.provenance["steps"] == []


@pytest.mark.parametrize(
    ("method", "scan", "bound"),
    [
        ("mvue", cartesian, 0.03),
        ("sense", lambda: cartesian(LINES), 0.05),
        ("wavelet", lambda: cartesian(LINES), 0.05),
        ("tv", lambda: cartesian(LINES), 0.05),
        ("grappa", lambda: cartesian(LINES), 0.05),
        ("gridding", spokes, 0.12),
        ("sense", spokes, 0.08),
    ],
)
def test_image_and_evidence(method, scan, bound):
    made = solve_kspace(scan(), method)
    assert np.iscomplexobj(made.series.array) and made.series.provenance["method"] == method
    assert against(made.series) < bound
    problem, image = made.problem(())
    found = certify(problem, image, row="coil")
    assert not found.noise_estimated and found.adjoint_error < 1e-5
    if method in ("sense", "wavelet", "tv"):  # the image explains the data to their noise
        assert found.chi_square < 1.2


def test_missing_lines_alias_without_coils_and_sense_resolves_them():
    scan = cartesian(LINES)
    assert against(reconstruct_kspace(scan, "mvue")) > 2 * against(reconstruct_kspace(scan, "sense"))
    assert any("missing" in note for note in reconstruct_kspace(scan, "mvue").provenance["notes"])


def test_the_image_is_zero_where_no_coil_sees_it():
    made = solve_kspace(cartesian(LINES), "tv", iterations=5)
    outside = (made.model.maps[0] == 0).all(axis=0)
    assert outside.any() and (made.series.array[outside] == 0).all()


@pytest.mark.parametrize("method", ["mvue", "sense", "wavelet", "tv", "grappa"])
def test_scale_of_the_data_changes_nothing(method):
    """Whitened images are in units of their noise."""
    scan = cartesian(LINES)
    big = KSpace(1e6 * scan.data, scan.axes, sampled=scan.sampled, noise=1e6 * scan.noise)
    a, b = (
        reconstruct_kspace(s, method, iterations=4 if MRI_METHODS[method] else None).array
        for s in (scan, big)
    )
    assert nrmse(b, a) < 1e-3


def test_named_axes_are_kept_and_a_slice_alone_gives_the_same():
    scan = cartesian(LINES)
    two = np.stack([scan.data, 0.5j * scan.data])
    data = np.stack([two, two[:, ::-1]])  # echoes, slices, coils; another coil order in another slice
    many = KSpace(
        data,
        ("slice", "echo", "coil", "ky", "kx"),
        sampled=scan.sampled,
        noise=scan.noise,
        echo_times=(4.0, 9.0),
    )
    found = reconstruct_kspace(many, "sense", iterations=5)
    assert found.axes == ("slice", "echo", "y", "x") and found.shape == (2, 2, *SHAPE)
    alone = reconstruct_kspace(scan, "sense", iterations=5)
    assert nrmse(found.array[0, 0], alone.array) < 1e-4
    assert nrmse(found.array[0, 1], 0.5j * alone.array) < 1e-3
    assert [name for name, _ in found.images()] == ["echo1", "echo2"]


def test_oversampling_is_cut_only_where_the_header_says_so():
    wide = np.zeros((48, 80), complex)
    wide[:, 20:60] = IMAGE
    maps = coil_maps((48, 80), 6, 0.4)
    data = noisy(FFT((48, 80))(maps * wide))
    kept = KSpace(data, ("coil", "ky", "kx"), noise=noise_scan(), field_of_view=(96.0, 160.0))
    cut = KSpace(data, ("coil", "ky", "kx"), noise=noise_scan(), field_of_view=(96.0, 160.0), crop=(48, 40))
    for method in ("rss", "mvue"):
        whole, part = (reconstruct_kspace(scan, method) for scan in (kept, cut))
        assert whole.shape == (48, 80) and part.shape == SHAPE and part.spacing == (2.0, 2.0)
    assert nrmse(part.array, whole.array[:, 20:60]) < 0.02
    assert reconstruct_kspace(cut, "mvue").provenance["steps"][0] == "readout cut from 80 to 40"


def test_without_a_noise_scan_the_noise_is_estimated_and_says_so():
    made = solve_kspace(KSpace(cartesian().data, ("coil", "ky", "kx")), "mvue")
    assert made.model.noise_estimated and any("estimated" in note for note in made.series.provenance["notes"])
    problem, image = made.problem(())
    assert certify(problem, image).noise_estimated


def test_epi_ghost_is_corrected_with_and_without_reference_lines():
    scan = cartesian()
    back = np.arange(48) % 2 == 1
    turn = np.exp(0.35j)
    data = np.where(back[:, None], turn, 1 / turn) * scan.data
    lines = np.stack([scan.data[:, 24] / turn, scan.data[:, 24] * turn, scan.data[:, 24] / turn], axis=1)
    about = {"noise": scan.noise, "reversed_lines": back}
    with_lines = KSpace(
        data, scan.axes, reference=lines, reference_reversed=np.array([False, True, False]), **about
    )
    blind = KSpace(data, scan.axes, **about)
    ghost = against(reconstruct_kspace(KSpace(data, scan.axes, noise=scan.noise), "mvue"))
    assert against(reconstruct_kspace(with_lines, "mvue")) < 0.05 < 0.2 < ghost
    found = reconstruct_kspace(blind, "mvue")
    assert against(found) < 0.05 and any("ghost" in note for note in found.provenance["notes"])


def test_a_series_as_low_rank_plus_sparse():
    rng = np.random.default_rng(0)
    frames, masks, images = [], [], []
    for t in range(6):
        image = IMAGE.copy()
        image[20 + t : 24 + t, 18:22] += 0.8
        lines = rng.random(48) < 0.45
        lines[20:28] = True
        frames.append(noisy(FFT(SHAPE)(COILS * image), t) * lines[:, None])
        masks.append(lines[:, None])
        images.append(image)
    scan = KSpace(
        np.stack(frames), ("repetition", "coil", "ky", "kx"), sampled=np.stack(masks), noise=noise_scan()
    )
    found = reconstruct_kspace(scan, "lps", iterations=40)
    truth = np.sqrt((abs(COILS) ** 2).sum(axis=0)) * abs(np.stack(images))
    assert found.axes == ("repetition", "y", "x") and against(found, truth) < 0.08


def test_lines_measured_separately_calibrate():
    third, centre = np.arange(48) % 3 == 0, abs(np.arange(48) - 24) < 10
    about = {"sampled": third[:, None], "noise": noise_scan()}
    alone = KSpace(cartesian().data * third[:, None], ("coil", "ky", "kx"), **about)
    with pytest.raises(ValueError, match="calibration"):
        reconstruct_kspace(alone.take("coil", [0, 1, 2]), "grappa")
    scan = KSpace(
        alone.data,
        alone.axes,
        calibration=noisy(FFT(SHAPE)(COILS * IMAGE), 5) * centre[:, None],
        calibration_sampled=centre[:, None],
        **about,
    )
    for method in ("sense", "grappa"):
        assert against(reconstruct_kspace(scan, method)) < 0.1


def test_slices_and_repetitions_with_masks_of_their_own():
    rng = np.random.default_rng(3)
    masks = np.stack([(rng.random(48) < 0.5) | (abs(np.arange(48) - 24) < 8) for _ in range(3)])
    masks = masks[:, None, :, None]
    full = np.stack([[noisy(cartesian().data, 4 * r + s) for s in range(2)] for r in range(3)])
    axes = ("repetition", "slice", "coil", "ky", "kx")
    scan = KSpace(full * masks[:, :, None], axes, sampled=masks, noise=noise_scan())
    for method in ("sense", "grappa", "lps"):
        made = solve_kspace(scan, method)
        assert made.series.shape == (3, 2, *SHAPE)
        assert (
            max(against(made.series.image(repetition=r, slice=s)) for r in range(3) for s in range(2)) < 0.12
        )


def test_three_dimensions():
    shape = (8, 24, 20)
    maps, image = coil_maps(shape, 6), phantom(shape)
    lines = (np.arange(24) % 2 == 0) | (abs(np.arange(24) - 12) < 6)
    data = noisy(FFT(shape)(maps * image)) * lines[:, None]
    scan = KSpace(data, ("coil", "kz", "ky", "kx"), sampled=lines[:, None], noise=noise_scan())
    found = reconstruct_kspace(scan, "sense")
    assert found.axes == ("z", "y", "x")
    assert against(found, np.sqrt((abs(maps) ** 2).sum(axis=0)) * image) < 0.12


@pytest.mark.parametrize(
    ("scan", "method"),
    [
        (cartesian, "mvue"),
        (lambda: cartesian(LINES), "sense"),
        (spokes, "sense"),
        (lambda: cartesian().take("coil", [0]), "rss"),
        (lambda: spokes(9).take("coil", [0]), "gridding"),
    ],
)
def test_the_method_follows_from_what_the_scan_holds(scan, method):
    assert default_method(scan()) == method


def test_one_coil_needs_no_maps():
    found = reconstruct(cartesian().take("coil", [2]), "mvue")
    assert against(found, abs(COILS[2] * IMAGE)) < 0.05


def test_the_command_line_knows_the_methods():
    assert tuple(MRI_METHODS) == settings.MRI_METHODS


@pytest.mark.parametrize(
    ("scan", "method", "options", "message"),
    [
        (cartesian, "fbp", {}, "for k-space it must be one of rss, mvue"),
        (cartesian, "gridding", {}, "gridding is for trajectories; this scan is on the grid, use mvue"),
        (spokes, "rss", {}, "rss needs samples on the grid"),
        (cartesian, "grappa", {}, "grappa fills missing lines"),
        (cartesian, "lps", {}, "lps needs a series along repetition or phase"),
        (cartesian, "mvue", {"iterations": 3}, "mvue takes none"),
        (cartesian, "sense", {"iterations": 0}, "sense takes at least one"),
        (cartesian, "sense", {"strength": 1.0}, "sense has no strength"),
        (cartesian, "sense", {"device": "tpu"}, "must be auto, cpu, cuda"),
        (lambda: cartesian(np.arange(48) % 3 == 1), "sense", {}, "centre of k-space"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(scan, method, options, message):
    with pytest.raises(ValueError, match=message) as caught:
        reconstruct_kspace(scan(), method, **options)
    assert "\n" not in str(caught.value)
