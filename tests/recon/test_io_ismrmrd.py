"""ISMRMRD files written by its own package: counters, flags, noise, trajectories; bulk against one by one."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from tests.recon.mri_files import coil_images, fft, mrd_xml, samples_at, write_mrd

from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io import load
from rayfold.recon.io.regrid import trapezoid_positions

ismrmrd = pytest.importorskip("ismrmrd")
NOISE, CALIBRATION, BOTH, REVERSE = (
    ismrmrd.ACQ_IS_NOISE_MEASUREMENT,
    ismrmrd.ACQ_IS_PARALLEL_CALIBRATION,
    ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING,
    ismrmrd.ACQ_IS_REVERSE,
)
PHASE, NAVIGATION = ismrmrd.ACQ_IS_PHASECORR_DATA, ismrmrd.ACQ_IS_NAVIGATION_DATA


def line(row, number, flags=(), more=None, **counters):
    return row, {"kspace_encode_step_1": number, **counters}, flags, dict(more or {})


def test_same_samples_as_its_own_package_reads(tmp_path, rng):
    y = coil_images(rng, 3, 6, 8)
    path = write_mrd(tmp_path / "a.h5", mrd_xml(8, 6), [line(y[:, k], k) for k in range(6)])
    scan = load(path)
    with ismrmrd.File(str(path), "r") as file:
        read = np.stack([a.data for a in file["dataset"].acquisitions], axis=1)
    assert np.array_equal(scan.data, read) and scan.axes == ("coil", "ky", "kx")
    assert scan.sampled is None and scan.matrix == (6, 8) and scan.field_of_view == (12.0, 16.0)
    assert scan.echo_times == (3.5, 7.0) and scan.field_strength == 1.5 and scan.path == "a.h5"


def test_counters_become_named_axes(tmp_path, rng):
    y = coil_images(rng, 2, 3, 2, 2, 4, 8)  # slice, contrast, repetition, coil, ky, kx
    readouts = [
        line(y[s, c, r, :, k], k, slice=s, contrast=c, repetition=r)
        for r in range(2)
        for k in range(4)
        for c in range(3)
        for s in range(2)
    ]
    y = y.reshape(2, 3, 2, 2, 4, 8)
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(8, 4), readouts))
    assert scan.axes == ("slice", "echo", "repetition", "coil", "ky", "kx")
    assert np.array_equal(scan.data, y)


def test_slices_are_put_in_order_of_place(tmp_path, rng):
    y = coil_images(rng, 3, 1, 4, 4)
    height = [10.0, -10.0, 0.0]
    about = {"read_dir": (1, 0, 0), "phase_dir": (0, 1, 0), "slice_dir": (0, 0, 1)}
    readouts = [
        line(y[s, :, k], k, (), {**about, "position": (5, 6, height[s])}, slice=s)
        for s in range(3)
        for k in range(4)
    ]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(4, 4), readouts))
    assert np.array_equal(scan.data, y[[1, 2, 0]])
    assert scan.origin == (5.0, 6.0, -10.0) and scan.slice_spacing == 10.0
    assert np.array_equal(scan.direction, np.eye(3))


@pytest.mark.parametrize(("nz", "signs"), [(1, (-1, -1, 1)), (2, (-1, -1, -1))])
def test_encoded_axes_of_siemens_run_backwards(tmp_path, rng, nz, signs):
    """Its directions are meant for a forward transform; pull request 833 of MRpro found the same."""
    y = coil_images(rng, 1, nz, 4, 4)
    about = {"read_dir": (0, 1, 0), "phase_dir": (1, 0, 0), "slice_dir": (0, 0, 1), "position": (1, 2, 3)}
    places = [(z, k) for z in range(nz) for k in range(4)]
    readouts = [line(y[:, z, k], k, (), about, kspace_encode_step_2=z) for z, k in places]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(4, 4, nz, vendor="SIEMENS"), readouts))
    assert np.array_equal(scan.direction, np.array([[0, 1, 0], [1, 0, 0], [0, 0, 1]]) * signs)
    assert scan.origin == (1.0, 2.0, 3.0)
    plain = load(write_mrd(tmp_path / "b.h5", mrd_xml(4, 4, nz, vendor="Philips"), readouts))
    assert np.array_equal(plain.direction, [[0, 1, 0], [1, 0, 0], [0, 0, 1]])


def test_undersampled_partial_fourier_and_asymmetric_echo(tmp_path, rng):
    """The limits' centre lies at n // 2; a short readout is placed by its centre sample."""
    y = coil_images(rng, 2, 6, 8)
    kept = [2, 4, 5]  # lines of the full grid; counters begin at the first
    readouts = [line(y[:, k, 2:], k - 2, (), {"center_sample": 2}) for k in kept]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(8, 6, limits=1), readouts))
    assert np.array_equal(scan.data[:, kept, 2:], y[:, kept, 2:])
    mask = np.zeros((6, 8), bool)
    mask[kept, 2:] = True
    assert np.array_equal(scan.sampled, mask) and not scan.data[:, ~mask].any()
    assert scan.acceleration == pytest.approx(48 / 18)


