import errno
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rayfold.recon.data import Image
from rayfold.recon.errors import InconsistentInput, OutputFailure, UnreadableInput
from rayfold.recon.io.affine import affine_of, image_at, is_sheared
from rayfold.recon.io.read_image import read_image
from rayfold.recon.io.writers import save

CT = Path(__file__).parents[3] / "shared/data/ct"


def turn(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def make(unit="1/mm", ndim=3, direction=None, modality="CT"):
    rng = np.random.default_rng(3)
    shape = (4, 6, 8)[-ndim:]
    array = rng.normal(0.02, 0.01, shape).astype(np.float32)
    if unit == "HU":
        array = np.rint(array * 1e4).astype(np.float32)
    spacing, origin = (2.5, 0.7, 0.6)[-ndim:], (-31.25, 10.5, 7.125)[-ndim:]
    return Image(array, spacing, origin, direction, unit=unit, modality=modality, provenance={"seed": 3})


def volume(image):
    return image.array if image.array.ndim == 3 else image.array[None]


@pytest.mark.parametrize("suffix", ["", ".nii", ".nii.gz", ".tif", ".h5"])
@pytest.mark.parametrize("unit", ["HU", "1/mm", "1/px", "a.u."])
@pytest.mark.parametrize("tilt", [0, 25])
def test_round_trip(tmp_path, suffix, unit, tilt):
    image = make(unit, direction=turn(tilt), modality="MR" if unit == "a.u." else "CT")
    back = read_image(save(image, tmp_path / f"image{suffix}"))
    assert back.shape == image.shape and back.unit == unit and back.modality == image.modality
    np.testing.assert_allclose(affine_of(back), affine_of(image), atol=1e-4)
    step = (image.array.max() - image.array.min()) / 65532 if suffix == "" and unit != "HU" else 0
    np.testing.assert_allclose(back.array, image.array, rtol=2e-6, atol=0.51 * step)


@pytest.mark.parametrize("suffix", ["", ".dcm", ".nii.gz", ".tif", ".h5"])
def test_a_slice_keeps_its_place(tmp_path, suffix):
    image = make("HU", ndim=2)
    back = read_image(save(image, tmp_path / f"image{suffix}"))
    np.testing.assert_array_equal(volume(back), volume(image))
    np.testing.assert_allclose(affine_of(back)[:, :2], affine_of(image)[:, :2], atol=1e-5)
    assert back.array.ndim == (2 if suffix in (".tif", ".h5") else 3)


def test_hdf5_gives_back_every_bit(tmp_path):
    image = replace(make(direction=turn(11)), array=make().array.astype(np.float64))
    back = read_image(save(image, tmp_path / "image.h5"))
    assert back.array.dtype == np.float64 and back.provenance == image.provenance
    assert np.array_equal(back.array, image.array) and np.array_equal(back.direction, image.direction)
    assert (back.spacing, back.origin, back.unit) == (image.spacing, image.origin, image.unit)


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".h5", ".png"])
def test_the_same_image_gives_the_same_bytes(tmp_path, suffix):
    one, two = save(make(), tmp_path / f"1{suffix}"), save(make(), tmp_path / f"2{suffix}")
    assert one.read_bytes() == two.read_bytes()


def test_the_same_image_gives_the_same_dicom_apart_from_uids(tmp_path):
    import pydicom

    def content(name):
        for file in sorted(save(make("HU"), tmp_path / name).iterdir()):
            ds = pydicom.dcmread(file)
            yield [(e.tag, e.value) for e in ds if e.VR != "UI"]

    assert list(content("1")) == list(content("2"))


