"""Every scan format, written here byte by byte and read back through `load`."""

from __future__ import annotations

import struct

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayfold.operators.geometry import FanBeam, ParallelBeam
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io import load

quick = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
shapes = st.tuples(st.integers(1, 9), st.integers(1, 4), st.integers(1, 9))
dtypes = st.sampled_from([np.uint8, np.uint16, ">u2", np.int32, np.float16, np.float32, ">f4", np.float64])


def stack(shape, dtype=np.float32):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def dataexchange(path, data, theta, flats=None, **attrs):
    with h5py.File(path, "w") as file:
        node = file.create_dataset("exchange/data", data=data)
        node.attrs.update(attrs)
        file["exchange/theta"] = theta
        if flats is not None:
            file["exchange/data_white"], file["exchange/data_dark"] = flats
        file["measurement/sample/name"] = "Erika Mustermann"
    return path


def nxtomo(path, frames, key, angles, pixel=None):
    with h5py.File(path, "w") as file:
        detector = file.create_group("entry/tomo_entry/instrument/detector")
        detector["data"], detector["image_key"] = frames, key
        if pixel:
            detector["x_pixel_size"] = pixel[0]
            detector["x_pixel_size"].attrs["units"] = pixel[1]
        file["entry/tomo_entry/sample/rotation_angle"] = angles
        file["entry/tomo_entry/sample/rotation_angle"].attrs["units"] = "degree"
    return path


def mrc(path, data, mode, order="<", cell=(0.0, 0.0), extended=0):
    views, rows, cols = data.shape
    head = bytearray(1024)
    struct.pack_into(f"{order}4i", head, 0, cols, rows, views, mode)
    struct.pack_into(f"{order}3i", head, 28, cols, rows, views)
    struct.pack_into(f"{order}2f", head, 40, *cell)
    struct.pack_into(f"{order}i", head, 92, extended)
    head[208:212] = b"MAP "
    path.write_bytes(bytes(head) + bytes(extended) + data.tobytes())
    return path


# --- Data Exchange ---


@quick
@given(shape=shapes, dtype=dtypes)
def test_dataexchange(tmp_path, shape, dtype):
    data, theta = stack(shape, dtype), np.linspace(-3, 200, shape[0])
    flats = stack((3, *shape[1:]), dtype), stack((2, *shape[1:]), dtype)
    scan = load(dataexchange(tmp_path / "a.h5", data, theta, flats))
    assert np.array_equal(scan.data, data) and scan.data.dtype.isnative and scan.data.dtype != np.float16
    assert np.array_equal(scan.flat, flats[0]) and np.array_equal(scan.dark, flats[1])
    np.testing.assert_allclose(scan.beam.angles, np.radians(theta))
    assert (scan.kind, scan.unit, scan.beam.pitch, scan.source) == ("counts", "px", 1.0, "Data Exchange")
    assert scan.path == "a.h5" and "Erika" not in repr(vars(scan))


def test_dataexchange_with_its_axes_named_and_angles_in_rad(tmp_path):
    data = stack((5, 7, 3))
    path = dataexchange(tmp_path / "a.h5", data, np.arange(7) * 0.1, (data, data), axes="y:theta:x")
    with h5py.File(path, "a") as file:
        file["exchange/theta"].attrs["units"] = "radians"
    scan = load(path)
    assert np.array_equal(scan.data, data.transpose(1, 0, 2))
    np.testing.assert_allclose(scan.beam.angles, np.arange(7) * 0.1)


def test_dataexchange_sinogram_and_single_flat(tmp_path):
    path = dataexchange(tmp_path / "a.h5", stack((4, 6)), np.arange(4), (stack((2, 6)), stack((6,))))
    scan = load(path)
    assert scan.data.shape == (4, 6) and scan.flat.shape == (2, 6) and scan.dark.shape == (1, 6)
    path = dataexchange(tmp_path / "b.h5", stack((4, 3, 6)), np.arange(4), (stack((3, 6)), stack((2, 3, 6))))
    assert load(path, rows=2).flat.tolist() == [stack((3, 6))[2].tolist()]


