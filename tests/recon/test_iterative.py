"""The methods by name: each does what it is for, with a weight nobody had to give, and says what it chose."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rayfold.operators import FanBeam, PoissonTransmission, covering
from rayfold.recon import phantoms, prepare, reconstruct, simulate
from rayfold.recon.cli import main, settings
from rayfold.recon.evidence import certify_scan
from rayfold.recon.io import write_scan
from rayfold.recon.iterative import ITERATIVE, REGULARISED
from rayfold.recon.methods import METHODS
from rayfold.recon.metrics import psnr

BEAM = FanBeam.evenly(64, 120, pitch=7.0, source_to_axis=595.0, source_to_detector=1085.6)
TABLE = phantoms.thorax_table(1)
NOISE = PoissonTransmission(1e4, electronic=3.0)
STEPS = {"tv": 60, "tgv": 60, "wavelet": 60, "sirt": 40}


@pytest.fixture(scope="module")
def scan():
    return prepare(simulate(TABLE, BEAM, NOISE, mu_water=0.02))


@pytest.fixture(scope="module")
def truth():
    return phantoms.ellipses(covering(BEAM), TABLE).array


@pytest.fixture(scope="module")
def filtered(scan, truth):
    return psnr(reconstruct(scan, "fbp", window="hann").array, truth, data_range=0.04)


@pytest.mark.parametrize("method", REGULARISED)
def test_a_penalty_beats_filtered_back_projection(method, scan, truth, filtered):
    image = reconstruct(scan, method, iterations=STEPS.get(method))
    assert image.array.min() >= 0 and image.array.dtype == np.float32
    assert psnr(image.array, truth, data_range=0.04) > filtered + (2 if method == "wavelet" else 3)
    assert sum("penalty of strength" in note for note in image.provenance["notes"]) == 1


def test_sart_passes_count_for_many_steps_of_sirt(scan, truth):
    quick = psnr(reconstruct(scan, "sart", iterations=3).array, truth, data_range=0.04)
    slow = psnr(reconstruct(scan, "sirt", iterations=3).array, truth, data_range=0.04)
    assert quick > slow + 2


def test_the_weight_decides(scan):
    from dataclasses import replace

    weak = reconstruct(scan, "tv", iterations=40, strength=1e-3).array
    strong = reconstruct(scan, "tv", iterations=40, strength=1e5).array
    rough = [np.abs(np.diff(image)).sum() for image in (weak, strong)]
    assert rough[1] < 0.2 * rough[0]
    unknown = reconstruct(replace(scan, photons=None), "tv", iterations=2)
    assert any("photons per pixel were estimated" in note for note in unknown.provenance["notes"])


def test_all_slices_share_one_weight(scan):
    from dataclasses import replace

    data = np.repeat(np.asarray(scan.data)[:, None], 10, axis=1)
    flat = FanBeam.evenly(64, 120, pitch=7.0, source_to_axis=6e5, source_to_detector=1085600.0)
    stack = replace(scan, data=data, beam=flat, flat=None, dark=None)
    image = reconstruct(stack, "tv", iterations=3, grid=32, spacing=14.0)
    assert image.shape[0] == 10
    np.testing.assert_allclose(image.array[9], image.array[0], atol=1e-6)
    assert sum("penalty of strength" in note for note in image.provenance["notes"]) == 1


@pytest.mark.parametrize("method", ["fbp", "cgls", "sirt", "sart"])
def test_a_weight_is_refused_where_there_is_no_penalty(method, scan):
    with pytest.raises(ValueError, match=f"{method} has no strength"):
        reconstruct(scan, method, strength=1.0)


def test_the_command_line_knows_the_methods():
    """It keeps its own list, so that its help needs no solver."""
    assert tuple(METHODS) == settings.METHODS and (*REGULARISED, "prior") == settings.REGULARISED


def test_a_small_grid_is_noted(scan):
    notes = reconstruct(scan, "sart", grid=64, iterations=1).provenance["notes"]
    assert any("give a larger grid or spacing" in note for note in notes)
    assert not any("larger grid" in note for note in reconstruct(scan, "fbp", grid=64).provenance["notes"])


# --- evidence ---


def test_certificate_of_a_scan(scan):
    image = reconstruct(scan, "tv", iterations=60)
    certificate, slices = certify_scan(scan, image)
    assert slices == (0,) and not certificate.noise_estimated and certificate.pairs <= 30
    blank, _ = certify_scan(scan, type(image)(0 * image.array, image.spacing))
    assert certificate.chi_square < 0.01 * blank.chi_square
    with pytest.raises(ValueError, match="before it is converted"):
        certify_scan(scan, image.to_hu(0.02))
    with pytest.raises(ValueError, match="prepare it first"):
        certify_scan(simulate(TABLE, BEAM, NOISE), image)
    with pytest.raises(ValueError, match="do not belong together"):
        certify_scan(scan, type(image)(np.zeros((3, 8, 8)), (1.0, 1.0, 1.0)))


# --- the command line ---


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_scan("scan.h5", simulate(TABLE, BEAM, NOISE, mu_water=0.02))
    return tmp_path


@pytest.mark.parametrize("method", ITERATIVE)
def test_every_method_from_the_command_line(method, here, capsys):
    assert (
        main(["recon", "scan.h5", "-o", "out", "--method", method, "--iterations", "2", "--no-certificate"])
        == 0
    )
    record = json.loads((here / "out/provenance.json").read_text())
    assert record["configuration"]["recon"]["method"] == method and "certificate" not in record
    assert "evidence" not in capsys.readouterr().err


def test_evidence_goes_into_record_and_report(here, capsys):
    assert main(["recon", "scan.h5", "-o", "out", "--method", "cgls", "--json"]) == 0
    out, err = capsys.readouterr()
    record = json.loads((here / "out/provenance.json").read_text())["certificate"]
    assert json.loads(out)["certificate"]["chi_square"] == record["chi_square"] > 0
    assert record["slices"] == [0] and len(record["views"]) == 64 and "evidence" in err
    page = (here / "out/report.html").read_text()
    assert "Chi-square per datum" in page and "Not seen by the data" in page
    assert str(here) not in json.dumps(record)


def test_verbose_shows_the_iterations(here, capsys):
    assert main(["recon", "scan.h5", "-o", "out", "--method", "tv", "--iterations", "3", "--verbose"]) == 0
    lines = capsys.readouterr().err.splitlines()
    head = next(i for i, line in enumerate(lines) if line.split()[:2] == ["iter", "objective"])
    table = lines[head : head + 4]
    assert len({len(line) for line in table}) == 1  # aligned
    assert [int(line.split()[0]) for line in table[1:]] == [1, 2, 3]


def test_strength_of_a_method_without_penalty(here, capsys):
    assert main(["recon", "scan.h5", "-o", "out", "--method", "sirt", "--strength", "2"]) == 2
    assert "sirt has no strength; leave --strength out, or choose tv, tgv" in capsys.readouterr().err
    assert main(["recon", "scan.h5", "-o", "out", "--method", "tv", "--strength", "-1"]) == 2
    assert not (here / "out").exists()
