"""Comparisons: more dose is better, intervals are Student's, files come out whole, mistakes are refused."""

import json
import math
import re

import numpy as np
import pytest
from scipy.stats import t

from rayfold.operators import Volume
from rayfold.recon import CTProtocol, Image, MRIProtocol
from rayfold.recon.cli import main
from rayfold.recon.protocol import comparison, methods, tasks
from rayfold.recon.protocol.comparison import compare, interval

FAN = CTProtocol(geometry="fan", views=60, cols=64, pitch_mm=11.0, electronic=5.0)
PARALLEL = CTProtocol(views=30, cols=64, pitch_mm=6.0)
LINES = MRIProtocol(matrix=(32, 32), pattern="equispaced", acceleration=2, calibration=8, coils=4)


def test_more_dose_and_more_views_are_better(tmp_path):
    found = compare(
        {"few": PARALLEL, "many": PARALLEL.replace(views=120)},
        methods=["fbp", "cgls"],
        seeds=[0, 1],
        doses=[0.001, 1],
        n=32,
    )
    rows = {(r["protocol"], r["method"], round(r["dose"], 6)): r for r in found.rows}
    assert len(rows) == 8
    for protocol in ("few", "many"):
        for method in ("fbp", "cgls"):
            low, high = rows[protocol, method, 0.001], rows[protocol, method, 1.0]
            assert low["PSNR"] < high["PSNR"] and low["SSIM"] < high["SSIM"]
            assert low["PSNR +-"] >= 0 and "range" not in low
    assert rows["many", "fbp", 1.0]["PSNR"] > rows["few", "fbp", 1.0]["PSNR"] + 1
    assert found.facts["data_range"] == pytest.approx(0.039)
    assert set(found.images) == {"truth", *(f"{p}, {m}, dose {d:g}" for p, m, d in rows)}
    assert len(found.figure().axes) == 2 and "PSNR" in found.table()[0]
    assert [line.get_label() for line in found.figure().axes[0].containers][:2] == ["few, fbp", "few, cgls"]
    path = found.save(tmp_path / "a.json")
    written = json.loads(path.read_text())
    assert written["rows"][0]["PSNR"] == found.rows[0]["PSNR"]
    assert "views = 120" in written["provenance"]["configuration"]["protocols"]["many"]
    assert len(found.gallery(["few, fbp, dose 1"]).axes) == 5  # two images, a difference, two scales
    with pytest.raises(ValueError, match="did you mean few, fbp, dose 1"):
        found.gallery(["few, fbp"])


def test_metrics_are_those_of_the_images_that_are_kept():
    from rayfold.recon.metrics import psnr

    found = compare([FAN.replace(name="fan")], methods=["fbp"], seeds=[4], n=32)
    truth, image = found.images["truth"], found.images[f"fan, fbp, dose {FAN.dose:.3g}"]
    assert found.rows[0]["PSNR"] == psnr(image, truth, data_range=0.039)
    assert math.isnan(found.rows[0]["PSNR +-"]) and "±" not in found.table()[0]["PSNR"]


def test_bins_much_finer_than_pixels_are_noted():
    fine = FAN.replace(name="fine", cols=8 * FAN.cols, pitch_mm=FAN.pitch_mm / 8)
    found = compare([fine, FAN.replace(name="fan")], methods=["fbp"], seeds=[0], n=32)
    (note,) = found.facts["notes"]
    n = int(re.search(r"grid of (\d+)", note)[1])
    assert note.startswith("fine: ") and fine.beam.resolution * n == pytest.approx(
        found.spacing[0] * 32, rel=0.01
    )
    assert not compare([fine.replace(name="fine")], methods=["fbp"], seeds=[0], n=n).facts["notes"]


def test_mri_against_scan_time():
    found = compare(
        {"half": LINES, "all": MRIProtocol(matrix=(32, 32), coils=4)},
        methods=["sense", "tv", "wavelet", "cgls"],
        seeds=[0],
        iterations=30,
    )
    assert found.axis == "time s"
    times = {row["protocol"]: row["time s"] for row in found.rows}
    assert times == {"half": 10.0, "all": 16.0}
    assert all(row["PSNR"] > 15 for row in found.rows)
    assert found.unit == "a.u." and found.figure().axes[0].get_xlabel() == "scan time in s"