def test_dataexchange_without_flats_or_with_wrong_angles(tmp_path):
    path = dataexchange(tmp_path / "a.h5", stack((4, 2, 6)), np.arange(4))
    with pytest.raises(InconsistentInput, match=r"a\.h5: .*data_white is missing.*open_beam"):
        load(path)
    assert load(path, geometry={"open_beam": 10}).flat.shape == (1, 2, 6)
    assert load(path, geometry={"kind": "transmission"}).kind == "transmission"
    short = dataexchange(tmp_path / "b.h5", stack((4, 2, 6)), np.arange(3), (stack((1, 2, 6)),) * 2)
    with pytest.raises(InconsistentInput, match=r"b\.h5 holds 4 views but 3 angles; give one angle per view"):
        load(short)


def test_a_laboratory_fan_beam_for_a_file_that_knows_only_angles(tmp_path):
    path = dataexchange(tmp_path / "a.h5", stack((4, 2, 6)), np.arange(4), (stack((1, 2, 6)),) * 2)
    about = {"beam": "fan", "pitch": 0.2, "source_to_axis": 100, "source_to_detector": 150, "center": 2.0}
    scan = load(path, geometry=about, rows=1)
    assert isinstance(scan.beam, FanBeam) and scan.beam.axis_column == pytest.approx(2.0)
    assert scan.data.shape == (4, 6) and scan.flat.shape == (1, 6) and scan.unit == "mm"
    assert "separate fans" in load(path, geometry=about).notes[0]


# --- NXtomo ---


def test_nxtomo_sorts_its_frames(tmp_path):
    key = np.array([2, 1, 1, 0, 0, 0, 1, 0, 0, 1, 2])
    frames, angles = stack((11, 3, 4), np.uint16), np.arange(11.0)
    scan = load(nxtomo(tmp_path / "a.nxs", frames, key, angles, (2.5, "um")), rows="1:3")
    assert np.array_equal(scan.data, frames[key == 0, 1:3])
    assert np.array_equal(scan.flat, frames[key == 1, 1:3]) and np.array_equal(
        scan.dark, frames[key == 2, 1:3]
    )
    assert scan.flat_views.tolist() == [-0.5, -0.5, 2.5, 4.5]
    np.testing.assert_allclose(scan.beam.angles, np.radians(angles[key == 0]))
    assert (scan.unit, scan.beam.pitch, scan.source) == ("mm", pytest.approx(0.0025), "NXtomo")


def test_nxtomo_links_to_a_neighbour(tmp_path):
    data = tmp_path / "frames.h5"
    with h5py.File(data, "w") as file:
        file["entry/detector"] = stack((5, 2, 3))
    path = nxtomo(tmp_path / "a.nxs", stack((5, 2, 3)), np.array([1, 0, 0, 0, 2]), np.arange(5.0))
    with h5py.File(path, "a") as file:
        del file["entry/tomo_entry/instrument/detector/data"]
        file["entry/tomo_entry/instrument/detector/data"] = h5py.ExternalLink(
            "raw/run 7/frames.h5", "entry/detector"
        )
    assert np.array_equal(load(path).data, stack((5, 2, 3))[1:4])
    data.unlink()
    with pytest.raises(UnreadableInput, match=r"a\.nxs: the scan links to frames\.h5.*copy that file"):
        load(path)


def test_nxtomo_with_a_virtual_source_missing_is_not_read_as_zeros(tmp_path):
    layout = h5py.VirtualLayout((3, 2, 4), np.float32)
    layout[:] = h5py.VirtualSource("part.h5", "frames", (3, 2, 4))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_virtual_dataset("exchange/data", layout)
        file["exchange/theta"] = np.arange(3.0)
    with pytest.raises(UnreadableInput, match=r"part\.h5, which is not there"):
        load(tmp_path / "a.h5", geometry={"kind": "attenuation"})


def test_nxtomo_incomplete(tmp_path):
    path = nxtomo(tmp_path / "a.nxs", stack((5, 2, 3)), np.array([0, 0, 0]), np.arange(3.0))
    with pytest.raises(InconsistentInput, match="image_key marks 3 frames but the data hold 5"):
        load(path)
    path = nxtomo(tmp_path / "b.nxs", stack((3, 2, 3)), np.array([1, 1, 2]), np.arange(3.0))
    with pytest.raises(InconsistentInput, match="no projections"):
        load(path)
    with h5py.File(path, "a") as file:
        del file["entry/tomo_entry/sample/rotation_angle"]
    with pytest.raises(InconsistentInput, match="no rotation_angle"):
        load(path)


