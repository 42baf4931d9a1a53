"""`rayfold train`: tiny trainings through the command line, mistakes in one line, interrupts."""

from __future__ import annotations

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rayfold.recon import cli  # noqa: E402
from rayfold.recon.foundation import FoundationPrior, simulated  # noqa: E402
from rayfold.recon.io import write_scan  # noqa: E402
from rayfold.recon.protocol import CTProtocol  # noqa: E402
from rayfold.recon.train import read  # noqa: E402
from rayfold.recon.train.run import FILES  # noqa: E402

TINY = """
size = "small"
stage = "denoise"
steps = 3
warmup = 0
precision = "float32"
save = 1
[images]
side = 16
window = 2
[denoise]
batch = 1
side = 16
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def run(*words):
    return cli.main(["train", *map(str, words), "--device", "cpu", "--quiet"])


def test_training_leaves_weights_and_record(config, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run(config, "-o", folder, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["steps"] == 3
    assert sorted(p.name for p in folder.iterdir()) == sorted(FILES)
    prior = FoundationPrior.load(folder / "weights.safetensors", device="cpu")
    assert prior.card["steps"] == 3
    assert prior.card["losses_db"] == found["losses_db"]
    assert str(tmp_path) not in json.dumps(prior.card)
    lines = (folder / "loss.csv").read_text().splitlines()
    assert lines[0] == "step,denoise,ct,mri,superresolution,seconds"
    assert len(lines) == 4
    assert run(config, "-o", folder) == 5
    assert "--resume" in capsys.readouterr().err


def test_stopped_and_resumed_is_the_same_bit_for_bit(config, tmp_path, capsys, monkeypatch):
    from rayfold.recon.train import stages

    assert run(config, "-o", tmp_path / "whole") == 0
    draw = stages.Stages.sample

    def interrupted(self, k):
        if k == 1:  # Ctrl-C in the middle of the second step
            import signal

            signal.raise_signal(signal.SIGINT)
        return draw(self, k)

    monkeypatch.setattr(stages.Stages, "sample", interrupted)
    assert cli.main(["train", str(config), "-o", str(tmp_path / "parts"), "--device", "cpu"]) == 130
    said = capsys.readouterr().err
    assert "2 of 3 steps" in said
    assert "--resume" in said
    monkeypatch.setattr(stages.Stages, "sample", draw)
    assert run("-o", tmp_path / "parts", "--resume") == 0
    for name in ("training.safetensors", "weights.safetensors"):
        whole, parts = (read(tmp_path / where / name)[0] for where in ("whole", "parts"))
        assert whole.keys() == parts.keys()
        for key in whole:
            assert torch.equal(whole[key], parts[key]), key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('szie = "small"', "unknown setting szie; did you mean size?"),
        ('size = "smal"', "size is 'smal'; did you mean small?"),
        ("steps = 0", "steps is 0; it must be positive"),
        ("steps = 2.5", "steps is 2.5; it must be a whole number"),
        ("[images]\nwindw = 3", "unknown setting images.windw; did you mean window"),
        ("[restore]\nct = -1.0", "restore.ct is -1.0; it must be 0 or more"),
        ("[restore]\nct = 0.0\nmri = 0.0\nsuperresolution = 0.0", "are all 0; raise one of them"),
        ("[denoise]\nside = 500", "denoise.side is 500"),
        ('stage = "both"', "alone is 0"),
        ("images = 3", "images is a section"),
        ("average = 1.0", "average is 1.0"),
    ],
)
def test_mistakes_in_a_configuration(tmp_path, capsys, text, message):
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    assert run(path, "-o", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_other_mistakes(config, tmp_path, capsys):
    for words, code, message in (
        (["denoiser-smal", "-o", tmp_path / "a"], 3, "did you mean denoiser-small"),
        ([config], 2, "no output"),
        (["-o", tmp_path / "a"], 2, "give one configuration"),
        (["-o", tmp_path / "a", "--resume"], 3, "train without --resume"),
        ([config, "-o", tmp_path / "a", "--mode", "lora"], 2, "--mode needs --adapt"),
        ([config, "-o", tmp_path / "a", "--adapt", "--resume"], 2, "--resume is not for --adapt"),
        (["--adapt", "-o", tmp_path / "a.safetensors"], 2, "give scans"),
        (["--adapt", "no.h5", "-o", tmp_path / "a.safetensors"], 3, "does not exist"),
        ([config, "-o", tmp_path / "a", "--steps", "0"], 2, "must be positive"),
        ([config, "-o", tmp_path / "a", "--start", tmp_path / "no.safetensors"], 3, "there are no weights"),
    ):
        assert run(*words) == code, words
        assert message in capsys.readouterr().err, words
        assert not (tmp_path / "a").exists(), words  # nothing that stands in the way of the next attempt


def test_adaptation_to_simulated_and_to_measured_scans(tmp_path, capsys, monkeypatch):
    protocol = CTProtocol(views=8, cols=24, photons=1e4)
    protocol.to_toml(tmp_path / "a.toml")
    out = tmp_path / "adapted.safetensors"
    words = ["--adapt", "--steps", 1, "--mode", "gain", "--json"]
    monkeypatch.setitem(simulated.simulated.__kwdefaults__, "side", 16)
    protocol.replace(views=6).to_toml(tmp_path / "b.toml")
    both = tmp_path / "a.toml", tmp_path / "b.toml"
    given = ["--protocol", *both, "--phantom", "foam", "--n", 2]
    assert run(*words, *given, "--steps", 3, "--every", 2, "-o", out) == 0
    record = json.loads(capsys.readouterr().out)["adapted"]
    assert record["loss"] == "supervised" and record["steps"] == [0, 2, 3]
    assert np.isfinite(record["held_out"]).all()
    scan = tmp_path / "scan.h5"
    write_scan(scan, protocol.simulate("disc"))
    assert run(*words, scan, "-o", out) == 5
    assert "already there" in capsys.readouterr().err
    assert run(*words, scan, "-o", out, "--force") == 0
    assert json.loads(capsys.readouterr().out)["adapted"]["loss"] == "sure"
    assert FoundationPrior.load(out, device="cpu").card["adapted"]["mode"] == "gain"