@pytest.mark.parametrize(
    "sampled", [{"pattern": "full"}, {"pattern": "equispaced", "acceleration": 2.0, "calibration": 12}]
)
def test_penalties_take_out_noise_and_leave_no_shading(sampled):
    """Coils see the middle less: solvers must not leave it dark there."""
    p = MRIProtocol(matrix=(96, 96), coils=16, snr=40, **sampled)
    found = compare({"head": p}, methods=["sense", "wavelet", "tv"], seeds=[0])
    sense, wavelet, tv = (row["PSNR"] for row in found.rows)
    assert min(wavelet, tv) > sense + 1


def test_the_prior_gets_the_problem(monkeypatch):
    class Fake:
        def restore(self, problem):
            return problem.A.H(problem.y) / 60

    monkeypatch.setattr(methods, "_loaded", lambda name: Fake())
    found = compare([FAN], methods=["prior"], seeds=[0], n=32)
    assert np.isfinite(found.rows[0]["PSNR"])
    assert np.isfinite(compare([LINES], methods=["prior"], seeds=[0]).rows[0]["PSNR"])


def test_an_image_and_a_table_can_be_scanned():
    image = Image(np.pad(np.full((20, 20), 0.02), 6), (4.0, 4.0))
    for thing in (image, [[0.02, 50.0, 40.0, 0, 0, 0]]):
        assert compare([FAN], thing, ["fbp"], [0], n=32).rows[0]["PSNR"] > 15


def test_interval_is_students():
    values = np.random.default_rng(0).normal(size=(5, 2))
    for k in range(2):
        low, high = t.interval(0.95, 4, values[:, k].mean(), values[:, k].std(ddof=1) / np.sqrt(5))
        assert interval(values)[k] == pytest.approx((high - low) / 2)
    assert np.isnan(interval(values[:1])).all()


def test_tasks_measure_what_is_known():
    """Of pixels that are means the MTF is that of a square; in white noise d' is nearly the ideal one."""
    from rayfold.recon.ellipses import rasterise

    grid = Volume((128, 128), 0.5)
    phantom = tasks.task_phantom(grid)
    present, absent = rasterise(phantom.present, grid), rasterise(phantom.absent, grid)
    signal = present - absent
    ideal = 3.0
    sigma = math.sqrt((signal**2).sum() / tasks.PLACES) / ideal
    noise = sigma * np.random.default_rng(0).normal(size=(2, 12, 128, 128))
    found = tasks.measured(phantom, grid, present + noise[0], absent + noise[1])
    assert found["MTF50"] == pytest.approx(0.6034 / 0.5, rel=0.07)  # sinc(0.6034) = 1/2
    assert 0.8 * ideal < found["d'"] < 1.15 * ideal
    assert found["d' low"] < found["d'"] < found["d' high"]
    flat = tasks.measured(phantom, grid, present + noise[0], np.zeros_like(noise[1]) + noise[1])
    assert math.isnan(flat["MTF50"])


def test_tasks_of_a_protocol():
    p = CTProtocol(views=48, cols=64, pitch_mm=1.0)
    found = compare([p], methods=["fbp"], seeds=[0], n=64, tasks=True, doses=[0.1, 10])
    low, high = found.rows
    assert low["d'"] < high["d'"]
    assert 0.2 < high["MTF50"] < 0.5  # cycles per mm, for bins of 1 mm
    assert len(found.figure().axes) == 4 and "MTF50" in found.table()[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([FAN, LINES],), "compare those of one modality"),
        (([],), "no protocol is given"),
        (([FAN, FAN],), None),
        (([FAN.replace(name="a"), PARALLEL.replace(name="a")],), "two protocols are called 'a'"),
        (([FAN], "thorax", ["tvv"]), "there is no CT method 'tvv'; did you mean tv or tgv?"),
        (([LINES], "head", ["fbp"]), "there is no MRI method 'fbp'"),
        (([FAN], "thorax", ["fbp"], []), "no seed is given"),
        (([LINES, LINES.replace(matrix=(48, 48))], "head"), "different matrices"),
    ],
)
def test_mistakes(arguments, message):
    if message is None:  # names are made up where there are none
        assert len(compare(*arguments, methods=["fbp"], seeds=[0], n=16).rows) == 2
        return
    with pytest.raises(ValueError) as caught:
        compare(*arguments)
    assert message in str(caught.value)
    with pytest.raises(ValueError, match="MRI has no dose"):
        compare([LINES], doses=[1.0])
    with pytest.raises(ValueError, match="of CT only"):
        compare([LINES], tasks=True)