def test_nexus_of_other_tools_keeps_sinograms(tmp_path):
    with h5py.File(tmp_path / "a.nxs", "w") as file:
        group = file.create_group("entry1/tomo_entry/data")
        group["data"], group["rotation_angle"] = stack((2, 10, 4)), np.arange(10) * 0.3
    scan = load(tmp_path / "a.nxs")
    assert np.array_equal(scan.data, stack((2, 10, 4)).transpose(1, 0, 2))
    np.testing.assert_allclose(scan.beam.angles, np.arange(10) * 0.3)
    assert len(scan.notes) == 2 and scan.kind == "attenuation"


# --- Helsinki ---

PARAMETERS = {
    "distanceSourceOrigin": 410.66,
    "distanceSourceDetector": 553.74,
    "pixelSizePost": 0.2,
    "angles": np.arange(5) * 0.5,
    "measurers": "Erika Mustermann",
}


@pytest.mark.parametrize("name", ["CtDataFull", "CtDataLimited"])
def test_helsinki(tmp_path, name):
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {name: {"type": "2d", "sinogram": stack((5, 8), float), "parameters": PARAMETERS}})
    scan = load(path)
    expected = FanBeam(np.radians(np.arange(5) * 0.5), 8, 0.2, 410.66, 553.74)
    assert scan.beam == expected and np.array_equal(scan.data, stack((5, 8)))
    assert (scan.kind, scan.unit, scan.source) == ("attenuation", "mm", "Helsinki")
    assert "Erika" not in repr(vars(scan))


def test_helsinki_in_matlab_73(tmp_path):
    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["CtDataFull/sinogram"] = stack((5, 8), float).T
        for key, value in PARAMETERS.items():
            text = isinstance(value, str)
            value = np.frombuffer(value.encode("utf-16-le"), np.uint16) if text else value
            file[f"CtDataFull/parameters/{key}"] = np.atleast_2d(value).T
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file")
    scan = load(path)
    assert scan.beam == FanBeam(np.radians(np.arange(5) * 0.5), 8, 0.2, 410.66, 553.74)
    assert np.array_equal(scan.data, stack((5, 8)))


def test_helsinki_without_a_distance(tmp_path):
    few = {k: v for k, v in PARAMETERS.items() if k != "distanceSourceOrigin"}
    scipy.io.savemat(tmp_path / "a.mat", {"CtDataFull": {"sinogram": stack((5, 8)), "parameters": few}})
    with pytest.raises(UnreadableInput, match=r"a\.mat: its parameters lack distanceSourceOrigin"):
        load(tmp_path / "a.mat")


# --- MRC ---


