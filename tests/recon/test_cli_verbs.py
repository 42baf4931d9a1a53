"""The other verbs, and what `rayfold --help` costs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rayfold.recon import Image, save
from rayfold.recon.cli import main

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT / ".dev")}
HEAVY = (
    "numpy",
    "numba",
    "torch",
    "jax",
    "scipy",
    "matplotlib",
    "h5py",
    "pydicom",
    "nibabel",
    "tifffile",
    "tqdm",
)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _fails(capsys, code, text, *argv):
    capsys.readouterr()
    try:
        found = main(argv)
    except SystemExit as stop:
        found = stop.code
    out, err = capsys.readouterr()
    assert found == code and out == "" and text in err and "Traceback" not in err, err
    assert len(err.splitlines()) == 1


# --- help ---


@pytest.mark.parametrize("argv", [["--help"], ["recon", "--help"], ["--version"]])
def test_help_imports_nothing_heavy(argv):
    code = (
        f"import sys\nfrom rayfold.recon.cli import main\ntry:\n main({argv!r})\nexcept SystemExit as stop:\n"
    )
    code += f" print(stop.code, [m for m in {HEAVY} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT)
    assert run.stdout.splitlines()[-1] == "0 []", run.stdout + run.stderr


def test_help_is_quick():
    def best(*argv: str) -> float:
        times = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run([sys.executable, *argv], env=ENVIRONMENT, stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert best("-m", "rayfold.recon", "--help") - best("-c", "pass") < 0.5


def test_help_names_every_verb(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--help"])
    out = capsys.readouterr().out
    assert stop.value.code == 0 and all(
        verb in out for verb in ("info", "recon", "simulate", "view", "demo", "doctor")
    )
    assert main([]) == 2
    assert "rayfold demo" in capsys.readouterr().err


def test_usage_is_one_line(capsys):
    _fails(
        capsys, 2, "rayfold recon: the following arguments are required: file; rayfold recon --help", "recon"
    )
    _fails(capsys, 2, "invalid choice: 'rekon'", "rekon")
    _fails(capsys, 2, "unrecognized arguments: --x", "doctor", "--x")


# --- simulate, info ---


def test_simulate_and_info(capsys):
    assert (
        main(
            ["simulate", "--phantom", "disc", "--views", "30", "--cols", "40", "-o", "a/s.h5", "--seed", "3"]
        )
        == 0
    )
    out, err = capsys.readouterr()
    assert out == "a/s.h5\n" and "Scan of 30 views x 40 bins, counts" in err
    assert main(["info", "a/s.h5"]) == 0
    out, err = capsys.readouterr()
    assert "1e+05 photons per detector pixel" in out and "next      recon with method" in out and err == ""
    assert main(["info", "a/s.h5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["views"] == 30
    _fails(capsys, 5, "already there; write elsewhere or replace it with --force", "simulate", "-o", "a/s.h5")
    assert main(["simulate", "--views", "20", "--cols", "16", "-o", "a/s.h5", "--force", "--quiet"]) == 0


def test_the_seed_decides(capsys):
    from rayfold.recon import load

    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        main(
            [
                "simulate",
                "--views",
                "8",
                "--cols",
                "16",
                "-o",
                f"{name}.h5",
                "--seed",
                seed,
                "--phantom",
                "disc",
            ]
        )
    a, b, c = (load(f"{name}.h5").data for name in "abc")
    assert (a == b).all() and (a != c).any()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ("--views 0", "--views is 0; it must be 2 to"),
        ("--cols 1", "--cols is 1"),
        ("--photons 0", "--photons is 0"),
        ("--photons nan", "--photons is nan"),
        ("--photons 1e30", "--photons is 1e+30; it must be 1 to 1e+15"),
        ("--pitch 0", "--pitch is 0"),
        ("--span 0", "--span is 0"),
        ("--electronic -1", "--electronic is -1"),
        ("--seed -1", "'-1' must be a whole number, 0 or more"),
        ("--source-to-axis 50", "the object reaches 175 mm from the axis"),
        ("--source-to-detector 100", "the detector stands behind the axis"),
        ("-o a.npz", "give a name ending in .h5"),
        ("--phantom cat", "invalid choice: 'cat'"),
    ],
)
def test_simulate_mistakes(capsys, argv, message):
    _fails(capsys, 2, message, "simulate", *argv.split())
    assert list(Path().iterdir()) == []


def test_info_of_what_is_not_raw_data(capsys):
    save(Image(np.zeros((3, 8, 9), np.float32), (2.0, 1.0, 1.0), unit="HU"), "series")
    assert main(["info", "series"]) == 0
    assert "Image(3 x 8 x 9, 2 x 1 x 1 mm, HU" in capsys.readouterr().out
    assert main(["info", "series", "--rows", "1:3"]) == 0
    assert "Image(2 x 8 x 9" in capsys.readouterr().out
    for path in sorted(Path("series").iterdir())[1:2]:
        path.unlink()
    assert main(["info", "series"]) == 0  # two slices are evenly spaced, whatever their distance
    _fails(capsys, 3, "no file or folder none; check the name", "info", "none")
    np.save("a.npy", np.ones((9, 8)))
    _fails(capsys, 4, "the view angles are not stated; give angles_deg", "info", "a.npy")
    Path("a.txt").write_text("hello")
    _fails(capsys, 3, "is not a scan format known here", "info", "a.txt")


# --- view ---


def test_view(capsys):
    main(["simulate", "--phantom", "disc", "--views", "20", "--cols", "24", "-o", "s.h5", "--quiet"])
    main(["recon", "s.h5", "-o", "r", "--hu", "--quiet"])
    capsys.readouterr()
    assert main(["view", "r/image.nii.gz"]) == 0 and capsys.readouterr().out == "image.png\n"
    assert main(["view", "r", "--window", "-160,240", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"output": "r.png"}
    assert main(["view", "r", "--window", "lung", "-o", "p/lung.html"]) == 0
    assert main(["view", "s.h5"]) == 0
    for name in ("image.png", "r.png", "s.png"):
        assert Path(name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    _fails(
        capsys,
        5,
        "image.png is already there; write elsewhere or replace it with --force",
        "view",
        "r/image.nii.gz",
    )
    for window in ("lungs", "3,1", "1,2,3", "0,inf", "-5,nan", "7"):
        _fails(
            capsys,
            2,
            "give lung, bone, soft, brain, or two numbers in order",
            "view",
            "r",
            f"--window={window}",
        )
    _fails(capsys, 2, "--window is for images", "view", "s.h5", "--window", "lung", "-o", "q.png")
    _fails(capsys, 2, "view writes .png or .html", "view", "r", "-o", "x.jpg")
    _fails(capsys, 3, "check the name", "view", "none")
    main(["recon", "s.h5", "-o", "mu", "--quiet"])
    _fails(capsys, 2, "is in HU and the image in 1/mm", "view", "mu", "--window", "lung", "-o", "q.png")


# --- doctor, demo ---


def test_doctor_without_any_extra(capsys, monkeypatch):
    from rayfold.recon.cli import doctor

    monkeypatch.setattr(doctor, "find_spec", lambda name: None)
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    for text in (
        "pip install 'rayfold[jax]'",
        "pip install 'rayfold[cuda12]'",
        "CuPy is not installed; the CPU is used",
    ):
        assert text in out
    assert main(["doctor", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["ok"] is True and {"rayfold", "python", "GPU"} <= {row["check"] for row in made["checks"]}


def test_doctor_reports_a_broken_kernel(capsys, monkeypatch):
    from rayfold.recon.cli import doctor

    def broken():
        raise RuntimeError("compiler\nmissing")

    assert doctor._attempt("kernel", broken) == {
        "check": "kernel",
        "state": "FAIL",
        "detail": "RuntimeError: compiler missing",
    }


def test_demo(capsys, monkeypatch):
    from rayfold.recon.cli import demo

    monkeypatch.setattr(demo, "VIEWS", 40)
    monkeypatch.setattr(demo, "COLS", 128)
    monkeypatch.setattr(demo, "GRID", 96)
    runs = {"fbp": {"method": "fbp"}, "sirt": {"method": "sirt", "iterations": 20}}
    monkeypatch.setattr(demo, "RUNS", runs)
    assert main(["demo", "--json", "-o", "p/demo"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert sorted(p.name for p in Path("p/demo").iterdir()) == made["files"]
    assert {row["method"] for row in made["results"]} == set(runs)
    quality = {row["method"]: row["PSNR"] for row in made["results"]}
    assert quality["sirt"] > quality["fbp"]
    _fails(capsys, 5, "add --force", "demo", "-o", "p/demo", "--quiet")


def test_a_closed_pipe_is_no_error():
    command = f"{sys.executable} -m rayfold.recon info --help | head -n 1"
    run = subprocess.run(command, shell=True, capture_output=True, text=True, env=ENVIRONMENT)
    assert run.stderr == "" and run.stdout.startswith("usage: rayfold info")


def test_a_fault_is_named_as_one(capsys, monkeypatch):
    monkeypatch.setattr("rayfold.recon.cli.info.open_any", lambda *_: {}["x"])
    _fails(capsys, 1, "KeyError: 'x'; this is a fault of rayfold: --verbose shows where", "info", "x")