def test_nifti_is_ras_in_mm(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    image = make("HU")
    nifti = nibabel.load(save(image, tmp_path / "a.nii.gz"))
    assert nifti.shape == image.shape[::-1]
    assert nifti.header.get_xyzt_units()[0] == "mm"
    x, y, z = nifti.affine[:3, 3]
    np.testing.assert_allclose((-x, -y, z), image.origin[::-1], atol=1e-5)  # LPS -> RAS
    for matrix, code in (nifti.get_sform(coded=True), nifti.get_qform(coded=True)):
        assert code == 1
        np.testing.assert_allclose(matrix, nifti.affine, atol=1e-5)
    sheared = affine_of(image)
    sheared[:3, 2] = [0, 1, 2]
    assert is_sheared(sheared)
    nifti = nibabel.load(save(image_at(image.array, sheared), tmp_path / "b.nii.gz"))
    assert int(nifti.header["qform_code"]) == 0 and int(nifti.header["sform_code"]) == 1


def test_an_unknown_pixel_size_is_said(tmp_path):
    import nibabel
    import pydicom

    image = Image(np.eye(5, dtype=np.float32), (1, 1), unit="1/px")
    nifti = nibabel.load(save(image, tmp_path / "a.nii.gz"))
    assert b"1px=1mm" in nifti.header["descrip"].item() and nifti.header.get_zooms() == (1, 1, 1)
    ds = pydicom.dcmread(save(image, tmp_path / "a.dcm"))
    assert "pixel size unknown" in ds.ImageComments and list(ds.PixelSpacing) == [1, 1]


@pytest.mark.parametrize("modality", ["CT", "MR"])
def test_dicom_is_a_valid_derived_series(tmp_path, modality):
    import pydicom

    image = make("HU" if modality == "CT" else "a.u.", modality=modality)
    files = sorted(save(image, tmp_path / "series").iterdir())
    slices = [pydicom.dcmread(f) for f in files]
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID"):
        assert len({ds[name].value for ds in slices}) == 1
    assert len({ds.SOPInstanceUID for ds in slices}) == len(slices) == 4
    assert [ds.InstanceNumber for ds in slices] == [1, 2, 3, 4]
    ds = slices[2]
    assert ds.file_meta.MediaStorageSOPInstanceUID == ds.SOPInstanceUID
    assert ds.SOPClassUID.name == f"{modality} Image Storage" and ds.Modality == modality
    assert list(ds.ImageType)[:2] == ["DERIVED", "SECONDARY"] and ds.BurnedInAnnotation == "NO"
    assert (ds.PixelRepresentation, ds.BitsAllocated, ds.BitsStored, ds.HighBit) == (1, 16, 16, 15)
    assert (ds.Rows, ds.Columns) == (6, 8) and list(ds.PixelSpacing) == [0.7, 0.6]
    assert list(ds.ImagePositionPatient) == [7.125, 10.5, -31.25 + 2 * 2.5]
    assert ds.SliceThickness == ds.SpacingBetweenSlices == 2.5
    assert "Research only" in ds.ImageComments and ds.PatientName == "RESEARCH^ONLY"
    assert ds.RescaleType == ("HU" if modality == "CT" else "US")
    assert ("ScanningSequence" in ds) == (modality == "MR")


def test_attenuation_keeps_fifteen_bits_and_says_unspecified(tmp_path):
    import pydicom

    image = make("1/mm", ndim=2)
    ds = pydicom.dcmread(save(image, tmp_path / "a.dcm"))
    assert ds.RescaleType == "US" and np.ptp(ds.pixel_array.astype(int)) >= 2**15
    for flat in (0.0, 0.0213):
        same = Image(np.full((3, 3), flat, np.float32), (1, 1))
        back = read_image(save(same, tmp_path / "flat.dcm", force=True))
        np.testing.assert_allclose(back.array[0], same.array, rtol=1e-6)


def test_metal_beyond_int16_is_not_clipped(tmp_path):
    image = Image(np.array([[-1024.0, 0.0], [40.0, 60000.0]], np.float32), (1, 1), unit="HU")
    back = read_image(save(image, tmp_path / "a.dcm"))
    assert back.unit == "HU"
    np.testing.assert_allclose(back.array[0], image.array, atol=0.5)


def test_refusals(tmp_path):
    image = make()
    with pytest.raises(OutputFailure, match=r"\.nii\.gz"):
        save(image, tmp_path / "a.jpg")
    with pytest.raises(OutputFailure, match="one slice"):
        save(image, tmp_path / "a.dcm")
    save(image, tmp_path / "s")
    with pytest.raises(OutputFailure, match="--force"):
        save(image, tmp_path / "s")
    save(image, tmp_path / "s", force=True)
    broken = replace(image, array=np.full((2, 2, 2), np.nan), origin=None)
    with pytest.raises(OutputFailure, match="not finite"):
        save(broken, tmp_path / "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s"]


def test_unreadable_images_say_why(tmp_path):
    with pytest.raises(UnreadableInput, match="does not exist"):
        read_image(tmp_path / "no.nii.gz")
    with pytest.raises(UnreadableInput, match="no DICOM image"):
        read_image(tmp_path)
    for name in ("a.nii.gz", "a.nii", "a.tif", "a.h5", "a.dcm", "a.jpg"):
        (tmp_path / name).write_bytes(b"not an image")
        with pytest.raises(UnreadableInput) as caught:
            read_image(tmp_path / name)
        assert caught.value.exit_code == 3 and "\n" not in str(caught.value)
    whole = save(make("HU", ndim=2), tmp_path / "whole.dcm").read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-40])
    with pytest.raises(UnreadableInput, match="decoded"):
        read_image(tmp_path / "cut.dcm")


