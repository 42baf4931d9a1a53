"""Complex arrays, BART pairs, fastMRI and rayfold's own k-space file: told by content, there and back."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
import scipy.io
from tests.recon.mri_files import coil_images, fft, mrd_xml, samples_at

from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput, OutputFailure, UnreadableInput
from rayfold.recon.io import load, write_kspace
from rayfold.recon.io.cfl import read_cfl_array
from rayfold.recon.io.regrid import regridding, trapezoid_positions
from rayfold.recon.kspace import KSpace

CT = {"span_deg": 180, "kind": "attenuation"}


def stored(folder, suffix, **arrays):
    """The arrays in each kind of file that holds plain arrays."""
    path = folder / f"a{suffix}"
    if suffix == ".npy":
        (array,) = arrays.values()
        np.save(path, array)
    elif suffix == ".npz":
        np.savez(path, **arrays)
    elif suffix == ".mat":
        scipy.io.savemat(path, arrays, do_compression=True)
    else:
        with h5py.File(path, "w") as file:
            for name, array in arrays.items():
                file[f"entry/{name}"] = array
    return path


KINDS = [".npy", ".npz", ".mat", ".h5"]


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("dtype", [np.complex64, np.complex128])
def test_complex_arrays_are_k_space(tmp_path, rng, suffix, dtype):
    y = coil_images(rng, 3, 6, 5).astype(dtype)
    scan = load(stored(tmp_path, suffix, kspace=y))
    assert isinstance(scan, KSpace) and scan.axes == ("coil", "ky", "kx") and scan.data.dtype == dtype
    assert np.array_equal(scan.data, y) and scan.sampled is None and scan.source == suffix[1:]
    assert scan.notes == ("axes taken as coil, ky, kx",)


@pytest.mark.parametrize("suffix", KINDS)
def test_real_arrays_stay_ct(tmp_path, suffix):
    scan = load(stored(tmp_path, suffix, sino=np.ones((6, 5), np.float32)), geometry=CT)
    assert isinstance(scan, Scan) and scan.data.shape == (6, 5)


def test_a_complex_array_beside_a_sinogram_changes_nothing(tmp_path, rng):
    path = stored(tmp_path, ".mat", sino=np.ones((6, 5)), other=coil_images(rng, 2, 3))
    assert isinstance(load(path, geometry=CT), Scan)
    assert isinstance(load(path, geometry={"data": "sino", **CT}), Scan)
    assert isinstance(load(path, geometry={"kspace": {"data": "other"}}), KSpace)


def test_matlab_73_names_the_parts(tmp_path, rng):
    y = coil_images(rng, 2, 4, 3)
    pairs = np.empty(y.shape, [("real", "<f4"), ("imag", "<f4")])
    pairs["real"], pairs["imag"] = y.real, y.imag
    assert np.array_equal(load(stored(tmp_path, ".h5", ksp=pairs)).data, y)


def test_axes_are_put_in_order(tmp_path, rng):
    y = coil_images(rng, 5, 6, 3, 2)
    (tmp_path / "a.toml").write_text(
        '[kspace]\naxes = "kx, ky, coil, echo"\necho_times = [3, 7.5]\ndwell = 0.01\n'
    )
    scan = load(stored(tmp_path, ".npy", kspace=y))
    assert scan.axes == ("echo", "coil", "ky", "kx") and np.array_equal(scan.data, y.transpose(3, 2, 1, 0))
    assert scan.echo_times == (3.0, 7.5) and scan.dwell == 0.01
    single = load(stored(tmp_path, ".npz", k=y[:, :, 0, 0]), geometry={"axes": ["kx", "ky"], "readout": "ky"})
    assert single.axes == ("coil", "ky", "kx") and single.readout == "ky"
    assert np.array_equal(single.data[0], y[:, :, 0, 0].T)


def test_zeros_are_positions_not_measured(tmp_path, rng):
    y, mask = coil_images(rng, 3, 6, 5), rng.random((6, 5)) > 0.5
    scan = load(stored(tmp_path, ".npy", kspace=y * mask))
    assert np.array_equal(scan.sampled, mask) and "taken as not measured" in scan.notes[-1]
    named = load(stored(tmp_path, ".npz", kspace=y, lines=mask), geometry={"sampled": "lines"})
    assert np.array_equal(named.sampled, mask)


@pytest.mark.parametrize(
    ("unit", "scale"), [("cycles/fov", 1), ("cycles/voxel", 0.0625), ("rad/voxel", np.pi / 8)]
)
def test_trajectory_noise_and_calibration_by_name(tmp_path, rng, unit, scale):
    y, places = coil_images(rng, 3, 4, 7), rng.uniform(-8, 8, (4, 7, 2))
    noise, calibration = coil_images(rng, 3, 20), coil_images(rng, 3, 12, 16)
    about = {
        "data": "k",
        "axes": "coil,shot,sample",
        "trajectory": "places",
        "trajectory_unit": unit,
        "matrix": (12, 16),
        "noise": "noise",
        "calibration": "acs",
    }
    if unit == "cycles/fov":
        places *= np.array([1, 12 / 16])
    path = stored(tmp_path, ".npz", k=y, places=places * scale, noise=noise, acs=calibration)
    scan = load(path, geometry={"kspace": about})
    step = np.array([12, 16]) if unit == "cycles/fov" else 16
    assert np.allclose(scan.trajectory, places[..., ::-1] * (2 * np.pi / step))
    assert np.array_equal(scan.noise, noise) and np.array_equal(scan.calibration, calibration)


def test_the_grid_follows_from_the_extent(tmp_path, rng):
    y, places = coil_images(rng, 1, 40), rng.uniform(-1, 1, (40, 2)) * (9.5, 5.9)
    places[0] = 9.5, 5.9
    path = stored(tmp_path, ".npz", k=y, places=places)
    scan = load(path, geometry={"data": "k", "axes": "coil,sample", "trajectory": "places"})
    assert scan.matrix == (12, 20) and "grid 12 x 20 from the extent" in scan.notes[0]


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"axis": "ky,kx"}, "unknown key 'axis'; the nearest are axes"),
        ({"axes": "ky,kx,kw"}, "axes is 'ky,kx,kw'; it must be a list of different names"),
        (
            {"axes": "coil,ky"},
            r'holds an array \(3, 6, 5\), axes = "coil,ky" names 2; name every axis',
        ),
        ({"data": "b"}, "holds no array 'b'; it has k 3x6x5"),
        ({"field_of_view": [100, -1]}, "it must be a list of positive numbers"),
        ({"dwell": "fast"}, "dwell is 'fast'; it must be positive"),
        ({"trajectory_unit": "1/m"}, 'must be "rad/voxel" or "cycles/voxel" or "cycles/fov"'),
        ({"matrix": (6, 6)}, r"data have 6x5 Cartesian positions, matrix is \(6, 6\)"),
        ({"axes": "coil,shot,sample", "matrix": (8, 8)}, "need a trajectory; give one in rad/voxel"),
    ],
)
def test_wrong_statements(tmp_path, rng, about, said):
    path = stored(tmp_path, ".npz", k=coil_images(rng, 3, 6, 5))
    with pytest.raises(InconsistentInput, match=said) as caught:
        load(path, geometry={"kspace": about})
    assert "\n" not in str(caught.value)


def test_several_arrays_must_be_named(tmp_path, rng):
    path = stored(tmp_path, ".npz", head=coil_images(rng, 3, 6, 5), body=coil_images(rng, 2, 6, 5))
    with pytest.raises(InconsistentInput, match=r"has head 3x6x5, body 2x6x5; name the measure.* of a\.toml"):
        load(path)
    assert load(path, geometry={"data": "body"}).n_coils == 2
    path = stored(tmp_path, ".npz", kspace=coil_images(rng, 3, 6, 5), maps=coil_images(rng, 3, 6, 5))
    assert load(path).n_coils == 3


@pytest.mark.parametrize("suffix", KINDS)
def test_truncated_arrays(tmp_path, rng, suffix):
    path = stored(tmp_path, suffix, kspace=coil_images(rng, 3, 16, 16))
    content = path.read_bytes()
    for kept in (len(content) - 9, len(content) // 2):
        path.write_bytes(content[:kept])
        with pytest.raises((UnreadableInput, InconsistentInput), match=rf"a\{suffix}") as caught:
            load(path)
        assert "\n" not in str(caught.value)


# --- there and back ---


@pytest.fixture
def full(rng):
    return KSpace(
        coil_images(rng, 2, 3, 4, 6, 5),
        ("slice", "echo", "coil", "ky", "kx"),
        sampled=rng.random((6, 5)) > 0.3,
        crop=(6, 3),
        field_of_view=(120.5, 50),
        slice_thickness=4.0,
        direction=np.eye(3),
        origin=(1.0, 2.0, -5.0),
        noise=coil_images(rng, 4, 30),
        calibration=coil_images(rng, 4, 6, 5),
        calibration_sampled=np.ones((6, 5), bool),
        reference=coil_images(rng, 4, 2, 5),
        reference_reversed=np.array([False, True]),
        reversed_lines=np.arange(6) % 2 > 0,
        readout="ky",
        echo_times=(3.0, 7.0, 9.0),
        dwell=0.01,
        field_strength=3.0,
        path="scan.h5",
        source="ISMRMRD",
        history=("whitened",),
        notes=("phantom",),
    )


def test_own_file_gives_back_every_field(tmp_path, full, rng):
    radial = KSpace(
        coil_images(rng, 2, 4, 7).astype(complex),
        ("coil", "shot", "sample"),
        trajectory=rng.uniform(-3, 3, (4, 7, 2)),
        matrix=(8, 9),
    )
    for scan in (full, radial):
        back = load(write_kspace(tmp_path / "scan.h5", scan, force=True))
        for name, value in vars(scan).items():
            got = getattr(back, name)
            assert type(got) is type(value), name
            if isinstance(value, np.ndarray):
                assert got.dtype == value.dtype and np.array_equal(got, value), name
            else:
                assert got == value, name
    with pytest.raises(OutputFailure, match="already there"):
        write_kspace(tmp_path / "scan.h5", full)
    with pytest.raises(OutputFailure, match=r"no k-space format ends in '\.npy'; use \.h5"):
        write_kspace(tmp_path / "scan.npy", full)


def test_own_file_notices_damage(tmp_path, full, rng):
    path = write_kspace(tmp_path / "scan.h5", full)
    content = path.read_bytes()
    good = vars(load(path))
    for _ in range(40):
        broken = bytearray(content)
        broken[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(bytes(broken))
        try:
            scan = load(path)
        except (UnreadableInput, InconsistentInput) as error:
            assert "scan.h5" in str(error) and "\n" not in str(error)
            continue
        same = [np.array_equal(good[name], value) for name, value in vars(scan).items()]
        assert all(same)


def test_bart_there_and_back(tmp_path, full, rng):
    data = full.data * full.sampled
    path = write_kspace(tmp_path / "scan.cfl", full.did("masked", data=data))
    assert path.with_suffix(".hdr").read_text() == "# Dimensions\n5 6 1 4 1 3 1 1 1 1 1 1 1 2 1 1\n"
    for name in ("scan.cfl", "scan.hdr"):
        back = load(tmp_path / name)
        assert back.axes == ("echo", "slice", "coil", "ky", "kx") and back.source == "BART cfl"
        assert np.array_equal(back.data, np.swapaxes(data, 0, 1)) and np.array_equal(
            back.sampled, full.sampled
        )
    volume = KSpace(coil_images(rng, 2, 3, 4, 5), ("coil", "kz", "ky", "kx"))
    assert np.array_equal(load(write_kspace(tmp_path / "v.cfl", volume)).data, volume.data)
    places = rng.uniform(-np.pi, np.pi, (4, 7, 2))
    places[0, 0] = -np.pi
    radial = KSpace(coil_images(rng, 2, 4, 7), ("coil", "shot", "sample"), trajectory=places, matrix=(8, 12))
    back = load(write_kspace(tmp_path / "r.cfl", radial))
    assert back.axes == radial.axes and back.matrix == (8, 12) and np.array_equal(back.data, radial.data)
    assert np.allclose(back.trajectory, places, atol=1e-6)


def test_bart_order_is_the_formats(tmp_path, rng):
    """Bytes as the format's documents state them: complex64 in column-major order, the coils fourth."""
    y = coil_images(rng, 5, 6, 1, 3)
    (tmp_path / "a.hdr").write_text("# Dimensions\n5 6 1 3 1 1 1 1 1 1 1 1 1 1 1 1 \n# Command\nZZ\n")
    (tmp_path / "a.cfl").write_bytes(y.tobytes(order="F"))
    assert np.array_equal(read_cfl_array(tmp_path / "a.cfl"), y)
    scan = load(tmp_path / "a.cfl")
    assert np.array_equal(scan.data, y[:, :, 0].transpose(2, 1, 0)) and "ZZ" not in repr(scan)
    y = coil_images(rng, 1, 6, 4, 3)  # a slice of a volume: its phase encodings are left
    (tmp_path / "a.hdr").write_text("# Dimensions\n1 6 4 3\n")
    (tmp_path / "a.cfl").write_bytes(y.tobytes(order="F"))
    assert np.array_equal(load(tmp_path / "a.hdr").data, y[0].transpose(2, 1, 0))


