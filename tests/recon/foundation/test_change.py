"""What the network does otherwise where there is noise alone: a change that nothing else notices."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.operators import ParallelBeam, Volume, XRay  # noqa: E402
from rayfold.operators.noise import Gaussian  # noqa: E402
from rayfold.recon import Problem  # noqa: E402
from rayfold.recon.errors import InconsistentInput  # noqa: E402
from rayfold.recon.foundation import FoundationPrior, load_prior, save_prior  # noqa: E402
from rayfold.recon.foundation.adapt import adapt  # noqa: E402
from rayfold.recon.foundation.change import Change  # noqa: E402
from rayfold.recon.foundation.lowrank import adaptable, merged  # noqa: E402
from rayfold.recon.foundation.sampling import sample  # noqa: E402
from rayfold.recon.phantoms import draw  # noqa: E402
from rayfold.recon.train.config import read_config  # noqa: E402
from rayfold.recon.train.run import train  # noqa: E402


def random_change(network, rank=2, seed=0):
    """A change of every convolution, about a tenth of its weights."""
    generator = torch.Generator().manual_seed(seed)
    factors = {}
    for key, weight in network.state_dict().items():
        rows, columns = weight.flatten(1).shape
        a = torch.randn(rank, columns, generator=generator)
        b = torch.randn(rows, rank, generator=generator) * 0.1 * float(weight.std()) / rank**0.5
        factors[key.removesuffix(".weight")] = b, a
    return Change(factors)


@pytest.fixture
def changed(prior):
    return replace(prior, change=random_change(prior.network))


def noisy(seed=0):
    return np.random.default_rng(seed).normal(1.0, 0.1, (2, 24, 20)).astype(np.float32)


def apart(a, b):
    return float(np.abs(a - b).max() / np.abs(b).max())


def scan(side=24):
    A = XRay(Volume((side, side)), ParallelBeam.evenly(10, side))
    truth = np.abs(draw((side, side), 3, family="dead_leaves")).astype(np.float32)
    noise = Gaussian(0.1)
    return Problem(A, noise.sample(A(truth), 0).astype(np.float32), noise)


def test_only_what_sees_noise_alone_is_changed(changed, prior):
    x = noisy()
    assert apart(changed.denoise(x, 0.1), prior.denoise(x, 0.1)) > 1e-4
    np.testing.assert_allclose(
        changed.score(x, 0.1), (changed.denoise(x, 0.1) - x) / 0.01, rtol=1e-4, atol=1e-4
    )
    np.testing.assert_array_equal(changed.for_iterations.denoise(x, 0.1), prior.denoise(x, 0.1))
    np.testing.assert_array_equal(changed.prox(x, 0.01), prior.prox(x, 0.01))
    np.testing.assert_array_equal(changed.restore(scan()), prior.restore(scan()))
    assert apart(sample(changed, scan(), 2, steps=2), sample(prior, scan(), 2, steps=2)) > 1e-4
    assert prior.for_iterations is prior and prior.alone is prior.network


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_scale_and_phase(changed, scale):
    """It stays a network without bias: ``f(a x, a s) = a f(x, s)``, and complex images keep their phase."""
    x = noisy()
    one = changed.denoise(x, 0.1)
    assert apart(changed.denoise(np.float32(scale) * x, 0.1 * scale) / np.float32(scale), one) < 1e-5
    z = (x + 1j * noisy(1)).astype(np.complex64)
    turn = np.complex64(np.exp(0.7j))
    assert apart(changed.denoise(turn * z, 0.1), turn * changed.denoise(z, 0.1)) < 1e-5


def test_is_the_product_of_its_factors(prior):
    change = random_change(prior.network)
    made, before = change.applied(prior.network).state_dict(), prior.network.state_dict()
    for layer, (b, a) in change.factors.items():
        key = f"{layer}.weight"
        torch.testing.assert_close(
            made[key] - before[key], (b @ a).reshape(before[key].shape), atol=1e-6, rtol=0
        )
    again = Change.of(change.state()).state()
    assert again.keys() == change.state().keys()
    assert all(torch.equal(again[key], value) for key, value in change.state().items())


def test_parted_from_what_was_trained(prior):
    network, _ = adaptable(prior.network, prior.schedule, "lora", rank=2)
    with torch.no_grad():
        for key, value in network.named_parameters():
            if key.endswith(".b"):
                value.normal_()
    plain, change = Change.parted(network.state_dict())
    assert all(torch.equal(plain[key], value) for key, value in prior.network.state_dict().items())
    assert change is not None
    for key, value in change.applied(prior.network).state_dict().items():
        torch.testing.assert_close(value, merged(network).state_dict()[key])
    plain, change = Change.parted(prior.network.state_dict())
    assert change is None and plain.keys() == prior.network.state_dict().keys()


def test_a_file_brings_it_back(changed, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_prior(path, changed.network, changed.schedule, {}, changed.change)
    again = replace(FoundationPrior.load(path, device="cpu"), poses=changed.poses)
    assert apart(again.denoise(noisy(), 0.1), changed.denoise(noisy(), 0.1)) < 2e-3  # half precision on disk
    assert apart(again.prox(noisy(), 0.01), changed.prox(noisy(), 0.01)) < 2e-3


def test_one_of_another_network_is_refused(prior, tmp_path):
    wrong = Change({"tail": (torch.ones(3, 1), torch.ones(1, 5))})
    with pytest.raises(ValueError, match="the change of tail does not fit the network"):
        wrong.applied(prior.network)
    path = tmp_path / "wrong.safetensors"
    save_prior(path, prior.network, prior.schedule, {}, wrong)
    with pytest.raises(InconsistentInput, match=r"wrong\.safetensors do not fit"):
        load_prior(path)


def test_adaptation_keeps_it(changed):
    """What is adapted are the weights that both share; the change is added to them as before."""
    made = adapt(
        changed, scan(16), mode="full", loss="sure", steps=2, every=1, rate=1e-3, held_out=[scan(16)]
    )
    assert made.change is changed.change
    for key, value in made.alone.state_dict().items():
        difference = changed.alone.state_dict()[key] - changed.network.state_dict()[key]
        torch.testing.assert_close(value - made.network.state_dict()[key], difference, atol=1e-5, rtol=0)


def test_training_leaves_the_weights_that_it_began_with(tmp_path):
    config = replace(
        read_config("change-base"), size="small", start="small", rank=2, steps=4, save=2, average=0.0
    )
    config = replace(
        config,
        images=replace(config.images, side=64, window=4),
        denoise=replace(config.denoise, batch=2, side=32),
    )
    train(config, tmp_path / "run", device="cpu")
    before, made = load_prior("small"), load_prior(tmp_path / "run" / "weights.safetensors")
    assert before.change is None and made.change is not None
    for part in ("network", "schedule"):
        old, new = (getattr(each, part).state_dict() for each in (before, made))
        assert all(torch.equal(new[key], value) for key, value in old.items())
    assert max(float((b @ a).abs().max()) for b, a in made.change.factors.values()) > 1e-5


def test_removal_of_noise_is_trained_on_from_what_there_is(tmp_path):
    start, held = tmp_path / "start.safetensors", load_prior("small")
    save_prior(start, held.network, held.schedule, {}, random_change(held.network, rank=2))
    config = replace(
        read_config("change-base"), size="small", start=str(start), rank=2, steps=2, save=1, average=0.0
    )
    config = replace(
        config,
        rate=1e-9,
        warmup=0,
        images=replace(config.images, side=64, window=4),
        denoise=replace(config.denoise, batch=1, side=32),
    )
    train(config, tmp_path / "run", device="cpu")
    before, made = load_prior(start), load_prior(tmp_path / "run" / "weights.safetensors")
    assert before.change is not None and made.change is not None
    old, new = (each.change.applied(each.network).state_dict() for each in (before, made))
    for key, value in before.network.state_dict().items():
        assert torch.equal(made.network.state_dict()[key], value)
        torch.testing.assert_close(new[key], old[key], atol=2e-4 * float(value.abs().max()), rtol=2e-3)


def test_restoring_moves_the_weights_and_not_what_removes_noise(tmp_path):
    config = replace(
        read_config("change-restore-base"), size="small", start="small", rank=2, steps=3, save=2, average=0.0
    )
    config = replace(config, rate=0.01, warmup=0)
    config = replace(
        config,
        images=replace(config.images, side=64, window=4),
        restore=replace(config.restore, batch=2, side=32),
    )
    train(config, tmp_path / "run", device="cpu")
    loss = (tmp_path / "run" / "loss.csv").read_text().splitlines()[1].split(",")
    assert loss[1] == "" and any(loss[2:5])  # scans and nothing else
    before, made = load_prior("small"), load_prior(tmp_path / "run" / "weights.safetensors")
    assert made.change is not None
    alone = made.change.applied(made.network).state_dict()
    moved = 0.0
    for key, old in before.network.state_dict().items():
        moved = max(moved, float((made.network.state_dict()[key] - old).abs().max()))
        torch.testing.assert_close(alone[key], old, atol=2e-4 * float(old.abs().max()), rtol=2e-3)  # float16
    assert moved > 1e-3
    told, kept = made.schedule.state_dict(), before.schedule.state_dict()
    assert not all(torch.equal(told[key], value) for key, value in kept.items())


def test_weights_to_start_from_must_stay(tmp_path, prior):
    """What removes noise alone is told from them at the end: others would spoil it without a word."""
    start = tmp_path / "start.safetensors"
    other = random_change(prior.network).applied(prior.network)
    save_prior(start, load_prior("small").network, prior.schedule, {})
    config = read_config("change-restore-base")
    config = replace(
        config,
        size="small",
        start=str(start),
        rank=1,
        steps=1,
        images=replace(config.images, side=64, window=4),
        restore=replace(config.restore, batch=1, side=32),
    )
    save_prior(tmp_path / "other.safetensors", other, prior.schedule, {})

    def swap(*_):
        start.write_bytes((tmp_path / "other.safetensors").read_bytes())

    with pytest.raises(InconsistentInput, match="no longer holds the weights"):
        train(config, tmp_path / "run", device="cpu", progress=swap)


def test_added_taken_back_and_of_lower_rank(prior):
    one, then = (random_change(prior.network, rank=3, seed=seed) for seed in (0, 1))
    moved = one.applied(prior.network)
    for change, wanted in ((-one, prior.network), (then + -one, then.applied(prior.network))):
        assert all(b.shape[1] == a.shape[0] <= 6 for b, a in change.factors.values())
        for key, value in change.applied(moved).state_dict().items():
            torch.testing.assert_close(value, wanted.state_dict()[key], atol=1e-6, rtol=1e-5)
    low = (then + -one).of_rank(2)
    for layer, (b, a) in (then + -one).factors.items():
        full = b @ a
        best = torch.linalg.svdvals(full)[2:].square().sum().sqrt()  # the least error there is
        near = torch.linalg.matrix_norm(full - low.factors[layer][0] @ low.factors[layer][1])
        torch.testing.assert_close(near, best, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("family", ["foam", "random_ellipses", "ct_body", "mr_head"])
@pytest.mark.parametrize("sigma", [0.01, 0.05, 0.2])
def test_of_the_package_removes_noise_better(family, sigma):
    """Families that were held out among them; foam at weak noise gains least."""
    prior = FoundationPrior.load("base", device="cpu")
    truth = np.abs(draw((128, 128), 960007, family=family)).astype(np.float32)
    x = truth + np.random.default_rng(1).normal(0, sigma, truth.shape).astype(np.float32)
    errors = [np.square(p.denoise(x, sigma) - truth).mean() for p in (prior, prior.for_iterations)]
    assert 10 * np.log10(errors[1] / errors[0]) > 0.05
