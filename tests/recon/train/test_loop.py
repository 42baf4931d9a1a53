"""The loop: repeatable, resumable bit for bit, and clear about what it cannot resume."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from rayfold.operators import ParallelBeam, Volume, XRay  # noqa: E402
from rayfold.recon import CGLS, Problem  # noqa: E402
from rayfold.recon.errors import InconsistentInput, UnreadableInput  # noqa: E402
from rayfold.recon.learned import SmallCNN, Unrolled, VariationalNetwork  # noqa: E402
from rayfold.recon.train import Plan, Sample, Supervised, Trainer, read, write  # noqa: E402

A = XRay(Volume((10, 10)), ParallelBeam.evenly(8, 14))


def task(generator: torch.Generator) -> Sample:
    x = torch.rand((3, *A.in_shape), generator=generator)
    return Sample(Problem(A, A(x)), x)


def network(seed: int = 0, width: int = 4) -> Unrolled:
    torch.manual_seed(seed)
    net = SmallCNN(1, 1, width=width)
    net.layers.insert(1, torch.nn.Dropout(0.2))  # draws from torch's global numbers
    return Unrolled(VariationalNetwork(net), 2, trainable={"step_size"})


def trainer(seed: int = 0, **options) -> Trainer:
    rest = {"rate": 1e-2, "warmup": 2, "average": 0.9, "seed": 5} | options.pop("plan", {})
    return Trainer(network(seed), task, Supervised(), Plan(6, **rest), **options)


OPTIMISERS = {
    "adam": None,
    "adamw": lambda p: torch.optim.AdamW(p, betas=(0.8, 0.95), weight_decay=1e-2, amsgrad=True),
    "momentum": lambda p: torch.optim.SGD(p, lr=1.0, momentum=0.9, nesterov=True),
    "plain": lambda p: torch.optim.SGD(p, lr=1.0),
}


def state_of(t: Trainer) -> dict[str, torch.Tensor]:
    """Everything there is, flat."""
    tensors = {f"model.{k}": v for k, v in t.model.state_dict().items()}
    tensors |= {f"mean.{k}": v for k, v in t.mean.items()}
    for index, values in t.optimiser.state_dict()["state"].items():
        tensors |= {f"{index}.{k}": torch.as_tensor(v) for k, v in values.items() if v is not None}
    return tensors | {"generator": t.generator.get_state()}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_resumed_training_is_the_same_bit_for_bit(tmp_path, name):
    options = {} if OPTIMISERS[name] is None else {"optimiser": OPTIMISERS[name]}
    straight = trainer(**options)
    losses = straight.run()
    first = trainer(**options)
    before = first.run(3, path=tmp_path / "half.safetensors")
    torch.rand(17)  # numbers somebody else draws in between
    second = trainer(seed=99, **options)
    second.load(tmp_path / "half.safetensors")
    assert second.done == 3
    assert before + second.run() == losses
    expected, found = state_of(straight), state_of(second)
    assert expected.keys() == found.keys() and len(expected) > 10
    assert all(torch.equal(expected[k], found[k]) for k in expected)
    assert not torch.equal(expected["model.numbers.step_size"], state_of(first)["model.numbers.step_size"])


def test_the_same_seed_gives_the_same_training():
    losses = [trainer(plan={"seed": s}).run() for s in (5, 5, 6)]
    assert losses[0] == losses[1] != losses[2]


def test_training_leaves_the_numbers_of_others_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    t = trainer()
    torch.manual_seed(3)
    t.run()
    assert torch.equal(torch.rand(4), expected)


def test_it_learns():
    def flat(generator: torch.Generator) -> Sample:
        x = torch.rand((3, 1, 1), generator=generator).expand(3, *A.in_shape)
        return Sample(Problem(A, A(x)), x)

    losses = Trainer(network(), flat, Supervised(), Plan(60, rate=1e-2)).run()
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])


def test_the_rate_follows_the_plan():
    t, rates = trainer(), []
    t.run(callback=lambda done, loss: rates.append(t.optimiser.param_groups[0]["lr"]))
    assert rates == [t.plan.rate_at(k) for k in range(6)]
    assert rates[0] == pytest.approx(5e-3) and rates[1] > rates[2] > rates[5] > 0 == t.plan.rate_at(6)


def test_gradients_are_clipped():
    t = Trainer(
        network(),
        task,
        lambda m, s, g: 1e6 * Supervised()(m, s, g),
        Plan(1, clip=0.5),
        optimiser=torch.optim.SGD,
    )
    t.step()
    norms = [p.grad.norm() for p in t.model.parameters() if p.grad is not None]
    assert float(torch.stack(norms).norm()) == pytest.approx(0.5, rel=1e-4)


def test_the_mean_of_the_weights():
    t = trainer()
    kept = []
    t.run(callback=lambda done, loss: kept.append(t.model.numbers["step_size"].detach().clone()))
    mean = kept[0] * 0
    start = network().numbers["step_size"].detach()
    mean = start.clone()
    for k, value in enumerate(kept):
        memory = min(0.9, (k + 1) / (k + 11))
        mean = memory * mean + (1 - memory) * value
    torch.testing.assert_close(t.mean["numbers.step_size"], mean)
    t.use_mean()
    assert torch.equal(t.model.numbers["step_size"], t.mean["numbers.step_size"])


def test_saves_come_when_asked(tmp_path):
    path, seen = tmp_path / "t.safetensors", []

    def look(done, loss):
        seen.append(read(path)[1]["done"] if path.exists() else 0)
        return done < 5

    assert len(trainer().run(path=path, every=2, callback=look)) == 5
    assert seen == [0, 0, 2, 2, 4]
    assert read(path)[1]["done"] == 5
    assert [p.name for p in tmp_path.iterdir()] == ["t.safetensors"]


def test_the_file_holds_no_pickle(tmp_path):
    trainer().run(1, path=tmp_path / "t.safetensors")
    raw = (tmp_path / "t.safetensors").read_bytes()
    header = json.loads(raw[8 : 8 + int.from_bytes(raw[:8], "little")])
    about = json.loads(header.pop("__metadata__")["rayfold"])
    assert about["format"] == "rayfold training 1" and about["plan"]["steps"] == 6
    assert sum(e["data_offsets"][1] - e["data_offsets"][0] for e in header.values()) == len(
        raw
    ) - 8 - int.from_bytes(raw[:8], "little")


def test_a_failed_save_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "t.safetensors"
    t = trainer()
    t.run(1, path=path)
    before = path.read_bytes()

    def fails(tensors, where, metadata):
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", fails)
    with pytest.raises(Exception, match="free some space"):
        t.run(1, path=path)
    assert path.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


# --- what is refused ---


def test_other_trainings_are_refused(tmp_path):
    path = tmp_path / "t.safetensors"
    trainer().run(1, path=path)
    with pytest.raises(InconsistentInput, match=r"trained with plan .*; use the same"):
        trainer(plan={"rate": 0.5}).load(path)
    with pytest.raises(InconsistentInput, match="trained with optimiser Adam, not SGD"):
        trainer(optimiser=OPTIMISERS["plain"]).load(path)
    wide = Trainer(network(width=5), task, Supervised(), Plan(6, 1e-2, 2, average=0.9, seed=5))
    with pytest.raises(InconsistentInput, match=r"of another model: networks.network.* differs"):
        wide.load(path)
    write(tmp_path / "w.safetensors", {"w": torch.ones(1)}, {})
    with pytest.raises(InconsistentInput, match="holds no training"):
        trainer().load(tmp_path / "w.safetensors")


def test_files_that_cannot_be_read(tmp_path):
    from safetensors.torch import save_file

    with pytest.raises(UnreadableInput, match=r"cannot read .*missing.safetensors"):
        read(tmp_path / "missing.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"\x10\x00\x00\x00")
    with pytest.raises(UnreadableInput, match=r"cannot read .*damaged"):
        read(tmp_path / "damaged.safetensors")
    save_file({"w": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UnreadableInput, match="no notes of rayfold"):
        read(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"must end in .safetensors"):
        write(tmp_path / "w.pt", {}, {})


def test_shared_and_strided_weights_survive(tmp_path):
    w = torch.arange(6.0).reshape(2, 3)
    write(tmp_path / "w.safetensors", {"a": w, "b": w, "c": w.T, "n": torch.tensor(3)}, {"x": 0.1})
    tensors, about = read(tmp_path / "w.safetensors")
    assert torch.equal(tensors["a"], w) and torch.equal(tensors["c"], w.T) and about == {"x": 0.1}


def test_steps_that_are_not_finite_leave_the_weights_and_stop_a_training_if_they_go_on():
    t = trainer()
    t.loss = lambda model, sample, generator: model(sample.problem).sum() * float("nan")
    before = {k: v.clone() for k, v in t.model.state_dict().items()}
    with pytest.raises(ArithmeticError, match="the last 5 of 5 steps had no finite loss or gradient; lower"):
        t.run()
    assert all(torch.equal(v, before[k]) for k, v in t.model.state_dict().items()) and t.skipped == 5


def test_one_step_without_a_finite_gradient_is_skipped():
    t, calls = trainer(), []

    def loss(model, sample, generator):
        calls.append(1)
        return model(sample.problem).square().mean() * (float("inf") if len(calls) == 3 else 1.0)

    t.loss = loss
    assert len(t.run(6)) == 6 and t.skipped == 1
    assert all(bool(v.isfinite().all()) for v in t.model.state_dict().values())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Plan(0), "steps is 0; it must be positive"),
        (lambda: Plan(1, rate=-1.0), "rate is -1.0; it must be positive"),
        (lambda: Plan(1, average=1.0), "average is 1.0; it must be below 1"),
        (lambda: Trainer(Unrolled(CGLS(), 2), task, Supervised(), Plan(1)), "nothing to train; name a field"),
        (lambda: Trainer(network(), task, Supervised(), Plan(1)).use_mean(), "no mean was kept"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
