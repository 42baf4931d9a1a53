"""Damaged files: whatever the bytes are, the outcome is a scan, `UnreadableInput` or `InconsistentInput`."""

from __future__ import annotations

import io
import logging

import h5py
import numpy as np
import pytest
import scipy.io
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rayfold.recon.data import Scan
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io import load, write_scan
from rayfold.recon.preprocess import prepare

ABOUT = {"span_deg": 180, "kind": "transmission"}
quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def _intact(folder, counts: Scan) -> dict[str, bytes]:
    data = counts.data[:12, :16]
    write_scan(folder / "own.h5", counts)
    with h5py.File(folder / "exchange.h5", "w") as file:
        file.create_dataset("exchange/data", data=data[:, None], compression="gzip")
        file["exchange/theta"] = np.arange(12.0)
        file["exchange/data_white"] = file["exchange/data_dark"] = data[:2, None]
    with h5py.File(folder / "tomo.nxs", "w") as file:
        file["entry/tomo_entry/instrument/detector/data"] = data[:, None]
        file["entry/tomo_entry/instrument/detector/image_key"] = np.array([1, 2] + [0] * 10)
        file["entry/tomo_entry/sample/rotation_angle"] = np.arange(12.0)
    np.save(folder / "a.npy", data)
    np.savez_compressed(folder / "a.npz", sino=data)
    scipy.io.savemat(folder / "a.mat", {"sino": data}, do_compression=True)
    parameters = {
        "distanceSourceOrigin": 4.0,
        "distanceSourceDetector": 5.0,
        "pixelSize": 0.1,
        "angles": np.arange(12),
    }
    scipy.io.savemat(folder / "ct.mat", {"CtDataFull": {"sinogram": data, "parameters": parameters}})
    tifffile.imwrite(folder / "a.tif", data)
    head = np.zeros(256, "<i4")
    head[:4] = 16, 1, 12, 2
    head[52] = int.from_bytes(b"MAP ", "little")
    (folder / "a.mrc").write_bytes(head.tobytes() + data.astype("<f4").tobytes())
    return {path.name: path.read_bytes() for path in folder.iterdir()}


NAMES = ["own.h5", "exchange.h5", "tomo.nxs", "a.npy", "a.npz", "a.mat", "ct.mat", "a.tif", "a.mrc"]


@pytest.fixture
def intact(tmp_path_factory, counts):
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    return _intact(tmp_path_factory.mktemp("intact"), counts)


def _geometry(name):
    return None if name in ("own.h5", "exchange.h5", "tomo.nxs", "ct.mat") else ABOUT


def _read(path, content):
    path.write_bytes(content)
    try:
        scan = load(path, geometry=_geometry(path.name))
    except (UnreadableInput, InconsistentInput) as error:
        assert path.name in str(error) and "\n" not in str(error)
        return None
    assert isinstance(scan, Scan)
    return scan


@pytest.mark.parametrize("name", NAMES)
def test_intact_files_are_read(tmp_path, intact, name):
    assert _read(tmp_path / name, intact[name]) is not None


@pytest.mark.parametrize("name", NAMES)
@quick
@given(st.data())
def test_truncated(tmp_path, intact, name, data):
    content = intact[name]
    kept = data.draw(st.integers(0, len(content) - 1))
    _read(tmp_path / name, content[:kept])


@pytest.mark.parametrize("name", NAMES)
@quick
@given(st.data())
def test_corrupt_bytes(tmp_path, intact, name, data):
    content = bytearray(intact[name])
    # headers are short: half of the damage goes there, or most examples would only change pixels
    for _ in range(data.draw(st.integers(1, 6))):
        end = len(content) if data.draw(st.booleans()) else min(len(content), 2048)
        content[data.draw(st.integers(0, end - 1))] = data.draw(st.integers(0, 255))
    _read(tmp_path / name, bytes(content))


@pytest.mark.parametrize("name", [*NAMES, "a.h5", "a.unknown"])
@quick
@given(st.binary(max_size=3000))
def test_random_bytes(tmp_path, name, content):
    assert _read(tmp_path / name, content) is None or name == "a.npy"


def test_truncated_hdf5_says_so(tmp_path, intact):
    path = tmp_path / "exchange.h5"
    path.write_bytes(intact["exchange.h5"][:-200])
    with pytest.raises(
        UnreadableInput, match=r"exchange\.h5 cannot be read as HDF5: .*truncated.*copy it again"
    ):
        load(path)


def test_text_named_h5(tmp_path):
    (tmp_path / "a.h5").write_text("angle,value\n0,1\n")
    with pytest.raises(UnreadableInput, match=r"a\.h5 should be HDF5 but its content is something else"):
        load(tmp_path / "a.h5")
    tifffile.imwrite(tmp_path / "b.tif", np.ones((3, 4)))
    (tmp_path / "b.tif").rename(tmp_path / "b.h5")
    assert load(tmp_path / "b.h5", geometry=ABOUT).source == "TIFF"


def test_missing_and_empty(tmp_path):
    with pytest.raises(UnreadableInput, match=r"no file or folder .*a\.h5; check the name"):
        load(tmp_path / "a.h5")
    (tmp_path / "a.h5").touch()
    with pytest.raises(UnreadableInput, match=r"a\.h5 is empty"):
        load(tmp_path / "a.h5")


def test_a_header_that_promises_terabytes(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("exchange/data", (2000, 20000, 20000), np.float32, chunks=(1, 200, 200))
        file["exchange/theta"] = np.arange(2000.0)
    with pytest.raises(UnreadableInput, match="far more than the file stores"):
        load(tmp_path / "a.h5", geometry={"kind": "attenuation"})


def test_other_numbers_than_reals(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 4), complex))
    with pytest.raises(InconsistentInput, match="complex128 values; measurements are real"):
        load(tmp_path / "a.npy", geometry=ABOUT)
    np.save(tmp_path / "b.npy", np.ones((3, 0)))
    with pytest.raises(InconsistentInput, match="3x0; name the measurement"):
        load(tmp_path / "b.npy", geometry=ABOUT)
    np.save(tmp_path / "c.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableInput):
        load(tmp_path / "c.npy", geometry=ABOUT)


@quick
@given(
    st.lists(st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 0.0, 1e30]), min_size=1, max_size=60),
    st.randoms(),
)
def test_prepare_gives_finite_attenuation_or_refuses(counts, values, random):
    data = counts.data.copy()
    for value in values:
        data.flat[random.randrange(data.size)] = value
    try:
        scan = prepare(Scan(data, counts.beam, "counts", flat=counts.flat, dark=counts.dark))
    except InconsistentInput:
        return
    assert np.isfinite(scan.data).all() and scan.kind == "attenuation"


def test_a_zip_bomb_of_zeros_is_no_scan(tmp_path):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, text=np.array(["a"]))
    (tmp_path / "a.npz").write_bytes(buffer.getvalue())
    with pytest.raises(InconsistentInput, match=r"a\.npz has"):
        load(tmp_path / "a.npz", geometry=ABOUT)
