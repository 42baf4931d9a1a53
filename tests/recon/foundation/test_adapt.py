"""Adaptation: exact at the start, merged without loss, kept only if held-out data are predicted better."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.recon.errors import OutputFailure  # noqa: E402
from rayfold.recon.foundation import FoundationPrior, Schedule, files  # noqa: E402
from rayfold.recon.foundation.adapt import PATIENCE, Restoration, _some_held, adapt, save  # noqa: E402
from rayfold.recon.foundation.convert import single, tensors  # noqa: E402
from rayfold.recon.foundation.lowrank import MODES, adaptable, merged  # noqa: E402
from rayfold.recon.foundation.measured import metric_of  # noqa: E402
from rayfold.recon.foundation.network import build  # noqa: E402
from rayfold.recon.train.sample import Sample  # noqa: E402

from .conftest import random_network  # noqa: E402
from .scans import ct, low_dose, mri, picture  # noqa: E402


@pytest.fixture(scope="module")
def tiny():
    return FoundationPrior(
        random_network((8, 8)), Schedule(2).eval().requires_grad_(False), {"name": "tiny"}, poses=1
    )


def trained(network):
    """The same with all that is trained moved at random."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for p in network.parameters():
            if p.requires_grad:
                p += 0.1 * torch.randn(p.shape, generator=generator) * p.abs().mean().clamp(min=0.1)
    return network


@pytest.mark.parametrize("mode", MODES)
def test_the_start_is_exact(tiny, mode):
    network, schedule = adaptable(tiny.network, tiny.schedule, mode)
    problem = ct(8, 16)
    own = single(tensors(problem).quadratic())
    with torch.no_grad():
        x = Restoration(network, schedule)(own)
    np.testing.assert_allclose(x.numpy(), tiny.restore(problem), rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_merged_weights_do_the_same_and_stay_homogeneous(tiny, mode):
    network = trained(adaptable(tiny.network, tiny.schedule, mode)[0])
    x, levels = torch.randn(1, 2, 16, 16), torch.full((1, 4, 1, 1), 0.3)
    with torch.no_grad():
        moved, start = network(x, levels), tiny.network(x, levels)
        plain = merged(network)
        assert (moved - start).abs().max() > 1e-4
        torch.testing.assert_close(plain(x, levels), moved, rtol=0, atol=1e-6)
        torch.testing.assert_close(plain(1e3 * x, 1e3 * levels), 1e3 * moved, rtol=0, atol=2e-3)
    assert plain.state_dict().keys() == tiny.network.state_dict().keys()
    assert not any(p.requires_grad for p in plain.parameters())


def test_how_much_is_trained():
    counts = {}
    for mode in MODES:
        parts = adaptable(build("base"), Schedule(6), mode)
        counts[mode] = sum(p.numel() for part in parts for p in part.parameters() if p.requires_grad)
    assert counts["gain"] < 100
    assert counts["lora"] < 0.1 * counts["full"]


@pytest.mark.parametrize("loss", ["sure", "splitting", "equivariance"])
@pytest.mark.parametrize("scan", [mri, low_dose], ids=["complex", "photons"])
def test_without_true_images_only_numbers_that_are_trained_change(tiny, loss, scan):
    before = {k: v.clone() for k, v in tiny.network.state_dict().items()}
    made = adapt(tiny, scan(side=16), mode="gain", loss=loss, steps=2, every=1)
    record = made.card["adapted"]
    assert record["steps"] == [0, 1, 2]
    assert np.isfinite(record["held_out"]).all()
    assert made.card["name"] == "tiny"
    assert "adapted" not in tiny.card
    for name, value in tiny.network.state_dict().items():
        assert torch.equal(value, before[name])
        if "second" not in name:  # gains are on the second convolution of each block
            assert torch.equal(made.network.state_dict()[name], value)


@pytest.mark.parametrize(
    ("missed", "best"),
    [([3.0, 3.1, 3.2, 3.3], 0), ([3.0, 2.0, 1.0, 1.0, 1.5, 1.2], 2)],
    ids=["never", "once"],
)
def test_it_ends_when_nothing_gets_better_and_keeps_the_best(tiny, monkeypatch, missed, best):
    looks, states = iter(missed), []

    def look(model, _):
        states.append({k: v.clone() for k, v in model.network.state_dict().items()})
        return next(looks)

    monkeypatch.setattr("rayfold.recon.foundation.adapt._look", look)
    made = adapt(tiny, ct(8, 16), mode="full", steps=20, every=1)
    record = made.card["adapted"]
    assert (record["best"], record["done"]) == (best, best + PATIENCE)
    assert record["held_out"] == missed
    for name, value in made.network.state_dict().items():
        assert torch.equal(value, states[best][name])
        assert torch.equal(states[0][name], tiny.network.state_dict()[name])


def test_one_of_many_scans_and_their_truth(tiny):
    problem = ct(8, 16, lead=5)
    truth = np.stack([picture(16, k) for k in range(5)])
    held = [Sample(ct(8, 16, lead=1), picture(16)[None])]
    how = {"mode": "full", "loss": "supervised", "steps": 4, "every": 2, "rate": 3e-3, "batch": 2}
    made, again = (adapt(tiny, Sample(problem, truth), held_out=held, **how) for _ in range(2))
    record = made.card["adapted"]
    assert min(record["held_out"]) < record["held_out"][0]
    for name, value in made.network.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name])


