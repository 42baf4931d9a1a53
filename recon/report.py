"""A result as one HTML file that opens anywhere and can be mailed, pictures and provenance inside.

No scripts and nothing loaded from elsewhere; light or dark as the reader's system is.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from rayfold.recon.panels import png
from rayfold.recon.provenance import plain

Table = tuple[str, Sequence[Mapping[str, Any]]]

STYLE = """
:root { color-scheme: light dark; --ink: #1c1c1e; --faint: #6e6e73; --line: #d9d9de; --paper: #fff;
  --soft: #f6f6f8 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececf0; --faint: #9a9aa2; --line: #3a3a3f; --paper: #18181b;
    --soft: #222226 } }
* { box-sizing: border-box }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Helvetica, Arial, sans-serif }
main { max-width: 62rem; margin: 0 auto; padding: 3rem 1.5rem 4rem }
h1 { font-size: 1.6rem; font-weight: 600; letter-spacing: -0.01em; line-height: 1.25; margin: 0 0 1.6rem }
h2 { font-size: 1rem; font-weight: 600; margin: 2.6rem 0 0.8rem }
dl { display: grid; gap: 0.9rem 1.5rem; margin: 0;
  grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)) }
dt, th, figcaption, footer { color: var(--faint); font-size: 0.8rem }
dd { margin: 0; overflow-wrap: anywhere }
figure { margin: 0 0 1.6rem }
figure img { display: block; max-width: 100%; height: auto;
  border: 1px solid var(--line); border-radius: 6px }
figcaption { margin-top: 0.5rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th { font-weight: 500; text-align: left; border-bottom: 1px solid var(--line) }
td { border-bottom: 1px solid var(--line) }
th, td { padding: 0.4rem 1.2rem 0.4rem 0; vertical-align: top }
.n { text-align: right }
summary { cursor: pointer; font-weight: 600; margin-top: 2.6rem }
pre { background: var(--soft); padding: 1rem; border-radius: 6px; overflow-x: auto;
  font-size: 0.8rem; line-height: 1.45 }
footer { margin-top: 3rem; border-top: 1px solid var(--line); padding-top: 0.8rem }
@media print { main { max-width: none; padding: 0 } figure, tr { break-inside: avoid } }
"""


def write_report(
    path: str | Path,
    *,
    title: str,
    images: Mapping[str, Any],
    tables: Sequence[Table] = (),
    facts: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Path:
    """Write a self-contained HTML report.

    Parameters
    ----------
    path : str or Path
        File to write, ending in .html.
    title : str
        Heading.
    images : mapping of str to matplotlib.figure.Figure
        Captions and figures, in this order.
    tables : sequence of (str, rows)
        Headings and tables; a row maps column names to values, the first row gives the order.
    facts : mapping
        What to read first, as short names and values.
    provenance : mapping
        As `rayfold.recon.provenance.provenance` returns it; folded away at the end.
    force : bool
        Replace an existing file.

    Returns
    -------
    Path
        `path`.

    Raises
    ------
    OutputFailure
        If the file exists and `force` is off, or if writing fails.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = write_report(f"{folder}/a.html", title="A < B", images={}, facts={"views": 90})
    ...     "<h1>A &lt; B</h1>" in page.read_text()
    True
    """
    from rayfold.recon.io.atomic import atomic_file

    body = [f"<h1>{escape(title)}</h1>"]
    if facts:
        body.append(_facts(facts))
    body += [_figure(caption, figure) for caption, figure in images.items()]
    body += [_table(heading, rows) for heading, rows in tables]
    if provenance:
        text = json.dumps(plain(provenance, "provenance"), indent=2, sort_keys=True, ensure_ascii=False)
        body.append(f"<details><summary>How this was made</summary><pre>{escape(text)}</pre></details>")
    target = Path(path)
    with atomic_file(target, force=force) as part:
        part.write_text(_document(title, body), encoding="utf-8")
    return target


def _document(title: str, body: Sequence[str]) -> str:
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    foot = "<footer>Made with rayfold. Research only, not for diagnosis.</footer>"
    inside = "\n".join([*body, foot])
    page = f"<head>{head}</head>\n<body><main>\n{inside}\n</main></body>"
    return f'<!doctype html>\n<html lang="en">{page}</html>\n'


def _facts(facts: Mapping[str, Any]) -> str:
    items = "".join(
        f"<div><dt>{escape(str(name))}</dt><dd>{_value(value)}</dd></div>" for name, value in facts.items()
    )
    return f"<dl>{items}</dl>"


def _figure(caption: str, figure: Any) -> str:
    data = base64.b64encode(png(figure)).decode("ascii")
    words = escape(caption, quote=True)
    width = round(
        float(figure.get_size_inches()[0]) * 96
    )  # CSS pixels: drawn for more, so that print is sharp
    return (
        f'<h2>{words}</h2><figure><img width="{width}" alt="{words}" '
        f'src="data:image/png;base64,{data}"></figure>'
    )


def _table(heading: str, rows: Sequence[Mapping[str, Any]]) -> str:
    columns = list(dict.fromkeys(name for row in rows for name in row))
    right = {c for c in columns if rows and all(_is_number(row.get(c)) for row in rows)}
    cells = [_cells("th", {c: c for c in columns}, columns, right)]
    cells += [_cells("td", row, columns, right) for row in rows]
    lines = "".join(f"<tr>{line}</tr>" for line in cells)
    return f'<h2>{escape(heading)}</h2><div class="wide"><table>{lines}</table></div>'


def _cells(tag: str, row: Mapping[str, Any], columns: Sequence[str], right: set[str]) -> str:
    marks = {c: ' class="n"' if c in right else "" for c in columns}
    return "".join(f"<{tag}{marks[c]}>{_value(row.get(c))}</{tag}>" for c in columns)


def _is_number(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _value(value: Any) -> str:
    """Text of a value: numbers short, nothing for None, everything escaped."""
    value = plain(value, "value")
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return escape(f"{value:.4g}".replace("-", "\N{MINUS SIGN}"))
    if isinstance(value, list):
        return ", ".join(_value(item) for item in value)
    return escape(str(value), quote=True)
