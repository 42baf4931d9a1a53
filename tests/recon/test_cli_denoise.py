"""`rayfold denoise`: files in and out, their geometry, their privacy, and what is said when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from rayfold.recon import Image, read_image
from rayfold.recon.cli import main
from rayfold.recon.io.derived_dicom import read_dicom_series

MARK = "ZZMARKZZ"
MEASURED = Path(__file__).resolve().parents[3] / "shared/data/ct"
GEOMETRY = (
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope",
    "RescaleIntercept", "PixelPaddingValue", "PixelRepresentation", "GantryDetectorTilt", "InstanceNumber",
)  # fmt: skip
HEIGHTS = (0.0, 4.2, 8.4, 15.8)  # uneven
N = 48


class Half:
    """A prior that takes away half of what differs from the mean of the slice."""

    card = {"name": "half", "version": 1, "secret": "not for the record"}  # noqa: RUF012

    def denoise(self, x, sigma, *, bands=None):
        return (0.5 * (x + x.mean((-2, -1), keepdims=True))).astype(x.dtype)


@pytest.fixture(autouse=True)
def small_figures(monkeypatch, tmp_path):
    """Pictures of few dots, a prior without a network, and an empty folder to be in."""
    from rayfold.recon import panels
    from rayfold.recon.foundation import FoundationPrior

    drawn = panels.png
    monkeypatch.setattr(panels, "png", lambda figure, dpi=20: drawn(figure, dpi=20))
    monkeypatch.setattr("rayfold.recon.report.png", lambda figure: drawn(figure, dpi=20))
    monkeypatch.setattr(FoundationPrior, "load", lambda name, device="auto", precision="float32": Half())
    monkeypatch.chdir(tmp_path)


def slices(rng) -> np.ndarray:
    """Stored values of a head in air with a ring of padding."""
    y, x = np.mgrid[:N, :N] - N / 2
    body = np.where(np.hypot(y, x) < 16, 40, -990) + 12 * rng.standard_normal((len(HEIGHTS), N, N))
    stored = np.maximum((body + 1024) / 0.5, 8)
    return np.where(np.hypot(y, x) > 23, 7, stored.round()).astype(np.uint16)


def series(folder: Path, stored: np.ndarray, *, modality: str = "CT") -> Path:
    """A series as of a scanner: tilted, unevenly spaced, marks wherever a text may stand."""
    folder.mkdir()
    study, uid, frame = generate_uid(), generate_uid(), generate_uid()
    for k, plane in enumerate(stored):
        ds = Dataset()
        ds.SOPClassUID = "1.2.840.10008.5.1.4.1.1." + ("4" if modality == "MR" else "2")
        ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = modality, "Scanner", "Model"
        ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.FrameOfReferenceUID = study, uid, frame
        ds.PatientName, ds.PatientID, ds.OtherPatientIDs = f"{MARK}^A", MARK, MARK
        ds.PatientBirthDate, ds.StudyDate, ds.PatientAge = "19010203", "20200304", "119Y"
        ds.InstitutionName = ds.StationName = ds.OperatorsName = ds.ReferringPhysicianName = MARK
        ds.StudyDescription = ds.SeriesDescription = ds.ProtocolName = ds.ConvolutionKernel = MARK
        ds.ImageComments = ds.AccessionNumber = ds.DerivationDescription = MARK
        ds.ImageOrientationPatient = ["1", "0", "0", "0", "0.9483237", "-0.3173047"]
        ds.ImagePositionPatient = ["-12.5", "-12.3", f"{HEIGHTS[k]}"]
        ds.PixelSpacing, ds.SliceThickness, ds.GantryDetectorTilt = ["0.5", "0.5"], "4.0", "18.5"
        ds.RescaleSlope, ds.RescaleIntercept = "0.5", "-1024"
        ds.InstanceNumber = len(stored) - k
        ds.add_new("PixelPaddingValue", "US", 7)
        ds.add_new((0x0009, 0x0010), "LO", MARK)
        ds.add_new((0x0009, 0x1001), "LO", MARK)
        ds.file_meta = FileMetaDataset()
        ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        ds.set_pixel_data(plane, "MONOCHROME2", 12)
        ds.SOPInstanceUID = generate_uid()
        ds.save_as(folder / f"{9 - k}.dcm", enforce_file_format=True)  # names against the order in space
    return folder


def headers(folder: Path) -> list[Dataset]:
    found = [pydicom.dcmread(path) for path in folder.iterdir()]
    return sorted(found, key=lambda ds: float(ds.ImagePositionPatient[2]))


def test_a_series_stays_where_it_is(rng, capsys):
    source = series(Path("scan"), stored := slices(rng))
    assert main(["denoise", "scan", "-o", "out", "--sigma", "12", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert sorted(p.name for p in Path("out").iterdir()) == sorted(result["files"])
    before, after = headers(source), headers(Path("out/dicom"))
    assert len(after) == len(stored)
    for old, new, plane in zip(before, after, stored, strict=True):
        for name in GEOMETRY:
            assert new[name].value == old[name].value, name
        assert new.ImageType[0] == "DERIVED" and new.SeriesDescription == "rayfold denoised"
        assert "strength 1" in new.DerivationDescription and "noise 12 HU" in new.DerivationDescription
        pixels = new.pixel_array
        assert pixels.dtype == np.uint16 and ((pixels == 7) == (plane == 7)).all()
        hu = np.where(plane == 7, -1000, plane * 0.5 - 1024)
        expected = 0.5 * (hu + hu.mean())
        inside = plane != 7
        assert np.abs(pixels * 0.5 - 1024 - expected)[inside].max() <= 0.26
    uids = {name: {ds[name].value for ds in before} & {ds[name].value for ds in after} for name in
            ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")}  # fmt: skip
    assert not any(uids.values()), "UIDs of the scan do not come back"
    assert len({ds.SOPInstanceUID for ds in after}) == len(after)
    assert len({ds.SeriesInstanceUID for ds in after}) == 1
    everything = b"".join(p.read_bytes() for p in Path("out").rglob("*") if p.is_file())
    for personal in (
        MARK,
        "19010203",
        "20200304",
        "119Y",
        "secret",
        *(str(ds.SOPInstanceUID) for ds in before),
    ):
        assert personal.encode() not in everything
    record = json.loads(Path("out/provenance.json").read_text())
    assert record["prior"] == {"name": "half", "version": 1} and record["configuration"]["strength"] == 1
    assert result["removed"]["rms"] > 0 and len(result["removed"]["by_slice"]) == 4
    page = Path("out/report.html").read_text()
    assert page.count("<img") == 2 and "12 HU" in page


def test_strength_zero_gives_the_same_pixels_and_uids_follow_the_settings(rng):
    source = series(Path("scan"), slices(rng))
    for out, strength in (("a", "0"), ("b", "0"), ("c", "0.5")):
        assert main(["denoise", "scan", "-o", out, "--strength", strength, "--sigma", "9", "--quiet"]) == 0
    a, b, c = (headers(Path(out) / "dicom") for out in "abc")
    for old, new in zip(headers(source), a, strict=True):
        assert np.array_equal(old.pixel_array, new.pixel_array)
    assert [ds.SOPInstanceUID for ds in a] == [ds.SOPInstanceUID for ds in b]
    assert not {ds.SOPInstanceUID for ds in a} & {ds.SOPInstanceUID for ds in c}
    assert a[0].SeriesInstanceUID != c[0].SeriesInstanceUID
    assert a[0].StudyInstanceUID == c[0].StudyInstanceUID
    assert a[0].FrameOfReferenceUID == c[0].FrameOfReferenceUID


def test_one_slice_of_mri(rng, capsys):
    stored = np.abs(400 + 30 * rng.standard_normal((1, N, N))).astype(np.uint16)
    source = series(Path("scan"), stored, modality="MR")
    assert main(["denoise", str(next(source.iterdir())), "-o", "out"]) == 0
    (made,) = headers(Path("out/dicom"))
    assert made.Modality == "MR" and made.SOPClassUID.endswith(".1.4") and made.RescaleType == "US"
    assert "a.u." in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".nii.gz", ".tif", ".h5"])
def test_other_formats_keep_place_and_unit(rng, suffix):
    tilt = np.array([[1, 0, 0], [0, 0.95, 0.3], [0, -0.3122499, 0.954]])
    array = (40 + 10 * rng.standard_normal((3, N, N))).astype(np.float32)
    image = Image(array, (2.5, 0.7, 0.6), (1.0, 2.0, 3.0), tilt if suffix == ".nii.gz" else None, unit="HU")
    image.save(f"a{suffix}")
    assert main(["denoise", f"a{suffix}", "--quiet", "--strength", "1"]) == 0
    old, new = read_image(f"a{suffix}"), read_image(f"a-denoised/image{suffix}")
    assert new.unit == "HU" and new.shape == old.shape and new.array.dtype == np.float32
    assert new.spacing == pytest.approx(old.spacing) and new.origin == pytest.approx(old.origin)
    assert np.allclose(new.direction, old.direction, atol=1e-6)
    expected = 0.5 * (array + array.mean((1, 2), keepdims=True))
    assert np.allclose(new.array, expected, atol=1e-3)


def test_arrays_real_and_complex(rng, capsys):
    noise = rng.standard_normal((2, 40, 40))
    np.save("a.npy", (noise[0] + 1j * noise[1] + 5).astype(np.complex64))
    assert main(["denoise", "a.npy", "-o", "out", "--modality", "MR"]) == 0
    made = np.load("out/image.npy")
    assert made.dtype == np.complex64 and made.std() == pytest.approx(0.5 * np.sqrt(2), rel=0.1)
    np.save("b.npy", np.where(noise[:1] > 2.5, -1000, 40 + 9 * noise[1:]))
    assert main(["denoise", "b.npy", "-o", "hu"]) == 0
    assert "taken for HU" in capsys.readouterr().err


def wrong(name: str) -> None:
    np.save("a.npy", np.random.default_rng(0).normal(size=(32, 32)))
    np.save("nan.npy", np.full((32, 32), np.nan))
    np.save("names.npy", np.array([["a"]]))
    Path("a.gif").write_bytes(b"GIF89a")
    Path("empty").mkdir()
    Path("bad.npy").write_bytes(b"no array")
    Path("there").mkdir()
    Path("there/report.html").write_text("earlier")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["missing.nii.gz"], 3, "does not exist"),
        (["a.gif"], 3, "no image that denoise reads"),
        (["empty"], 3, "holds no DICOM image"),
        (["bad.npy"], 3, "cannot be read as .npy"),
        (["names.npy"], 3, "it must be an image"),
        (["nan.npy"], 2, "not finite"),
        (["a.npy", "--strength", "-1"], 2, "--strength is -1"),
        (["a.npy", "--sigma", "nan"], 2, "--sigma is nan"),
        (["a.npy", "--window", "soup"], 2, "--window soup"),
        (["a.npy", "-o", "there"], 5, "already holds report.html"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(words, code, message, capsys):
    wrong(words[0])
    before = {p: p.stat().st_size for p in Path().rglob("*")}
    assert main(["denoise", *words, "--quiet"]) == code
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert {p: p.stat().st_size for p in Path().rglob("*")} == before


def test_a_failure_half_way_leaves_nothing(rng, monkeypatch):
    series(Path("scan"), slices(rng))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rayfold.recon.report.write_report", full)
    assert main(["denoise", "scan", "-o", "out", "--sigma", "5", "--quiet"]) == 5
    assert not Path("out").exists() and [p.name for p in Path().iterdir()] == ["scan"]


def test_the_head_series_round_trip():
    """Measured: 28 slices, unevenly spaced, gantry tilted; written as it was read where nothing is done."""
    if not (MEASURED / "head_dicom").is_dir():
        pytest.skip("measured data are not here")
    from rayfold.recon.io.derived_dicom import write_derived

    head = read_dicom_series(MEASURED / "head_dicom")
    again = read_dicom_series(write_derived(head, "out", done="nothing"))
    assert np.array_equal(again.array, head.array) and len(head.slices) == 28
    assert [facts.numbers for facts in again.slices] == [facts.numbers for facts in head.slices]


def test_precision_reaches_the_prior(monkeypatch):
    from rayfold.recon.foundation import FoundationPrior

    told = []
    monkeypatch.setattr(FoundationPrior, "load", lambda name, **how: told.append(how) or Half())
    np.save("a.npy", np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32))
    assert main(["denoise", "a.npy", "-o", "out", "--quiet", "--precision", "bfloat16"]) == 0
    assert told[0]["precision"] == "bfloat16"
    with pytest.raises(SystemExit):
        main(["denoise", "a.npy", "-o", "again", "--precision", "half"])
