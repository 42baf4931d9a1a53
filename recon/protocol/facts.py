"""What a field of a protocol may hold: its section in a file, its words, its range."""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "number", "whole", "numbers", "wholes"]
KEY = "fact"  # in the metadata of a field
WORDS = {
    "text": "a text",
    "number": "a number",
    "whole": "a whole number",
    "numbers": "two numbers, one per image axis",
    "wholes": "two whole numbers, one per image axis",
}


@dataclass(frozen=True)
class Fact:
    """One field: where it stands in a file, what it says, and what it may be.

    Parameters
    ----------
    section : str
        Section of the file; "" for the top.
    says : str
        A few words with the unit, the comment in a file.
    kind : {"text", "number", "whole", "numbers", "wholes"}
        "numbers" and "wholes" are pairs, rows first.
    low, high : float
        The range, its ends included.
    above : bool
        `low` itself is excluded.
    choices : tuple of str
        The texts allowed; any by default.
    """

    section: str
    says: str
    kind: Kind = "number"
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    choices: tuple[str, ...] = ()

    def read(self, name: str, value: Any) -> Any:
        """The value in plain Python types; ValueError with what is allowed if it cannot be one."""
        if self.kind == "text":
            if not isinstance(value, str) or (self.choices and value not in self.choices):
                raise ValueError(f"{name} is {value!r}; it must be {self._allowed()}{self._near(value)}")
            return value
        if self.kind in ("numbers", "wholes"):
            parts = list(value) if isinstance(value, list | tuple) else [value] * 2
            if len(parts) != 2:
                raise ValueError(f"{name} is {value!r}; it must be {self._allowed()}")
            return tuple(self._one(name, part, whole=self.kind == "wholes") for part in parts)
        return self._one(name, value, whole=self.kind == "whole")

    def _one(self, name: str, value: Any, *, whole: bool) -> int | float:
        try:
            number = float(value) if not isinstance(value, str | bool) else math.nan
        except (TypeError, ValueError):
            number = math.nan
        fits = self.low < number if self.above else self.low <= number
        if not (math.isfinite(number) and fits and number <= self.high and (not whole or number % 1 == 0)):
            raise ValueError(f"{name} is {value!r}; it must be {self._allowed()}")
        return int(number) if whole else number

    def _allowed(self) -> str:
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        text = WORDS[self.kind]
        if self.low > -math.inf:
            text += f" above {self.low:g}" if self.above else f" of {self.low:g} or more"
        return text + (f", {self.high:g} at most" if self.high < math.inf else "")

    def _near(self, value: Any) -> str:
        close = difflib.get_close_matches(str(value), self.choices, n=1)
        return f"; did you mean {close[0]}?" if close else ""


def fact(default: Any, section: str, says: str, kind: Kind = "number", **more: Any) -> Any:
    """A dataclass field with a `Fact`."""
    return dataclasses.field(default=default, metadata={KEY: Fact(section, says, kind, **more)})


def facts(kind: type) -> dict[str, Fact]:
    """Facts of a protocol's fields by name, in order."""
    return {field.name: field.metadata[KEY] for field in dataclasses.fields(kind)}


def settle(protocol: Any) -> None:
    """Check every field and turn it into plain Python types; None stays where it is the default."""
    for field in dataclasses.fields(protocol):
        value = getattr(protocol, field.name)
        if value is None and field.default is None:
            continue
        object.__setattr__(protocol, field.name, field.metadata[KEY].read(field.name, value))


def unknown(name: str, known: Iterable[str]) -> str:
    """Cure for an unknown name: the nearest known ones, or all.

    Examples
    --------
    >>> unknown("fotons", ["photons", "views"])
    'did you mean photons?'
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=2)
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(names)}"
