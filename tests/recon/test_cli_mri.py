"""`rayfold` with k-space as a newcomer meets it."""

import json
import re

import nibabel
import numpy as np
import pytest
from tests.recon.mri.simulated import measured

from rayfold.recon.cli import main
from rayfold.recon.io import write_kspace
from rayfold.recon.kspace import KSpace

LINES = np.arange(32) % 2 == 0
LINES[10:22] = True


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A clean directory with a scan of two echoes, every second line missing."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)

    def noise(*shape):
        return 0.005 * (rng.standard_normal(shape) + 1j * rng.standard_normal(shape))

    data = np.stack([measured((32, 24), 4), 0.6 * measured((32, 24), 4)]) + noise(2, 4, 32, 24)
    scan = KSpace(
        (data * LINES[:, None]).astype(np.complex64), ("echo", "coil", "ky", "kx"), sampled=LINES[:, None],
        noise=noise(4, 400).astype(np.complex64), field_of_view=(64.0, 48.0), slice_thickness=3.0,
    )  # fmt: skip
    write_kspace("scan.h5", scan)
    return tmp_path


def test_one_command(here, capsys):
    assert main(["recon", "scan.h5", "-o", "out"]) == 0
    out, err = capsys.readouterr()
    assert out == "out\n" and "KSpace of 2 echo" in err and "evidence  echo 1: " in err
    names = ["image_echo1.nii.gz", "image_echo2.nii.gz", "preview.png", "provenance.json", "report.html"]
    assert sorted(p.name for p in (here / "out").iterdir()) == names
    first, second = (nibabel.load(here / "out" / name) for name in names[:2])
    assert first.shape == (24, 32, 1) and np.allclose(first.header.get_zooms(), (2, 2, 3))
    a, b = (np.asarray(image.dataobj) for image in (first, second))
    assert np.vdot(a, b) / np.vdot(a, a) == pytest.approx(0.6, abs=0.02)
    record = json.loads((here / "out" / "provenance.json").read_text())
    assert record["method"] == record["configuration"]["recon"]["method"] == "sense"
    assert record["certificates"]["echo 1"]["adjoint_error"] < 1e-5
    page = (here / "out" / "report.html").read_text()
    assert "Measured data" in page and "echo1" in page


def test_parts_and_formats(here, capsys):
    assert (
        main(["recon", "scan.h5", "-o", "out", "--method", "grappa", "--part", "phase", "--save", "dicom,h5"])
        == 0
    )
    made = {p.name for p in (here / "out").iterdir()}
    assert {"dicom_echo1", "dicom_echo2", "image_echo1.h5", "image_echo1.nii.gz"} <= made
    assert abs(np.asarray(nibabel.load(here / "out" / "image_echo1.nii.gz").dataobj)).max() <= np.pi + 1e-6
    assert main(["recon", "scan.h5", "-o", "c", "--part", "complex", "--no-certificate", "--quiet"]) == 0
    assert nibabel.load(here / "c" / "image_echo2.nii.gz").get_data_dtype() == np.complex64


def test_json_and_dry_run(here, capsys):
    assert main(["recon", "scan.h5", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["method"] == "sense" and plan["images"] == 2 and not (here / "scan-rayfold").exists()
    assert main(["recon", "scan.h5", "-o", "out", "--json", "--quiet", "--iterations", "3"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["axes"] == ["echo", "y", "x"] and told["shape"] == [2, 32, 24]
    assert set(told["certificates"]) == {"echo 1", "echo 2"}


def test_info_and_view(here, capsys):
    assert main(["info", "scan.h5"]) == 0
    assert "KSpace of 2 echo x 4 coils x 32 ky x 24 kx" in capsys.readouterr().out
    assert main(["info", "scan.h5", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["what"] == "k-space" and facts["axes"]["coil"] == 4 and facts["noise_scan"]
    assert main(["view", "scan.h5", "-o", "k.png"]) == 0
    assert (here / "k.png").read_bytes().startswith(b"\x89PNG")


def test_results_are_not_overwritten(here, capsys):
    assert main(["recon", "scan.h5", "-o", "out", "--method", "rss"]) == 0
    before = (here / "out" / "image_echo1.nii.gz").read_bytes()
    assert main(["recon", "scan.h5", "-o", "out", "--method", "mvue"]) == 5
    assert "--force" in capsys.readouterr().err
    assert (here / "out" / "image_echo1.nii.gz").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ("--method fbp", 2, "for k-space it must be one of rss, mvue"),
        ("--method gridding", 2, "gridding is for trajectories"),
        ("--grid 64", 2, "grid is for CT, and this scan is k-space; leave --grid out"),
        ("--hu", 2, "hu is for CT"),
        ("--rings sorting", 2, "rings is for CT"),
        ("--center 3", 2, "belongs to CT"),
        ("--part imaginary", 2, "--part is 'imaginary'; it must be magnitude, phase or complex"),
        ("--part complex --save dicom", 5, "holds no complex images"),
        ("--method rss --iterations 4", 2, "rss takes none"),
        ("--method sense --strength 3", 2, "sense has no strength"),
    ],
)
def test_mistakes_in_one_line(here, capsys, words, code, message):
    before = sorted(here.rglob("*"))
    assert main(["recon", "scan.h5", "-o", "out", "--quiet", *words.split()]) == code
    out, err = capsys.readouterr()
    assert out == "" and len(err.strip().splitlines()) == 1 and re.search(message, err), err
    assert sorted(here.rglob("*")) == before


def test_ct_refuses_what_belongs_to_mri(tmp_path, monkeypatch, capsys):
    from rayfold.operators import ParallelBeam
    from rayfold.recon import Scan
    from rayfold.recon.io import write_scan

    monkeypatch.chdir(tmp_path)
    write_scan("ct.h5", Scan(np.ones((20, 16), np.float32), ParallelBeam.evenly(20, 16), "attenuation"))
    for words, message in {
        "--method sense": "sense is a method for k-space and this is a CT scan; choose fbp",
        "--part phase": "--part is for MRI",
        "--sequence a.seq": "no Siemens twix file",
    }.items():
        assert main(["recon", "ct.h5", "-o", "out", *words.split()]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