def test_bart_pairs_that_do_not_fit(tmp_path, rng):
    y = coil_images(rng, 5, 6, 1, 3)
    header, data = tmp_path / "a.hdr", tmp_path / "a.cfl"

    def refused(kind, said, path=data):
        with pytest.raises(kind, match=said) as caught:
            load(path)
        assert "\n" not in str(caught.value)

    data.write_bytes(y.tobytes(order="F"))
    refused(UnreadableInput, r"a\.hdr is missing; keep the \.cfl and the \.hdr file together")
    header.write_text("# Dimensions\n5 6 1 3\n")
    data.write_bytes(y.tobytes(order="F")[:-8])
    refused(UnreadableInput, r"a\.cfl holds 712 bytes, its header asks for 720; it is incomplete")
    data.write_bytes(y.tobytes() + bytes(8))
    refused(InconsistentInput, "holds 728 bytes, its header asks for 720; the two files do not belong")
    header.write_text("# Dimensions\n5 6 x 3\n")
    refused(UnreadableInput, r"a\.hdr states no dimensions")
    header.write_text("Dimensions\n")
    refused(UnreadableInput, r"a\.hdr should be BART but its content is something else", header)
    data.write_bytes(b"")
    refused(UnreadableInput, r"a\.cfl is empty")
    header.write_text("# Dimensions\n5 6 1 3 2\n")
    data.write_bytes(y.tobytes() * 2)
    refused(InconsistentInput, r"has 2 coil map sets \(dimension 4\), .* extract one with bart slice")
    header.write_text("# Dimensions\n5 6 1 3\n")
    data.write_bytes(np.full(90, np.nan, "c8").tobytes())
    refused(InconsistentInput, "a.cfl: data holds 90 NaN or infinite samples")