def test_uneven_repeated_and_mixed_series_are_refused(tmp_path):
    from rayfold.recon.io.write_dicom import write_dicom

    series = write_dicom(make("HU"), tmp_path / "s")
    (series / "slice_0003.dcm").rename(tmp_path / "third.dcm")
    with pytest.raises(InconsistentInput, match=r"not evenly spaced .* slices=slice\(0, 2\)"):
        read_image(series)
    assert read_image(series, slices=slice(0, 2)).shape == (2, 6, 8)
    (tmp_path / "third.dcm").rename(series / "slice_0003.dcm")
    (series / "again.dcm").write_bytes((series / "slice_0001.dcm").read_bytes())
    with pytest.raises(InconsistentInput, match="same place"):
        read_image(series)
    (series / "again.dcm").unlink()
    write_dicom(make("HU", ndim=2), series / "other.dcm")
    with pytest.raises(UnreadableInput, match="several DICOM series"):
        read_image(series)


@pytest.mark.parametrize("suffix", ["", ".nii.gz", ".h5"])
def test_slices_keep_their_place(tmp_path, suffix):
    image = make("HU", direction=turn(20))
    part = read_image(save(image, tmp_path / f"a{suffix}"), slices=slice(1, 3))
    np.testing.assert_array_equal(part.array, image.array[1:3])
    np.testing.assert_allclose(affine_of(part)[:3, 3], (affine_of(image) @ [0, 0, 1, 1])[:3], atol=1e-4)


def test_another_tools_tiff_gives_its_resolution(tmp_path):
    import tifffile

    array = np.arange(12, dtype=np.uint16).reshape(3, 4)
    tifffile.imwrite(tmp_path / "a.tif", array, resolution=(50, 20), resolutionunit="CENTIMETER")
    image = read_image(tmp_path / "a.tif", unit="1/mm")
    assert image.spacing == (0.5, 0.2) and image.unit == "1/mm"
    np.testing.assert_array_equal(image.array, array)


def test_head_series_round_trip(tmp_path):
    if not (CT / "head_dicom").is_dir():
        pytest.skip("needs the head series")
    with pytest.raises(InconsistentInput, match=r"slices=slice\(0, 14\)"):
        read_image(CT / "head_dicom")
    for slices in (slice(0, 14), slice(14, 28)):
        image = read_image(CT / "head_dicom", slices=slices)
        assert image.unit == "HU" and image.shape == (14, 512, 512)
        assert any(
            "tilted gantry" in note and "18.5 deg" in note for note in image.provenance["read"]["notes"]
        )
        again = read_image(save(image, tmp_path / f"s{slices.start}"))
        nifti = read_image(save(image, tmp_path / f"s{slices.start}.nii.gz"))
        for back in (again, nifti):
            corners = np.array([[0, 0, 0, 1], [511, 0, 0, 1], [0, 511, 0, 1], [511, 511, 13, 1]]).T
            apart = (affine_of(back) - affine_of(image)) @ corners
            assert np.abs(apart).max() < 1e-4
            np.testing.assert_array_equal(back.array, image.array)
    import pydicom

    headers = [pydicom.dcmread(f, stop_before_pixels=True) for f in sorted((tmp_path / "s0").iterdir())]
    stated = [
        pydicom.dcmread(CT / "head_dicom" / f"{k:02d}.dcm", stop_before_pixels=True) for k in range(1, 15)
    ]
    for ours, theirs in zip(headers, stated, strict=True):
        np.testing.assert_allclose(ours.ImagePositionPatient, theirs.ImagePositionPatient, atol=1e-4)
        np.testing.assert_allclose(ours.ImageOrientationPatient, theirs.ImageOrientationPatient, atol=1e-6)


