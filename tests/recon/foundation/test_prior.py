"""`FoundationPrior`: laws of denoise, prox, score and restore; libraries, noise models, files, bad input."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from tests.recon.foundation.scans import SIDE, ct, low_dose, mri, picture

from rayfold.operators import (
    FFT,
    Blur,
    CartesianMask,
    CoilSensitivities,
    Downsample,
    Gaussian,
    Identity,
    KSpaceCrop,
    LinearOperator,
    ParallelBeam,
    Volume,
    XRay,
)
from rayfold.recon import Problem
from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.foundation import FoundationPrior, Schedule, files, load_prior, save_prior
from rayfold.recon.foundation.frequencies import Frequencies
from rayfold.recon.foundation.information import information
from rayfold.recon.phantoms import draw
from rayfold.recon.priors import PlugAndPlay
from rayfold.recon.problem import estimate_noise
from rayfold.recon.shipped import DEFAULT, SHIPPED, STEPS
from rayfold.recon.solvers import CGLS, run


def apart(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return float(np.abs(a - b).max() / np.abs(b).max())


def noisy(side=SIDE, sigma=0.1, seed=0):
    return picture(side) + np.random.default_rng(seed).normal(0, sigma, (side, side)).astype(np.float32)


def rescaled(problem, scale):
    """Data and their noise times `scale`."""
    noise = problem.noise
    noise = Gaussian(noise.sigma * scale) if isinstance(noise.sigma, float) else Gaussian(scale * noise.sigma)
    return problem._replace(y=(scale * problem.y).astype(problem.y.dtype), noise=noise)


PROBLEMS = {"ct": ct, "mri": mri}


# --- denoise ---


@pytest.mark.parametrize("scale", [1e-4, 1e-2, 30.0, 1e4])
def test_denoise_knows_no_unit(prior, scale):
    x = noisy()
    one = prior.denoise(x, 0.1)
    assert apart(one, x) > 0.05
    assert apart(prior.denoise((scale * x).astype(np.float32), 0.1 * scale) / scale, one) < 1e-5


def test_denoise_turns_with_the_phase(prior):
    z = noisy() * np.exp(1j * np.linspace(0, 2, SIDE)).astype(np.complex64)
    turn = np.complex64(np.exp(2.1j))
    assert apart(prior.denoise(turn * z, 0.1), turn * prior.denoise(z, 0.1)) < 1e-5
    assert apart(prior.denoise(-z.real, 0.1), -prior.denoise(z.real, 0.1)) < 1e-5


def test_strength_nought_is_the_very_image(prior):
    for x in (noisy(), noisy().astype(np.float64), torch.randn(3, 4, 5), noisy() * np.complex64(1j)):
        assert prior.denoise(x, 0.1, strength=0) is x
    for strength in (0.2, 0.5, 1.0):  # and less of it keeps more
        removed = noisy() - prior.denoise(noisy(), 0.1, strength=strength)
        assert np.sqrt(np.square(removed).mean()) <= 1.101 * strength * 0.1


def test_maps_batches_and_bands(prior):
    x = np.stack([noisy(seed=k) for k in range(4)]).reshape(2, 2, SIDE, SIDE)
    one = prior.denoise(x, 0.1)
    assert apart(one[1, 0], prior.denoise(x[1, 0], 0.1)) < 1e-5  # a volume is its slices
    each = np.array([[0.1], [0.2]], np.float32)[..., None, None]
    found = prior.denoise(x, each)
    assert apart(found[0], one[0]) < 1e-5 and apart(found[1], prior.denoise(x[1], 0.2)) < 1e-5
    flat = np.full((SIDE, SIDE), 0.1, np.float32)
    assert apart(prior.denoise(x, flat), one) < 1e-5
    assert apart(prior.denoise(x, 0.1, bands=(1.0, 1.0, 1.0, 1.0)), one) < 1e-6
    colour = np.array([0.3, 0.6, 1.0, 2.0], np.float32)
    assert apart(prior.denoise(x, 0.1, bands=colour), one) > 0.01
    assert apart(prior.denoise(x, 0.2 * flat, bands=colour * 5), prior.denoise(x, flat, bands=colour)) < 1e-5


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.complex64, np.complex128])
def test_every_library_and_precision(prior, kind):
    jax = pytest.importorskip("jax")
    x = noisy().astype(kind)
    one = prior.denoise(x, 0.1)
    assert type(one) is np.ndarray and one.dtype == kind
    t = prior.denoise(torch.as_tensor(x), 0.1)
    assert isinstance(t, torch.Tensor) and apart(t, one) < 1e-6 and t.numpy().dtype == kind
    if kind in (np.float32, np.complex64):
        j = jax.numpy.asarray(x)
        for found in (prior.denoise(j, 0.1), jax.jit(lambda a: prior.denoise(a, 0.1))(j)):
            assert isinstance(found, jax.Array) and found.dtype == kind and apart(found, one) < 1e-6
        assert apart(prior.denoise(j, jax.numpy.full((1, 1), 0.1)), one) < 1e-6


def test_integers_and_arrays_that_cannot_be_written(prior):
    counts = np.round(100 * noisy()).astype(np.int16)
    assert apart(prior.denoise(counts, 10.0), prior.denoise(counts.astype(np.float32), 10.0)) == 0
    still = noisy()
    still.flags.writeable = False
    assert apart(prior.denoise(still, 0.1), prior.denoise(still.copy(), 0.1)) == 0
    other = still.astype(">f4")
    assert apart(prior.denoise(other, 0.1), prior.denoise(still, 0.1)) == 0


def test_prox_score_and_solvers(prior):
    x = noisy()
    np.testing.assert_array_equal(prior.prox(x, 0.01), prior.denoise(x, 0.1))
    score = prior.score(x, 0.1)
    np.testing.assert_allclose(x + 0.01 * score, prior.denoise(x, 0.1), atol=1e-6)
    plug = PlugAndPlay(prior.denoise, sigma=0.1)
    np.testing.assert_array_equal(plug.prox(x, 3.0), prior.denoise(x, 0.1))


def test_denoise_has_a_gradient(prior):
    x = torch.as_tensor(noisy()).requires_grad_()
    out = prior.denoise(x, 0.1)
    direction = torch.as_tensor(noisy(seed=5))
    (slope,) = torch.autograd.grad(out.square().sum(), x)
    h = 1e-2
    with torch.no_grad():
        up, down = (prior.denoise(x + s * h * direction, 0.1).double().square().sum() for s in (1, -1))
    assert float((slope * direction).sum()) == pytest.approx(float(up - down) / (2 * h), rel=1e-2)


def test_the_package_weights_denoise(small):
    truth = draw((96, 96), 5, family="ct_body")
    x = (truth + np.random.default_rng(0).normal(0, 0.1, truth.shape)).astype(np.float32)
    error = np.square(small.denoise(x, 0.1) - truth).mean()
    assert error < 0.2 * 0.01  # a fifth of the power of the noise is left, or less
    half = FoundationPrior(small.network, small.schedule, precision="bfloat16")
    assert apart(half.denoise(x, 0.1), small.denoise(x, 0.1)) < 0.02


# --- restore ---


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("scale", [1e-4, 0.1, 1e4])
def test_restore_knows_no_unit(prior, name, scale):
    problem = PROBLEMS[name]()
    one = prior.restore(problem)
    assert one.dtype == (np.complex64 if name == "mri" else np.float32)
    assert apart(prior.restore(rescaled(problem, scale)) / scale, one) < 1e-5


@pytest.mark.parametrize("mm", [1e-3, 0.1, 10.0, 1e3])
def test_units_of_length(small, mm):
    """The same object in m, cm and other units: attenuation in one over them, the same image."""
    image = picture()

    def found(unit):
        A = XRay(Volume((SIDE, SIDE), (unit, unit)), ParallelBeam.evenly(24, SIDE + 8, pitch=unit))
        data = Gaussian(0.1).sample(XRay(Volume((SIDE, SIDE)), ParallelBeam.evenly(24, SIDE + 8))(image), 0)
        return small.restore(Problem(A, data, Gaussian(0.1))) * unit

    assert apart(found(mm), found(1.0)) < 1e-5


def test_restore_turns_with_the_phase(prior):
    problem, turn = mri(), np.complex64(np.exp(1.1j))
    assert apart(prior.restore(problem._replace(y=turn * problem.y)), turn * prior.restore(problem)) < 1e-5
    real = ct()
    assert apart(prior.restore(real._replace(y=-real.y)), -prior.restore(real)) < 1e-5


def test_restore_of_complex_data_without_an_imaginary_part(small):
    """Noise is expected in both parts then, so that the images are alike but not the same."""
    problem = ct()
    both, real = small.restore(problem._replace(y=problem.y.astype(np.complex64))), small.restore(problem)
    assert both.dtype == np.complex64
    assert apart(both, real) < 0.05


def test_a_batch_is_a_loop(prior):
    problem = ct(lead=3)
    found = prior.restore(problem)
    for k in range(3):
        assert apart(found[k], prior.restore(problem._replace(y=problem.y[k]))) < 1e-4


def test_restore_in_every_library(prior):
    jax = pytest.importorskip("jax")
    for problem in (ct(), mri()):
        one = prior.restore(problem)

        def moved(make, problem=problem):
            sigma = problem.noise.sigma
            noise = problem.noise if isinstance(sigma, float) else Gaussian(make(sigma))
            return problem._replace(y=make(problem.y), noise=noise)

        t = prior.restore(moved(torch.as_tensor))
        assert isinstance(t, torch.Tensor) and apart(t, one) < 1e-5
        j = prior.restore(moved(jax.numpy.asarray))
        assert isinstance(j, jax.Array) and j.dtype == one.dtype and apart(j, one) < 1e-5
    double = prior.restore(ct()._replace(y=ct().y.astype(np.float64)))
    assert double.dtype == np.float64 and apart(double, prior.restore(ct())) < 1e-4


def test_restore_twice_is_the_same(prior):
    np.testing.assert_array_equal(prior.restore(ct()), prior.restore(ct()))


COUNTS = {"forth": 0, "back": 0}


@dataclass(frozen=True, eq=False)
class Counted(LinearOperator):
    """Counts images through an operator, forth and back."""

    op: LinearOperator
    field = "real"
    in_shape = property(lambda self: self.op.in_shape)
    out_shape = property(lambda self: self.op.out_shape)

    def apply(self, x, out, *, adjoint):
        COUNTS["back" if adjoint else "forth"] += int(np.prod(x.shape[: x.ndim - 2]))
        out[...] = self.op.H(x) if adjoint else self.op(x)


def test_at_most_16_pairs(small):
    problem = ct(side=32)
    small.restore(problem._replace(A=Counted(problem.A)))
    assert 10 <= (COUNTS["forth"] + COUNTS["back"]) / 2 <= 16
    assert COUNTS["back"] <= COUNTS["forth"]


def test_restore_is_the_solver_unrolled(prior):
    problem = ct()
    own = problem._replace(y=torch.as_tensor(problem.y))
    with torch.no_grad():
        found = run(prior.steps(), own, prior.schedule.steps).x
    assert apart(found, prior.restore(problem)) < 1e-6


def test_strength_of_restore(prior):
    problem = ct()
    plain = prior.restore(problem, strength=0)
    other = FoundationPrior(type(prior.network)((4, 4), 1).eval(), prior.schedule)
    np.testing.assert_array_equal(other.restore(problem, strength=0), plain)  # no network in it
    assert apart(prior.restore(problem), plain) > 1e-4


@pytest.mark.parametrize("name", PROBLEMS)
def test_restore_has_a_gradient(small, name):
    problem = PROBLEMS[name](side=16)
    noise = problem.noise if name == "ct" else Gaussian(torch.as_tensor(problem.noise.sigma))
    y = torch.as_tensor(problem.y).requires_grad_()

    def loss(data):
        return small.restore(Problem(problem.A, data, noise)).abs().double().square().sum()

    (slope,) = torch.autograd.grad(loss(y), y)
    direction = torch.as_tensor(0.1 * problem.y)
    h = 0.05
    with torch.no_grad():
        numeric = float(loss(y + h * direction) - loss(y - h * direction)) / (2 * h)
    assert slope.isfinite().all()
    assert float((slope.conj() * direction).real.sum()) == pytest.approx(numeric, rel=1e-2)


# --- noise models ---


def test_counted_photons(small):
    problem = low_dose()
    found, truth = small.restore(problem), 0.2 * picture()
    assert np.isfinite(found).all()
    assert np.square(found - truth).mean() < np.square(truth).mean() * 0.05


def test_noise_maps_and_numbers_agree(prior):
    problem = ct(sigma=0.05)
    even = problem._replace(noise=Gaussian(np.full(problem.A.out_shape, 0.05, np.float32)))
    assert apart(prior.restore(even), prior.restore(problem)) < 1e-5
    blind = np.full(problem.A.out_shape, 0.05, np.float32)
    blind[::4] = np.inf  # views that say nothing
    spoilt = problem.y.copy()
    spoilt[::4] = 7.0
    found = [prior.restore(Problem(problem.A, y, Gaussian(blind))) for y in (problem.y, spoilt)]
    assert np.isfinite(found[0]).all() and apart(found[1], found[0]) < 1e-4


def test_correlated_coils(small):
    """Whitening by hand is the same problem."""
    from rayfold.operators import FFT, CoilSensitivities

    problem = mri()
    maps = problem.A.parts[-1].maps
    A = FFT(maps.shape, (-2, -1)) @ CoilSensitivities(maps)
    y = A(picture().astype(np.complex64))
    covariance = 0.02**2 * np.array([[1.0, 0.4, 0], [0.4, 1.5, 0.2j], [0, -0.2j, 0.8]], np.complex64)
    half = np.linalg.cholesky(covariance)
    rng = np.random.default_rng(0)
    white = rng.standard_normal((2, 3, SIDE, SIDE)).astype(np.float32)
    y = (y + np.einsum("ij,jyx->iyx", half, white[0] + 1j * white[1])).astype(np.complex64)
    found = small.restore(Problem(A, y, Gaussian(covariance=covariance, axis=-3)))
    undo = np.linalg.inv(half)
    same = FFT(maps.shape, (-2, -1)) @ CoilSensitivities(
        np.einsum("ij,jyx->iyx", undo, maps).astype(np.complex64)
    )
    by_hand = small.restore(
        Problem(same, np.einsum("ij,jyx->iyx", undo, y).astype(np.complex64), Gaussian(1.0))
    )
    assert apart(found, by_hand) < 0.02


OPERATORS = {
    "identity": lambda n: Identity((n, n)),
    "blur": lambda n: Blur((n, n), 1.2),
    "binning": lambda n: Downsample((n, n), 2),
    "binned blur": lambda n: Downsample((n, n), 2) @ Blur((n, n), 1.0),
    "crop": lambda n: KSpaceCrop((n, n), n // 2, field="real"),
}


@pytest.mark.parametrize(
    ("name", "sigma"),
    [(name, s) for name in OPERATORS for s in (1e-5, 5e-3) if (name, s) != ("identity", 1e-5)],
)
def test_operators_of_other_kinds(small, name, sigma):
    """Neither rays nor samples of k-space: better than the conjugate gradients that the first image takes."""
    truth = draw((48, 48), 1, family="ct_body").astype(np.float32)
    A = OPERATORS[name](48)
    problem = Problem(A, Gaussian(sigma).sample(A(truth), 0), Gaussian(sigma))
    found, plain = (np.square(x - truth).mean() for x in (small.restore(problem), run(CGLS(), problem, 2).x))
    assert found < 0.5 * plain


def test_the_spectrum_of_a_mask_of_one_coil_is_the_mask():
    """Smoothed by one frequency, and no more; of several coils it is smooth."""
    mask = np.zeros((32, 32), np.float32)
    mask[::8] = 1
    maps = np.stack([np.full((32, 32), 0.5), np.linspace(0.2, 1, 32)[:, None] * np.ones(32)])
    A = CartesianMask((32, 32), mask) @ FFT((32, 32))
    y = torch.zeros(32, 32, dtype=torch.complex64)
    grid = Frequencies((32, 32), (0, 0))
    one = information(Problem(A, y, Gaussian(1.0)), None, grid)
    lines = torch.fft.fftshift(one, dim=(-2, -1)).mean(-1)
    assert lines[4] < 1e-4 * lines[8] and 0.4 < lines[8] < 0.6
    coils = A @ CoilSensitivities(maps.astype(np.complex64))
    several = information(Problem(coils, torch.stack([y, y]), Gaussian(1.0)), None, grid).mean(-1)
    assert several.min() > 0.5 * several.max()


def test_what_is_shipped():
    for name in SHIPPED:
        assert FoundationPrior.load(name, device="cpu").schedule.steps == STEPS
    assert DEFAULT in SHIPPED


def test_noise_that_is_not_stated_is_estimated(small):
    problem = ct(side=32, views=60)._replace(noise=None)
    told = small.restore(problem._replace(noise=estimate_noise(problem)))
    np.testing.assert_array_equal(small.restore(problem), told)


def test_identity_operator_is_denoising(small):
    truth = draw((96, 96), 5, family="ct_body")
    x = (truth + np.random.default_rng(0).normal(0, 0.1, truth.shape)).astype(np.float32)
    found = small.restore(Problem(Identity((96, 96)), x, Gaussian(0.1)))
    assert np.square(found - truth).mean() < 0.2 * 0.01


# --- files ---


def test_a_file_brings_back_the_same_prior(prior, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_prior(path, prior.network, prior.schedule, {"name": "mine"})
    again = FoundationPrior.load(path, device="cpu")
    assert again.card == {"name": "mine"}
    again = replace(again, poses=prior.poses)
    assert apart(again.denoise(noisy(), 0.1), prior.denoise(noisy(), 0.1)) < 2e-3  # half precision on disk
    assert "6 steps, cpu, float32" in repr(again)


@pytest.fixture
def installation(tmp_path, monkeypatch):
    """A copy of the package's weights that may be spoilt."""
    home = tmp_path / "weights"
    shutil.copytree(files.HOME, home)
    monkeypatch.setattr(files, "HOME", home)
    return home


