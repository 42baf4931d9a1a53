"""`rayfold superres`: every kind of file in and out, the record, the report, and mistakes in one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from rayfold.recon import Image, read_image, save
from rayfold.recon.cli import main
from rayfold.recon.io.affine import affine_of

TILTED = np.array([[1.0, 0.0, 0.0], [0.0, 0.8, -0.6], [0.0, 0.6, 0.8]])


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def object_in_hu(ndim: int = 3) -> Image:
    y, x = np.mgrid[:32, :32] - 15.5
    plane = np.where(np.hypot(y, x) < 11, 40.0, -1000.0).astype(np.float32)
    plane += np.random.default_rng(0).normal(0, 5, plane.shape).round().astype(np.float32)
    if ndim == 2:
        return Image(plane, (0.7, 0.5), unit="HU")
    return Image(np.stack([plane, plane + 10]), (2.0, 0.7, 0.5), (4.0, -9.0, 30.0), TILTED, "HU")


def run(*argv: str) -> None:
    assert main(["superres", *argv, "--quiet"]) == 0


@pytest.mark.parametrize("name", ["scan.nii.gz", "scan.tif", "scan.h5", "scan"])
def test_every_kind_comes_back_finer_and_in_place(name):
    before = object_in_hu()
    save(before, name)
    run(name, "-o", "out", "--method", "bicubic", "--no-certificate")
    written = "dicom" if name == "scan" else f"image{name.removeprefix('scan')}"
    after = read_image(Path("out") / written)
    assert after.shape == (2, 64, 64) and after.unit == "HU"
    shift = affine_of(before) @ [-0.25, -0.25, 1, 1]
    assert affine_of(after) @ [0, 0, 1, 1] == pytest.approx(shift, abs=1e-3)
    assert after.spacing == pytest.approx((2.0, 0.35, 0.25), rel=1e-5)
    for each in ("preview.png", "provenance.json", "report.html"):
        assert (Path("out") / each).stat().st_size > 500


def test_dicom_keeps_its_study_and_says_what_was_done():
    import pydicom

    save(object_in_hu(), "series")
    run("series", "-o", "out", "--method", "tv", "--sigma", "5", "--no-certificate")
    old, new = (pydicom.dcmread(sorted(Path(f).glob("*.dcm"))[0]) for f in ("series", "out/dicom"))
    assert (new.Rows, new.Columns) == (64, 64) and "superres x2, method tv" in new.DerivationDescription
    assert (
        new.SeriesInstanceUID != old.SeriesInstanceUID
        and new.ImageOrientationPatient == old.ImageOrientationPatient
    )


def test_arrays_in_and_out():
    np.save("a.npy", object_in_hu(2).array)
    run("a.npy", "-o", "out", "--factor", "3", "--method", "sinc", "--unit", "HU")
    assert np.load("out/image.npy").shape == (96, 96)
    record = json.loads(Path("out/provenance.json").read_text())
    assert record["configuration"]["factor"] == 3 and record["model"] == "binning"
    assert record["certificate"]["slices"] == [0] and record["inputs"][0]["name"] == "a.npy"


def test_sharper_on_the_same_grid(capsys):
    save(object_in_hu(2), "a.nii.gz")
    assert (
        main(
            ["superres", "a.nii.gz", "-o", "out", "--factor", "1", "--psf", "1.2", "--method", "tv", "--json"]
        )
        == 0
    )
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert found["shape"] == [1, 32, 32] and found["certificate"]["noise_estimated"] and "evidence" in err
    assert "<title>Sharper: a.nii.gz" in Path("out/report.html").read_text()


@pytest.mark.parametrize(
    ("argv", "code", "text"),
    [
        (["none.nii"], 3, "does not exist"),
        (["text.txt"], 3, "no image that superres reads"),
        (["bad.npy"], 3, "cannot be read as .npy"),
        (["nan.npy"], 4, "not finite"),
        (["a.npy", "--factor", "1"], 2, "give --psf"),
        (["a.npy", "--factor", "9"], 2, "from 1 to 8"),
        (["a.npy", "--method", "magic"], 2, "invalid choice"),
        (["a.npy", "--sigma", "-1", "--method", "tv"], 2, "noise is -1"),
        (["a.npy", "--psf", "1", "--method", "sinc"], 2, "undoes no blur"),
        (["a.npy", "-o", "full"], 5, "already holds image.npy"),
    ],
)
def test_mistakes_are_one_line(capsys, argv, code, text):
    np.save("a.npy", np.ones((8, 8), np.float32))
    np.save("nan.npy", np.full((8, 8), np.nan))
    Path("text.txt").write_text("no image")
    Path("bad.npy").write_text("no array")
    Path("full").mkdir()
    Path("full/image.npy").write_text("")
    options = [] if "--method" in argv else ["--method", "tv"]
    try:
        found = main(["superres", *argv, *options, "--quiet"])
    except SystemExit as stop:
        found = stop.code
    out, err = capsys.readouterr()
    assert found == code and out == "" and text in err and len(err.splitlines()) == 1, err
    assert not [p for p in Path().iterdir() if p.name.endswith("superres")]
