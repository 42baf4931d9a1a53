"""The model card: what the weights are, what they saw, how they fared, and what they are not for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.foundation import files
from rayfold.recon.foundation.steps import Schedule
from rayfold.recon.shipped import SHIPPED
from rayfold.recon.train.files import read

FORMAT = "rayfold card 1"
USE = "Research only. Not a medical device: no image made with these weights may guide the care of a patient."
LICENCE = "Apache-2.0"
LIMITS = (
    "Trained on synthetic images alone; anatomy that is drawn is no clinical validation.",
    "Structures that the data do not see are guessed: read the certificate, which says where and how much.",
    "Lesions near the noise may be weakened or lost; detectability was not studied with readers.",
    "Two-dimensional: volumes are restored slice by slice.",
    "The noise must be stated or measured: a level wrong by a factor of two costs detail or leaves noise.",
    "HU must be mapped to attenuation first (the commands do so from the declared water value).",
    "Coil maps that do not explain the data (as of the middle of k-space alone, for an object that fills the "
    "field of view) can give worse images than zero filling.",
    "The thorough way is for few data with little noise of objects unlike those of the training; else it "
    "loses up to 6 dB against five steps.",
    "Objects unlike those of the training (foams, writing, periodic parts) are flagged but not refused.",
)
TASKS = {
    "denoising": "white, coloured or uneven noise of 0.02 to 50 % of the bright parts; Poisson-like, complex",
    "computed tomography": "parallel, fan and curved-fan beams; sparse (20 to 180 views), limited (from 30 "
    "degrees) and dense (360 to 1000 views) scans; 1e3 to 1e5 photons, electronic noise",
    "magnetic resonance": "Cartesian, radial and spiral patterns, R 2 to 10, 1 to 16 coils, SNR 10 to 3000",
    "super-resolution": "cut-off k-space, blur and binning by 2 and 3",
}
KEYS: dict[str, type | tuple[type, ...]] = {
    "format": str,
    "name": str,
    "file": str,
    "sha256": str,
    "bytes": int,
    "parameters": int,
    "network": dict,
    "training": dict,
    "families": dict,
    "tasks": dict,
    "metrics": list,
    "half_precision_loss_db": (float, type(None)),
    "limits": list,
    "use": str,
    "licence": str,
}
STAGE = ("stage", "steps", "of", "losses_db", "seconds", "configuration", "seeds")  # of `rayfold train`


def describe(path: str | Path) -> dict[str, Any]:
    """A card with all that the weights themselves tell; no metrics yet.

    Parameters
    ----------
    path : str or Path
        A ``.safetensors`` file of `save_prior`.

    Raises
    ------
    UnreadableInput, InconsistentInput
        If it is missing, damaged or no prior.
    """
    from rayfold.recon.phantoms import FAMILIES

    path = Path(path)
    if not path.exists():
        raise UnreadableInput(
            f"there are no weights {path}; give a .safetensors file, or {' or '.join(SHIPPED)}"
        )
    tensors, about = read(path)
    if about.get("format") != files.FORMAT:
        raise InconsistentInput(f"{path.name} holds no prior; give a file that rayfold train wrote")
    trained = {name: family.share for name, family in FAMILIES.items() if family.trained}
    return {
        "format": FORMAT,
        "name": path.stem,
        "file": path.name,
        "sha256": files.digest(path),
        "bytes": path.stat().st_size,
        "parameters": sum(value.numel() for value in tensors.values()),
        "network": {
            **{key: about[key] for key in ("widths", "blocks")},
            "steps": Schedule(about["steps"]).steps,
        },
        "training": dict(about["card"]),
        "families": {
            "trained": {name: round(share / sum(trained.values()), 4) for name, share in trained.items()},
            "held out": [name for name, family in FAMILIES.items() if not family.trained],
        },
        "tasks": dict(TASKS),
        "metrics": [],
        "half_precision_loss_db": None,
        "limits": list(LIMITS),
        "use": USE,
        "licence": LICENCE,
    }


def metrics_of(results: Mapping[str, Any], weights: str) -> list[dict[str, Any]]:
    """Lines of ``benchmarks/results/prior_quality.json`` that are of these weights, for a card.

    Examples
    --------
    >>> line = {"what": "denoising", "value": 1.6, "unit": "dB", "sense": "at least", "target": 1.5,
    ...         "n": 24, "interval": [1.4, 1.8], "reached": True}
    >>> found = metrics_of({"tasks": {"denoise": {"weights": "base", "entries": [line]}}}, "base")
    >>> found[0]["what"], found[0]["interval"]
    ('denoising', [1.4, 1.8])
    """
    names = ("what", "value", "unit", "sense", "target", "reached", "n", "interval")
    return [
        {"task": task} | {name: entry.get(name) for name in names}
        for task, held in results.get("tasks", {}).items()
        if held.get("weights") == weights
        for entry in held["entries"]
    ]


def read_card(name: str | Path) -> dict[str, Any]:
    """The card of a size that comes with the package, or of a file of weights.

    Raises
    ------
    UnreadableInput
        If there is no such card or file.
    InconsistentInput
        If the card is not of the weights beside it.

    Examples
    --------
    >>> read_card("small")["use"][:14]
    'Research only.'
    """
    if str(name) not in SHIPPED:
        return describe(name)
    path = files.HOME / f"{name}.json"
    try:
        card: dict[str, Any] = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UnreadableInput(
            f"the card {path.name} is missing from this installation; install rayfold again"
        ) from error
    check(card)
    if card["sha256"] != files.digest(files.HOME / card["file"]):
        raise InconsistentInput(
            f"the card {path.name} is not of the weights beside it; install rayfold again"
        )
    return card


def check(card: Mapping[str, Any]) -> None:
    """Refuse a card that lacks something, or holds what a card does not.

    Raises
    ------
    InconsistentInput
        With the name of the first key that is wrong.
    """
    for key, kind in KEYS.items():
        if not isinstance(card.get(key, ...), kind):
            raise InconsistentInput(f"the card has no {key}, or one of the wrong kind; build it again")
    unknown = sorted(set(card) - set(KEYS))
    if unknown:
        raise InconsistentInput(f"the card holds {unknown[0]}, which no card has; build it again")
    if card["format"] != FORMAT:
        raise InconsistentInput(f"the card is of format {card['format']!r}; this rayfold reads {FORMAT!r}")


def markdown(card: Mapping[str, Any]) -> str:
    r"""The card as Markdown.

    Examples
    --------
    >>> print(markdown(read_card("small")).split("\n")[0])
    # rayfold prior: small
    """
    loss = card["half_precision_loss_db"]
    facts = [
        ("file", f"{card['file']}, {card['bytes'] / 1e6:.1f} MB"),
        ("SHA-256", f"`{card['sha256']}`"),
        ("parameters", f"{card['parameters']:,}"),
        ("network", ", ".join(f"{key} {value}" for key, value in card["network"].items())),
        ("loss by float16", "not measured" if loss is None else f"{loss:.4f} dB"),
        ("licence", card["licence"]),
    ]
    shares = [f"{name} {share:.0%}" for name, share in card["families"]["trained"].items()]
    lines = [
        f"# rayfold prior: {card['name']}",
        "",
        f"**{card['use']}**",
        "",
        *_table(("", ""), facts),
        "",
        "## Trained on",
        "",
        f"Synthetic images: {', '.join(shares)}. Kept out: {', '.join(card['families']['held out'])}. "
        "No measured image, of patients or of anything else.",
        "",
        *_training(card["training"]),
        "",
        "## For",
        "",
        *(f"- {name}: {text}" for name, text in card["tasks"].items()),
        "",
        "## How it fares",
        "",
        *(_metrics(card["metrics"]) if card["metrics"] else ["Not measured for these weights."]),
        "",
        "## Limits",
        "",
        *(f"- {text}" for text in card["limits"]),
    ]
    return "\n".join(lines) + "\n"


def _metrics(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    rows = []
    for e in entries:
        unit = f" {e['unit']}" if e["unit"] else ""
        between = "" if e["interval"] is None else "{:.2f} to {:.2f}".format(*e["interval"])
        goal = f"{e['sense']} {e['target']:g}{unit}"
        rows.append(
            (
                e["what"],
                f"{e['value']:.3g}{unit}",
                between,
                str(e["n"]),
                goal,
                "yes" if e["reached"] else "**no**",
            )
        )
    return _table(("what", "value", "95 %", "n", "asked", "reached"), rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _training(held: Mapping[str, Any]) -> list[str]:
    """What a training did: its stages and commands numbered, then the rest, one line for each."""
    rest = dict(held)
    stages = rest.pop("stages", None)
    if stages is None and "configuration" in held:  # one stage, which is the training itself
        stages = [{key: rest.pop(key) for key in STAGE if key in rest}]
    commands = rest.pop("commands", [])
    return [
        *_numbered("Stages (all their settings: `rayfold card --json`)", [_stage(s) for s in stages or []]),
        *_numbered("Made by", commands),
        *(line for key, value in rest.items() for line in _bullets(key, value)),
    ]


def _bullets(key: str, value: Any) -> list[str]:
    """One line; for mappings that hold sequences, one below it for each key."""
    if isinstance(value, Mapping) and any(isinstance(held, list | tuple) for held in value.values()):
        return [f"- {key}:", *(f"  - {name}: {_words(held)}" for name, held in value.items())]
    return [f"- {key}: {_words(value)}"]


def _numbered(head: str, lines: Sequence[str]) -> list[str]:
    return [f"{head}:", "", *(f"{k}. {line}" for k, line in enumerate(lines, 1)), ""] if lines else []


def _stage(stage: str | Mapping[str, Any]) -> str:
    """A stage in words, from what `rayfold train` wrote of it; older ones are words already."""
    if isinstance(stage, str) or not set(STAGE) <= {*stage, "configuration"}:
        return _words(stage)
    settings = stage.get("configuration", {})
    parts = [f"{stage['steps']:,} of {stage['of']:,} steps", f"{stage['seconds'] / 60:.0f} minutes"]
    parts += [f"rate {settings['rate']:g}"] if "rate" in settings else []
    tasks = settings.get("restore", {}) if stage["stage"] == "restore" else {}
    shares = [f"{name} {share:.0%}" for name, share in tasks.items() if isinstance(share, float)]
    parts += [f"scans: {', '.join(shares)}"] if shares else []
    parts += [f"images from seed {stage['seeds']['images']}"]
    parts += [f"in the end {_words({task: f'{loss:.1f}' for task, loss in stage['losses_db'].items()})} dB"]
    return f"{stage['stage']}: {'; '.join(parts)}"


def _words(value: Any) -> str:
    """Mappings and sequences as people write them."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_words(held)}" for key, held in value.items())
    return ", ".join(map(_words, value)) if isinstance(value, list | tuple) else str(value)