# --- fastMRI ---


def fast(path, y, xml, mask=None):
    with h5py.File(path, "w") as file:
        file["kspace"] = y
        file["ismrmrd_header"] = xml
        file["reconstruction_rss"] = np.ones((1, 4, 4), np.float32)
        if mask is not None:
            file["mask"] = mask
    return path


def test_fastmri(tmp_path, rng):
    """Rows are the readout; its oversampling is cut as the header states; zero columns were not measured."""
    y = coil_images(rng, 2, 3, 16, 6)
    y[..., :1] = 0
    scan = load(fast(tmp_path / "a.h5", y, mrd_xml(16, 6, recon_x=8)))
    assert scan.axes == ("slice", "coil", "ky", "kx") and scan.readout == "ky" and scan.source == "fastMRI"
    assert np.array_equal(scan.data, y) and scan.crop == (8, 6) and scan.field_of_view == (32.0, 12.0)
    assert scan.sampled.shape == (1, 6) or scan.sampled.shape == (16, 6)
    assert np.broadcast_to(scan.sampled, (16, 6)).all(0).tolist() == [False] + [True] * 5
    mask = np.array([0, 1, 0, 1, 1, 0], np.uint8)
    masked = load(fast(tmp_path / "b.h5", y[:, 0], mrd_xml(16, 6), mask))
    assert (
        masked.n_coils == 1
        and np.broadcast_to(masked.sampled, (16, 6))[0].tolist() == mask.astype(bool).tolist()
    )
    assert not masked.data[..., ~mask.astype(bool)].any() and masked.crop is None
    with pytest.raises(InconsistentInput, match=r"mask has \(5,\), kspace has 6 columns"):
        load(fast(tmp_path / "c.h5", y, mrd_xml(16, 6), mask[:5]))