def one_line(error):
    return "\n" not in str(error.value) and len(str(error.value)) < 200


def test_weights_that_were_changed_are_refused(installation):
    path = installation / "small.safetensors"
    load_prior("small")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        InconsistentInput, match=r"small.safetensors are not .*published.*; install rayfold again"
    ) as e:
        FoundationPrior.load("small")
    assert one_line(e)
    path.unlink()
    with pytest.raises(UnreadableInput, match="missing from this installation; install rayfold again") as e:
        FoundationPrior.load("small")
    assert one_line(e)


def test_files_that_are_no_prior(tmp_path):
    from rayfold.recon.train.files import write

    with pytest.raises(UnreadableInput, match="there are no weights 'huge'; give one of small, base, or"):
        FoundationPrior.load("huge")
    junk = tmp_path / "junk.safetensors"
    junk.write_bytes(b"nothing of the kind")
    with pytest.raises(UnreadableInput) as e:
        FoundationPrior.load(junk)
    assert one_line(e)
    write(junk, {"w": torch.ones(2)}, {"format": "other"})
    with pytest.raises(InconsistentInput, match="holds no prior"):
        FoundationPrior.load(junk)


def test_tensors_that_do_not_fit_are_refused(prior, tmp_path):
    from rayfold.recon.train.files import read, write

    path = tmp_path / "mine.safetensors"
    save_prior(path, prior.network, prior.schedule, {})
    tensors, about = read(path)
    write(path, tensors, about | {"widths": [8, 16, 32]})
    with pytest.raises(InconsistentInput, match="do not fit its own description") as e:
        load_prior(path)
    assert one_line(e)


