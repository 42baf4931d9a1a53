"""What the verbs say: results on standard output, everything for people on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any


def say(text: str, *, quiet: bool = False) -> None:
    """A remark for a person."""
    if not quiet:
        print(text, file=sys.stderr)  # noqa: T201


def result(text: str) -> None:
    """A result, for the next program in a pipe."""
    print(text)  # noqa: T201


def as_json(content: Mapping[str, Any]) -> None:
    """A result as one JSON object."""
    result(json.dumps(content, indent=2, sort_keys=True))


@contextmanager
def progress(label: str, *, quiet: bool) -> Iterator[Callable[..., None]]:
    """Function of (done, total, note) that draws a bar on a terminal, nothing elsewhere; gone at the end."""
    from tqdm import tqdm

    hidden = True if quiet else None  # None: wherever standard error is no terminal
    with tqdm(desc=label, disable=hidden, leave=False, file=sys.stderr, unit="step") as bar:

        def update(done: int, total: int, note: str = "") -> None:
            bar.total = total
            if note:
                bar.set_postfix_str(note, refresh=False)
            bar.update(done - bar.n)

        yield update


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Aligned columns; numbers to the right."""
    if not rows:
        return ""
    names = list(rows[0])
    cells = [[_text(row[name]) for name in names] for row in rows]
    right = [all(isinstance(row[name], int | float) for row in rows) for name in names]
    widths = [max(len(name), *(len(row[i]) for row in cells)) for i, name in enumerate(names)]

    def line(values: Sequence[str]) -> str:
        pairs = zip(values, widths, right, strict=True)
        return "  ".join(v.rjust(w) if r else v.ljust(w) for v, w, r in pairs).rstrip()

    return "\n".join([line(names), line(["-" * w for w in widths]), *(line(row) for row in cells)])


def _text(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