def test_discarded_samples_and_crop(tmp_path, rng):
    y = coil_images(rng, 1, 4, 10)
    readouts = [
        line(y[:, k], k, (), {"discard_pre": 1, "discard_post": 1, "center_sample": 5}) for k in range(4)
    ]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(8, 4, recon_x=4), readouts))
    assert np.array_equal(scan.data, y[:, :, 1:9]) and scan.crop == (4, 4)


def test_noise_is_brought_to_the_bandwidth_of_the_data(tmp_path, rng):
    """Ten times longer dwell and half the receiver's bandwidth: 20 times the power per sample."""
    y, noise = coil_images(rng, 2, 4, 4), coil_images(rng, 2, 2, 4)
    readouts = [line(noise[k], 0, (NOISE,), {"sample_time_us": 20}) for k in range(2)]
    readouts += [line(y[:, k], k, (), {"sample_time_us": 2}) for k in range(4)]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(4, 4), readouts))
    assert np.allclose(scan.noise, np.moveaxis(noise, 1, 0).reshape(2, 8) * np.sqrt(20), rtol=1e-6)
    assert scan.dwell == pytest.approx(0.002) and np.array_equal(scan.data, y)


@pytest.mark.parametrize("mode", ["embedded", "separate"])
def test_calibration_lines(tmp_path, rng, mode):
    y, other = coil_images(rng, 2, 8, 8), coil_images(rng, 2, 8, 8)
    readouts = [line(y[:, k], k, (BOTH,) if k == 4 else ()) for k in (0, 2, 4, 6)]
    readouts += [line(other[:, k], k, (CALIBRATION,)) for k in (3, 5)]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(8, 8, calibration=mode), readouts))
    measured = np.flatnonzero(scan.sampled[:, 0]).tolist()
    if mode == "embedded":
        assert measured == [0, 2, 3, 4, 5, 6] and scan.calibration is None
        assert np.array_equal(scan.data[:, 3], other[:, 3])
    else:
        assert measured == [0, 2, 4, 6]
        assert np.flatnonzero(scan.calibration_sampled[:, 0]).tolist() == [3, 4, 5]
        assert np.array_equal(scan.calibration[:, [3, 5]], other[:, [3, 5]])
        assert np.array_equal(scan.calibration[:, 4], y[:, 4])