# --- ramps ---


def test_a_plateau_alone_is_even():
    assert np.allclose(trapezoid_positions(8, 1.0, 3.0, 2.0, 10.0, 2.0), np.arange(8) - 3.5)


@pytest.mark.parametrize(
    "times", [(10.0, 60.0, 140.0, 60.0), (0.0, 130.0, 1.0, 130.0), (20.0, 40.0, 200.0, 30.0)]
)
def test_positions_are_the_integral_of_the_trapezoid(times):
    delay, up, flat, down = times
    n, t = 12, np.linspace(0, up + flat + down, 200_001)
    dwell = (up + flat + down - 2 * delay) / n
    shape = np.interp(t, [0, up, up + flat, up + flat + down], [0, 1, 1, 0])
    moment = np.concatenate([[0], np.cumsum((shape[1:] + shape[:-1]) / 2)])
    at = np.interp(delay + (np.arange(n) + 0.5) * dwell, t, moment)
    window = np.ptp(np.interp([delay, delay + n * dwell], t, moment))
    assert np.allclose(trapezoid_positions(n, dwell, *times), (at - moment[-1] / 2) / window * n, atol=1e-3)


def test_regridding_is_exact_within_the_field_of_view(rng):
    """Twice as many samples as voxels, unevenly: the even grid to rounding."""
    n = 16
    image = coil_images(rng, 1, 1, n).astype(complex)
    kx = np.sort(rng.uniform(-8, 7.5, 60))
    y = samples_at(image, np.stack([kx, 0 * kx]))[0]
    assert np.allclose(regridding(kx, n) @ y, fft(image, (-1,))[0, 0], atol=1e-9)
    with pytest.raises(ValueError, match="do not fit a gradient"):
        trapezoid_positions(8, 100.0, 0.0, 10.0, 10.0, 10.0)