# --- the command ---


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_new_show_compare(tmp_path, capsys):
    assert main(["protocol", "new", "ct", "-o", "a.toml"]) == 0
    assert main(["protocol", "new", "mri", "--quiet"]) == 0
    assert (tmp_path / "mri.toml").read_text().startswith('modality = "MRI"\nname = ')
    assert main(["protocol", "new", "ct", "-o", "a.toml"]) == 5
    assert "already there" in capsys.readouterr().err
    text = (
        (tmp_path / "a.toml")
        .read_text()
        .replace("views = 1000 ", "views = 40")
        .replace("cols = 900 ", "cols = 48")
    )
    (tmp_path / "a.toml").write_text(text.replace("pitch_mm = 1.0 ", "pitch_mm = 20.0"))
    assert main(["protocol", "show", "a.toml", "-o", "a.png"]) == 0
    out = capsys.readouterr().out
    assert "views=40" in out and "Nyquist" in out and (tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert main(["protocol", "show", "mri.toml", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["excitations"] == 80
    argv = "protocol compare a.toml --method fbp --dose 0.01,1 --seeds 2 --grid 24 -o out --quiet"
    assert main(argv.split()) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split()[:4] == ["protocol", "method", "dose", "PSNR"] and len(out) == 4
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"comparison.json", "curves.png", "images.png"}
    assert main(argv.split()) == 5
    assert main([*argv.split(), "--force", "--json"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["rows"]) == 2


@pytest.mark.parametrize(
    ("argv", "code", "message"),
    [
        ("protocol show none.toml", 3, "none.toml cannot be read"),
        ("protocol new ct --preset brain-full", 2, "is a protocol of MRI"),
        ("protocol new ct --preset clinical", 2, "did you mean clinical-fan?"),
        ("protocol compare bad.toml", 4, "bad.toml: CT has no [dose] fotons; did you mean photons?"),
        ("protocol compare ok.toml --dose a,b", 2, "give numbers with commas"),
        ("protocol compare ok.toml ok.toml", 2, "two protocols are called 'ok'"),
        ("protocol compare ok.toml --method fpb", 2, "did you mean fbp?"),
        ("protocol show ok.toml -o a.jpg", 2, "give a name ending in .png"),
        ("simulate --protocol ok.toml --views 9 -o a.h5", 2, "--views is stated by ok.toml"),
    ],
)
def test_command_mistakes_are_one_line(tmp_path, capsys, argv, code, message):
    (tmp_path / "bad.toml").write_text('modality = "CT"\n[dose]\nfotons = 3\n')
    (tmp_path / "ok.toml").write_text('modality = "CT"\n')
    assert main(argv.split()) == code
    error = capsys.readouterr().err.strip()
    assert message in error and "\n" not in error


def test_simulate_by_protocol(tmp_path, capsys):
    from rayfold.recon import load

    FAN.to_toml(tmp_path / "fan.toml")
    LINES.to_toml(tmp_path / "lines.toml")
    assert main(["simulate", "--protocol", "fan.toml", "-o", "ct.h5", "--seed", "2", "--quiet"]) == 0
    assert np.array_equal(load(tmp_path / "ct.h5").data, FAN.simulate("thorax", 2).data)
    assert main(["simulate", "--protocol", "lines.toml", "-o", "mr.h5", "--quiet", "--json"]) == 0
    assert np.array_equal(load(tmp_path / "mr.h5").data, LINES.simulate("head").data)
    assert main(["simulate", "--protocol", "lines.toml", "-o", "mr2.h5", "--phantom", "disc"]) == 2


def test_default_methods_are_known():
    for modality in ("CT", "MRI"):
        methods.check_methods(modality, ("tv", "prior"))
    assert comparison.GRID == 128