def test_chest_series_and_one_slice(tmp_path):
    if not (CT / "chest_dicom").is_dir():
        pytest.skip("needs the chest slices")
    image = read_image(CT / "chest_dicom")
    assert image.shape == (2, 512, 512) and image.unit == "HU" and image.spacing == (1.0, 0.625, 0.625)
    back = read_image(save(image, tmp_path / "s"))
    np.testing.assert_array_equal(back.array, image.array)
    one = read_image(CT / "chest_dicom" / "1.dcm")
    assert one.shape == (1, 512, 512) and one.origin == (1.0, 0.0, 0.0)


def test_skull_nifti_round_trip(tmp_path):
    file = CT / "skull_kernels" / "skull_phantom_bonekernel_YA_1mm.nii.gz"
    if not file.exists():
        pytest.skip("needs the skull phantom")
    image = read_image(file, unit="HU")
    assert image.shape == (40, 512, 512)
    np.testing.assert_allclose(image.direction, np.eye(3), atol=1e-12)
    back = read_image(save(image, tmp_path / "s"))
    np.testing.assert_array_equal(back.array, image.array)
    np.testing.assert_allclose(affine_of(back), affine_of(image), atol=1e-4)


def test_nothing_about_a_person_reaches_an_output(tmp_path):
    import pydicom

    series = save(make("HU"), tmp_path / "in")
    secret = {
        "PatientName": "Zebrowski^Zoe",
        "PatientID": "ZZ-4711-ZZ",
        "PatientBirthDate": "19011123",
        "InstitutionName": "Zebra Hospital",
        "StudyDescription": "Zebra head",
        "OperatorsName": "Zorro",
        "AccessionNumber": "ZACC99",
    }
    for file in series.iterdir():
        ds = pydicom.dcmread(file)
        for name, value in secret.items():
            setattr(ds, name, value)
        ds.save_as(file)
    image = read_image(series)
    for suffix in ("", ".nii", ".tif", ".h5", ".png"):
        save(image, tmp_path / f"out{suffix}")
    uids = {str(ds[n].value) for n in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    outputs = [p for p in tmp_path.rglob("*") if p.is_file() and "in" not in p.relative_to(tmp_path).parts]
    assert len(outputs) == 8
    for file in outputs:
        content = file.read_bytes()
        for value in (*secret.values(), *uids, str(tmp_path)):
            assert value.encode() not in content, (file.name, value)


@pytest.mark.parametrize(("modality", "unit"), [("CT", "HU"), ("CT", "1/mm"), ("MR", "a.u.")])
def test_dicom_passes_an_external_validator(tmp_path, modality, unit):
    """dciodvfy of dicom3tools, where it is installed."""
    validator = shutil.which("dciodvfy")
    if validator is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    array = np.random.default_rng(0).random((2, 16, 16)).astype(np.float32)
    folder = save(Image(array, (1.0, 0.5, 0.5), unit=unit, modality=modality), tmp_path / "series")
    for slice_file in sorted(folder.iterdir()):
        found = subprocess.run([validator, str(slice_file)], capture_output=True, text=True, check=False)
        assert "Error" not in found.stderr + found.stdout, found.stderr


def test_hdf5_on_a_full_disk_is_one_error(tmp_path, monkeypatch):
    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputFailure, match="no space left"):
        save(make(), tmp_path / "a.h5")
    assert not list(tmp_path.iterdir())