def test_epi_lines_are_turned_and_reference_lines_kept_apart(tmp_path, rng):
    y, ref, navigator = coil_images(rng, 2, 4, 4), coil_images(rng, 2, 3, 4), coil_images(rng, 2, 4)

    def turned(row, k):
        return row[:, ::-1] if k % 2 else row

    readouts = [line(turned(ref[:, k], k), 2, (PHASE, *((REVERSE,) if k % 2 else ()))) for k in range(3)]
    readouts += [line(turned(y[:, k], k), k, (REVERSE,) if k % 2 else ()) for k in range(4)]
    readouts += [line(navigator, 0, (NAVIGATION,))]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(4, 4, trajectory="epi"), readouts))
    assert np.array_equal(scan.data, y) and scan.reversed_lines.tolist() == [False, True, False, True]
    assert np.array_equal(scan.reference, ref) and scan.reference_reversed.tolist() == [False, True, False]


def test_epi_ramps_are_regridded(tmp_path, rng):
    """Samples under a trapezoid of an object inside the field of view come out as on the even grid."""
    n, times = 16, {"acqDelayTime": 10, "rampUpTime": 60, "flatTopTime": 140, "rampDownTime": 60}
    dwell = (260 - 20) / n
    image = np.zeros((1, 4, n), complex)
    image[..., 5:11] = coil_images(rng, 1, 4, 6)
    kx = trapezoid_positions(n, dwell, *times.values())
    assert np.ptp(np.diff(kx)) > 0.3  # uneven indeed
    ky = np.arange(4) - 2
    y = samples_at(image, np.stack(np.broadcast_arrays(kx[None], ky[:, None])))
    described = "".join(
        f"<userParameterLong><name>{name}</name><value>{value}</value></userParameterLong>"
        for name, value in times.items()
    )
    described += f"<userParameterDouble><name>dwellTime</name><value>{dwell}</value></userParameterDouble>"
    extra = (
        f"<trajectoryDescription><identifier>ConventionalEPI</identifier>{described}</trajectoryDescription>"
    )
    readouts = [line(y[:, k], k) for k in range(4)]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(n, 4, trajectory="epi", extra=extra), readouts))
    truth = fft(image)
    assert np.abs(scan.data - truth).max() < 0.02 * np.abs(truth).max()
    assert np.abs(y.reshape(1, 4, n) - truth).max() > 0.3 * np.abs(truth).max()
    assert any("regridded" in note for note in scan.notes)


def test_repeated_lines_are_averaged(tmp_path, rng):
    y = coil_images(rng, 2, 1, 4, 4)
    readouts = [line(y[r, :, k], k) for r in range(2) for k in range(4)]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(4, 4), readouts))
    assert (
        np.allclose(scan.data, y.mean(0), atol=1e-6)
        and "4 lines were measured more than once" in scan.notes[0]
    )


@pytest.mark.parametrize(
    ("scale", "unit"), [(1 / 16, "cycles per voxel"), (1.0, "field of view"), (np.pi / 8, "rad")]
)
def test_trajectories_of_the_file(tmp_path, rng, scale, unit):
    """Columns x, y in any of three units become rad/voxel in image-axis order."""
    angles = np.arange(6) * np.pi / 6
    spokes = np.linspace(-8, 7, 16)[None, :, None] * np.stack([np.cos(angles), np.sin(angles)], -1)[:, None]
    y = coil_images(rng, 2, 6, 16)
    readouts = [
        line(y[:, k], k, (), {"trajectory": (spokes[k] * scale).astype(np.float32)})
        for k in (3, 0, 1, 2, 4, 5)
    ]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(16, 16, trajectory="radial"), readouts))
    assert scan.axes == ("coil", "shot", "sample") and np.array_equal(scan.data, y)
    assert np.allclose(scan.trajectory, spokes[..., ::-1] * (np.pi / 8), atol=1e-6)
    assert unit in scan.notes[-1]


