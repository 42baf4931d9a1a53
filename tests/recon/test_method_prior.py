"""Method "prior": sinograms and k-space of every kind, what is recorded, and what is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.recon.mri.simulated import coil_maps, measured, phantom, places

from rayfold.operators import FFT, NUFFT, CartesianMask, CoilSensitivities, FanBeam, Gaussian, ParallelBeam
from rayfold.operators.fourier import ifft
from rayfold.operators.noise import PoissonTransmission
from rayfold.recon import (
    InconsistentInput,
    Problem,
    Scan,
    UnreadableInput,
    prior_method,
    reconstruct,
    simulate,
)
from rayfold.recon.cli import main
from rayfold.recon.ellipses import ellipse_sinogram
from rayfold.recon.foundation import FoundationPrior
from rayfold.recon.foundation.bands import levels_of
from rayfold.recon.foundation.convert import tensors
from rayfold.recon.foundation.files import file_of
from rayfold.recon.io import write_kspace, write_scan
from rayfold.recon.kspace import KSpace
from rayfold.recon.methods import plan
from rayfold.recon.mri.methods import solve_kspace
from rayfold.recon.prior_method import Restorer
from rayfold.recon.shipped import DEFAULT
from rayfold.recon.trajectories import radial

MU = 0.02
DISC = [[MU, 30.0, 30.0, 4.0, -6.0, 0.0]]
FAN = FanBeam.evenly(60, 72, pitch=2.4, source_to_axis=300.0, source_to_detector=480.0)
BEAMS = {
    "parallel": ParallelBeam.evenly(60, 72, pitch=1.4),
    "fan": FAN,
    "curved": replace(FAN, curved=True),
    "limited": ParallelBeam(np.deg2rad(np.arange(0, 120, 2.0)), 72, pitch=1.4),
}
SHA = hashlib.sha256(file_of(DEFAULT).read_bytes()).hexdigest()


def noisy(beam, photons=2e3, stated=True) -> Scan:
    scan = simulate(DISC, beam, PoissonTransmission(photons), seed=1, mu_water=MU)
    return scan if stated else replace(scan, photons=None)


def inside(image, radius=20.0):
    ny, nx = image.shape[-2:]
    py = (np.arange(ny) - (ny - 1) / 2) * image.spacing[-2]
    px = (np.arange(nx) - (nx - 1) / 2) * image.spacing[-1]
    return image.array[..., np.hypot(px - 4.0, py[:, None] + 6.0) < radius]


# --- sinograms ---


@pytest.mark.parametrize("stated", [True, False])
@pytest.mark.parametrize("name", BEAMS)
def test_sinograms(name, stated):
    """Amplitude right, noise gone, nothing below 0; the dose is estimated where it is not stated."""
    scan = noisy(BEAMS[name], stated=stated)
    image, before = reconstruct(scan, "prior"), reconstruct(scan, "fbp")
    assert image.array.dtype == np.float32 and image.array.min() >= 0 and image.shape == before.shape
    assert inside(image).mean() == pytest.approx(MU, rel=0.15 if name == "limited" else 0.02)
    assert inside(image).std() < 0.5 * inside(before).std()
    notes = image.provenance["notes"]
    assert any("were estimated from the data" in note for note in notes) != stated
    used = image.provenance["prior"]
    assert used["weights"] == DEFAULT and used["sha256"] == SHA and used["strength"] == 1.0
    assert used["precision"] == "float32" and used["parameters"] > 1e5
    assert image.provenance["method"] == "prior"


def test_strength_keeps_more_of_the_noise():
    scan = noisy(BEAMS["parallel"])
    rough = [inside(reconstruct(scan, "prior", strength=s)).std() for s in (0.3, 1.0)]
    assert rough[0] > 1.2 * rough[1]


def test_thorough(here, capsys):
    """Other steps, said beforehand and on record, in Python and by command, for both modalities."""
    scan = noisy(BEAMS["parallel"])
    short, long = (reconstruct(scan, "prior", thorough=way, grid=48) for way in (False, True))
    assert 1e-3 < np.abs(short.array - long.array).max() / short.array.max() < 0.5
    assert inside(long).mean() == pytest.approx(MU, rel=0.02)
    assert [x.provenance["prior"]["steps"] for x in (short, long)] == [5, 24]
    write_scan("ct.h5", scan)
    write_kspace("mri.h5", undersampled())
    for name in ("ct", "mri"):
        command = ["recon", f"{name}.h5", "-o", name, "--method", "prior", "--thorough", "--quiet"]
        assert main([*command, "--dry-run"]) == 0
        assert "24" in capsys.readouterr().out
        assert main([*command, *(["--grid", "48"] if name == "ct" else [])]) == 0
        record = json.loads(Path(name, "provenance.json").read_text())["prior"]
        assert record["thorough"] is True and record["steps"] == 24


def test_counts_in_pixels_and_bfloat16():
    scan = noisy(ParallelBeam.evenly(60, 72))
    scan = replace(scan, unit="px", mu_water=None)
    image = reconstruct(scan, "prior")
    half = reconstruct(scan, "prior", precision="bfloat16")
    assert image.unit == half.unit == "1/px" and half.provenance["prior"]["precision"] == "bfloat16"
    apart = np.abs(image.array - half.array).max() / image.array.max()
    assert 0 < apart < 0.1


def test_slices_one_by_one_are_the_slices_together(monkeypatch):
    """Memory is bounded by the number of pixels at once; nothing else changes, progress reaches its end."""
    attenuation = -np.log(np.maximum(noisy(BEAMS["parallel"]).data, 0.5) / 2e3).astype(np.float32)
    stack = np.repeat(attenuation[:, None], 10, axis=1)
    scan = Scan(stack, BEAMS["parallel"], "attenuation", photons=2e3)
    one = reconstruct(replace(scan, data=attenuation), "prior", grid=48)
    calls: list[tuple[int, int]] = []
    sizes: list[int] = []
    own = FoundationPrior.restore

    def watched(self, problem, **options):
        sizes.append(len(problem.y))
        return own(self, problem, **options)

    monkeypatch.setattr(FoundationPrior, "restore", watched)
    monkeypatch.setattr(prior_method, "AT_ONCE", 3 * 48 * 48)
    image = reconstruct(scan, "prior", grid=48, progress=lambda i, n: calls.append((i, n)))
    assert image.shape == (10, 48, 48) and sizes == [3, 3, 2, 2]
    assert calls == sorted(calls) and calls[-1][0] == calls[-1][1]
    for each in image.array:
        np.testing.assert_allclose(each, one.array, atol=2e-4 * MU)


def test_memory_grows_with_the_grid_and_not_with_the_slices():
    beam = BEAMS["parallel"]
    few, many = (Scan(np.ones((60, n, 72), np.float32), beam, "attenuation") for n in (8, 80))
    more = plan(many, "prior").bytes - plan(few, "prior").bytes
    assert more == 4 * 72 * (plan(many).volume.shape[0] ** 2 + 60 * 72)
    assert plan(few, "prior", grid=512).bytes < 2e9


# --- k-space ---


def head(lines=None, noise=0.01, coils=4, shape=(48, 48)):
    rng = np.random.default_rng(0)
    data = measured(shape, coils)
    size = np.abs(ifft(data, (-2, -1))).max() * noise

    def drawn(*dims):
        return size * (rng.standard_normal(dims) + 1j * rng.standard_normal(dims))

    sampled = None if lines is None else np.broadcast_to(lines[:, None], shape).copy()
    data = data + drawn(coils, *shape)
    if sampled is not None:
        data = data * sampled
    return KSpace(
        data.astype(np.complex64),
        ("coil", "ky", "kx"),
        sampled=sampled,
        noise=drawn(coils, 600).astype(np.complex64),
        field_of_view=(96.0, 96.0),
    )


def undersampled(**options):
    lines = np.arange(48) % 2 == 0
    lines[16:32] = True
    return head(lines, **options)


def correlation(a, b):
    a, b = (np.abs(np.asarray(v)).ravel() for v in (a, b))
    return float(np.corrcoef(a, b)[0, 1])


def test_cartesian_k_space_of_several_coils():
    exact = np.abs(reconstruct(head(noise=1e-4), "mvue").array)
    made = solve_kspace(undersampled(noise=0.03), "prior")
    image, plain = (
        np.abs(made.series.array),
        np.abs(solve_kspace(undersampled(noise=0.03), "sense").series.array),
    )
    assert correlation(image, exact) > correlation(plain, exact)
    used = made.series.provenance["prior"]
    assert used["sha256"] == SHA and made.series.provenance["method"] == "prior"
    problem, x = made.problem(())
    assert x.shape == problem.A.in_shape  # ready to be certified


def test_what_is_told_of_the_noise_is_right_where_maps_end():
    """Maps are 0 beside the head: that is no error of the image."""
    shape = (48, 48)
    maps = coil_maps(shape, 4)
    y, x = places(shape)
    fade = 1 / (1 + np.exp((np.hypot(y / 0.42, x / 0.36) - 1.05) / 0.03))  # the head is within 1
    maps = (maps / np.sqrt((np.abs(maps) ** 2).sum(0)) * fade).astype(np.complex64)
    lines = np.zeros(shape, np.float32)
    lines[::2] = lines[16:32] = 1
    A = CartesianMask(shape, lines) @ FFT(shape) @ CoilSensitivities(maps)
    image = (40 * phantom(shape)).astype(np.complex64)
    drawn = np.random.default_rng(0).standard_normal((2, 4, *shape))
    data = (A(image) + (drawn[0] + 1j * drawn[1]) * lines).astype(np.complex64)
    problem = tensors(Problem(A, data, Gaussian.from_weights(lines)))
    state = FoundationPrior.load(DEFAULT, device="cpu").steps().init(problem)
    error = torch.fft.fft2((state.x - torch.from_numpy(image)) * torch.from_numpy(fade > 0.5), norm="ortho")
    ratio = state.levels * state.scale / levels_of(error.abs() ** 2 / 2)
    print(ratio)
    assert ratio.min() > 0.5 and ratio.max() < 3


def test_one_coil_and_several_echoes():
    scan = head(coils=1, noise=0.03)
    both = KSpace(np.stack([scan.data, 0.5 * scan.data]), ("echo", *scan.axes), noise=scan.noise)
    series = reconstruct(both, "prior")
    assert series.shape == (2, 48, 48)
    assert correlation(series.array[0], reconstruct(scan, "rss").array) > 0.95
    ratio = np.vdot(series.array[0], series.array[1]) / np.vdot(series.array[0], series.array[0])
    assert abs(ratio) == pytest.approx(0.5, abs=0.03)


def test_spokes():
    full = head(noise=0.005)
    k = radial(32, 96)
    coils = ifft(full.data, (-2, -1))
    y = NUFFT((48, 48), k)(coils.astype(np.complex64))
    spokes = KSpace(y.astype(np.complex64), ("coil", "shot", "sample"), trajectory=k, matrix=(48, 48))
    image = reconstruct(spokes, "prior")
    assert correlation(image.array, reconstruct(full, "mvue").array) > 0.95


# --- what is refused, in one line ---


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"prior": "huge"}, UnreadableInput, "no weights 'huge'"),
        ({"precision": "float16"}, ValueError, "precision is 'float16'"),
        ({"strength": -1.0}, ValueError, "strength is -1"),
        ({"prior": 3}, TypeError, "prior is int"),
        ({"iterations": 0}, ValueError, "at least one"),
    ],
)
def test_bad_options(options, error, message):
    for scan in (noisy(BEAMS["parallel"]), undersampled()):
        with pytest.raises(error, match=message) as caught:
            reconstruct(scan, "prior", **options)
        assert "\n" not in str(caught.value)


def test_other_methods_take_no_prior():
    for scan, method in ((noisy(BEAMS["parallel"]), "tv"), (undersampled(), "sense")):
        with pytest.raises(ValueError, match="uses no learned prior"):
            reconstruct(scan, method, prior="small")


def test_cones_are_sent_to_the_central_slice():
    cone = Scan(np.ones((60, 9, 72), np.float32), FAN, "attenuation", row_pitch=2.4)
    with pytest.raises(ValueError, match=r"cone-beam scan.*central slice, row 4"):
        reconstruct(cone, "prior")


def test_a_prior_that_is_loaded_serves_too():
    prior = FoundationPrior.load(DEFAULT, device="cpu")
    scan = noisy(BEAMS["parallel"])
    a, b = (reconstruct(scan, "prior", prior=p, grid=48) for p in (prior, DEFAULT))
    np.testing.assert_array_equal(a.array, b.array)
    assert a.provenance["prior"]["weights"] == "FoundationPrior"
    assert Restorer.load(prior, steps=3).record()["steps"] == 3


# --- the command ---


@pytest.fixture
def here(tmp_path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_command_of_a_ct_scan(here, capsys):
    write_scan("scan.h5", noisy(FAN))
    weights = file_of(DEFAULT)
    (here / "mine.safetensors").write_bytes(weights.read_bytes())
    command = ["recon", "scan.h5", "-o", "out", "--method", "prior", "--strength", "0.8", "--grid", "64"]
    assert main([*command, "--weights", "mine.safetensors", "--precision", "bfloat16", "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["certificate"]["chi_square"] == pytest.approx(1, abs=0.5)
    record = json.loads(Path("out/provenance.json").read_text())
    assert record["prior"] | {"parameters": 0, "steps": 0} == {
        "weights": "mine.safetensors", "sha256": SHA, "strength": 0.8, "parameters": 0,
        "precision": "bfloat16", "steps": 0, "thorough": False,
    }  # fmt: skip
    assert record["configuration"]["recon"]["method"] == "prior" and str(here) not in json.dumps(record)
    page = Path("out/report.html").read_text()
    assert "mine.safetensors" in page and SHA[:12] in page
    assert main([*command[:3], "dry", *command[4:], "--dry-run"]) == 0
    assert "prior, 5 steps" in capsys.readouterr().out


def test_command_of_an_mri_scan(here, capsys):
    write_kspace("scan.h5", undersampled())
    assert main(["recon", "scan.h5", "-o", "out", "--method", "prior", "--quiet"]) == 0
    record = json.loads(Path("out/provenance.json").read_text())
    assert record["method"] == "prior" and record["prior"]["sha256"] == SHA
    assert record["prior"]["steps"] == 5 and not record["prior"]["thorough"]
    assert SHA[:12] in Path("out/report.html").read_text()


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--method", "tv", "--weights", "small"], 2, "leave --weights out, or choose --method prior"),
        (["--precision", "bfloat16"], 2, "leave --precision out"),
        (["--method", "sirt", "--thorough"], 2, "leave --thorough out, or choose --method prior"),
        (["--method", "prior", "--precision", "half"], 2, "float32 or bfloat16"),
        (["--method", "prior", "--weights", "none.safetensors"], 3, "no weights 'none.safetensors'"),
        (["--method", "prior", "--strength", "-1"], 2, "must be positive"),
        (["--method", "prior", "--filter", "hann"], 2, "prior has no filter"),
    ],
)
def test_command_refuses_in_one_line(here, capsys, options, code, message):
    write_scan("scan.h5", noisy(FAN))
    assert main(["recon", "scan.h5", "-o", "out", *options]) == code
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("rayfold")]
    assert len(err) == 1 and message in err[0] and not Path("out").exists()


def test_damaged_weights_are_refused(here):
    Path("w.safetensors").write_bytes(file_of(DEFAULT).read_bytes()[:5000])
    with pytest.raises((UnreadableInput, InconsistentInput), match=r"w\.safetensors"):
        reconstruct(noisy(FAN), "prior", prior="w.safetensors")


def test_corners_beyond_the_field_of_view_stay_empty():
    """Filtered back-projection has an offset there, which must not stay."""
    beam = ParallelBeam.evenly(24, 64, pitch=1.25)
    scan = Scan(clean_disc(beam), beam, "attenuation", photons=1e5)
    image = reconstruct(scan, "prior", grid=64)
    y, x = (np.arange(64) - 31.5) * 1.25, (np.arange(64) - 31.5) * 1.25
    beyond = np.hypot(x, y[:, None]) > 1.05 * beam.half_width
    assert np.abs(image.array[beyond]).mean() < 0.02 * MU
    assert inside(image).mean() == pytest.approx(MU, rel=0.01)


def clean_disc(beam):
    return ellipse_sinogram(np.asarray(DISC), beam).astype(np.float32)