def test_scans_are_held_out_of_every_sample():
    few, many = Sample(ct(8, 16, lead=2), torch.zeros(2, 16, 16)), Sample(ct(6, 16, lead=10), None)
    single = Sample(ct(8, 16), None)
    seen, held = _some_held([few, single, many], 0.2)
    assert [len(s.problem.y) for s in seen] == [1, 8, 8] and seen[1] is single
    assert [len(s.problem.y) for s in held] == [1, 2] and held[0].truth.shape == (1, 16, 16)
    seen, held = _some_held([single] * 5, 0.2)
    assert (len(seen), len(held)) == (4, 1)
    assert _some_held([single], 0.2) == ([single], 0.2)


def test_scans_made_on_the_way(tiny):
    def task(generator):
        seed = int(torch.randint(100, (), generator=generator))
        return Sample(ct(8, 16), picture(16, seed))

    made = adapt(tiny, task, mode="lora", loss="supervised", steps=2, held_out=[ct(8, 16)])
    assert made.card["adapted"]["done"] == 2
    with pytest.raises(ValueError, match="made on the way"):
        adapt(tiny, task, loss="supervised", steps=2)


def test_files(tiny, tmp_path):
    made = adapt(tiny, ct(8, 16), mode="lora", steps=2, rate=1e-2)
    path = tmp_path / "adapted.safetensors"
    save(path, made)
    back = FoundationPrior.load(path, device="cpu", poses=1)
    assert back.card == made.card
    assert np.abs(back.restore(ct(8, 16)) - made.restore(ct(8, 16))).max() < 2e-3
    with pytest.raises(OutputFailure, match="already there"):
        save(path, made)
    shipped = files.HOME / "small.safetensors"
    before = shipped.stat().st_mtime_ns
    with pytest.raises(OutputFailure, match="weights of the package"):
        save(shipped, made, force=True)
    assert shipped.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "loar"}, "mode is 'loar'; it must be one of gain, lora, full"),
        ({"loss": "l2"}, "loss is 'l2'; it must be one of sure"),
        ({"loss": "supervised"}, "needs a true image with every scan"),
        ({"steps": 0}, "steps is 0"),
        ({"rank": 0}, "rank is 0"),
        ({"held_out": []}, "holds no scans"),
    ],
)
def test_mistakes(tiny, options, message):
    with pytest.raises(ValueError, match=message):
        adapt(tiny, ct(8, 16), **options)
    with pytest.raises(ValueError, match="no scans are given"):
        adapt(tiny, [])


@pytest.mark.parametrize("detail", [1, 4, 12], ids=["coarse", "middle", "fine"])
def test_the_norm_of_the_data_is_that_of_the_image(detail):
    """A ripple of any wavelength counts alike; in plain projections fine ones count less."""
    problem = single(tensors(ct(90, 48)))
    y, x = torch.meshgrid(*(torch.linspace(-1, 1, 48),) * 2, indexing="ij")
    inside = torch.exp(-4 * (x**2 + y**2))

    def ratio(n):
        e = inside * torch.cos(np.pi * n * x + 1)
        r = problem.A(e)
        return float((r * metric_of(problem.A)(r)).sum() / (e**2).sum()), float((r**2).sum() / (e**2).sum())

    (fair, plain), (reference, dull) = ratio(detail), ratio(6)
    assert 0.8 < fair / reference < 1.25
    if detail == 12:
        assert plain < 0.7 * dull