# --- bad input ---


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda p: p.denoise(np.ones(5, np.float32), 0.1),
            r"x has shape \(5,\); give images \(..., ny, nx\)",
        ),
        (lambda p: p.denoise(noisy(), -0.1), "sigma holds negative values"),
        (lambda p: p.denoise(noisy(), np.ones(3, np.float32)), r"sigma has shape \(3,\); give a number"),
        (lambda p: p.denoise(noisy(), 0.1, bands=(1, 2)), r"bands has shape \(2,\); its last axis holds 4"),
        (lambda p: p.denoise(noisy(), 0.1, strength=-1), "strength is -1"),
        (lambda p: p.denoise(noisy(), float("nan")), "sigma holds"),
        (lambda p: p.restore(ct(), strength=-1), "strength is -1"),
        (lambda p: p.restore(ct()._replace(y=np.ones((3, 3), np.float32))), "expects"),
        (lambda p: p.restore(ct()._replace(y=np.full_like(ct().y, np.nan))), "finite"),
        (lambda p: p.restore(ct(), n=0), "n is 0"),
        (lambda p: FoundationPrior(p.network, p.schedule, precision="half"), "precision is 'half'"),
        (lambda p: FoundationPrior(p.network, p.schedule, poses=3), "poses is 3; it must be 1, 2 or 4"),
    ],
)
def test_bad_input_in_one_line(prior, call, message):
    with pytest.raises(ValueError, match=message) as e:
        call(prior)
    assert one_line(e)


def test_schedule_goes_on_with_its_last_numbers():
    schedule = Schedule(2)
    with torch.no_grad():
        schedule.told[1] = 1.0
    levels = torch.ones(4)
    assert torch.equal(schedule.level(7, levels), schedule.level(1, levels))
    assert not torch.equal(schedule.level(0, levels), schedule.level(1, levels))


def test_published_names_every_file(small):
    held = json.loads((files.HOME / "published.json").read_text())
    assert held["small.safetensors"] == files.digest(files.HOME / "small.safetensors")
    assert sum(p.numel() for p in small.network.parameters()) == pytest.approx(1.04e6, rel=0.05)