@pytest.mark.parametrize("mode, kind", [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("extended", [0, 160])
def test_mrc(tmp_path, mode, kind, order, extended):
    data = stack((3, 4, 5), order + kind)
    path = mrc(tmp_path / "a.mrc", data, mode, order, extended=extended)
    scan = load(path, geometry={"first_deg": -60, "step_deg": 3})
    assert np.array_equal(scan.data, data) and scan.kind == "transmission" and scan.unit == "px"
    np.testing.assert_allclose(scan.beam.angles, np.radians([-60, -57, -54]))


def test_mrc_pixel_size_and_tilt_file(tmp_path):
    path = mrc(tmp_path / "a.st", stack((3, 4, 5)), 2, cell=(12.5, 10.0))
    (tmp_path / "a.rawtlt").write_text("-2\n0\n2.5\n")
    (tmp_path / "a.toml").write_text('angles = "a.rawtlt"\nangles_unit = "deg"\n')
    scan = load(path)
    np.testing.assert_allclose(scan.beam.angles, np.radians([-2, 0, 2.5]))
    assert (scan.unit, scan.beam.pitch, scan.row_pitch) == (
        "mm",
        pytest.approx(2.5e-7),
        pytest.approx(2.5e-7),
    )


def test_mrc_broken(tmp_path):
    path = mrc(tmp_path / "a.mrc", stack((3, 4, 5)), 2)
    with pytest.raises(
        InconsistentInput, match=r"MRC states no angles; give first_deg and step_deg in a\.toml"
    ):
        load(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UnreadableInput, match="truncated: 1263 bytes of 1264"):
        load(path)
    with pytest.raises(UnreadableInput, match="mode 4"):
        load(mrc(tmp_path / "b.mrc", stack((3, 4, 5)), 4))


# --- TIFF ---


@quick
@given(shape=shapes, dtype=st.sampled_from([np.uint8, np.uint16, np.float32]))
def test_tiff_folder_and_file(tmp_path_factory, shape, dtype):
    folder = tmp_path_factory.mktemp("tiff")
    data = stack(shape, dtype)
    (folder / "run").mkdir()
    for k, page in enumerate(data):
        tifffile.imwrite(
            folder / "run" / f"p_{k + 7}.tif", page, photometric="minisblack"
        )  # p_10 sorts after p_9
    tifffile.imwrite(folder / "flat.tif", data[0], photometric="minisblack")
    about = {"span_deg": 180, "flat": "flat.tif"}
    scan = load(folder / "run", geometry=about)
    assert np.array_equal(scan.data, data) and np.array_equal(scan.flat, data[:1]) and scan.kind == "counts"
    if min(shape) > 1:
        tifffile.imwrite(folder / "all.tif", data, photometric="minisblack")
        assert np.array_equal(load(folder / "all.tif", geometry=about).data, data)


def test_tiff_sinogram_and_mixed_folder(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", stack((9, 6)))
    scan = load(tmp_path / "a.tif", geometry={"span_deg": 360, "kind": "transmission", "axes": "cols,views"})
    assert np.array_equal(scan.data, stack((9, 6)).T)
    with pytest.raises(InconsistentInput, match=r"a\.tif does not say what its numbers are; add kind ="):
        load(tmp_path / "a.tif", geometry={"span_deg": 360})
    tifffile.imwrite(tmp_path / "b.tif", stack((9, 7)))
    with pytest.raises(InconsistentInput, match=r"b\.tif is \(9, 7\) but a\.tif \(9, 6\); remove"):
        load(tmp_path, geometry={"span_deg": 360, "kind": "transmission"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableInput, match=r"holds no \.tif files"):
        load(tmp_path / "empty")


# --- measured ---


def test_measured_tooth(measured):
    scan = load(measured("tooth_parallel/tooth.h5"), center=295.5, rows=1)
    assert scan.data.shape == (181, 640) and scan.flat.shape == scan.dark.shape == (10, 640)
    assert scan.beam.axis_column == pytest.approx(295.5) and scan.kind == "counts"
    assert np.degrees(scan.beam.angles[[0, -1]]) == pytest.approx([0, 179.0055], abs=1e-3)


def test_measured_helsinki(measured):
    for name in ("ta", "tb", "tc", "td", "solid_disc"):
        scan = load(measured(f"htc2022_training/htc2022_{name}_full.mat"))
        assert scan.data.shape == (721, 560)
        beam = FanBeam(np.radians(np.arange(721) * 0.5), 560, 0.2, 410.66, 553.74)
        np.testing.assert_allclose(scan.beam.vectors, beam.vectors, atol=1e-9)
        assert scan.beam.resolution == pytest.approx(0.1483223, abs=1e-7)


def test_measured_helsinki_lies_as_the_official_image(measured):
    """FBP written out in the convention of the beam gives the laboratory's image, whose rows run down."""
    scan = load(measured("htc2022_training/htc2022_ta_full.mat")).take_views(slice(0, 720, 2))
    official = scipy.io.loadmat(measured("htc2022_training/htc2022_ta_full_recon_fbp.mat"))["reconFullFbp"]
    beam, n = scan.beam, np.arange(-559, 560)
    at_axis = beam.source_to_axis
    s = (np.arange(560) - beam.axis_column) * beam.resolution
    ramp = np.where(n % 2 == 1, -1 / (np.pi * np.where(n == 0, 1, n)) ** 2, 0.0)
    ramp[n == 0] = 0.25
    weighted = scan.data * at_axis / np.hypot(at_axis, s)
    x, y = np.meshgrid(*[(np.arange(128) - 63.5) * 4 * beam.resolution] * 2)
    image = np.zeros((128, 128))
    for angle, row in zip(beam.angles, weighted, strict=True):
        c, sn = np.cos(angle), np.sin(angle)
        depth = at_axis - x * sn + y * c
        filtered = np.convolve(row, ramp)[559 : 559 + 560]
        image += np.interp((x * c + y * sn) * at_axis / depth, s, filtered) * (at_axis / depth) ** 2
    coarse = official.reshape(128, 4, 128, 4).mean(axis=(1, 3))
    assert np.corrcoef(image[::-1].ravel(), coarse.ravel())[0, 1] > 0.98  # any other flip stays below 0.8


def test_measured_basalt(measured, tmp_path):
    (tmp_path / "basalt.toml").write_text(
        'data = "sino_basalt"\naxes = "cols,views"\nangles = "angles"\nangles_unit = "rad"\n'
        'kind = "attenuation"\ncenter = 312.5\n'
    )
    scan = load(measured("basalt_neutron_parallel/sino_basalt.mat"), geometry=tmp_path / "basalt.toml")
    assert scan.data.shape == (530, 627) and scan.beam.axis_column == pytest.approx(312.5)
    assert scan.beam.angles[[0, -1]] == pytest.approx([0, 3.1379], abs=1e-4)


def test_measured_mrc(measured):
    path = measured("dls_standard_parallel3d/projections.mrc")
    scan = load(path, geometry={"angles": "ccpi_angles_deg.npy", "angles_unit": "deg"})
    assert scan.data.shape == (91, 135, 160) and scan.data.dtype == np.float32 and scan.kind == "transmission"
    assert np.isnan(scan.data[:, 0, 0]).all() and np.isnan(scan.data).sum() == 91
    evenly = load(path, geometry={"first_deg": -88.2, "step_deg": 2.0}, rows="3:5")
    np.testing.assert_allclose(evenly.beam.angles, scan.beam.angles, atol=1e-4)
    assert evenly.data.shape == (91, 2, 160)


def test_measured_nexus(measured):
    path = measured("k11_nexus/k11-18014.nxs")
    with pytest.raises(InconsistentInput, match="no rotation_angle"):
        load(path)
    scan = load(path, geometry={"first_deg": 90.0, "step_deg": 0.06})
    assert scan.data.shape == (3001, 22, 26) and scan.flat.shape == scan.dark.shape == (100, 22, 26)
    assert np.unique(scan.flat_views).tolist() == [-0.5, 3000.5]
    assert scan.flat.mean() > scan.data.mean() > scan.dark.mean()


def test_measured_rock(measured):
    scan = load(measured("rock_rings/Sinogram_Rock_sample_3D.nxs"), center=198.0)
    assert scan.data.shape == (120, 5, 400) and scan.kind == "attenuation"
    np.testing.assert_allclose(np.degrees(np.diff(scan.beam.angles)), 3, atol=1e-4)
    assert isinstance(scan.beam, FanBeam) and scan.beam.axis_column == pytest.approx(198.0)


def test_measured_neutron(measured):
    path = measured("sarepy_neutron_360/sinogram_360_neutron_image.tif")
    scan = load(path, geometry={"span_deg": 360.0, "open_beam": 46950.0}, center=245)
    assert scan.data.shape == (459, 503) and scan.kind == "counts" and isinstance(scan.beam, ParallelBeam)


def test_measured_cone_central_row(measured):
    about = {
        "beam": "fan",
        "step_deg": 1,
        "pitch": 0.4,
        "source_to_axis": 410.66,
        "source_to_detector": 553.74,
        "kind": "counts",
    }
    scan = load(measured("pepper_cone/pepper_full_bin8.h5"), geometry=about, rows=148)
    assert scan.data.shape == (361, 280) and scan.data.dtype == np.uint16


def test_measured_unsupported_formats_are_named(measured):
    with pytest.raises(UnreadableInput, match=r"Zeiss TXRM.*export it as Data Exchange"):
        load(measured("txrm_chip/txrm_test_chip_tomo.txrm"))
    with pytest.raises(UnreadableInput, match="DICOM"):
        load(measured("head_dicom/01.dcm"))