def test_trajectory_per_repetition(tmp_path, rng):
    places = rng.uniform(-0.4, 0.4, (2, 3, 5, 2)).astype(np.float32)
    y = coil_images(rng, 2, 1, 3, 5)
    readouts = [
        line(y[r, :, k], k, (), {"trajectory": places[r, k]}, repetition=r)
        for r in range(2)
        for k in range(3)
    ]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(8, 8, trajectory="spiral"), readouts))
    assert scan.axes == ("repetition", "coil", "shot", "sample") and np.array_equal(scan.data, y)
    assert np.allclose(scan.trajectory, places[..., ::-1] * (2 * np.pi), atol=1e-6)
    with pytest.raises(InconsistentInput, match=r"repetition hold 2 to 3 shots each; export whole frames"):
        load(write_mrd(tmp_path / "b.h5", mrd_xml(8, 8, trajectory="spiral"), readouts[:5]))


def test_three_dimensions(tmp_path, rng):
    y = coil_images(rng, 2, 3, 4, 6)
    readouts = [line(y[:, z, k], k, kspace_encode_step_2=z) for k in range(4) for z in range(3)]
    scan = load(write_mrd(tmp_path / "a.h5", mrd_xml(6, 4, 3), readouts))
    assert scan.axes == ("coil", "kz", "ky", "kx") and np.array_equal(scan.data, y)
    assert scan.matrix == (3, 4, 6) and scan.field_of_view == (15.0, 8.0, 12.0)


@pytest.fixture
def good(tmp_path, rng):
    y = coil_images(rng, 2, 4, 4)
    return write_mrd(tmp_path / "scan.h5", mrd_xml(4, 4), [line(y[:, k], k) for k in range(4)])


def test_truncated(good):
    content = good.read_bytes()
    for kept in (len(content) - 500, len(content) // 2, 600):
        good.write_bytes(content[:kept])
        with pytest.raises(
            UnreadableInput, match=r"scan\.h5 cannot be read as HDF5: .*; the file is damaged, copy it"
        ):
            load(good)


def _broken(path, change):
    with h5py.File(path, "r+") as file:
        change(file["dataset"])
    with pytest.raises((UnreadableInput, InconsistentInput)) as caught:
        load(path)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("scan.h5")
    return str(caught.value)


def _table(file, change):
    rows = file["data"][()]
    change(rows)
    kind = file["data"].dtype
    del file["data"]
    file.create_dataset("data", data=rows, dtype=kind)


def test_contradictions_are_one_line(good, tmp_path):
    content = good.read_bytes()

    def broken(change, whole=False):
        good.write_bytes(content)
        return _broken(good, change if whole else lambda file: _table(file, change))

    def nan(rows):
        rows["data"][1] = np.full_like(rows["data"][1], np.nan)

    def coils(rows):
        rows["head"]["active_channels"][2] = 1

    def short(rows):
        rows["data"][0] = rows["data"][0][:-2]

    def far(rows):
        rows["head"]["idx"]["kspace_encode_step_1"][0] = 900

    def counting(rows):
        rows["head"]["idx"]["repetition"][:] = [0, 60000, 1, 2]
        rows["head"]["idx"]["phase"][:] = [0, 60000, 1, 2]

    def noise(rows):
        rows["head"]["flags"][:] = 1 << 18

    def text(file):
        file["xml"][0] = b"<ismrmrdHeader><patientName>X</patientName>"

    assert "holds 8 NaN or infinite samples" in broken(nan)
    assert "readouts differ in size (1 coils x 4, 2 coils x 4)" in broken(coils)
    assert "stores 14 numbers, its header says 2 coils x 4 samples" in broken(short)
    assert "lines reach ky 900 of a grid of 4" in broken(far)
    assert "counts without end" in broken(counting)
    assert "only adjustments" in broken(noise)
    assert "header is not XML" in broken(text, whole=True)


def test_options_of_ct_and_twix_are_refused(good):
    with pytest.raises(ValueError, match=r"scan\.h5 is k-space; leave out center, rows, which belongs to CT"):
        load(good, center=3.0, rows="0:2")
    with pytest.raises(ValueError, match=r"no Siemens twix file; leave out sequence"):
        load(good, sequence="a.seq")
    with pytest.raises(InconsistentInput, match=r"states its own geometry; leave out axes"):
        load(good, geometry={"axes": "coil,ky,kx"})
