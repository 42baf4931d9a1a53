"""Protocols as TOML: written with a word on every value, read back exactly, mistakes named in one line."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from pathlib import Path
from typing import Any

from rayfold.recon.errors import InconsistentInput, UnreadableInput
from rayfold.recon.io.atomic import atomic_file
from rayfold.recon.protocol.facts import Fact, facts, unknown

KINDS = ("CT", "MRI")


def write(protocol: Any, path: str | Path | None, *, comments: bool, force: bool) -> str:
    """TOML of a protocol, see `Protocol.to_toml`."""
    known = facts(type(protocol))
    sections: dict[str, list[tuple[str, str]]] = {}
    for field in dataclasses.fields(protocol):
        fact, value = known[field.name], getattr(protocol, field.name)
        if value is None:  # TOML has no word for it: what is left out
            line = f"# {field.name} =" if comments else ""
        else:
            line = f"{field.name} = {_plain(value)}"
        if line:
            sections.setdefault(fact.section, []).append((line, fact.says))
    blocks = [[(f'modality = "{protocol.modality}"', ""), *sections.pop("", [])]]
    blocks += [[(f"[{name}]", ""), *lines] for name, lines in sections.items()]
    text = "\n\n".join("\n".join(_aligned(block, comments=comments)) for block in blocks) + "\n"
    if path is not None:
        with atomic_file(path, force=force) as part:
            part.write_text(text, encoding="utf-8")
    return text


def _aligned(block: list[tuple[str, str]], *, comments: bool) -> list[str]:
    if not comments:
        return [line for line, _ in block]
    width = max(len(line) for line, _ in block)
    return [f"{line:<{width}}  # {says}" if says else line for line, says in block]


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple):
        return f"[{', '.join(map(repr, value))}]"
    return repr(value)


def read(source: str | Path) -> Any:
    """Protocol of TOML, see `Protocol.from_toml`."""
    if isinstance(source, str) and "\n" in source:
        where, text = "the text", source
    else:
        where = Path(source).name
        try:
            text = Path(source).read_text(encoding="utf-8")
        except OSError as error:
            raise UnreadableInput(f"{where} cannot be read: {error.strerror}; check the path") from error
        except UnicodeDecodeError as error:
            raise UnreadableInput(f"{where} is not valid TOML: {error}") from error
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableInput(f"{where} is not valid TOML: {error}") from error
    try:
        return _made(content)
    except ValueError as error:
        raise InconsistentInput(f"{where}: {error}") from error


def _made(content: dict[str, Any]) -> Any:
    from rayfold.recon.protocol import CTProtocol, MRIProtocol

    if "modality" not in content:
        raise ValueError('no modality is given; begin with modality = "CT" or "MRI"')
    modality = content.pop("modality")
    if modality not in KINDS:
        raise ValueError(f"modality is {modality!r}; it must be {' or '.join(KINDS)}")
    kind = CTProtocol if modality == "CT" else MRIProtocol
    known = facts(kind)
    sections = list(dict.fromkeys(fact.section for fact in known.values() if fact.section))
    values: dict[str, Any] = {}
    for key, value in content.items():
        if not isinstance(value, dict):
            values[_placed(key, "", known, modality)] = value
        elif key not in sections:
            raise ValueError(f"{modality} has no section [{key}]; {unknown(key, sections)}")
        else:
            values |= {_placed(name, key, known, modality): inner for name, inner in value.items()}
    return kind(**values)


def _placed(name: str, section: str, known: dict[str, Fact], modality: str) -> str:
    """The name of a value, if it stands where it belongs."""
    place = f"[{section}] {name}" if section else name
    if name not in known:
        raise ValueError(f"{modality} has no {place}; {unknown(name, known)}")
    if known[name].section != section:
        belongs = f"in section [{known[name].section}]" if known[name].section else "above all sections"
        raise ValueError(f"{place} is in the wrong place; it belongs {belongs}")
    return name
