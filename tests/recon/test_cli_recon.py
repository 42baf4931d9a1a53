"""`rayfold recon` as a newcomer meets it: results, settings, and each mistake in one line with its code."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest

from rayfold.operators import FanBeam, ParallelBeam
from rayfold.operators.noise import PoissonTransmission
from rayfold.recon import Scan, simulate
from rayfold.recon.cli import main
from rayfold.recon.io import write_scan

ROOT = Path(__file__).parents[2]
RESULTS = ["image.nii.gz", "preview.png", "provenance.json", "report.html"]
DISC = [[0.02, 30.0, 30.0, 4.0, -6.0, 0.0]]
BEAM = FanBeam.evenly(90, 72, pitch=2.4, source_to_axis=300.0, source_to_detector=480.0)


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    """A clean directory with one simulated scan."""
    monkeypatch.chdir(tmp_path)
    write_scan("scan.h5", simulate(DISC, BEAM, PoissonTransmission(1e5), mu_water=0.02))
    return tmp_path


def shell(*argv: str, before: str = "", **options) -> subprocess.CompletedProcess:
    """The command in a process of its own, after the Python statements `before`."""
    code = f"{before}\nimport sys\nfrom rayfold.recon.cli import main\nsys.exit(main({list(argv)!r}))"
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".dev")}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120, **options
    )


def fails(capsys, code: int, message: str, *argv: str) -> None:
    """The command ends with `code`, says one line, and leaves nothing behind."""
    before = sorted(Path().rglob("*"))
    capsys.readouterr()
    try:
        found = main(argv)
    except SystemExit as stop:  # argparse
        found = stop.code
    out, err = capsys.readouterr()
    assert found == code, err
    assert out == ""
    lines = [line for line in err.splitlines() if line.startswith("rayfold")]
    assert len(lines) == 1 and err.endswith(f"{lines[0]}\n") and "Traceback" not in err
    assert re.search(message, lines[0]), lines[0]
    assert sorted(Path().rglob("*")) == before


# --- what it makes ---


def test_one_command(here, capsys):
    assert main(["recon", "scan.h5", "-o", "a/b/out"]) == 0
    out, err = capsys.readouterr()
    assert out == "a/b/out\n" and "Scan of 90 views x 72 bins" in err and "\r" not in err
    folder = here / "a/b/out"
    assert sorted(p.name for p in folder.iterdir()) == RESULTS
    image = nibabel.load(folder / "image.nii.gz")
    assert image.shape == (80, 80, 1)[: image.ndim] or image.shape == (80, 80)
    assert (
        image.header.get_zooms()[:2] == pytest.approx((1.5, 1.5)) and image.header.get_xyzt_units()[0] == "mm"
    )
    assert np.median(np.asarray(image.dataobj)[30:50, 25:45]) == pytest.approx(0.02, rel=0.02)
    made = json.loads((folder / "provenance.json").read_text())
    assert made["inputs"][0]["name"] == "scan.h5" and made["configuration"]["recon"]["method"] == "fbp"
    assert made["steps"] == ["normalise", "neglog"] and set(made["seconds"]) >= {
        "load",
        "reconstruct",
        "write",
    }
    assert str(here) not in (folder / "provenance.json").read_text()
    assert (folder / "report.html").read_text().lstrip().lower().startswith("<!doctype html>")


def test_default_folder_json_and_more_formats(here, capsys):
    assert main(["recon", "scan.h5", "--hu", "--save", "dicom,tiff,h5", "--json", "--grid", "64"]) == 0
    out, _ = capsys.readouterr()
    made = json.loads(out)
    assert made["output"] == "scan-rayfold" and made["unit"] == "HU" and made["shape"] == [64, 64]
    assert made["files"] == sorted([*RESULTS, "dicom", "image.tif", "image.h5"])
    assert sorted(p.name for p in (here / "scan-rayfold").iterdir()) == made["files"]
    for name in ("", "image.nii.gz", "image.tif", "image.h5", "dicom"):
        assert main(["info", f"scan-rayfold/{name}", "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["what"] == "image" and facts["unit"] == "HU" and facts["shape"][-2:] == [64, 64]


def test_geometry_beside_the_data_is_part_of_the_record(here):
    np.save("sino.npy", np.ones((30, 20), np.float32))
    Path("sino.toml").write_text('span_deg = 180\nkind = "attenuation"\n')
    assert main(["recon", "sino.npy", "-o", "out", "--quiet"]) == 0
    made = json.loads(Path("out/provenance.json").read_text())
    assert [part["name"] for part in made["inputs"]] == ["sino.npy", "sino.toml"]


def test_grid_and_spacing(here, capsys):
    assert main(["recon", "scan.h5", "-o", "a", "--grid", "50", "--spacing", "2.5", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["shape"] == [50, 50] and made["spacing"] == [2.5, 2.5]


def test_dry_run_writes_nothing(here, capsys):
    assert main(["recon", "scan.h5", "--dry-run", "--method", "sirt"]) == 0
    out = capsys.readouterr().out
    for text in (
        "sirt, 100 steps",
        "80 x 80 pixels of 1.5 mm",
        "cpu",
        "memory    about",
        "scan-rayfold: image",
    ):
        assert text in out
    assert main(["recon", "scan.h5", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (
        plan["grid"] == [80, 80]
        and plan["memory_mb"] >= 0
        and plan["settings"]["recon"]["filter"] == "ram-lak"
    )
    assert [p.name for p in here.iterdir()] == ["scan.h5"]


def test_nothing_is_overwritten(here, capsys):
    assert main(["recon", "scan.h5", "-o", "out", "--quiet"]) == 0
    Path("out/mine.txt").write_text("keep")
    fails(
        capsys,
        5,
        r"out already holds image\.nii\.gz, .*; choose another -o or add --force",
        "recon",
        "scan.h5",
        "-o",
        "out",
    )
    first = Path("out/image.nii.gz").read_bytes()
    assert main(["recon", "scan.h5", "-o", "out", "--quiet", "--force", "--grid", "32"]) == 0
    assert Path("out/image.nii.gz").read_bytes() != first and Path("out/mine.txt").read_text() == "keep"
    assert main(["recon", "scan.h5", "-o", "out", "--dry-run"]) == 0
    assert "(needs --force)" in capsys.readouterr().out


def test_settings_in_their_order(here, capsys):
    Path("conf.toml").write_text(
        '[recon]\nfilter = "hann"\ncutoff = 0.5\ngrid = 32\n[output]\nsave = ["tiff"]\n'
    )
    argv = [
        "recon",
        "scan.h5",
        "--config",
        "conf.toml",
        "--set",
        "recon.cutoff=0.8",
        "--set",
        "recon.grid=48",
    ]
    assert main([*argv, "--grid", "64", "--dry-run", "--json"]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    how = settings["recon"]
    assert (how["filter"], how["cutoff"], how["grid"]) == ("hann", 0.8, 64)
    assert settings["output"]["save"] == ["tiff"]


# --- mistakes of the call: 2 ---


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            "--method bfp",
            r"--method is 'bfp'; it must be fbp, cgls, sirt, sart, tv, tgv, wavelet, pwls, os-sqs, "
            "prior, rss, mvue, gridding, sense, grappa or lps",
        ),
        ("--filter hanning", r"--filter is 'hanning'; it must be ram-lak, .* or hann"),
        ("--rings wavelet", r"--rings is 'wavelet'; it must be sorting, all"),
        ("--device gpu", r"device is 'gpu'; it must be auto, cpu, cuda or cuda:N"),
        ("--grid -5", r"--grid is -5; it must be positive"),
        ("--grid 0", r"--grid is 0; it must be positive"),
        ("--grid 3.5", r"--grid: invalid int value: '3.5'; rayfold recon --help"),
        ("--spacing -1", r"--spacing is -1.0; it must be positive, in mm"),
        ("--spacing nan", r"--spacing is nan"),
        ("--cutoff 2", r"--cutoff is 2.0; it must be above 0 and at most 1"),
        ("--iterations 5", r"fbp has no iterations; leave --iterations out, or choose an iterative"),
        ("--method cgls --filter hann", r"cgls has no filter; leave --filter out"),
        ("--method sirt --iterations 0", r"--iterations is 0; it must be positive"),
        ("--rows 3:x", r"--rows is '3:x'; it must be a number or a range, as 10:20"),
        ("--rows 3", r"single detector row; leave --rows out"),
        ("--center middle", r"--center middle: give a detector column, as 319.5, or auto"),
        ("--center -9", r"--center -9 is off the detector; give a column from 0 to 71"),
        ("--sense left", r"invalid choice: 'left'"),
        ("--mu-water -1", r"--mu-water is -1.0; it must be positive, in 1/mm"),
        ("--pixel-size 0", r"--pixel-size is 0.0; it must be positive"),
        ("--save png", r"--save is 'png'; it must be a list of dicom, tiff or h5"),
        ("--set recon.cutof=0.5", r"unknown setting recon.cutof; did you mean cutoff\?"),
        ("--set recom.cutoff=0.5", r"unknown section recom; did you mean recon\?"),
        ("--set cutoff", r"write it as section.name=value, for example recon.cutoff=0.8"),
        ("--set recon.cutoff=half", r"recon.cutoff is 'half'; it must be a number"),
        ("--set recon.grid=1.5", r"recon.grid is 1.5; it must be a whole number"),
        ("--set output.save=5", r"output.save is 5; it must be a list of dicom"),
        ("--nonsense", r"unrecognized arguments: --nonsense"),
    ],
)
def test_usage(here, capsys, argv, message):
    fails(capsys, 2, message, "recon", "scan.h5", "-o", "out", *argv.split())


def test_unknown_toml_key_names_the_nearest(here, capsys):
    Path("conf.toml").write_text("[recon]\nfiltre = 'hann'\n")
    fails(
        capsys,
        2,
        r"conf.toml: unknown setting recon.filtre; did you mean filter",
        "recon",
        "scan.h5",
        "--config",
        "conf.toml",
    )
    Path("conf.toml").write_text("[recno]\nfilter = 'hann'\n")
    fails(
        capsys,
        2,
        r"conf.toml: unknown section \[recno\]; did you mean recon",
        "recon",
        "scan.h5",
        "--config",
        "conf.toml",
    )
    fails(capsys, 3, r"none.toml cannot be read", "recon", "scan.h5", "--config", "none.toml")
    Path("conf.toml").write_text("recon = [")
    fails(capsys, 3, r"conf.toml is not valid TOML", "recon", "scan.h5", "--config", "conf.toml")


def test_hounsfield_units_need_a_pixel_size_and_water(here, capsys):
    beam = ParallelBeam.evenly(30, 20)
    write_scan("px.h5", Scan(np.ones((30, 20), np.float32), beam, "attenuation", unit="px"))
    write_scan("mm.h5", Scan(np.ones((30, 20), np.float32), beam, "attenuation"))
    fails(
        capsys,
        2,
        r"no pixel size \(add --pixel-size MM\) and no attenuation of water",
        "recon",
        "px.h5",
        "--hu",
    )
    fails(capsys, 2, r"states no pixel size \(add", "recon", "px.h5", "--hu", "--mu-water", "0.02")
    fails(capsys, 2, r"states no attenuation of water \(add --mu-water", "recon", "mm.h5", "--hu")
    assert main(["recon", "px.h5", "--hu", "--mu-water", "0.02", "--pixel-size", "0.5", "--quiet"]) == 0


def test_traceback_only_with_verbose(here, capsys):
    assert main(["recon", "scan.h5", "--method", "bfp", "--verbose"]) == 2
    assert "rayfold: --method is 'bfp'" in capsys.readouterr().err
    assert main(["recon", "none.h5", "--verbose"]) == 3
    assert "Traceback" in capsys.readouterr().err


# --- bad input: 3 and 4 ---


def test_missing_truncated_or_something_else(here, capsys):
    fails(capsys, 3, r"no file or folder none\.h5; check the name", "recon", "none.h5")
    Path("cut.h5").write_bytes(Path("scan.h5").read_bytes()[:-3000])
    fails(capsys, 3, r"cut\.h5 .*truncated.*copy it again", "recon", "cut.h5")
    Path("text.h5").write_text("angle,value\n0,1\n")
    fails(capsys, 3, r"text\.h5 should be HDF5 but its content is something else", "recon", "text.h5")
    Path("empty").mkdir()
    fails(capsys, 3, r"holds no \.tif files", "recon", "empty")
    assert main(["recon", "scan.h5", "-o", "out", "--save", "h5,dicom", "--quiet"]) == 0
    for name in ("image.nii.gz", "image.h5", "dicom"):
        fails(
            capsys,
            3,
            r"is a finished image, not raw data; look at it with rayfold view",
            "recon",
            f"out/{name}",
        )


def _exchange(data, n_angles=None, flat=1000.0) -> None:
    n = len(data)
    with h5py.File("x.h5", "w") as file:
        file["exchange/data"] = data[:, None]
        file["exchange/data_white"] = np.full((2, 1, data.shape[1]), flat, np.float32)
        file["exchange/data_dark"] = np.zeros((2, 1, data.shape[1]), np.float32)
        file["exchange/theta"] = np.arange(n_angles or n) * 180.0 / n


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("view", r"1 of 60 views hold no number \(7\); remove them"),
        ("columns", r"6 of 100 detector pixels are dead \(6\.0 %"),
        ("negative", r"2\.0 % of the raw counts are below zero"),
        ("angles", r"60 views but 59 angles; give one angle per view"),
    ],
)
def test_inconsistent(here, capsys, rng, damage, message):
    data = rng.uniform(400, 600, (60, 100)).astype(np.float32)
    if damage == "view":
        data[7] = np.nan
    elif damage == "columns":
        data[:, 20:80:10] = np.nan
    elif damage == "negative":
        data.flat[:120] = -5
    _exchange(data, n_angles=59 if damage == "angles" else None)
    fails(capsys, 4, message, "recon", "x.h5", "-o", "out", "--quiet")


def test_a_cone_is_refused(here, capsys):
    scan = Scan(np.ones((90, 64, 72), np.float32), BEAM, "attenuation")
    write_scan("cone.h5", scan)
    fails(
        capsys,
        2,
        r"64 detector rows .* 3D method; reconstruct the central slice with --rows 32",
        "recon",
        "cone.h5",
    )
    assert main(["recon", "cone.h5", "--rows", "32", "--quiet"]) == 0


# --- memory, disk and interrupts: 5 and 130 ---


def test_more_memory_than_there_is(here, capsys):
    cure = r"not enough memory: this needs about \d+\.\d GB and .* are free; .*--rows A:B.*--grid N"
    fails(capsys, 5, cure, "recon", "scan.h5", "-o", "out", "--grid", "400000")


def test_memory_that_runs_out_on_the_way(here, capsys, monkeypatch):
    def explode(*_, **__):
        raise MemoryError("Unable to allocate 7.45 GiB")

    monkeypatch.setattr("rayfold.recon.methods.reconstruct", explode)
    message = r"not enough memory: Unable to allocate 7.45 GiB; fewer rows"
    fails(capsys, 5, message, "recon", "scan.h5", "-o", "p/out", "--quiet")


@pytest.mark.skipif(sys.platform != "linux", reason="address space limits are Linux's")
def test_limited_address_space(here):
    limit = "import numpy, resource\n"
    limit += "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
    limit += "resource.setrlimit(resource.RLIMIT_AS, (used + 2**29, used + 2**29))"
    run = shell("recon", "scan.h5", "-o", "out", "--grid", "9000", before=limit, cwd=here)
    assert run.returncode == 5 and "not enough memory" in run.stderr and "Traceback" not in run.stderr
    assert sorted(p.name for p in here.iterdir()) == ["scan.h5"]


def test_full_disk(here, capsys, monkeypatch):
    """Whatever is written when the disk is full, nothing of it stays."""

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("rayfold.recon.provenance.write_json", full)
    message = r"cannot write .*out: no space left on device; free some space or write to another disk"
    fails(capsys, 5, message, "recon", "scan.h5", "-o", "p/out", "--quiet")


@pytest.mark.skipif(sys.platform != "linux", reason="file size limits are POSIX's")
@pytest.mark.parametrize("limit", [2000, 20000])
def test_files_that_may_not_grow(here, limit):
    before = "import resource, signal\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    before += f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))"
    run = shell("recon", "scan.h5", "-o", "p/out", "--quiet", before=before, cwd=here)
    assert run.returncode == 5, run.stderr
    assert run.stderr.count("rayfold: ") == 1 and "Traceback" not in run.stderr
    assert "file too large" in run.stderr.lower()
    assert [p.name for p in here.rglob("*")] == ["scan.h5"]


def test_a_small_disk(here, tmp_path_factory):
    """A real full disk, where this machine lets us mount one."""
    disk = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no right to mount a small disk")
    try:
        out = str(disk / "p/out")
        for argv in (["recon", "scan.h5"], ["recon", "scan.h5", "--save", "h5,dicom"], ["simulate"]):
            name = f"{out}.h5" if argv[0] == "simulate" else out
            run = shell(*argv, "-o", name, "--quiet", cwd=here)
            assert run.returncode == 5 and "free some space" in run.stderr, run.stderr
            assert "Traceback" not in run.stderr and list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_output_that_cannot_be(here, capsys):
    Path("file").write_text("")
    fails(capsys, 5, r"file is a file; give a folder with -o", "recon", "scan.h5", "-o", "file")
    fails(
        capsys,
        5,
        r"cannot write .*; choose a path whose parents are folders",
        "recon",
        "scan.h5",
        "-o",
        "file/x/out",
    )
    if os.geteuid() != 0:
        Path("locked").mkdir(mode=0o500)
        fails(capsys, 5, r"permission denied", "recon", "scan.h5", "-o", "locked/out")


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_interrupted(here, name, code):
    before = "import os, signal, rayfold.recon.methods as methods\n"
    before += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job inherits none
    before += f"def half(*a, **k):\n os.kill(os.getpid(), signal.{name})\n signal.pause()\n"
    before += "methods.reconstruct = half"
    run = shell("recon", "scan.h5", "-o", "p/out", "--quiet", before=before, cwd=here)
    assert run.returncode == code and "nothing was left half-written" in run.stderr, run.stderr
    assert "Traceback" not in run.stderr and [p.name for p in here.rglob("*")] == ["scan.h5"]


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")
def test_a_bar_on_a_terminal_only(here):
    import fcntl
    import pty
    import struct
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    code = "import sys; from rayfold.recon.cli import main; sys.exit(main(sys.argv[1:]))"
    argv = [
        sys.executable,
        "-c",
        code,
        "recon",
        "scan.h5",
        "-o",
        "out",
        "--method",
        "sirt",
        "--iterations",
        "5",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TERM": "xterm", "COLUMNS": "80"}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=theirs, env=environment) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(ours, 4096)
            except OSError:
                break
            if not part:
                break
            seen += part
        assert process.stdout.read() == b"out\n"
    os.close(ours)
    assert process.returncode == 0 and b"\rsirt: " in seen
    run = shell("recon", "scan.h5", "-o", "out2", "--method", "sirt", "--iterations", "5", cwd=here)
    assert run.returncode == 0 and "\r" not in run.stderr
