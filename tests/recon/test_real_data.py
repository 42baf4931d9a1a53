"""Measured scans through the command line, against what is known of them; skipped where they are not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from rayfold.recon import read_image
from rayfold.recon.cli import main

MEASURED = Path(__file__).resolve().parents[3] / "shared/data/ct"
OFFICIAL_SPACING = 0.1483223
HELSINKI = ("ta", "tb", "tc", "td", "solid_disc")


def measured(name: str) -> Path:
    path = MEASURED / name
    if not path.exists():
        pytest.skip(f"measured data are not here: {name}")
    return path


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def recon(name: str, *options: str, geometry: str | None = None):
    """Image and provenance that `rayfold recon` writes."""
    path = str(measured(name))
    stated = []
    if geometry is not None:
        Path("geometry.toml").write_text(geometry)
        stated = ["--geometry", "geometry.toml"]
    assert main(["recon", path, "-o", "out", "--force", "--quiet", *stated, *options]) == 0
    image = read_image("out/image.nii.gz")
    array = np.asarray(image.array, np.float64)
    assert np.isfinite(array).all() and Path("out/preview.png").stat().st_size > 1000
    return array, image, json.loads(Path("out/provenance.json").read_text())


def axis(made) -> float:
    """Column of the rotation axis, as noted."""
    return next(float(note.split()[-1]) for note in made["notes"] if note.startswith("rotation axis found"))


# --- Helsinki: fan beam, against the laboratory's own reconstruction ---


def official(name: str, kind: str = "recon_fbp") -> np.ndarray:
    """The laboratory's image in our order of rows (theirs run down) and, but for labels, in 1/mm.

    It is attenuation per pixel: all five sets differ from ours by the pixel size, to 0.01 %.
    """
    scipy_io = pytest.importorskip("scipy.io")
    content = scipy_io.loadmat(measured(f"htc2022_training/htc2022_{name}_full_{kind}.mat"))
    (image,) = (value for key, value in content.items() if not key.startswith("__"))
    return np.asarray(image, np.float64)[::-1] / (1.0 if kind.endswith("seg") else OFFICIAL_SPACING)


def agreement(found: np.ndarray, expected: np.ndarray) -> tuple[float, float]:
    """Correlation, and amplitude as the slope of `found` over `expected`."""
    a, b = found.ravel() - found.mean(), expected.ravel() - expected.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b))), float(
        found.ravel() @ expected.ravel() / (expected.ravel() @ expected.ravel())
    )


@pytest.mark.parametrize("name", HELSINKI)
def test_helsinki_on_the_official_grid(name, record_property):
    """The official image, and the object that the laboratory segmented in it."""
    options = ("--grid", "512", "--spacing", str(OFFICIAL_SPACING))
    array, image, _ = recon(f"htc2022_training/htc2022_{name}_full.mat", *options)
    assert array.shape[-2:] == (512, 512) and image.unit == "1/mm"
    assert image.spacing[-2:] == pytest.approx((OFFICIAL_SPACING,) * 2, rel=1e-6)
    array = array.reshape(512, 512)
    correlation, amplitude = agreement(array, official(name))
    record_property("correlation", correlation)
    record_property("amplitude", amplitude)
    print(f"{name}: correlation {correlation:.6f}, amplitude {amplitude:.5f}")
    assert correlation >= 0.9999 and amplitude == pytest.approx(1, abs=0.005)
    solid = official(name, "recon_fbp_seg") > 0
    ours = array > 0.5 * np.median(array[solid])
    dice = 2 * (ours & solid).sum() / (ours.sum() + solid.sum())
    assert dice > 0.98


def test_helsinki_on_its_own_grid(record_property):
    """The grid chosen by itself, resampled about the centre."""
    from scipy.ndimage import map_coordinates

    array, image, _ = recon("htc2022_training/htc2022_ta_full.mat")
    array = array.reshape(array.shape[-2:])
    n, step = array.shape[0], image.spacing[-1]
    assert n % 16 == 0 and step == pytest.approx(OFFICIAL_SPACING, rel=1e-5)
    at = (np.arange(512) - 255.5) * OFFICIAL_SPACING / step + (n - 1) / 2
    resampled = map_coordinates(array, np.meshgrid(at, at, indexing="ij"), order=3)
    correlation, amplitude = agreement(resampled, official("ta"))
    record_property("correlation", correlation)
    record_property("amplitude", amplitude)
    assert correlation >= 0.9999 and amplitude == pytest.approx(1, abs=0.005)


# --- tooth: raw counts with flats and darks, half a turn ---


def test_tooth(record_property):
    array, image, made = recon("tooth_parallel/tooth.h5", "--center", "auto")
    assert array.shape == (2, 704, 704) and image.unit == "1/px"
    record_property("axis", axis(made))
    assert axis(made) == pytest.approx(295.5, abs=0.5)
    assert made["steps"][:2] == ["normalise", "neglog"]
    # a wrong axis doubles the edges: the image at the found one is sharper than a bin to either side
    found = _sharpness(array)
    for off in (-3, 3):
        moved, _, _ = recon("tooth_parallel/tooth.h5", "--center", str(axis(made) + off), "--grid", "704")
        assert _sharpness(moved) < found


def _sharpness(array: np.ndarray) -> float:
    """Fourth moment of the values: edges kept apart give more extreme values."""
    values = array[0] - np.median(array[0])
    return float((np.clip(values, 0, None) ** 2).sum())


# --- basalt beads in neutrons: zingers ---

BASALT = """
data = "sino_basalt"
axes = "cols,views"
angles = "angles"
angles_unit = "rad"
kind = "attenuation"
"""


def test_basalt_zingers(record_property):
    pytest.importorskip("algotom")
    from scipy.ndimage import binary_erosion, gaussian_filter

    images = {}
    for name, options in {"with": [], "without": ["--zingers"]}.items():
        array, _, made = recon(
            "basalt_neutron_parallel/sino_basalt.mat", "--center", "312.25", *options, geometry=BASALT
        )
        assert array.squeeze().shape == (640, 640)
        images[name] = array.squeeze()
    assert any("zingers removed" in note for note in made["notes"])
    smooth = gaussian_filter(images["without"], 3)
    y, x = np.indices(smooth.shape) - 319.5
    within = np.hypot(x, y) < 290
    threshold = np.median(smooth[within])
    beads = binary_erosion(within & (smooth > threshold + 0.08), iterations=4)
    gaps = binary_erosion(within & (smooth < threshold - 0.08), iterations=4)
    assert beads.sum() > 5000 and gaps.sum() > 1000
    cnr, noise = {}, {}
    for name, image in images.items():
        noise[name] = float(image[gaps].std())
        cnr[name] = float((image[beads].mean() - image[gaps].mean()) / noise[name])
        record_property(f"noise {name} zingers", noise[name])
        record_property(f"contrast to noise {name} zingers", cnr[name])
    print(f"basalt: noise {noise}, contrast to noise {cnr}")
    assert noise["without"] < 0.9 * noise["with"] and cnr["without"] > 1.1 * cnr["with"]


# --- synchrotron, neutron and laboratory files ---


def test_k11(record_property):
    array, image, made = recon("k11_nexus/k11-18014.nxs", geometry="first_deg = 90.0\nstep_deg = 0.06\n")
    assert array.shape == (22, 32, 32) and image.unit == "1/px" and made["scan"]["format"] == "NXtomo"
    record_property("mean", float(array.mean()))
    assert 0 < array.mean() < 0.05


@pytest.mark.parametrize("angles", ["file", "steps"])
def test_diamond_mrc(angles, record_property):
    pytest.importorskip("algotom")
    stated = "first_deg = -88.2\nstep_deg = 2.0\n"
    if angles == "file":
        stated = 'angles = "ccpi_angles_deg.npy"\nangles_unit = "deg"\n'
    array, _, made = recon("dls_standard_parallel3d/projections.mrc", "--center", "auto", geometry=stated)
    record_property("axis", axis(made))
    assert array.shape == (135, 176, 176) and 85.5 <= axis(made) <= 86
    assert "1 dead detector pixels replaced from their neighbours" in made["notes"]
    metal = np.argwhere(array > 0.08)  # the pin stands near the axis, in the middle of the rows
    assert len(metal) > 100 and np.abs(metal[:, 1:].mean(axis=0) - 87.5).max() < 30


def test_neutron_full_turn(record_property):
    pytest.importorskip("algotom")
    array, _, made = recon(
        "sarepy_neutron_360/sinogram_360_neutron_image.tif",
        *("--center", "auto", "--zingers", "--rings", "all"),
        geometry="span_deg = 360\nopen_beam = 46950\n",
    )
    array = array.squeeze()
    record_property("axis", axis(made))
    assert array.shape == (528, 528) and axis(made) == pytest.approx(245, abs=0.5)
    rods = array > 0.5 * np.percentile(array, 99.5)  # one rod is far denser than the other four
    assert 0.001 < rods.mean() < 0.05


def test_rock_rings(record_property):
    pytest.importorskip("algotom")
    about = {}
    for name, options in {"raw": [], "clean": ["--rings", "all"]}.items():
        array, image, made = recon("rock_rings/Sinogram_Rock_sample_3D.nxs", "--center", "auto", *options)
        assert axis(made) == pytest.approx(198, abs=0.5)
        assert array.shape == (5, 416, 416) and image.unit == "1/mm"
        assert image.spacing == pytest.approx((0.065, 0.065, 0.065), rel=1e-3)
        about[name] = _ring_strength(array[2])
        record_property(f"rings {name}", about[name])
    print(f"rock: rings {about}")
    assert about["clean"] < 0.5 * about["raw"]
    assert any("separate fans" in note for note in made["notes"])


def _ring_strength(image: np.ndarray) -> float:
    """Jumps of the mean over circles about the axis."""
    y, x = np.indices(image.shape) - (image.shape[0] - 1) / 2
    radius = np.hypot(x, y).round().astype(int)
    mean = np.bincount(radius.ravel(), image.ravel()) / np.maximum(np.bincount(radius.ravel()), 1)
    return float(np.abs(np.diff(mean[10:180])).mean())


def test_a_cone_scan_is_refused_but_its_central_row_is_a_fan(capsys):
    path = str(measured("pepper_cone/pepper_full_bin8.h5"))
    Path("g.toml").write_text(
        'beam = "fan"\nstep_deg = 1\npitch = 0.4\nsource_to_axis = 410.66\nsource_to_detector = 553.74\n'
        'kind = "counts"\nopen_beam = 60000\n'
    )
    assert main(["recon", path, "--geometry", "g.toml", "-o", "out"]) == 2
    assert "cone-beam scan, which needs a 3D method" in capsys.readouterr().err
    assert main(["recon", path, "--geometry", "g.toml", "-o", "out", "--rows", "148", "--quiet"]) == 0
    assert np.isfinite(read_image("out/image.nii.gz").array).all()
