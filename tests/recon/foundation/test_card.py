"""The model card: of the packaged weights, of files, in words, and what is no card."""

from __future__ import annotations

import json

import pytest

torch = pytest.importorskip("torch")

from rayfold.recon.cli import main  # noqa: E402
from rayfold.recon.errors import InconsistentInput, UnreadableInput  # noqa: E402
from rayfold.recon.foundation import SIZES, files, load_prior, save_prior  # noqa: E402
from rayfold.recon.foundation.card import check, describe, markdown, metrics_of, read_card  # noqa: E402
from rayfold.recon.phantoms import FAMILIES  # noqa: E402

HERE = [size for size in SIZES if (files.HOME / f"{size}.safetensors").exists()]
LINE = {
    "what": "denoising against TV", "value": 1.61, "unit": "dB", "sense": "at least", "target": 1.5, "n": 24,
    "interval": [1.4, 1.8], "reached": True,
}  # fmt: skip


@pytest.mark.parametrize("size", HERE)
def test_the_packaged_card_is_of_the_packaged_weights(size):
    """`python -m benchmarks.prior_card` writes it anew after every training."""
    path, card = files.HOME / f"{size}.safetensors", read_card(size)
    network, schedule, trained, change = load_prior(size)
    n = sum(p.numel() for part in (network, schedule) for p in part.parameters())
    n += sum(p.numel() for p in change.state().values()) if change else 0
    assert (
        card["sha256"]
        == files.digest(path)
        == json.loads((files.HOME / "published.json").read_text())[path.name]
    )
    assert (card["parameters"], card["bytes"], card["training"]) == (n, path.stat().st_size, trained)
    now = describe(path)
    for key in ("network", "families", "tasks", "limits", "use", "licence", "file", "name"):
        assert card[key] == now[key], key
    assert abs(card["half_precision_loss_db"]) < 0.01


def test_everything_that_is_published_is_there_and_small():
    held = json.loads((files.HOME / "published.json").read_text())
    assert set(held) == {f"{size}.safetensors" for size in HERE}
    assert all(files.digest(files.HOME / name) == digest for name, digest in held.items())
    assert sum(path.stat().st_size for path in files.HOME.iterdir()) <= 16e6


def test_families_that_were_held_out_are_named():
    families = describe(files.HOME / "small.safetensors")["families"]
    assert sum(families["trained"].values()) == pytest.approx(1, abs=1e-3)
    assert set(families["held out"]) >= {"foam", "text", "random_ellipses"}
    assert set(families["trained"]) | set(families["held out"]) == set(FAMILIES)


def test_words(capsys):
    card = read_card("small") | {
        "metrics": metrics_of({"tasks": {"a": {"weights": "small", "entries": [LINE]}}}, "small")
    }
    text = markdown(card)
    assert "| denoising against TV | 1.61 dB | 1.40 to 1.80 | 24 | at least 1.5 dB | yes |" in text
    assert "**Research only. Not a medical device" in text and card["sha256"] in text
    missed = dict(card, metrics=[dict(card["metrics"][0], reached=False, interval=None)])
    assert "| 24 | at least 1.5 dB | **no** |" in markdown(missed)
    assert "Not measured for these weights." in markdown(dict(card, metrics=[]))
    assert main(["card", "small"]) == 0
    assert capsys.readouterr().out == markdown(read_card("small"))
    assert main(["card", "small", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == read_card("small")


@pytest.mark.parametrize("size", HERE)
def test_a_training_in_words(size):
    """Stages and commands are numbered, no line is a dump of Python, and none is as long as a page."""
    card = read_card(size)
    lines = markdown(card).split("## Trained on")[1].split("## For")[0].splitlines()
    stages = card["training"]["stages"]
    assert not [line for line in lines if "{'" in line or "['" in line or len(line) > 1000]
    last = stages[-1]
    start = f"{len(stages)}. restore: {last['steps']:,} of {last['of']:,} steps; "
    assert sum(line.startswith(start) for line in lines) == 1


def test_a_training_of_ones_own_is_one_stage():
    card = read_card("small")
    held = {"packages": {"numpy": "2", "torch": "3"}, "adapted": {"rate": 0.1, "held_out": [2.0, 1.5]}}
    training = card["training"]["stages"][-1] | {"hardware": "a laptop"} | held
    text = markdown(card | {"training": training})
    assert "1. restore: 1,363 of 4,000 steps; 20 minutes; rate 0.0002; images from seed 2000000" in text
    assert "- hardware: a laptop\n- packages: numpy 2, torch 3\n" in text and "configuration" not in text
    assert "- adapted:\n  - rate: 0.1\n  - held_out: 2.0, 1.5\n" in text


def test_results_of_other_weights_are_left_out():
    results = {
        "tasks": {"a": {"weights": "base", "entries": [LINE]}, "b": {"weights": "small", "entries": []}}
    }
    assert metrics_of(results, "small") == [] and metrics_of({}, "base") == []
    (found,) = metrics_of(results, "base")
    assert found == {"task": "a", **LINE}


def test_card_of_a_file(prior, tmp_path, capsys):
    path = tmp_path / "mine.safetensors"
    save_prior(path, prior.network, prior.schedule, {"seed": 3, "stage": {"steps": 10}})
    assert main(["card", str(path)]) == 0
    text = capsys.readouterr().out
    assert "# rayfold prior: mine" in text and "- stage: steps 10" in text and "- seed: 3" in text
    check(describe(path))


def test_bad_input_in_one_line(tmp_path, monkeypatch, capsys):
    assert main(["card", "nowhere.safetensors"]) == 3
    assert (
        capsys.readouterr().err
        == "rayfold: there are no weights nowhere.safetensors; give a .safetensors file, or small or base\n"
    )
    card = read_card("small")
    for bad in (
        {key: v for key, v in card.items() if key != "limits"},
        card | {"more": 1},
        card | {"format": "x"},
    ):
        with pytest.raises(InconsistentInput) as error:
            check(bad)
        assert "\n" not in str(error.value)
    monkeypatch.setattr(files, "HOME", tmp_path)
    with pytest.raises(UnreadableInput, match=r"small.json is missing"):
        read_card("small")
    (tmp_path / "small.safetensors").write_bytes(b"other")
    (tmp_path / "small.json").write_text(json.dumps(card))
    with pytest.raises(InconsistentInput, match="not of the weights beside it"):
        read_card("small")


def test_the_loss_by_half_precision_is_what_rounding_costs(tmp_path):
    """With the originals at hand; a network rounded to few bits loses much more."""
    from benchmarks.prior_card import spacing

    values = torch.tensor([1.1, 0.3, -1e-3, 70.0])
    for sign in (-0.49, 0.49):
        assert torch.equal(
            (values.half().float() + sign * spacing(values.half().float())).half(), values.half()
        )
